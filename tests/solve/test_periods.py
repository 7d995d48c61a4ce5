"""Renting, reserving and buying over several periods, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from planner.errors import InputError
from planner.solve.problem import Problem, parse_problem
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


def test_rent_and_upkeep_are_paid_for_the_length_of_each_period() -> None:
    asked = growing([1, 2], cost=10, owned=1, opex=3).model_copy(update={"lengths": (6, 18)})
    solution = solve(asked)
    assert solution.objective["cost"] == 24 * 3 + 18 * 10
    assert verify(asked, solution) == ()


def test_a_term_that_ends_inside_a_period_is_renewed_or_not_taken() -> None:
    """Eighteen months need two terms of twelve; with the next eighteen, three terms end together with the period."""
    one = growing([1], cost=None, reserve={"cost": 5, "term": 12, "whole": True}).model_copy(update={"lengths": (18,)})
    assert solve(one).objective["cost"] == 24 * 5
    two = growing([1, 1], cost=None, reserve={"cost": 5, "term": 12}).model_copy(update={"lengths": (18, 18)})
    solution = solve(two)
    assert solution.objective["cost"] == 36 * 5
    assert [(e.first, e.last, e.nodes) for e in solution.payments] == [(0, 1, 1)]
    assert verify(two, solution) == ()


def test_a_whole_term_is_paid_past_the_horizon_where_it_is_asked() -> None:
    inside = growing([0, 1], cost=8, reserve={"cost": 7, "term": 3})
    assert solve(inside).objective["cost"] == 7
    whole = growing([0, 1], cost=8, reserve={"cost": 7, "term": 3, "whole": True})
    assert solve(whole).objective["cost"] == 8


def test_an_order_is_placed_its_lead_before_the_period_and_paid_then() -> None:
    """Lead 7 months: nothing can be there at once; for month 18 the order falls into the period of months 6 to 17."""
    asked = growing([0, 1, 2], cost=100, buy={"cost": 1, "lead": 7}).model_copy(update={"lengths": (6, 12, 12)})
    solution = solve(asked)
    paid = {(e.kind, e.period, e.first, e.nodes) for e in solution.payments}
    assert paid == {("rent", 1, None, 1), ("buy", 1, 2, 2)}
    assert verify(asked, solution) == ()


def test_the_rate_of_spending_is_limited_in_every_period() -> None:
    """Bought for 40 and used over 20 months a node bears 2 a month; two rented ones would bear 6."""
    asked = growing([1, 2], cost=3, buy={"cost": 40}).model_copy(update={"lengths": (10, 10)})
    free = solve(asked)
    assert free.objective["cost"] == 40 + 30
    held = asked.model_copy(update={"limits": asked.limits.model_copy(update={"cost_rate": 4})})
    tight = solve(held)
    assert tight.objective["cost"] == 80
    assert verify(held, tight) == ()
    assert verify(held, free) == ("limits.cost_rate: 5 is over 4",)


def test_a_contract_that_ends_before_its_term_is_found_out() -> None:
    asked = growing([1, 1, 0], cost=None, reserve={"cost": 5, "term": 2})
    solution = solve(asked)
    (contract,) = solution.payments
    cut = solution.model_copy(update={"payments": (contract.model_copy(update={"last": 0, "amount": 5}),)})
    assert any("costs 10 each" in message for message in verify(asked, cut))


def test_lengths_are_as_many_as_periods() -> None:
    with pytest.raises(InputError, match="lengths: 1 figures for 2 periods"):
        parse_problem('{"periods": 2, "lengths": [3], "node_types": {}, "workloads": []}')
