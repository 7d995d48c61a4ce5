"""The bill of materials: what to get, what sits on it, what it all adds up to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from planner.candidates.types import Candidate, Source
from planner.plan.fleet import FleetProblem
from planner.plan.nodes import Filling, dealt, fillings_by_source
from planner.plan.running import Key, Part, indices
from planner.plan.types import CutGpu, Held, NodeLoad, PurchaseLine, Totals, WayToPay
from planner.solve.solution import Solution
from planner.units import HOURS_PER_MONTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Equal nodes got together the same way for the same time: one line of the bill."""

    source: Source
    nodes: int
    usd_per_hour: float
    """Of one node while it is there, its purchase spread over that time."""
    first_period: int = 0
    last_period: int = 0
    """Periods in which they are there."""
    order_month: int | None = None

    def serves(self, period: int) -> bool:
        """The nodes are there."""
        return self.first_period <= period <= self.last_period


def batches(fleet: FleetProblem, solution: Solution) -> tuple[Batch, ...]:
    """Node types of the answer with their counts, by name; the order of `purchases`."""
    return tuple(
        Batch(source=fleet.sources[name], nodes=counts[0], usd_per_hour=fleet.sources[name].price.usd_per_hour)
        for name, counts in sorted(solution.nodes.items())
        if counts[0] and name in fleet.sources
    )


def line(batch: Batch, every: Sequence[Source] = ()) -> PurchaseLine:
    """One line of the bill; `every` is where other ways to pay are looked for."""
    source, count = batch.source, batch.nodes
    price = source.price
    own = source.procurement in ("buy", "owned")
    return PurchaseLine(
        offer=source.offer,
        provider=source.provider,
        procurement=source.procurement,
        node=source.node,
        gpu=source.gpu,
        nodes=count,
        gpus=count * source.host.num_gpus,
        usd_per_hour=count * batch.usd_per_hour,
        capex_usd=count * price.capex_usd if source.procurement == "buy" else None,
        usd_low=price.low,
        usd_high=price.high,
        period=batch.first_period,
        last_period=batch.last_period,
        order_month=batch.order_month,
        power_kw=count * source.power_kw,
        rack_units=count * source.rack_units if own and source.rack_units is not None else None,
        price_source=price.source,
        price_as_of=price.as_of,
        price_confidence=price.confidence,
        energy_usd_per_hour=count * price.energy_usd_per_hour,
        pue=source.pue,
        kg_co2_per_month=None if source.kg_co2_per_hour is None else count * source.kg_co2_per_hour * HOURS_PER_MONTH,
        network_bytes_per_second_per_gpu=source.host.network_bytes_per_second_per_gpu,
        ways_to_pay=tuple(ways_to_pay(source, count, every)),
    )


def ways_to_pay(source: Source, count: int, every: Sequence[Source]) -> Iterator[WayToPay]:
    """The cheapest source of each kind of procurement for as many nodes with as many of the same GPU; by kind."""
    cheapest: dict[str, Source] = {}
    for other in (source, *every):
        if other.procurement == "owned" or (other.gpu, other.host.num_gpus) != (source.gpu, source.host.num_gpus):
            continue
        best = cheapest.get(other.procurement)
        # The chosen source comes first and stays: the plan may have reasons beside the price.
        if best is None or (best is not source and other.price.usd_per_hour < best.price.usd_per_hour):
            cheapest[other.procurement] = other
    for found in (s for _, s in sorted(cheapest.items())):
        assert found.procurement != "owned"
        yield WayToPay(
            procurement=found.procurement,
            offer=found.offer,
            provider=found.provider,
            usd_per_hour=count * found.price.usd_per_hour,
            capex_usd=count * found.price.capex_usd,
            energy_usd_per_hour=count * found.price.energy_usd_per_hour,
            price_as_of=found.price.as_of,
            price_confidence=found.price.confidence,
        )


