"""`plan sweep`: one spec with some of its keys varied."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from planner.cli.console import answer, answer_json, say, table
from planner.cli.options import CalibrationFile, Json, OutFolder, SpecFile, catalog_in_use
from planner.errors import InputError

SWEEPS_FOLDER = "plans"
BAR_WIDTH = 30


def sweep(
    ctx: typer.Context,
    spec: SpecFile,
    vary: Annotated[
        list[str],
        typer.Option(
            "--vary", metavar="KEY=V1,V2", help="A key of the spec, dotted, and its values; more than once: all pairs."
        ),
    ],
    out: OutFolder = None,
    json: Json = False,
    workers: Annotated[int, typer.Option("--workers", metavar="N", min=1, max=512, help="Local processes.")] = 1,
    cluster: Annotated[
        str | None, typer.Option("--cluster", metavar="URL", help="dask://HOST:PORT or ray://HOST:PORT.")
    ] = None,
    time_limit: Annotated[
        float | None, typer.Option("--time-limit", metavar="S", min=0.1, help="Seconds for each scenario.")
    ] = None,
    calibration: CalibrationFile = None,
) -> None:
    """Plan every combination of some keys' values.

    Workloads go by name: workloads.chat.targets.requests_per_second=2,4,8. Writes scenarios.jsonl into DIR (default:
    plans/<spec name>-sweep/); scenarios that stand there already are not planned again.
    """
    from planner.catalog.calibration import calibration_in_use
    from planner.plan.scenarios import RESULTS_FILE, run_all
    from planner.plan.sweep import SCHEMA, scenarios, shipped_catalog, varied
    from planner.spec.load import load_spec

    asked = [varied(text) for text in vary]
    if cluster is not None and workers > 1:
        raise InputError("--workers are local processes and --cluster is elsewhere; give one of them")
    loaded = load_spec(spec)
    folder = out or Path(SWEEPS_FOLDER) / f"{loaded.spec.name}-sweep"
    if loaded.folder is None:
        raise InputError("a sweep reads the spec more than once; give it as a file")
    catalog = catalog_in_use(ctx, shipped_catalog(), calibration)
    measured = calibration_in_use()
    found = scenarios(spec.read_bytes(), str(spec), loaded.folder, asked, catalog, calibration=measured)
    rows = run_all(
        found,
        folder,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        time_limit_s=time_limit,
        workers=workers,
        cluster=cluster,
        tell=progress if sys.stderr.isatty() else silent,
    )
    say(f"wrote {folder / RESULTS_FILE}")
    keys = [v.key for v in asked]
    if json:
        answer_json({"schema": SCHEMA, "spec": str(spec), "vary": keys, "scenarios": rows})
    else:
        answer(table([line(row, keys) for row in rows]))


def progress(done: int, total: int) -> None:
    """A bar on stderr that is drawn over itself."""
    filled = BAR_WIDTH * done // max(1, total)
    end = "\n" if done == total else ""
    sys.stderr.write(f"\r{'█' * filled}{'░' * (BAR_WIDTH - filled)} {done}/{total}{end}")
    sys.stderr.flush()


def silent(done: int, total: int) -> None:
    """No bar where nobody watches."""


def line(row: Mapping[str, Any], keys: Sequence[str]) -> dict[str, object]:
    """One scenario as a row of the table: what was varied, then what came out."""
    from planner.plan.sweep import short

    totals = row.get("totals") or {}
    runs = [f"{name}: {w['gpus']} x {w['gpu']}" for name, w in (row.get("workloads") or {}).items()]
    return {
        **{heading(key, keys): short(row["values"][key]) for key in keys},
        "status": row["status"],
        "USD/h": rounded(totals.get("usd_per_hour")),
        "GPUs": totals.get("gpus"),
        "nodes": totals.get("nodes"),
        "kW": rounded(totals.get("power_kw")),
        "runs on": "; ".join(runs) or row.get("reason", ""),
    }


def heading(key: str, keys: Sequence[str]) -> str:
    """The last part of a key, or the whole of it where two end alike.

    >>> heading("horizon.months", ["horizon.months", "fleet.gpus"])
    'months'
    """
    last = key.rsplit(".", 1)[-1]
    return key if sum(k.rsplit(".", 1)[-1] == last for k in keys) > 1 else last


def rounded(value: float | None) -> float | None:
    """Two digits behind the point."""
    return None if value is None else round(value, 2)
