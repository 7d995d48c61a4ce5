"""Memory of training, part by part, as `memory/train.py` composes it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from planner.estimate.derive.memory_host import train_host_steps
from planner.estimate.derive.memory_shared import context, fragmentation, parameters, totals
from planner.estimate.derive.steps import bytes_text, exact, over, part, product, scalar, step, total
from planner.estimate.document import DerivationStep, MemoryDocument
from planner.estimate.memory.device import SEGMENT_BYTES, STABLE_FRAGMENTATION, library_workspace_bytes
from planner.estimate.memory.states import adapter_params, adapter_state_bytes
from planner.estimate.memory.train import (
    activations_of,
    cast_bytes,
    dequant_bytes,
    full_state,
    loss_bytes,
    micro_batches,
    on_fullest_stage,
    one_layer_bytes,
    shards,
    states_of,
    upcast_bytes,
)
from planner.estimate.memory.weights import parameter_split, weight_split
from planner.estimate.types import Hardware, TrainJob, TrainWays

STATES = "state types of the engine profile and optimizer (arXiv 1910.02054; Megatron docs/dist_optimizer)"


def train_memory_steps(
    job: TrainJob, ways: TrainWays, hw: Hardware, memory: MemoryDocument
) -> Iterator[DerivationStep]:
    """Every part of the peak on the fullest GPU."""
    parts = memory.per_gpu_bytes
    states = states_of(job, ways, np.minimum(ways.gpus, hw.node_gpus))
    yield parameters(job.model)
    yield from state_steps(job, ways, memory)
    yield step(
        "memory.static_bytes",
        "weights + adapters + optimizer + gradients after a step",
        total(
            (
                ("weights", states.weights),
                ("adapters", states.adapters),
                ("optimizer", states.optimizer),
                ("gradients", states.gradients),
            )
        ),
        bytes_text(memory.static_bytes),
        STATES,
    )
    if parts["activations"]:
        yield activations(job, ways, memory)
    if parts["logits"]:
        tokens = scalar(ways.micro_batch * job.sequence_tokens / ways.context_parallel)
        each = parts["logits"] / (tokens * job.model.vocab_size)
        yield part(
            "logits",
            "tokens of a micro-batch x vocabulary x bytes a logit held at once",
            product(tokens, job.model.vocab_size, each),
            parts["logits"],
            f"{job.engine.options.get('cross_entropy', 'standard')} cross-entropy of {job.engine.name}: logits, their "
            "32-bit copies and gradients, split over the vocabulary where the engine does",
        )
    yield part(
        "workspace",
        "cuBLAS workspace + 16-bit copy of the largest quantised matrix + sharding or gradient buckets",
        total(
            (
                ("cuBLAS", library_workspace_bytes(hw)),
                ("expanded matrix", dequant_bytes(job, ways)),
                ("buckets", states.buckets),
            )
        ),
        parts["workspace"],
        "catalogs/runtime.yaml; FSDP, DeepSpeed and DDP documentation",
    )
    moving = [k for k in ("activations", "logits", "gradients") if parts[k]]
    temporary = parts["optimizer"] - scalar(states.optimizer)
    yield from fragmentation(memory, sum(parts[k] for k in moving) + temporary)
    yield context(memory, hw, int(ways.gpus[0]))
    yield from totals(memory, hw)
    yield from train_host_steps(job, ways, hw, memory)
    yield largest_step(job, ways, hw, memory)


def largest_step(job: TrainJob, ways: TrainWays, hw: Hardware, memory: MemoryDocument) -> DerivationStep:
    """The largest micro-batch: what stands whatever the batch is taken off, the rest divided by one sequence."""
    parts = memory.per_gpu_bytes
    states = states_of(job, ways, np.minimum(ways.gpus, hw.node_gpus))
    first, last = (scalar(x) for x in activations_of(job, ways))
    loss, micro, reserve = scalar(loss_bytes(job, ways)), scalar(ways.micro_batch), 1.0 + STABLE_FRAGMENTATION
    standing = total((("weights", states.weights), ("adapters", states.adapters), ("optimizer", states.optimizer)))
    kept = scalar(micro_batches(job, ways)) > 1 or bool(job.engine.flag("gradients_persist"))
    during = scalar(cast_bytes(job, ways)) + (scalar(states.gradients) if kept else 0.0)
    gradients = exact(scalar(states.gradients + states.step_temporary))
    return step(
        "memory.max_batch",
        f"largest micro-batch: floor((room / {reserve:g} - weight copies and gradients) / bytes of a sequence), where "
        f"room = usable x (1 - headroom) - states - workspace - context - one segment; 0 where the optimizer step "
        f"({gradients} bytes) does not fit either",
        f"max(0, floor((({memory.usable_bytes:,} x {exact(1.0 - job.memory_headroom)} - ({standing}) - "
        f"{parts['workspace']:,} - {parts['context']:,} - {SEGMENT_BYTES:,}) / {reserve:g} - {exact(during)}) / "
        f"({exact(max(first, last + loss))} / {exact(micro)})))",
        exact(memory.max_batch),
        "the forward pass and the loss, with the allocator's reserve",
    )


def state_steps(job: TrainJob, ways: TrainWays, memory: MemoryDocument) -> Iterator[DerivationStep]:
    """Weights, gradients, optimizer and adapters: bytes per parameter x parameters / shards."""
    parts = memory.per_gpu_bytes
    n = scalar(shards(job, ways))
    weight_shards = n if job.sharding == "zero3" else 1.0
    params_here = 1.0 - scalar(ways.params_cpu)
    if job.lora is None:
        per, params = full_state(job), scalar(on_fullest_stage(parameter_split(job.model), ways, job.model.num_layers))
        gradient_shards = n if job.sharding in ("zero2", "zero3") else 1.0
        kept = 1.0 - scalar(ways.optimizer_cpu) * (gradient_shards > 1)
        weights = over(product(params, per.weight, params_here), weight_shards)
        what = "parameters of the fullest stage"
    else:
        per = adapter_state_bytes(job.lora)
        params = adapter_params(job.model, job.lora) / scalar(ways.tensor_parallel * ways.pipeline_parallel)
        gradient_shards, kept = weight_shards, 1.0
        base = scalar(on_fullest_stage(weight_split(job.model, job.base), ways, job.model.num_layers))
        raised = upcast_bytes(job) / scalar(ways.pipeline_parallel)
        factor = "" if params_here == 1 else f" x {exact(params_here)}"
        weights = over(
            f"({total((('frozen base', base), ('norms and tables in 32 bit', raised)))}){factor}", weight_shards
        )
        what = f"adapter parameters of rank {job.lora.rank}"
    source = STATES if job.lora is None else f"{job.base.id}: {job.base.source}"
    if parts["weights"]:
        yield part("weights", f"bytes of the weights / {weight_shards:g} shards", weights, parts["weights"], source)
    if parts["adapters"]:
        text = over(product(params, per.weight), weight_shards)
        yield part("adapters", f"{what} x bytes / shards", text, parts["adapters"], STATES)
    if parts["gradients"]:
        text = over(product(params, per.gradient, kept), gradient_shards)
        yield part("gradients", f"{what} x bytes of a gradient / shards", text, parts["gradients"], STATES)
    if parts["optimizer"]:
        held = per.optimizer + (per.step_temporary if memory.phase == "optimizer" else 0.0)
        on_gpu = 1.0 if job.lora is not None else 1.0 - scalar(ways.optimizer_cpu)
        text = over(product(params, held, on_gpu), n)
        formula = f"{what} x bytes of its states ({per.optimizer:g}, and {held - per.optimizer:g} in the step) / shards"
        yield part("optimizer", formula, text, parts["optimizer"], STATES)


def activations(job: TrainJob, ways: TrainWays, memory: MemoryDocument) -> DerivationStep:
    """What the binding phase keeps for backward."""
    first, last = activations_of(job, ways)
    casts, layer = scalar(cast_bytes(job, ways)), scalar(one_layer_bytes(job, ways))
    held = memory.per_gpu_bytes["activations"]
    tokens = scalar(ways.micro_batch * job.sequence_tokens / ways.context_parallel)
    if memory.phase == "backward":
        saved, what = layer, "widest layer"
    elif memory.per_gpu_bytes["logits"]:
        saved, what = scalar(last), "all layers of the last stage"
    else:
        saved, what = scalar(first), "all layers of the first stage, micro-batches in flight"
    return part(
        "activations",
        f"tokens of a micro-batch x bytes kept for backward by {what} + 16-bit copies of the weights (autocast)",
        f"{product(tokens, saved / tokens)} + {exact(casts)}",
        held,
        f"tensor inventory of the model classes, checkpointing {job.checkpointing}, attention {job.attention}; "
        "Korthikanti et al. (arXiv 2205.05198)",
    )
