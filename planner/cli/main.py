"""The command `plan`: its commands in order, and the one place where errors become exit codes."""

from __future__ import annotations

import gc
import signal
from collections.abc import Sequence
from typing import Annotated

import typer

from planner import __version__
from planner.cli import (
    build,
    calibrate,
    catalog,
    check,
    diff,
    doctor,
    estimate,
    explain,
    export,
    init,
    report,
    schema,
    solve,
    sweep,
    validate,
)
from planner.cli.console import answer, say, tolerant_streams
from planner.errors import PlannerError

OBJECTS_BETWEEN_COLLECTIONS = 2_000_000

app = typer.Typer(
    name="plan",
    help="Plans GPU capacity: which GPUs, how many, in what precision, split how, and what it costs.",
    epilog="Exit codes: 0 done; 1 a check found a difference; 2 bad input, bad usage or a missing part; "
    "3 proven infeasible; 4 no plan within the time limit.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command()(init.init)
app.command()(check.check)
app.command()(estimate.estimate)
app.command()(build.build)
app.command()(report.report)
app.command()(explain.explain)
app.command()(diff.diff)
app.command()(export.export)
app.command()(solve.solve)
app.command()(sweep.sweep)
app.command()(validate.validate)
app.command()(calibrate.calibrate)
app.add_typer(catalog.app, name="catalog")
app.command()(schema.schema)
app.command()(doctor.doctor)


def show_version(wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        answer(f"plan {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Plans GPU capacity: which GPUs, how many, in what precision, split how, and what it costs."""


def main() -> None:
    """The entry point `plan`."""
    tolerant_streams()
    # A command is one short pass that keeps what it makes; looking for cycles took 40 % of a PDF's time.
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `plan ... | head` ends quietly
    run()


def run(arguments: Sequence[str] | None = None) -> None:
    """Run one command; every error a user can cause ends as a message on stderr and SystemExit with its code."""
    try:
        app(arguments, prog_name="plan")
    except PlannerError as err:
        say(f"plan: {err}")
        raise SystemExit(err.exit_code) from None
    except OSError as err:
        if err.filename is None:
            raise
        say(f"plan: {err.filename}: {err.strerror}")
        raise SystemExit(PlannerError.exit_code) from None
