"""What a plan would cost if one thing were different: costed again from the plan alone, nothing is solved again.

Each workload keeps its GPU type and configuration; only the number of its replicas, and so of nodes, follows demand
and speed. A better fleet may exist at the other figures, so a dearer one is an upper bound.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from planner.plan.types import Plan, PurchaseLine, WorkloadPlan
from planner.units import HOURS_PER_MONTH, ceil_div

SLACK = 1e-9
"""What floating point may add to a whole number of replicas."""
JUST_BEYOND = 1e-6
FASTEST_GROWTH = 64.0
"""Times today's demand up to which a further node is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recosted:
    """The fleet at other figures."""

    usd_per_hour: float | None
    """None where a price is not known, or owned nodes run out and no others are for sale."""
    nodes: int
    gpus: int
    missed: tuple[str, ...]
    """Trainings that would no longer meet their target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Factors on what the plan rests on."""

    demand_factor: float = 1.0
    """Traffic of every service."""
    speed_factors: Mapping[str, float]
    """By workload: what it does over what is predicted."""


def recosted(plan: Plan, shares: Shares) -> Recosted:
    """The plan at another demand and other speeds."""
    then = nodes_by_line(plan, shares)
    cost = [cost_of_nodes(line, n) for line, n in zip(plan.purchases, then, strict=True)]
    return Recosted(
        usd_per_hour=None if any(c is None for c in cost) else sum(c for c in cost if c is not None),
        nodes=sum(then),
        gpus=sum(n * gpus_per_node(line) for line, n in zip(plan.purchases, then, strict=True)),
        missed=tuple(w.name for w in plan.workloads if misses(w, shares)),
    )


def cost_of_nodes(line: PurchaseLine, nodes: int) -> float | None:
    """USD per hour of a line with another number of nodes; more than are owned are got in the cheapest other way."""
    if line.usd_per_hour is None:
        return None
    each = line.usd_per_hour / line.nodes
    more = nodes - line.nodes
    if line.procurement != "owned" or more <= 0:
        return each * nodes
    others = [way.usd_per_hour / line.nodes for way in line.ways_to_pay]
    return each * line.nodes + min(others) * more if others else None


def offer_of_more(line: PurchaseLine) -> str:
    """Where one more node of a line is got: owned ones are used up, so in the cheapest other way."""
    ways = sorted(line.ways_to_pay, key=lambda way: way.usd_per_hour)
    return ways[0].offer if line.procurement == "owned" and ways else line.offer


def gpus_per_node(line: PurchaseLine) -> int:
    """GPUs of one node of a line."""
    return line.gpus // line.nodes


def misses(workload: WorkloadPlan, shares: Shares) -> bool:
    """A training does not get more machines: at a lower speed it ends too late."""
    if workload.mode != "train":
        return False
    speed = shares.speed_factors.get(workload.name, 1.0)
    time_used = 1.0 - workload.headroom.get("deadline", 1.0)
    rate_used = 1.0 - workload.headroom.get("demand", 1.0)
    return max(time_used, rate_used) > speed * (1.0 + SLACK)


def capacity(workload: WorkloadPlan) -> float | None:
    """Demand that the planned replicas can carry, over what is asked; None for what has no demand to grow.

    A service with a fifth of its capacity free carries 1.25 times its demand.
    """
    free = workload.headroom.get("demand")
    return None if workload.mode == "train" or free is None or free >= 1.0 else 1.0 / (1.0 - free)


def replicas_needed(workload: WorkloadPlan, replicas: int, shares: Shares) -> int:
    """Replicas in place of the `replicas` planned, at another demand and speed.

    Where more are planned than the demand takes (a pin, say), these stay in reserve.
    """
    held = capacity(workload)
    if held is None:
        return replicas
    load = shares.demand_factor / shares.speed_factors.get(workload.name, 1.0)
    today = max(1, math.ceil(replicas / held - SLACK))
    then = max(1, math.ceil(replicas * load / held - SLACK))
    return max(replicas, then) if then >= today else replicas - (today - then)


def nodes_by_line(plan: Plan, shares: Shares) -> tuple[int, ...]:
    """Nodes of each line of the bill: as planned, and as many more or fewer as the replicas take.

    What keeps nodes apart in the plan (host memory, spares) stays, because only the difference is counted again.
    """
    now = Shares(speed_factors={})
    return tuple(
        max(0, line.nodes + packed_nodes(plan, i, shares) - packed_nodes(plan, i, now))
        for i, line in enumerate(plan.purchases)
    )


def packed_nodes(plan: Plan, index: int, shares: Shares) -> int:
    """Nodes of a line that its replicas fill, at the time of day with most."""
    everything = frozenset(w.name for w in plan.workloads)
    at_times = [frozenset(time.workloads) for time in plan.times_of_day] or [everything]
    return max(_packed_at(plan, plan.purchases[index], shares, running) for running in at_times)


