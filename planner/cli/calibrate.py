"""`plan calibrate`: measure this GPU, or take what records say of it, and write a calibration."""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from planner.cli.console import answer, say
from planner.errors import InputError

if TYPE_CHECKING:
    from planner.catalog.calibration import Calibration
    from planner.catalog.load import Catalog

DEFAULT_OUT = Path("calibration.json")
TIME_LIMIT_S = 300.0
Device = Literal["auto", "cuda", "cpu"]


def calibrate(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="The calibration to write.")] = DEFAULT_OUT,
    from_records: Annotated[
        bool, typer.Option("--from-records", help="From measured records instead of measuring now.")
    ] = False,
    records: Annotated[
        Path | None, typer.Option("--records", metavar="PATH", help="The records; default: those that are shipped.")
    ] = None,
    gpu: Annotated[
        str | None, typer.Option("--gpu", metavar="ID", help="The GPU's catalog id; default: as the driver names it.")
    ] = None,
    device: Annotated[
        Device, typer.Option("--device", help="auto: the GPU here; cpu: try the harness on a CPU.")
    ] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Start although others use the card.")] = False,
) -> None:
    """Measure this GPU in a minute or two and write a calibration.

    `estimate` and `build` accept it with --calibration FILE. With --from-records the factors come from measured
    records; figures that contradict them are listed.
    """
    from planner.catalog.calibration import calibration_text
    from planner.catalog.load import Catalog
    from planner.files import write_atomically

    catalog = Catalog.load()
    made, contradicting = (
        recorded(catalog, records, gpu) if from_records else (measured(catalog, gpu, device, out=out, force=force), [])
    )
    show(made)
    for line in contradicting:
        answer(f"CONTRADICTS {line}")
    if device == "cpu" and not from_records:
        say("measured on a CPU to try the harness: nothing is written, for it says nothing of a GPU")
        return
    say(f"wrote {write_atomically(out, calibration_text(made).encode())}")


def show(made: Calibration) -> None:
    """Print the factors and the errors before and after."""
    answer(f"{made.gpu}: {made.text}")
    if made.scores is not None:
        s = made.scores
        answer(
            f"error of {s.num_figures} figures: median {s.median_before:.1%} before, {s.median_after:.1%} after; "
            f"worst {s.worst_before:+.1%} before, {s.worst_after:+.1%} after"
        )


def recorded(catalog: Catalog, path: Path | None, gpu: str | None) -> tuple[Calibration, list[str]]:
    """The calibration of a GPU from records. Raises InputError where they say nothing of it."""
    import validation
    from planner.accuracy.bounds import known_causes
    from planner.accuracy.score import load
    from planner.replay.calibrate import from_records

    found = load([path or Path(validation.__file__).parent / "records"])
    seen = [str((r.workload.get("pin") or {}).get("gpu")) for r in found if r.origin == "measured" and not r.emulated]
    if not seen and gpu is None:
        raise InputError("no record was measured on a device; run `plan validate --suite single-gpu` on a GPU first")
    name = gpu or max(sorted(set(seen)), key=seen.count)
    return from_records(found, catalog.gpu(name), catalog, as_of=today(found), causes=known_causes())


def today(found: Any) -> str:
    """The day of the latest record; today where none says its date."""
    dates = [str(r.environment["date"])[:10] for r in found if r.origin == "measured" and "date" in r.environment]
    return max(dates, default=datetime.now(UTC).date().isoformat())


def measured(catalog: Catalog, gpu: str | None, device: Device, *, out: Path, force: bool) -> Calibration:
    """The calibration from microbenchmarks run now.

    Raises InputError where there is no GPU, others use it, or the benchmarks fail.
    """
    from planner.replay.calibrate import catalog_gpu, from_micro
    from validation.card import busy
    from validation.record import RecordError
    from validation.run import machine_of

    try:
        machine = machine_of("cuda" if device == "auto" else device)
    except RecordError as err:
        raise InputError(str(err)) from None
    if machine.kind == "cpu" and gpu is None:
        raise InputError("--device cpu needs --gpu ID: whose efficiencies the figures are to be held against")
    if gpu is None and machine.cards[0].slice_profile:
        raise InputError(
            f"{machine.name} is a slice of a GPU, whose efficiencies no catalog has; name one with --gpu ID"
        )
    in_use = None if force else busy(machine.cards[:1])
    if in_use is not None:
        raise InputError(f"{in_use}; wait, or start with --force")
    entry = catalog.gpu(gpu) if gpu else catalog_gpu(machine.name, machine.cards[0].total_bytes or 0, catalog)
    figures = run_micro(machine.kind, out.parent)
    source = f"microbenchmarks on {machine.name}"
    return from_micro(figures, entry, source=source, as_of=datetime.now(UTC).date().isoformat())


def run_micro(kind: str, folder: Path) -> dict[str, Any]:
    """The figures of the calibration suite, measured in a child that writes into the folder alone.

    Raises InputError where it fails.
    """
    import sys

    import yaml

    import validation
    from validation.supervise import supervise

    suite_file = Path(validation.__file__).parent / "suites" / "calibration.yaml"
    suite = yaml.load(suite_file.read_bytes(), Loader=yaml.CSafeLoader)["gpu" if kind == "cuda" else "tiny"]
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".calibrate-", dir=folder) as name:
        work = Path(name).resolve()
        (work / "suite.json").write_text(json.dumps(suite), encoding="utf-8")
        command = [sys.executable, "-m", "validation.micro", str(work / "suite.json"), str(work / "result.json")]
        done = supervise(
            [*command, "--device", kind], work=work, result_file=work / "result.json", time_limit_s=TIME_LIMIT_S
        )
    if done.outcome.state != "ok":
        raise InputError(f"the microbenchmarks did not finish: {done.outcome.state}: {done.outcome.detail}")
    figures: dict[str, Any] = done.result["micro"]
    return figures
