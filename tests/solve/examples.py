"""Small problems by hand."""

from __future__ import annotations

from typing import Any

from planner.solve.problem import Problem


def node(gpus: int = 8, cost: int | None = 10, **more: Any) -> dict[str, Any]:
    return {"gpus": gpus, "cost": cost, **more}


def column(name: str, at: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "node": at, "replicas": 1, **more}


def problem(node_types: dict[str, Any], workloads: dict[str, Any], **more: Any) -> Problem:
    """`workloads`: lists of columns (mode `one`), or whole workloads, by id."""
    listed = [{"id": w, **(c if isinstance(c, dict) else {"columns": c})} for w, c in workloads.items()]
    return Problem.model_validate({"node_types": node_types, "workloads": listed, **more})
