"""A fleet near the one in use: the fewest changes among the best answers, or at a bounded extra cost."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from fractions import Fraction

from planner.solve.problem import LIMITS, Column, Problem, Workload
from planner.solve.solution import Solution
from planner.solve.solver import solve

InUse = Mapping[str, Collection[str]]
"""Columns that run today, by workload; ids as in the new problem."""


def in_use(old: Solution) -> dict[str, frozenset[str]]:
    """The columns an answer takes."""
    return {w: frozenset(a.column for a in found) for w, found in old.assignments.items()}


def counting_moves(problem: Problem, running: InUse) -> Problem:
    """The problem with every replica that would have to be set up anew counted as a move.

    Columns that run today count nothing; workloads that are new count nothing either, for they must be set up anyway.
    """
    return problem.model_copy(update={"workloads": tuple(_counted(w, running.get(w.id)) for w in problem.workloads)})


def least_change(
    problem: Problem,
    running: InUse,
    *,
    extra_share: Fraction = Fraction(0),
    time_limit_s: float | None = None,
    seed: int = 0,
) -> Solution:
    """The answer with the fewest moves whose first objective is at most `extra_share` above the least there is.

    Raises NoPlanInTimeError as `solve` does. An infeasible problem is explained as `solve` explains it.
    """
    best = solve(problem, time_limit_s=time_limit_s, seed=seed)
    if best.status == "infeasible" or problem.objective[0] not in type(problem.limits).model_fields:
        return best
    asked = near_the_best(counting_moves(problem, running), best, extra_share=extra_share)
    return solve(asked, time_limit_s=time_limit_s, seed=seed, start_from=best)


def near_the_best(problem: Problem, best: Solution, *, extra_share: Fraction = Fraction(0)) -> Problem:
    """The problem of the fewest moves among answers whose first objective is at most `extra_share` above `best`.

    Its own limits hold as before. The first objective must be one that can be limited.
    """
    first = problem.objective[0]
    assert first in LIMITS, f"{first} cannot be limited"
    allowed = int(best.objective[first] * (1 + extra_share))
    own = getattr(problem.limits, first)
    limits = problem.limits.model_copy(update={first: allowed if own is None else min(allowed, own)})
    objective = tuple(dict.fromkeys(("moves", *problem.objective)))
    return problem.model_copy(update={"limits": limits, "objective": objective})


def _counted(w: Workload, running: Collection[str] | None) -> Workload:
    columns = tuple(c.model_copy(update={"moves": _moves(w, c, running)}) for c in w.columns)
    return w.model_copy(update={"columns": columns})


def _moves(w: Workload, c: Column, running: Collection[str] | None) -> int:
    if running is None or c.id in running:
        return 0
    return c.replicas or 1 if w.mode == "one" else 1
