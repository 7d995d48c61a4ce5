"""`plan report`: the reports again, from a plan.json alone."""

from __future__ import annotations

from typing import Annotated

import typer

from planner.cli.console import answer
from planner.cli.options import (
    DEFAULT_FORMATS,
    Audience,
    Formats,
    InLanguage,
    OutFolder,
    PlanFile,
    Readers,
    Templates,
    plan_file,
    report_formats,
)


def report(
    plan: PlanFile,
    out: OutFolder = None,
    formats: Formats = DEFAULT_FORMATS,
    readers: Readers = Audience.ALL,
    language: InLanguage = None,
    template: Templates = None,
    text: Annotated[bool, typer.Option("--text", help="Print the summary instead of writing files.")] = False,
) -> None:
    """Render the reports of a plan again.

    Needs the plan alone and no catalog; they go beside it unless -o says otherwise.
    """
    from planner.plan.io import read_plan
    from planner.report.text import plan_summary
    from planner.report.write import write_reports

    wanted = report_formats(formats)
    file = plan_file(plan)
    document = read_plan(file)
    if text:
        answer(plan_summary(document))
        return
    written = write_reports(
        document, out or file.parent, wanted, templates=template, audience=readers, language=language
    )
    for path in written:
        answer(str(path))
