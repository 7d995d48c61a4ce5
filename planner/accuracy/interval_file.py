"""The cells of recorded errors as `catalogs/intervals.yaml`, and errors on left-out sources as they are kept."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from planner.accuracy.intervals import CONFIDENCES, Cell
from planner.catalog.intervals import SHIPPED_CONFIDENCE
from planner.errors import InputError

LEFT_OUT_SCHEMA = "planner/speed-errors/v1"
HEADER = """\
# Prediction intervals as factors on the prediction, made by `python benchmarks/fit_intervals.py` from the errors on all
# records; planner/accuracy/intervals.py says how. `kind` is infer, train_full, train_lora or train_qlora, or a prefix;
# `engines` narrows it; `figure` is what is predicted, or the family it counts as; the most special entry counts.
# Factors of speeds and of times to first token are those of rates. `low` and `high` are the ends of the 90 % interval,
# `factors` those of others. Stretch for sources never seen, by family: {stretch}.
"""
DIGITS = 4


def load_left_out(path: Path) -> dict[tuple[str, str], float]:
    """ln(measured / predicted) by record and rule, predicted with parameters fitted without the record's source.

    Written by `python -m benchmarks.fit_efficiency --fit --write`. Raises InputError where the file is of another kind.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["schema"] != LEFT_OUT_SCHEMA:
            raise InputError(f"{path}: schema {raw['schema']!r}; this version reads {LEFT_OUT_SCHEMA!r}")
        return {(row["id"], row["rule"]): -float(row["log_error"]) for row in raw["rows"]}
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise InputError(f"{path}: no errors on left-out sources: {err!r}") from None


def yaml_text(cells: Sequence[Cell], stretch: Mapping[str, Mapping[float, float]], *, as_of: str) -> str:
    """The whole file."""
    said = ", ".join(f"{family} {by[SHIPPED_CONFIDENCE]:.2f}" for family, by in sorted(stretch.items()))
    return HEADER.format(stretch=said) + "".join(entry_text(c, as_of) for c in cells)


def entry_text(cell: Cell, as_of: str) -> str:
    """One entry, its keys in the order in which they are read."""
    low, high = ends(cell, SHIPPED_CONFIDENCE)
    others = (c for c in CONFIDENCES if c != SHIPPED_CONFIDENCE)
    factors = ", ".join(f"{c:g}: [{a}, {b}]" for c in others for a, b in [ends(cell, c)])
    lines = [
        f"- figure: {cell.figure}",
        f"kind: {cell.kind}",
        *([f"engines: [{cell.engine}]"] if cell.engine else []),
        f"low: {low}",
        f"high: {high}",
        f"factors: {{{factors}}}",
        f"rows: {cell.rows}",
        f"sources: {cell.num_sources}",
        f"source: {source_text(cell)}",
        f'as_of: "{as_of}"',
        f"confidence: {trust(cell)}",
    ]
    return "\n  ".join(lines) + "\n"


def source_text(cell: Cell) -> str:
    """Where the factors come from."""
    tables = "table" if cell.num_sources == 1 else "tables"
    return f"errors on {cell.rows} measurements of {cell.num_sources} {tables}, stretched to hold sources left out"


def trust(cell: Cell) -> str:
    """How far to believe the factors: by the number of sources, for rows of one share their author."""
    if cell.num_sources >= 5:
        return "high"
    return "medium" if cell.num_sources >= 2 else "low"


def ends(cell: Cell, confidence: float) -> tuple[str, str]:
    """Both factors, rounded away from the prediction."""
    low, high = cell.log_ends[confidence]
    scale = 10**DIGITS
    return (
        f"{max(1, math.floor(math.exp(low) * scale)) / scale:.{DIGITS}f}",
        f"{math.ceil(math.exp(high) * scale) / scale:.{DIGITS}f}",
    )
