"""`plan solve` on problems that nobody should trip over: one clear message each, and the exit code of the contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import RunPlan

NODE: dict[str, Any] = {"gpus": 8, "ram": 100, "cost": 10}
COLUMN: dict[str, Any] = {"id": "c", "node": "a", "gpus": 2, "replicas": 1}


def problem(node: dict[str, Any] | None = None, column: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    workload = {"id": "w", "mode": "one", "columns": [{**COLUMN, **(column or {})}]}
    return {
        "schema": "planner/problem/v1",
        "node_types": {"a": {**NODE, **(node or {})}},
        "workloads": [workload],
        **more,
    }


def empty() -> dict[str, Any]:
    return {**problem(), "workloads": [{"id": "w", "columns": []}]}


BAD: dict[str, tuple[dict[str, Any] | str, int, str]] = {
    "a negative stock": (problem(node={"stock": -1}), 2, "node_types.a.stock"),
    "a price that is no number": (json.dumps(problem()).replace("10", "NaN"), 2, "NaN is not a number"),
    "an endless price": (json.dumps(problem()).replace("10", "1e999", 1), 2, "node_types.a"),
    "a price of a fraction": (problem(node={"cost": 1.5}), 2, "node_types.a.cost"),
    "a price beyond all measure": (problem(node={"cost": 10**19}), 2, "node_types.a.cost"),
    "no candidate at all": (empty(), 3, "workload.w"),
    "a replica larger than any node": (problem(column={"gpus": 9}), 3, "workload.w"),
    "a limit of nothing": (problem(limits={"nodes": 0}), 3, "nodes"),
    "a node type that cannot be had": (problem(node={"cost": None}), 3, "workload.w"),
    "a workload on an unknown node": (problem(column={"node": "b"}), 2, "unknown node type 'b'"),
    "a list in the place of a problem": ("[]", 2, "problem.json"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_with_a_message_and_its_exit_code(plan: RunPlan, tmp_path: Path, case: str) -> None:
    raw, code, words = BAD[case]
    path = tmp_path / "problem.json"
    path.write_text(raw if isinstance(raw, str) else json.dumps(raw), encoding="utf-8")
    done = plan("solve", str(path), "--json")
    assert done.code == code, done.err
    assert words in done.err
    assert "Traceback" not in done.err + done.out


def test_sums_beyond_64_bits_are_refused_with_a_way_out(plan: RunPlan, tmp_path: Path) -> None:
    raw = problem()
    raw["node_types"] = {f"n{k}": {"gpus": 1, "cost": 10**12 - k} for k in range(20)}
    ways = [{"id": t, "node": t, "replicas": 10**6} for t in raw["node_types"]]
    raw["workloads"] = [{"id": "w", "columns": ways}]
    path = tmp_path / "problem.json"
    path.write_text(json.dumps(raw), encoding="utf-8")
    done = plan("solve", str(path))
    assert done.code == 2
    assert "coarser units" in done.err


def test_a_solution_prints_one_json_document_and_nothing_else(plan: RunPlan, tmp_path: Path) -> None:
    """The second solver, which shared pools need, prints lines of its own."""
    columns = [{"id": "c", "node": "a", "rate": 1.3}, {"id": "d", "node": "b", "rate": 0.7}]
    workloads = [{"id": f"w{n}", "mode": "fluid", "demand": 3 + n, "columns": columns} for n in range(4)]
    raw = problem() | {"node_types": {"a": NODE, "b": {**NODE, "cost": 6}}, "workloads": workloads}
    path, solution = tmp_path / "problem.json", tmp_path / "solution.json"
    path.write_text(json.dumps(raw), encoding="utf-8")
    done = plan("solve", str(path), "--json")
    assert json.loads(done.out)["status"] == "optimal"
    solution.write_text(done.out, encoding="utf-8")
    assert plan("solve", str(path), "--verify", str(solution)).code == 0
