"""Published bounds on errors, and known causes of large ones: `validation/bounds.yaml` and `validation/causes.yaml`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, TypeAdapter

from planner.accuracy.figures import Figures
from planner.accuracy.kinds import KINDS, of_family, table
from planner.accuracy.types import Scored
from planner.plain_yaml import load_yaml

UPPER: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "memory": ("median", "mape", "p90", "under_3", "not_to_fit"),
        "speed": ("median", "mape", "p90", "by_source"),
    }
)
"""Figures that must not exceed their bound, by family."""
LOWER: Mapping[str, Sequence[str]] = MappingProxyType({"memory": (), "speed": ("within_2x", "tau")})
"""Figures that must not fall below theirs."""
DIGITS = 3
SLACK = 0.05
"""Between a figure and its published bound, of the figure: rows on the edge of a quantile may change places."""
ROUNDING = 1e-9
"""Of sums of shares."""


class Cause(BaseModel):
    """Why some rows are far off."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    records: tuple[str, ...]
    """Ids, or patterns of them."""
    rules: tuple[str, ...] = ()
    """Quantities it explains; empty = all."""
    why: str


def load_causes(path: Path) -> tuple[Cause, ...]:
    """The known causes. Raises ValidationError where the file is of another shape."""
    raw = load_yaml(path.read_bytes())
    return TypeAdapter(tuple[Cause, ...]).validate_python(raw or ())


def known_causes() -> tuple[Cause, ...]:
    """The causes that come with the records; none where an installation has no records."""
    import validation

    path = Path(validation.__file__).parent / "causes.yaml"
    return load_causes(path) if path.is_file() else ()


class Figure(Protocol):
    """A figure of a record."""

    @property
    def record(self) -> str:
        """The record's id."""

    @property
    def rule(self) -> str:
        """What the figure is."""


def cause_of(causes: Sequence[Cause], row: Figure) -> str:
    """The first cause that names the row; empty where none does."""
    for cause in causes:
        if any(fnmatchcase(row.record, pattern) for pattern in cause.records) and (
            not cause.rules or row.rule in cause.rules
        ):
            return cause.why
    return ""


def contradicting(rows: Iterable[Scored], causes: Sequence[Cause]) -> list[Scored]:
    """Figures measured on a device, outside the interval predicted for them, that no known cause explains."""
    return [
        row
        for row in rows
        if row.origin == "measured"
        and row.interval is not None
        and not row.interval[0] <= row.measured <= row.interval[1]
        and not cause_of(causes, row)
    ]


Bounds = Mapping[str, Mapping[str, Mapping[str, float]]]
"""`published memory` -> title of the table's line -> figure -> bound."""


def load_bounds(path: Path) -> Bounds:
    """The published bounds, errors and shares as parts of one."""
    raw: Any = load_yaml(path.read_bytes())
    return TypeAdapter(dict[str, dict[str, dict[str, float]]]).validate_python(raw)


def tables(rows: Sequence[Scored]) -> dict[str, dict[str, Figures]]:
    """The main table of every origin and family that has rows, by `published memory` and the like."""
    found = {}
    for (origin, family), kinds in KINDS.items():
        of = [r for r in of_family(rows, family) if r.origin == origin]
        if of:
            found[f"{origin} {family}"] = table(of, kinds)
    return found


def exceeded(rows: Sequence[Scored], bounds: Bounds) -> Iterator[str]:
    """Every figure past its bound, and every bound that no row is held to."""
    found = tables(rows)
    for name, lines in bounds.items():
        at_least = LOWER[name.split()[1]]
        for title, limits in lines.items():
            of = found.get(name, {}).get(title)
            if of is None:
                yield f"{name}, {title}: no rows"
                continue
            for figure, limit in limits.items():
                value: float | None = getattr(of, figure)
                past = value is None or (value < limit - ROUNDING if figure in at_least else value > limit + ROUNDING)
                if past:
                    yield f"{name}, {title}: {figure} is {value}, the published bound {limit}"


def tightened(rows: Sequence[Scored], bounds: Bounds) -> dict[str, dict[str, dict[str, float]]]:
    """Bounds at the present figures where those are better, or where there was none; never loosened."""
    return {
        name: {
            title: {
                figure: better(value, bounds.get(name, {}).get(title, {}).get(figure), upper=figure in UPPER[family])
                for family in [name.split()[1]]
                for figure in (*UPPER[family], *LOWER[family])
                if (value := getattr(of, figure)) is not None
            }
            for title, of in lines.items()
        }
        for name, lines in tables(rows).items()
    }


def better(value: float, bound: float | None, *, upper: bool) -> float:
    """The tighter of a figure with its slack, rounded to the lenient side, and its bound.

    >>> better(0.12345, None, upper=True), better(0.2, 0.1, upper=True), better(0.98765, None, upper=False)
    (0.13, 0.1, 0.938)
    """
    scale: int = 10**DIGITS
    places = round(value * (1.0 + SLACK if upper else 1.0 - SLACK) * scale, 2 * DIGITS)
    rounded = math.ceil(places) / scale if upper else math.floor(places) / scale
    if bound is None:
        return rounded
    return min(bound, rounded) if upper else max(bound, rounded)
