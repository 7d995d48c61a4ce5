"""What a buyer asks next: what would one more node save, and at what price would the choice change?"""

from __future__ import annotations

import time
from dataclasses import dataclass
from fractions import Fraction

from planner.errors import NoPlanInTimeError
from planner.solve.problem import NodeType, Problem
from planner.solve.solution import Solution
from planner.solve.solver import solve


@dataclass(frozen=True, slots=True, kw_only=True)
class OneMoreNode:
    """What it is worth that one more node of a type can be had."""

    node: str
    saves: int
    """Of the first objective; 0 or more."""
    is_proven: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """The least rent of a node type at which a fleet with fewer of its nodes is cheaper."""

    node: str
    price: int
    """Of one node for one period; one unit less and the fleet in hand is still a cheapest one."""
    share: Fraction
    """By how much it is above today's."""
    to: Solution
    """A cheapest fleet at that price."""
    is_proven: bool


def one_more_node(problem: Problem, solution: Solution, *, time_limit_s: float = 10.0) -> tuple[OneMoreNode, ...]:
    """For each node type of which all that can be had is taken: what one more would save, the most first.

    Types for which time does not suffice are left out.
    """
    deadline_s = time.monotonic() + time_limit_s
    first = problem.objective[0]
    found = []
    for t, node in sorted(problem.node_types.items()):
        if not _is_exhausted(t, node, solution):
            continue
        more = {k: v + 1 for k in ("stock", "cost_max_nodes") if (v := getattr(node, k)) is not None}
        asked = with_node(problem, t, node.model_copy(update=more), objective=(first,))
        again = _within(asked, solution, deadline_s)
        if again is not None:
            saves = max(0, solution.objective[first] - again.objective[first])
            proven = again.status == solution.status == "optimal"
            found.append(OneMoreNode(node=t, saves=saves, is_proven=proven))
    return tuple(sorted(found, key=lambda e: (-e.saves, e.node)))


def price_flip(problem: Problem, solution: Solution, t: str, *, time_limit_s: float = 10.0) -> Flip | None:
    """At what rent of node type `t` fewer of its nodes are taken; None where it is not rented, cannot be spared, or
    time ends first.

    The cost of the best fleet with some number of these nodes grows in a straight line with their price, the steeper
    the more of them. So the price is lowered from one at which a fleet with fewer wins to the crossing of the two
    lines, until the best fleet there has as many as now.
    """
    deadline_s = time.monotonic() + time_limit_s
    node = problem.node_types[t]
    rented = rented_nodes(solution, t)
    if not rented or node.cost is None or node.reserve or node.buy or problem.periods > 1:
        return None
    fewer = node.model_copy(update={"cost_max_nodes": rented - 1})
    other = _within(with_node(problem, t, fewer, objective=("cost",)), solution, deadline_s)
    best: Flip | None = None
    while other is not None:
        left = rented_nodes(other, t)
        if left >= rented:
            break
        base = other.objective["cost"] - left * (best.price if best else node.cost)
        gain = base - (solution.objective["cost"] - rented * node.cost)
        price = max(node.cost, gain // (rented - left) + 1)
        if best is not None and price >= best.price:
            break
        share = Fraction(price - node.cost, node.cost) if node.cost else Fraction(0)
        best = Flip(node=t, price=price, share=share, to=other, is_proven=False)
        dearer = node.model_copy(update={"cost": price})
        other = _within(with_node(problem, t, dearer, objective=("cost",)), other, deadline_s)
    if best is None:
        return None
    proven = other is not None and other.status == solution.status == "optimal"
    return Flip(node=t, price=best.price, share=best.share, to=other or best.to, is_proven=proven)


def with_node(problem: Problem, t: str, node: NodeType, *, objective: tuple[str, ...]) -> Problem:
    """The problem with another node type in the place of `t`. Its limit on cost no longer binds: prices are played
    with."""
    limits = problem.limits.model_copy(update={"cost": None})
    types = {**problem.node_types, t: node}
    return problem.model_copy(update={"node_types": types, "objective": objective, "limits": limits})


def rented_nodes(solution: Solution, t: str) -> int:
    """Nodes of a type that are rented, in the period with most."""
    return max((e.nodes for e in solution.payments if e.node == t and e.kind == "rent"), default=0)


def _is_exhausted(t: str, node: NodeType, s: Solution) -> bool:
    present = max(s.nodes.get(t, (0,)))
    in_stock = node.stock is not None and present >= node.stock
    return in_stock or (node.cost_max_nodes is not None and rented_nodes(s, t) >= node.cost_max_nodes)


def _within(asked: Problem, start: Solution, deadline_s: float) -> Solution | None:
    """The answer; None where there is none, or none in time."""
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        return None
    try:
        found = solve(asked, time_limit_s=left_s, start_from=start, why_not=False)
    except NoPlanInTimeError:
        return None
    return None if found.status == "infeasible" else found
