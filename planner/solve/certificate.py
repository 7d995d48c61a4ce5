"""A second opinion: the same model given to a mixed-integer solver that shares no code with CP-SAT."""

from __future__ import annotations

import math
from collections.abc import Collection

from ortools.linear_solver import pywraplp
from ortools.sat.python.cp_model import INT_MAX, INT_MIN, CpModel

from planner.errors import NoPlanInTimeError
from planner.solve.instance import Instance
from planner.solve.objective import make_small, scale_of
from planner.solve.search import build_model
from planner.units import MILLI

TIME_LIMIT_S = 60
TOLERANCE = 1e-6
"""Relative slack granted to floating-point bounds before they are rounded up to whole units."""


def mip_bound(m: CpModel, *, continuous: Collection[int] = ()) -> float | None:
    """The least of the model's objective by SCIP; None where it finds the model infeasible.

    Variables whose index is in `continuous` may take fractions, so the bound holds for them as well. Raises
    NoPlanInTimeError where SCIP ends without an answer, ValueError where the model has other constraints than sums.
    """
    solver = pywraplp.Solver.CreateSolver("SCIP")
    assert solver is not None, "SCIP is part of ortools"
    proto = m.proto
    unit = {n: float(proto.variables[n].domain[1] or 1) for n in continuous}
    columns = [
        unit[n] * solver.NumVar(v.domain[0] / unit[n], 1.0, str(n))
        if n in unit
        else solver.IntVar(v.domain[0], v.domain[1], str(n))
        for n, v in enumerate(proto.variables)
    ]
    for c in proto.constraints:
        if c.has_exactly_one():
            solver.Add(solver.Sum([columns[n] for n in c.exactly_one.literals]) == 1)
        elif c.has_linear() and not c.enforcement_literal:
            row = tuple(zip(c.linear.vars, c.linear.coeffs, strict=True))
            largest = max((abs(k) * unit.get(n, 1.0) for n, k in row), default=1.0)
            terms = solver.Sum([k / largest * columns[n] for n, k in row])
            least, most = c.linear.domain[0], c.linear.domain[1]
            if least > INT_MIN:
                solver.Add(terms >= least / largest)
            if most < INT_MAX:
                solver.Add(terms <= most / largest)
        else:
            raise ValueError(f"{c.name}: only sums can be certified")
    if not proto.has_objective():
        solver.Minimize(0)
    else:
        goal = proto.objective
        solver.Minimize(solver.Sum([k * columns[n] for n, k in zip(goal.vars, goal.coeffs, strict=True)]))
    solver.SetTimeLimit(round(TIME_LIMIT_S / MILLI))
    settings = pywraplp.MPSolverParameters()
    settings.SetDoubleParam(pywraplp.MPSolverParameters.RELATIVE_MIP_GAP, 0.0)
    status = solver.Solve(settings)
    if status == pywraplp.Solver.INFEASIBLE:
        return None
    if status not in (pywraplp.Solver.OPTIMAL, pywraplp.Solver.FEASIBLE):
        raise NoPlanInTimeError(f"the second solver reached no verdict within {TIME_LIMIT_S} s (status {status})")
    return float(solver.Objective().BestBound())


def fluid_bound(i: Instance, name: str) -> float | None:
    """What no plan can go under in one measure even if demand could be split without steps; None = no plan at all."""
    m, x = build_model(i)
    measured = make_small(name, i, x, m)
    found = mip_bound(m, continuous={v.index for v in x.share.values()})
    if found is None:
        return None
    whole = math.ceil(found - TOLERANCE * max(1.0, abs(found)))
    return float(measured.constant + whole * scale_of(measured))
