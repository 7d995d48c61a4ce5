"""Arguments and options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Audience(StrEnum):
    """Who a report is for."""

    MANAGEMENT = "management"
    PROCUREMENT = "procurement"
    ENGINEERING = "engineering"
    ALL = "all"


SpecFile = Annotated[Path, typer.Argument(metavar="SPEC", help="The workload file, YAML.")]
PlanFile = Annotated[Path, typer.Argument(metavar="PLAN", help="A plan.json, or the folder that holds it.")]
OutFolder = Annotated[Path | None, typer.Option("-o", "--out", metavar="DIR", help="Folder to write into.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Formats = Annotated[
    str, typer.Option("--format", metavar="LIST", help="Reports to write, with commas: html,pdf,md,json,csv,xlsx.")
]

Readers = Annotated[
    Audience, typer.Option("--for", help="Whose report: chooses the sections of HTML and PDF.", case_sensitive=False)
]
Templates = Annotated[
    Path | None, typer.Option("--template", metavar="DIR", help="Folder with templates that replace the shipped ones.")
]

DEFAULT_FORMATS = "html,pdf"
PLAN_FILE = "plan.json"


def plan_file(path: Path) -> Path:
    """The plan.json that a path means: itself, or the one in that folder."""
    return path / PLAN_FILE if path.is_dir() else path


def report_formats(text: str) -> tuple[str, ...]:
    """The report formats in a list written with commas, without repeats, in order.

    >>> report_formats("html, pdf,html")
    ('html', 'pdf')

    Raises InputError for a format that does not exist.
    """
    from planner.report import check_formats

    return check_formats(tuple(dict.fromkeys(item.strip().casefold() for item in text.split(",") if item.strip())))
