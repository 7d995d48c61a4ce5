"""Running scenarios: here, on several local processes, or on a cluster through joblib; results survive an abort."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from planner.errors import InputError, MissingPartError
from planner.files import write_atomically
from planner.plan.sweep import FINISHED, Scenario, planned

RESULTS_FILE = "scenarios.jsonl"
EXTRA = "pip install 'gpu-capacity-planner[sweep]'"
Row = dict[str, Any]


def finished_rows(path: Path) -> dict[str, Row]:
    """Rows of an earlier run by id; a last line that was cut short is left out. Raises InputError for other text."""
    if not path.exists():
        return {}
    rows: dict[str, Row] = {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError:
            if number == len(lines):
                break
            raise InputError(f"{path}:{number}: not a result of a sweep; name another folder with -o") from None
        if isinstance(row, dict) and isinstance(row.get("id"), str) and row.get("status") in FINISHED:
            rows[row["id"]] = row
    return rows


def run_all(
    asked: Sequence[Scenario],
    folder: Path,
    *,
    created: str,
    time_limit_s: float | None = None,
    workers: int = 1,
    cluster: str | None = None,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> list[Row]:
    """The rows of all scenarios in their order; those that an earlier run finished are taken from its file.

    Each row is written as soon as it is there. `tell` is called with the number of rows in hand and in all. Raises
    MissingPartError without joblib where it is needed, InputError for a cluster of another kind.
    """
    path = folder / RESULTS_FILE
    wanted = {s.id for s in asked}
    rows = {key: row for key, row in finished_rows(path).items() if key in wanted}
    other = [row for key, row in finished_rows(path).items() if key not in wanted]
    left = [s for s in {s.id: s for s in asked}.values() if s.id not in rows]
    write_atomically(path, "".join(map(as_line, [*other, *rows.values()])).encode())
    tell(len(rows), len(wanted))
    with path.open("a", encoding="utf-8") as file:
        for row in outcomes(left, created, time_limit_s, workers=workers, cluster=cluster):
            file.write(as_line(row))
            file.flush()
            rows[row["id"]] = row
            tell(len(rows), len(wanted))
    return [rows[s.id] for s in asked]


def as_line(row: Row) -> str:
    """One row as a line of JSON."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False, sort_keys=True) + "\n"


def outcomes(
    left: Sequence[Scenario], created: str, time_limit_s: float | None, *, workers: int, cluster: str | None
) -> Iterator[Row]:
    """Rows as they come."""
    if not left:
        return
    if cluster is None and workers == 1:
        yield from (planned(s, created, time_limit_s) for s in left)
        return
    joblib = part("joblib", EXTRA)
    with backend(cluster, joblib):
        jobs = (joblib.delayed(planned)(s, created, time_limit_s) for s in left)
        pool = joblib.Parallel(n_jobs=workers if cluster is None else -1, return_as="generator_unordered")
        found: Iterable[Row] = pool(jobs)
        yield from found


def backend(cluster: str | None, joblib: Any) -> AbstractContextManager[Any]:
    """Where joblib runs: local processes, or a cluster that is there already.

    Raises InputError for an address of another kind, MissingPartError where the cluster's package is missing.
    """
    if cluster is None:
        return nullcontext()
    kind, _, address = cluster.partition("://")
    if kind == "dask" and address:
        distributed = part("distributed", "pip install distributed")
        client = distributed.Client(f"tcp://{address}")
        found: AbstractContextManager[Any] = joblib.parallel_config(backend="dask", client=client)
        return found
    if kind == "ray" and address:
        ray = part("ray", "pip install ray")
        ray.init(address=cluster)
        part("ray.util.joblib", "pip install ray").register_ray()
        found = joblib.parallel_config(backend="ray")
        return found
    raise InputError(f"--cluster {cluster}: write dask://HOST:PORT or ray://HOST:PORT")


def part(name: str, mend: str) -> Any:
    """An optional package. Raises MissingPartError, which names the command that installs it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise MissingPartError(f"this needs the package {name.split('.')[0]}: {mend}") from None
