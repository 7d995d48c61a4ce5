"""The fleet over time: what is there in each period, what runs on it, what is ordered when and what it all costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from planner.candidates.periods import Stretch, factors, has_rate, largest_period, scaled
from planner.candidates.types import Candidate, WorkloadCandidates
from planner.estimate.document import DerivationStep
from planner.plan.bill import Batch, node_loads, totals
from planner.plan.fleet import FleetProblem
from planner.plan.pick import Pick, chosen_usd_per_hour
from planner.plan.running import Part, parts_of
from planner.plan.sections import demand_of, estimates_of, placements
from planner.plan.types import DemandMet, NodeLoad, PeriodPlan, PeriodWorkload, Totals, WorkloadPlan
from planner.solve.solution import Payment, Solution
from planner.spec.types import Spec
from planner.units import HOURS_PER_MONTH, ceil_div

if TYPE_CHECKING:
    from planner.catalog.load import Catalog

TIMES = ("ttft_ms", "tpot_ms")
"""Targets that no number of replicas changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OverTime:
    """Everything that a plan over periods says of its fleet."""

    bill: tuple[Batch, ...]
    periods: tuple[PeriodPlan, ...]
    totals: Totals
    nodes: tuple[NodeLoad, ...]
    """Those of the period with most nodes."""
    picks: tuple[Pick, ...]
    """Every workload where it is largest, in the spec's order."""
    parts: tuple[Part, ...]
    """Everything that runs in any period."""
    usd_by_workload: Mapping[str, float]
    """Share of each workload in the cost of all periods."""


def over_time(
    spec: Spec,
    fleet: FleetProblem,
    solution: Solution,
    found: Sequence[WorkloadCandidates],
    catalog: Catalog,
    *,
    utilisation_cap: float,
) -> OverTime:
    """The answer of the optimiser, period by period."""
    bill = tuple(period_batches(fleet, solution, lead_months=spec.fleet.lead_months))
    picks = {s.index: tuple(period_picks(spec, fleet, solution, found, bill, s)) for s in fleet.calendar}
    periods = tuple(
        period_plan(spec, fleet, solution, bill, picks[s.index], s, catalog, utilisation_cap) for s in fleet.calendar
    )
    largest = [
        next(p for p in picks[largest_period(spec, w.name)] if p.workload.name == w.name) for w in spec.workloads
    ]
    usd = {w.name: 0.0 for w in spec.workloads}
    for s in fleet.calendar:
        for pick in picks[s.index]:
            usd[pick.workload.name] += chosen_usd_per_hour(pick) * s.hours
    return OverTime(
        bill=bill,
        periods=periods,
        totals=totals_over(periods, bill),
        nodes=max(periods, key=lambda p: p.nodes).loads,
        picks=tuple(largest),
        parts=tuple(part for found in picks.values() for pick in found for part in pick.parts),
        usd_by_workload=usd,
    )


def period_batches(fleet: FleetProblem, solution: Solution, *, lead_months: int) -> list[Batch]:
    """The bill: what starts first comes first, then by name."""
    found: list[tuple[str, Batch]] = []
    for name in sorted(solution.nodes):
        if name not in fleet.sources:
            continue
        paid = [e for e in solution.payments if e.node == name]
        made = [b for e in paid if e.kind == "buy" for b in bought(fleet, e, lead_months)]
        made += [reserved(fleet, e) for e in paid if e.kind == "reserve"]
        made += rented(fleet, name, solution.nodes[name]) if not made else []
        found += [(name, b) for b in made]
    return [b for _, b in sorted(found, key=lambda e: (e[1].first_period, e[0], -e[1].last_period))]


def bought(fleet: FleetProblem, e: Payment, lead_months: int) -> Iterator[Batch]:
    """Nodes of one order; their price is spread over the time from delivery to the horizon's end."""
    source = fleet.sources[e.node]
    first = e.period if e.first is None else e.first
    start = fleet.calendar[first].first_month
    hours = (fleet.horizon_months - start) * HOURS_PER_MONTH
    yield Batch(
        source=source,
        nodes=e.nodes,
        usd_per_hour=source.price.capex_usd / hours + source.price.running_usd_per_hour,
        first_period=first,
        last_period=len(fleet.calendar) - 1,
        order_month=start - lead_months,
    )


def reserved(fleet: FleetProblem, e: Payment) -> Batch:
    """Nodes of one contract; whole terms are paid, spread over the time that they serve."""
    source = fleet.sources[e.node]
    assert e.first is not None
    assert e.last is not None
    reserve = fleet.problem.node_types[e.node].reserve
    assert reserve is not None
    months = sum(s.months for s in fleet.calendar[e.first : e.last + 1])
    paid = ceil_div(months, reserve.term) * reserve.term
    return Batch(
        source=source,
        nodes=e.nodes,
        usd_per_hour=source.price.running_usd_per_hour * paid / months,
        first_period=e.first,
        last_period=e.last,
        order_month=fleet.calendar[e.first].first_month,
    )


