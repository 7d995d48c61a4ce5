"""`plan schema`: the JSON Schemas for editors and other tools."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from planner.cli.console import answer_json

What = Literal["spec", "plan", "problem"]


def schema(
    what: Annotated[What, typer.Argument(metavar="spec|plan|problem", help="Which document.")] = "spec",
) -> None:
    """Print the JSON Schema of a document.

    An editor completes and checks specs with it.
    """
    answer_json(schema_of(what))


def schema_of(what: What) -> dict[str, Any]:
    """The JSON Schema of one kind of document."""
    if what == "spec":
        from planner.spec.schema import spec_json_schema

        return spec_json_schema()
    if what == "plan":
        from planner.plan.types import Plan

        return Plan.model_json_schema(by_alias=True)
    from planner.solve.problem import Problem

    return Problem.model_json_schema(by_alias=True)
