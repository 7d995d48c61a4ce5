"""What prices of demand prove about counts of nodes.

Let a workload's whole demand be worth v[r]. Nodes that serve everything must be able to earn sum(v), and what k nodes
of a type can earn, P[t](k), is known exactly: they take the best paid demand for their load first (a continuous
knapsack), whatever the other types do. So for any v >= 0 every feasible vector n of counts has

    cost(n) >= sum(v) + sum over t of (cost[t] * n[t] - P[t](n[t])),

a Lagrangian bound that is a sum over types. One vector of prices thus bounds all vectors of counts at once, partial
ones too, and a fleet near the one it was found for especially well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.solve.pools.types import Counts, Floats, Pools

SHORT = 1e-9
"""Share of all demand's worth below which a shortage may be an error of floating point."""
SCALES = (0.6, 0.8, 0.9, 1.0, 1.1, 1.25)


@dataclass(frozen=True, slots=True, kw_only=True)
class Earnings:
    """What nodes can earn at one vector of prices."""

    worth: float
    """Of all demand."""
    at_most: tuple[Floats, ...]
    """By type: of as many nodes as the index says."""

    def serve(self, counts: Counts) -> np.ndarray:
        """Whether vectors of counts (rows) can earn what all demand is worth."""
        earned = sum((table[counts[:, t]] for t, table in enumerate(self.at_most)), np.zeros(len(counts)))
        found: np.ndarray = earned >= self.worth * (1.0 - SHORT)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The first objective is at least `base` and what is `over` it for the count of each type."""

    base: float
    over: tuple[Floats, ...]
    """By type and count: 0 or more."""

    def above(self, counts: Counts, types: list[int]) -> Floats:
        """What the counts of some types (columns) of vectors (rows) add to the base."""
        found: Floats = sum((self.over[t][counts[:, t]] for t in types), np.zeros(len(counts)))
        return found


def earnings(pools: Pools, prices: Floats) -> Earnings:
    """What nodes of each type can earn; `prices` of each workload's whole demand."""
    found = []
    for t, most in enumerate(pools.most):
        loads = pools.loads[:, t]
        paid = np.nonzero(pools.runs[:, t] & (prices > 0))[0]
        best = paid[np.argsort(-prices[paid] / loads[paid], kind="stable")]
        filled = np.concatenate([[0.0], np.cumsum(loads[best])])
        earned = np.concatenate([[0.0], np.cumsum(prices[best])])
        found.append(np.interp(np.arange(most + 1), filled, earned))
    return Earnings(worth=float(prices.sum()), at_most=tuple(found))


def bound(pools: Pools, earned: Earnings, scale: float = 1.0) -> Bound:
    """The bound at `scale` times the prices."""
    over = []
    base = scale * earned.worth
    for t, table in enumerate(earned.at_most):
        counts = np.arange(len(table)) - pools.least[t]
        net = pools.per_node[0, t] * counts - scale * table
        net[: pools.least[t]] = np.inf
        base += float(net.min())
        over.append(net - net.min())
    return Bound(base=base, over=tuple(over))


def best_bound(pools: Pools, earned: Earnings) -> Bound:
    """The highest bound over some scales of the prices."""
    return max((bound(pools, earned, scale) for scale in SCALES), key=lambda b: b.base)


def on_value(pools: Pools) -> Bound:
    """Prices of 0: the objective of a part is at most that of the whole."""
    return bound(pools, earnings(pools, np.zeros(len(pools.loads))))
