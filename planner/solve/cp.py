"""CP-SAT as this room asks it: the compiled layer of ortools without its Python layer, which loads pandas.

`ortools.sat.python.cp_model` offers tables of variables and therefore loads pandas, a quarter of a second that no
plan needs. Both layers write the same `CpModelProto`; ortools is pinned to one minor version.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ortools.sat.python.cp_model_helper import (
    BoolArgumentConstraint,
    BoundedLinearExpression,
    Constraint,
    CpBaseModel,
    CpModelProto,
    CpSolverResponse,
    CpSolverStatus,
    FlatIntExpr,
    IntVar,
    LinearExpr,
    SatParameters,
    SolveWrapper,
)
from ortools.util.python.sorted_interval_list import Domain

__all__ = [
    "FEASIBLE",
    "INFEASIBLE",
    "INT_MAX",
    "INT_MIN",
    "MODEL_INVALID",
    "OPTIMAL",
    "BoundedLinearExpression",
    "Constraint",
    "CpModel",
    "CpSolver",
    "IntVar",
    "LinearExpr",
]

INT_MIN = -(2**63)
INT_MAX = 2**63 - 1
MODEL_INVALID = CpSolverStatus.MODEL_INVALID
FEASIBLE = CpSolverStatus.FEASIBLE
INFEASIBLE = CpSolverStatus.INFEASIBLE
OPTIMAL = CpSolverStatus.OPTIMAL


class CpModel(CpBaseModel):
    """Whole decisions, linear rules and one linear objective."""

    if TYPE_CHECKING:
        # Compiled, and missing from the stubs that ortools ships.
        def _add_bounded_linear_expression(self, rule: BoundedLinearExpression) -> Constraint: ...
        def _add_bool_argument_constraint(self, kind: object, decisions: Sequence[IntVar | bool]) -> Constraint: ...

    def __init__(self) -> None:
        super().__init__(None)

    @property
    def proto(self) -> CpModelProto:
        """The model as it is given to a solver."""
        proto: CpModelProto = self.model_proto
        return proto

    def new_int_var(self, least: int, most: int, name: str) -> IntVar:
        """A decision from `least` to `most`, both included."""
        return IntVar(self.proto).with_name(name).with_domain(Domain(least, most))

    def new_bool_var(self, name: str) -> IntVar:
        """A decision of 0 or 1."""
        return self.new_int_var(0, 1, name)

    def add(self, rule: BoundedLinearExpression | bool) -> Constraint:
        """A linear rule; `True` and `False` are what is left of rules without decisions."""
        if isinstance(rule, BoundedLinearExpression):
            return self._add_bounded_linear_expression(rule)
        return self._add_bool_argument_constraint(BoolArgumentConstraint.bool_or, [True] if rule else [])

    def add_exactly_one(self, decisions: Iterable[IntVar]) -> Constraint:
        """One of the decisions is 1, the others are 0."""
        return self._add_bool_argument_constraint(BoolArgumentConstraint.exactly_one, list(decisions))

    def minimize(self, goal: LinearExpr | int) -> None:
        """Ask for the least of `goal`."""
        flat = FlatIntExpr(LinearExpr.sum([goal]))
        self.proto.clear_objective()
        objective = self.proto.objective
        objective.vars.extend([v.index for v in flat.vars])
        objective.coeffs.extend(flat.coeffs)
        objective.offset = flat.offset
        objective.scaling_factor = 1.0

    def add_hint(self, decision: IntVar, value: int) -> None:
        """Start the search with `decision` at `value`."""
        self.proto.solution_hint.vars.append(decision.index)
        self.proto.solution_hint.values.append(int(value))


class CpSolver:
    """One search; `stop_search` may be called from another thread meanwhile."""

    def __init__(self) -> None:
        self.parameters = SatParameters()
        self._response: CpSolverResponse | None = None
        self._running: SolveWrapper | None = None
        self._lock = threading.Lock()

    def solve(self, model: CpModel) -> CpSolverStatus:
        """Search until the answer is proven or a limit of the parameters is reached."""
        wrapper = SolveWrapper()
        wrapper.set_parameters(self.parameters)
        with self._lock:
            self._running = wrapper
        found: CpSolverResponse = wrapper.solve(model.proto)
        with self._lock:
            self._running = None
        self._response = found
        status: CpSolverStatus = found.status
        return status

    def stop_search(self) -> None:
        """End a search that runs, soon."""
        with self._lock:
            if self._running is not None:
                self._running.stop_search()

    @property
    def response_proto(self) -> CpSolverResponse:
        """What the search found. Raises RuntimeError before `solve`."""
        if self._response is None:
            raise RuntimeError("nothing has been asked yet")
        return self._response

    @property
    def best_objective_bound(self) -> float:
        """No answer has less of the objective. Raises RuntimeError before `solve`."""
        return float(self.response_proto.best_objective_bound)
