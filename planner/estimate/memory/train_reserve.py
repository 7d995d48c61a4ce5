"""Reserved over allocated in training: the closed form of the caching allocator's cache."""

from __future__ import annotations

import numpy as np

from planner.estimate.memory.device import SEGMENT_BYTES
from planner.estimate.types import Floats, TrainJob

STABLE_SHARE = 0.03
"""Of what comes and goes, where every step has the same shapes: reserved over allocated is 1.02 to 1.10 in public
logs."""


def reserve_bytes(job: TrainJob, *, moving: Floats, logits: Floats, free: Floats) -> Floats:
    """Reserved but not allocated at the peak: a share of what comes and goes, and one part-filled segment.

    Sequences of varying length ask for blocks of ever new sizes; cached ones of earlier steps are too small and stay
    until memory runs out (`free`), when the allocator gives them back.
    """
    stable = STABLE_SHARE * moving + SEGMENT_BYTES
    share = job.engine.optional_number("length_variation_reserve") or 0.0
    varied = np.maximum(np.minimum(share * (moving + logits), free), 0.0)
    result: Floats = np.maximum(stable, varied)
    return result
