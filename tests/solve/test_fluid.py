"""Request classes that share pools of GPUs at will."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from planner.solve.solver import solve
from planner.solve.verify import verify
from tests.solve.examples import node, problem

THROUGHPUT = {"a10g": [[2, 1], [5, 2]], "a100": [[20, 20], [40, 20]]}
SHARES = [["0.2", "0.1"], ["0.5", "0.2"]]


def published(mode: str) -> Any:
    """Two GPU types, two by two request classes, 30 requests a second; prices in cents an hour."""
    types = {"a10g": node(gpus=1, cost=101), "a100": node(gpus=1, cost=367)}
    workloads = {}
    for i in range(2):
        for j in range(2):
            columns = [{"id": t, "node": t, "rate": THROUGHPUT[t][i][j]} for t in types]
            workloads[f"w{i}{j}"] = {"mode": mode, "demand": Decimal(SHARES[i][j]) * 30, "columns": columns}
    return problem(types, workloads)


def test_the_published_example_costs_4_68_with_free_splitting() -> None:
    p = published("fluid")
    solution = solve(p)
    assert solution.status == "optimal"
    assert solution.objective["cost"] == 468
    assert solution.bound == 468
    assert verify(p, solution) == ()


def test_whole_replicas_cost_more_than_shared_pools() -> None:
    assert solve(published("replicas")).objective["cost"] > 468


@pytest.mark.parametrize(("demand", "nodes"), [(30, 1), ("30.0000001", 2)])
def test_a_load_of_exactly_one_node_fits_one_node(demand: Any, nodes: int) -> None:
    """Thirds of a node that have no finite decimal form still add up to one."""
    third = Decimal(str(demand)) / 3 if demand == 30 else Decimal("10.0000001")
    workloads = {
        f"w{n}": {"mode": "fluid", "demand": third, "columns": [{"id": "c", "node": "a", "rate": 30}]} for n in range(3)
    }
    assert solve(problem({"a": node(gpus=1)}, workloads)).objective["nodes"] == nodes


def test_pools_and_whole_replicas_share_a_node() -> None:
    workloads = {
        "pool": {"mode": "fluid", "demand": 5, "columns": [{"id": "c", "node": "a", "rate": 1}]},
        "whole": {"columns": [{"id": "c", "node": "a", "gpus": 3, "replicas": 1}]},
    }
    p = problem({"a": node(gpus=8)}, workloads)
    assert solve(p).objective["nodes"] == 1
    more = p.model_copy(update={"workloads": (p.workloads[0].model_copy(update={"demand": (6,)}), p.workloads[1])})
    assert solve(more).objective["nodes"] == 2


def test_demand_splits_at_will_not_in_steps() -> None:
    """10/17 of the demand must go to one node and 7/17 to the other: then both are full and everything fits."""
    types = {"a": node(gpus=1, stock=1), "b": node(gpus=1, stock=1)}
    columns = [{"id": "x", "node": "a", "rate": 10}, {"id": "y", "node": "b", "rate": 7}]
    p = problem(types, {"w": {"mode": "fluid", "demand": 17, "columns": columns}})
    solution = solve(p)
    assert solution.status == "optimal"
    assert verify(p, solution) == ()
    more = p.workloads[0].model_copy(update={"demand": (Fraction("17.001"),)})
    assert solve(p.model_copy(update={"workloads": (more,)})).status == "infeasible"


def test_rates_without_a_common_denominator_are_said_to_be_rounded() -> None:
    primes = [10007, 10009, 10037, 10039, 10061, 10067]
    rates = [Fraction(1, p) for p in primes]
    columns = [{"id": f"c{n}", "node": "a", "rate": rate} for n, rate in enumerate(rates)]
    solution = solve(problem({"a": node()}, {"w": {"mode": "replicas", "demand": 0.001, "columns": columns}}))
    assert "rounded to the safe side" in solution.rounding
    assert solve(published("fluid")).rounding == ""
