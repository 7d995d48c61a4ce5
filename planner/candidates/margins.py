"""Planning on a safer quantile than the median: by how much predictions are stretched."""

from __future__ import annotations

from dataclasses import dataclass

from planner.catalog.intervals import IntervalFact, interval_of

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


def margins_of(facts: tuple[IntervalFact, ...], *, kind: str, engine: str, quantile: float) -> Margins:
    """The factors of one kind of workload at a quantile, from the errors its validation recorded.

    Recorded factors of speeds are those of rates: the slow end of a rate is the long end of a time.
    """
    if quantile <= MEDIAN:
        return Margins()
    memory = interval_of(facts, figure="device", kind=kind, engine=engine)
    speed = interval_of(facts, figure="speed", kind=kind, engine=engine)
    ttft = interval_of(facts, figure="ttft", kind=kind, engine=engine) if kind == "infer" else speed
    return Margins(
        memory=memory.factor_at(quantile),
        seconds=1.0 / speed.factor_at(1.0 - quantile),
        ttft=1.0 / ttft.factor_at(1.0 - quantile),
    )
