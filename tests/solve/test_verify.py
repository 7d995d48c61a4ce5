"""The checker finds every kind of lie about an answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from planner.solve.solution import Solution, solution_json
from planner.solve.solver import solve
from planner.solve.verify import verify
from tests.solve.examples import column, node, problem

PROBLEM = problem(
    {"a": node(gpus=8, ram=100, cost=10, power=3, stock=4, opex=1, owned=1, spares=1, buy={"cost": 50})},
    {
        "u": [column("c", "a", gpus=2, ram=40, replicas=3)],
        "v": {"mode": "replicas", "demand": 2.5, "columns": [{"id": "c", "node": "a", "gpus": 4, "rate": 1}]},
        "f": {"mode": "fluid", "demand": 1.5, "columns": [{"id": "c", "node": "a", "rate": 1}]},
    },
    limits={"cost": 60, "power": 40},
)


def tampered(change: Callable[[dict[str, Any]], None]) -> tuple[str, ...]:
    raw = json.loads(solution_json(solve(PROBLEM)))
    change(raw)
    return verify(PROBLEM, Solution.model_validate(raw))


def test_the_honest_answer_holds() -> None:
    assert tampered(lambda raw: None) == ()


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "not one": lambda r: r["assignments"].pop("u"),
    "replicas of c, the column has 3": lambda r: r["assignments"]["u"][0].update(replicas=2),
    "serves 2 of 2.5": lambda r: r["assignments"]["v"][0].update(replicas=2),
    "serves 1.4 of 1.5": lambda r: r["assignments"]["f"][0].update(replicas=1.4),
    "is not in the problem": lambda r: r["assignments"]["u"][0].update(column="x"),
    "nodes.b: not in the problem": lambda r: r["nodes"].update(b=[1]),
    "figures for 1 periods": lambda r: r["nodes"].update(a=[3, 3]),
    "GPUs in use": lambda r: r["nodes"].update(a=[2]),
    "the stock is 4": lambda r: r["nodes"].update(a=[5]),
    "present in period 0, but owned": lambda r: r["payments"].clear(),
    "costs 10 each": lambda r: next(e for e in r["payments"] if e["kind"] == "rent").update(amount=1),
    "opex of a": lambda r: next(e for e in r["payments"] if e["kind"] == "opex").update(nodes=0, amount=0),
    "a node holds": lambda r: r["packing"][0]["items"][0].update(replicas=9),
    "places": lambda r: r["packing"].pop(),
    "claimed": lambda r: r["objective"].update(power=1),
    "above the value": lambda r: r.update(bound=10_000),
    "optimal, but only": lambda r: r.update(bound=1),
}


@pytest.mark.parametrize("words", CHANGES)
def test_a_lie_is_found(words: str) -> None:
    assert any(words in message for message in tampered(CHANGES[words])), tampered(CHANGES[words])


def test_a_limit_passed_is_found() -> None:
    tight = PROBLEM.model_copy(update={"limits": PROBLEM.limits.model_copy(update={"power": 5})})
    assert any("limits.power" in message for message in verify(tight, solve(PROBLEM)))


def test_a_reservation_cut_short_is_found() -> None:
    way = {"mode": "replicas", "demand": [1, 1], "columns": [{"id": "c", "node": "a", "rate": 1}]}
    p = problem({"a": node(gpus=1, cost=None, reserve={"cost": 1, "term": 2})}, {"w": way}, periods=2)
    raw = json.loads(solution_json(solve(p)))
    raw["payments"][0] |= {"last": 0, "amount": 1}
    raw["nodes"]["a"] = [1, 0]
    found = verify(p, Solution.model_validate(raw))
    assert any("costs 2 each, not 1" in message for message in found)


def test_an_answer_without_its_packing_is_packed_by_the_checker() -> None:
    p = problem({"a": node()}, {w: [column("c", "a", gpus=5)] for w in ("v", "w")})
    raw = json.loads(solution_json(solve(p)))
    raw["packing"] = []
    assert verify(p, Solution.model_validate(raw)) == ()
    raw["nodes"]["a"] = [1]
    raw["payments"][0].update(nodes=1, amount=10)
    raw["objective"] = {}
    raw["bound"] = None
    found = verify(p, Solution.model_validate(raw))
    assert any("GPUs in use" in message or "do not fit" in message for message in found)
