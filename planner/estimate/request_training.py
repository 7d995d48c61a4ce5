"""The training side of a request: base formats, adapters, one job for each open choice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, cast, get_args

from planner.architecture.types import Model
from planner.catalog.types import PrecisionFormat
from planner.errors import ImpossibleError, UnknownNameError
from planner.estimate.memory.states import ADAPTED_ROLES
from planner.estimate.request_formats import BITS, adjusted
from planner.estimate.types import Checkpointing, Engine, LoraJob, Sharding, TrainJob, TrainPrecision
from planner.spec.types import TrainWorkload

if TYPE_CHECKING:
    from planner.catalog.load import Catalog

FUSED_NAMES: Mapping[str, tuple[str, ...]] = {
    "qkv_proj": ("q_proj", "k_proj", "v_proj"),
    "query_key_value": ("q_proj", "k_proj", "v_proj"),
    "c_attn": ("q_proj", "k_proj", "v_proj"),
    "w_pack": ("q_proj", "k_proj", "v_proj"),
    "wqkv": ("q_proj", "k_proj", "v_proj"),
    "query": ("q_proj",),
    "key": ("k_proj",),
    "value": ("v_proj",),
    "out_proj": ("o_proj",),
    "dense": ("o_proj",),
    "gate_up_proj": ("gate_proj", "up_proj"),
    "dense_h_to_4h": ("up_proj",),
    "dense_4h_to_h": ("down_proj",),
    "fc1": ("up_proj",),
    "fc2": ("down_proj",),
    "c_fc": ("up_proj",),
}
"""Module names of model classes that fuse or rename what the inventory lists apart."""
SHARDED_ENGINES: Mapping[str, tuple[Sharding, ...]] = {
    "megatron": ("none", "zero1"),
    "deepspeed": ("zero1", "zero2", "zero3"),
}
ALL_SHARDINGS: tuple[Sharding, ...] = ("none", "zero2", "zero3")


def base_format(
    workload: TrainWorkload, precision: str, engine: Engine, model: Model, catalog: Catalog
) -> PrecisionFormat:
    """What the weights (full) or the frozen base (LoRA, QLoRA) are stored in under a training precision."""
    if precision not in engine.profile.precisions:
        able = ", ".join(p for p in engine.profile.precisions if p in TRAINING_PRECISIONS)
        raise ImpossibleError(f"engine {engine.name} does not train in {precision}; it trains in: {able}")
    stated = engine.options.get("base_precision")
    if workload.method == "full":
        if stated is not None:
            raise ImpossibleError("base_precision is the frozen base of lora and qlora; method is full")
        return catalog.precision("bf16" if precision == "bf16" else "fp32")
    if isinstance(stated, str):
        return with_head(adjusted(catalog.precision(stated), engine, model), engine)
    if workload.method == "qlora":
        return with_head(adjusted(catalog.precision("nf4"), engine, model), engine)
    if precision == "fp32":
        return catalog.precision("fp32")
    return catalog.precision("fp16" if precision == "fp16-mixed" else "bf16")


def with_head(fmt: PrecisionFormat, engine: Engine) -> PrecisionFormat:
    """The format of a frozen base whose output head is quantised like every other linear, where the engine does so."""
    if not engine.flag("quantised_head") or fmt.bits >= BITS["bf16"]:
        return fmt
    return fmt.model_copy(update={"unquantised_roles": tuple(r for r in fmt.unquantised_roles if r != "head")})


TRAINING_PRECISIONS: tuple[str, ...] = get_args(TrainPrecision)
HALF_TWINS = ("bf16-mixed", "fp16-mixed")
"""Where both are allowed, the second stands in on GPUs without bf16: the same bytes, with loss scaling."""


def training_precisions(workload: TrainWorkload, engine: Engine) -> tuple[str, ...]:
    """The precisions allowed, without the fp16 stand-in for bf16 on an engine that does not train in it."""
    wanted = workload.effective_precision
    stands_in = set(HALF_TWINS) <= set(wanted) and HALF_TWINS[1] not in engine.profile.precisions
    return tuple(p for p in wanted if not (stands_in and p == HALF_TWINS[1]))


def train_jobs(
    workload: TrainWorkload,
    model: Model,
    engine: Engine,
    bases: Mapping[str, PrecisionFormat],
    memory_headroom: float,
) -> Iterator[TrainJob]:
    """One job per precision, checkpointing and sharding allowed; `bases` are formats by precision."""
    checkpointing = workload.effective_checkpointing
    levels: tuple[Checkpointing, ...] = ("none", "full") if checkpointing == "auto" else (checkpointing,)
    sharding = workload.effective_sharding
    shardings = SHARDED_ENGINES.get(engine.name, ALL_SHARDINGS) if sharding == "auto" else (sharding,)
    lora = lora_job(workload, model, engine)
    for precision, base in bases.items():
        for level in levels:
            for shard in shardings:
                yield TrainJob(
                    model=model,
                    engine=engine,
                    method=workload.method,
                    precision=training_precision(precision),
                    base=base,
                    lora=lora,
                    optimizer=workload.optimizer,
                    sequence_tokens=workload.sequence,
                    global_batch=workload.effective_global_batch,
                    checkpointing=level,
                    sharding=shard,
                    attention=workload.effective_attention,
                    memory_headroom=memory_headroom,
                )


def training_precision(precision: str) -> TrainPrecision:
    """The precision id as one that training knows. Raises ImpossibleError otherwise."""
    for known in get_args(TrainPrecision):
        if precision == known:
            return cast(TrainPrecision, precision)
    raise ImpossibleError(f"nothing trains in {precision}; training precisions: {', '.join(TRAINING_PRECISIONS)}")


def lora_job(workload: TrainWorkload, model: Model, engine: Engine) -> LoraJob | None:
    """The adapters with module names turned into the inventory's. Raises UnknownNameError for a name it lacks."""
    if workload.method == "full" or workload.lora is None:
        return None
    text = list(model.stack("decoder", "encoder"))
    names = {t.name for b in text for t in b.tensors if t.is_matrix}
    linear = {t.name for b in text for t in b.tensors if t.is_matrix and t.role in ADAPTED_ROLES}
    targets: set[str] = set()
    if workload.lora.target_modules == "all-linear":
        targets = linear
    else:
        for name in workload.lora.target_modules:
            meant = FUSED_NAMES.get(name.casefold(), (name,))
            if not set(meant) & names:
                raise UnknownNameError(f"LoRA target module of {model.id}", name, sorted(names))
            targets |= set(meant) & names
    stated = workload.lora.dropout
    return LoraJob(
        rank=workload.lora.rank,
        targets=tuple(sorted(targets)),
        bits=BITS[workload.lora.adapter_dtype],
        dora=workload.lora.dora,
        saved=tuple(sorted(set(workload.lora.modules_to_save))),
        dropout=(engine.optional_number("adapter_dropout") or 0.0) if stated is None else stated,
    )
