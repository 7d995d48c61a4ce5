"""One column that can be used at all, sized."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from planner.solve.patterns import Size
from planner.solve.problem import Column


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One column that can be used at all."""

    workload: str
    column: Column
    size: Size
    """GPUs and memory of one piece: what one replica takes of each node it sits on."""
    replicas: tuple[int, ...]
    """Mode `one`: replicas in each period. Mode `replicas`: the most that could be needed, in each period."""
    slices: Size | None = None
    """Compute and memory slices of one GPU; its `size` is then that of a whole one."""
    least_nodes: int = 1
    """Nodes on which the replicas sit at least."""
    times: range | tuple[int, ...] = (0,)
    """Times of day in which it runs."""
    shares: tuple[Fraction, ...] = ()
    """Mode `fluid`: GPUs that would serve the whole demand, in each period."""

    @property
    def key(self) -> tuple[str, str]:
        return self.workload, self.column.id
