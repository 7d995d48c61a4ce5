"""One run to simulate, read from a workload of a spec; what cannot be simulated says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Keys = Mapping[str, Any]

ANSWER_SHARE = 8
"""A context of N tokens given as one number is N // 8 tokens of answer after the rest, as everywhere in a spec."""
WEIGHTS: Mapping[str, str] = {
    "fp32": "float32",
    "tf32": "float32",
    "fp16": "float16",
    "bf16": "bfloat16",
    "bf16-mixed": "float32",
    "fp16-mixed": "float32",
}
"""Types of weights by precision; under `-mixed` those of what is trained."""
HALF: Mapping[str, str] = {"bf16": "bfloat16", "fp16": "float16"}
OPTIMIZERS = ("adamw", "sgd", "sgd-momentum", "adafactor", "muon", "adamw-8bit", "lion")
STEPS = ("foreach", "fused", "forloop")
ATTENTION: Mapping[str, str] = {"eager": "eager", "sdpa": "sdpa", "flash": "packaged_kernel"}
WIDTHS = ("pipeline_parallel", "context_parallel", "expert_parallel", "replicas")


class CaseError(ValueError):
    """A workload that is not simulated, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapters:
    """Low-rank adapters on a frozen base."""

    rank: int
    targets: str | tuple[str, ...]
    dropout: float
    dtype: str
    quantised_base: bool
    """The base's linear layers are NF4 with doubly quantised scales (bitsandbytes)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What one GPU does."""

    keys: Keys
    """The model's `config.json`."""
    mode: Literal["infer", "train"]
    gpu: str | None
    dtype: str
    """Type of the weights, as torch calls it; of the frozen base, with adapters."""
    autocast: str | None
    attention: str
    sequences: int
    """In one forward pass."""
    tokens: int
    """Of the prompt, or of a training sequence."""
    output_tokens: int
    all_logits: bool
    static_cache: bool
    pooled: bool
    """Weights come out of one block, which `from_pretrained` reserves first where it loads onto a device."""
    micro_batches: int
    """Forward and backward passes a step."""
    adapters: Adapters | None
    optimizer: str
    step: str
    checkpointing: bool
    reentrant: bool
    shards: int
    """Data-parallel ranks that share out parameters, gradients and states (FSDP2)."""
    replicas: int
    """Data-parallel ranks that each hold all of it (DistributedDataParallel)."""
    bucket_view: bool
    """Their gradients are views of the buckets they are exchanged in."""
    tensor_parallel: int
    """Ranks that split every layer."""

    @property
    def gpus(self) -> int:
        """Ranks of the run."""
        return self.shards * self.replicas * self.tensor_parallel


def case_of(workload: Mapping[str, Any], keys: Keys) -> Case:
    """The run that a workload of a spec describes; `keys` is its model's `config.json`.

    Raises CaseError for what is not simulated.
    """
    pin = workload.get("pin") or {}
    if workload["mode"] == "infer" and (pin.get("data_parallel") or 1) != 1:
        raise CaseError(f"data_parallel {pin['data_parallel']} is not simulated in inference")
    for width in WIDTHS:
        if (pin.get(width) or 1) != 1:
            raise CaseError(f"{width} {pin[width]} is not simulated")
    if (pin.get("tensor_parallel") or 1) > 1 and (pin.get("data_parallel") or 1) > 1:
        raise CaseError("tensor and data parallelism together are not simulated")
    if str(workload.get("engine", "transformers")).partition("@")[0] != "transformers":
        raise CaseError(f"engine {workload['engine']} is not simulated; transformers is")
    if workload.get("offload") not in (None, "none", "auto") or pin.get("offload"):
        raise CaseError("offload is not simulated")
    return _train(workload, pin, keys) if workload["mode"] == "train" else _infer(workload, pin, keys)


def _infer(workload: Mapping[str, Any], pin: Mapping[str, Any], keys: Keys) -> Case:
    options = workload.get("engine_options") or {}
    precision = _known("precision", _choice(workload, pin, "precision", "bf16"), ("fp32", "tf32", "fp16", "bf16"))
    layout = _known("kv_layout", options.get("kv_layout", "dynamic"), ("dynamic", "static"))
    tokens, output = _lengths(workload.get("sequence"))
    batch = pin.get("batch") or workload.get("batch", "auto")
    if not isinstance(batch, int):
        raise CaseError(f"batch {batch} is not simulated; a whole number is")
    _known("kv_precision", _choice(workload, pin, "kv_precision", "auto"), ("auto", precision, "bf16"))
    return Case(
        keys=keys,
        mode="infer",
        gpu=pin.get("gpu"),
        dtype=WEIGHTS[precision],
        autocast=None,
        attention=_attention(workload, pin),
        sequences=batch,
        tokens=tokens,
        output_tokens=output,
        all_logits=options.get("logits", "last") == "all",
        static_cache=layout == "static",
        pooled=_known("weights_allocation", options.get("weights_allocation", "pool"), ("pool", "tensors")) == "pool",
        micro_batches=1,
        adapters=None,
        optimizer="",
        step="",
        checkpointing=False,
        reentrant=False,
        shards=1,
        replicas=1,
        bucket_view=False,
        tensor_parallel=int(pin.get("tensor_parallel") or 1),
    )


