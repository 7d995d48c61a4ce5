"""Robust fit with priors, and its errors on sources it has not seen.

Minimised: the sum over rows of weight x rho(log(predicted / measured)) + the sum over parameters of (x / spread)^2,
with rho Huber's loss (quadratic within `SCALE`, linear beyond). Gauss-Newton with finite differences: all variants of
the parameters go through the planner in one call a configuration. A row weighs 1/sqrt(rows of its source + 15), so a
table of 500 rows does not drown one of 20.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.fitting.parameters import Fit
from benchmarks.fitting.rows import Measured, figures
from planner.estimate.types import Floats

STEP = 0.02
"""Finite difference in the logarithm of a factor."""
SCALE = 0.15
"""Errors beyond this count linearly."""
ROW_SPREAD = 0.25
"""Standard deviation of log(predicted / measured) that the priors are weighed against."""
LARGEST_MOVE = 0.35
"""Of the logarithm of a factor in one round."""
FEW_ROWS = 15
"""Below this many rows a source's weight follows its rows: one row is no table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """Errors and their derivatives around one point."""

    x: Floats
    errors: Floats
    slopes: Floats
    """One line a row, one column a parameter."""

    def at(self, x: Floats) -> Floats:
        return self.errors + self.slopes @ (x - self.x)


def weights_of(rows: Sequence[Measured]) -> Floats:
    """Weight of each row, 1 on average."""
    counts = Counter(r.source for r in rows)
    raw = np.array([(counts[r.source] + FEW_ROWS) ** -0.5 for r in rows])
    return raw * len(raw) / raw.sum()


def linearised(fit: Fit, rows: Sequence[Measured], x: Floats) -> Linear:
    """Errors and slopes of all rows; a configuration is evaluated once for all its rows and variants."""
    errors, slopes = np.zeros(len(rows)), np.zeros((len(rows), len(x)))
    known: dict[int, tuple[tuple[int, ...], dict[str, Floats]]] = {}
    for i, row in enumerate(rows):
        key = id(row.run)
        if key not in known:
            mine = fit.relevant(row.run)
            variants = np.repeat(x[:, None], len(mine) + 1, axis=1)
            for column, index in enumerate(mine):
                variants[index, column + 1] += STEP
            known[key] = (mine, dict(figures(row.run, fit.kernels_for(row.run, variants))))
        mine, found = known[key]
        values = np.log(np.broadcast_to(np.ravel(found[row.rule]), (len(mine) + 1,)) / row.value)
        errors[i] = values[0]
        slopes[i, list(mine)] = (values[1:] - values[0]) / STEP
    return Linear(x=x, errors=errors, slopes=slopes)


def errors_at(fit: Fit, rows: Sequence[Measured], x: Floats) -> Floats:
    """log(predicted / measured) of every row."""
    known: dict[int, dict[str, Floats]] = {}
    out = []
    for row in rows:
        if id(row.run) not in known:
            known[id(row.run)] = dict(figures(row.run, fit.kernels_for(row.run, x[:, None])))
        out.append(float(np.log(np.ravel(known[id(row.run)][row.rule])[0] / row.value)))
    return np.array(out)


def solved(linear: Linear, weights: Floats, spreads: Floats, *, reach: float = np.inf, rounds: int = 30) -> Floats:
    """The best point of the linear model: iteratively reweighted least squares, no step longer than `reach`."""
    x = linear.x.copy()
    scale = weights / ROW_SPREAD**2
    for _ in range(rounds):
        now = linear.at(x)
        robust = np.minimum(1.0, SCALE / np.maximum(np.abs(now), 1e-9))
        w = scale * robust
        normal = linear.slopes.T @ (w[:, None] * linear.slopes) + np.diag(1.0 / spreads**2)
        right = linear.slopes.T @ (w * (linear.slopes @ linear.x - linear.errors))
        new = linear.x + np.clip(np.linalg.solve(normal, right) - linear.x, -reach, reach)
        if np.max(np.abs(new - x)) < 1e-4:
            return new
        x = new
    return x


def fitted(fit: Fit, rows: Sequence[Measured], *, rounds: int, start: Floats | None = None) -> Linear:
    """The fit of all rows, linearised at its end."""
    x = np.zeros(len(fit.parameters)) if start is None else start
    weights = weights_of(rows)
    linear = linearised(fit, rows, x)
    for _ in range(rounds):
        linear = linearised(fit, rows, solved(linear, weights, fit.spreads, reach=LARGEST_MOVE))
    return linear


def left_out_errors(fit: Fit, rows: Sequence[Measured], linear: Linear) -> Floats:
    """Errors of every source with the parameters fitted to all others.

    The refit starts from the whole fit's slopes, and its end is evaluated exactly on the source left out.
    """
    sources = np.array([r.source for r in rows])
    weights = weights_of(rows)
    out = np.zeros(len(rows))
    for source in dict.fromkeys(sources):
        held = sources == source
        x = solved(linear, np.where(held, 0.0, weights), fit.spreads)
        out[held] = errors_at(fit, [r for r, h in zip(rows, held, strict=True) if h], x)
    return out
