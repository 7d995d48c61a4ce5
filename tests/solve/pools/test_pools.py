"""Fleets of shared pools, searched by counts of nodes alone."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.instances import lengths
from planner.solve.instance import Instance, prepare
from planner.solve.pools.bounds import best_bound, bound, earnings
from planner.solve.pools.relaxation import Relaxation
from planner.solve.pools.search import GaveUpError, Search
from planner.solve.pools.solve import least_pools
from planner.solve.pools.types import pools_of, values
from planner.solve.problem import Problem
from planner.solve.search import Effort
from planner.solve.solver import _best, solve
from planner.solve.verify import verify
from tests.solve.examples import node, problem


@st.composite
def pooled(draw: st.DrawFn, *, limited: bool = False) -> Problem:
    """Up to four node types and five classes of requests."""
    types: dict[str, Any] = {}
    for t in "abcd"[: draw(st.integers(1, 4))]:
        types[t] = node(
            gpus=draw(st.sampled_from([1, 2, 8])),
            cost=draw(st.integers(1, 9)),
            power=draw(st.integers(1, 9)),
            owned=draw(st.sampled_from([0, 0, 1])),
            opex=draw(st.integers(0, 2)),
            stock=draw(st.sampled_from([None, None, 1, 4])),
            cost_max_nodes=draw(st.sampled_from([None, None, 2])),
        )
    workloads = {}
    for n in range(draw(st.integers(1, 5))):
        used = draw(st.lists(st.sampled_from(sorted(types)), min_size=1, max_size=4))
        columns = [{"id": f"c{k}", "node": t, "rate": draw(st.integers(1, 7))} for k, t in enumerate(used)]
        workloads[f"w{n}"] = {"mode": "fluid", "demand": draw(st.integers(1, 40)), "columns": columns}
    limits = {"cost": draw(st.integers(1, 60)), "power": draw(st.integers(1, 60))} if limited else {}
    objective = draw(st.sampled_from([("cost", "power", "nodes"), ("power", "cost"), ("nodes", "cost", "power")]))
    return problem(types, workloads, limits=limits, objective=objective)


def by_the_mixed_integer_solver(i: Instance) -> tuple[int, ...] | None:
    """The objectives that the other engine finds; None where it finds that nothing exists."""
    found = _best(i, Effort())
    return None if found is None else tuple(found.objective[name] for name in i.problem.objective)


@given(pooled())
@settings(max_examples=60, deadline=None)
def test_counts_of_nodes_are_as_good_as_those_of_the_mixed_integer_solver(p: Problem) -> None:
    i = prepare(p)
    found = least_pools(i, lambda: False)
    if found is None:
        return
    assert tuple(found.objective[name] for name in p.objective) == by_the_mixed_integer_solver(i)
    assert verify(p, found) == ()
    assert found.bound == found.objective[p.objective[0]]


@given(pooled(limited=True))
@settings(max_examples=40, deadline=None)
def test_limits_are_kept_or_said_to_clash(p: Problem) -> None:
    found = solve(p)
    other = by_the_mixed_integer_solver(prepare(p))
    assert (found.status == "infeasible") == (other is None)
    if other is not None:
        assert tuple(found.objective[name] for name in p.objective) == other


@given(pooled(), st.lists(st.integers(0, 9), min_size=5, max_size=5), st.sampled_from([0.5, 1.0, 3.0]))
@settings(max_examples=60, deadline=None)
def test_no_prices_whatever_exclude_counts_that_serve_everything(p: Problem, prices: list[int], scale: float) -> None:
    """Counts that the solver calls best, and any greater ones, stay below what bounds at any prices say."""
    i = prepare(p)
    pools = pools_of(i)
    found = solve(p)
    if pools is None or found.status != "optimal":
        return
    earned = earnings(pools, np.array(prices[: len(i.workloads)], dtype=float))
    best = np.array([[found.nodes.get(t, (0,))[0] for t in pools.types]])
    for more in product((0, 1), repeat=len(pools.types)):
        counts = np.minimum(best + np.array([more]), np.maximum(pools.most, best))
        if (counts > pools.most).any():
            continue
        assert earned.serve(counts).all()
        for b in (bound(pools, earned, scale), best_bound(pools, earned)):
            value = values(pools, counts)[0, 0]
            assert b.base + b.above(counts, list(range(len(pools.types))))[0] <= value + 1e-6


def test_a_node_earns_the_best_paid_demand_for_its_load_first() -> None:
    """Two nodes' worth of demand at 6 a node and half a node's at 10 a node: one node earns 5 + 3, two earn 5 + 9."""
    columns = [{"id": "c", "node": "a", "rate": 1}]
    workloads = {"long": {"mode": "fluid", "demand": 2, "columns": columns}}
    workloads["short"] = {"mode": "fluid", "demand": Fraction(1, 2), "columns": columns}
    pools = pools_of(prepare(problem({"a": node(gpus=1)}, workloads)))
    assert pools is not None
    assert earnings(pools, np.array([12.0, 5.0])).at_most[0].tolist() == [0.0, 8.0, 14.0, 17.0]


def test_a_load_of_exactly_full_nodes_is_not_called_a_shortage() -> None:
    columns = [{"id": "c", "node": "a", "rate": 3}]
    workloads = {f"w{n}": {"mode": "fluid", "demand": 1, "columns": columns} for n in range(21)}
    assert solve(problem({"a": node(gpus=1)}, workloads)).nodes == {"a": (7,)}


@pytest.mark.parametrize("seed", [1, 2])
def test_small_serving_fleets_are_found_by_their_counts_alone(seed: int) -> None:
    p = lengths(seed, classes=36, types=8)
    i = prepare(p)
    found = least_pools(i, lambda: False)
    assert found is not None
    assert tuple(found.objective[name] for name in p.objective) == by_the_mixed_integer_solver(i)


def test_a_search_that_ends_early_says_nothing() -> None:
    pools = pools_of(prepare(lengths(1, classes=9, types=4)))
    assert pools is not None
    with pytest.raises(GaveUpError):
        Search(pools=pools, relaxation=Relaxation.of(pools), has_ended=lambda: True).least_counts()
