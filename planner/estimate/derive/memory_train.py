"""Memory of training, part by part, as `memory/train.py` composes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from planner.estimate.derive.memory_host import train_host_steps
from planner.estimate.derive.memory_shared import parameters, totals
from planner.estimate.derive.steps import bytes_text, exact, over, part, product, scalar, step, total
from planner.estimate.derive.train_reserve import context_step, largest_step, reserve_step
from planner.estimate.document import DerivationStep, MemoryDocument
from planner.estimate.memory.states import adapter_params, adapter_state_bytes
from planner.estimate.memory.train import stays_after_a_step
from planner.estimate.memory.train_buffers import pipeline_buffer_bytes, standing_workspace_bytes
from planner.estimate.memory.train_phases import Phase, phases_of
from planner.estimate.memory.train_states import (
    flat_gradient_bytes,
    flat_gradients,
    full_state,
    gradient_params,
    on_fullest_stage,
    saved_copies,
    shards,
    states_of,
    trained_params,
    upcast_bytes,
)
from planner.estimate.memory.weights import weight_split
from planner.estimate.types import Hardware, TrainJob, TrainWays

STATES = "state types of the engine profile and optimizer (arXiv 1910.02054; Megatron docs/dist_optimizer)"


def train_memory_steps(
    job: TrainJob, ways: TrainWays, hw: Hardware, memory: MemoryDocument
) -> Iterator[DerivationStep]:
    """Every part of the peak on the fullest GPU."""
    states = states_of(job, ways, np.minimum(ways.gpus, hw.node_gpus))
    phases = phases_of(job, ways, states)
    phase = max(phases, key=lambda p: scalar(p.total))
    yield parameters(job.model)
    yield from state_steps(job, ways, memory, phase)
    yield step(
        "memory.static_bytes",
        "weights + adapters + optimizer + gradients after a step, and workspaces where the engine's report counts them",
        total(
            (
                ("weights", states.weights),
                ("adapters", states.adapters),
                ("optimizer", states.optimizer),
                ("gradients", states.gradients),
                ("workspaces", stays_after_a_step(job, ways, hw)),
            )
        ),
        bytes_text(memory.static_bytes),
        STATES,
    )
    if memory.per_gpu_bytes["activations"]:
        yield activations(job, memory, phase)
    if memory.per_gpu_bytes["logits"]:
        yield logits(job, ways, memory)
    standing = (
        ("library workspaces", scalar(standing_workspace_bytes(job, hw))),
        ("boundary tensors of the pipeline", scalar(pipeline_buffer_bytes(job, ways))),
    )
    yield part(
        "workspace",
        "library workspaces + pipeline boundaries + sharding or gradient buckets + largest expanded matrix",
        total((*standing, *labelled(phase, "workspace"))),
        memory.per_gpu_bytes["workspace"],
        "catalogs/runtime.yaml; FSDP, DeepSpeed and DDP documentation",
    )
    yield reserve_step(job, memory, states, phase, phases)
    yield context_step(job, ways, hw, memory)
    yield from totals(memory, hw)
    yield from train_host_steps(job, ways, hw, memory)
    yield largest_step(job, ways, hw, memory, phases)


def labelled(phase: Phase, key: str) -> list[tuple[str, float]]:
    """The phase's items of one part, by name."""
    return [(item.label, scalar(item.amount)) for item in phase.items if item.part == key]


def gradients(phase: Phase, whole: str, what: str, memory: MemoryDocument) -> Iterator[DerivationStep]:
    """All gradients, or what stands of them in the phase that binds."""
    held = memory.per_gpu_bytes["gradients"]
    items = labelled(phase, "gradients")
    yield part(
        "gradients",
        f"held in the binding phase ({phase.name}); all of them are {what} x bytes of a gradient / shards = {whole}",
        total(items),
        held,
        STATES,
    )


def activations(job: TrainJob, memory: MemoryDocument, phase: Phase) -> DerivationStep:
    """What the binding phase keeps for backward."""
    return part(
        "activations",
        f"in the phase that binds ({phase.name}): tensors kept for backward + gradients inside a layer + weight copies",
        total(labelled(phase, "activations")),
        memory.per_gpu_bytes["activations"],
        f"tensor inventory of the model classes, checkpointing {job.checkpointing}, attention {job.attention}; "
        "Korthikanti et al. (arXiv 2205.05198)",
    )


def logits(job: TrainJob, ways: TrainWays, memory: MemoryDocument) -> DerivationStep:
    """Logits and loss of one micro-batch."""
    held = memory.per_gpu_bytes["logits"]
    tokens = scalar(ways.micro_batch * job.sequence_tokens / ways.context_parallel)
    return part(
        "logits",
        "tokens of a micro-batch x vocabulary x bytes a logit held at once",
        product(tokens, job.model.vocab_size, held / (tokens * job.model.vocab_size)),
        held,
        f"{job.engine.options.get('cross_entropy', 'standard')} cross-entropy of {job.engine.name}: logits, their "
        "32-bit copies and gradients, split over the vocabulary where the engine does",
    )


def state_steps(job: TrainJob, ways: TrainWays, memory: MemoryDocument, phase: Phase) -> Iterator[DerivationStep]:
    """Weights, gradients, optimizer and adapters: bytes per parameter x parameters / shards."""
    parts = memory.per_gpu_bytes
    n = scalar(shards(job, ways))
    weight_shards = n if job.sharding == "zero3" else 1.0
    params_here = 1.0 - scalar(ways.params_cpu)
    if job.lora is None:
        per, params = full_state(job), scalar(trained_params(job, ways))
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
        text = over(trained(job, ways, product(params, per.weight), "weight"), weight_shards)
        yield part("adapters", f"{what} x bytes / shards", text, parts["adapters"], STATES)
    if parts["gradients"]:
        at_once = params if job.lora is not None else scalar(gradient_params(job, ways))
        whole = over(trained(job, ways, product(at_once, per.gradient, kept), "gradient"), gradient_shards)
        if flat_gradients(job):
            whole = f"{whole} + {exact(flat_gradient_bytes(job, ways))} [frozen parameters of flat units]"
        yield from gradients(phase, whole, what, memory)
    if parts["optimizer"]:
        on_gpu = 1.0 if job.lora is not None else 1.0 - scalar(ways.optimizer_cpu)
        text = over(trained(job, ways, product(params, per.optimizer, on_gpu), "optimizer"), n)
        extra = scalar(phase.part("optimizer"))
        if extra:
            text = f"{text} + {exact(extra)} [temporaries of the step]"
        formula = f"{what} x bytes of its states ({per.optimizer:g}) / shards, and copies held inside the step"
        yield part("optimizer", formula, text, parts["optimizer"], STATES)


def trained(job: TrainJob, ways: TrainWays, text: str, field: Literal["weight", "gradient", "optimizer"]) -> str:
    """The bytes of the adapters, and of token table and head where copies of them are trained."""
    if job.lora is None or not job.lora.saved:
        return text
    params, own = saved_copies(job, ways)
    each = {"weight": own.weight, "gradient": own.gradient, "optimizer": own.optimizer}[field]
    return f"({text} + {product(params, each)} [copies of {', '.join(job.lora.saved)}])"
