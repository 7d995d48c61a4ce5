"""The benchmark's problems, drawn small: the same from the same seed, solved, proven and checked."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.instances import FAMILIES, fleet, purchase, serving
from planner.solve.problem import Problem, problem_json
from planner.solve.solver import solve
from planner.solve.verify import verify

SMALL: dict[str, Callable[[int], Problem]] = {
    "fleet": lambda s: fleet(s, workloads=6, columns=90, types=5),
    "fleet of many sizes": lambda s: fleet(s, workloads=6, columns=90, types=4, steps=tuple(range(20, 120, 7))),
    "serving, shared pools": lambda s: serving(s, classes=9, types=4),
    "serving, whole replicas": lambda s: serving(s, classes=9, types=4, mode="replicas"),
    "purchases, shared pools": lambda s: purchase(s, periods=3, types=2, services=2),
    "purchases, whole replicas": lambda s: purchase(s, periods=3, types=2, services=2, mode="replicas"),
    "purchases, one way each": lambda s: purchase(s, periods=3, types=2, services=2, mode="one"),
}


@pytest.mark.parametrize("name", SMALL)
def test_a_small_problem_of_every_family_is_proven_and_holds(name: str) -> None:
    problem = SMALL[name](1)
    solution = solve(problem)
    assert solution.status == "optimal"
    assert solution.bound == solution.objective["cost"]
    assert verify(problem, solution) == ()


@pytest.mark.parametrize("name", ["fleet-30", "purchase-fluid", "serving-fluid"])
def test_a_seed_gives_the_same_problem_each_time(name: str) -> None:
    draw = FAMILIES[name].draw
    assert problem_json(draw(3)) == problem_json(draw(3))
    assert problem_json(draw(3)) != problem_json(draw(4))
