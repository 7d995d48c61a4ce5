"""`plan validate`: replay a plan or a suite on the device at hand, or score records."""

from __future__ import annotations

import importlib
import json as json_text
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from planner.cli.console import answer, say, table
from planner.cli.options import PLAN_FILE, Json, OutFolder
from planner.errors import InputError, MissingPartError, PlannerError

if TYPE_CHECKING:
    from validation.evidence import Evidence
    from validation.record import Record
    from validation.trial import Trial

MISMATCH = 1
MICROBENCHMARKS = "calibration"
DEFAULT_OUT = Path("validation-out")
REPORT_FORMATS = ("html", "pdf")
Level = Literal["device", "simulate"]
Device = Literal["auto", "cuda", "cpu"]
Job = Literal["slurm", "kubernetes"]


def validate(
    plan: Annotated[
        Path | None, typer.Argument(metavar="PLAN", help="A plan.json, or the folder that holds it.")
    ] = None,
    workload: Annotated[
        str | None, typer.Option("--workload", metavar="NAME", help="Only this workload; of a suite: names with this.")
    ] = None,
    level: Annotated[
        Level, typer.Option("--level", help="device: on the GPU here (tiny on a CPU); simulate: memory without a GPU.")
    ] = "device",
    json: Json = False,
    suite: Annotated[
        Path | None, typer.Option("--suite", metavar="FILE", help="A suite: smoke, single-gpu, or a spec's path.")
    ] = None,
    gpu: Annotated[
        str | None, typer.Option("--gpu", metavar="ID", help="The GPU here, put in place of the suite's.")
    ] = None,
    part: Annotated[str | None, typer.Option("--part", metavar="I/N", help="The I-th of N parts.")] = None,
    budget: Annotated[float | None, typer.Option("--budget", metavar="S", help="Seconds for all trials.")] = None,
    records: Annotated[
        list[Path] | None, typer.Option("--records", metavar="PATH", help="Score records instead of measuring.")
    ] = None,
    collect: Annotated[
        Path | None, typer.Option("--collect", metavar="DIR", help="Make records of what emitted jobs left.")
    ] = None,
    emit: Annotated[Job | None, typer.Option("--emit", help="Write jobs for a cluster instead of running.")] = None,
    out: OutFolder = None,
    device: Annotated[Device, typer.Option("--device", help="auto: a GPU if there is one.")] = "auto",
    time_limit: Annotated[
        float | None, typer.Option("--time-limit", metavar="S", min=1, help="Seconds for each trial.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Start although others use the card.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Run trials that have a record already, too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be run, for how long, and stop.")] = False,
    predict_only: Annotated[
        bool, typer.Option("--predict-only", help="With --suite: write the self-contained suite and stop.")
    ] = False,
    formats: Annotated[
        str, typer.Option("--format", metavar="LIST", help="One-page reports to write: html,pdf.")
    ] = "html",
    gguf: Annotated[
        Path | None,
        typer.Option("--gguf", metavar="FILE", help="Model file for llama.cpp; default: one of random weights."),
    ] = None,
) -> None:
    """Replay the chosen configuration; write measured beside predicted.

    Every trial runs in a process of its own with random weights and leaves a record. Exit code 1 when a figure is
    outside its interval.
    """
    one_thing_at_a_time(plan, suite, records, collect)
    if records:
        from planner.accuracy.command import score

        answer(score(records, json))
        return
    from validation.record import RecordError
    from validation.trial import TrialError

    try:
        if level == "simulate":
            found, folder = simulated(plan, only=workload, out=out), out
        elif collect is not None:
            from validation.launch import collect as collected

            folder = out or collect
            found = collected(collect, folder)
        else:
            folder = out or DEFAULT_OUT
            trials = part_of_trials(plan, suite, workload, part, gpu)
            if dry_run:
                from validation.duration import foreseen

                answer("\n".join(foreseen(trials)))
                return
            if predict_only and suite is not None:
                keep_suite(trials, suite, folder)
            if emit is not None or predict_only:
                write_jobs(trials, emit, folder)
                return
            found = measured(
                trials,
                folder,
                device=device,
                force=force,
                again=again,
                budget_s=budget,
                time_limit_s=time_limit,
                gguf=gguf,
            )
        finish(found, folder, json=json, formats=formats, evidence=evidence_near(plan, found))
    except (RecordError, TrialError) as err:
        raise InputError(str(err)) from None


def one_thing_at_a_time(plan: Path | None, suite: Path | None, records: object, collect: Path | None) -> None:
    """Raise InputError unless exactly one source of trials or records is named."""
    given = [name for name, value in (("PLAN", plan), ("--suite", suite), ("--records", records)) if value]
    given += ["--collect"] if collect else []
    if len(given) != 1:
        raise InputError(f"give one of PLAN, --suite, --records and --collect; given: {', '.join(given) or 'none'}")


def suite_file(name: Path) -> Path:
    """The suite's YAML: a path, or the name of a shipped one. Raises InputError with the shipped names."""
    import validation

    shipped = Path(validation.__file__).parent / "suites"
    if name.stem == MICROBENCHMARKS:
        raise InputError("the suite of microbenchmarks is run by `plan calibrate`")
    for path in (name, shipped / f"{name}.yaml"):
        if path.is_file():
            return path
    names = ", ".join(p.stem for p in sorted(shipped.glob("*.yaml")) if p.stem != MICROBENCHMARKS)
    raise InputError(f"{name}: no such suite; shipped: {names}")


