"""Planning on a safer quantile than the median: by how much predictions are stretched."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from planner.catalog.intervals import IntervalFact, interval_of

OUTER_QUANTILE = 0.95
"""Upper end of the recorded 90 % intervals."""
MEDIAN = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Margins:
    """Factors of at least 1 on predictions before they are held against limits."""

    memory: float = 1.0
    """On bytes."""
    seconds: float = 1.0
    """On steps and times per token; rates are divided by it."""
    ttft: float = 1.0
    """On times to first token."""


def stretch(factor: float, quantile: float) -> float:
    """A factor of the 95 % quantile brought to another quantile, errors being log-normal; at least 1.

    >>> round(stretch(2.0, 0.95), 6), stretch(2.0, 0.5)
    (2.0, 1.0)
    """
    if quantile <= MEDIAN:
        return 1.0
    normal = NormalDist()
    return max(1.0, math.exp(math.log(factor) * normal.inv_cdf(quantile) / normal.inv_cdf(OUTER_QUANTILE)))


def margins_of(facts: tuple[IntervalFact, ...], *, kind: str, engine: str, quantile: float) -> Margins:
    """The factors of one kind of workload, from the intervals its validation recorded."""
    if quantile <= MEDIAN:
        return Margins()
    memory = interval_of(facts, figure="memory", kind=kind, engine=engine)
    speed = interval_of(facts, figure="speed", kind=kind, engine=engine)
    ttft = interval_of(facts, figure="ttft", kind=kind, engine=engine) if kind == "infer" else speed
    return Margins(
        memory=stretch(memory.high, quantile),
        seconds=stretch(1.0 / speed.low, quantile),
        ttft=stretch(1.0 / ttft.low, quantile),
    )
