"""States of one training run on its fullest GPU: weights, gradients, optimizer, adapters and what the host holds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from planner.estimate.memory.convention import listed, upcasts_base
from planner.estimate.memory.states import (
    EIGHT_BIT,
    FULL_BYTES,
    STATES,
    StateBytes,
    adapter_params,
    adapter_state_bytes,
    largest_tensor_params,
    saved_params,
    saved_state_bytes,
    state_bytes,
)
from planner.estimate.memory.weights import Split, largest_matrix_params, parameter_split, stage_share, weight_split
from planner.estimate.types import Floats, Ints, TrainJob, TrainWays
from planner.units import BITS_PER_BYTE

HALF_BYTES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class States:
    """Bytes on one GPU of the fullest stage."""

    weights: Floats
    gradients: Floats
    optimizer: Floats
    adapters: Floats
    step_temporary: Floats
    host: Floats


def micro_batches(job: TrainJob, ways: TrainWays) -> Floats:
    """Forward passes of one data-parallel rank in one optimizer step."""
    return np.maximum(1.0, job.global_batch / (ways.data_parallel * ways.micro_batch))


def shards(job: TrainJob, ways: TrainWays) -> Floats:
    """Ranks that sharding deals states over: data and context parallel, never tensor or pipeline.

    Hybrid sharding deals them over groups of `hybrid_shard_gpus` (a node) and copies them from group to group.
    """
    if job.sharding == "none":
        return np.ones(1)
    ranks: Floats = (ways.data_parallel * ways.context_parallel).astype(np.float64)
    hybrid = job.engine.optional_number("hybrid_shard_gpus")
    return ranks if hybrid is None else np.minimum(ranks, hybrid)


def on_fullest_stage(split: Split, ways: TrainWays, num_layers: int) -> Floats:
    pp, tp = ways.pipeline_parallel, ways.tensor_parallel
    return split.fullest_stage(tp, np.maximum(ways.expert_parallel, tp), stage_share(num_layers, pp), pp == 1)


def states_of(job: TrainJob, ways: TrainWays, node_gpus: Ints) -> States:
    """Weights, gradients, optimizer, adapters and sharding buffers on one GPU; `node_gpus` of the run share a host."""
    n = shards(job, ways)
    if job.method != "full":
        return adapter_states(job, ways, n, node_gpus)
    per, params = full_state(job), trained_params(job, ways)
    weight_shards = n if job.sharding == "zero3" else np.ones(1)
    gradient_shards = n if job.sharding in ("zero2", "zero3") else np.ones(1)
    optimizer = params * per.optimizer / n
    pinned = job.engine.optional_number("pinned_gradient_bytes") or 0.0
    weights = params * per.weight / weight_shards
    return States(
        weights=weights * (1 - ways.params_cpu),
        gradients=gradient_params(job, ways)
        * per.gradient
        / gradient_shards
        * (1 - ways.optimizer_cpu * (gradient_shards > 1)),
        optimizer=optimizer * (1 - ways.optimizer_cpu),
        adapters=np.zeros(1),
        step_temporary=step_temporary(job, per, params / n) * (1 - ways.optimizer_cpu),
        host=((optimizer + params / n * pinned) * ways.optimizer_cpu + weights * ways.params_cpu) * node_gpus,
    )


def trained_params(job: TrainJob, ways: TrainWays) -> Floats:
    """Parameters on one GPU of the fullest stage, unsharded, of a run that trains them all."""
    params = on_fullest_stage(parameter_split(job.model), ways, job.model.num_layers)
    result: Floats = params + embedding_beyond_share(job, ways) * listed(job, "whole_embedding_families")
    return result


def gradient_params(job: TrainJob, ways: TrainWays) -> Floats:
    """Parameters whose gradients stand at once: all, or the largest tensor where each is stepped within backward."""
    params = trained_params(job, ways)
    if steps_in_backward(job):
        return np.minimum(params, largest_tensor_params(job.model))
    whole = job.engine.flag("whole_embedding_gradient") and not listed(job, "whole_embedding_families")
    tied = job.model.tied_embeddings and job.model.has_head
    result: Floats = params + embedding_beyond_share(job, ways) * (whole and not tied)
    return result


def steps_in_backward(job: TrainJob) -> bool:
    """The optimizer steps every parameter as soon as its gradient is there, and lets go of that (torchtune)."""
    return job.engine.options.get("optimizer_step") == "in-backward" and job.method == "full"


def embedding_beyond_share(job: TrainJob, ways: TrainWays) -> Floats:
    """Parameters of the token table on a rank of the first stage beyond its share of a split one."""
    beyond = parameter_split(job.model).embedding * (1.0 - 1.0 / ways.tensor_parallel)
    result: Floats = beyond * (ways.pipeline_parallel == 1)
    return result


def step_temporary(job: TrainJob, per: StateBytes, params: Floats) -> Floats:
    """Held inside the optimizer step alone: copies of every parameter (foreach) or of the largest one at a time."""
    if job.optimizer == "muon":
        return muon_temporary(job, per, params)
    largest = per.largest_temporary * largest_tensor_params(job.model)
    result: Floats = params * per.step_temporary + np.minimum(largest, params * per.largest_temporary)
    return result


def muon_temporary(job: TrainJob, per: StateBytes, params: Floats) -> Floats:
    """Muon works on one hidden matrix at a time; embeddings, head and norms take AdamW's step, with its roots."""
    matrix = np.minimum(per.largest_temporary * largest_matrix_params(job.model), params * per.largest_temporary)
    split = parameter_split(job.model)
    outside = (split.embedding + split.head + split.outer) / split.total
    moment = HALF_BYTES if job.precision == "bf16" else FULL_BYTES
    foreach = job.engine.options.get("optimizer_step") == "foreach"
    result: Floats = np.maximum(matrix, params * outside * moment * foreach)
    return result