def node_loads(
    fleet: FleetProblem,
    solution: Solution,
    bill: Sequence[Batch],
    parts: Mapping[str, tuple[Part, ...]],
    period: int = 0,
) -> tuple[NodeLoad, ...]:
    """Which replicas sit on which nodes in one period, at every time of day; nodes that stand by are listed empty."""
    named = indices(parts)
    placed = {part.key: part.candidate for found in parts.values() for part in found}
    loads = []
    for time in range(len(fleet.day)):
        full = fillings_by_source(fleet, solution, placed, period, time)
        for index, batch in enumerate(bill):
            if batch.serves(period):
                for filling in dealt(full.get(batch.source.id, []), batch.nodes):
                    loads.append(load(batch.source, index, (period, time), filling, named, placed))
    return tuple(loads)


def load(
    source: Source,
    index: int,
    when: tuple[int, int],
    filling: Filling,
    named: Mapping[Key, tuple[str, int]],
    placed: Mapping[Key, Candidate],
) -> NodeLoad:
    """Equal nodes that each hold the replicas (or their parts) of a filling; `when` is period and time of day."""
    on_parts = [(key, number * gpus) for gpus, held in filling.cut for key, number in held]
    replicas: dict[str, int] = {}
    for key, number in sorted([*filling.held, *on_parts], key=lambda e: named[e[0]]):
        replicas[named[key][0]] = replicas.get(named[key][0], 0) + number
    taken = [(placed[key], number) for key, number in filling.held]
    beside = [(placed[key], number) for key, number in on_parts]
    return NodeLoad(
        purchase=index,
        period=when[0],
        time_index=when[1],
        nodes=filling.nodes,
        replicas=replicas,
        held=held_by(filling.held, named),
        cut=tuple(CutGpu(gpus=gpus, held=held_by(held, named)) for gpus, held in filling.cut),
        gpus_used=sum(c.gpus_per_replica // c.nodes_per_replica * n for c, n in taken)
        + sum(gpus for gpus, _ in filling.cut),
        gpus=source.host.num_gpus,
        ram_bytes_used=sum(c.host_bytes_per_node * n for c, n in (*taken, *beside)),
        ram_bytes=source.host.ram_bytes,
    )


def held_by(held: Sequence[tuple[Key, int]], named: Mapping[Key, tuple[str, int]]) -> tuple[Held, ...]:
    """As the document tells it, by workload and placement."""
    ordered = sorted(held, key=lambda e: named[e[0]])
    return tuple(Held(workload=named[key][0], placement=named[key][1], replicas=number) for key, number in ordered)


def totals(bill: Sequence[Batch], *, months: int) -> Totals:
    """Sums over the nodes of one time. Energy in USD is that of nodes of our own; rents include theirs."""
    counted = [(b.source, b.nodes) for b in bill]
    lines = [line(b) for b in bill]
    usd_per_hour = sum(row.usd_per_hour or 0.0 for row in lines)
    space = [row.rack_units for row in lines if row.procurement in ("buy", "owned")]
    carbon = [s.kg_co2_per_hour for s, _ in counted]
    per_hour = sum((s.kg_co2_per_hour or 0.0) * n for s, n in counted)
    return Totals(
        usd_per_hour=usd_per_hour,
        usd_per_month=usd_per_hour * HOURS_PER_MONTH,
        usd_horizon=usd_per_hour * HOURS_PER_MONTH * months,
        capex_usd=sum(row.capex_usd or 0.0 for row in lines),
        gpus=sum(row.gpus for row in lines),
        nodes=sum(row.nodes for row in lines),
        power_kw=sum(s.power_kw * s.pue * n for s, n in counted),
        it_power_kw=sum(row.power_kw for row in lines),
        rack_units=None if any(s is None for s in space) else sum(s for s in space if s is not None),
        kg_co2_per_month=None if any(c is None for c in carbon) else per_hour * HOURS_PER_MONTH,
        energy_usd_per_month=sum(s.price.energy_usd_per_hour * n for s, n in counted) * HOURS_PER_MONTH,
    )
