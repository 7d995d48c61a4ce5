"""GPUs that are cut into slices, and nodes that do one thing by day and another by night."""

from __future__ import annotations

import json
from typing import Any

import pytest

from planner.errors import InputError
from planner.solve.problem import Problem, parse_problem
from planner.solve.solution import Solution, solution_json
from planner.solve.solver import solve
from planner.solve.verify import verify
from tests.solve.examples import column, node, problem

MIG = node(gpus=2, cost=10, slices=[7, 8])
"""Two GPUs of seven compute and eight memory slices."""


def sliced(*parts: tuple[int, int], replicas: int = 1, **more: Any) -> Problem:
    columns = {f"w{n}": [column("c", "a", slices=list(part), replicas=replicas)] for n, part in enumerate(parts)}
    return problem({"a": {**MIG, **more}}, columns)


@pytest.mark.parametrize(
    ("parts", "gpus"),
    [
        ([(3, 4), (3, 4)], 1),
        ([(3, 4), (3, 4), (1, 1)], 2),  # six compute slices are taken, but all of the memory
        ([(4, 4), (2, 2), (1, 1)], 1),
        ([(1, 1)] * 7, 1),
        ([(1, 1)] * 8, 2),
        ([(4, 4)] * 3, 3),  # 12 slices would fit two GPUs of 7, pieces of 4 do not
    ],
)
def test_replicas_share_a_gpu_as_far_as_its_slices_go(parts: list[tuple[int, int]], gpus: int) -> None:
    p = sliced(*parts)
    solution = solve(p)
    assert sum(k.gpus for k in solution.cut) == gpus
    assert solution.objective["nodes"] == -(-gpus // 2)
    assert verify(p, solution) == ()


def test_cut_gpus_and_whole_ones_share_a_node() -> None:
    types = {"a": node(gpus=3, cost=10, slices=[7, 8])}
    p = problem(types, {"part": [column("c", "a", slices=[1, 1])], "whole": [column("c", "a", gpus=2)]})
    solution = solve(p)
    assert solution.objective["nodes"] == 1
    assert verify(p, solution) == ()
    full = problem(types, {"part": [column("c", "a", slices=[1, 1])], "whole": [column("c", "a", gpus=3)]})
    assert solve(full).objective["nodes"] == 2


def test_a_slice_is_taken_where_it_saves_a_node() -> None:
    ways = [column("whole", "a", gpus=1), column("slice", "a", slices=[3, 4])]
    p = problem({"a": node(gpus=1, cost=10, slices=[7, 8])}, {"v": ways, "w": ways})
    solution = solve(p)
    assert solution.objective["nodes"] == 1
    assert {a.column for found in solution.assignments.values() for a in found} == {"slice"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda raw: raw["cut"].pop(), "cut of a: places"),
        (lambda raw: raw["cut"][0]["items"][0].update(replicas=2), "memory slices, it has 8"),
        (lambda raw: raw["packing"].clear() or raw["cut"].clear() or raw["nodes"].update(a=[0]), "GPUs in use"),
    ],
)
def test_the_checker_finds_a_gpu_that_is_cut_too_small(change: Any, words: str) -> None:
    p = sliced((3, 4), (3, 4), (3, 4))
    raw = json.loads(solution_json(solve(p)))
    change(raw)
    assert any(words in message for message in verify(p, Solution.model_validate(raw)))


def test_what_trains_at_night_uses_the_nodes_that_serve_by_day() -> None:
    def asked(night: list[int]) -> Problem:
        serve = {"columns": [column("c", "a", gpus=8)], "times": [0]}
        train = {"columns": [column("c", "a", gpus=6)], "times": night}
        return problem({"a": node(gpus=8)}, {"serve": serve, "train": train})

    assert solve(asked([1])).objective["nodes"] == 1
    assert solve(asked([0, 1])).objective["nodes"] == 2
    for p in (asked([1]), asked([0, 1])):
        assert verify(p, solve(p)) == ()


def test_the_checker_counts_each_time_of_day() -> None:
    workloads = {w: {"columns": [column("c", "a", gpus=8)], "times": [0]} for w in ("v", "w")}
    p = problem({"a": node(gpus=8)}, workloads)
    raw = json.loads(solution_json(solve(p)))
    raw["nodes"]["a"] = [1]
    found = verify(p, Solution.model_validate(raw))
    assert any("16 GPUs in use, 8 there" in message for message in found)


def test_pools_share_by_the_time_of_day_too() -> None:
    pools = {
        name: {"mode": "fluid", "demand": 8, "times": [time], "columns": [{"id": "c", "node": "a", "rate": 1}]}
        for time, name in enumerate(("day", "night"))
    }
    p = problem({"a": node(gpus=8)}, pools)
    assert solve(p).objective["nodes"] == 1


@pytest.mark.parametrize(
    ("way", "node_type", "words"),
    [
        ({"slices": [1, 1]}, {}, "cannot be cut"),
        ({"slices": [1, 1], "gpus": 2}, {"slices": [7, 8]}, "leave gpus and nodes at 1"),
        ({"slices": [1, 1], "ram": 5}, {"slices": [7, 8]}, "leave ram out"),
        ({"slices": [0, 1]}, {"slices": [7, 8]}, "greater than or equal to 1"),
        ({"slices": [1]}, {"slices": [7, 8]}, "slices"),
    ],
)
def test_slices_that_make_no_sense_are_refused(way: Any, node_type: Any, words: str) -> None:
    raw = {
        "node_types": {"a": {"gpus": 2, "cost": 1, **node_type}},
        "workloads": [{"id": "w", "columns": [{"id": "c", "node": "a", "replicas": 1, **way}]}],
    }
    with pytest.raises(InputError, match=words):
        parse_problem(json.dumps(raw))
