"""`plan diff`: what changes between two plans."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from planner.cli.console import answer
from planner.cli.options import plan_file


def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="The earlier plan.json.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The later plan.json.")],
) -> None:
    """Show what changes between two plans.

    + is to add, ~ to change, - to remove.
    """
    from planner.plan.diff import diff as difference
    from planner.plan.io import read_plan

    answer("\n".join(difference(read_plan(plan_file(old)), read_plan(plan_file(new)))))
