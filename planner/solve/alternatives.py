"""What other choices would cost the whole fleet: the problem solved again with one of them forced."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from planner.errors import NoPlanInTimeError
from planner.solve.problem import Column, Problem, Workload
from planner.solve.scale import replicas_for
from planner.solve.solution import Solution
from planner.solve.solver import solve

MOST_OTHERS = 3
"""Node types beside its own on which another workload may make room for a forced choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forced:
    """The fleet with one choice forced."""

    name: str
    solution: Solution | None
    """None where no fleet exists with that choice, or `in_time` is False."""
    more: int | None
    """Of the first objective, beyond the best fleet's."""
    in_time: bool = True

    @property
    def is_proven(self) -> bool:
        """Nothing cheaper exists with this choice."""
        return self.solution is not None and self.solution.status == "optimal"


def forced_choices(
    problem: Problem,
    best: Solution,
    workload: str,
    groups: Mapping[str, Collection[str]],
    *,
    time_limit_s: float | None = 5.0,
    deterministic_limit: float | None = None,
) -> tuple[Forced, ...]:
    """For each group of columns of one workload, by name: the best fleet that takes one of it; cheapest first.

    `deterministic_limit` bounds the work of each (see `solve`), the time limit that of all together.
    """
    effort = _Effort.of(time_limit_s, deterministic_limit)
    found = [
        _forced(name, _only(problem, {workload: frozenset(columns)}), best, effort)
        for name, columns in sorted(groups.items())
    ]
    return tuple(sorted(found, key=lambda f: (f.more is None, f.more or 0, f.name)))


def forced_nearby(
    problem: Problem, best: Solution, workload: str, columns: Collection[str], *, name: str, deterministic_limit: float
) -> Forced:
    """The best fleet that takes one of the columns while the other workloads keep what they have or take one of the
    MOST_OTHERS cheapest node types for them: no more than that fleet costs, and proven only where it costs nothing
    more than the best.

    Where there is no such fleet nothing is said.
    """
    found = _forced(
        name, _nearby(problem, best, workload, frozenset(columns)), best, _Effort(None, deterministic_limit)
    )
    if found.solution is None or found.more is None:
        return Forced(name=name, solution=None, more=None, in_time=False)
    is_least = found.is_proven and best.status == "optimal" and found.more == 0
    return replace(found, solution=found.solution.model_copy(update={"status": "optimal" if is_least else "feasible"}))


def _nearby(problem: Problem, best: Solution, workload: str, columns: frozenset[str]) -> Problem:
    """The problem with one workload held to some columns and the others to a few."""
    kept = {workload: columns}
    for w in problem.workloads:
        if w.id != workload:
            kept[w.id] = frozenset(a.column for a in best.assignments.get(w.id, ())) | _cheapest(problem, w)
    asked = _only(problem, kept)
    used = {c.node for w in asked.workloads for c in w.columns}
    types = {t: n for t, n in problem.node_types.items() if t in used or n.owned}
    return asked.model_copy(update={"node_types": types})


def _cheapest(problem: Problem, w: Workload) -> frozenset[str]:
    """The columns that are cheapest on their own, by their share of a node, each on another node type."""

    def price(c: Column) -> float:
        node = problem.node_types[c.node]
        demand = max(w.demand or (), default=None)
        replicas = c.replicas or (replicas_for(demand, c.rate) if demand is not None and c.rate else 1)
        return replicas * c.gpus * (node.cost or 0) / node.gpus

    found: dict[str, str] = {}
    for c in sorted(w.columns, key=lambda c: (price(c), c.id)):
        found.setdefault(c.node, c.id)
        if len(found) == MOST_OTHERS:
            break
    return frozenset(found.values())


def all_on(
    problem: Problem,
    best: Solution,
    groups: Mapping[str, Collection[str]],
    *,
    time_limit_s: float | None = 10.0,
    deterministic_limit: float | None = None,
) -> tuple[Forced, ...]:
    """For each group of node types, by name (all nodes of one GPU type, say): the best fleet of these alone."""
    effort = _Effort.of(time_limit_s, deterministic_limit)
    found = []
    for name, types in sorted(groups.items()):
        columns = {w.id: frozenset(c.id for c in w.columns if c.node in types) for w in problem.workloads}
        if all(columns.values()):
            found.append(_forced(name, _only(problem, columns), best, effort))
        else:
            found.append(Forced(name=name, solution=None, more=None))
    return tuple(sorted(found, key=lambda f: (f.more is None, f.more or 0, f.name)))


def _only(problem: Problem, columns: Mapping[str, frozenset[str]]) -> Problem:
    """The problem with some workloads held to some of their columns, and its first objective alone."""
    workloads = tuple(
        w.model_copy(update={"columns": tuple(c for c in w.columns if c.id in columns[w.id])}) if w.id in columns else w
        for w in problem.workloads
    )
    return problem.model_copy(update={"workloads": workloads, "objective": problem.objective[:1]})


@dataclass(frozen=True, slots=True)
class _Effort:
    """How long all questions together, and how hard each, may be worked on."""

    deadline_s: float | None
    deterministic_limit: float | None

    @staticmethod
    def of(time_limit_s: float | None, deterministic_limit: float | None) -> _Effort:
        """From now on."""
        return _Effort(None if time_limit_s is None else time.monotonic() + time_limit_s, deterministic_limit)


def _forced(name: str, asked: Problem, best: Solution, effort: _Effort) -> Forced:
    left_s = None if effort.deadline_s is None else effort.deadline_s - time.monotonic()
    if left_s is not None and left_s <= 0:
        return Forced(name=name, solution=None, more=None, in_time=False)
    try:
        found = solve(
            asked,
            time_limit_s=left_s,
            deterministic_limit=effort.deterministic_limit,
            start_from=best,
            why_not=False,
        )
    except NoPlanInTimeError:
        return Forced(name=name, solution=None, more=None, in_time=False)
    if found.status == "infeasible":
        return Forced(name=name, solution=None, more=None)
    first = asked.objective[0]
    return Forced(name=name, solution=found, more=found.objective[first] - best.objective[first])
