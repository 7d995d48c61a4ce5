"""The bill of materials: what to get, what sits on it, what it all adds up to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from planner.candidates.types import Source
from planner.plan.fleet import Choice, FleetProblem
from planner.plan.types import NodeLoad, PurchaseLine, Totals, WayToPay
from planner.solve.solution import Solution
from planner.units import HOURS_PER_MONTH


def ordered_types(fleet: FleetProblem, solution: Solution) -> list[tuple[str, int]]:
    """Node types of the answer with their counts, by name; the order of `purchases`."""
    return [(name, counts[0]) for name, counts in sorted(solution.nodes.items()) if counts[0] and name in fleet.sources]


def purchases(fleet: FleetProblem, solution: Solution, every: Sequence[Source] = ()) -> tuple[PurchaseLine, ...]:
    """One line for each kind of node and way to get it; `every` is where other ways to pay are looked for."""
    return tuple(line(fleet.sources[name], count, every) for name, count in ordered_types(fleet, solution))


def line(source: Source, count: int, every: Sequence[Source] = ()) -> PurchaseLine:
    """`count` equal nodes."""
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
        usd_per_hour=count * price.usd_per_hour,
        capex_usd=count * price.capex_usd if source.procurement == "buy" else None,
        usd_low=price.low,
        usd_high=price.high,
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


def node_loads(fleet: FleetProblem, solution: Solution) -> tuple[NodeLoad, ...]:
    """Which replicas sit on which nodes; nodes that stand by are listed empty."""
    loads = []
    for index, (name, count) in enumerate(ordered_types(fleet, solution)):
        source = fleet.sources[name]
        busy = 0
        for packed in (p for p in solution.packing if p.node == name):
            busy += packed.nodes
            pieces = {(i.workload, i.column): i.replicas for i in packed.items}
            loads += spread(fleet, solution, source, index, packed.nodes, pieces)
        if busy < count:
            loads.append(load(source, index, count - busy, {}))
    return tuple(loads)


def spread(
    fleet: FleetProblem,
    solution: Solution,
    source: Source,
    index: int,
    count: int,
    pieces: Mapping[tuple[str, str], int],
) -> list[NodeLoad]:
    """Nodes of one filling. Where nodes are not shared, a piece is a node full of replicas, the last part-filled."""
    held = {key: (fleet.choices[key], number) for key, number in pieces.items()}
    if fleet.shared or any(choice.candidate.nodes_per_replica > 1 for choice, _ in held.values()):
        return [load(source, index, count, held)]
    ((key, (choice, _)),) = held.items()
    full, rest = divmod(choice.candidate.replicas, choice.per_node)
    rows = [load(source, index, full, {key: (choice, choice.per_node)})] if full else []
    return [*rows, *([load(source, index, 1, {key: (choice, rest)})] if rest else [])]


def load(source: Source, index: int, count: int, held: Mapping[tuple[str, str], tuple[Choice, int]]) -> NodeLoad:
    """`count` equal nodes that each hold the replicas (or their parts) of `held`."""
    candidates = [(choice.candidate, number) for choice, number in held.values()]
    return NodeLoad(
        purchase=index,
        nodes=count,
        replicas={workload: number for (workload, _), (_, number) in sorted(held.items())},
        gpus_used=sum(c.gpus_per_replica // c.nodes_per_replica * n for c, n in candidates),
        gpus=source.host.num_gpus,
        ram_bytes_used=sum(c.host_bytes_per_node * n for c, n in candidates),
        ram_bytes=source.host.ram_bytes,
    )


def totals(fleet: FleetProblem, solution: Solution, lines: Sequence[PurchaseLine], *, months: int) -> Totals:
    """Sums over the bill. Energy in USD is that of nodes of our own; rents include theirs."""
    counted = [(fleet.sources[name], count) for name, count in ordered_types(fleet, solution)]
    usd_per_hour = sum(row.usd_per_hour or 0.0 for row in lines)
    it_power_kw = sum(row.power_kw for row in lines)
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
        it_power_kw=it_power_kw,
        rack_units=None if any(s is None for s in space) else sum(s for s in space if s is not None),
        kg_co2_per_month=None if any(c is None for c in carbon) else per_hour * HOURS_PER_MONTH,
        energy_usd_per_month=sum(s.price.energy_usd_per_hour * n for s, n in counted) * HOURS_PER_MONTH,
    )
