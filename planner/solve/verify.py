"""Checks an answer against its problem from the two documents alone; shares no code with the model.

It recounts everything: demand, places on nodes, nodes present, money, limits. It says nothing about
optimality beyond whether the bound that is claimed agrees with the value that is claimed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from functools import cache

from planner.solve.problem import Column, NodeType, Problem, Workload
from planner.solve.solution import Assignment, PackedNodes, Payment, Solution

SLACK = Fraction(1, 10**9)
"""Relative slack for the decimals of mode `fluid`; everything else is whole numbers."""
PER_NODE = ("power", "rack_units", "carbon")
CUT = ("", "")
"""Stands for GPUs that are cut."""


def verify(problem: Problem, solution: Solution) -> tuple[str, ...]:
    """Everything that is wrong with an answer; empty = it holds. An `infeasible` answer has nothing to recount."""
    if solution.status == "infeasible":
        return ()
    found = [*_strangers(problem, solution)]
    if found:
        return tuple(found)
    found = [*_demand(problem, solution)]
    for p in range(problem.periods):
        for t, node in problem.node_types.items():
            for time in range(1 + max((d for w in problem.workloads for d in w.times or ()), default=0)):
                found += _places(problem, solution, t, node, p, time)
            found += _supply(problem, solution, t, node, p)
    found += [*_prices(problem, solution), *_spread(problem, solution)]
    return (*found, *_limits(problem, solution), *_claims(problem, solution))


def _strangers(p: Problem, s: Solution) -> Iterator[str]:
    """Names and periods that the problem does not have."""
    workloads = {w.id for w in p.workloads}
    for t, counts in s.nodes.items():
        if t not in p.node_types:
            yield f"nodes.{t}: not in the problem"
        if len(counts) != p.periods:
            yield f"nodes.{t}: {len(counts)} figures for {p.periods} periods"
    for w in s.assignments:
        if w not in workloads:
            yield f"assignments.{w}: not in the problem"
    for e in s.payments:
        if e.node not in p.node_types or not 0 <= e.period < p.periods:
            yield f"payments: {e.node!r} in period {e.period} is not in the problem"


def _assigned(p: Problem, s: Solution, w: Workload, period: int) -> Iterator[tuple[Column, Assignment]]:
    columns = {c.id: c for c in w.columns}
    for a in s.assignments.get(w.id, ()):
        if a.column in columns and a.period in (None, period):
            yield columns[a.column], a


def _needed(p: Problem, w: Workload, c: Column, period: int) -> int:
    """Replicas of a column taken in mode `one`."""
    if c.replicas is not None:
        return c.replicas
    demand = p.demand(w, period)
    assert demand is not None
    assert c.rate
    return -(-demand // c.rate)


def _demand(p: Problem, s: Solution) -> Iterator[str]:
    for w in p.workloads:
        known = {c.id for c in w.columns}
        for a in s.assignments.get(w.id, ()):
            if a.column not in known:
                yield f"assignments.{w.id}: column {a.column!r} is not in the problem"
            if a.replicas < 0 or (w.mode != "fluid" and a.replicas != int(a.replicas)):
                yield f"assignments.{w.id}: {a.replicas} replicas of {a.column}"
        taken = s.assignments.get(w.id, ())
        if w.mode == "one" and len(taken) != 1:
            yield f"assignments.{w.id}: {len(taken)} columns taken, not one"
            continue
        for period in range(p.periods):
            yield from _demand_in(p, s, w, period)


def _demand_in(p: Problem, s: Solution, w: Workload, period: int) -> Iterator[str]:
    demand = p.demand(w, period)
    served = Fraction(0)
    for c, a in _assigned(p, s, w, period):
        if w.mode == "one" and c.replicas is not None and a.replicas != c.replicas:
            yield f"assignments.{w.id}: {a.replicas} replicas of {c.id}, the column has {c.replicas}"
        if w.mode == "one" and c.rate is None:
            return
        served += (c.rate or 0) * Fraction(a.replicas)
    slack = demand * SLACK if demand and w.mode == "fluid" else 0
    if demand is not None and served < demand - slack:
        yield f"assignments.{w.id}: serves {float(served):g} of {float(demand):g} in period {period}"


def _runs(w: Workload, time: int) -> bool:
    return w.times is None or time in w.times


def _pieces(p: Problem, s: Solution, t: str, period: int, time: int) -> Counter[tuple[str, str]]:
    """Pieces of whole replicas that must sit on nodes of a type, or on slices of their GPUs."""
    found: Counter[tuple[str, str]] = Counter()
    for w in p.workloads:
        for c, a in _assigned(p, s, w, period):
            if c.node == t and w.mode != "fluid" and _runs(w, time):
                count = _needed(p, w, c, period) if w.mode == "one" else int(a.replicas)
                found[w.id, c.id] += count * c.nodes
    return +found


def _places(p: Problem, s: Solution, t: str, node: NodeType, period: int, time: int) -> Iterator[str]:
    every = _pieces(p, s, t, period, time)
    pools = (pair for w in p.workloads if w.mode == "fluid" and _runs(w, time) for pair in _assigned(p, s, w, period))
    fluid = sum((Fraction(a.replicas) for c, a in pools if c.node == t), Fraction(0))
    if not every and not fluid:
        return
    columns = {(w.id, c.id): c for w in p.workloads for c in w.columns}
    sliced = Counter({key: count for key, count in every.items() if columns[key].slices})
    pieces = Counter({key: count for key, count in every.items() if not columns[key].slices})
    if sliced:
        found, gpus = _cut(s, t, node, period, time, sliced, columns)
        yield from found
        pieces[CUT] = gpus
        columns[CUT] = Column(id="cut", node=t, gpus=1)
    present = s.nodes.get(t, (0,) * p.periods)[period] - node.spares
    in_use = fluid + sum(count * columns[key].gpus // columns[key].nodes for key, count in pieces.items())
    if in_use > node.gpus * present * (1 + SLACK):
        yield f"nodes.{t}: {float(in_use):g} GPUs in use, {node.gpus * present} there in period {period}"
    packed = [k for k in s.packing if k.node == t and k.period == period and k.time == time]
    if not s.packing and pieces:
        sizes = Counter[tuple[int, int]]()
        for key, count in pieces.items():
            sizes[_size(columns[key], node)] += count
        if _nodes_needed(sizes, (node.gpus, node.ram or 0)) > present:
            yield f"nodes.{t}: the replicas do not fit {present} nodes in period {period}"
        return
    yield from _packed(t, node, packed, pieces, columns, present)


def _spread(p: Problem, s: Solution) -> Iterator[str]:
    """Replicas sit on as many nodes as asked, and apart from those they must not meet."""
    for w in p.workloads:
        if w.least_nodes == 1 and not w.apart_from:
            continue
        on = [k for k in s.packing if any(i.workload == w.id and i.replicas for i in k.items)]
        for k in on:
            met = sorted({i.workload for i in k.items if i.replicas} & set(w.apart_from))
            if met:
                yield f"packing of {k.node}: {w.id} shares a node with {met[0]}"
        for period in range(p.periods):
            runs = any(a.replicas for _, a in _assigned(p, s, w, period))
            if not runs or all(_needed_in(p, w, c, a, period) == 0 for c, a in _assigned(p, s, w, period)):
                continue
            for time in w.times or range(1 + max((d for o in p.workloads for d in o.times or ()), default=0)):
                nodes = sum(k.nodes for k in on if (k.period, k.time) == (period, time))
                if nodes < w.least_nodes:
                    yield f"assignments.{w.id}: sits on {nodes} nodes in period {period}, not {w.least_nodes}"


def _needed_in(p: Problem, w: Workload, c: Column, a: Assignment, period: int) -> int:
    """Replicas of an assignment in one period."""
    return _needed(p, w, c, period) if w.mode == "one" else int(a.replicas)


def _cut(
    s: Solution,
    t: str,
    node: NodeType,
    period: int,
    time: int,
    sliced: Counter[tuple[str, str]],
    columns: dict[tuple[str, str], Column],
) -> tuple[list[str], int]:
    """What is wrong with the way GPUs are cut, and how many are; without a list of them, the fewest that do."""
    room = node.slices or (0, 0)
    if not s.packing and not s.cut:
        sizes = Counter[tuple[int, int]]()
        for key, count in sliced.items():
            sizes[columns[key].slices or room] += count
        return [], _nodes_needed(sizes, room)
    found = []
    placed: Counter[tuple[str, str]] = Counter()
    gpus = 0
    for k in (k for k in s.cut if k.node == t and k.period == period and k.time == time):
        gpus += k.gpus
        known = [i for i in k.items if (i.workload, i.column) in columns]
        taken = [(columns[i.workload, i.column].slices or room, i.replicas) for i in known]
        for dimension, name in enumerate(("compute", "memory")):
            total = sum(slices[dimension] * count for slices, count in taken)
            if total > room[dimension]:
                found.append(f"cut of {t}: a GPU holds {total} {name} slices, it has {room[dimension]}")
        for i in k.items:
            placed[i.workload, i.column] += i.replicas * k.gpus
    if placed != sliced:
        found.append(f"cut of {t}: places {dict(placed)}, the assignments are {dict(sliced)}")
    return found, gpus


def _size(c: Column, node: NodeType) -> tuple[int, int]:
    return (node.gpus, node.ram or 0) if c.nodes > 1 else (c.gpus, c.ram if node.ram is not None else 0)


def _packed(
    t: str,
    node: NodeType,
    packed: list[PackedNodes],
    pieces: Counter[tuple[str, str]],
    columns: dict[tuple[str, str], Column],
    present: int,
) -> Iterator[str]:
    placed: Counter[tuple[str, str]] = Counter()
    for k in packed:
        strangers = [i for i in k.items if (i.workload, i.column) not in columns]
        if strangers:
            yield f"packing of {t}: {strangers[0].workload}/{strangers[0].column} is not in the problem"
            continue
        held = [(_size(columns[i.workload, i.column], node), i.replicas) for i in k.items]
        gpus = sum(size[0] * count for size, count in held)
        ram = sum(size[1] * count for size, count in held)
        if gpus > node.gpus or (node.ram is not None and ram > node.ram):
            yield f"packing of {t}: a node holds {gpus} GPUs and {ram} memory, it has {node.gpus} and {node.ram}"
        for i in k.items:
            placed[i.workload, i.column] += i.replicas * k.nodes
    if placed != pieces:
        yield f"packing of {t}: places {dict(placed)}, the assignments are {dict(pieces)}"
    if sum(k.nodes for k in packed) > present:
        yield f"packing of {t}: fills {sum(k.nodes for k in packed)} nodes, {present} may work"


def _nodes_needed(sizes: Counter[tuple[int, int]], node: tuple[int, int]) -> int:
    """Fewest nodes that hold the pieces, by trying everything (small cases only)."""
    kinds = sorted(sizes, reverse=True)

    @cache
    def fewest(left: tuple[int, ...]) -> int:
        if not any(left):
            return 0
        return 1 + min(fewest(tuple(a - b for a, b in zip(left, taken, strict=True))) for taken in fillings(left))

    def fillings(left: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        first = next(n for n, count in enumerate(left) if count)
        yield from grow(left, 0, node, (), first)

    def grow(
        left: tuple[int, ...], n: int, free: tuple[int, int], taken: tuple[int, ...], first: int
    ) -> Iterator[tuple[int, ...]]:
        if n == len(kinds):
            yield taken
            return
        gpus, ram = kinds[n]
        most = left[n]
        while most and (most * gpus > free[0] or most * ram > free[1]):
            most -= 1
        for count in range(most, 0 if n == first else -1, -1):
            yield from grow(left, n + 1, (free[0] - count * gpus, free[1] - count * ram), (*taken, count), first)

    return fewest(tuple(sizes[k] for k in kinds))


def _paid(s: Solution, t: str, kind: str, period: int) -> int:
    """Nodes of rent and upkeep of one period."""
    return sum(e.nodes for e in s.payments if e.node == t and e.kind == kind and e.period == period)


def _serving(p: Problem, s: Solution, t: str, kind: str, period: int) -> int:
    """Nodes that are there in a period by contracts, or by purchases."""
    return sum(e.nodes for e in s.payments if e.node == t and e.kind == kind and _serves(p, e, period))


def _serves(p: Problem, e: Payment, period: int) -> bool:
    first = e.period if e.first is None else e.first
    last = p.periods - 1 if e.last is None else e.last
    return first <= period <= last


def _supply(p: Problem, s: Solution, t: str, node: NodeType, period: int) -> Iterator[str]:
    present = s.nodes[t][period] if t in s.nodes else 0
    rented = _paid(s, t, "rent", period)
    reserved, bought = (_serving(p, s, t, kind, period) for kind in ("reserve", "buy"))
    if present != node.owned + rented + reserved + bought:
        yield (
            f"nodes.{t}: {present} present in period {period}, but owned {node.owned}, rented {rented}, "
            f"reserved {reserved}, bought {bought}"
        )
    if node.stock is not None and present > node.stock:
        yield f"nodes.{t}: {present} in period {period}, the stock is {node.stock}"
    if node.cost_max_nodes is not None and rented > node.cost_max_nodes:
        yield f"nodes.{t}: {rented} rented in period {period}, at most {node.cost_max_nodes} can be"
    ordered = _paid(s, t, "buy", period)
    if node.buy and node.buy.max_per_period is not None and ordered > node.buy.max_per_period:
        yield f"nodes.{t}: {ordered} ordered in period {period}, at most {node.buy.max_per_period} can be"
    kept = node.owned + bought
    paid = _paid(s, t, "opex", period)
    if node.opex and paid != kept:
        yield f"payments: opex of {t} in period {period} is for {paid} nodes, not {kept}"


def _prices(p: Problem, s: Solution) -> Iterator[str]:
    """Every payment is the price times the nodes and the time, and what it gets is there when it can be."""
    for e in s.payments:
        node = p.node_types[e.node]
        price = _price(p, e, node)
        if price is None or e.nodes < 0 or e.amount != price * e.nodes:
            said = f"{e.kind} of {e.nodes} {e.node} in period {e.period}"
            yield f"payments: {said} costs {price} each, not {e.amount} in all"


def _price(p: Problem, e: Payment, node: NodeType) -> int | None:
    """Of one node; None where it cannot be had so."""
    if e.kind == "rent":
        return None if node.cost is None else node.cost * p.length(e.period)
    if e.kind == "opex":
        return node.opex * p.length(e.period)
    begins = [sum(p.length(q) for q in range(n)) for n in range(p.periods + 1)]
    first = e.period if e.first is None else e.first
    if not 0 <= first < p.periods:
        return None
    if e.kind == "buy":
        if node.buy is None or e.last is not None:
            return None
        order = begins[first] - node.buy.lead
        return node.buy.cost if begins[e.period] <= order < begins[e.period + 1] else None
    if node.reserve is None or first != e.period or e.last is None or not first <= e.last < p.periods:
        return None
    terms = -(-(begins[e.last + 1] - begins[first]) // node.reserve.term)
    paid = terms * node.reserve.term
    return node.reserve.cost * (paid if node.reserve.whole else min(paid, begins[-1] - begins[first]))


def measures(p: Problem, s: Solution) -> dict[str, int]:
    """Every measure of an answer, recounted."""
    periods = range(p.periods)
    counts = {t: s.nodes.get(t, (0,) * p.periods) for t in p.node_types}
    found = {
        name: max(sum(getattr(n, name) * counts[t][q] for t, n in p.node_types.items()) for q in periods)
        for name in PER_NODE
    }
    found["nodes"] = max(sum(counts[t][q] for t in counts) for q in periods)
    found["gpus"] = max(sum(n.gpus * counts[t][q] for t, n in p.node_types.items()) for q in periods)
    found["cost"] = sum(e.amount for e in s.payments)
    capex = [sum(_capex(p, e.node, e.kind, e.nodes) for e in s.payments if e.period == q) for q in periods]
    found["capex"], found["capex_per_period"] = sum(capex), max(capex)
    found["cost_rate"] = max(sum(_rate(p, e, q) for e in s.payments) for q in periods)
    weights = {(w.id, c.id): c.moves for w in p.workloads for c in w.columns}
    found["moves"] = sum(
        weights.get((w.id, a.column), 0) * (1 if w.mode == "one" else int(a.replicas))
        for w in p.workloads
        for a in s.assignments.get(w.id, ())
        if w.mode != "fluid"
    )
    found["preference"] = sum(_disliked(w, s) for w in p.workloads if w.mode != "fluid")
    return found


def _disliked(w: Workload, s: Solution) -> int:
    """Preferences of the columns that a workload uses; in mode `replicas` with their replicas."""
    total = 0
    for c in w.columns:
        placed = sum(int(a.replicas) for a in s.assignments.get(w.id, ()) if a.column == c.id)
        if c.preference and placed:
            total += c.preference + (placed if w.mode == "replicas" else 0)
    return total


def _rate(p: Problem, e: Payment, period: int) -> int:
    """Part of a payment that one unit of time in a period bears."""
    if e.kind in ("rent", "opex"):
        return e.amount // p.length(period) if e.period == period else 0
    if not e.nodes or not _serves(p, e, period):
        return 0
    served = sum(p.length(q) for q in range(p.periods) if _serves(p, e, q))
    return -(-(e.amount // e.nodes) // served) * e.nodes


def _capex(p: Problem, t: str, kind: str, nodes: int) -> int:
    node = p.node_types[t]
    if kind == "buy" and node.buy:
        return nodes * node.buy.cost
    return nodes * node.capex if kind == "rent" else 0


def _limits(p: Problem, s: Solution) -> Iterator[str]:
    recounted = measures(p, s)
    for name, value in p.limits.given().items():
        if recounted[name] > value:
            yield f"limits.{name}: {recounted[name]} is over {value}"


def _claims(p: Problem, s: Solution) -> Iterator[str]:
    recounted = measures(p, s)
    for name, value in s.objective.items():
        if recounted.get(name, value) != value:
            yield f"objective.{name}: {value} claimed, {recounted[name]} counted"
    first = recounted[p.objective[0]]
    if s.bound is not None and s.bound > first:
        yield f"bound: {s.bound:g} is above the value {first}"
    if s.status == "optimal" and s.bound is not None and s.bound < first:
        yield f"status: optimal, but only {s.bound:g} of {first} is proven"
