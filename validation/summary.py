"""Records for people: one table of measured beside predicted, and one line of errors for each kind of figure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from validation.compare import failures
from validation.record import Quantity, Record, write_text
from validation.units import percent, shown

FILE_NAME = "SUMMARY.md"
SHOWN_RULES = (
    "allocated",
    "reserved",
    "device",
    "static",
    "weights",
    "kv_tokens",
    "output_rate",
    "ttft",
    "tpot",
    "step",
)


def table(records: Sequence[Record], *, rules: Iterable[str] = SHOWN_RULES) -> list[list[str]]:
    """Rows of one figure each: trial, figure, measured, predicted, error, verdict."""
    wanted = tuple(rules)
    rows = []
    for record in records:
        state = record.outcome.state if record.outcome else "ok"
        shown_figures = [q for q in record.quantities if q.rule in wanted and q.measured is not None]
        if not shown_figures:
            rows.append([record.id, state, record.outcome.detail if record.outcome else "", "", "", ""])
        rows += [[record.id, *figure(q)] for q in shown_figures]
    return rows


def figure(q: Quantity) -> list[str]:
    """One figure as texts."""
    return [q.rule, shown(q.measured, q.unit), shown(q.predicted, q.unit), percent(q.error), q.verdict or "-"]


def errors(records: Iterable[Record]) -> dict[str, list[float]]:
    """Relative errors by rule, of every figure that has both sides."""
    found: dict[str, list[float]] = {}
    for record in records:
        for q in record.quantities:
            if q.error is not None and q.rule != "fits":
                found.setdefault(q.rule, []).append(q.error)
    return found


def error_lines(by_rule: Mapping[str, Sequence[float]]) -> list[list[str]]:
    """Rule, number of figures, median error, median of absolute errors, worst."""
    return [
        [
            rule,
            str(len(found)),
            percent(statistics.median(found)),
            percent(statistics.median(abs(e) for e in found)),
            percent(max(found, key=abs)),
        ]
        for rule, found in sorted(by_rule.items())
    ]


def markdown(records: Sequence[Record]) -> str:
    """The summary of a folder of records."""
    ordered = sorted(records, key=lambda r: (str(r.environment.get("gpu", "")), r.id))
    states: dict[str, int] = {}
    for record in ordered:
        state = record.outcome.state if record.outcome else "ok"
        states[state] = states.get(state, 0) + 1
    lines = ["# Measured beside predicted", "", "Written from the records in this folder; do not edit.", ""]
    lines += [f"{len(ordered)} records: " + ", ".join(f"{n} {state}" for state, n in sorted(states.items())) + ".", ""]
    found = error_lines(errors(ordered))
    if found:
        lines += [*rows_of(["figure", "n", "median", "median of sizes", "worst"], found), ""]
    for gpu in dict.fromkeys(str(r.environment.get("gpu", "unknown")) for r in ordered):
        own = [r for r in ordered if str(r.environment.get("gpu", "unknown")) == gpu]
        lines += [f"## {cell(gpu)}", ""]
        lines += [*rows_of(["trial", "figure", "measured", "predicted", "error", "verdict"], table(own)), ""]
    contradicting = [(r, why) for r in ordered if (why := failures(r)) and not r.explained]
    if contradicting:
        lines += ["## Not explained yet", ""]
        lines += [f"- {cell(r.id)}: {cell('; '.join(why))}" for r, why in contradicting]
        lines.append("")
    return "\n".join(lines)


def rows_of(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return lines + ["| " + " | ".join(cell(text) for text in row) + " |" for row in rows]


def cell(text: str) -> str:
    """Text that cannot break a table or become markup.

    >>> cell("a|b\\n<c>")
    'a\\\\|b &lt;c>'
    """
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def write_summary(records: Sequence[Record], folder: Path) -> Path:
    """Write the summary beside the records; returns the path."""
    return write_text(folder / FILE_NAME, markdown(records))
