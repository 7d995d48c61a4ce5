"""Times of day: stretches in which the same workloads run, for fleets that do one thing by day and another by night."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from planner.spec.day import ranges
from planner.spec.types import Workload
from planner.units import MINUTES_PER_DAY, MINUTES_PER_HOUR


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeOfDay:
    """All minutes in which the same workloads run."""

    hours: tuple[str, ...]
    """`HH:MM-HH:MM`."""
    workloads: frozenset[str]


def times_of_day(workloads: Sequence[Workload]) -> tuple[TimeOfDay, ...]:
    """The times that the workloads' hours tell apart, by their first minute; one for a fleet without hours."""
    runs = {w.name: ranges(w.hours) or ((0, MINUTES_PER_DAY),) for w in workloads}
    cuts = sorted({0, MINUTES_PER_DAY, *(m for found in runs.values() for pair in found for m in pair)})
    together: dict[frozenset[str], list[tuple[int, int]]] = {}
    for start, end in pairwise(cuts):
        active = frozenset(name for name, found in runs.items() if any(a <= start < b for a, b in found))
        together.setdefault(active, []).append((start, end))
    return tuple(TimeOfDay(hours=tuple(texts(stretches)), workloads=active) for active, stretches in together.items())


def texts(stretches: Sequence[tuple[int, int]]) -> list[str]:
    """Ranges of minutes as text; neighbours are joined, also over midnight.

    >>> texts([(0, 480), (1200, 1440)]), texts([(480, 600), (600, 1200)])
    (['20:00-08:00'], ['08:00-20:00'])
    """
    joined: list[tuple[int, int]] = []
    for start, end in stretches:
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    if len(joined) > 1 and joined[0][0] == 0 and joined[-1][1] == MINUTES_PER_DAY:
        joined = [*joined[1:-1], (joined[-1][0], joined[0][1])]
    return [f"{clock(start)}-{clock(end)}" for start, end in joined]


def clock(minute: int) -> str:
    """Minutes from midnight as `HH:MM`.

    >>> clock(510)
    '08:30'
    """
    return f"{minute // MINUTES_PER_HOUR:02d}:{minute % MINUTES_PER_HOUR:02d}"


def times_of(workload: str, day: Sequence[TimeOfDay]) -> tuple[int, ...] | None:
    """Indices of the times in which a workload runs; None where there is only one time."""
    return tuple(n for n, time in enumerate(day) if workload in time.workloads) if len(day) > 1 else None
