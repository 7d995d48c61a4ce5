"""An oracle that tries everything: small problems of one period only."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from planner.solve.problem import Column, NodeType, Problem, Workload

Choice = tuple[tuple[Column, int], ...]
"""Columns of one workload with their replicas."""


def best(p: Problem) -> tuple[int, ...] | None:
    """Least (cost, power, nodes) over all answers, compared in that order; None where there is none."""
    found = [score for choice in product(*(list(choices(w)) for w in p.workloads)) if (score := scored(p, choice))]
    return min(found, default=None)


def choices(w: Workload) -> Iterator[Choice]:
    """Every way to serve one workload."""
    if w.mode == "one":
        for c in w.columns:
            assert c.replicas is not None
            if c.rate is None or w.demand is None or c.rate * c.replicas >= w.demand[0]:
                yield ((c, c.replicas),)
        return
    assert w.demand is not None
    most = [int(w.demand[0] / (c.rate or 1)) + 1 for c in w.columns]
    for counts in product(*(range(m + 1) for m in most)):
        if sum((c.rate or 0) * n for c, n in zip(w.columns, counts, strict=True)) >= w.demand[0]:
            yield tuple(zip(w.columns, counts, strict=True))


def scored(p: Problem, choice: tuple[Choice, ...]) -> tuple[int, ...] | None:
    """Least (cost, power, nodes) of one choice for every workload; None where every way to it breaks a rule."""
    power = nodes = upkeep = 0
    ways: list[list[tuple[int, int]]] = []
    for t, node in p.node_types.items():
        needed = 0
        for time in range(2):
            at = [
                (c, n)
                for w, one in zip(p.workloads, choice, strict=True)
                for c, n in one
                if c.node == t and (w.times is None or time in w.times)
            ]
            pieces = [(c.gpus // c.nodes, c.ram) for c, n in at if c.slices is None for _ in range(n * c.nodes)]
            parts = [c.slices for c, n in at if c.slices is not None for _ in range(n)]
            if any(g > node.gpus or (node.ram is not None and r > node.ram) for g, r in pieces):
                return None
            if parts:
                assert node.slices is not None
                if any(part[k] > node.slices[k] for part in parts for k in (0, 1)):
                    return None
                one_gpu = NodeType(gpus=node.slices[0], ram=node.slices[1])
                pieces += [(1, 0)] * bins(sorted(parts, reverse=True), one_gpu)
            needed = max(needed, bins(sorted(pieces, reverse=True), node))
        present = max(node.owned, needed + (node.spares if needed else 0))
        if node.stock is not None and present > node.stock:
            return None
        ways.append(list(payments(node, present - node.owned)))
        upkeep += node.opex * node.owned
        power += node.power * present
        nodes += present
    limits = p.limits
    if (limits.power is not None and power > limits.power) or (limits.nodes is not None and nodes > limits.nodes):
        return None
    costs = []
    for paid in product(*ways):
        cost, capex = upkeep + sum(c for c, _ in paid), sum(k for _, k in paid)
        if (limits.cost is None or cost <= limits.cost) and (limits.capex is None or capex <= limits.capex):
            costs.append(cost)
    return (min(costs), power, nodes) if costs else None


def payments(node: NodeType, more: int) -> Iterator[tuple[int, int]]:
    """Cost and capex of every way to get `more` nodes."""
    rentable = 0 if node.cost is None else more if node.cost_max_nodes is None else min(more, node.cost_max_nodes)
    for rented in range(rentable + 1):
        left = more - rented
        if left == 0:
            yield rented * (node.cost or 0), 0
        elif node.buy is not None:
            yield rented * (node.cost or 0) + left * (node.buy.cost + node.opex), left * node.buy.cost


def bins(pieces: list[tuple[int, int]], node: NodeType) -> int:
    """Fewest nodes that hold the pieces: each in turn goes into every open node or a new one."""

    def place(n: int, free: tuple[tuple[int, int], ...], most: int) -> int:
        if len(free) >= most:
            return most
        if n == len(pieces):
            return len(free)
        gpus, ram = pieces[n]
        for k, (g, r) in enumerate(free):
            if gpus <= g and ram <= r and (g, r) not in free[:k]:
                most = min(most, place(n + 1, (*free[:k], (g - gpus, r - ram), *free[k + 1 :]), most))
        fresh = (node.gpus - gpus, (node.ram if node.ram is not None else 10**9) - ram)
        return min(most, place(n + 1, (*free, fresh), most))

    return place(0, (), len(pieces) + 1)
