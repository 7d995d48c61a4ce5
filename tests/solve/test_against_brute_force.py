"""The solver beside an oracle that tries everything."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings

from planner.solve.problem import Problem
from planner.solve.solver import solve
from planner.solve.verify import measures, verify
from tests.solve.brute_force import best
from tests.solve.strategies import small_problems

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@QUICK
@given(small_problems())
def test_solver_agrees_with_brute_force(problem: Problem) -> None:
    expected = best(problem)
    solution = solve(problem)
    if expected is None:
        assert solution.status == "infeasible"
        assert solution.conflict
        return
    assert solution.status == "optimal"
    counted = measures(problem, solution)
    assert (counted["cost"], counted["power"], counted["nodes"]) == expected
    assert solution.bound == expected[0]
    assert solution.gap == 0.0
    assert verify(problem, solution) == ()


@QUICK
@given(small_problems())
def test_a_relaxation_is_the_smallest_that_makes_a_plan_exist(problem: Problem) -> None:
    for relaxation in solve(problem).relaxations:
        if relaxation.limit.startswith("stock.") or relaxation.together:
            continue
        assert best(_with_limit(problem, relaxation.limit, relaxation.value - 1)) is None
        found = best(_with_limit(problem, relaxation.limit, relaxation.value))
        assert found is not None
        assert found[0] == relaxation.cost


@QUICK
@given(small_problems())
def test_relaxations_that_hold_together_give_the_cheapest_plan_of_all(problem: Problem) -> None:
    solution = solve(problem)
    joint = [r for r in solution.relaxations if r.together and not r.limit.startswith("stock.")]
    if not joint or any(r.limit.startswith("stock.") for r in solution.relaxations):
        return
    relaxed = problem
    for r in joint:
        relaxed = _with_limit(relaxed, r.limit, r.value)
    found = best(relaxed)
    assert found is not None
    assert found[0] == joint[0].cost


@QUICK
@given(small_problems())
def test_every_limit_in_a_conflict_is_needed_for_it(problem: Problem) -> None:
    conflict = [name for name in solve(problem).conflict if not name.startswith(("stock.", "workload."))]
    stocked = any(name.startswith("stock.") for name in solve(problem).conflict)
    if not conflict or stocked:
        return
    kept = {name: getattr(problem.limits, name) for name in conflict}
    free = {t: n.model_copy(update={"stock": None, "cost_max_nodes": None}) for t, n in problem.node_types.items()}
    assert best(_with(problem, free, kept)) is None
    for name in conflict:
        assert best(_with(problem, free, {k: v for k, v in kept.items() if k != name})) is not None


def _with(problem: Problem, node_types: dict[str, object], limits: dict[str, int]) -> Problem:
    fields = problem.limits.model_copy(update={n: limits.get(n) for n in type(problem.limits).model_fields})
    return problem.model_copy(update={"node_types": node_types, "limits": fields})


def _with_limit(problem: Problem, name: str, value: int) -> Problem:
    return problem.model_copy(update={"limits": problem.limits.model_copy(update={name: value})})
