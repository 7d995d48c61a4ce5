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
from planner.catalog.types import PrecisionFormat
from planner.errors import ImpossibleError, UnknownNameError
from planner.estimate.request_formats import infer_formats, kv_bits
from planner.estimate.request_training import base_format, train_jobs
from planner.estimate.types import Engine, InferJob, OptionValue, TrainJob
from planner.spec.types import InferWorkload, Spec, TrainWorkload

if TYPE_CHECKING:
    from planner.catalog.load import Catalog


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A workload with its names looked up."""

    workload: InferWorkload | TrainWorkload
    model: Model
    engine: Engine
    formats: tuple[PrecisionFormat, ...]
    """Allowed weight formats (inference), or the base formats of each training precision."""
    memory_headroom: float
    warnings: tuple[str, ...]
    precision_is_auto: bool

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
        return tuple(train_jobs(self.workload, self.model, self.engine, self.formats))


def resolve_workload(workload: InferWorkload | TrainWorkload, spec: Spec, catalog: Catalog) -> Resolved:
    """Look up the model, engine and formats of a workload.

    Raises UnknownNameError for names the catalogs lack, ImpossibleError for wishes that contradict the model.
    """
    model = resolve_model(workload, catalog)
    engine = resolve_engine(workload, catalog)
    auto = isinstance(workload, InferWorkload) and workload.effective_precision == "auto"
    formats = infer_formats(workload, engine, model, catalog) if isinstance(workload, InferWorkload) else ()
    check_pins(workload, model)
    if isinstance(workload, TrainWorkload):
        formats = tuple(base_format(workload, p, engine, model, catalog) for p in workload.effective_precision)
    return Resolved(
        workload=workload,
        model=model,
        engine=engine,
        formats=formats,
        memory_headroom=spec.fleet.memory_headroom,
        warnings=tuple(model_warnings(workload, model)),
        precision_is_auto=auto,
    )


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
    options: dict[str, OptionValue] = {**profile.options, **workload.engine_options}
    if "max_num_seqs" in workload.engine_options and "max_num_seqs_large_gpu" in options:
        options["max_num_seqs_large_gpu"] = None
    if "max_num_batched_tokens" in workload.engine_options and "max_num_batched_tokens_large_gpu" in options:
        options["max_num_batched_tokens_large_gpu"] = None
    return Engine(profile=profile, options=options)


def infer_job(resolved: Resolved, workload: InferWorkload, fmt: PrecisionFormat) -> InferJob:
    """The job of one weight format."""
    model = resolved.model
    inputs, outputs = mean_lengths(workload, model)
    image_tokens, num_images = image_size(workload, model)
    return InferJob(
        model=model,
        engine=resolved.engine,
        weights=fmt,
        kv_bits=kv_bits(workload, fmt, model),
        attention=workload.effective_attention,
        input_tokens=inputs + image_tokens * num_images,
        output_tokens=outputs if generates(model) else 0,
        traffic=tuple((t.input, t.output, t.share) for t in workload.traffic),
        image_tokens=image_tokens,
        num_images=num_images,
        steps=workload.image.steps if workload.image else 1,
        image_width=workload.image.width if workload.image else 0,
        image_height=workload.image.height if workload.image else 0,
        audio_s=workload.audio.seconds if workload.audio else 0.0,
        memory_headroom=resolved.memory_headroom,
    )


def generates(model: Model) -> bool:
    """The model makes tokens one after another."""
    return model.task in ("text-generation", "vision-language", "seq2seq", "speech")


def mean_lengths(workload: InferWorkload, model: Model) -> tuple[int, int]:
    """Mean prompt and answer of a request. A model of fixed inputs (vision, diffusion) needs no sequence.

    Raises ImpossibleError where a text model has none.
    """
    if workload.mix:
        return (
            round(sum(t.input * t.share for t in workload.mix)),
            round(sum(t.output * t.share for t in workload.mix)),
        )
    if model.task == "speech":
        return 1, 1
    if model.task in ("vision", "diffusion"):
        return model.blocks[0].tokens_fixed or 1, 0
    raise ImpossibleError(f"{model.id} reads text: give `sequence: {{input: ..., output: ...}}`")


def image_size(workload: InferWorkload, model: Model) -> tuple[int, int]:
    """Tokens one image becomes, and images in a request."""
    if workload.images is None:
        return 0, 0
    if model.image_tokens is None:
        raise ImpossibleError(f"{model.id} takes no images in its prompt; it is a {model.task} model")
    tokens = model.image_tokens.num_tokens(width=workload.images.width, height=workload.images.height)
    return tokens, workload.images.count


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
        longest = max((t.num_tokens for t in workload.mix), default=0)
    if model.max_context is not None and longest > model.max_context:
        yield f"context of {longest} tokens is beyond the model's maximum of {model.max_context}"
    if not model.activations_modelled:
        yield f"activations of {model.task} models are an estimate; the interval is wider"