def rented(fleet: FleetProblem, name: str, counts: Sequence[int]) -> list[Batch]:
    """Nodes rented from period to period, or our own: those that came last go first."""
    source = fleet.sources[name]
    own = source.procurement == "owned"
    return [
        Batch(
            source=source,
            nodes=nodes,
            usd_per_hour=source.price.running_usd_per_hour,
            first_period=first,
            last_period=last,
            order_month=None if own else fleet.calendar[first].first_month,
        )
        for first, last, nodes in stretches_of(counts)
    ]


def stretches_of(counts: Sequence[int]) -> list[tuple[int, int, int]]:
    """Counts by period as (first, last, number), last in first out.

    >>> stretches_of([1, 3, 2])
    [(0, 2, 1), (1, 1, 1), (1, 2, 1)]
    """
    open_since: list[int] = []
    found: dict[tuple[int, int], int] = {}
    for period, count in enumerate([*counts, 0]):
        open_since += [period] * (count - len(open_since))
        while len(open_since) > count:
            key = (open_since.pop(), period - 1)
            found[key] = found.get(key, 0) + 1
    return [(first, last, number) for (first, last), number in sorted(found.items())]


def period_picks(
    spec: Spec,
    fleet: FleetProblem,
    solution: Solution,
    found: Sequence[WorkloadCandidates],
    bill: Sequence[Batch],
    stretch: Stretch,
) -> Iterator[Pick]:
    """What runs in one period."""
    entries = {entry.workload: entry for entry in found}
    prices = mean_prices(bill, stretch.index)
    for workload in spec.workloads:
        parts = parts_of(fleet, solution, workload.name, stretch.index)
        if parts:
            factor = factors(spec, workload.name)[stretch.index]
            unit = factor if has_rate(workload) else 1.0
            entry = entries[workload.name]
            yield Pick(
                workload=scaled(workload, factor),
                parts=tuple(replace(part, candidate=beside(part.candidate, unit)) for part in parts),
                found=replace(entry, candidates=tuple(beside(c, unit) for c in entry.candidates)),
                node_usd_per_hour=prices,
                period=stretch.index,
            )


def beside(candidate: Candidate, factor: float) -> Candidate:
    """A candidate whose rate is a share of the demand multiplied by `factor`."""
    return candidate if candidate.rate is None else replace(candidate, rate=candidate.rate / factor)


def mean_prices(bill: Sequence[Batch], period: int) -> dict[str, float]:
    """What one node of a source costs an hour, in the mean over those that are there."""
    here = [b for b in bill if b.serves(period)]
    usd: dict[str, float] = {}
    nodes: dict[str, int] = {}
    for b in here:
        usd[b.source.id] = usd.get(b.source.id, 0.0) + b.nodes * b.usd_per_hour
        nodes[b.source.id] = nodes.get(b.source.id, 0) + b.nodes
    return {name: usd[name] / nodes[name] for name in usd}


def period_plan(
    spec: Spec,
    fleet: FleetProblem,
    solution: Solution,
    bill: Sequence[Batch],
    picks: Sequence[Pick],
    stretch: Stretch,
    catalog: Catalog,
    cap: float,
) -> PeriodPlan:
    """The fleet in one period."""
    here = [b for b in bill if b.serves(stretch.index)]
    sums = totals(here, months=stretch.months)
    demand = {w.name: factors(spec, w.name)[stretch.index] for w in spec.workloads}
    by_name = {p.workload.name: p for p in picks}
    parts = {p.workload.name: p.parts for p in picks}
    capex = sum(b.nodes * b.source.price.capex_usd for b in bill if is_ordered(b, stretch))
    spread = sum(b.nodes * (b.usd_per_hour - b.source.price.running_usd_per_hour) for b in here if is_bought(b))
    usd_per_hour = sums.usd_per_hour or 0.0
    return PeriodPlan(
        index=stretch.index,
        months=stretch.months,
        first_month=stretch.first_month,
        demand=demand,
        workloads=tuple(
            period_workload(w.name, demand[w.name], by_name.get(w.name), catalog, stretch, cap) for w in spec.workloads
        ),
        purchases=tuple(n for n, b in enumerate(bill) if b.serves(stretch.index)),
        loads=node_loads(fleet, solution, bill, parts, stretch.index),
        usd_per_hour=usd_per_hour,
        usd_total=usd_per_hour * stretch.hours,
        cash_usd=(usd_per_hour - spread) * stretch.hours + capex,
        capex_usd=capex,
        gpus=sums.gpus,
        nodes=sums.nodes,
        power_kw=sums.power_kw,
        it_power_kw=sums.it_power_kw,
        rack_units=sums.rack_units,
        kg_co2_per_month=sums.kg_co2_per_month,
    )