def _train(workload: Mapping[str, Any], pin: Mapping[str, Any], keys: Keys) -> Case:
    options = workload.get("engine_options") or {}
    precision = _known("precision", _choice(workload, pin, "precision", "bf16-mixed"), tuple(WEIGHTS))
    method = _known("method", workload.get("method", "full"), ("full", "lora", "qlora"))
    adapters = None if method == "full" else _adapters(workload.get("lora") or {}, quantised=method == "qlora")
    autocast = options.get("autocast", precision.partition("-")[0]) if precision.endswith("-mixed") else "none"
    half = HALF.get(precision.partition("-")[0], "bfloat16")
    shards, replicas = _data_parallel(pin, _choice(workload, pin, "sharding", "none"))
    micro, passes = _micro_batch(workload, pin)
    optimizer = _known("optimizer", workload.get("optimizer", "adamw"), OPTIMIZERS)
    step = _known("optimizer_step", options.get("optimizer_step", "foreach"), STEPS)
    if step == "fused" and optimizer != "adamw":
        raise CaseError(f"a fused step of {optimizer} is not simulated; that of adamw is")
    return Case(
        keys=keys,
        mode="train",
        gpu=pin.get("gpu"),
        dtype=WEIGHTS[precision] if adapters is None else half,
        autocast=HALF.get(autocast),
        attention=_attention(workload, pin),
        sequences=micro,
        tokens=int(workload["sequence"]),
        output_tokens=0,
        all_logits=True,
        static_cache=False,
        pooled=False,
        micro_batches=passes // (shards * replicas),
        adapters=adapters,
        optimizer=optimizer,
        step=step,
        checkpointing=_known("checkpointing", _choice(workload, pin, "checkpointing", "none"), ("none", "full"))
        == "full",
        reentrant=bool(options.get("checkpoint_reentrant", False)),
        shards=shards,
        replicas=replicas,
        bucket_view=bool(options.get("gradient_bucket_view", False)),
        tensor_parallel=int(pin.get("tensor_parallel") or 1),
    )


def _choice(workload: Mapping[str, Any], pin: Mapping[str, Any], key: str, otherwise: Any) -> Any:
    """The pin first, then the workload; a list of one is its item."""
    found = pin.get(key) if pin.get(key) is not None else workload.get(key)
    found = found[0] if isinstance(found, (list, tuple)) and len(found) == 1 else found
    return otherwise if found is None or found == "auto" else found


def _known(key: str, value: Any, known: tuple[str, ...]) -> str:
    if value not in known:
        raise CaseError(f"{key} {value} is not simulated; {', '.join(known)} are")
    return str(value)


def _attention(workload: Mapping[str, Any], pin: Mapping[str, Any]) -> str:
    return ATTENTION[_known("attention", _choice(workload, pin, "attention", "sdpa"), tuple(ATTENTION))]


def _lengths(sequence: Any) -> tuple[int, int]:
    """Tokens of prompt and answer.

    >>> _lengths(2048), _lengths({"input": 512, "output": 0})
    ((1792, 256), (512, 0))
    """
    if isinstance(sequence, Mapping):
        return int(sequence["input"]), int(sequence.get("output", 0))
    if not isinstance(sequence, int):
        raise CaseError("a mix of requests is not simulated; one `sequence` is")
    answer = max(1, sequence // ANSWER_SHARE) if sequence > 1 else 0
    return sequence - answer, answer


def _adapters(lora: Mapping[str, Any], *, quantised: bool) -> Adapters:
    targets = lora.get("target_modules", "all-linear")
    return Adapters(
        rank=int(lora.get("rank", 16)),
        targets=targets if isinstance(targets, str) else tuple(targets),
        dropout=float(lora.get("dropout", 0.0)),
        dtype=_known("adapter_dtype", lora.get("adapter_dtype", "fp32"), ("fp32", "bf16", "fp16")),
        quantised_base=quantised,
    )


def _micro_batch(workload: Mapping[str, Any], pin: Mapping[str, Any]) -> tuple[int, int]:
    """Sequences of one pass, and passes of all ranks together in a step."""
    batch = workload["batch"]
    given = batch if isinstance(batch, Mapping) else {"global": batch}
    whole = int(pin.get("batch") or given["global"])
    micro = pin.get("micro_batch") or given.get("micro", "auto")
    if micro == "auto":
        raise CaseError("micro auto is not simulated; a whole number of sequences is")
    return int(micro), max(1, whole // int(micro))


def _data_parallel(pin: Mapping[str, Any], sharding: str) -> tuple[int, int]:
    """Ranks that share states out, and ranks that hold all of them."""
    ranks = int(pin.get("data_parallel") or 1)
    if ranks > 1 and sharding not in ("none", "zero3"):
        raise CaseError(f"data_parallel {ranks} is simulated with sharding zero3 or none, not {sharding}")
    return (ranks, 1) if sharding == "zero3" else (1, ranks)
