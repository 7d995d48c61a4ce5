"""The exact front of two measures: answers none of which is better in one without being worse in the other."""

from __future__ import annotations

import time
from dataclasses import dataclass

from planner.errors import NoPlanInTimeError
from planner.solve.problem import Limit, Problem
from planner.solve.solution import Solution
from planner.solve.solver import solve


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """Answers from the least of the first measure to the least of the second."""

    points: tuple[Solution, ...]
    is_complete: bool
    """Every point is proven and none is missing; False where time ended first."""


def front(problem: Problem, first: Limit = "cost", second: Limit = "power", *, time_limit_s: float = 30.0) -> Front:
    """The front by epsilon constraints: least `first`, then less and less of `second`, one step at a time.

    Both measures are whole numbers, so that no point is missed. Empty where no answer exists. Raises
    NoPlanInTimeError when time ends before the first point.
    """
    deadline_s = time.monotonic() + time_limit_s
    rest = tuple(name for name in problem.objective if name not in (first, second))
    ends = [
        solve(
            problem.model_copy(update={"objective": (*order, *rest)}),
            time_limit_s=max(0.1, deadline_s - time.monotonic()),
            why_not=False,
        )
        for order in ((first, second), (second, first))
    ]
    if any(end.status == "infeasible" for end in ends):
        return Front(points=(), is_complete=True)
    points, last = [ends[0]], ends[1]
    is_complete = all(end.status == "optimal" for end in ends)
    while is_complete and points[-1].objective[second] > last.objective[second]:
        limits = problem.limits.model_copy(update={second: points[-1].objective[second] - 1})
        asked = problem.model_copy(update={"objective": (first, second, *rest), "limits": limits})
        try:
            left_s = max(0.1, deadline_s - time.monotonic())
            point = solve(asked, time_limit_s=left_s, why_not=False, start_from=points[-1])
        except NoPlanInTimeError:
            is_complete = False
            break
        is_complete = point.status == "optimal"
        points.append(point)
    if not is_complete and points[-1].objective[second] > last.objective[second]:
        points.append(last)
    return Front(points=_undominated(points, first, second), is_complete=is_complete)


def _undominated(points: list[Solution], first: str, second: str) -> tuple[Solution, ...]:
    """In the order of the first measure; a point found in a hurry may be no better than another."""
    found: list[Solution] = []
    for point in sorted(points, key=lambda s: (s.objective[first], s.objective[second])):
        if not found or point.objective[second] < found[-1].objective[second]:
            found.append(point)
    return tuple(found)
