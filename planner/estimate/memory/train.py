"""Memory of one training run on its fullest GPU: states, then the peak over the phases of a steady step.

From the second step on, optimizer states stand throughout; gradients appear during backward (and stand
throughout where micro-batches accumulate or the engine keeps gradient buffers). `train_phases` says what each phase
holds; the largest binds.
"""

from __future__ import annotations

import numpy as np

from planner.estimate.memory.composed import memory_of
from planner.estimate.memory.device import (
    BLOCK_BYTES,
    SEGMENT_BYTES,
    STEADY_SHARE,
    context_bytes,
    steady_bytes,
    usable_bytes,
)
from planner.estimate.memory.train_activations import offloaded_activation_bytes
from planner.estimate.memory.train_buffers import (
    pipeline_buffer_bytes,
    standing_root_bytes,
    standing_workspace_bytes,
)
from planner.estimate.memory.train_phases import Phase, phases_of
from planner.estimate.memory.train_reserve import reserve_bytes
from planner.estimate.memory.train_states import States, states_of
from planner.estimate.types import Floats, Hardware, Memory, TrainJob, TrainWays

MOST_MICRO_BATCH = 65536
MOVING_PARTS = ("activations", "logits", "gradients")
"""Parts that come and go within a step, and so leave holes in the allocator's segments."""


def train_memory(job: TrainJob, ways: TrainWays, hw: Hardware) -> Memory:
    """Bytes on the fullest GPU; one entry per way."""
    states = states_of(job, ways, np.minimum(ways.gpus, hw.node_gpus))
    phases = phases_of(job, ways, states)
    totals = np.stack(np.broadcast_arrays(*(p.total for p in phases)))
    binding = np.argmax(totals, axis=0)
    shape = binding.shape
    standing = standing_workspace_bytes(job, hw) + pipeline_buffer_bytes(job, ways)
    held = {part: chosen(phases, part, binding) for part in ("activations", "logits", "gradients", "optimizer")}
    parts = {
        "weights": np.broadcast_to(states.weights, shape),
        "adapters": np.broadcast_to(states.adapters, shape),
        "optimizer": states.optimizer + held["optimizer"],
        "gradients": held["gradients"],
        "activations": held["activations"],
        "logits": held["logits"],
        "workspace": standing + chosen(phases, "workspace", binding),
    }
    allocated: Floats = sum(parts.values(), np.zeros(shape))
    context = training_context_bytes(job, ways, hw)
    moving: Floats = sum((held[part] for part in held), np.zeros(shape))
    room = usable_bytes(hw) * (1.0 - job.memory_headroom) - context
    free = np.floor((room - allocated) / BLOCK_BYTES) * BLOCK_BYTES
    fragmentation = reserve_bytes(job, phases, states, moving=moving, free=free)
    states_alone = states.weights + states.adapters + states.optimizer
    static = states_alone + states.gradients + stays_after_a_step(job, ways, hw)
    return memory_of(
        parts,
        context=context,
        fragmentation=fragmentation,
        static=static,
        host=states.host
        + offloaded_activation_bytes(job, ways) * np.minimum(ways.gpus, hw.node_gpus)
        + np.zeros(shape),
        disk=np.zeros(shape),
        tokens=np.zeros(shape),
        most=largest_micro_batch(job, ways, hw, phases, states),
        phase=np.array([p.name for p in phases])[binding],
        cached=fragmentation - steady_bytes(moving, np.zeros(1)),
    )


def chosen(phases: tuple[Phase, ...], part: str, binding: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Floats:
    """One part of the phase that binds, each row its own."""
    columns = np.stack([np.broadcast_to(p.part(part), binding.shape) for p in phases])
    result: Floats = np.take_along_axis(columns, binding[None, ...], axis=0)[0]
    return result


def training_context_bytes(job: TrainJob, ways: TrainWays, hw: Hardware) -> Floats:
    """Context and NCCL; engines of a time when CUDA loaded every kernel at once state their larger context."""
    stated = job.engine.optional_number("cuda_context_bytes") or 0.0
    return np.maximum(context_bytes(hw, ways.gpus), stated)


def stays_after_a_step(job: TrainJob, ways: TrainWays, hw: Hardware) -> Floats:
    """Workspaces, schedule buffers and gathered parameters, for engines whose reports of static memory count them."""
    if not job.engine.flag("static_counts_workspaces"):
        return np.zeros(1)
    return standing_workspace_bytes(job, hw) + pipeline_buffer_bytes(job, ways) + standing_root_bytes(job, ways)


def largest_micro_batch(
    job: TrainJob, ways: TrainWays, hw: Hardware, phases: tuple[Phase, ...], states: States
) -> Floats:
    """Sequences that every phase holds, with the allocator's reserve for fixed lengths; 0 where one does not fit."""
    reserve = 1.0 + STEADY_SHARE
    room = room_for_phases(job, ways, hw, states)
    most = np.full(1, float(MOST_MICRO_BATCH))
    for phase in phases:
        fixed = phase.fixed_total
        each = phase.scaling_total / ways.micro_batch
        fits = np.floor((room / reserve - fixed) / np.maximum(each, 1.0))
        most = np.minimum(most, np.where(each > 0, fits, np.where(fixed * reserve > room, 0.0, MOST_MICRO_BATCH)))
    result: Floats = np.clip(most, 0.0, float(MOST_MICRO_BATCH))
    return result


def room_for_phases(job: TrainJob, ways: TrainWays, hw: Hardware, states: States) -> Floats:
    """Usable bytes less what stands whatever the phase, and one part-filled segment."""
    standing = states.weights + states.adapters + states.optimizer
    standing = standing + standing_workspace_bytes(job, hw) + pipeline_buffer_bytes(job, ways)
    usable = usable_bytes(hw) * (1.0 - job.memory_headroom) - training_context_bytes(job, ways, hw)
    result: Floats = usable - standing - SEGMENT_BYTES
    return result
