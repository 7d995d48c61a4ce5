"""The problem made ready: sorted, sized, bounded, so that rules only loop and compare."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from planner.errors import InputError
from planner.solve.arcs import Arc, arcs_of
from planner.solve.calendar import Contract, Delivery, contracts, deliveries
from planner.solve.dominance import needed_ways
from planner.solve.patterns import (
    Apart,
    Pattern,
    Size,
    TooManyPatternsError,
    gpus_add_up,
    maximal_patterns,
    most_that_fit,
    owner_of,
)
from planner.solve.problem import Column, NodeType, Problem, Workload
from planner.solve.scale import replicas_for
from planner.solve.ways import Way
from planner.units import ceil_div

MOST_PIECES = 10**9
"""Replicas (GPUs, where they are shared at will) that one column may ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """How replicas fill the nodes of one type."""

    sizes: tuple[Size, ...]
    patterns: tuple[Pattern, ...]
    """Empty where GPUs simply add up."""
    arcs: tuple[Arc, ...] = ()
    """The same as a graph, where there are too many patterns to list."""
    slices: tuple[Size, ...] = ()
    """What replicas take of GPUs that are cut."""
    cuts: tuple[Pattern, ...] = ()
    """How many replicas of each kind of `slices` one GPU holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A problem with its usable columns by workload and by node type."""

    problem: Problem
    node_types: Mapping[str, NodeType]
    workloads: tuple[Workload, ...]
    ways: Mapping[str, tuple[Way, ...]]
    """By workload."""
    ways_on: Mapping[str, tuple[Way, ...]]
    """By node type."""
    packing: Mapping[str, Packing]
    most_nodes: Mapping[str, int]
    """No answer needs more nodes of the type than this."""
    contracts: Mapping[str, tuple[Contract, ...]]
    """Reservations that can be made, by node type."""
    deliveries: Mapping[str, tuple[Delivery, ...]]
    """Purchases that arrive in time, by node type."""

    @property
    def periods(self) -> range:
        return range(self.problem.periods)

    @property
    def times(self) -> range:
        """Times of day."""
        return self.problem.times

    def ways_at(self, t: str, time: int) -> tuple[Way, ...]:
        """Ways on one node type that run at one time of day."""
        return tuple(way for way in self.ways_on[t] if time in way.times)

    def spread_ways(self, t: str, p: int, time: int, size: Size) -> tuple[Way, ...]:
        """Ways with pieces of one size, of workloads that must be spread and are not told apart."""
        if owner_of(size):
            return ()
        ways = self.ways_at(t, time)
        return tuple(w for w in ways if w.least_nodes > 1 and w.size == size and w.replicas and w.replicas[p])

    def slots(self) -> Iterator[tuple[str, int]]:
        """Every node type in every period."""
        return ((t, p) for t in self.node_types for p in self.periods)


def prepare(problem: Problem, *, prune: bool = True) -> Instance:
    """Sort, drop columns that can never be used or (`prune`) that others dominate, size what is left.

    Raises InputError when a node type has too many different sizes of replicas.
    """
    node_types = dict(sorted(problem.node_types.items()))
    workloads = tuple(sorted(problem.workloads, key=lambda w: w.id))
    numbers = _owners(problem)
    ways = {w.id: _worth_having(problem, w, numbers.get(w.id), prune=prune) for w in workloads}
    ways_on: dict[str, list[Way]] = {t: [] for t in node_types}
    for w in workloads:
        for way in ways[w.id]:
            ways_on[way.column.node].append(way)
    _refuse_too_many(ways_on)
    apart = _apart(problem, numbers)
    packing = {t: _packing(t, node_types[t], ways_on[t], apart) for t in node_types}
    return Instance(
        problem=problem,
        node_types=node_types,
        workloads=workloads,
        ways=ways,
        ways_on={t: tuple(found) for t, found in ways_on.items()},
        packing=packing,
        most_nodes={t: _most_nodes(node_types[t], ways_on[t]) for t in node_types},
        contracts={t: contracts(problem, n.reserve) for t, n in node_types.items() if n.reserve is not None},
        deliveries={t: deliveries(problem, n.buy) for t, n in node_types.items() if n.buy is not None},
    )


def _refuse_too_many(ways_on: Mapping[str, list[Way]]) -> None:
    """Raise InputError where a workload would need more replicas or GPUs than sums in 64 bits count."""
    for t, ways in ways_on.items():
        for way in ways:
            needed = max((*way.replicas, *(math.ceil(share) for share in way.shares)), default=0) * way.column.nodes
            if needed > MOST_PIECES:
                raise InputError(
                    f"workloads.{way.workload}.columns.{way.column.id}: {float(needed):.3g} replicas or GPUs on {t} "
                    f"are more than {MOST_PIECES}; is its rate in the unit of the demand?"
                )


def capacity(node: NodeType) -> Size:
    """GPUs and memory of one node; 0 memory where it is no constraint."""
    return node.gpus, node.ram or 0


def _owners(p: Problem) -> dict[str, int]:
    """Numbers from 1 of the workloads that must be told apart on a node.

    Those that are only spread over nodes need it where one may take several columns, or they differ in how many nodes:
    else counting is enough (see `spread_workloads_find_nodes_enough`).
    """
    named = {name for w in p.workloads for name in ((w.id, *w.apart_from) if w.apart_from else ())}
    spread = [w for w in p.workloads if w.least_nodes > 1]
    alike = len({w.least_nodes for w in spread}) < 2
    named |= {w.id for w in spread if w.mode != "one" or not alike}
    return {name: n for n, name in enumerate(sorted(named), start=1)}


