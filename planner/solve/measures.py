"""What can be limited or made small: money, power, nodes, GPUs, space, carbon, ties."""

from __future__ import annotations

from collections.abc import Callable

from planner.solve.instance import Instance
from planner.solve.problem import Column, NodeType
from planner.solve.variables import FleetVars, Sum, Term

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
    last = i.problem.periods
    for t, node in i.node_types.items():
        for p in i.periods:
            if node.cost:
                terms.append((node.cost, x.rented[t, p]))
            if node.reserve is not None:
                terms.append((node.reserve.cost * min(node.reserve.term, last - p), x.reserved[t, p]))
            if node.buy is not None:
                kept = max(0, last - p - node.buy.lead)
                terms.append((node.buy.cost + node.opex * kept, x.ordered[t, p]))
        constant += node.opex * node.owned * last
    return Sum(tuple(terms), constant)


def bound_up(i: Instance, x: FleetVars, p: int) -> Sum:
    """Purchase money of one period: orders, and rented nodes whose price pays a purchase off."""
    terms: list[Term] = []
    for t, node in i.node_types.items():
        if node.buy is not None and node.buy.cost:
            terms.append((node.buy.cost, x.ordered[t, p]))
        if node.capex and (t, p) in x.rented:
            terms.append((node.capex, x.rented[t, p]))
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
    if name == "preference":
        return (weighed(i, x, lambda c: c.preference),)
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
