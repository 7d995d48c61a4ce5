"""The rules of a fleet, one function each, named as the sentence it states."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from fractions import Fraction

from planner.solve.cp import BoundedLinearExpression, Constraint, CpModel, LinearExpr
from planner.solve.instance import Instance
from planner.solve.measures import limited
from planner.solve.patterns import ONE_GPU, Size, owner_of
from planner.solve.scale import FLUID_GRID, Loads, at_least, loads
from planner.solve.variables import FleetVars, Sum, Term

Rule = Callable[[Instance, FleetVars, CpModel], None]


def total(terms: Iterable[Term]) -> LinearExpr:
    """The weighted sum as an expression."""
    terms = tuple(terms)
    return LinearExpr.weighted_sum([v for _, v in terms], [c for c, _ in terms])


def total_of(s: Sum) -> LinearExpr:
    return total(s.terms) + s.constant


def _named(m: CpModel, name: str, bounded: BoundedLinearExpression | bool) -> Constraint:
    return m.add(bounded).with_name(name)


def every_workload_is_served(i: Instance, x: FleetVars, m: CpModel) -> None:
    """Mode `one`: exactly one column is taken. Else what is placed serves the demand of every period."""
    for w in i.workloads:
        ways = i.ways[w.id]
        if w.mode == "one":
            m.add_exactly_one(x.takes[way.key] for way in ways).with_name(f"served[{w.id}]")
            continue
        for p in i.periods:
            if w.mode == "fluid":
                shares = [x.share[*way.key, p] for way in ways]
                _named(m, f"served[{w.id},{p}]", LinearExpr.sum(shares) == FLUID_GRID)
                continue
            rates = [way.column.rate or Fraction(0) for way in ways]
            row = at_least(rates, i.problem.demand(w, p) or Fraction(0))
            placed = zip(row.coefficients, (x.copies[*way.key, p] for way in ways), strict=True)
            _named(m, f"served[{w.id},{p}]", total(placed) >= row.bound)


def columns_in_use_have_replicas(i: Instance, x: FleetVars, m: CpModel) -> None:
    """A column with replicas counts as used."""
    for w in i.workloads:
        for way in i.ways[w.id]:
            if way.key in x.used:
                for p in i.periods:
                    used = x.copies[*way.key, p] <= way.replicas[p] * x.used[way.key]
                    _named(m, f"used[{w.id},{way.column.id},{p}]", used)


def slices_fit_on_gpus(i: Instance, x: FleetVars, m: CpModel) -> None:
    """Each replica on slices has a place in a pattern that GPUs are cut by, at every time of day."""
    for (t, p), d in _slots_and_times(i):
        packing = i.packing[t]
        for k, slices in enumerate(packing.slices):
            places = [(pattern[k], x.cut[t, p, d, n]) for n, pattern in enumerate(packing.cuts) if pattern[k]]
            pieces = [term for way in i.ways_at(t, d) if way.slices == slices for term in x.pieces(way, p)]
            _named(m, f"sliced[{t},{p},{d},{slices[0]}x{slices[1]}]", total(places) >= total(pieces))


def replicas_fit_on_nodes(i: Instance, x: FleetVars, m: CpModel) -> None:
    """Each piece has a place in a pattern that nodes are filled by; no more nodes are filled than may work."""
    for (t, p), d in _slots_and_times(i):
        packing = i.packing[t]
        if not packing.patterns:
            continue
        for k, size in enumerate(packing.sizes):
            places = [(pattern[k], x.filled[t, p, d, n]) for n, pattern in enumerate(packing.patterns) if pattern[k]]
            pieces = [term for s, way_terms in _whole_pieces(i, x, t, p, d) if s == size for term in way_terms]
            _named(m, f"placed[{t},{p},{d},{_label(size)}]", total(places) >= total(pieces))
        filled = [(1, x.filled[t, p, d, n]) for n in range(len(packing.patterns))]
        _named(m, f"filled[{t},{p},{d}]", total(filled) <= _able_to_work(i, x, t, p))


def replicas_are_spread_over_nodes(i: Instance, x: FleetVars, m: CpModel) -> None:
    """A workload sits on as many nodes as asked: nodes with places for it alone, and no more than it has pieces."""
    for (workload, t, p, d), count in x.spread.items():
        packing, ways = i.packing[t], [way for way in i.ways_at(t, d) if way.workload == workload]
        own = {k for k, size in enumerate(packing.sizes) if any(way.size == size for way in ways)}
        nodes = [
            (1, x.filled[t, p, d, n]) for n, pattern in enumerate(packing.patterns) if any(pattern[k] for k in own)
        ]
        pieces = [term for way in ways for term in x.pieces(way, p)]
        _named(m, f"spread_nodes[{workload},{t},{p},{d}]", count <= total(nodes))
        _named(m, f"spread_pieces[{workload},{t},{p},{d}]", count <= total(pieces))
    for w in i.workloads:
        for p in i.periods:
            told_apart = w.least_nodes > 1 and any(owner_of(way.size) for way in i.ways[w.id])
            runs = told_apart and any(way.replicas[p] for way in i.ways[w.id])
            for d in (w.times or i.times) if runs else ():
                counted = [(1, v) for (name, _, q, e), v in x.spread.items() if (name, q, e) == (w.id, p, d)]
                _named(m, f"spread[{w.id},{p},{d}]", total(counted) >= w.least_nodes)


def spread_workloads_find_nodes_enough(i: Instance, x: FleetVars, m: CpModel) -> None:
    """For any n of the workloads of one size that must sit on k nodes each, there are places for k times n of their
    pieces when no node counts for more than n (Gale and Ryser: then, and only then, all of them find their nodes)."""
    for (t, p), d in _slots_and_times(i):
        packing = i.packing[t]
        for k, size in enumerate(packing.sizes):
            ways = i.spread_ways(t, p, d, size)
            crowd = [x.crowd[t, p, d, k, n] for n in range(1, len({way.workload for way in ways}) + 1)]
            if not crowd:
                continue
            at = f"{t},{p},{d},{_label(size)}"
            _named(m, f"crowd[{at}]", total((1, v) for v in crowd) == total((1, x.takes[way.key]) for way in ways))
            for n, v in enumerate(crowd, start=1):
                places = [
                    (min(n, pattern[k]), x.filled[t, p, d, q])
                    for q, pattern in enumerate(packing.patterns)
                    if pattern[k]
                ]
                _named(m, f"spread[{at},{n}]", total(places) >= ways[0].least_nodes * n * v)
                if n > 1:
                    _named(m, f"crowd[{at},{n}]", v <= crowd[n - 2])


def _label(size: Size) -> str:
    return "x".join(map(str, size))


def replicas_of_many_sizes_fit_on_nodes(i: Instance, x: FleetVars, m: CpModel) -> None:
    """Each piece is on an arc of some node's filling; what leaves a vertex came into it; nodes start empty."""
    for (t, p), d in _slots_and_times(i):
        packing = i.packing[t]
        if not packing.arcs:
            continue
        leaving: dict[int, list[Term]] = {}
        by_size: dict[int, list[Term]] = {}
        for k, arc in enumerate(packing.arcs):
            flow = x.flow[t, p, d, k]
            leaving.setdefault(arc.tail, []).append((1, flow))
            leaving.setdefault(arc.head, []).append((-1, flow))
            by_size.setdefault(arc.size, []).append((1, flow))
        for vertex, terms in leaving.items():
            within = _able_to_work(i, x, t, p) if vertex == 0 else 0
            _named(m, f"flow[{t},{p},{d},{vertex}]", total(terms) <= within)
        for k, size in enumerate(packing.sizes):
            pieces = [term for s, terms in _whole_pieces(i, x, t, p, d) if s == size for term in terms]
            _named(m, f"placed[{t},{p},{d},{_label(size)}]", total(by_size.get(k, ())) >= total(pieces))


