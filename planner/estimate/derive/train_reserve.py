"""Reserve, context and largest micro-batch of training, step by step."""

from __future__ import annotations

import numpy as np

from planner.catalog.runtime import runtime_facts
from planner.estimate.derive.steps import exact, part, scalar, step, total
from planner.estimate.document import DerivationStep, MemoryDocument
from planner.estimate.memory.device import BLOCK_BYTES, SEGMENT_BYTES, STEADY_SHARE
from planner.estimate.memory.train import MOST_MICRO_BATCH, room_for_phases
from planner.estimate.memory.train_phases import Phase
from planner.estimate.memory.train_reserve import (
    late_states_bytes,
    layer_share,
    left_over_bytes,
    logits_share,
)
from planner.estimate.memory.train_states import States, states_of
from planner.estimate.types import Hardware, TrainJob, TrainWays

LOGS = "reserved over peak allocated in public logs and in replays of the torch CUDACachingAllocator; 20 MiB segments"


def reserve_step(
    job: TrainJob, memory: MemoryDocument, states: States, phase: Phase, phases: tuple[Phase, ...]
) -> DerivationStep:
    """Reserved above allocated."""
    parts = memory.per_gpu_bytes
    moving = scalar(phase.total) - scalar(phase.part("workspace"))
    left_over, late = scalar(left_over_bytes(job, phases, states)), scalar(late_states_bytes(job, states))
    room = memory.usable_bytes * (1.0 - job.memory_headroom) - parts["context"] - memory.allocated_peak_bytes
    wanted = STEADY_SHARE * moving + SEGMENT_BYTES
    stable = f"{STEADY_SHARE:g} x {exact(moving)} + {exact(SEGMENT_BYTES)}"
    if left_over and wanted + left_over <= room:
        formula = (
            "share of what comes and goes + one part-filled segment + cached blocks of loss and layers "
            f"({logits_share(job):g} x logits + {layer_share(job):g} x one layer's backward, above the binding peak) + "
            "holes around optimizer states"
        )
        numbers = f"{stable} + {total((('loss and layers', left_over - late), ('states', late)))}"
    elif left_over and room > wanted:
        formula = "cached blocks fill what is free, in pieces of 2 MiB, until the allocator gives them back"
        usable = f"{memory.usable_bytes:,} x {exact(1.0 - job.memory_headroom)}"
        left = f"{usable} - {parts['context']:,} - {memory.allocated_peak_bytes:,}"
        numbers = f"floor(({left}) / {BLOCK_BYTES:,}) x {BLOCK_BYTES:,}"
    else:
        formula, numbers = "share of what comes and goes at the peak + one part-filled segment", stable
    return part("fragmentation", formula, numbers, parts["fragmentation"], LOGS)


def context_step(job: TrainJob, ways: TrainWays, hw: Hardware, memory: MemoryDocument) -> DerivationStep:
    """CUDA context and NCCL, or the larger context that the engine's profile states."""
    facts, arch = runtime_facts(), str(hw.arch.reshape(-1)[0])
    nccl = facts.nccl_bytes.of(arch) if scalar(ways.gpus) > 1 else 0
    terms = [("context", float(facts.context_bytes.of(arch))), ("NCCL", float(nccl))]
    stated = job.engine.optional_number("cuda_context_bytes") or 0.0
    if stated > sum(amount for _, amount in terms):
        terms = [("context of the engine's time", stated)]
    return part(
        "context",
        "CUDA context + NCCL buffers (several GPUs)",
        total(terms),
        memory.per_gpu_bytes["context"],
        f"{facts.context_bytes.source}, {facts.context_bytes.as_of}",
    )


def largest_step(
    job: TrainJob, ways: TrainWays, hw: Hardware, memory: MemoryDocument, phases: tuple[Phase, ...]
) -> DerivationStep:
    """The largest micro-batch: the phase that leaves least room, its fixed bytes taken off."""
    states = states_of(job, ways, np.minimum(ways.gpus, hw.node_gpus))
    room, reserve = scalar(room_for_phases(job, ways, hw, states)), 1.0 + STEADY_SHARE
    micro = scalar(ways.micro_batch)

    def most(phase: Phase) -> float:
        fixed, each = scalar(phase.fixed_total), scalar(phase.scaling_total) / micro
        if each > 0:
            return (room / reserve - fixed) / max(each, 1.0)
        return -1.0 if fixed * reserve > room else float(MOST_MICRO_BATCH)

    tightest = min(phases, key=most)
    fixed, each = scalar(tightest.fixed_total), scalar(tightest.scaling_total) / micro
    numbers = f"max(0, floor(({exact(room)} / {reserve:g} - {exact(fixed)}) / {exact(max(each, 1.0))}))"
    if each <= 0:
        numbers = f"{memory.max_batch} [{tightest.name} needs {exact(fixed)} bytes whatever the batch]"
    return step(
        "memory.max_batch",
        f"largest micro-batch: floor((room / {reserve:g} - fixed bytes) / bytes of a sequence) of the tightest phase "
        f"({tightest.name}), where room = usable x (1 - headroom) - states - workspaces - context - one segment",
        numbers,
        exact(memory.max_batch),
        "every phase of the step, with the allocator's reserve",
    )