def _packed_at(plan: Plan, line: PurchaseLine, shares: Shares, running: frozenset[str]) -> int:
    pieces: list[list[tuple[int, int]]] = []
    whole, cut = 0, 0.0
    for workload in (w for w in plan.workloads if w.name in running):
        for placed in workload.placements:
            if placed.offer != line.offer:
                continue
            number = replicas_needed(workload, placed.replicas, shares)
            if placed.nodes_per_replica > 1:
                whole += number * placed.nodes_per_replica
            elif placed.slices is not None and placed.slices_of_gpu is not None:
                cut += number * max(part / of for part, of in zip(placed.slices, placed.slices_of_gpu, strict=True))
            else:
                pieces.append([(placed.gpus_per_replica, number)])
    if cut:
        pieces.append([(1, math.ceil(cut - SLACK))])
    if shares_nodes(plan):
        pieces = [[p for group in pieces for p in group]]
    return whole + sum(first_fit(group, gpus_per_node(line)) for group in pieces)


def shares_nodes(plan: Plan) -> bool:
    """Several workloads may sit on one node."""
    fleet = plan.inputs.spec.get("fleet")
    return bool(fleet.get("share_gpus", True)) if isinstance(fleet, Mapping) else True


def first_fit(pieces: Sequence[tuple[int, int]], size: int) -> int:
    """Nodes of `size` GPUs that hold pieces of (GPUs, number): the largest first, each where it leaves least.

    >>> first_fit([(4, 3), (2, 1), (1, 2)], 8)
    2
    """
    free: Counter[int] = Counter()
    nodes = 0
    for gpus, number in sorted(pieces, reverse=True):
        left = number
        for room in sorted(r for r in free if r >= gpus):
            taken = min(free[room], ceil_div(left, room // gpus))
            if not taken:
                continue
            free[room] -= taken
            left = _put(free, room, gpus, left, taken)
        if left:
            fresh = ceil_div(left, max(1, size // gpus))
            nodes += fresh
            _put(free, size, gpus, left, fresh)
    return nodes


def _put(free: Counter[int], room: int, gpus: int, number: int, nodes: int) -> int:
    """Put pieces on `nodes` nodes with `room` free GPUs each; returns how many are left over."""
    per_node = max(1, room // gpus)
    full, rest = divmod(min(number, nodes * per_node), per_node)
    free[max(0, room - per_node * gpus)] += full
    if rest:
        free[room - rest * gpus] += 1
    return number - full * per_node - rest


@dataclass(frozen=True, slots=True, kw_only=True)
class NextOrder:
    """What must be ordered first when the traffic of all services grows alike."""

    demand_factor: float
    """Times today's demand that the fleet carries without it."""
    workload: str
    offer: str


def next_order(plan: Plan) -> NextOrder | None:
    """The first node more; None where no service has a demand, none is needed up to `FASTEST_GROWTH`, or the plan has
    periods, which say what is ordered when."""
    if plan.periods:
        return None
    steps = sorted(_steps(plan))
    first = bisect_left(steps, True, key=lambda step: bool(grown_lines(plan, step[0])))
    if first == len(steps):
        return None
    factor, name = steps[first]
    return NextOrder(demand_factor=factor, workload=name, offer=offer_of_more(grown_lines(plan, factor)[0]))


def grown_lines(plan: Plan, factor: float) -> tuple[PurchaseLine, ...]:
    """Lines of the bill that need more nodes just beyond `factor` times today's demand."""
    beyond = Shares(demand_factor=factor * (1.0 + JUST_BEYOND), speed_factors={})
    then = nodes_by_line(plan, beyond)
    return tuple(line for line, n in zip(plan.purchases, then, strict=True) if n > line.nodes)


def _steps(plan: Plan) -> Iterator[tuple[float, str]]:
    """Growth at which some workload needs one replica more."""
    for workload in plan.workloads:
        held = capacity(workload)
        for placed in workload.placements if held is not None else ():
            assert held is not None
            step = 0
            while (factor := held * (placed.replicas + step) / placed.replicas) <= FASTEST_GROWTH and step < 64:
                yield factor, workload.name
                step += 1


def months_until(factor: float, growth_per_month: float) -> int:
    """Full months in which demand grows by a share each month and stays within `factor` times today's.

    >>> months_until(1.21, 0.10), months_until(1.2, 0.10)
    (2, 1)
    """
    return math.floor(math.log(factor) / math.log1p(growth_per_month) + SLACK)


def energy_usd_per_hour(plan: Plan) -> float:
    """Electricity that is ours to pay, of the whole fleet."""
    known = sum(line.energy_usd_per_hour for line in plan.purchases)
    if known or plan.totals is None:
        return known
    return (plan.totals.energy_usd_per_month or 0.0) / HOURS_PER_MONTH
