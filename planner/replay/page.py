"""The one-page report of a replay: measured beside predicted, what was emulated, what is unproven."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from planner.files import write_atomically
from planner.resources import data_folder
from validation.compare import failures
from validation.evidence import Evidence
from validation.record import Record
from validation.summary import error_lines, errors
from validation.units import percent, shown

STEM = "validation"
COLUMNS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("allocated", ("allocated", "weights", "static")),
    ("on the device", ("device", "kv_tokens")),
    ("first token", ("ttft",)),
    ("each token or step", ("tpot", "step")),
    ("tokens a second", ("output_rate", "token_rate", "request_rate")),
)
"""Columns and the rules they show: of several the first that a trial measured."""
ERROR_HEADER = ("figure", "n", "median", "median of sizes", "worst")
NEAR_HEADER = ("workload", "record", "differs", "figure", "measured", "predicted", "emulated")
PAGE = "validation.html.j2"
MOST_TRIALS = 14
MOST_MISMATCHES = 4
MOST_ERRORS = 6
MOST_NEAR_ROWS = 4
"""So much fits on one printed page."""
MOST_CHARACTERS = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One figure: what was measured, and beside it what was predicted."""

    measured: str = ""
    beside: str = ""
    """The rule where it is not the column's own, the prediction and the error."""
    verdict: str = "unproven"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One trial."""

    trial: str
    state: str
    emulated: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageView:
    """Everything the page shows, as texts."""

    title: str
    verdict: str
    machine: str
    notes: tuple[str, ...]
    errors: tuple[tuple[str, ...], ...]
    lines: tuple[Line, ...]
    more: str
    mismatches: tuple[str, ...]
    unproven: tuple[str, ...] = ()
    """What of each workload no device has measured."""
    near: tuple[tuple[str, ...], ...] = ()
    """Records near each workload, a figure a row."""
    near_header: tuple[str, ...] = NEAR_HEADER
    error_header: tuple[str, ...] = ERROR_HEADER
    columns: tuple[str, ...] = tuple(name for name, _ in COLUMNS)


def page_view(records: Sequence[Record], evidence: Sequence[Evidence] = ()) -> PageView:
    """The page of some records and of what is known of the plan's workloads; of many, those furthest off come first."""
    verdicts = [q.verdict for r in records for q in r.quantities]
    broken = tuple(f"{r.id}: {cut('; '.join(why))}" for r in records if (why := failures(r)))
    counts = ", ".join(f"{verdicts.count(kind)} {kind}" for kind in ("inside", "outside", "unproven"))
    emulated = sorted({f"{k}: {v}" for r in records for k, v in (r.emulated or {}).items() if isinstance(v, str)})
    shown_records = sorted(records, key=far_off, reverse=True) if len(records) > MOST_TRIALS else list(records)
    return PageView(
        title="Measured beside predicted",
        verdict=f"{len(records)} trials; figures: {counts} (interval of 90 %; unproven = nothing to compare with).",
        machine="; ".join(sorted({machine_text(r) for r in records})) or "no trial was run",
        notes=tuple(f"Emulated: {text}" for text in emulated),
        errors=tuple(tuple(line) for line in error_lines(errors(records)))[:MOST_ERRORS],
        lines=tuple(line_of(r) for r in shown_records[:MOST_TRIALS]),
        more=f"{len(records) - MOST_TRIALS} more trials in SUMMARY.md." if len(records) > MOST_TRIALS else "",
        mismatches=(*broken[:MOST_MISMATCHES], *_rest(len(broken) - MOST_MISMATCHES)),
        unproven=unproven_lines(evidence),
        near=tuple(near_rows(evidence))[:MOST_NEAR_ROWS],
    )


def cut(text: str) -> str:
    """A line for a page: all of it is in SUMMARY.md.

    >>> len(cut(1000 * "x"))
    160
    """
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}…"


def _rest(count: int) -> tuple[str, ...]:
    return (f"{count} more in SUMMARY.md",) if count > 0 else ()


def far_off(record: Record) -> tuple[bool, float]:
    """How much a record contradicts what was predicted: broken or outside first, then by the largest error."""
    return bool(failures(record)), max((abs(q.error) for q in record.quantities if q.error is not None), default=0.0)


def line_of(record: Record) -> Line:
    """One trial as texts."""
    stood = record.emulated or {}
    return Line(
        trial=record.id,
        state=record.outcome.state if record.outcome else "ok",
        emulated=str(stood.get("gpu") or ("tiny model" if "model" in stood else "")),
        cells=tuple(cell_of(record, rules) for _, rules in COLUMNS),
    )


def cell_of(record: Record, rules: Sequence[str]) -> Cell:
    """The first figure of these rules that was measured."""
    found = [q for rule in rules if (q := record.quantity(rule)) is not None and q.measured is not None]
    if not found:
        return Cell()
    q = found[0]
    named = f"{q.rule} " if q.rule != rules[0] else ""
    beside = f"{named}{shown(q.predicted, q.unit)}, {percent(q.error)}" if q.predicted is not None else named.strip()
    return Cell(measured=shown(q.measured, q.unit), beside=beside, verdict=q.verdict or "unproven")


def unproven_lines(evidence: Sequence[Evidence]) -> tuple[str, ...]:
    """What no device has measured, with the workloads of which it is so."""
    by_kind: dict[str, list[str]] = {}
    for known in evidence:
        if known.unproven:
            by_kind.setdefault(" and ".join(known.unproven), []).append(known.workload)
    return tuple(f"{kind} of {', '.join(names)}" for kind, names in by_kind.items())


def near_rows(evidence: Iterable[Evidence]) -> Iterator[tuple[str, ...]]:
    """Records near each workload, one figure a row: the first figure of every record, then the second of each."""
    near = [(known.workload, near) for known in evidence for near in known.near]
    most = max((len(n.figures) for _, n in near), default=0)
    for number in range(most):
        for workload, known in near:
            if number < len(known.figures):
                q = known.figures[number]
                yield (
                    workload,
                    f"{known.record.id} ({known.record.source.name})",
                    ", ".join(known.differs) or "nothing",
                    q.rule,
                    shown(q.measured, q.unit),
                    shown(q.predicted, q.unit),
                    known.emulated or "-",
                )


def machine_text(record: Record) -> str:
    """What a record was measured on and with."""
    known = record.environment
    parts = [str(known.get("gpu", "unknown GPU"))]
    parts += [
        f"{name} {known[name]}" for name in ("driver", "torch", "transformers", "vllm", "sglang") if name in known
    ]
    return ", ".join(parts)


def render_page(records: Sequence[Record], evidence: Sequence[Evidence] = ()) -> str:
    """The page as HTML: no script, nothing loaded from anywhere."""
    from jinja2 import FileSystemLoader, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    loader = FileSystemLoader(data_folder("templates"))
    environment = ImmutableSandboxedEnvironment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template(PAGE).render(view=page_view(records, evidence))


def write_page(records: Sequence[Record], folder: Path, kind: str, *, evidence: Sequence[Evidence] = ()) -> Path:
    """Write `validation.html` or `validation.pdf`.

    Raises InputError where it cannot be written, MissingPartError where the PDF libraries are missing.
    """
    html = render_page(records, evidence)
    if kind == "html":
        return write_atomically(folder / f"{STEM}.html", html.encode())
    from planner.report.pdf import render_pdf

    return write_atomically(folder / f"{STEM}.pdf", render_pdf(html))