def _apart(p: Problem, owners: Mapping[str, int]) -> frozenset[tuple[int, int]]:
    """Pairs of workloads that share no node, both ways round."""
    pairs = {(owners[w.id], owners[other]) for w in p.workloads for other in w.apart_from}
    return frozenset(pairs | {(b, a) for a, b in pairs})


def _worth_having(p: Problem, w: Workload, owner: int | None, *, prune: bool) -> tuple[Way, ...]:
    found = tuple(_usable(p, w, owner))
    return needed_ways(found) if prune and w.mode == "one" else found


def _usable(p: Problem, w: Workload, owner: int | None) -> Iterator[Way]:
    """The columns whose replica fits an empty node of a kind that can be had, that meet the demand, and that have
    replicas for as many nodes as they must sit on."""
    times = w.times or p.times
    for c in sorted(w.columns, key=lambda c: c.id):
        node = p.node_types[c.node]
        size = _piece(node, c) if owner is None else (*_piece(node, c), owner)
        uncut = c.slices is not None and (node.slices is None or most_that_fit(c.slices, node.slices) < 1)
        too_big = uncut or most_that_fit(size, capacity(node)) < 1 or (node.ram is not None and c.ram > node.ram)
        if too_big or not (node.owned or node.can_grow):
            continue
        demand = [p.demand(w, period) for period in range(p.periods)]
        if w.mode == "fluid":
            assert c.rate
            shares = tuple((d or Fraction(0)) / c.rate for d in demand)
            yield Way(workload=w.id, column=c, size=size, replicas=(), shares=shares, times=times)
            continue
        replicas = _replicas(c, w, demand)
        if replicas is not None and not any(0 < n * c.nodes < w.least_nodes for n in replicas):
            yield Way(
                workload=w.id,
                column=c,
                size=size,
                replicas=replicas,
                slices=c.slices,
                times=times,
                least_nodes=w.least_nodes,
            )


def _piece(node: NodeType, c: Column) -> Size:
    if c.nodes > 1:
        return node.gpus, (node.ram or 0)
    return c.gpus, (c.ram if node.ram is not None else 0)


def _replicas(c: Column, w: Workload, demand: list[Fraction | None]) -> tuple[int, ...] | None:
    """Replicas per period; None where the column's own number does not meet the demand."""
    if w.mode == "one" and c.replicas is not None:
        short = c.rate is not None and any(d is not None and c.rate * c.replicas < d for d in demand)
        return None if short else (c.replicas,) * len(demand)
    if not c.rate:
        return None
    needed = (replicas_for(d or Fraction(0), c.rate) for d in demand)
    least = 1 if w.mode == "one" else ceil_div(w.least_nodes, c.nodes)
    return tuple(max(n, least) if n else 0 for n in needed)


def _packing(at: str, node: NodeType, ways: list[Way], apart: Apart) -> Packing:
    sizes = tuple(sorted({w.size for w in ways if w.replicas}, reverse=True))
    slices = tuple(sorted({w.slices for w in ways if w.slices is not None}, reverse=True))
    where = f"node_types.{at}"
    cuts = maximal_patterns(slices, node.slices, at=where) if slices and node.slices else ()
    owned = any(owner_of(size) for size in sizes)
    is_counted = owned or any(w.least_nodes > 1 for w in ways)
    if not sizes or (not is_counted and gpus_add_up(sizes, capacity(node))):
        return Packing(sizes=sizes, patterns=(), slices=slices, cuts=cuts)
    try:
        patterns = maximal_patterns(sizes, capacity(node), at=where, apart=apart)
    except TooManyPatternsError:
        if is_counted:
            raise InputError(
                f"{where}: too many ways to fill one node with what must be spread or kept apart; "
                "ask least_nodes and apart_from of fewer workloads, or give them fewer columns"
            ) from None
        arcs = arcs_of(sizes, capacity(node), at=where)
        return Packing(sizes=sizes, patterns=(), arcs=arcs, slices=slices, cuts=cuts)
    return Packing(sizes=sizes, patterns=patterns, slices=slices, cuts=cuts)


def _most_nodes(node: NodeType, ways: list[Way]) -> int:
    """Nodes that suffice when every workload takes its largest way here and shares no node."""
    need: dict[str, int] = {}
    for way in ways:
        need[way.workload] = max(need.get(way.workload, 0), nodes_alone(way, node))
    total = sum(need.values())
    return max(node.owned, total + (node.spares if total else 0))


def nodes_alone(way: Way, node: NodeType) -> int:
    """Nodes one way fills when nothing else is on them."""
    if way.shares:
        return math.ceil(max(way.shares) / node.gpus)
    spread = min(way.least_nodes, max(way.replicas) * way.column.nodes)
    if way.slices is not None and node.slices is not None:
        return ceil_div(ceil_div(max(way.replicas), most_that_fit(way.slices, node.slices)), node.gpus)
    return max(spread, ceil_div(max(way.replicas) * way.column.nodes, most_that_fit(way.size, capacity(node))))
