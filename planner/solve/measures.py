"""What can be limited or made small: money, power, nodes, GPUs, space, carbon, ties."""

from __future__ import annotations

from collections.abc import Callable

from planner.solve.calendar import span
from planner.solve.instance import Instance
from planner.solve.problem import Column, NodeType
from planner.solve.variables import FleetVars, Sum, Term
from planner.units import ceil_div

PER_NODE: dict[str, Callable[[NodeType], int]] = {
    "power": lambda n: n.power,
    "nodes": lambda _: 1,
    "gpus": lambda n: n.gpus,
    "rack_units": lambda n: n.rack_units,
    "carbon": lambda n: n.carbon,
}
"""Measures that add up over the nodes present in a period."""


def present(name: str, i: Instance, x: FleetVars, p: int) -> Sum:
    """One of PER_NODE, in one period."""
    per_node = PER_NODE[name]
    return Sum(tuple((per_node(n), x.present[t, p]) for t, n in i.node_types.items() if per_node(n)))


def spent(i: Instance, x: FleetVars) -> Sum:
    """All payments over the horizon."""
    terms: list[Term] = []
    constant = 0
    last = i.problem.periods - 1
    for t, node in i.node_types.items():
        if node.cost:
            terms += [(node.cost * i.problem.length(p), x.rented[t, p]) for p in i.periods]
        if node.reserve is not None:
            terms += [(node.reserve.cost * c.paid, x.reserved[t, c]) for c in i.contracts[t]]
        if node.buy is not None:
            kept = {d: span(i.problem, d.first, last) for d in i.deliveries[t]}
            terms += [(node.buy.cost + node.opex * kept[d], x.bought[t, d]) for d in i.deliveries[t]]
        constant += node.opex * node.owned * span(i.problem, 0, last)
    return Sum(tuple(terms), constant)


def rate_of_spending(i: Instance, x: FleetVars, p: int) -> Sum:
    """Payments for one unit of time in one period: contracts and purchases spread evenly, rounded up, over what they
    serve."""
    terms: list[Term] = []
    constant = 0
    last = i.problem.periods - 1
    for t, node in i.node_types.items():
        if node.cost:
            terms.append((node.cost, x.rented[t, p]))
        for c in i.contracts.get(t, ()):
            if node.reserve is not None and c.first <= p <= c.last:
                each = ceil_div(node.reserve.cost * c.paid, span(i.problem, c.first, c.last))
                terms.append((each, x.reserved[t, c]))
        for d in i.deliveries.get(t, ()):
            if node.buy is not None and d.first <= p:
                each = ceil_div(node.buy.cost, span(i.problem, d.first, last)) + node.opex
                terms.append((each, x.bought[t, d]))
        constant += node.opex * node.owned
    return Sum(tuple(terms), constant)


def bound_up(i: Instance, x: FleetVars, p: int) -> Sum:
    """Purchase money of one period: orders, and rented nodes whose price pays a purchase off."""
    terms: list[Term] = []
    for t, node in i.node_types.items():
        if node.buy is not None and node.buy.cost:
            terms += [(node.buy.cost, x.bought[t, d]) for d in i.deliveries[t] if d.ordered == p]
        if node.capex and (t, p) in x.rented:
            terms.append((node.capex, x.rented[t, p]))
    return Sum(tuple(terms))


def disliked(i: Instance, x: FleetVars) -> Sum:
    """Preferences of the columns taken; in mode `replicas` those in use and how many replicas they have."""
    terms: list[Term] = []
    for ways in i.ways.values():
        for way in ways:
            weight = way.column.preference
            if weight and way.key in x.takes:
                terms.append((weight, x.takes[way.key]))
            if way.key in x.used:
                terms.append((weight, x.used[way.key]))
                terms += [(1, x.copies[*way.key, p]) for p in i.periods]
    return Sum(tuple(terms))


def weighed(i: Instance, x: FleetVars, weight_of: Callable[[Column], int]) -> Sum:
    """Sum of a figure of the columns taken: once in mode `one`, for every replica in mode `replicas`."""
    terms: list[Term] = []
    for ways in i.ways.values():
        for way in ways:
            weight = weight_of(way.column)
            if weight and way.key in x.takes:
                terms.append((weight, x.takes[way.key]))
            terms += [(weight, x.copies[*way.key, p]) for p in i.periods if weight and (*way.key, p) in x.copies]
    return Sum(tuple(terms))


def limited(name: str, i: Instance, x: FleetVars) -> tuple[Sum, ...]:
    """The sums that a limit (or an objective) of this name bounds: one, or one per period."""
    if name == "cost":
        return (spent(i, x),)
    if name == "cost_rate":
        return tuple(rate_of_spending(i, x, p) for p in i.periods)
    if name == "preference":
        return (disliked(i, x),)
    if name == "moves":
        return (weighed(i, x, lambda c: c.moves),)
    if name == "capex":
        return (sum((bound_up(i, x, p) for p in i.periods), Sum()),)
    if name == "capex_per_period":
        return tuple(bound_up(i, x, p) for p in i.periods)
    if name.startswith("stock."):
        t = name.removeprefix("stock.")
        return tuple(Sum(((1, x.present[t, p]),)) for p in i.periods)
    return tuple(present(name, i, x, p) for p in i.periods)
