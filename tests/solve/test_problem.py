"""The problem file: what is read, what is refused and in what words."""

from __future__ import annotations

import copy
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from planner.errors import InputError
from planner.solve.problem import parse_problem, problem_json, read_problem
from planner.solve.solver import solve

GOOD: dict[str, Any] = {
    "schema": "planner/problem/v1",
    "name": "one service",
    "objective": ["cost", "power", "nodes"],
    "periods": 1,
    "node_types": {"h100-8": {"gpus": 8, "ram": 2048, "power": 10200, "stock": 6, "cost": 2312}},
    "workloads": [
        {
            "id": "chat",
            "mode": "one",
            "demand": 7,
            "columns": [{"id": "c0", "node": "h100-8", "gpus": 2, "ram": 64, "replicas": 3, "rate": 3}],
        }
    ],
    "limits": {"cost": 9000},
}


def changed(path: str, value: Any) -> str:
    """GOOD as text with one value replaced; `path` has dots."""
    raw = copy.deepcopy(GOOD)
    at: Any = raw
    *parents, last = path.split(".")
    for part in parents:
        at = at[int(part)] if part.isdigit() else at[part]
    if isinstance(at, list):
        at[int(last)] = value
    else:
        at[last] = value
    return json.dumps(raw)


def test_decimals_are_read_exactly() -> None:
    problem = parse_problem(changed("workloads.0.columns.0.rate", 0.1))
    assert problem.workloads[0].columns[0].rate == Fraction(1, 10)


def test_a_problem_written_and_read_again_is_the_same() -> None:
    problem = parse_problem(json.dumps(GOOD))
    assert parse_problem(problem_json(problem)) == problem


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("schema", "planner/problem/v2", "planner/problem/v1"),
        ("objective", [], "objective"),
        ("objective", ["cost", "cost"], "names a measure twice"),
        ("objective", ["speed"], "objective.0"),
        ("periods", 0, "periods"),
        ("node_types.h100-8.gpus", 0, "node_types.h100-8.gpus"),
        ("node_types.h100-8.gpus", 2.5, "node_types.h100-8.gpus"),
        ("node_types.h100-8.stock", -1, "node_types.h100-8.stock"),
        ("node_types.h100-8.cost", 10**30, "node_types.h100-8.cost"),
        ("node_types.h100-8.cots", 1, "cots"),
        ("workloads.0.mode", "some", "workloads.0.mode"),
        ("workloads.0.demand", -3, "not between 0"),
        ("workloads.0.demand", [1, 2], "2 figures for 1 periods"),
        ("workloads.0.demand", True, "not a number"),
        ("workloads.0.columns.0.node", "h100-9", "unknown node type 'h100-9'; nearest: h100-8"),
        ("workloads.0.columns.0.replicas", 0, "replicas"),
        ("workloads.0.columns.0.nodes", 2, "2 whole nodes of h100-8 have 16 GPUs, not 2"),
        ("limits.cost", "much", "limits.cost"),
        ("limits.dollars", 4, "limits.dollars"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(path: str, value: Any, words: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_problem(changed(path, value), name="p.json")
    assert words in str(caught.value)
    assert str(caught.value).startswith("p.json: ")


def test_ids_used_twice_are_named() -> None:
    raw = copy.deepcopy(GOOD)
    raw["workloads"].append(raw["workloads"][0])
    raw["workloads"][0]["columns"].append(raw["workloads"][0]["columns"][0])
    with pytest.raises(InputError, match=r"workloads\.chat: this id is used twice") as caught:
        parse_problem(json.dumps(raw))
    assert "columns.c0: this id is used twice" in str(caught.value)


def test_a_mode_that_needs_a_rate_says_so() -> None:
    raw = json.loads(changed("workloads.0.mode", "replicas"))
    del raw["workloads"][0]["columns"][0]["rate"]
    with pytest.raises(InputError, match="mode replicas needs a rate above 0"):
        parse_problem(json.dumps(raw))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a JSON document"),
        ("{", "not a JSON document"),
        ('{"a": NaN}', "NaN is not a number"),
        ('{"a": 1, "a": 2}', "'a' stands twice"),
        ("[" * 100_000, "not a JSON document"),
        ("[]", "p.json"),
    ],
)
def test_what_is_no_problem_at_all_is_refused(text: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_problem(text, name="p.json")
    assert words in str(caught.value)


def test_a_huge_exponent_is_refused_at_once() -> None:
    text = changed("workloads.0.demand", 1).replace('"demand": 1', '"demand": 1e400000000')
    with pytest.raises(InputError, match="demand"):
        parse_problem(text)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_problem(tmp_path / "none.json")


def test_a_binary_file_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8 text"):
        read_problem(path)


@pytest.mark.parametrize(
    ("workloads", "text"),
    [
        (
            '[{"id": "w", "mode": "fluid", "demand": 1e12, "columns": [{"id": "c", "node": "a", "rate": 1e-7}]}]',
            "is its rate in the unit of the demand",
        ),
        (
            '[{"id": "w", "mode": "replicas", "demand": 1e12, "columns": [{"id": "c", "node": "a", "rate": 1e-7}]}]',
            "is its rate in the unit of the demand",
        ),
    ],
)
def test_figures_beyond_what_can_be_counted_are_refused(workloads: str, text: str) -> None:
    p = parse_problem(f'{{"node_types": {{"a": {{"gpus": 8, "cost": 10}}}}, "workloads": {workloads}}}')
    with pytest.raises(InputError, match=text):
        solve(p)


@pytest.mark.parametrize("node_types", ["{}", '{"a": {"gpus": 8, "cost": 10}}'])
def test_a_problem_without_workloads_costs_nothing(node_types: str) -> None:
    found = solve(parse_problem(f'{{"node_types": {node_types}, "workloads": []}}'))
    assert (found.status, found.objective["cost"]) == ("optimal", 0)


def test_more_owned_nodes_than_may_be_there_are_a_conflict() -> None:
    columns = '[{"id": "c", "node": "a", "rate": 1}]'
    types = '{"a": {"gpus": 8, "cost": 10, "stock": 1, "owned": 3}}'
    workloads = f'[{{"id": "w", "mode": "fluid", "demand": 10, "columns": {columns}}}]'
    found = solve(parse_problem(f'{{"node_types": {types}, "workloads": {workloads}}}'))
    assert (found.status, found.conflict) == ("infeasible", ("stock.a",))
