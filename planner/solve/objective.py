"""What is made small, and how a value reached is held while the next is made small."""

from __future__ import annotations

import math

from ortools.sat.python.cp_model import CpModel

from planner.solve.instance import Instance
from planner.solve.measures import limited
from planner.solve.rules import total
from planner.solve.variables import FleetVars, Sum


def worst_case(s: Sum) -> int:
    """Largest value that a sum of non-negative terms can take."""
    return s.constant + sum(c * int(v.proto.domain[1]) for c, v in s.terms)


def make_small(name: str, i: Instance, x: FleetVars, m: CpModel) -> Sum:
    """Ask `m` for the least of one measure; the answer is the sum that stands for it.

    Common factors of the coefficients are divided out, which makes the solver's bound tight. A measure that
    is taken per period counts by its largest period.
    """
    sums = limited(name, i, x)
    measured = sums[0] if len(sums) == 1 else _largest(name, sums, m)
    shared = math.gcd(*(c for c, _ in measured.terms)) or 1
    m.minimize(total((c // shared, v) for c, v in measured.terms))
    return measured


def prefer_first(i: Instance, x: FleetVars, m: CpModel) -> None:
    """Ask `m` for the columns that come first by id, so that equal answers are settled by their names."""
    ranks = ((rank, way) for ways in i.ways.values() for rank, way in enumerate(ways))
    m.minimize(total((rank, x.takes[way.key]) for rank, way in ranks if way.key in x.takes))


def scale_of(s: Sum) -> int:
    """What one unit of the solver's objective is worth in the measure's own unit."""
    return math.gcd(*(c for c, _ in s.terms)) or 1


def hold(name: str, s: Sum, value: int, m: CpModel) -> None:
    """Keep a measure at the value that was reached."""
    if s.terms:
        m.add(total(s.terms) <= value - s.constant).with_name(f"held[{name}]")


def _largest(name: str, sums: tuple[Sum, ...], m: CpModel) -> Sum:
    top = max(worst_case(s) for s in sums)
    most = m.new_int_var(0, top, f"largest[{name}]")
    for n, s in enumerate(sums):
        m.add(total(s.terms) + s.constant <= most).with_name(f"largest[{name},{n}]")
    return Sum(((1, most),))
