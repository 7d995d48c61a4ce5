"""CP-SAT, asked so that the same model always gives the same answer."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass

from ortools.sat.python.cp_model import FEASIBLE, INFEASIBLE, OPTIMAL, CpModel, CpSolver

from planner.errors import NoPlanInTimeError
from planner.solve.instance import Instance
from planner.solve.rules import MECHANICS, fleet_stays_within_limits, nodes_stay_within_stock, requirements
from planner.solve.variables import FleetVars, Sum


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How hard to try. One worker and a fixed seed: with more, equal answers may differ from run to run."""

    seed: int = 0
    deterministic_limit: float | None = None
    """Work allowed per question, in the solver's own deterministic units (about seconds)."""
    deadline_s: float | None = None
    """Wall clock (`time.monotonic`) after which no further work starts."""

    def solver(self) -> CpSolver:
        """A solver set up this way."""
        s = CpSolver()
        s.parameters.num_workers = 1
        s.parameters.linearization_level = 2
        s.parameters.random_seed = self.seed
        s.parameters.keep_all_feasible_solutions_in_presolve = True
        if self.deterministic_limit is not None:
            s.parameters.max_deterministic_time = self.deterministic_limit
        if self.deadline_s is not None:
            s.parameters.max_time_in_seconds = max(0.01, self.deadline_s - time.monotonic())
        return s


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one question to the solver brought."""

    is_feasible: bool
    is_proven: bool
    """Optimal, or proven to have no answer."""
    values: tuple[int, ...]
    """By index of the variable; empty without an answer."""
    bound: float
    """In the unit of the model's objective."""

    def value(self, s: Sum) -> int:
        """A sum at these values."""
        return s.constant + sum(c * self.values[v.index] for c, v in s.terms)


def build_model(i: Instance, *, kept: Collection[str] | None = None) -> tuple[CpModel, FleetVars]:
    """The model with the requirements named in `kept` (all of them by default)."""
    m = CpModel()
    x = FleetVars.create(i, m)
    for rule in MECHANICS:
        rule(i, x, m)
    names = frozenset(requirements(i) if kept is None else kept)
    nodes_stay_within_stock(i, x, m, kept=names)
    fleet_stays_within_limits(i, x, m, kept=names)
    return m, x


def ask(m: CpModel, effort: Effort) -> Answer:
    """Solve a model. Values are read only when the solver says it has an answer.

    Raises NoPlanInTimeError when the effort ended without an answer and without a proof.
    """
    solver = effort.solver()
    status = solver.solve(m)
    if status == INFEASIBLE:
        return Answer(is_feasible=False, is_proven=True, values=(), bound=0.0)
    if status in (OPTIMAL, FEASIBLE):
        return Answer(
            is_feasible=True,
            is_proven=status == OPTIMAL,
            values=tuple(solver.response_proto.solution),
            bound=solver.best_objective_bound,
        )
    raise NoPlanInTimeError(f"no plan was found within the time limit (solver status {solver.status_name(status)})")


def hint(m: CpModel, answer: Answer) -> None:
    """Start the next question from the whole of an earlier answer."""
    m.proto.clear_solution_hint()
    m.proto.solution_hint.vars.extend(range(len(answer.values)))
    m.proto.solution_hint.values.extend(answer.values)
