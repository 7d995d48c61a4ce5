"""From a workload of the spec to jobs: names looked up, defaults filled in, impossible wishes refused.

A workload becomes one job for every combination of its open categorical choices (precision, KV precision,
checkpointing, sharding), best quality and least effort first.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.architecture.build import build_model
from planner.architecture.huggingface import entry_from_config
from planner.architecture.types import Model
from planner.catalog.intervals import SHIPPED_CONFIDENCE, bounds
from planner.catalog.types import PrecisionFormat
from planner.errors import ImpossibleError, UnknownNameError
from planner.estimate.memory.fixed import BUDGET_OPTIONS
from planner.estimate.memory.kv_cache import audio_frames, audio_windows, is_encoder_decoder
from planner.estimate.request_formats import infer_formats, kv_bits
from planner.estimate.request_options import check_options
from planner.estimate.request_training import HALF_TWINS, base_format, train_jobs, training_precisions
from planner.estimate.types import Engine, InferJob, OptionValue, TrainJob
from planner.spec.types import InferWorkload, Spec, TrainWorkload

if TYPE_CHECKING:
    from planner.catalog.load import Catalog
    from planner.spec.parts import Sequence

TRANSCRIPT_TOKENS_PER_SECOND = 4.5
"""An assumption for English: 2.5 spoken words a second (150 a minute) at 1.8 tokens a word, punctuation included."""


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A workload with its names looked up."""

    workload: InferWorkload | TrainWorkload
    model: Model
    engine: Engine
    formats: tuple[PrecisionFormat, ...]
    """Allowed weight formats (inference), or the base format of each of `training_precisions`."""
    fleet_headroom: float
    """Share of usable memory that the spec wants free."""
    memory_headroom: float
    """The same, and with a confidence also what predictions may be short of."""
    memory_margin: float
    """Factor on what an engine with a budget of its own needs beside its pool, at the confidence asked."""
    confidence: float
    """Share of measurements inside the prediction intervals."""
    warnings: tuple[str, ...]
    precision_is_auto: bool
    """fp16 stands in where bf16 is missing, and nowhere else."""
    training_precisions: tuple[str, ...] = ()

    @property
    def base_formats(self) -> dict[str, PrecisionFormat]:
        """What weights or the frozen base are stored in, by training precision."""
        return dict(zip(self.training_precisions, self.formats, strict=True))

    @functools.cached_property
    def jobs(self) -> tuple[InferJob | TrainJob, ...]:
        """One job per allowed combination of categorical choices: best quality and least effort first."""
        return self.infer_jobs() if isinstance(self.workload, InferWorkload) else self.train_jobs()

    def infer_jobs(self) -> tuple[InferJob, ...]:
        """One job per allowed combination of categorical choices, best quality first."""
        assert isinstance(self.workload, InferWorkload)
        return tuple(infer_job(self, self.workload, fmt) for fmt in self.formats)

    def train_jobs(self) -> tuple[TrainJob, ...]:
        """One job per precision, checkpointing and sharding allowed, least effort first."""
        assert isinstance(self.workload, TrainWorkload)
        return tuple(train_jobs(self.workload, self.model, self.engine, self.base_formats, self.memory_headroom))


def resolve_workload(
    workload: InferWorkload | TrainWorkload, spec: Spec, catalog: Catalog, *, confidence: float | None = None
) -> Resolved:
    """Look up the model, engine and formats of a workload. With a `confidence`, what fits does so at the upper end of
    the interval of device memory that holds this share of measurements; without, at the prediction itself.

    Raises UnknownNameError for names the catalogs lack, ImpossibleError for wishes that contradict the model.
    """
    model = resolve_model(workload, catalog)
    engine = resolve_engine(workload, catalog)
    check_task(engine, model, catalog)
    check_media(workload, model)
    check_pins(workload, model)
    precisions: tuple[str, ...] = ()
    if isinstance(workload, InferWorkload):
        auto = workload.effective_precision == "auto"
        formats = infer_formats(workload, engine, model, catalog)
    else:
        precisions = training_precisions(workload, engine)
        auto = set(HALF_TWINS) <= set(precisions)
        formats = tuple(base_format(workload, p, engine, model, catalog) for p in precisions)
    margin = 1.0 if confidence is None else memory_margin(workload, engine, confidence)
    budget = takes_budget(engine)
    headroom = spec.fleet.memory_headroom
    return Resolved(
        workload=workload,
        model=model,
        engine=engine,
        formats=formats,
        fleet_headroom=headroom,
        memory_headroom=headroom if budget else 1.0 - (1.0 - headroom) / margin,
        memory_margin=margin if budget else 1.0,
        confidence=SHIPPED_CONFIDENCE if confidence is None else confidence,
        warnings=tuple(model_warnings(workload, model)),
        precision_is_auto=auto,
        training_precisions=precisions,
    )


