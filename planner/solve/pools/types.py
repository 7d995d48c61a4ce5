"""A problem of pools as arrays: what each workload would load on each node type, and what a node counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.solve.instance import Instance
from planner.solve.measures import PER_NODE
from planner.solve.problem import NodeType
from planner.solve.ways import Way

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
MEASURES = ("cost", *PER_NODE, "capex")
"""Measures that are sums over the nodes; `preference` and `moves` are 0 where demand is split at will."""
MOST_NODES = 10_000
"""Of one type; with more the counts are no longer what makes the problem hard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pools:
    """One period in which every workload is split at will over nodes that are rented or owned."""

    types: tuple[str, ...]
    loads: Floats
    """Nodes of a type (column) that the whole of a workload (row) would fill; infinite where it cannot run there."""
    ways: tuple[tuple[Way | None, ...], ...]
    """The way behind each load."""
    least: Counts
    """Nodes of each type that are owned: they are there in any case."""
    most: Counts
    """Of each type, that could be needed and can be had."""
    measured: tuple[str, ...]
    """The objectives that count nodes, in order."""
    per_node: NDArray[np.int64]
    """What one more node of a type (column) adds to each of them (row)."""

    @property
    def runs(self) -> NDArray[np.bool_]:
        """Where a workload can run at all."""
        return np.isfinite(self.loads)

    @property
    def finite_loads(self) -> Floats:
        """Loads with 0 where a workload cannot run."""
        return np.where(self.runs, self.loads, 0.0)


def pools_of(i: Instance) -> Pools | None:
    """The problem as pools; None where it is of another kind."""
    is_pooled = all(w.mode == "fluid" for w in i.workloads)
    if not is_pooled or len(i.periods) > 1 or len(i.times) > 1:
        return None
    types = tuple(t for t in i.node_types if i.ways_on[t])
    if not types or any(not is_plain(n) for n in i.node_types.values()):
        return None
    loads = np.full((len(i.workloads), len(types)), np.inf)
    ways: list[list[Way | None]] = [[None] * len(types) for _ in i.workloads]
    column = {t: n for n, t in enumerate(types)}
    for row, w in enumerate(i.workloads):
        for way in i.ways[w.id]:
            t = column[way.column.node]
            load = float(way.shares[0]) / i.node_types[way.column.node].gpus
            if load < loads[row, t]:
                loads[row, t], ways[row][t] = load, way
    nodes = [i.node_types[t] for t in types]
    most = np.array([most_there(n, i.most_nodes[t]) for t, n in zip(types, nodes, strict=True)], dtype=np.int64)
    measured = tuple(name for name in i.problem.objective if name in MEASURES)
    per_node = np.array([[added(name, n) for n in nodes] for name in measured], dtype=np.int64)
    if not measured or not per_node[0].all() or most.max(initial=0) > MOST_NODES:
        return None
    least = np.array([n.owned for n in nodes], dtype=np.int64)
    return Pools(
        types=types,
        loads=loads,
        ways=tuple(tuple(row) for row in ways),
        least=least,
        most=np.maximum(least, most),
        measured=measured,
        per_node=per_node,
    )


def is_plain(n: NodeType) -> bool:
    """Rented or owned, and nothing else."""
    is_had = n.reserve is None and n.buy is None and not n.spares and (n.cost is not None or n.owned > 0)
    return is_had and (n.stock is None or n.stock >= n.owned)


def most_there(n: NodeType, needed: int) -> int:
    """Nodes that could be needed and can be had."""
    rentable = 0 if n.cost is None else needed if n.cost_max_nodes is None else n.cost_max_nodes
    return min(needed, n.owned + rentable, needed if n.stock is None else n.stock)


def added(name: str, n: NodeType) -> int:
    """What one more rented node adds to a measure."""
    if name == "cost":
        return n.cost or 0
    return n.capex if name == "capex" else PER_NODE[name](n)


def values(pools: Pools, counts: Counts) -> NDArray[np.int64]:
    """The objectives of vectors of counts (rows), less what owned nodes add in any case."""
    found: NDArray[np.int64] = (counts - pools.least) @ pools.per_node.T
    return found


def in_order(objectives: Sequence[NDArray[np.int64]]) -> NDArray[np.intp]:
    """Rows from the least to the greatest, the first objective first."""
    return np.lexsort(tuple(reversed(objectives)))
