"""When there is no answer: the smallest clash, and the ways out with their price."""

from __future__ import annotations

from planner.solve.solver import solve
from tests.solve.examples import column, node, problem

TYPES = {"cheap": node(gpus=1, cost=5, power=9), "frugal": node(gpus=1, cost=8, power=4)}
WORKLOADS = {w: [column("c", "cheap", replicas=2), column("f", "frugal", replicas=2)] for w in ("v", "w")}
"""Four nodes in all: from 20 of cost and 36 of power to 32 of cost and 16 of power."""


def test_two_limits_that_clash_are_named_and_a_third_is_not() -> None:
    solution = solve(problem(TYPES, WORKLOADS, limits={"cost": 25, "power": 20, "nodes": 9}))
    assert solution.status == "infeasible"
    assert solution.conflict == ("cost", "power")


def test_each_way_out_is_the_smallest_and_has_its_price() -> None:
    solution = solve(problem(TYPES, WORKLOADS, limits={"cost": 25, "power": 20}))
    found = {r.limit: (r.value, r.cost) for r in solution.relaxations}
    assert found == {"cost": (32, 32), "power": (36, 20)}


def test_a_limit_that_cannot_hold_alone_is_the_whole_conflict() -> None:
    solution = solve(problem(TYPES, WORKLOADS, limits={"nodes": 3, "cost": 1000}))
    assert solution.conflict == ("nodes",)
    assert [(r.limit, r.value, r.cost) for r in solution.relaxations] == [("nodes", 4, 20)]


def test_stock_that_is_too_small_is_named() -> None:
    types = {"cheap": node(gpus=1, cost=5, stock=1), "frugal": node(gpus=1, cost=8, stock=2)}
    solution = solve(problem(types, WORKLOADS))
    assert solution.conflict == ("stock.cheap", "stock.frugal")
    assert {r.limit: r.value for r in solution.relaxations} == {"stock.cheap": 2, "stock.frugal": 4} or {
        r.limit: r.value for r in solution.relaxations
    } == {"stock.cheap": 2, "stock.frugal": 4, "cost": 0}


def test_a_workload_without_any_column_that_fits_is_named() -> None:
    solution = solve(problem({"a": node(gpus=1)}, {"w": [column("c", "a", gpus=2)], "v": [column("c", "a")]}))
    assert solution.status == "infeasible"
    assert solution.conflict == ("workload.w",)


def test_workloads_that_what_is_owned_cannot_carry_are_named() -> None:
    types = {"a": node(gpus=1, cost=None, owned=1), "b": node(gpus=1)}
    workloads = {w: [column("c", "a")] for w in ("u", "v")} | {"free": [column("c", "b")]}
    solution = solve(problem(types, workloads))
    assert solution.conflict == ("workload.u", "workload.v")


def test_replicas_that_do_not_meet_the_demand_are_no_way() -> None:
    short = {"demand": 7, "columns": [{"id": "c", "node": "a", "replicas": 2, "rate": 3}]}
    assert solve(problem({"a": node()}, {"w": short})).conflict == ("workload.w",)


def test_where_no_limit_is_enough_alone_the_changes_hold_together() -> None:
    """Four nodes at 5 each are the cheapest fleet: 20 of cost, 4 nodes, 36 of power."""
    asked = problem(TYPES, WORKLOADS, limits={"cost": 12, "nodes": 2, "power": 40})
    solution = solve(asked)
    assert {(r.limit, r.value, r.cost, r.together) for r in solution.relaxations} == {
        ("cost", 20, 20, True),
        ("nodes", 4, 20, True),
    }
    raised = asked.limits.model_copy(update={r.limit: r.value for r in solution.relaxations})
    assert solve(asked.model_copy(update={"limits": raised})).status == "optimal"
