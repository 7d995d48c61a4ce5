"""The linear relaxation of pools, kept between questions: prices of demand for counts within bounds.

Only columns that prices call for are in it; others are priced with arrays and added when they would help. Where less
than one node of a type is taken, no workload may have a larger share of it than there is of the node.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from ortools.linear_solver import pywraplp

from planner.solve.pools.types import Floats, Pools

NEAR = 1.15
"""Columns are there from the start whose share of nodes costs up to this many times the least of their workload."""
PER_MILLE = 1e-3
"""Of a node or a workload: less is none."""
MOST_COLUMNS_AT_ONCE = 300
HELPS = 1e-6
"""What a column must save for all of a workload, as a share of the mean price of a workload, to be added."""
TOO_DEAR = 4.0
"""Price of demand left unserved, in parts of its cheapest share of nodes: keeps prices in sight of each other."""
NOTHING = 1e-7
WARM = "use_dual_simplex: true use_preprocessing: false use_scaling: false"
"""Questions differ in bounds and a few columns: the simplex goes on from the last one instead of starting anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxed:
    """What the least of the first objective with fractions of nodes says."""

    prices: Floats
    """Of each workload's whole demand."""
    unserved: float
    """Demand left out, as the sum of shares of workloads."""
    earlier_prices: tuple[Floats, ...] = ()
    """Of the rounds before shares were limited to what there is of a node."""


@dataclass(slots=True)
class Relaxation:
    """The model in hand."""

    pools: Pools
    model: pywraplp.Solver = field(default_factory=lambda: pywraplp.Solver.CreateSolver("GLOP"))
    nodes: list[pywraplp.Variable] = field(default_factory=list)
    capacity: list[pywraplp.Constraint] = field(default_factory=list)
    served: list[pywraplp.Constraint] = field(default_factory=list)
    unserved: list[pywraplp.Variable] = field(default_factory=list)
    share: dict[tuple[int, int], pywraplp.Variable] = field(default_factory=dict)
    linked: set[tuple[int, int]] = field(default_factory=set)
    questions: int = 0
    """Linear programs solved so far."""

    @staticmethod
    def of(pools: Pools) -> Relaxation:
        """With the columns that are near the cheapest of their workload at the price of whole nodes."""
        found = Relaxation(pools=pools)
        worth = pools.loads * pools.per_node[0]
        cheapest = worth.min(axis=1)
        found._declare(TOO_DEAR * cheapest)
        for r, t in np.argwhere(worth <= NEAR * cheapest[:, None]).tolist():
            found._add(r, t)
        return found

    def _declare(self, price_unserved: Floats) -> None:
        m, p = self.model, self.pools
        m.SetSolverSpecificParametersAsString(WARM)
        goal = m.Objective()
        for low, high, rent in zip(p.least.tolist(), p.most.tolist(), p.per_node[0].tolist(), strict=True):
            v = m.NumVar(low, high, "")
            goal.SetCoefficient(v, rent)
            row = m.Constraint(-m.infinity(), 0.0)
            row.SetCoefficient(v, -1.0)
            self.nodes.append(v)
            self.capacity.append(row)
        for price in price_unserved.tolist():
            v = m.NumVar(0.0, m.infinity(), "")
            goal.SetCoefficient(v, price)
            row = m.Constraint(1.0, m.infinity())
            row.SetCoefficient(v, 1.0)
            self.unserved.append(v)
            self.served.append(row)
        goal.SetMinimization()

    def _add(self, r: int, t: int) -> None:
        v = self.model.NumVar(0.0, self.model.infinity(), "")
        self.served[r].SetCoefficient(v, 1.0)
        self.capacity[t].SetCoefficient(v, float(self.pools.loads[r, t]))
        self.share[r, t] = v

    def least(self, fewest: Floats, most: Floats, *, linked: bool) -> Relaxed | None:
        """The relaxation with counts within bounds; `linked` where counts may be fractions below one.

        None where the linear solver gives up.
        """
        for v, low, high in zip(self.nodes, fewest.tolist(), most.tolist(), strict=True):
            v.SetBounds(low, high)
        earlier: list[Floats] = []
        while True:
            self.questions += 1
            if self.model.Solve() != pywraplp.Solver.OPTIMAL:
                return None
            prices = np.maximum(0.0, np.array([row.dual_value() for row in self.served]))
            rents = np.maximum(0.0, -np.array([row.dual_value() for row in self.capacity]))
            if self._priced_in(prices, rents, most):
                continue
            if linked and self._links(fewest, most):
                earlier.append(prices)
                continue
            left = sum(v.solution_value() for v in self.unserved)
            return Relaxed(prices=prices, unserved=left, earlier_prices=tuple(earlier))

    def _priced_in(self, prices: Floats, rents: Floats, most: Floats) -> bool:
        """Whether columns were added that would help at these prices."""
        p = self.pools
        gain = np.where(p.runs, prices[:, None] - p.finite_loads * rents, 0.0)
        gain[:, most == 0] = 0.0
        for key in self.share:
            gain[key] = 0.0
        helpful = np.argwhere(gain > HELPS * max(float(prices.mean()), NOTHING))
        order = np.argsort(-gain[helpful[:, 0], helpful[:, 1]], kind="stable")[:MOST_COLUMNS_AT_ONCE]
        for r, t in helpful[order].tolist():
            self._add(r, t)
        return len(order) > 0

    def _links(self, fewest: Floats, most: Floats) -> bool:
        """Whether rows were added that limit shares to what there is of a node."""
        nodes = [v.solution_value() for v in self.nodes]
        loose = {t for t, n in enumerate(nodes) if n < 1 - PER_MILLE and fewest[t] == 0 and most[t] > 0}
        keys = [key for key in self.share if key[1] in loose and key not in self.linked]
        over = [key for key in keys if self.share[key].solution_value() > nodes[key[1]] + PER_MILLE]
        for key in over:
            row = self.model.Constraint(-self.model.infinity(), 0.0)
            row.SetCoefficient(self.share[key], 1.0)
            row.SetCoefficient(self.nodes[key[1]], -1.0)
            self.linked.add(key)
        return bool(over)