def memory_margin(workload: InferWorkload | TrainWorkload, engine: Engine, confidence: float) -> float:
    """Upper factor on device memory at a confidence, from the errors recorded for this kind of workload; at least 1."""
    return max(1.0, bounds(workload_kind(workload), "device_peak_bytes", confidence, engine=engine.name)[1])


def workload_kind(workload: InferWorkload | TrainWorkload) -> str:
    """The kind that interval records go by."""
    return "infer" if isinstance(workload, InferWorkload) else f"train_{workload.method}"


def takes_budget(engine: Engine) -> bool:
    """The engine takes a share of the GPU whatever the model needs."""
    return any(engine.options.get(option) is not None for option in BUDGET_OPTIONS)


def resolve_model(workload: InferWorkload | TrainWorkload, catalog: Catalog) -> Model:
    if isinstance(workload.model, str):
        return catalog.models.get(workload.model)
    entry = entry_from_config(dict(workload.model), id=workload.model_label, source="the spec")
    return build_model(entry)


def resolve_engine(workload: InferWorkload | TrainWorkload, catalog: Catalog) -> Engine:
    """The engine's profile with the workload's options laid over it. Unknown options are errors."""
    profile = catalog.engine(workload.engine)
    if workload.mode not in profile.modes:
        able = sorted({p.engine for p in catalog.engines if workload.mode in p.modes})
        raise ImpossibleError(
            f"engine {profile.engine} has no mode {workload.mode}; engines that have: {', '.join(able)}"
        )
    for option in workload.engine_options:
        if option not in profile.options:
            raise UnknownNameError(f"engine option of {profile.engine}", option, tuple(profile.options))
    check_options(profile.engine, workload.engine_options, profile.options)
    options: dict[str, OptionValue] = {**profile.options, **workload.engine_options}
    if "max_num_seqs" in workload.engine_options and "max_num_seqs_large_gpu" in options:
        options["max_num_seqs_large_gpu"] = None
    if "max_num_batched_tokens" in workload.engine_options and "max_num_batched_tokens_large_gpu" in options:
        options["max_num_batched_tokens_large_gpu"] = None
    return Engine(profile=profile, options=options)


def infer_job(resolved: Resolved, workload: InferWorkload, fmt: PrecisionFormat) -> InferJob:
    """The job of one weight format."""
    model = resolved.model
    check_image(workload, model)
    inputs, outputs = mean_lengths(workload, model)
    writes = generates(model)
    image_tokens, num_images = image_size(workload, model)
    return InferJob(
        model=model,
        engine=resolved.engine,
        weights=fmt,
        kv_bits=kv_bits(workload, fmt, model),
        attention=workload.effective_attention,
        input_tokens=inputs + image_tokens * num_images,
        output_tokens=outputs if writes else 0,
        traffic=tuple((t.input, t.output if writes else 0, t.share) for t in workload.traffic if not is_media(model)),
        image_tokens=image_tokens,
        num_images=num_images,
        steps=workload.image.steps if workload.image else 1,
        image_width=workload.image.width if workload.image else 0,
        image_height=workload.image.height if workload.image else 0,
        audio_s=workload.audio.seconds if workload.audio else 0.0,
        memory_headroom=resolved.memory_headroom,
    )


def generates(model: Model) -> bool:
    """The model makes tokens one after another; a speech model without a decoder (wav2vec 2.0) does not."""
    tasks = ("text-generation", "vision-language", "seq2seq", "speech")
    return model.task in tasks and any(model.stack("decoder"))


