"""Buying, reserving and renting over a few periods of any length, against trying everything."""

from __future__ import annotations

from itertools import product
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from planner.solve.problem import Problem
from planner.solve.solver import solve
from planner.solve.verify import verify
from tests.solve.examples import node, problem


def cheapest(demand: list[int], lengths: list[int], ways: dict[str, Any]) -> int | None:
    """Least cost of nodes of one replica each: every number of purchases and contracts, the rest rented."""
    periods = range(len(demand))
    starts = [sum(lengths[:p]) for p in range(len(demand) + 1)]
    deals: list[tuple[int, frozenset[int], bool]] = []
    buy, reserve, rent = ways.get("buy"), ways.get("reserve"), ways.get("cost")
    for p in periods:
        if buy is not None and starts[p] >= buy["lead"]:
            kept = starts[-1] - starts[p]
            deals.append((buy["cost"] + ways["opex"] * kept, frozenset(range(p, len(demand))), True))
        for terms in range(1, 5) if reserve is not None else ():
            until = starts[p] + terms * reserve["term"]
            covered = frozenset(q for q in periods if starts[p] <= starts[q] and starts[q + 1] <= until)
            paid = terms * reserve["term"] if reserve["whole"] else min(terms * reserve["term"], starts[-1] - starts[p])
            if covered:
                deals.append((reserve["cost"] * paid, covered, False))
    best: int | None = None
    for counts in product(range(max(demand) + 1), repeat=len(deals)):
        there = [sum(n for n, (_, covered, _) in zip(counts, deals, strict=True) if p in covered) for p in periods]
        missing = [max(0, demand[p] - there[p]) for p in periods]
        if rent is None and any(missing):
            continue
        cost = sum(n * price for n, (price, _, _) in zip(counts, deals, strict=True))
        cost += sum((rent or 0) * lengths[p] * missing[p] for p in periods)
        best = cost if best is None else min(best, cost)
    return best


amounts = st.integers(1, 9)


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[int], list[int], dict[str, Any]]:
    count = draw(st.integers(1, 3))
    demand = draw(st.lists(st.integers(0, 2), min_size=count, max_size=count).filter(any))
    lengths = draw(st.lists(st.integers(1, 4), min_size=count, max_size=count))
    ways: dict[str, Any] = {"cost": draw(amounts), "opex": draw(st.integers(0, 2))}
    if draw(st.booleans()):
        ways["buy"] = {"cost": draw(st.integers(1, 30)), "lead": draw(st.integers(0, 4))}
    if count < 3 and draw(st.booleans()):
        ways["reserve"] = {"cost": draw(amounts), "term": draw(st.integers(1, 5)), "whole": draw(st.booleans())}
    return demand, lengths, ways


def asked(demand: list[int], lengths: list[int], ways: dict[str, Any]) -> Problem:
    workload = {"mode": "replicas", "demand": demand, "columns": [{"id": "c", "node": "a", "rate": 1}]}
    whole = problem({"a": node(gpus=1, **ways)}, {"w": workload}, periods=len(demand), objective=["cost"])
    return whole.model_copy(update={"lengths": tuple(lengths)})


@settings(max_examples=40, deadline=None)
@given(problems())
def test_purchases_contracts_and_rent_are_the_cheapest_mix(found: tuple[list[int], list[int], dict[str, Any]]) -> None:
    p = asked(*found)
    solution = solve(p)
    assert solution.status == "optimal"
    assert solution.objective["cost"] == cheapest(*found)
    assert verify(p, solution) == ()