def flat_gradients(job: TrainJob) -> bool:
    """FSDP1 flattens each unit's parameters: a gradient of the flat tensor covers the frozen ones in it as well."""
    return job.sharding == "zero3" and job.engine.flag("flat_parameters")


def flat_gradient_bytes(job: TrainJob, ways: TrainWays) -> Floats:
    """Of the flat parameters of a frozen base: unsharded while micro-batches accumulate without synchronising.

    `no_sync` keeps the gradient of every unit whole on every rank until the last micro-batch (torch FSDP docs).
    """
    base = on_fullest_stage(weight_split(job.model, job.base), ways, job.model.num_layers)
    whole = job.engine.flag("unsharded_accumulation")
    result: Floats = base if whole else base / shards(job, ways)
    return result


def full_state(job: TrainJob) -> StateBytes:
    """Muon keeps one momentum for hidden matrices and AdamW's two for the rest; 8-bit optimizers may leave tables wide.

    The Trainer overrides bitsandbytes optimizers to 32-bit states for every embedding module.
    """
    split = parameter_split(job.model)
    if job.optimizer == "muon":
        outside = (split.embedding + split.head + split.outer) / split.total
        return state_bytes(job, moments=1.0 + outside)
    per = state_bytes(job)
    if job.optimizer in EIGHT_BIT and job.engine.flag("wide_embedding_states"):
        share = split.embedding / split.total
        narrow = per.optimizer * (1.0 - share)
        return replace(per, optimizer=narrow + STATES[job.optimizer] * FULL_BYTES * share)
    return per


def adapter_states(job: TrainJob, ways: TrainWays, n: Floats, node_gpus: Ints) -> States:
    """LoRA and QLoRA: a frozen base and adapters with all the states."""
    assert job.lora is not None
    base = on_fullest_stage(weight_split(job.model, job.base), ways, job.model.num_layers)
    base = base + upcast_bytes(job) / ways.pipeline_parallel
    adapters = adapter_params(job.model, job.lora) / (ways.tensor_parallel * ways.pipeline_parallel)
    per = adapter_state_bytes(job.lora)
    copies, own = saved_copies(job, ways)
    weight_shards = n if job.sharding == "zero3" else np.ones(1)
    base = base / weight_shards
    gradients = (adapters * per.gradient + copies * own.gradient) / weight_shards
    if flat_gradients(job):
        gradients = gradients + flat_gradient_bytes(job, ways)
    return States(
        weights=base * (1 - ways.params_cpu),
        gradients=gradients,
        optimizer=(adapters * per.optimizer + copies * own.optimizer) / n,
        adapters=(adapters * per.weight + copies * own.weight) / weight_shards,
        step_temporary=(adapters * per.step_temporary + copies * own.step_temporary) / n,
        host=base * ways.params_cpu * node_gpus,
    )


def saved_copies(job: TrainJob, ways: TrainWays) -> tuple[Floats, StateBytes]:
    """Parameters of the trained copies of table and head on one GPU, and the bytes of each."""
    assert job.lora is not None
    wide = upcasts_base(job) or job.base.bits > HALF_BYTES * BITS_PER_BYTE
    params = saved_params(job.model, job.lora) / ways.tensor_parallel.astype(np.float64)
    return params, saved_state_bytes(FULL_BYTES if wide else HALF_BYTES)


def upcast_bytes(job: TrainJob) -> float:
    """What the cast of every remaining 16-bit parameter to 32 bit adds."""
    if not upcasts_base(job):
        return 0.0
    left = sum(t.num_params for t in job.model.outer)
    left += sum(
        b.num_weight_copies * t.num_params
        for b in job.model.blocks
        for t in b.tensors
        if t.in_features == 1 or t.role in job.base.unquantised_roles
    )
    return float(left * HALF_BYTES)
