"""`plan build`: choose GPUs for every workload."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.console import answer, say
from planner.cli.options import (
    DEFAULT_FORMATS,
    CalibrationFile,
    Formats,
    OutFolder,
    SpecFile,
    catalog_in_use,
    plan_file,
    report_formats,
)
from planner.errors import InfeasibleError, InputError, MissingPartError

if TYPE_CHECKING:
    from planner.plan.replan import OldPlan
    from planner.plan.types import Plan
    from planner.report.pdf_process import PdfProcess
    from planner.report.write import Pages

PLANS_FOLDER = "plans"


def build(
    ctx: typer.Context,
    spec: SpecFile,
    out: OutFolder = None,
    formats: Formats = DEFAULT_FORMATS,
    time_limit: Annotated[
        float | None, typer.Option("--time-limit", metavar="S", min=0.1, help="Seconds the optimiser may take.")
    ] = None,
    old_plan: Annotated[
        Path | None,
        typer.Option("--from", metavar="OLD_PLAN", help="The plan in use: change as little of it as the cost allows."),
    ] = None,
    extra: Annotated[
        float,
        typer.Option("--from-extra", metavar="SHARE", min=0, max=1, help="How far above the least --from may lead."),
    ] = 0.0,
    alternatives: Annotated[
        bool,
        typer.Option("--alternatives", help="Solve the fleet again with each alternative, and on each GPU type alone."),
    ] = False,
    sensitivity: Annotated[
        bool, typer.Option("--sensitivity", help="What one more node saves, and at what prices the choice flips.")
    ] = False,
    pareto: Annotated[bool, typer.Option("--pareto", help="The front of cost and power.")] = False,
    calibration: CalibrationFile = None,
) -> None:
    """Choose GPUs and write the plan.

    Writes plan.json, problem.json and the reports into DIR (default: plans/<spec name>/ under the current folder)
    and prints a summary.
    """
    from planner.catalog.load import Catalog
    from planner.names import refuse_unknown_names
    from planner.plan.build import build as plan_and_problem
    from planner.plan.io import write_plan, write_problem
    from planner.plan.questions import Questions
    from planner.replay.evidence import with_evidence
    from planner.report.pdf_process import PdfProcess
    from planner.report.text import plan_summary
    from planner.report.write import pages_of
    from planner.spec.load import load_spec

    wanted = report_formats(formats)
    in_use = plan_in_use(old_plan, extra)
    loaded = load_spec(spec)
    asked = Questions(alternatives=alternatives, sensitivity=sensitivity, pareto=pareto)
    catalog = catalog_in_use(ctx, Catalog.load(), calibration)
    refuse_unknown_names(loaded, catalog)
    with PdfProcess() if "pdf" in wanted else nullcontext() as printer:
        built = plan_and_problem(
            loaded, catalog, created=datetime.now(UTC), time_limit_s=time_limit, from_plan=in_use, asked=asked
        )
        plan = with_evidence(built.plan, catalog)
        pages = pages_of(plan, wanted)
        if printer is not None:
            printer.send(pages.html)
        folder = out or Path(PLANS_FOLDER) / loaded.spec.name
        say(f"wrote {write_plan(plan, folder)}")
        if built.problem is not None:
            say(f"wrote {write_problem(built.problem, folder)}")
        answer(plan_summary(plan))
        write_pages_and_say(plan, pages, folder, wanted, printer)
    refuse_infeasible(plan)


def plan_in_use(path: Path | None, extra_share: float) -> OldPlan | None:
    """The plan of --from; None without one.

    Raises InputError when it cannot be read, and for a share without a plan that it could serve.
    """
    from planner.plan.io import read_plan
    from planner.plan.replan import OldPlan

    if path is None:
        if extra_share:
            raise InputError(
                "--from-extra: says how much staying near an old plan may cost; name that plan with --from"
            )
        return None
    return OldPlan(plan=read_plan(plan_file(path)), source=str(path), extra_share=extra_share)


def write_pages_and_say(
    plan: Plan, pages: Pages, folder: Path, formats: tuple[str, ...], printer: PdfProcess | None
) -> None:
    """Write the reports and name them; `printer`, where there is one, has been sent the page.

    Raises MissingPartError when a system part is missing; for an infeasible plan that is only told, since the
    verdict matters more.
    """
    from planner.report.pdf import render_pdf
    from planner.report.write import write_pages

    def pdf_of(html: str) -> bytes:
        return render_pdf(html) if printer is None else printer.fetch()

    try:
        for path in write_pages(pages, folder, formats, pdf_of=pdf_of):
            say(f"wrote {path}")
    except MissingPartError as err:
        if plan.infeasible is None:
            raise
        say(f"plan: {err}")


def refuse_infeasible(plan: Plan) -> None:
    """Raise InfeasibleError, whose text says what cannot hold together, after the plan is written."""
    if plan.infeasible is None:
        return
    clash = [f"{c.where}: {c.limit}: {c.text}" for c in plan.infeasible.conflict]
    lost = [
        f"{name}: no GPU of the fleet can run it; nearest: " + "; ".join(f"{r.gpu}: {r.reason}" for r in rejected[:3])
        for name, rejected in plan.infeasible.unplaceable.items()
    ]
    ways_out = [f"way out: {r.text}" for r in plan.infeasible.relaxations]
    raise InfeasibleError("\n".join(["no plan exists", *clash, *lost, *ways_out]))
