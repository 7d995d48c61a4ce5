"""Reserved over allocated in training: the closed form of the caching allocator's cache."""

from __future__ import annotations

import numpy as np

from planner.estimate.memory.device import SEGMENT_BYTES
from planner.estimate.memory.train_phases import Phase
from planner.estimate.memory.train_states import States
from planner.estimate.types import Floats, TrainJob
from planner.units import MIB

STABLE_SHARE = 0.03
"""Of what comes and goes, where every step has the same shapes: reserved over allocated is 1.02 to 1.10 in public
logs."""
BLOCK_BYTES = 2 * MIB
"""The allocator takes device memory in pieces of this size."""
LOGITS_SHARE = 0.2
STATES_SHARE = 0.15
"""Blocks the replayed allocator (torch CUDACachingAllocator) holds at equal lengths beyond that: of the logits, few and
large, and of optimizer states first made inside the first step, which settle in the segments of freed activations and
break them up. Least squares over 127 simulated runs of ten architectures, November 2026: 4 % off on average."""


def reserve_bytes(job: TrainJob, phases: tuple[Phase, ...], states: States, *, moving: Floats, free: Floats) -> Floats:
    """Reserved but not allocated: a share of what comes and goes, one part-filled segment, and blocks left over.

    What the allocator holds beyond the first two is bounded by what is `free`: before it fails, it gives cached blocks
    back and tries again.
    """
    stable = steady_bytes(moving)
    result: Floats = np.maximum(stable, np.minimum(stable + left_over_bytes(job, phases, states), free))
    return result


def steady_bytes(moving: Floats) -> Floats:
    """The share of what comes and goes, and one part-filled segment: what no retry gives back."""
    result: Floats = STABLE_SHARE * moving + SEGMENT_BYTES
    return result


def left_over_bytes(job: TrainJob, phases: tuple[Phase, ...], states: States) -> Floats:
    """Cached blocks above the peak of the phase that binds.

    Sequences of varying length ask for blocks of ever new sizes, and those of shorter ones are too small:
    `length_variation` of the engine profile is their size as a multiple of the logits; the many smaller blocks of the
    layers merge and are used again.
    """
    peak = np.maximum.reduce(np.broadcast_arrays(*(p.total for p in phases)))
    share = logits_share(job)
    reserved = np.maximum.reduce(np.broadcast_arrays(*(p.total + share * p.part("logits") for p in phases)))
    result: Floats = reserved - peak + late_states_bytes(job, states)
    return result


def logits_share(job: TrainJob) -> float:
    """Cached blocks of the loss, as a multiple of the logits."""
    return max(job.engine.optional_number("length_variation") or 0.0, LOGITS_SHARE)


def late_states_bytes(job: TrainJob, states: States) -> Floats:
    """Holes around optimizer states that torch's optimizers make inside the first step."""
    result: Floats = STATES_SHARE * job.engine.flag("late_states") * states.optimizer
    return result
