"""What is made small, and how a value reached is held while the next is made small."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from planner.solve.cp import CpModel
from planner.solve.instance import Instance, nodes_alone
from planner.solve.measures import PER_NODE, limited
from planner.solve.rules import total
from planner.solve.variables import FleetVars, Sum

MAX_SUM = 2**62
"""Of an objective over the domains of its variables: CP-SAT refuses what could leave 64 bits."""
MAX_WEIGHTED = 2**60
"""Largest value of a sum of several measures; larger ones would not fit 64 bits."""
MAX_WEIGHTED_FLOAT = 2**28
"""The same where a solver counts in floating point, which must tell one step of the last measure from none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One measure that is made small."""

    name: str
    measured: Sum
    most: int
    """No answer worth having has more."""

    @property
    def scale(self) -> int:
        """What the measure is a multiple of, its constant aside: dividing by it makes the solver's bound tight."""
        return scale_of(self.measured)

    @property
    def steps(self) -> int:
        """Different values it can take."""
        return (self.most - self.measured.constant) // self.scale + 1


def worst_case(s: Sum) -> int:
    """Largest value that a sum of non-negative terms can take."""
    return s.constant + sum(c * int(v.proto.domain[1]) for c, v in s.terms)


def make_small(name: str, i: Instance, x: FleetVars, m: CpModel) -> Sum:
    """Ask `m` for the least of one measure; the answer is the sum that stands for it."""
    found = level(name, i, x, m)
    make_all_small((found,), m)
    return found.measured


def level(name: str, i: Instance, x: FleetVars, m: CpModel) -> Level:
    """A measure as one sum. A measure that is taken per period counts by its largest period."""
    sums = limited(name, i, x)
    measured = sums[0] if len(sums) == 1 else _largest(name, sums, m)
    return Level(name=name, measured=measured, most=min(worst_case(measured), _worth_having(name, i)))


def first_that_fit(levels: Sequence[Level], most: int) -> tuple[Level, ...]:
    """The first levels whose weighted sum stays within `most`, and within 64 bits for any values; one at least."""
    product = 1
    for n, found in enumerate(levels):
        product *= found.steps
        if n and (product > most or weighted_worst_case(levels[: n + 1]) > MAX_SUM):
            return tuple(levels[:n])
    return tuple(levels)


def weighted_worst_case(levels: Sequence[Level]) -> int:
    """Largest value that the weighted sum takes over the variables' domains, which the solver wants inside 64 bits."""
    return sum(
        (worst_case(found.measured) - found.measured.constant) // found.scale * weight
        for found, weight in zip(levels, weights(levels), strict=True)
    )


def weights(levels: Sequence[Level]) -> tuple[int, ...]:
    """What one step of each level counts: more than all steps of the levels after it."""
    return tuple(math.prod(after.steps for after in levels[n + 1 :]) for n in range(len(levels)))


def make_all_small(levels: Sequence[Level], m: CpModel) -> None:
    """Ask `m` for the least of the first level, then of the second among those, and so on, in one question."""
    if len(levels) > 1:
        for found in levels:
            m.add(total(found.measured.terms) <= found.most - found.measured.constant).with_name(f"most[{found.name}]")
    m.minimize(
        total(
            (c // scale * weight, v)
            for found, scale, weight in zip(levels, [n.scale for n in levels], weights(levels), strict=True)
            for c, v in found.measured.terms
        )
    )


def _worth_having(name: str, i: Instance) -> int:
    """A measure of nodes when every workload takes its largest way and shares no node; more only adds idle nodes."""
    if name not in PER_NODE:
        return MAX_WEIGHTED
    weight = {t: PER_NODE[name](n) for t, n in i.node_types.items()}
    found = sum(weight[t] * (n.owned + n.spares) for t, n in i.node_types.items())
    for w in i.workloads:
        alone: dict[str, int] = {}
        for way in i.ways[w.id]:
            t = way.column.node
            alone[t] = max(alone.get(t, 0), weight[t] * nodes_alone(way, i.node_types[t]))
        found += max(alone.values(), default=0) if w.mode == "one" else sum(alone.values())
    return found


def prefer_first(i: Instance, x: FleetVars, m: CpModel) -> None:
    """Ask `m` for the columns that come first by id, so that equal answers are settled by their names."""
    ranks = ((rank, way) for ways in i.ways.values() for rank, way in enumerate(ways))
    m.minimize(total((rank, x.takes[way.key]) for rank, way in ranks if way.key in x.takes))


def scale_of(s: Sum) -> int:
    """What one unit of the solver's objective is worth in the measure's own unit."""
    return math.gcd(*(c for c, _ in s.terms)) or 1


def hold(found: Level, value: int, m: CpModel, *, exactly: bool) -> None:
    """Keep a measure at the value that was reached; `exactly` where nothing less exists, which guides the search."""
    if found.measured.terms:
        reached, allowed = total(found.measured.terms), value - found.measured.constant
        m.add(reached == allowed if exactly else reached <= allowed).with_name(f"held[{found.name}]")


def _largest(name: str, sums: tuple[Sum, ...], m: CpModel) -> Sum:
    top = max(worst_case(s) for s in sums)
    most = m.new_int_var(0, top, f"largest[{name}]")
    for n, s in enumerate(sums):
        m.add(total(s.terms) + s.constant <= most).with_name(f"largest[{name},{n}]")
    return Sum(((1, most),))
