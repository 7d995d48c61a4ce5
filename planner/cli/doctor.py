"""`plan doctor`: what this machine lacks, and the command that mends it."""

from __future__ import annotations

import typer

from planner.cli.console import answer, answer_json
from planner.cli.options import Json
from planner.errors import MissingPartError


def doctor(json: Json = False) -> None:
    """Say what this machine lacks.

    Each part that is missing comes with the command that mends it.
    """
    from planner.doctor import examine

    findings = examine()
    if json:
        answer_json({"schema": "planner/doctor/v1", "findings": [finding.as_dict() for finding in findings]})
    else:
        answer("\n".join(finding.line() for finding in findings))
    if any(finding.state == "missing" for finding in findings):
        raise typer.Exit(MissingPartError.exit_code)