def is_bought(batch: Batch) -> bool:
    """Paid once."""
    return batch.source.procurement == "buy"


def is_ordered(batch: Batch, stretch: Stretch) -> bool:
    """Bought, and the order falls into the period."""
    if not is_bought(batch) or batch.order_month is None:
        return False
    return stretch.first_month <= batch.order_month < stretch.first_month + stretch.months


def period_workload(
    name: str, factor: float, pick: Pick | None, catalog: Catalog, stretch: Stretch, cap: float
) -> PeriodWorkload:
    """One workload in one period; `pick` is None where it does not run."""
    if pick is None:
        return PeriodWorkload(name=name, factor=factor, capacity=None, replicas=0, gpus=0, placements=(), demand_met=())
    estimates = estimates_of(pick, catalog, months=stretch.months)
    met = demand_of(pick, estimates, cap)
    return PeriodWorkload(
        name=name,
        factor=factor,
        capacity=capacity(met, factor),
        replicas=sum(part.candidate.replicas for part in pick.parts),
        gpus=sum(part.candidate.gpus for part in pick.parts),
        placements=placements(pick, estimates),
        demand_met=met,
    )


def capacity(met: Sequence[DemandMet], factor: float) -> float | None:
    """The factor on the spec's targets that what runs could serve; None where no rate is asked."""
    reached = [
        (d.asked / d.got if d.target == "deadline_hours" else d.got / d.asked) * factor
        for d in met
        if d.target not in TIMES and d.asked and d.got
    ]
    return min(reached, default=None)


def totals_over(periods: Sequence[PeriodPlan], bill: Sequence[Batch]) -> Totals:
    """Money over the whole horizon, counts and power of the fullest period."""
    months = sum(p.months for p in periods)
    usd_horizon = sum(p.usd_total for p in periods)
    energy = sum(
        b.nodes * b.source.price.energy_usd_per_hour * p.months for p in periods for b in bill if b.serves(p.index)
    )
    space = [p.rack_units for p in periods]
    carbon = [p.kg_co2_per_month for p in periods]
    return Totals(
        usd_per_hour=usd_horizon / (months * HOURS_PER_MONTH),
        usd_per_month=usd_horizon / months,
        usd_horizon=usd_horizon,
        capex_usd=sum(b.nodes * b.source.price.capex_usd for b in bill if is_bought(b)),
        gpus=max(p.gpus for p in periods),
        nodes=max(p.nodes for p in periods),
        power_kw=max(p.power_kw for p in periods),
        it_power_kw=max(p.it_power_kw for p in periods),
        rack_units=None if any(s is None for s in space) else max(s for s in space if s is not None),
        kg_co2_per_month=None if any(c is None for c in carbon) else max(c for c in carbon if c is not None),
        energy_usd_per_month=energy * HOURS_PER_MONTH / months,
    )


def in_all_periods(workload: WorkloadPlan, found: OverTime) -> WorkloadPlan:
    """The section of a workload with what it takes in each period, and its share of what they cost; a run keeps the
    cost of its largest."""
    usd = found.usd_by_workload[workload.name]
    derivation = [s for s in workload.derivation if s.figure != "cost.usd_total" or workload.mode == "train"]
    for period in found.periods:
        w = next(w for w in period.workloads if w.name == workload.name)
        derivation += [replicas_step(period, w)] if w.placements else []
    if workload.mode == "train":
        return workload.model_copy(update={"derivation": tuple(derivation)})
    total = DerivationStep(
        figure="cost.usd_total",
        formula="sum over the periods of its share of the nodes' cost an hour x hours of the period",
        numbers="; ".join(f"period {p.index + 1}: {p.months} months" for p in found.periods),
        result=f"{usd:,.2f} USD",
        source="the bill of materials",
    )
    cost = workload.cost.model_copy(update={"usd_total": usd})
    return workload.model_copy(update={"cost": cost, "derivation": (*derivation, total)})


def replicas_step(period: PeriodPlan, w: PeriodWorkload) -> DerivationStep:
    """How many replicas one period needs."""
    shares = " + ".join(f"{p.replicas} of {p.gpu} ({p.offer})" for p in w.placements)
    could = "" if w.capacity is None else f"; they could serve {w.capacity:.4g} times the targets of the spec"
    return DerivationStep(
        figure=f"replicas in period {period.index + 1}",
        formula="replicas whose rates add up to the demand, in the cheapest mix over all periods",
        numbers=f"demand x {w.factor:g}",
        result=f"{shares}{could}",
        source="proven by the optimiser together with all other workloads and periods",
    )
