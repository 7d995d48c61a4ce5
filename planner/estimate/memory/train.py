"""Memory of one training run on its fullest GPU: states, then the peak over the phases of a steady step.

From the second step on, optimizer states stand throughout; gradients appear during backward (and stand
throughout where micro-batches accumulate or the engine keeps gradient buffers). The peak is the largest of:
the loss (all saved activations and the logits), the end of backward (all gradients and one layer's
activations), and the optimizer step (all gradients and the step's temporaries).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.architecture.types import Block
from planner.estimate.memory.device import (
    SEGMENT_BYTES,
    STABLE_FRAGMENTATION,
    context_bytes,
    fragmentation_bytes,
    library_workspace_bytes,
    usable_bytes,
)
from planner.estimate.memory.infer import memory_of
from planner.estimate.memory.saved import Saved, convention, saved_of
from planner.estimate.memory.states import (
    StateBytes,
    adapter_params,
    adapter_state_bytes,
    keeps_masters,
    state_bytes,
)
from planner.estimate.memory.weights import (
    Split,
    largest_matrix_params,
    parameter_split,
    stage_share,
    weight_split,
)
from planner.estimate.types import Floats, Hardware, Ints, Memory, TrainJob, TrainWays

HALF_BYTES = 2
FULL_BYTES = 4
CHUNKS = 8
FUSED_LOSS_SHARE = 0.15
"""Fused linear cross-entropy works on a fraction of the rows at a time (Liger kernel's chunking)."""
MOST_MICRO_BATCH = 65536
PREFETCHED_UNITS = 2
"""FSDP keeps the current and the prefetched unit unsharded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class States:
    """Bytes on one GPU of the fullest stage."""

    weights: Floats
    gradients: Floats
    optimizer: Floats
    adapters: Floats
    step_temporary: Floats
    buckets: Floats
    host: Floats


def train_memory(job: TrainJob, ways: TrainWays, hw: Hardware) -> Memory:
    """Bytes on the fullest GPU; one entry per way."""
    states = states_of(job, ways, np.minimum(ways.gpus, hw.node_gpus))
    first, last = activations_of(job, ways)
    loss = loss_bytes(job, ways)
    layer = one_layer_bytes(job, ways)
    accumulates = micro_batches(job, ways) > 1
    persist = job.engine.flag("gradients_persist")
    gradients_in_forward = np.where(accumulates | persist, 1.0, 0.0) * states.gradients
    casts = cast_bytes(job, ways)
    workspace = library_workspace_bytes(hw) + dequant_bytes(job, ways) + states.buckets
    # stage 0 holds the most micro-batches, the last stage the logits
    forward = np.maximum(first, last + loss) + casts
    at_loss = forward + gradients_in_forward
    at_backward_end = layer + casts + states.gradients
    at_step = states.gradients + states.step_temporary
    phases = np.stack(np.broadcast_arrays(at_loss, at_backward_end, at_step))
    binding = np.argmax(phases, axis=0)
    logits_bind = (binding == 0) & (last + loss > first)
    shape = binding.shape
    activations = np.select(
        [logits_bind, binding == 0, binding == 1],
        [np.broadcast_to(last + casts, shape), np.broadcast_to(first + casts, shape), np.broadcast_to(layer, shape)],
        0.0,
    )
    parts = {
        "weights": np.broadcast_to(states.weights, shape),
        "adapters": np.broadcast_to(states.adapters, shape),
        "optimizer": np.broadcast_to(states.optimizer, shape)
        + np.where(binding == 2, np.broadcast_to(states.step_temporary, shape), 0.0),
        "gradients": np.where(binding == 0, gradients_in_forward, states.gradients),
        "activations": activations + np.where(binding == 1, np.broadcast_to(casts, shape), 0.0),
        "logits": np.where(logits_bind, np.broadcast_to(loss, shape), 0.0),
        "workspace": np.broadcast_to(workspace, shape),
    }
    held = states.weights + states.adapters + states.optimizer
    transient = np.max(phases, axis=0)
    fragmentation = fragmentation_bytes(transient)
    context = context_bytes(hw, ways.gpus)
    most = largest_micro_batch(
        room=usable_bytes(hw) * (1.0 - job.memory_headroom) - held - workspace - context - SEGMENT_BYTES,
        fixed=casts + gradients_in_forward,
        per_sequence=(forward - casts) / ways.micro_batch,
        whatever_the_batch=np.maximum(at_step, states.gradients),
    )
    static = held + states.gradients
    return memory_of(
        parts,
        context=context,
        fragmentation=fragmentation,
        static=static,
        host=states.host + np.zeros(shape),
        disk=np.zeros(shape),
        tokens=np.zeros(shape),
        most=most,
        phase=np.array(["loss", "backward", "optimizer"])[binding],
    )


def largest_micro_batch(*, room: Floats, fixed: Floats, per_sequence: Floats, whatever_the_batch: Floats) -> Floats:
    """Sequences whose forward fits `room` with the allocator's reserve; 0 where the optimizer step alone does not."""
    reserve = 1.0 + STABLE_FRAGMENTATION
    most = np.floor((room / reserve - fixed) / np.maximum(per_sequence, 1.0))
    most = np.where(whatever_the_batch * reserve > room, 0.0, most)
    result: Floats = np.clip(most, 0.0, float(MOST_MICRO_BATCH))
    return result


def micro_batches(job: TrainJob, ways: TrainWays) -> Floats:
    """Forward passes of one data-parallel rank in one optimizer step."""
    return np.maximum(1.0, job.global_batch / (ways.data_parallel * ways.micro_batch))


def shards(job: TrainJob, ways: TrainWays) -> Floats:
    """Ranks that sharding deals states over: data and context parallel, never tensor or pipeline."""
    result: Floats = (ways.data_parallel * ways.context_parallel).astype(np.float64)
    return result if job.sharding != "none" else np.ones(1)


def on_fullest_stage(split: Split, ways: TrainWays, num_layers: int) -> Floats:
    pp, tp = ways.pipeline_parallel, ways.tensor_parallel
    return split.fullest_stage(tp, np.maximum(ways.expert_parallel, tp), stage_share(num_layers, pp), pp == 1)


def states_of(job: TrainJob, ways: TrainWays, node_gpus: Ints) -> States:
    """Weights, gradients, optimizer, adapters and sharding buffers on one GPU; `node_gpus` of the run share a host."""
    n = shards(job, ways)
    layers = job.model.num_layers
    params = on_fullest_stage(parameter_split(job.model), ways, layers)
    if job.method != "full":
        return adapter_states(job, ways, n, node_gpus)
    per = full_state(job)
    weight_shards = n if job.sharding == "zero3" else np.ones(1)
    gradient_shards = n if job.sharding in ("zero2", "zero3") else np.ones(1)
    optimizer = params * per.optimizer / n
    weights = params * per.weight / weight_shards
    return States(
        weights=weights * (1 - ways.params_cpu),
        gradients=params * per.gradient / gradient_shards * (1 - ways.optimizer_cpu * (gradient_shards > 1)),
        optimizer=optimizer * (1 - ways.optimizer_cpu),
        adapters=np.zeros(1),
        step_temporary=params * per.step_temporary / n * (1 - ways.optimizer_cpu),
        buckets=sharding_buffers(job, ways, params * per.gradient),
        host=(optimizer * ways.optimizer_cpu + weights * ways.params_cpu) * node_gpus,
    )


def full_state(job: TrainJob) -> StateBytes:
    """Muon keeps one momentum for hidden matrices and AdamW's two for the rest."""
    if job.optimizer != "muon":
        return state_bytes(job)
    split = parameter_split(job.model)
    outside = (split.embedding + split.head + split.outer) / split.total
    return state_bytes(job, moments=1.0 + outside)


def adapter_states(job: TrainJob, ways: TrainWays, n: Floats, node_gpus: Ints) -> States:
    """LoRA and QLoRA: a frozen base and adapters with all the states."""
    assert job.lora is not None
    base = on_fullest_stage(weight_split(job.model, job.base), ways, job.model.num_layers)
    base = base + upcast_bytes(job) / ways.pipeline_parallel
    adapters = adapter_params(job.model, job.lora) / (ways.tensor_parallel * ways.pipeline_parallel)
    per = adapter_state_bytes(job.lora)
    weight_shards = n if job.sharding == "zero3" else np.ones(1)
    base = base / weight_shards
    return States(
        weights=base * (1 - ways.params_cpu),
        gradients=adapters * per.gradient / weight_shards,
        optimizer=adapters * per.optimizer / n,
        adapters=adapters * per.weight / weight_shards,
        step_temporary=adapters * per.step_temporary / n,
        buckets=sharding_buffers(job, ways, adapters * per.gradient),
        host=base * ways.params_cpu * node_gpus,
    )


def upcast_bytes(job: TrainJob) -> float:
    """PEFT's prepare_model_for_kbit_training casts every remaining 16-bit parameter to 32 bit."""
    if job.method != "qlora" or not job.engine.flag("kbit_upcast"):
        return 0.0
    left = sum(t.num_params for t in job.model.outer)
    left += sum(
        b.num_weight_copies * t.num_params
        for b in job.model.blocks
        for t in b.tensors
        if t.in_features == 1 or t.role in job.base.unquantised_roles
    )
    return float(left * HALF_BYTES)


def sharding_buffers(job: TrainJob, ways: TrainWays, gradients: Floats) -> Floats:
    """What data parallelism holds beside the shards.

    DDP: one more copy of the gradients in buckets unless they are views. FSDP and ZeRO-3: the current and the
    prefetched unit, the root unit, and a reduce-scatter input. DeepSpeed: its configured buckets.
    """
    data = ways.data_parallel * ways.context_parallel
    parallel = data > 1
    if job.sharding == "none":
        doubled = job.engine.flag("ddp_buckets") and not job.engine.flag("gradient_bucket_view")
        return np.where(parallel, gradients * doubled, 0.0)
    elements = job.engine.optional_number("zero_bucket_elements")
    fixed = 0.0 if elements is None else elements * HALF_BYTES * (2 if job.engine.flag("overlap_comm") else 1)
    if job.sharding != "zero3":
        return np.where(parallel, fixed, 0.0) + np.zeros(1)
    split = parameter_split(job.model) if job.method == "full" else weight_split(job.model, job.base)
    unit_size = HALF_BYTES if job.method == "full" and job.precision != "fp32" else 1
    if job.precision == "fp32" and job.method == "full":
        unit_size = FULL_BYTES
    unit = split.layers_per_gpu(ways.tensor_parallel, np.maximum(ways.expert_parallel, ways.tensor_parallel))
    unit = unit / max(1, job.model.num_layers) * unit_size
    root = (split.embedding + split.head) / ways.tensor_parallel * unit_size
    reduce_input = unit * (2 if job.engine.options.get("gradient_dtype") == "fp32" else 1)
    reduce_input = reduce_input if job.method == "full" else unit * 0.0
    offloaded = ways.params_cpu > 0
    return np.where(parallel | offloaded, PREFETCHED_UNITS * unit + root + reduce_input + fixed, 0.0)


def cast_bytes(job: TrainJob, ways: TrainWays) -> Floats:
    """16-bit copies of 32-bit weights that autocast caches until the step's forward and backward are over."""
    if not job.precision.endswith("-mixed") or keeps_masters(job) or job.method != "full":
        return np.zeros(1)
    if job.sharding == "zero3":
        return np.zeros(1)
    split = parameter_split(job.model)
    matmul = split.layers + (split.embedding if job.model.tied_embeddings else 0.0) + split.head
    result: Floats = HALF_BYTES * matmul / (ways.tensor_parallel * ways.pipeline_parallel)
    return result


def dequant_bytes(job: TrainJob, ways: TrainWays) -> Floats:
    """A 16-bit copy of the largest quantised matrix while its layer runs."""
    if job.method != "qlora" or job.base.bits >= 16:
        return np.zeros(1)
    result: Floats = largest_matrix_params(job.model) * HALF_BYTES / ways.tensor_parallel.astype(np.float64)
    return result


def layer_bytes(saved: Saved, job: TrainJob, ways: TrainWays) -> Floats:
    """Saved bytes of one layer for one micro-batch."""
    tokens = ways.micro_batch * job.sequence_tokens / ways.context_parallel
    tp = ways.tensor_parallel
    outer_split = tp if job.engine.flag("sequence_parallel") else np.ones(1)
    pairs = tokens * job.sequence_tokens
    result: Floats = (
        tokens * (saved.outer_per_token / outer_split + saved.inner_per_token / tp) + pairs * saved.scores_per_pair / tp
    )
    return result


def kept_layer_bytes(block: Block, job: TrainJob, ways: TrainWays) -> Floats:
    """What one layer keeps under the job's checkpointing."""
    rules = convention(job)
    saved = saved_of(block, rules, job.lora)
    boundary = Saved(outer_per_token=rules.residual * block.hidden_size, inner_per_token=0.0, scores_per_pair=0.0)
    if job.checkpointing == "full":
        offloaded = job.engine.flag("activation_offloading")
        return layer_bytes(boundary, job, ways) * (0.0 if offloaded else 1.0)
    if job.checkpointing == "selective":
        return layer_bytes(selected(saved, boundary, job), job, ways)
    return layer_bytes(saved, job, ways)


def selected(saved: Saved, boundary: Saved, job: TrainJob) -> Saved:
    """Selective recompute: the attention core is redone (Megatron); op-level policies keep about half of the rest."""
    if job.engine.options.get("selective_policy") == "ops":
        return Saved(
            outer_per_token=boundary.outer_per_token + saved.outer_per_token / 2,
            inner_per_token=saved.inner_per_token / 2,
            scores_per_pair=0.0,
        )
    return Saved(outer_per_token=saved.outer_per_token, inner_per_token=saved.inner_per_token, scores_per_pair=0.0)


def text_blocks(job: TrainJob) -> tuple[Block, ...]:
    return tuple(job.model.stack("decoder", "encoder", "denoiser", "text"))


def one_layer_bytes(job: TrainJob, ways: TrainWays) -> Floats:
    """Everything of the widest layer, as held while its backward runs."""
    rules = convention(job)
    layers = [layer_bytes(saved_of(b, rules, job.lora), job, ways) for b in text_blocks(job)]
    widest: Floats = np.maximum.reduce(np.broadcast_arrays(np.zeros(1), *layers))
    return widest


def activations_of(job: TrainJob, ways: TrainWays) -> tuple[Floats, Floats]:
    """Saved activations on the first and on the last pipeline stage."""
    zero: Floats = np.zeros(1)
    whole = sum((b.num_layers * kept_layer_bytes(b, job, ways) for b in text_blocks(job)), zero)
    share = stage_share(job.model.num_layers, ways.pipeline_parallel)
    stage = whole * share
    p = ways.pipeline_parallel
    in_flight = np.minimum(micro_batches(job, ways), p)
    virtual = job.engine.optional_number("virtual_pipeline") or 1.0
    if virtual > 1:
        in_flight = np.where(p > 1, in_flight * (1 + (p - 1) / (p * virtual)), in_flight)
    recomputed = one_layer_bytes(job, ways) if job.checkpointing == "full" else zero
    first = stage * in_flight + recomputed
    last = stage
    return first, last


def loss_bytes(job: TrainJob, ways: TrainWays) -> Floats:
    """Logits, their 32-bit copies and gradients at the start of backward; on the last stage alone.

    The standard Hugging Face loss holds 12 bytes a logit (4 saved, 8 temporary; exact on fake tensors).
    """
    if not job.model.has_head:
        return np.zeros(1)
    tokens = ways.micro_batch * job.sequence_tokens / ways.context_parallel
    kind = str(job.engine.options.get("cross_entropy", "standard"))
    split = ways.tensor_parallel if job.engine.flag("vocab_parallel") else np.ones(1)
    share = {"fused": FUSED_LOSS_SHARE, "chunked": 1.0 / chunks(job)}.get(kind, 1.0)
    if kind == "fused" and job.engine.flag("vocab_parallel"):
        share = 1.0 / 3.0
    per_logit = job.engine.number("loss_bytes_per_logit")
    result: Floats = tokens * job.model.vocab_size * per_logit * share / split
    return result


def chunks(job: TrainJob) -> float:
    """Pieces the rows are worked through in."""
    stated = job.engine.optional_number("cross_entropy_chunks") or 1.0
    return stated if stated > 1 else float(CHUNKS)
