"""Renting, reserving and buying over several periods, by hand."""

from __future__ import annotations

from typing import Any

from planner.solve.problem import Problem
from planner.solve.solver import solve
from planner.solve.verify import verify
from tests.solve.examples import node, problem


def growing(demand: list[int], **way: Any) -> Problem:
    """One replica of one GPU for each unit of demand; nodes of one GPU."""
    workload = {"mode": "replicas", "demand": demand, "columns": [{"id": "c", "node": "a", "rate": 1}]}
    return problem({"a": node(gpus=1, **way)}, {"w": workload}, periods=len(demand), objective=["cost"])


def test_rent_follows_the_demand() -> None:
    solution = solve(growing([1, 3, 2], cost=10))
    assert solution.objective["cost"] == 60
    assert solution.nodes == {"a": (1, 3, 2)}


def test_a_purchase_pays_from_the_periods_it_serves() -> None:
    """Renting costs 10 a period, buying 25: one node for all four periods is bought, the peak is rented."""
    solution = solve(growing([1, 1, 2, 1], cost=10, buy={"cost": 25}))
    assert solution.objective["cost"] == 35
    assert {(e.kind, e.period, e.nodes) for e in solution.payments} == {("buy", 0, 1), ("rent", 2, 1)}


def test_what_arrives_late_is_rented_meanwhile() -> None:
    problem_ = growing([1, 1, 1, 1], cost=10, buy={"cost": 15, "lead": 2})
    solution = solve(problem_)
    assert solution.objective["cost"] == 35
    assert verify(problem_, solution) == ()


def test_upkeep_is_paid_for_owned_and_bought_nodes() -> None:
    solution = solve(growing([2, 2], cost=None, owned=1, opex=3, buy={"cost": 5}))
    assert solution.objective["cost"] == 5 + 2 * 2 * 3


def test_a_reservation_is_paid_inside_the_horizon_only() -> None:
    """A term of three periods started in the second of three is paid twice."""
    solution = solve(growing([0, 1, 1], cost=None, reserve={"cost": 7, "term": 3}))
    assert solution.objective["cost"] == 14
    assert solution.nodes["a"][0] == 0


def test_orders_spread_over_periods_when_deliveries_are_limited() -> None:
    solution = solve(growing([1, 2, 3], cost=100, buy={"cost": 10, "max_per_period": 1}))
    assert solution.objective["cost"] == 30


def test_capex_of_one_period_is_limited() -> None:
    asked = growing([2, 2], cost=100, buy={"cost": 10})
    limited = asked.model_copy(update={"limits": asked.limits.model_copy(update={"capex_per_period": 10})})
    assert solve(asked).objective["cost"] == 20
    assert solve(limited).objective["cost"] == 120


def test_power_and_nodes_count_the_largest_period() -> None:
    solution = solve(growing([1, 4, 2], cost=10, power=5))
    assert (solution.objective["power"], solution.objective["nodes"]) == (20, 4)


def test_mode_one_sizes_its_replicas_to_each_period() -> None:
    workload = {"mode": "one", "demand": [2, 5], "columns": [{"id": "c", "node": "a", "gpus": 4, "rate": 2}]}
    problem_ = problem({"a": node(gpus=8)}, {"w": workload}, periods=2)
    solution = solve(problem_)
    assert solution.nodes == {"a": (1, 2)}
    assert verify(problem_, solution) == ()