def is_media(model: Model) -> bool:
    """Requests are media of a size that the model knows, whatever text lengths say."""
    return model.task in ("vision", "diffusion")


def mean_lengths(workload: InferWorkload, model: Model) -> tuple[int, int]:
    """Mean prompt and answer of a request. A model of fixed inputs (vision, diffusion, speech) needs no sequence.

    Raises ImpossibleError where a text model has none.
    """
    if is_media(model):
        main = next(model.stack("denoiser" if model.task == "diffusion" else "vision"), model.blocks[0])
        return (main.tokens_fixed or 1) * (workload.images.count if workload.images else 1), 0
    if model.task == "speech" and not generates(model) and workload.audio is not None:
        return audio_frames(workload.audio.seconds), 0
    if workload.mix:
        return (
            round(sum(t.input * t.share for t in workload.mix)),
            round(sum(t.output * t.share for t in workload.mix)),
        )
    if model.task == "speech" and workload.audio is not None:
        return 1, transcript_tokens(model, workload.audio.seconds)
    raise ImpossibleError(f"{model.id} reads text: give `sequence: {{input: ..., output: ...}}`")


def transcript_tokens(model: Model, seconds: float) -> int:
    """Tokens of the transcript of a recording where the spec gives none, at most the model's context per window."""
    spoken = max(1, round(seconds * TRANSCRIPT_TOKENS_PER_SECOND))
    if model.max_context is None:
        return spoken
    return min(spoken, model.max_context * audio_windows(model, seconds))


def image_size(workload: InferWorkload, model: Model) -> tuple[int, int]:
    """Tokens one image becomes, and images in a request."""
    if workload.images is None:
        return 0, 0
    if model.task == "vision":
        return 0, workload.images.count
    if model.image_tokens is None:
        raise ImpossibleError(f"{model.id} takes no images in its prompt; it is a {model.task} model")
    tokens = model.image_tokens.num_tokens(width=workload.images.width, height=workload.images.height)
    return tokens, workload.images.count


def check_task(engine: Engine, model: Model, catalog: Catalog) -> None:
    """Refuse engines that do not run this kind of model."""
    task: str = model.task
    if task == "speech" and not generates(model):
        task = "speech-encoder"
    profile = engine.profile
    if not profile.tasks or task in profile.tasks:
        return
    able = {p.engine for p in catalog.engines if set(profile.modes) & set(p.modes) and (not p.tasks or task in p.tasks)}
    raise ImpossibleError(
        f"engine {profile.engine} does not run {task} models such as {model.id}; "
        f"engines that do: {', '.join(sorted(able))}"
    )


def check_media(workload: InferWorkload | TrainWorkload, model: Model) -> None:
    """Refuse sound and images that the model has no part for."""
    if workload.audio is not None and model.task != "speech":
        raise ImpossibleError(f"{model.id} hears no audio; it is a {model.task} model: take `audio` out")
    if workload.image is not None and model.task != "diffusion":
        raise ImpossibleError(f"{model.id} makes no image; it is a {model.task} model: take `image` out")


def check_image(workload: InferWorkload, model: Model) -> None:
    """A diffusion model must know what it makes."""
    if model.task == "diffusion" and workload.image is None:
        raise ImpossibleError(f"{model.id} makes images: give `image: {{width: 1024, height: 1024, steps: 30}}`")


