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
from validation.summary import error_lines, errors, table
from validation.units import shown

STEM = "validation"
HEADER = ("trial", "figure", "measured", "predicted", "error", "verdict")
ERROR_HEADER = ("figure", "n", "median", "median of sizes", "worst")
PAGE = "validation.html.j2"
MOST_ROWS = 40
MOST_NEAR_ROWS = 12
CLASSES = {"inside": "inside", "outside": "outside", "unproven": "unproven"}


NEAR_HEADER = ("workload", "record", "differs", "figure", "measured", "predicted", "emulated")


@dataclass(frozen=True, slots=True, kw_only=True)
class PageView:
    """Everything the page shows, as texts."""

    title: str
    verdict: str
    machine: str
    notes: tuple[str, ...]
    errors: tuple[tuple[str, ...], ...]
    rows: tuple[tuple[str, ...], ...]
    more: str
    mismatches: tuple[str, ...]
    unproven: tuple[str, ...] = ()
    """What of each workload no device has measured."""
    near: tuple[tuple[str, ...], ...] = ()
    """Records near each workload, a figure a row."""
    near_header: tuple[str, ...] = NEAR_HEADER
    header: tuple[str, ...] = HEADER
    error_header: tuple[str, ...] = ERROR_HEADER

    @property
    def classes(self) -> dict[str, str]:
        """Colours of verdicts."""
        return CLASSES


def page_view(records: Sequence[Record], evidence: Sequence[Evidence] = ()) -> PageView:
    """The page of some records, and of what is known of the plan's workloads."""
    rows = [tuple(row) for row in table(records)]
    verdicts = [q.verdict for r in records for q in r.quantities]
    broken = tuple(f"{r.id}: {'; '.join(why)}" for r in records if (why := failures(r)))
    counts = ", ".join(f"{verdicts.count(kind)} {kind}" for kind in ("inside", "outside", "unproven"))
    emulated = sorted({f"{k}: {v}" for r in records for k, v in (r.emulated or {}).items() if isinstance(v, str)})
    return PageView(
        title="Measured beside predicted",
        verdict=f"{len(records)} trials; figures: {counts} (interval of 90 %; unproven = nothing to compare with).",
        machine="; ".join(sorted({machine_text(r) for r in records})) or "no trial was run",
        notes=tuple(f"Emulated: {text}" for text in emulated),
        errors=tuple(tuple(line) for line in error_lines(errors(records))),
        rows=tuple(rows[:MOST_ROWS]),
        more=f"{len(rows) - MOST_ROWS} more in SUMMARY.md." if len(rows) > MOST_ROWS else "",
        mismatches=broken,
        unproven=tuple(f"{e.workload}: {' and '.join(e.unproven)}" for e in evidence if e.unproven),
        near=tuple(near_rows(evidence))[:MOST_NEAR_ROWS],
    )


def near_rows(evidence: Iterable[Evidence]) -> Iterator[tuple[str, ...]]:
    """Records near each workload, one figure a row."""
    for known in evidence:
        for near in known.near:
            for q in near.figures:
                yield (
                    known.workload,
                    f"{near.record.id} ({near.record.source.name})",
                    ", ".join(near.differs) or "nothing",
                    q.rule,
                    shown(q.measured, q.unit),
                    shown(q.predicted, q.unit),
                    near.emulated or "-",
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