def memory_in_use_is_there(i: Instance, x: FleetVars, m: CpModel) -> None:
    """Memory in use on a node type is at most that of the nodes that may work; implied by fillings, but it helps."""
    for (t, p), d in _slots_and_times(i):
        ram = i.node_types[t].ram
        if i.packing[t].arcs and ram is not None:
            taken = [(c * size[1], v) for size, terms in _whole_pieces(i, x, t, p, d) for c, v in terms if size[1]]
            _named(m, f"ram_fits[{t},{p},{d}]", total(taken) <= ram * _able_to_work(i, x, t, p))


def gpus_in_use_are_there(i: Instance, x: FleetVars, m: CpModel) -> None:
    """GPUs in use on a node type are at most those of the nodes that may work; implied by patterns, but it helps."""
    for (t, p), d in _slots_and_times(i):
        whole = [(c * size[0], v) for size, terms in _whole_pieces(i, x, t, p, d) for c, v in terms]
        fluid = [way for way in i.ways_at(t, d) if way.shares]
        gpus = i.node_types[t].gpus
        if not fluid:
            if whole:
                _named(m, f"gpus_fit[{t},{p},{d}]", total(whole) <= gpus * _able_to_work(i, x, t, p))
            continue
        load = fluid_loads(i, t, [way.shares[p] for way in fluid])
        shared = [(c, x.share[*way.key, p]) for c, way in zip(load.loads, fluid, strict=True)]
        in_use = total([*shared, *((c * load.unit, v) for c, v in whole)])
        _named(m, f"gpus_fit[{t},{p},{d}]", in_use <= gpus * load.unit * _able_to_work(i, x, t, p))


def _slots_and_times(i: Instance) -> Iterator[tuple[tuple[str, int], int]]:
    """Every node type in every period at every time of day."""
    return ((slot, d) for slot in i.slots() for d in i.times)


