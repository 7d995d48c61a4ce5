"""Patterns, exact scaling and packing, each alone."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import InputError
from planner.solve import scale
from planner.solve.patterns import gpus_add_up, maximal_patterns
from planner.solve.solver import solve
from tests.solve.brute_force import bins
from tests.solve.examples import column, node, problem

SIZES = st.lists(st.tuples(st.integers(1, 8), st.integers(0, 5)), min_size=1, max_size=3, unique=True)


@given(SIZES, st.integers(8, 10), st.integers(5, 8))
def test_patterns_are_all_the_fillings_that_nothing_can_be_added_to(
    sizes: list[tuple[int, int]], gpus: int, ram: int
) -> None:
    def fits(counts: tuple[int, ...]) -> bool:
        used = [sum(n * s[k] for n, s in zip(counts, sizes, strict=True)) for k in (0, 1)]
        return used[0] <= gpus and used[1] <= ram

    every = [c for c in product(range(gpus + 1), repeat=len(sizes)) if fits(c)]
    ups = [tuple(int(k == n) for k in range(len(sizes))) for n in range(len(sizes))]
    full = [c for c in every if not any(fits(tuple(a + b for a, b in zip(c, up, strict=True))) for up in ups)]
    assert sorted(maximal_patterns(sizes, (gpus, ram))) == sorted(full)


@given(st.lists(st.sampled_from([1, 2, 4, 8]), min_size=1, max_size=6))
def test_sizes_that_divide_each_other_need_as_many_nodes_as_their_sum(sizes: list[int]) -> None:
    whole = problem({"a": node()}, {"w": [column("c", "a")]}).node_types["a"]
    assert gpus_add_up([(s, 0) for s in sizes], (8, 0))
    assert bins(sorted(((s, 0) for s in sizes), reverse=True), whole) == -(-sum(sizes) // 8)


def test_too_many_ways_to_fill_a_node_are_refused_with_a_way_out() -> None:
    sizes = [(1, 100 + n) for n in range(60)]
    with pytest.raises(InputError, match="coarser steps"):
        maximal_patterns(sizes, (72, 100_000), at="node_types.a")


@given(st.lists(st.fractions(0, 50), min_size=1, max_size=4), st.fractions(0, 100), st.integers(0, 20))
def test_a_row_in_whole_numbers_is_never_rosier_than_the_real_one(
    rates: list[Fraction], demand: Fraction, replicas: int
) -> None:
    row = scale.at_least(rates, demand) if max([*rates, demand]) else scale.Row((0,) * len(rates), 0, True)
    whole = sum(c * replicas for c in row.coefficients) >= row.bound
    real = sum(r * replicas for r in rates) >= demand
    assert real or not whole
    if row.is_exact:
        assert whole == real


@given(st.lists(st.fractions(0, 40), min_size=1, max_size=4))
def test_loads_round_up(shares: list[Fraction]) -> None:
    found = scale.loads(shares, grid=720, capacity=8)
    for share, load in zip(shares, found.loads, strict=True):
        assert Fraction(load * 720, found.unit) >= share


@pytest.mark.parametrize(
    ("amount", "up", "down"), [(2.3, 2_300_000, 2_300_000), (0.0000001, 1, 0), (1.0000019, 1_000_002, 1_000_001)]
)
def test_money_to_pay_rounds_up_and_money_allowed_rounds_down(amount: float, up: int, down: int) -> None:
    assert scale.micro_usd(amount) == up
    assert scale.micro_usd_limit(amount) == down


@pytest.mark.parametrize(("replicas", "nodes"), [(1, 2), (3, 6)])
def test_a_replica_over_two_nodes_takes_both_whole(replicas: int, nodes: int) -> None:
    p = problem({"a": node()}, {"w": [column("c", "a", gpus=16, nodes=2, replicas=replicas)]})
    solution = solve(p)
    assert solution.objective["nodes"] == nodes
    assert sum(k.nodes for k in solution.packing) == nodes


def test_ties_are_settled_by_preference() -> None:
    ways = [column("worse", "a", preference=7), column("better", "a", preference=2), column("bad", "a", preference=9)]
    assert solve(problem({"a": node()}, {"w": ways})).assignments["w"][0].column == "better"


def test_of_equally_cheap_mixes_the_one_with_fewest_ways_and_replicas_is_taken() -> None:
    """Three replicas of either kind fill the same node at the same price; the better liked third is not worth a second
    way."""
    columns = [
        {"id": "fp8", "node": "a", "gpus": 2, "rate": 5, "preference": 1000},
        {"id": "bf16", "node": "a", "gpus": 2, "rate": 4, "preference": 1},
    ]
    p = problem({"a": node()}, {"w": {"mode": "replicas", "demand": 14, "columns": columns}})
    solution = solve(p)
    assert [(a.column, a.replicas) for a in solution.assignments["w"]] == [("bf16", 4)]
    assert solution.objective["preference"] == 1 + 4
    more = p.workloads[0].model_copy(update={"demand": (19,)})
    solution = solve(p.model_copy(update={"workloads": (more,)}))
    assert [(a.column, a.replicas) for a in solution.assignments["w"]] == [("fp8", 4)]