def check_pins(workload: InferWorkload | TrainWorkload, model: Model) -> None:
    """Refuse splits that the architecture does not allow; the message says which number would do."""
    pin = workload.pin
    tp = pin.tensor_parallel or 1
    for block in model.stack("decoder", "encoder"):
        if block.attention is not None and block.attention.num_heads % tp:
            heads = block.attention.num_heads
            raise ImpossibleError(
                f"pin.tensor_parallel {tp} does not divide the {heads} attention heads of {model.id}; "
                f"nearest that does: {nearest_divisor(heads, tp)}"
            )
    pp = pin.pipeline_parallel or 1
    if pp > max(1, model.num_layers):
        raise ImpossibleError(
            f"pin.pipeline_parallel {pp} is more than the {model.num_layers} layers of {model.id}; "
            f"at most {model.num_layers}"
        )
    ep = pin.expert_parallel or 1
    experts = max((b.moe.num_experts for b in model.blocks if b.moe is not None), default=0)
    if ep > 1 and not experts:
        raise ImpossibleError(f"pin.expert_parallel {ep}: {model.id} has no experts; leave it at 1")
    if ep > 1 and experts % ep:
        raise ImpossibleError(
            f"pin.expert_parallel {ep} does not divide the {experts} experts of {model.id}; "
            f"nearest that does: {nearest_divisor(experts, ep)}"
        )
    if pin.tensor_parallel is not None and pin.data_parallel is not None:
        check_expert_group(workload)
    if isinstance(workload, TrainWorkload):
        check_batch(workload)


def check_expert_group(workload: InferWorkload | TrainWorkload) -> None:
    """Expert parallel divides the GPUs that the other degrees give (left out = 1); it adds none."""
    ep, gpus = workload.pin.expert_parallel or 1, workload.pin.gpus_per_replica
    if gpus % ep:
        raise ImpossibleError(
            f"pin.expert_parallel {ep} does not divide the {gpus} GPUs of a replica "
            f"(tensor x pipeline x data x context parallel); nearest that does: {nearest_divisor(gpus, ep)}"
        )


def check_batch(workload: TrainWorkload) -> None:
    """The micro batch of every data-parallel rank must fill the global batch evenly."""
    micro, sequences = workload.effective_micro_batch, workload.effective_global_batch
    ranks = workload.pin.data_parallel or 1
    each = 1 if micro == "auto" else micro
    if sequences % (each * ranks) == 0:
        return
    down, up = sequences // (each * ranks), -(-sequences // (each * ranks))
    fitting = [str(n * each * ranks) for n in dict.fromkeys((down, up)) if n]
    key = "data_parallel" if ranks > 1 else "micro_batch"
    raise ImpossibleError(
        f"pin.{key}: micro batch {each} x data_parallel {ranks} = {each * ranks} does not divide global {sequences}; "
        f"nearest that it divides: {' or '.join(fitting)}"
    )


def nearest_divisor(number: int, wanted: int) -> int:
    """The divisor of `number` nearest to `wanted`.

    >>> nearest_divisor(32, 3)
    2
    """
    divisors = [d for d in range(1, number + 1) if number % d == 0]
    return min(divisors, key=lambda d: (abs(d - wanted), d))


def model_warnings(workload: InferWorkload | TrainWorkload, model: Model) -> Iterator[str]:
    """What the user should know beforehand."""
    if isinstance(workload, TrainWorkload):
        longest = workload.sequence
    else:
        longest = max((context_tokens(t, model) for t in workload.mix), default=0)
        yield from request_warnings(workload, model)
    if model.max_context is not None and longest > model.max_context:
        yield f"context of {longest} tokens is beyond the model's maximum of {model.max_context}"
    if not model.activations_modelled:
        yield f"activations of {model.task} models are an estimate; the interval is wider"


def context_tokens(request: Sequence, model: Model) -> int:
    """Tokens that stand in one context: an encoder-decoder keeps prompt and answer apart."""
    if model.task == "speech":
        return request.output
    return max(request.input, request.output) if is_encoder_decoder(model) else request.num_tokens


def request_warnings(workload: InferWorkload, model: Model) -> Iterator[str]:
    """What of the requests is assumed or left out."""
    if not generates(model) and any(t.output for t in workload.mix):
        yield f"{model.id} ({model.task}) writes no tokens: the output of {workload.name} is left out"
    if model.task == "vision" and workload.images is None:
        yield f"{model.id} reads images: one a request is assumed; give `images: {{width: 224, height: 224}}`"
    if generates(model) and model.task == "speech" and not workload.mix and workload.audio is not None:
        tokens = transcript_tokens(model, workload.audio.seconds)
        yield (
            f"a transcript of {tokens} tokens is assumed ({TRANSCRIPT_TOKENS_PER_SECOND} a second of audio); "
            f"give `sequence: {{input: 1, output: {tokens}}}` to set it"
        )
