"""Arguments and options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from planner.catalog.load import Catalog


class Audience(StrEnum):
    """Who a report is for."""

    MANAGEMENT = "management"
    PROCUREMENT = "procurement"
    ENGINEERING = "engineering"
    ALL = "all"


class ReportLanguage(StrEnum):
    """A language that reports are written in."""

    ENGLISH = "en"
    PERSIAN = "fa"
    GERMAN = "de"


SpecFile = Annotated[Path, typer.Argument(metavar="SPEC", help="The workload file, YAML.")]
PlanFile = Annotated[Path, typer.Argument(metavar="PLAN", help="A plan.json, or the folder that holds it.")]
OutFolder = Annotated[Path | None, typer.Option("-o", "--out", metavar="DIR", help="Folder to write into.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Formats = Annotated[
    str,
    typer.Option(
        "--format", metavar="LIST", help="Reports to write, with commas: html,pdf,md,json,csv,xlsx,interactive."
    ),
]

Readers = Annotated[
    Audience, typer.Option("--for", help="Whose report: chooses the sections of HTML and PDF.", case_sensitive=False)
]
InLanguage = Annotated[
    ReportLanguage | None,
    typer.Option("--language", help="Language of the reports; left out = the spec's.", case_sensitive=False),
]
Templates = Annotated[
    Path | None, typer.Option("--template", metavar="DIR", help="Folder with templates that replace the shipped ones.")
]

CalibrationFile = Annotated[
    Path | None,
    typer.Option("--calibration", metavar="FILE", help="Efficiencies of one GPU, as `plan calibrate` writes them."),
]

DEFAULT_FORMATS = "html,pdf"
PLAN_FILE = "plan.json"


def plan_file(path: Path) -> Path:
    """The plan.json that a path means: itself, or the one in that folder."""
    return path / PLAN_FILE if path.is_dir() else path


def catalog_in_use(ctx: typer.Context, catalog: Catalog, calibration: Path | None) -> Catalog:
    """The catalog for the command at hand; a calibration holds until the command ends.

    Raises InputError for a file that is no calibration, or of a GPU that the catalog lacks.
    """
    if calibration is None:
        return catalog
    from planner.catalog.calibration import calibrated, calibrated_catalog, read_calibration

    used = read_calibration(calibration)
    found = calibrated_catalog(catalog, used)
    ctx.with_resource(calibrated(used))
    return found


def report_formats(text: str) -> tuple[str, ...]:
    """The report formats in a list written with commas, without repeats, in order.

    >>> report_formats("html, pdf,html")
    ('html', 'pdf')

    Raises InputError for a format that does not exist.
    """
    from planner.report.write import check_formats

    return check_formats(tuple(dict.fromkeys(item.strip().casefold() for item in text.split(",") if item.strip())))
