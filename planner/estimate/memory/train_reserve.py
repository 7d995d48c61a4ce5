"""Reserved over allocated in training: the closed form of the caching allocator's cache."""

from __future__ import annotations

import numpy as np

from planner.estimate.memory.device import SEGMENT_BYTES
from planner.estimate.memory.train_phases import Phase
from planner.estimate.types import Floats, TrainJob

STABLE_SHARE = 0.03
"""Of what comes and goes, where every step has the same shapes: reserved over allocated is 1.02 to 1.10 in public
logs."""


def reserve_bytes(job: TrainJob, phases: tuple[Phase, ...], *, moving: Floats, free: Floats) -> Floats:
    """Reserved but not allocated: a share of what comes and goes, one part-filled segment, and blocks left over.

    Sequences of varying length ask for blocks of ever new sizes; cached ones of earlier steps are too small and stay
    until memory runs out (`free`), when the allocator gives them back.
    """
    stable = STABLE_SHARE * moving + SEGMENT_BYTES
    result: Floats = np.maximum(stable, np.minimum(stable + left_over_bytes(job, phases), free))
    return result


def left_over_bytes(job: TrainJob, phases: tuple[Phase, ...]) -> Floats:
    """Cached blocks of shorter sequences, above the peak of the phase that binds.

    `length_variation` of the engine profile is their size as a multiple of the logits, whose few large blocks a
    longer sequence cannot reuse; the many smaller ones of the layers merge and are used again.
    """
    share = job.engine.optional_number("length_variation") or 0.0
    peak = np.maximum.reduce(np.broadcast_arrays(*(p.total for p in phases)))
    reserved = np.maximum.reduce(np.broadcast_arrays(*(p.total + share * p.part("logits") for p in phases)))
    result: Floats = reserved - peak
    return result
