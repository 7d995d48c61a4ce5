"""Which counts of nodes are the least that serve everything: all vectors that no bound excludes, sieved.

Vectors of counts are put together type by type, all at once in one array, and dropped as soon as a bound says that
they, with whatever is still open, lie above the value looked at. Where too many are left, the relaxation is asked for
prices at one of them; those usually exclude most of its neighbours. The vectors that remain are tried from the best:
one that cannot serve everything gives prices that drop it and others like it; the first that can is the answer. When
none is left, nothing exists up to that value, and the next value is looked at.

Prices from floating point are only ever used where they prove something whatever they are (see `bounds`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from planner.solve.pools.bounds import Bound, best_bound, bound, earnings, on_value
from planner.solve.pools.relaxation import Relaxation
from planner.solve.pools.types import Counts, Floats, Pools, in_order, values

SLACK = 1e-6
"""Added to a value before a bound excludes what lies above it; values are whole."""
MOST_BOUNDS = 300
"""Bounds looked at for each vector, the best."""
ENOUGH = 1_000
"""Vectors beyond which better bounds are looked for."""
MOST_VECTORS = 30_000
MOST_QUESTIONS = 1_000
"""Linear programs before the search is given up."""
TRIES = 5
"""Bounds in a row that exclude less than HELPS of the vectors before the next type is put in."""
HELPS = 0.1
NOTHING = 1e-9
"""Errors of floating point in sums of what bounds add."""
SERVED = 1e-9
"""Shares of workloads that may be left out by an error of floating point."""


class GaveUpError(Exception):
    """The search is too long; nothing is said about the problem."""


@dataclass(slots=True)
class Search:
    """The bounds in hand."""

    pools: Pools
    relaxation: Relaxation
    has_ended: Callable[[], bool]
    bounds: list[Bound] = field(default_factory=list)

    def least_counts(self) -> Counts:
        """The counts with the least objectives, in their order. Raises GaveUpError."""
        p = self.pools
        self.bounds.append(on_value(p))
        if not self._ask(p.least.astype(float), p.most.astype(float)):
            raise GaveUpError
        value = math.ceil(max(b.base for b in self.bounds) - SLACK)
        step = 1
        while True:
            asked = self.relaxation.questions
            found = self._best_up_to(value)
            if found is not None:
                return found
            step = 2 * step if self.relaxation.questions - asked < TRIES else max(1, step // 2)
            value += step

    def _ask(self, fewest: Floats, most: Floats) -> bool:
        """Add what the relaxation proves with counts within bounds; False where it leaves demand unserved."""
        if self.relaxation.questions > MOST_QUESTIONS or self.has_ended():
            raise GaveUpError
        found = self.relaxation.least(fewest, most, linked=True)
        if found is None:
            raise GaveUpError
        self.bounds += [bound(self.pools, earnings(self.pools, v)) for v in (*found.earlier_prices, found.prices)]
        return found.unserved <= SERVED

    def _best_up_to(self, value: int) -> Counts | None:
        """The best vector that serves everything, of those whose first objective is at most `value`."""
        left = self._not_excluded(value)
        while len(left):
            best: Counts = left[in_order([*values(self.pools, left).T, *left.T])[0]]
            counts = best.astype(float)
            if self.relaxation.questions > MOST_QUESTIONS or self.has_ended():
                raise GaveUpError
            found = self.relaxation.least(counts, counts, linked=False)
            if found is None:
                raise GaveUpError
            if found.unserved <= SERVED:
                return best
            earned = earnings(self.pools, found.prices)
            serves = earned.serve(left)
            if serves.all():
                raise GaveUpError
            left = left[serves]
            self.bounds.append(best_bound(self.pools, earned))
        return None

    def _not_excluded(self, value: int) -> Counts:
        """All vectors of counts that no bound puts above `value`."""
        part = Part.empty(self.pools, sorted(self.bounds, key=lambda b: -b.base)[:MOST_BOUNDS], value + SLACK)
        if not part.is_possible():
            return part.rows[:0]
        rents = self.pools.per_node[0]
        for t in sorted(range(len(rents)), key=lambda t: (len(part.choices[t]) > 1, -int(rents[t]))):
            part.put_in(t)
            self._sharpen(part)
            if len(part.rows) > MOST_VECTORS:
                raise GaveUpError
        return part.rows

    def _sharpen(self, part: Part) -> None:
        """Ask the relaxation at some of the vectors, until few are left or it excludes no more of them."""
        failed = 0
        while len(part.rows) > ENOUGH and failed < TRIES:
            fewest, most = part.around(part.least_excluded())
            before, number = len(self.bounds), len(part.rows)
            self._ask(fewest, most)
            part.exclude_by(self.bounds[before:])
            failed = failed + 1 if len(part.rows) > (1 - HELPS) * number else 0


@dataclass(slots=True)
class Part:
    """Vectors of counts of some types, the others still open."""

    bounds: list[Bound]
    room: float
    """Value that bounds must not exceed."""
    choices: list[Counts]
    """By type: counts that no bound excludes on their own."""
    rows: Counts
    left: Floats
    """By vector and bound: room below the value when open types add the least they can."""
    tried: np.ndarray
    """Vectors at which the relaxation was asked."""
    done: list[int] = field(default_factory=list)
    """Types put in."""

    @staticmethod
    def empty(pools: Pools, bounds: list[Bound], room: float) -> Part:
        """No type put in."""
        choices = []
        for t, most in enumerate(pools.most.tolist()):
            kept = np.ones(most + 1, dtype=bool)
            for b in bounds:
                kept &= b.over[t] <= room - b.base
            choices.append(np.nonzero(kept)[0].astype(np.int64))
        rows = np.zeros((1, len(choices)), dtype=np.int64)
        found = Part(bounds=[], room=room, choices=choices, rows=rows, left=np.zeros((1, 0)), tried=np.zeros(1, bool))
        if all(len(c) for c in choices):
            found.exclude_by(bounds)
        return found

    def is_possible(self) -> bool:
        """Whether any vector may be left."""
        return len(self.rows) > 0 and all(len(c) for c in self.choices)

    def least_over(self, b: Bound, t: int) -> float:
        """What a bound adds at least for one type."""
        return float(b.over[t][self.choices[t]].min())

    def put_in(self, t: int) -> None:
        """Extend every vector by every count of one type."""
        rows, left = [], []
        open_so_far = np.array([self.least_over(b, t) for b in self.bounds])
        for count in self.choices[t].tolist():
            room = self.left + open_so_far - np.array([b.over[t][count] for b in self.bounds])
            kept = np.all(room >= -NOTHING, axis=1)
            extended = self.rows[kept]
            extended[:, t] = count
            rows.append(extended)
            left.append(room[kept])
        self.rows, self.left = np.concatenate(rows), np.concatenate(left)
        self.tried = np.zeros(len(self.rows), dtype=bool)
        self.done.append(t)

    def least_excluded(self) -> int:
        """The vector that bounds are furthest from excluding; none is named twice."""
        room = np.where(self.tried, -1.0, self.left.min(axis=1))
        at = int(room.argmax())
        self.tried[at] = True
        return at

    def around(self, at: int) -> tuple[Floats, Floats]:
        """Fewest and most nodes with the counts of one vector fixed and the other types open."""
        fewest = np.array([c[0] for c in self.choices], dtype=float)
        most = np.array([c[-1] for c in self.choices], dtype=float)
        fewest[self.done] = most[self.done] = self.rows[at][self.done]
        return fewest, most

    def exclude_by(self, bounds: list[Bound]) -> None:
        """Drop vectors that further bounds exclude."""
        still_open = [t for t in range(len(self.choices)) if t not in self.done]
        for b in bounds:
            least = b.base + sum(self.least_over(b, t) for t in still_open)
            room = self.room - least - b.above(self.rows, self.done)
            kept = room >= -NOTHING
            self.bounds.append(b)
            self.rows, self.tried = self.rows[kept], self.tried[kept]
            self.left = np.concatenate([self.left, room[:, None]], axis=1)[kept]
