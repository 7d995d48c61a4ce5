"""Seconds by cause: what every operation model returns and every composition adds up."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import reduce
from typing import Self, get_args

import numpy as np
from numpy.typing import NDArray

from planner.estimate.speed.kernels import Cause
from planner.estimate.types import Floats

CAUSES: tuple[Cause, ...] = get_args(Cause)


def _nothing() -> Floats:
    return np.zeros(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """Seconds of some work by what they were spent on, one entry per way. Parts follow one another: they add up."""

    compute: Floats = field(default_factory=_nothing)
    memory_bandwidth: Floats = field(default_factory=_nothing)
    communication: Floats = field(default_factory=_nothing)
    overhead: Floats = field(default_factory=_nothing)
    host_link: Floats = field(default_factory=_nothing)

    @property
    def total_s(self) -> Floats:
        """All causes together."""
        return self.compute + self.memory_bandwidth + self.communication + self.overhead + self.host_link

    def __add__(self, other: Self) -> Self:
        return type(self)(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})

    def times(self, factor: Floats | float) -> Self:
        """The same work `factor` times over."""
        return type(self)(**{f.name: getattr(self, f.name) * factor for f in fields(self)})

    def shares(self, num_ways: int) -> dict[str, Floats]:
        """Seconds by cause as full columns."""
        return {cause: np.broadcast_to(getattr(self, cause), (num_ways,)).astype(np.float64) for cause in CAUSES}


def add(*parts: Seconds) -> Seconds:
    """The sum of the parts."""
    return reduce(lambda a, b: a + b, parts, Seconds())


def larger_cause(compute_s: Floats, memory_s: Floats, total_s: Floats) -> Seconds:
    """One operation's time, booked under whichever of computing and moving data takes longer."""
    by_compute = compute_s >= memory_s
    return Seconds(compute=np.where(by_compute, total_s, 0.0), memory_bandwidth=np.where(by_compute, 0.0, total_s))


def binding(seconds: Seconds, num_ways: int) -> NDArray[np.str_]:
    """The cause that takes most of the time, one per way."""
    columns = np.stack(list(seconds.shares(num_ways).values()))
    names: NDArray[np.str_] = np.asarray(CAUSES)[np.argmax(columns, axis=0)]
    return names
