"""`plan validate --records PATH`: any records scored, whatever they come from."""

from __future__ import annotations

import json as json_text
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from planner.accuracy.bounds import contradicting, known_causes
from planner.accuracy.figures import grouped
from planner.accuracy.kinds import KINDS, of_family, table
from planner.accuracy.score import CONFIDENCE, load, score_records
from planner.accuracy.tables import COLUMNS, percent, plain, row_data, text, worst_rows
from planner.accuracy.types import Scored
from planner.catalog.load import Catalog
from planner.errors import InputError
from validation.record import ORIGINS

SCHEMA = "planner/accuracy/v1"
FAMILIES = ("memory", "speed")
NUM_WORST = 10


def score(paths: Sequence[Path], json: bool) -> str:
    """What to print for the records of some files and folders.

    Raises InputError where a file cannot be read or nothing in it can be scored.
    """
    records = load(paths)
    rows = score_records(records, Catalog.load())
    if not rows:
        where = ", ".join(str(p) for p in paths)
        raise InputError(f"{where}: {len(records)} records, and no measured figure to hold a prediction against")
    if json:
        return json_text.dumps(document(rows), indent=1, allow_nan=False)
    return report(rows).rstrip("\n")


def document(rows: Sequence[Scored]) -> dict[str, Any]:
    """Every table and every row as plain data."""
    return {
        "schema": SCHEMA,
        "confidence": CONFIDENCE,
        "tables": {
            origin: {family: plain(table(of, KINDS[origin, family])) for family, of in families.items()}
            for origin, families in parted(rows).items()
        },
        "contradicting": [[r.record, r.rule] for r in contradicting(rows, known_causes())],
        "rows": [row_data(r) for r in rows],
    }


def parted(rows: Sequence[Scored]) -> dict[str, dict[str, list[Scored]]]:
    """Rows by origin and family; only what there is."""
    by_origin = grouped(rows, lambda r: r.origin)
    return {
        origin: {f: of for f in FAMILIES if (of := of_family(by_origin[origin], f))}
        for origin in ORIGINS
        if origin in by_origin
    }


def report(rows: Sequence[Scored]) -> str:
    """The tables, the worst rows and what could not be predicted, for a terminal."""
    parts = [
        f"{origin}: {family}, {len(of):,} figures\n\n{text(table(of, KINDS[origin, family]), COLUMNS[family])}"
        for origin, families in parted(rows).items()
        for family, of in families.items()
    ]
    parts.append("Furthest off\n\n" + "".join(f"  {row_text(r)}\n" for r in worst_rows(rows, NUM_WORST)))
    open_rows = contradicting(rows, known_causes())
    if open_rows:
        lines = "".join(f"  {row_text(r)}\n" for r in open_rows)
        parts.append(f"Measured outside the interval, not explained\n\n{lines}")
    failures = Counter(r.failure for r in rows if r.failure)
    if failures:
        parts.append("Without a prediction\n\n" + "".join(f"  {n:5d}  {why}\n" for why, n in failures.most_common()))
    return "\n".join(parts)


def row_text(row: Scored) -> str:
    """One row: how far off, which, and what."""
    gpu = row.answer.gpu if row.answer else ""
    figures = (
        f"measured {row.measured:.4g} predicted {row.predicted:.4g} {row.unit if row.unit != '1' else ''}".rstrip()
    )
    error = percent(row.error, 0).rjust(8)
    return f"{error}  {row.record}  {row.rule}: {figures}; {row.framework} {row.model} on {gpu}"
