"""The same model given to a mixed-integer solver (HiGHS) that shares no code with CP-SAT.

It counts in floating point, so nothing it says is taken at its word: its answers are rounded to whole numbers
and recounted against every constraint, its bound is rounded to the safe side.
"""

from __future__ import annotations

import ctypes
import datetime
import math
import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from planner.solve.cp import INT_MAX, INT_MIN, CpModel

if TYPE_CHECKING:
    # Loaded when first asked: most fleets are settled without it.
    from ortools.math_opt import model_pb2
    from ortools.math_opt.python import mathopt

BOUND_ABSOLUTE_SLACK = 0.01
"""Subtracted from a bound in floating point before it is rounded up to a whole number of the objective's unit."""
BOUND_RELATIVE_SLACK = 1e-9
STDOUT = 1
SHARE_SLACK = Fraction("5e-10")
"""Relative overload granted to sums of fractions in floating point: half of what the checker grants."""

Row = tuple[tuple[int, ...], tuple[int, ...], int, int]
"""Variables, coefficients, least and most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MipAnswer:
    """What the solver says: `values` by index of the variable (empty = it found none)."""

    is_infeasible: bool
    values: tuple[int | float, ...]
    bound: float | None
    """No answer has less, in the unit of the model's objective; whole where every variable is."""


def least(m: CpModel, *, continuous: Collection[int] = (), time_limit_s: float | None = None) -> MipAnswer:
    """The least of the model's objective; variables whose index is in `continuous` may take fractions.

    Raises ValueError where the model has other constraints than sums.
    """
    from ortools.math_opt.python import mathopt

    limit = None if time_limit_s is None else datetime.timedelta(seconds=max(0.01, time_limit_s))
    settings = mathopt.SolveParameters(relative_gap_tolerance=0.0, absolute_gap_tolerance=0.0, time_limit=limit)
    with _silence():
        result = mathopt.solve(_model(m, frozenset(continuous)), mathopt.SolverType.HIGHS, params=settings)
    reason = result.termination.reason
    if reason == mathopt.TerminationReason.INFEASIBLE:
        return MipAnswer(is_infeasible=True, values=(), bound=None)
    bound = _safe(result.best_objective_bound())
    if not result.has_primal_feasible_solution():
        return MipAnswer(is_infeasible=False, values=(), bound=bound)
    unit = _units(m, continuous)
    raw = result.variable_values()
    values = [raw[v] * unit.get(v.id, 1) if v.id in unit else round(raw[v]) for v in raw]
    polished = _polished(m, values, unit) if unit else tuple(values)
    return MipAnswer(is_infeasible=False, values=polished or (), bound=bound)


@contextmanager
def _silence() -> Iterator[None]:
    """Nothing reaches standard output meanwhile: HiGHS prints lines of its own there, whatever it is told."""
    sys.stdout.flush()
    kept = os.dup(STDOUT)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), STDOUT)
        try:
            yield
        finally:
            if os.name == "posix":
                ctypes.CDLL(None).fflush(None)
            os.dup2(kept, STDOUT)
            os.close(kept)


def _safe(bound: float) -> float | None:
    """A bound rounded up to a whole number, after an allowance for errors of floating point."""
    if not math.isfinite(bound):
        return None
    return float(math.ceil(bound - BOUND_ABSOLUTE_SLACK - BOUND_RELATIVE_SLACK * abs(bound)))


def holds(m: CpModel, values: Sequence[int | float], *, continuous: Collection[int] = ()) -> bool:
    """Whether values meet every constraint and domain, counted exactly; with fractions up to SHARE_SLACK."""
    fractions = frozenset(continuous)
    slack = SHARE_SLACK if fractions else Fraction(0)
    exact = [Fraction(v) if n in fractions else v for n, v in enumerate(values)]
    for v, variable in zip(exact, m.proto.variables, strict=True):
        if not variable.domain[0] <= v <= variable.domain[1]:
            return False
    for variables, factors, least_sum, most_sum in rows(m):
        total = sum(k * exact[n] for n, k in zip(variables, factors, strict=True))
        if fractions.isdisjoint(variables):
            if not least_sum <= total <= most_sum:
                return False
            continue
        size = sum(abs(k * exact[n]) for n, k in zip(variables, factors, strict=True))
        if not least_sum - slack * size <= total <= most_sum + slack * size:
            return False
    return True


