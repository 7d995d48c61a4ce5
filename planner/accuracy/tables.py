"""Figures as tables: text for terminals, Markdown for pages, plain data for JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from planner.accuracy.figures import Figures
from planner.accuracy.types import Scored


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    title: str
    cell: Callable[[Figures], str]


def percent(value: float | None, digits: int = 1) -> str:
    """A share in percent; a dash where no row tells."""
    return "–" if value is None else f"{value:.{digits}%}".replace("%", " %")


def signed(value: float | None) -> str:
    """A share in percent with its sign."""
    return "–" if value is None else f"{value:+.1%}".replace("%", " %")


ROWS = Column("rows", lambda f: f"{f.n:,}")
FAILED = Column("without a prediction", lambda f: str(f.failed))
SOURCES = Column("sources", lambda f: str(f.sources))
MEDIAN = Column("median error", lambda f: percent(f.median))
MAPE = Column("mean error", lambda f: percent(f.mape))
P90 = Column("90th percentile", lambda f: percent(f.p90))
WORST = Column("worst", lambda f: percent(f.worst, 0))
BIAS = Column("bias", lambda f: signed(f.bias))
WITHIN_10 = Column("within 10 %", lambda f: percent(f.within_10, 0))
WITHIN_20 = Column("within 20 %", lambda f: percent(f.within_20, 0))
WITHIN_2X = Column("within a factor of 2", lambda f: percent(f.within_2x, 0))
UNDER = Column("more than 3 % too low", lambda f: percent(f.under_3, 0))
NOT_TO_FIT = Column("said not to fit", lambda f: percent(f.not_to_fit))
COVERAGE = Column("inside the 90 % interval", lambda f: percent(f.coverage, 0))
BY_SOURCE = Column("median by source", lambda f: percent(f.by_source))
ORDER = Column("order (tau)", lambda f: "–" if f.tau is None else f"{f.tau:.2f} of {f.sweeps}")

MEMORY_COLUMNS = (ROWS, SOURCES, MEDIAN, MAPE, P90, WORST, BIAS, UNDER, NOT_TO_FIT, COVERAGE, BY_SOURCE)
SPEED_COLUMNS = (
    *(ROWS, SOURCES, MEDIAN, MAPE, P90, WORST, BIAS),
    *(WITHIN_20, WITHIN_2X, NOT_TO_FIT, COVERAGE, BY_SOURCE, ORDER),
)
COLUMNS: Mapping[str, Sequence[Column]] = MappingProxyType({"memory": MEMORY_COLUMNS, "speed": SPEED_COLUMNS})
SHORT_COLUMNS: Mapping[str, Sequence[Column]] = MappingProxyType(
    {"memory": (ROWS, MEDIAN, MAPE, P90, UNDER), "speed": (ROWS, MEDIAN, MAPE, P90, WITHIN_2X)}
)
FIRST = "kind"


def markdown(table: Mapping[str, Figures], columns: Sequence[Column], first: str = FIRST) -> str:
    """A table in Markdown, with a line end."""
    head = f"| {first} | " + " | ".join(c.title for c in columns) + " |"
    rule = "| --- |" + " ---: |" * len(columns)
    lines = [f"| {title} | " + " | ".join(c.cell(f) for c in columns) + " |" for title, f in table.items()]
    return "\n".join([head, rule, *lines]) + "\n"


def text(table: Mapping[str, Figures], columns: Sequence[Column], first: str = FIRST) -> str:
    """A table for a terminal: titles broken over two lines, figures to the right."""
    cells = [[c.cell(f) for c in columns] for f in table.values()]
    heads = [two_lines(c.title) for c in columns]
    widths = [
        max(len(word) for word in (*head, *(row[i] for row in cells))) if cells else max(map(len, head))
        for i, head in enumerate(heads)
    ]
    name = max([len(first), *map(len, table)])
    rows = [
        (" " * name, [head[0] for head in heads]),
        (first.ljust(name), [head[1] for head in heads]),
        *((title.ljust(name), row) for title, row in zip(table, cells, strict=True)),
    ]
    lines = [
        "  ".join([left, *(v.rjust(w) for v, w in zip(right, widths, strict=True))]).rstrip() for left, right in rows
    ]
    return "\n".join(lines) + "\n"


def two_lines(title: str) -> tuple[str, str]:
    """A title broken where both halves come out shortest.

    >>> two_lines("more than 3 % too low")
    ('more than', '3 % too low')
    """
    words = title.split(" ")
    breaks = [(" ".join(words[:i]), " ".join(words[i:])) for i in range(len(words))]
    return min(breaks, key=lambda halves: max(map(len, halves)))


def plain(table: Mapping[str, Figures]) -> dict[str, Any]:
    """The table as plain data."""
    return {title: asdict(f) for title, f in table.items()}


def row_data(row: Scored) -> dict[str, Any]:
    """One figure as plain data."""
    return {
        "record": row.record,
        "origin": row.origin,
        "source": row.source,
        "framework": row.framework,
        "model": row.model,
        "gpu": None if row.answer is None else row.answer.gpu,
        "rule": row.rule,
        "unit": row.unit,
        "measured": row.measured,
        "predicted": row.predicted,
        "error": None if row.predicted is None else row.error,
        "interval": row.interval,
        "inside": row.inside,
        "fits": None if row.answer is None else row.answer.fits,
        "failure": row.failure or None,
    }


def worst_rows(rows: Sequence[Scored], count: int) -> list[Scored]:
    """The rows predicted worst, worst first."""
    return sorted((r for r in rows if r.predicted is not None), key=lambda r: (-abs(r.error), r.record))[:count]
