"""Errors -> figures: how far predictions were off."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from planner.accuracy.types import Scored

UNDER = -0.03
"""Memory predicted this far below what was measured is memory that runs out."""
SWEEP_ROWS = 4
"""Fewest configurations of one model on one GPU of which an order is worth judging."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Errors are shares (0.1 = 10 %) of what was measured, over the rows that were predicted. None = no row tells."""

    n: int
    failed: int
    """Rows without a prediction."""
    sources: int
    median: float | None
    """Of absolute errors; so are the next three."""
    mape: float | None
    p90: float | None
    worst: float | None
    bias: float | None
    """Median signed error: below zero is predicted too low."""
    within_10: float | None
    within_20: float | None
    within_2x: float | None
    """Predicted between half and twice what was measured."""
    under_3: float | None
    """Predicted more than 3 % too low."""
    not_to_fit: float | None
    """Said not to fit, though it ran."""
    coverage: float | None
    """Measured within the 90 % interval."""
    by_source: float | None
    """Mean over sources of each source's median absolute error."""
    tau: float | None
    """Order of the configurations of one model on one GPU: mean Kendall tau-b over sweeps."""
    sweeps: int


def figures(rows: Sequence[Scored]) -> Figures:
    """The figures of some rows."""
    good = [r for r in rows if r.predicted is not None]
    errors = [r.error for r in good]
    sizes = sorted(abs(e) for e in errors)
    answered = [r.answer.fits for r in rows if r.answer is not None]
    within = [r.inside for r in good if r.inside is not None]
    taus = sweep_taus(good)
    medians = [statistics.median(abs(r.error) for r in of) for of in grouped(good, lambda r: r.source).values()]
    return Figures(
        n=len(rows),
        failed=len(rows) - len(good),
        sources=len(medians),
        median=statistics.median(sizes) if sizes else None,
        mape=statistics.fmean(sizes) if sizes else None,
        p90=quantile(sizes, 0.9) if sizes else None,
        worst=sizes[-1] if sizes else None,
        bias=statistics.median(errors) if errors else None,
        within_10=share(s <= 0.10 for s in sizes),
        within_20=share(s <= 0.20 for s in sizes),
        within_2x=share(-0.5 <= e <= 1.0 for e in errors),
        under_3=share(e < UNDER for e in errors),
        not_to_fit=share(not fits for fits in answered),
        coverage=share(within),
        by_source=statistics.fmean(medians) if medians else None,
        tau=statistics.fmean(taus) if taus else None,
        sweeps=len(taus),
    )


def quantile(ordered: Sequence[float], q: float) -> float:
    """Linear interpolation between the neighbours of rank q, of values in order.

    >>> quantile([1.0, 2.0, 4.0], 0.75)
    3.0
    """
    place = q * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def share(flags: Iterable[bool]) -> float | None:
    """The part of the flags that is set; None of none."""
    listed = [1.0 if flag else 0.0 for flag in flags]
    return statistics.fmean(listed) if listed else None


def grouped(rows: Iterable[Scored], key: Callable[[Scored], str]) -> dict[str, list[Scored]]:
    """Rows by key, keys in order."""
    table: dict[str, list[Scored]] = defaultdict(list)
    for row in rows:
        table[key(row)].append(row)
    return dict(sorted(table.items()))


def sweep_taus(rows: Iterable[Scored]) -> list[float]:
    """Kendall's tau-b of every sweep: one source, model, GPU and rule, of four configurations or more."""
    sweeps: dict[tuple[str, ...], list[Scored]] = defaultdict(list)
    for row in rows:
        gpu = row.answer.gpu if row.answer is not None else ""
        sweeps[(row.source, row.model, gpu, row.rule)].append(row)
    taus = (
        kendall_tau([r.predicted or 0.0 for r in of], [r.measured for r in of])
        for of in sweeps.values()
        if len(of) >= SWEEP_ROWS
    )
    return [tau for tau in taus if tau is not None]


def kendall_tau(xs: Sequence[float], ys: Sequence[float]) -> float | None:
    """Kendall's tau-b: pairs in the same order less pairs in the other, of the pairs tied in neither.

    None where either side has one value alone.

    >>> kendall_tau([1, 2, 3], [10, 20, 30]), kendall_tau([1, 2, 3], [10, 30, 20])
    (1.0, 0.3333333333333333)
    """
    agree = tied_x = tied_y = pairs = 0
    for i in range(len(xs)):
        for j in range(i):
            dx, dy = xs[i] - xs[j], ys[i] - ys[j]
            pairs += 1
            tied_x += dx == 0
            tied_y += dy == 0
            agree += (dx * dy > 0) - (dx * dy < 0)
    if pairs in (tied_x, tied_y):
        return None
    return float(agree / ((pairs - tied_x) * (pairs - tied_y)) ** 0.5)
