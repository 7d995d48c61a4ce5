"""Fillings as paths: the same nodes as the list of patterns, and sizes too many to list."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings

from planner.errors import InputError
from planner.solve import instance
from planner.solve.arcs import Arc, arcs_of, fillings
from planner.solve.problem import Problem
from planner.solve.solver import solve
from planner.solve.verify import verify
from tests.solve.brute_force import best, bins
from tests.solve.examples import column, node, problem
from tests.solve.strategies import small_problems

QUICK = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_arcs_of_two_sizes_by_hand() -> None:
    """A node of 5 GPUs, pieces of 3 and 2: 0-3-5 and 0-2-4, of which 3-5 takes a 2."""
    assert set(arcs_of([(3, 0), (2, 0)], (5, 0), at="")) == {Arc(0, 1, 0), Arc(0, 2, 1), Arc(2, 3, 1), Arc(1, 4, 1)}


def test_a_flow_comes_apart_into_the_nodes_it_fills() -> None:
    arcs = (Arc(0, 1, 0), Arc(1, 2, 1), Arc(0, 2, 1))
    assert sorted(fillings(arcs, (2, 1, 1), 2)) == [(0, 1), (1, 0), (1, 1)]


@QUICK
@given(small_problems())
def test_paths_and_patterns_give_the_same_answer(monkeypatch: pytest.MonkeyPatch, p: Problem) -> None:
    if any(n.slices for n in p.node_types.values()):
        return

    def none_listed(*_: object, **__: object) -> tuple[tuple[int, ...], ...]:
        raise instance.TooManyPatternsError("none is listed")

    with monkeypatch.context() as patched:
        patched.setattr(instance, "maximal_patterns", none_listed)
        solution = solve(p)
    expected = best(p)
    if expected is None:
        assert solution.status == "infeasible"
    else:
        assert (solution.objective["cost"], solution.objective["power"], solution.objective["nodes"]) == expected
        assert verify(p, solution) == ()


def test_thirty_sizes_of_memory_pack_exactly() -> None:
    random = Random(7)
    pieces = [(random.choice([1, 2, 3]), random.randint(1, 90)) for _ in range(9)]
    for n, extra in enumerate(range(21)):
        pieces.append((8, 100 - extra - n % 2))
    workloads = {f"w{n:02d}": [column("c", "a", gpus=g, ram=r)] for n, (g, r) in enumerate(pieces)}
    p = problem({"a": node(gpus=8, ram=100)}, workloads)
    solution = solve(p)
    small = [piece for piece in pieces if piece[0] < 8]
    expected = bins(sorted(small, reverse=True), p.node_types["a"]) + 21
    assert solution.objective["nodes"] == expected
    assert verify(p, solution) == ()


def test_far_too_many_sizes_are_refused_with_a_way_out() -> None:
    sizes = [(1, 1000 + 7 * n * n) for n in range(200, 0, -1)]
    with pytest.raises(InputError, match="coarser steps"):
        arcs_of(sizes, (72, 10**9), at="node_types.a")