def _whole_pieces(i: Instance, x: FleetVars, t: str, p: int, d: int) -> Iterator[tuple[Size, tuple[Term, ...]]]:
    """Pieces that sit on nodes at a time of day, by size: whole replicas, and GPUs that are cut."""
    for way in i.ways_at(t, d):
        if way.slices is None:
            yield way.size, x.pieces(way, p)
    if i.packing[t].cuts:
        yield ONE_GPU, x.cut_gpus(i, t, p, d)


def fluid_loads(i: Instance, t: str, shares: Sequence[Fraction]) -> Loads:
    """GPUs of a node type that whole workloads would fill, in whole numbers."""
    return loads(shares, grid=FLUID_GRID, capacity=i.node_types[t].gpus * max(1, i.most_nodes[t]))


def spare_nodes_stand_idle(i: Instance, x: FleetVars, m: CpModel) -> None:
    """Where anything works on a node type with spares, that many of its nodes are kept free."""
    for (t, p), working in x.working.items():
        _named(m, f"spares[{t},{p}]", x.present[t, p] >= i.node_types[t].spares * working)
        for way in i.ways_on[t]:
            for c, v in x.pieces(way, p):
                most = way.replicas[p] * way.column.nodes
                _named(m, f"working[{t},{p},{way.workload},{way.column.id}]", c * v <= most * working)
            if way.shares:
                served = x.share[*way.key, p] <= FLUID_GRID * working
                _named(m, f"working[{t},{p},{way.workload},{way.column.id}]", served)


def present_nodes_are_owned_or_paid_for(i: Instance, x: FleetVars, m: CpModel) -> None:
    """Nodes present are those owned, rented, under a reservation that runs, or bought and delivered."""
    for t, p in i.slots():
        node = i.node_types[t]
        got: list[Term] = [(1, x.rented[t, p])] if (t, p) in x.rented else []
        got += [*x.under_contract(i, t, p), *x.delivered(i, t, p)]
        _named(m, f"present[{t},{p}]", x.present[t, p] == total(got) + node.owned)


def orders_stay_within_what_can_be_delivered(i: Instance, x: FleetVars, m: CpModel) -> None:
    """No more nodes are ordered in a period than the seller delivers."""
    for t, found in i.deliveries.items():
        buy = i.node_types[t].buy
        if buy is None or buy.max_per_period is None:
            continue
        for p in sorted({d.ordered for d in found}):
            ordered = total((1, x.bought[t, d]) for d in found if d.ordered == p)
            _named(m, f"orders[{t},{p}]", ordered <= buy.max_per_period)


def nodes_stay_within_stock(i: Instance, x: FleetVars, m: CpModel, *, kept: Collection[str]) -> None:
    """Nodes there at once are at most the stock; nodes rented at once at most what can be rented."""
    for t, p in i.slots():
        node = i.node_types[t]
        if f"stock.{t}" not in kept:
            continue
        if node.stock is not None:
            _named(m, f"stock[{t},{p}]", x.present[t, p] <= node.stock)
        if node.cost_max_nodes is not None and (t, p) in x.rented:
            _named(m, f"rentable[{t},{p}]", x.rented[t, p] <= node.cost_max_nodes)


def fleet_stays_within_limits(i: Instance, x: FleetVars, m: CpModel, *, kept: Collection[str]) -> None:
    """Money, power, space and counts stay within what was set, in every period where they are per period."""
    for name, value in i.problem.limits.given().items():
        if name not in kept:
            continue
        for n, measured in enumerate(limited(name, i, x)):
            _named(m, f"{name}[{n}]", total_of(measured) <= value)


MECHANICS: tuple[Rule, ...] = (
    every_workload_is_served,
    columns_in_use_have_replicas,
    slices_fit_on_gpus,
    replicas_fit_on_nodes,
    replicas_are_spread_over_nodes,
    spread_workloads_find_nodes_enough,
    replicas_of_many_sizes_fit_on_nodes,
    gpus_in_use_are_there,
    memory_in_use_is_there,
    spare_nodes_stand_idle,
    present_nodes_are_owned_or_paid_for,
    orders_stay_within_what_can_be_delivered,
)
"""True of any fleet."""
REQUIREMENTS = (nodes_stay_within_stock, fleet_stays_within_limits)
"""Asked for, so the asker's to relax."""


def requirements(i: Instance) -> tuple[str, ...]:
    """Names of everything that could be relaxed: limits, then stocks."""
    stocks = [f"stock.{t}" for t, n in i.node_types.items() if n.stock is not None or n.cost_max_nodes is not None]
    return (*i.problem.limits.given(), *stocks)


def _able_to_work(i: Instance, x: FleetVars, t: str, p: int) -> LinearExpr:
    """Nodes present less the spares kept free."""
    present: list[Term] = [(1, x.present[t, p])]
    if (t, p) in x.working:
        present.append((-i.node_types[t].spares, x.working[t, p]))
    return total(present)
