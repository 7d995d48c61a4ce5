"""The parts that workloads are described by: lengths, images, targets, adapters and batches."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, Tag, model_validator

from planner.spec.base import (
    MAX_TOKENS,
    AdapterDtype,
    Amount,
    Auto,
    Count,
    Name,
    Pixels,
    SpecModel,
    Tokens,
    by_kind,
    fold_case,
    kind_of,
    refuse,
    wrong_kind,
)

DEFAULT_ANSWER_SHARE = 8
"""An integer context of N tokens is N - N // 8 tokens of prompt and N // 8 (at least 1) of answer."""
DEFAULT_LORA_RANK = 16


class Sequence(SpecModel):
    """Tokens of one request."""

    input: Tokens
    """Tokens of the prompt (of the text, for an encoder)."""
    output: Annotated[int, Field(ge=0, le=MAX_TOKENS)] = 0
    """Tokens of the answer; 0 for encoders and embedding models."""

    @property
    def num_tokens(self) -> int:
        """The whole context: prompt and answer."""
        return self.input + self.output


class Traffic(Sequence):
    """One kind of request in a mix."""

    share: Annotated[float, Field(gt=0, le=1)]
    """Share of the requests; the shares of a mix add up to 1."""


class Images(SpecModel):
    """Images in each request or sample of a vision-language or vision model."""

    count: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Images per request."""
    width: Pixels
    """Pixels across."""
    height: Pixels
    """Pixels down."""


class Image(SpecModel):
    """The image that a diffusion model makes."""

    width: Pixels
    """Pixels across."""
    height: Pixels
    """Pixels down."""
    steps: Annotated[int, Field(ge=1, le=10_000)] = 30
    """Denoising steps."""


class Audio(SpecModel):
    """The sound that a speech model hears."""

    seconds: Annotated[float, Field(gt=0, le=86_400)]
    """Length of one recording in seconds."""


def split_context(value: object) -> object:
    """An integer context as `{input, output}`: one eighth of it (at least one token) is the answer.

    >>> split_context(2048)
    {'input': 1792, 'output': 256}
    >>> split_context(1)
    {'input': 1, 'output': 0}
    """
    if kind_of(value) == "map":
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong_kind("a whole number of tokens, or {input: 1024, output: 256}")
    if not 1 <= value <= MAX_TOKENS:
        raise ValueError(f"must be 1 to {MAX_TOKENS} tokens")
    answer = max(1, value // DEFAULT_ANSWER_SHARE) if value > 1 else 0
    return {"input": value - answer, "output": answer}


# --- targets -----------------------------------------------------------------------------------------


class InferTargets(SpecModel):
    """What an inference workload must deliver, over all its replicas; a key left out asks nothing."""

    requests_per_second: Amount | None = None
    """Requests per second to be served."""
    output_tokens_per_second: Amount | None = None
    """Generated tokens per second."""
    concurrency: Count | None = None
    """Requests in flight at the same time."""
    ttft_ms: Amount | None = None
    """Time to the first token, at most, in milliseconds: the mean, or that of `latency_percentile`."""
    tpot_ms: Amount | None = None
    """Time per further token, at most, in milliseconds: the mean, or that of `latency_percentile`."""
    latency_percentile: Literal[50, 90, 99] | None = None
    """Per cent of the requests that must keep `ttft_ms` and `tpot_ms`, where requests come at random
    (`requests_per_second`); left out = the means must."""
    burst: Count | None = None
    """Requests that come all at once, over all replicas: how long they take is reported."""

    @model_validator(mode="after")
    def _percentile_needs_arrivals(self) -> Self:
        if self.latency_percentile is not None and self.requests_per_second is None:
            raise ValueError(
                f"latency_percentile {self.latency_percentile} is of requests that come at random: "
                "give requests_per_second, or leave it out to ask for means"
            )
        return self


class TrainTargets(SpecModel):
    """How much is to be trained, and by when; a key left out asks nothing."""

    tokens: Amount | None = None
    """Tokens to be trained on."""
    steps: Count | None = None
    """Optimizer steps, instead of `tokens`."""
    deadline_hours: Amount | None = None
    """Hours after which `tokens` or `steps` are done."""
    tokens_per_second: Amount | None = None
    """Tokens per second, at least, over all GPUs."""


# --- choices -----------------------------------------------------------------------------------------


class OffloadPlaces(SpecModel):
    """Where the optimiser may put what does not fit on the GPU."""

    cpu: bool = True
    """Host memory."""
    disk: bool = False
    """NVMe of the node."""


class Lora(SpecModel):
    """Adapters of `method: lora` and `qlora`."""

    rank: Annotated[int, Field(ge=1, le=65_536)] = DEFAULT_LORA_RANK
    """Rank of the adapters."""
    target_modules: Annotated[
        Annotated[Literal["all-linear"], Tag("text")]
        | Annotated[tuple[Name, ...], Field(strict=False, min_length=1, max_length=1000), Tag("list")],
        by_kind("all-linear, or a list of module names such as [q_proj, v_proj]"),
    ] = "all-linear"
    """Modules that get an adapter: `all-linear`, or a list such as `[q_proj, v_proj]`."""
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Dropout in front of the adapters; above 0 its masks take memory. Left out, the engine's own default
    (`adapter_dropout` of its profile): 0.0, but 0.05 in LitGPT's scripts."""
    dora: bool = False
    """Weight-decomposed adapters: one more trained magnitude for every output, and two more tensors kept."""
    adapter_dtype: Annotated[AdapterDtype, BeforeValidator(fold_case)] = "fp32"
    """Number format of the adapters, whatever the base is stored in."""
    modules_to_save: Annotated[tuple[Literal["embed_tokens", "lm_head"], ...], Field(strict=False)] = ()
    """Token table and output head that are trained whole, as copies beside the frozen ones (PEFT)."""


class TrainBatch(SpecModel):
    """How many sequences are trained on at a time."""

    global_: Count = Field(alias="global")
    """Sequences per optimizer step, over all GPUs."""
    micro: Annotated[
        Annotated[Count, Tag("number")] | Annotated[Auto, Tag("text")],
        by_kind("a whole number of sequences, or auto"),
    ] = "auto"
    """Sequences in one forward pass on one GPU."""

    @model_validator(mode="after")
    def _micro_divides_global(self) -> Self:
        if self.micro != "auto" and self.global_ % self.micro:
            near = nearest_divisor(self.global_, self.micro)
            message = f"micro {self.micro} does not divide global {self.global_}; nearest that does: {near}"
            refuse([(("micro",), message)])
        return self


def nearest_divisor(number: int, wanted: int) -> int:
    """The divisor of `number` closest to `wanted`; of two equally close ones the smaller.

    >>> nearest_divisor(64, 24)
    16
    """
    low = [d for d in range(1, int(number**0.5) + 1) if number % d == 0]
    return min((*low, *(number // d for d in low)), key=lambda d: (abs(d - wanted), d))


def global_batch(value: object) -> object:
    """An integer training batch is the global batch."""
    if kind_of(value) == "map":
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong_kind("a whole number of sequences per step, or {global: 64, micro: auto}")
    return {"global": value}
