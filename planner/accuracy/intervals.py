"""Recorded errors -> the factors in `catalogs/intervals.yaml`.

An interval is to hold nine of ten measurements of a *source nobody has seen*. So:

1. Errors are ln(measured / predicted), of rates for all speeds. Where parameters were fitted to the rows, the
   prediction is that of parameters fitted without the row's source (`left_out`); where no such prediction is at hand,
   the error counts 1.5 times.
2. A table of 250 rows tells more than one of five, but not fifty times as much, for its rows share one machine and one
   author: a row weighs one over the square root of its table's rows.
3. A cell is figure x kind x engine. It leans on the cell above it (all engines; the shorter kind; the family of the
   figure) with the weight of `LEAN_SOURCES` sources.
4. All factors of a family (memory peaks, single buffers or speeds; inference or training) are stretched by one
   number, the smallest with which intervals made without a source hold, over all sources in turn, the share of its
   measurements that they claim.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from planner.accuracy.rules import TIMES
from planner.accuracy.types import Scored
from planner.catalog.intervals import Figure, lineage
from planner.estimate.types import Floats

CONFIDENCES = (0.5, 0.8, 0.9, 0.95, 0.99)
KINDS = ("infer", "train", "train_full", "train_lora", "train_qlora")
LEAN_SOURCES = 2.0
"""A cell of two sources counts as much as the cell above it: a judgement, tried by the coverage of left-out sources."""
IN_SAMPLE_EXCESS = 1.5
"""Spread of errors on left-out sources over that on fitted ones, read from fits of this kind (2026-11)."""
FITTED_FAMILIES = frozenset({"speed"})
"""Families with parameters that were fitted to published rows."""
STRETCHES = tuple(0.6 + 0.05 * step for step in range(39))
"""Tried one after another, up to two and a half times as wide."""
LAST_TRIED = 0.95
"""Beyond this confidence the sources are too few to try: the stretch of this one serves."""
ROOTS = frozenset({"memory", "buffers", "speed"})
"""Figures whose rows say nothing about others: a small buffer's relative error is none of a peak's."""
LEAST_ROWS = 3
"""Fewest rows that make a cell of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Residual:
    """One error, as ln(measured / predicted) of bytes or of a rate: a ratio without a unit."""

    source: str
    figure: Figure
    kind: str
    engine: str
    log_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Factors of one figure, kind and engine; `log_ends` holds ln(low), ln(high) by confidence."""

    figure: Figure
    kind: str
    engine: str
    """Empty = all engines."""
    rows: int
    num_sources: int
    log_ends: Mapping[float, tuple[float, float]]


def residuals(rows: Iterable[Scored], left_out: Mapping[tuple[str, str], float]) -> list[Residual]:
    """Errors of what was measured on hardware with the engine itself.

    `left_out` holds ln(measured / predicted) of predictions made without the row's source, by record and rule.
    """
    found = []
    for r in rows:
        if r.answer is None or not r.predicted or r.origin == "simulated" or r.stands_in:
            continue
        other = left_out.get((r.record, r.rule))
        ratio = r.log_error if other is None else other
        family = line_of(r.figure)[-1]
        excess = IN_SAMPLE_EXCESS if other is None and family in FITTED_FAMILIES else 1.0
        sign = -1.0 if r.rule in TIMES else 1.0
        found.append(
            Residual(
                source=r.source,
                figure=r.figure,
                kind=r.answer.kind,
                engine=r.answer.engine,
                log_ratio=sign * excess * ratio,
            )
        )
    return found


def fitted(errors: Sequence[Residual]) -> tuple[tuple[Cell, ...], dict[str, dict[float, float]]]:
    """All cells, stretched, and the stretch by family and confidence."""
    stretch = {family: stretches_of(of) for family, of in families(errors).items()}
    return tuple(stretched(c, stretch[family_of(c.figure, c.kind)]) for c in cells(errors)), stretch


def line_of(figure: Figure) -> tuple[Figure, ...]:
    """The figure and what its rows count as, up to its root.

    >>> line_of("kv_pool")
    ('kv_pool', 'buffers')
    """
    line = lineage(figure)
    end = next(i for i, name in enumerate(line) if name in ROOTS)
    return line[: end + 1]


def family_of(figure: Figure, kind: str) -> str:
    """What shares one stretch: the figure's root, in inference or in training.

    >>> family_of("device", "train_lora")
    'memory of training'
    """
    return f"{line_of(figure)[-1]} of {'training' if kind.startswith('train') else 'inference'}"


def families(errors: Iterable[Residual]) -> dict[str, list[Residual]]:
    """Errors by what shares one stretch."""
    found: dict[str, list[Residual]] = {}
    for error in errors:
        found.setdefault(family_of(error.figure, error.kind), []).append(error)
    return found


def stretched(cell: Cell, stretch: Mapping[float, float]) -> Cell:
    """The cell with wider ends: never narrower at a higher confidence."""
    ends: dict[float, tuple[float, float]] = {}
    low = high = 0.0
    for confidence in sorted(cell.log_ends):
        own_low, own_high = cell.log_ends[confidence]
        low = min(low, own_low * stretch[confidence])
        high = max(high, own_high * stretch[confidence])
        ends[confidence] = (low, high)
    return Cell(
        figure=cell.figure,
        kind=cell.kind,
        engine=cell.engine,
        rows=cell.rows,
        num_sources=cell.num_sources,
        log_ends=ends,
    )


def stretches_of(errors: Sequence[Residual]) -> dict[float, float]:
    """For each confidence, the smallest stretch with which cells made without a source hold that share of it."""
    placed = left_out_places(errors)
    weights = row_weights(errors)
    tried = {c: smallest_stretch(placed[c], weights, c) for c in CONFIDENCES if c <= LAST_TRIED}
    return {c: tried[min(c, LAST_TRIED)] for c in CONFIDENCES}


def smallest_stretch(needed: Floats, weights: Floats, confidence: float) -> float:
    """The first stretch at which the weighted share of rows that need no more reaches the confidence."""
    for stretch in STRETCHES:
        if float(weights[needed <= stretch].sum() / weights.sum()) >= confidence:
            return stretch
    return STRETCHES[-1]


def left_out_places(errors: Sequence[Residual]) -> dict[float, Floats]:
    """For each confidence and row, the stretch that would just hold the row, from cells made without its source."""
    needed = {c: np.full(len(errors), math.inf) for c in CONFIDENCES}
    for source in sorted({e.source for e in errors}):
        rest = [e for e in errors if e.source != source]
        table = {(c.figure, c.kind, c.engine): c for c in cells(rest)}
        for i, error in enumerate(errors):
            if error.source != source:
                continue
            cell = cell_for(table, error)
            for c in CONFIDENCES:
                needed[c][i] = math.inf if cell is None else stretch_to_hold(cell.log_ends[c], error.log_ratio)
    return needed


def stretch_to_hold(ends: tuple[float, float], log_ratio: float) -> float:
    """How many times wider the interval must be to hold the error; 0 for no error at all."""
    end = ends[0] if log_ratio < 0.0 else ends[1]
    if log_ratio == 0.0:
        return 0.0
    return math.inf if end == 0.0 else log_ratio / end


def cell_for(table: Mapping[tuple[Figure, str, str], Cell], error: Residual) -> Cell | None:
    """The cell an estimate would take: engine first, then the longest kind, then the nearest figure."""
    for engine in (error.engine, ""):
        for kind in sorted((k for k in KINDS if error.kind.startswith(k)), key=len, reverse=True):
            for figure in line_of(error.figure):
                if (figure, kind, engine) in table:
                    return table[figure, kind, engine]
    return None


def cells(errors: Sequence[Residual]) -> list[Cell]:
    """Every cell with rows enough, each leaning on the one above it."""
    made: dict[tuple[Figure, str, str], Cell] = {}
    for figure, kind, engine in cell_names(errors):
        own = [e for e in errors if belongs(e, figure, kind, engine)]
        above = above_of(made, figure, kind, engine)
        if len(own) >= LEAST_ROWS or above is None:
            made[figure, kind, engine] = cell(own, figure, kind, engine, above)
    return list(made.values())


def cell_names(errors: Iterable[Residual]) -> list[tuple[Figure, str, str]]:
    """Figure, kind and engine of every cell that has rows, those that others lean on first."""
    names = {
        (figure, kind, engine)
        for e in errors
        for figure in line_of(e.figure)
        for kind in KINDS
        if e.kind.startswith(kind)
        for engine in ("", e.engine)
    }
    return sorted(names, key=lambda n: (n[2] != "", len(n[1]), n[0] not in ROOTS, n))


def belongs(e: Residual, figure: str, kind: str, engine: str) -> bool:
    """The error counts in a cell."""
    return figure in line_of(e.figure) and e.kind.startswith(kind) and engine in ("", e.engine)


def above_of(made: Mapping[tuple[Figure, str, str], Cell], figure: Figure, kind: str, engine: str) -> Cell | None:
    """The cell to lean on: the figure's family of the same kind and engine, else all engines, else the shorter kind."""
    root = line_of(figure)[-1]
    shorter = next((k for k in KINDS if k != kind and kind.startswith(k)), kind)
    names = (
        (root, kind, engine),
        (figure, kind, ""),
        (root, kind, ""),
        (figure, shorter, ""),
        (root, shorter, ""),
    )
    return next((made[n] for n in names if n != (figure, kind, engine) and n in made), None)