def rows(m: CpModel) -> list[Row]:
    """Every constraint of a model as a sum with bounds. Raises ValueError where one is none."""
    found: list[Row] = []
    for c in m.proto.constraints:
        if c.has_exactly_one():
            variables = tuple(c.exactly_one.literals)
            found.append((variables, (1,) * len(variables), 1, 1))
        elif c.has_linear() and not c.enforcement_literal:
            found.append((tuple(c.linear.vars), tuple(c.linear.coeffs), c.linear.domain[0], c.linear.domain[1]))
        else:
            raise ValueError(f"{c.name}: only sums can be given to a mixed-integer solver")
    return found


def _units(m: CpModel, continuous: Collection[int]) -> dict[int, int]:
    """Fractions are counted in parts of the whole range of their variable."""
    return {n: int(m.proto.variables[n].domain[1]) or 1 for n in continuous}


def _model(m: CpModel, continuous: Collection[int]) -> mathopt.Model:
    from ortools.math_opt import model_pb2
    from ortools.math_opt.python import mathopt

    unit = _units(m, continuous)
    proto = model_pb2.ModelProto()
    for n, v in enumerate(m.proto.variables):
        proto.variables.ids.append(n)
        proto.variables.lower_bounds.append(v.domain[0] / unit.get(n, 1))
        proto.variables.upper_bounds.append(v.domain[1] / unit.get(n, 1))
        proto.variables.integers.append(n not in unit)
    _add_rows(proto, rows(m), unit)
    goal = m.proto.objective
    for n, k in sorted(zip(goal.vars, goal.coeffs, strict=True)):
        proto.objective.linear_coefficients.ids.append(n)
        proto.objective.linear_coefficients.values.append(float(k * unit.get(n, 1)))
    return mathopt.Model.from_model_proto(proto)


def _add_rows(proto: model_pb2.ModelProto, found: Sequence[Row], unit: Mapping[int, int]) -> None:
    """Rows with fractions are divided by their largest coefficient, for they count in tiny steps."""
    matrix = proto.linear_constraint_matrix
    for number, (variables, factors, least_sum, most_sum) in enumerate(found):
        summed: dict[int, int] = {}
        for n, k in zip(variables, factors, strict=True):
            summed[n] = summed.get(n, 0) + k * unit.get(n, 1)
        scale = max(map(abs, summed.values()), default=1) if not unit.keys().isdisjoint(summed) else 1
        proto.linear_constraints.ids.append(number)
        proto.linear_constraints.lower_bounds.append(least_sum / scale if least_sum > INT_MIN else -math.inf)
        proto.linear_constraints.upper_bounds.append(most_sum / scale if most_sum < INT_MAX else math.inf)
        for n in sorted(summed):
            if summed[n]:
                matrix.row_ids.append(number)
                matrix.column_ids.append(n)
                matrix.coefficients.append(summed[n] / scale)


def _polished(m: CpModel, values: Sequence[int | float], unit: Mapping[int, int]) -> tuple[int | float, ...] | None:
    """The fractions once more, with whole decisions fixed and every shared capacity used as little as can be.

    None where what was called an answer is none once its whole decisions are exactly whole.
    """
    from ortools.math_opt.python import mathopt

    lp = mathopt.Model()
    share = {n: lp.add_variable(lb=0.0, ub=1.0) for n in sorted(unit)}
    used = lp.add_variable(lb=0.0, ub=1.0)
    for variables, factors, least_sum, most_sum in rows(m):
        terms = [(n, k) for n, k in zip(variables, factors, strict=True)]
        loose = [(n, k * unit[n]) for n, k in terms if n in unit]
        if not loose:
            continue
        fixed = sum(k * int(values[n]) for n, k in terms if n not in unit)
        scale = max(abs(k) for _, k in loose)
        total = sum(k / scale * share[n] for n, k in loose)
        if least_sum > INT_MIN:
            lp.add_linear_constraint(total >= (least_sum - fixed) / scale)
        if most_sum < INT_MAX:
            free = (most_sum - fixed) / scale
            is_capacity = len(loose) > 1 and least_sum == INT_MIN and free >= 0
            lp.add_linear_constraint(total <= (free * used if is_capacity else free))
    lp.minimize(used)
    result = mathopt.solve(lp, mathopt.SolverType.GLOP)
    if result.termination.reason != mathopt.TerminationReason.OPTIMAL:
        return None
    found = list(values)
    for n, variable in share.items():
        found[n] = min(1.0, max(0.0, result.variable_values(variable))) * unit[n]
    return tuple(found) if holds(m, found, continuous=unit) else None