def part_of_trials(
    plan: Path | None, suite: Path | None, only: str | None, part: str | None, gpu: str | None
) -> list[Trial]:
    """What is to be run, in order: of the plan, or of the suite, which is predicted first."""
    from validation.run import part_of
    from validation.suite import trials_in

    if plan is not None:
        return part_of(trials_in(plan, only=only), part)
    assert suite is not None
    if suite.suffix == ".json":
        return part_of(trials_in(suite, only=only), part)
    from planner.catalog.load import Catalog
    from planner.replay.suite import suite_trials

    trials = suite_trials(suite_file(suite), Catalog.load(), on=gpu)
    return part_of([t for t in trials if only is None or only in t.id], part)


def keep_suite(trials: Sequence[Trial], suite: Path, folder: Path) -> None:
    """Write the trials with their predictions for a machine that has only torch and the folder `validation/`."""
    from planner import __version__
    from validation.suite import write_suite

    path = write_suite(suite.stem, trials, folder / f"{suite.stem}.json", made_with=f"plan {__version__}")
    say(f"wrote {path}: {len(trials)} trials with their predictions")


def write_jobs(trials: Sequence[Trial], target: Job | None, folder: Path) -> None:
    """Write a cluster job for each trial, where asked."""
    if target is None:
        return
    from validation.launch import emit

    for path in emit(trials, target, folder):
        say(f"wrote {path}")


def measured(
    trials: Sequence[Trial],
    folder: Path,
    *,
    device: Device,
    force: bool,
    again: bool,
    budget_s: float | None,
    time_limit_s: float | None,
    gguf: Path | None,
) -> list[Record]:
    """Records of the trials, run here."""
    from validation.run import Settings, run_trials

    settings = Settings(
        out=folder,
        device=device,
        force=force,
        again=again,
        budget_s=budget_s,
        time_limit_s=time_limit_s,
        gguf=gguf,
        command=shlex.join(["plan", *sys.argv[1:]]),
        say=say,
    )
    return run_trials(trials, settings)


def simulated(plan: Path | None, *, only: str | None, out: Path | None) -> Sequence[Record]:
    """Records of the plan's memory, simulated without a GPU; written under `OUT/simulated/` where asked.

    Raises InputError where no plan is given, MissingPartError where torch and transformers are not installed.
    """
    if plan is None:
        raise InputError(f"--level simulate needs a {PLAN_FILE}")
    from validation.planfile import read_plan

    raw = read_plan(plan)
    try:
        module = importlib.import_module("validation.simulate.plan")
    except ModuleNotFoundError as err:
        raise MissingPartError(
            f"--level simulate needs {err.name}; install it with\n    pip install 'gpu-capacity-planner[validate]'"
        ) from None
    records: Sequence[Record] = module.simulate_plan(raw, only=only)
    if out is not None:
        from validation.record import write_record

        for record in records:
            write_record(record, out / "simulated" / f"{record.id}.json")
    return records


def evidence_near(plan: Path | None, found: Sequence[Record]) -> Sequence[Evidence]:
    """What is known of the plan's workloads from these records and those that are shipped; nothing for a suite."""
    from planner.catalog.load import Catalog
    from planner.replay.evidence import predicted_evidence, shipped_records
    from validation.planfile import SCHEMA, read_json

    if plan is None:
        return ()
    raw = read_json(plan / PLAN_FILE if plan.is_dir() else plan)
    if raw.get("schema") != SCHEMA:
        return ()
    return predicted_evidence(raw, [*found, *shipped_records(raw)], Catalog.load())


def finish(
    found: Sequence[Record], folder: Path | None, *, json: bool, formats: str, evidence: Sequence[Evidence] = ()
) -> None:
    """Print the records, write summary and page, and leave with code 1 where a figure is off."""
    from validation.record import read_records
    from validation.run import failed
    from validation.summary import write_summary

    broken = failed(found)
    if folder is not None:
        everything = [r for r in read_records(folder) if r.origin == "measured"] if folder.is_dir() else []
        say(f"wrote {write_summary(everything or list(found), folder)}")
        write_pages(found, folder, formats, evidence)
    if json:
        document = {"schema": "validation/run/v1", "records": [r.as_dict() for r in found], "mismatches": broken}
        answer(json_text.dumps(document, ensure_ascii=False, allow_nan=False, indent=1))
    else:
        show(found, broken)
    if broken:
        raise typer.Exit(MISMATCH)


def show(found: Sequence[Record], broken: dict[str, list[str]]) -> None:
    """Print measured beside predicted, and what is off."""
    from validation.summary import table as rows_of

    names = ("trial", "figure", "measured", "predicted", "error", "verdict")
    answer(table([dict(zip(names, row, strict=True)) for row in rows_of(list(found))], names))
    for name, reasons in broken.items():
        answer(f"MISMATCH {name}: {'; '.join(reasons)}")
    if not any(q.verdict == "inside" for r in found for q in r.quantities) and not broken:
        answer("Nothing was proven: no figure was measured on the planned configuration.")


def write_pages(found: Sequence[Record], folder: Path, formats: str, evidence: Sequence[Evidence]) -> None:
    """Write the one-page reports. Raises InputError for an unknown format, MissingPartError without PDF libraries."""
    from planner.replay.page import write_page

    wanted = tuple(dict.fromkeys(f.strip().casefold() for f in formats.split(",") if f.strip()))
    unknown = [f for f in wanted if f not in REPORT_FORMATS]
    if unknown:
        raise InputError(f"--format {unknown[0]}: one of {', '.join(REPORT_FORMATS)}")
    missing: PlannerError | None = None
    for kind in wanted:
        try:
            say(f"wrote {write_page(found, folder, kind, evidence=evidence)}")
        except MissingPartError as err:
            missing = err
    if missing is not None:
        raise missing