def cell(own: Sequence[Residual], figure: Figure, kind: str, engine: str, above: Cell | None) -> Cell:
    """Weighted quantiles of the rows' errors, drawn towards those of the cell above."""
    weights = row_weights(own)
    num_sources = len({e.source for e in own})
    share = 1.0 if above is None else num_sources / (num_sources + LEAN_SOURCES)
    errors = np.array([e.log_ratio for e in own])
    ends = {}
    for c in CONFIDENCES:
        low = min(0.0, weighted_quantile(errors, weights, (1.0 - c) / 2.0))
        high = max(0.0, weighted_quantile(errors, weights, (1.0 + c) / 2.0))
        if above is not None:
            low = share * low + (1.0 - share) * above.log_ends[c][0]
            high = share * high + (1.0 - share) * above.log_ends[c][1]
        ends[c] = (low, high)
    return Cell(figure=figure, kind=kind, engine=engine, rows=len(own), num_sources=num_sources, log_ends=ends)


def row_weights(errors: Sequence[Residual]) -> Floats:
    """One over the square root of the rows of each row's source."""
    counts: dict[str, int] = {}
    for e in errors:
        counts[e.source] = counts.get(e.source, 0) + 1
    return np.array([counts[e.source] ** -0.5 for e in errors])


def weighted_quantile(values: Floats, weights: Floats, q: float) -> float:
    """Linear between the middles of the values' shares of the weight.

    >>> weighted_quantile(np.array([3.0, 1.0, 2.0]), np.ones(3), 0.5)
    2.0
    """
    order = np.argsort(values, kind="stable")
    ordered, shares = values[order], weights[order] / weights.sum()
    return float(np.interp(q, np.cumsum(shares) - shares / 2.0, ordered))
