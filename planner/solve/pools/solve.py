"""The answer to a problem of pools, and what it looks like in files."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ortools.math_opt.python import mathopt

from planner.solve.instance import Instance
from planner.solve.pools.relaxation import Relaxation
from planner.solve.pools.search import GaveUpError, Search
from planner.solve.pools.types import MEASURES, Counts, Floats, Pools, added, pools_of
from planner.solve.solution import Assignment, Payment, Solution

FULL = 1.0 + 5e-10
"""Nodes may be this full: half of what the checker grants fractions."""
NOTHING = 1e-12
"""Share of a workload that is an error of floating point."""


def least_pools(i: Instance, has_ended: Callable[[], bool]) -> Solution | None:
    """The proven best answer where all demand is split at will; None where the problem is of another kind, where
    the search is too long, and where a limit excludes the fleet that is best without limits."""
    pools = pools_of(i)
    if pools is None:
        return None
    try:
        counts = Search(pools=pools, relaxation=Relaxation.of(pools), has_ended=has_ended).least_counts()
    except GaveUpError:
        return None
    shares = spread(pools, counts)
    if shares is None:
        return None
    objective = objectives(i, pools, counts)
    if any(objective[name] > limit for name, limit in i.problem.limits.given().items() if name in objective):
        return None
    if "capex_per_period" in i.problem.limits.given():
        return None
    return Solution(
        status="optimal",
        objective=objective,
        bound=float(objective[i.problem.objective[0]]),
        gap=0.0,
        nodes={t: (int(n),) for t, n in zip(pools.types, counts, strict=True) if n} | idle(i, pools),
        payments=payments(i, pools, counts),
        assignments=assignments(i, pools, shares),
    )


def spread(pools: Pools, counts: Counts) -> Floats | None:
    """Shares of each workload (row) by type (column) that fill every type as little as can be; None where they do
    not fit to the precision that is checked."""
    m = mathopt.Model()
    share: dict[tuple[int, int], mathopt.Variable] = {}
    full = m.add_variable(lb=0.0)
    m.minimize(full)
    capacity = [m.add_linear_constraint(ub=0.0) for _ in counts]
    for row, n in zip(capacity, counts.tolist(), strict=True):
        row.set_coefficient(full, -float(n))
    for r, loads in enumerate(pools.loads):
        served = m.add_linear_constraint(lb=1.0, ub=1.0)
        for t in np.nonzero(pools.runs[r] & (counts > 0))[0].tolist():
            share[r, t] = m.add_variable(lb=0.0)
            served.set_coefficient(share[r, t], 1.0)
            capacity[t].set_coefficient(share[r, t], float(loads[t]))
    result = mathopt.solve(m, mathopt.SolverType.GLOP)
    if result.termination.reason != mathopt.TerminationReason.OPTIMAL:
        return None
    found = np.zeros_like(pools.loads)
    for key, value in zip(share, result.variable_values(list(share.values())), strict=True):
        found[key] = value if value > NOTHING else 0.0
    found /= found.sum(axis=1, keepdims=True)
    in_use = (found * pools.finite_loads).sum(axis=0)
    return found if np.all(in_use <= counts * FULL) else None


def objectives(i: Instance, pools: Pools, counts: Counts) -> dict[str, int]:
    """Every measure of the answer."""
    nodes = i.node_types
    rented = dict(zip(pools.types, (counts - pools.least).tolist(), strict=True))
    found = {name: sum(added(name, n) * rented.get(t, 0) for t, n in nodes.items()) for name in MEASURES}
    for name in MEASURES:
        if name not in ("cost", "capex"):
            found[name] += sum(added(name, n) * n.owned for n in nodes.values())
    found["cost"] += sum(n.opex * n.owned for n in nodes.values())
    return {**found, "preference": 0, "moves": 0}


def idle(i: Instance, pools: Pools) -> dict[str, tuple[int, ...]]:
    """Owned nodes of types that nothing can use."""
    return {t: (n.owned,) for t, n in i.node_types.items() if t not in pools.types and n.owned}


def payments(i: Instance, pools: Pools, counts: Counts) -> tuple[Payment, ...]:
    """Rents, and the upkeep of owned nodes."""
    rented = dict(zip(pools.types, (counts - pools.least).tolist(), strict=True))
    found = []
    for t, n in i.node_types.items():
        if n.opex and n.owned:
            found.append(Payment(period=0, node=t, kind="opex", nodes=n.owned, amount=n.owned * n.opex))
        if rented.get(t):
            found.append(Payment(period=0, node=t, kind="rent", nodes=rented[t], amount=rented[t] * (n.cost or 0)))
    return tuple(found)


def assignments(i: Instance, pools: Pools, shares: Floats) -> dict[str, tuple[Assignment, ...]]:
    """GPUs of each column, by workload."""
    chosen = {}
    for w, row, ways in zip(i.workloads, shares.tolist(), pools.ways, strict=True):
        rows = [
            Assignment(column=way.column.id, replicas=float(way.shares[0]) * share)
            for share, way in zip(row, ways, strict=True)
            if way is not None and share > 0
        ]
        chosen[w.id] = tuple(sorted(rows, key=lambda a: a.column))
    return chosen
