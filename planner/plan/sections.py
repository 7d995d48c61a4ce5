"""The section of one workload: its estimate as placed, targets beside figures, other ways, what was rejected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from planner.candidates.train import tokens_asked
from planner.candidates.types import Candidate
from planner.estimate.assemble import Money, Seat, infer_estimate, train_estimate
from planner.estimate.document import WorkloadEstimate
from planner.estimate.hardware import hardware
from planner.estimate.memory import infer_memory, train_memory
from planner.estimate.rows import InferRow, TrainRow
from planner.estimate.speed import infer_speed, train_speed
from planner.estimate.types import InferJob, InferWays, TrainWays
from planner.plan.mix import together
from planner.plan.others import NO_MONEY, alternatives
from planner.plan.pick import Pick, chosen_usd_per_hour, format_of, host_of, seat_of
from planner.plan.running import Part
from planner.plan.types import Alternative, DemandMet, Placement, Rejected, WorkloadPlan
from planner.spec.types import InferWorkload, TrainWorkload, Workload
from planner.units import GRAMS_PER_KG, HOURS_PER_MONTH, MILLI, SECONDS_PER_HOUR, usd

if TYPE_CHECKING:
    from planner.catalog.load import Catalog
    from planner.solve.alternatives import Forced


def workload_plan(
    pick: Pick,
    catalog: Catalog,
    *,
    months: int,
    utilisation_cap: float,
    fleet_text: str,
    again: Mapping[tuple[str, str, str], Forced],
) -> WorkloadPlan:
    """The whole section. `fleet_text` says in what sense the fleet is the best one, `again` what fleets cost in which
    a workload's GPU and number format are forced."""
    estimates = estimates_of(pick, catalog, months=months)
    estimate = together(estimates)
    met = demand_of(pick, estimates, utilisation_cap)
    others = alternatives(pick, seat_of(pick, pick.parts[0], catalog), again)
    return WorkloadPlan(
        **{name: getattr(estimate, name) for name in WorkloadEstimate.model_fields},
        placements=placements(pick, estimates),
        demand_met=met,
        alternatives=others,
        rejected=tuple(Rejected(gpu=d.gpu, reason=d.reason) for d in pick.found.dropped),
        why=why(pick, estimates, met, others, fleet_text),
        headroom=headroom(pick, estimate, met),
        share_of_demand_per_replica=pick.candidate.rate if len(pick.parts) == 1 else None,
        period=pick.period,
        hours=pick.workload.hours,
    )


def placements(pick: Pick, estimates: Sequence[WorkloadEstimate]) -> tuple[Placement, ...]:
    """Where the parts sit, in their order."""
    return tuple(
        Placement(
            offer=part.source.offer,
            procurement=part.source.procurement,
            node=part.source.node,
            gpu=part.source.gpu,
            gpu_name=estimate.gpu_name,
            replicas=part.candidate.replicas,
            gpus_per_replica=part.candidate.gpus_per_replica,
            nodes_per_replica=part.candidate.nodes_per_replica,
            config=estimate.config,
            share_of_demand=part.share,
            slices=None if part.candidate.part is None else part.candidate.part.slices,
            slices_of_gpu=None if part.candidate.part is None else part.candidate.part.whole_slices,
            figures=figures(estimate) | arrival_figures(estimate, pick.workload),
        )
        for part, estimate in zip(pick.parts, estimates, strict=True)
    )


def figures(estimate: WorkloadEstimate) -> dict[str, float]:
    """What one replica does and needs."""
    p, m, n = estimate.performance, estimate.memory, estimate.replicas
    rates = {
        "output_tokens_per_second": p.output_tokens_per_second,
        "tokens_per_second": p.tokens_per_second,
        "requests_per_second": p.requests_per_second,
    }
    found = {name: None if value is None else value / n for name, value in rates.items()}
    found |= {"ttft_s": p.ttft_s, "tpot_s": p.tpot_s}
    found |= {"device_peak_bytes": float(m.device_peak_bytes), "usable_bytes": float(m.usable_bytes)}
    found |= {"host_bytes": float(m.host_bytes)}
    return {name: value for name, value in found.items() if value is not None}


def arrival_figures(estimate: WorkloadEstimate, workload: Workload) -> dict[str, float]:
    """What one replica carries within the latency targets, and what its requests see that come at random."""
    queue = estimate.performance.open_loop
    if queue is None or not isinstance(workload, InferWorkload) or queue.sustained_requests_per_second is None:
        return {}
    percentile = workload.targets.latency_percentile
    found = {"sustained_requests_per_second": queue.sustained_requests_per_second / estimate.replicas}
    found |= {} if queue.ttft_s is None else {"arrivals_ttft_s": queue.ttft_s.at(percentile)}
    found |= {} if queue.tpot_s is None else {"arrivals_tpot_s": queue.tpot_s.at(percentile)}
    return found


def estimates_of(pick: Pick, catalog: Catalog, *, months: int) -> tuple[WorkloadEstimate, ...]:
    """The estimate of every part on its nodes, in their order."""
    return tuple(estimate_of(pick, part, seat_of(pick, part, catalog), catalog, months=months) for part in pick.parts)


def estimate_of(pick: Pick, part: Part, seat: Seat, catalog: Catalog, *, months: int) -> WorkloadEstimate:
    """The estimate of one part on the chosen nodes."""
    c, s = part.candidate, part.source
    share = c.whole_gpus / s.host.num_gpus
    day_share = pick.workload.day_share
    monthly = None if s.kg_co2_per_hour is None else s.kg_co2_per_hour * share * day_share * HOURS_PER_MONTH
    money = Money(
        usd_per_hour=pick.usd_per_hour(part),
        basis=f"{s.offer}, {s.procurement.replace('_', ' ')}, by GPU; {s.price.source}, {s.price.as_of}",
        horizon_hours=float(months * HOURS_PER_MONTH),
        day_share=day_share,
        power_kw=s.power_kw * share,
        kg_co2_per_month=monthly,
        node_power_kw=s.power_kw,
        grams_per_kwh=None
        if s.kg_co2_per_hour is None or not s.power_kw
        else s.kg_co2_per_hour / s.power_kw * GRAMS_PER_KG,
        energy_region=s.place,
    )
    hw = hardware(c.job, (host_of(part),), catalog)
    if isinstance(c.job, InferJob):
        assert isinstance(c.ways, InferWays)
        memory = infer_memory(c.job, c.ways, hw)
        speed = infer_speed(c.job, c.ways, hw, kv_slots=memory.max_batch)
        fits = InferRow(job=c.job, ways=c.ways, hw=hw, memory=memory).fits
        return with_sustained(infer_estimate(seat, c.job, c.ways, hw, memory, speed, money, fits=fits), pick, part)
    assert isinstance(c.ways, TrainWays)
    memory = train_memory(c.job, c.ways, hw)
    fits = TrainRow(job=c.job, ways=c.ways, hw=hw, memory=memory, headroom=pick.found.headroom).fits
    return train_estimate(seat, c.job, c.ways, hw, memory, train_speed(c.job, c.ways, hw), money, fits=fits)


def with_sustained(estimate: WorkloadEstimate, pick: Pick, part: Part) -> WorkloadEstimate:
    """The estimate with the rate that its replicas carry within the latency targets, as the search found it."""
    performance, rate = estimate.performance, part.candidate.rate
    assert isinstance(pick.workload, InferWorkload)
    asked = pick.workload.targets
    if performance.open_loop is None or rate is None or asked.requests_per_second is None:
        return estimate
    if asked.ttft_ms is None and asked.tpot_ms is None:
        return estimate
    whole = asked.requests_per_second * rate * estimate.replicas
    queue = performance.open_loop.model_copy(update={"sustained_requests_per_second": whole})
    return estimate.model_copy(update={"performance": performance.model_copy(update={"open_loop": queue})})


def demand_of(pick: Pick, estimates: Sequence[WorkloadEstimate], cap: float) -> tuple[DemandMet, ...]:
    """Each target beside what the plan gives. Requests may use `cap` of the closed-loop throughput."""
    estimate = together(estimates)
    if not isinstance(pick.workload, InferWorkload):
        return tuple(train_demand(pick.workload, estimate))
    in_flight = sum(sequences(e) * e.replicas for e in estimates)
    return tuple(infer_demand(pick.workload, estimate, in_flight, cap))


def sequences(estimate: WorkloadEstimate) -> float:
    """In flight in one replica."""
    batch = estimate.config.get("batch")
    return float(batch) if isinstance(batch, int | float) else 1.0


def infer_demand(
    workload: InferWorkload, estimate: WorkloadEstimate, in_flight: float, cap: float
) -> Iterator[DemandMet]:
    asked, p = workload.targets, estimate.performance
    queue = p.open_loop
    carried = (p.requests_per_second or 0.0) * cap
    if queue is not None and queue.sustained_requests_per_second is not None:
        carried = queue.sustained_requests_per_second
    floors = (
        ("requests_per_second", asked.requests_per_second, carried),
        ("output_tokens_per_second", asked.output_tokens_per_second, p.output_tokens_per_second or 0.0),
        ("concurrency", asked.concurrency, in_flight),
    )
    for target, wanted, got in floors:
        if wanted is not None:
            yield DemandMet(target=target, asked=float(wanted), got=got, met=reaches(got, float(wanted)))
    ttft_s, tpot_s = p.ttft_s, p.tpot_s
    if queue is not None:
        ttft_s = None if queue.ttft_s is None else queue.ttft_s.at(asked.latency_percentile)
        tpot_s = None if queue.tpot_s is None else queue.tpot_s.at(asked.latency_percentile)
    for target, wanted, seconds in (("ttft_ms", asked.ttft_ms, ttft_s), ("tpot_ms", asked.tpot_ms, tpot_s)):
        if wanted is not None and seconds is not None:
            got = seconds / MILLI
            met = reaches(wanted, got)
            percentile = asked.latency_percentile
            yield DemandMet(target=target, asked=wanted, got=got, met=met, latency_percentile=percentile)


def train_demand(workload: TrainWorkload, estimate: WorkloadEstimate) -> Iterator[DemandMet]:
    asked, rate = workload.targets, estimate.performance.tokens_per_second or 0.0
    if asked.tokens_per_second is not None:
        wanted = asked.tokens_per_second
        yield DemandMet(target="tokens_per_second", asked=wanted, got=rate, met=reaches(rate, wanted))
    tokens = tokens_asked(workload)
    if tokens is not None and asked.deadline_hours is not None and rate:
        hours = tokens / rate / SECONDS_PER_HOUR / workload.day_share
        met = reaches(asked.deadline_hours, hours)
        yield DemandMet(target="deadline_hours", asked=asked.deadline_hours, got=hours, met=met)


def reaches(got: float, wanted: float) -> bool:
    """At least as much, but for the last digits of floating point."""
    return got >= wanted * (1.0 - 1e-9)


def headroom(pick: Pick, estimate: WorkloadEstimate, met: Sequence[DemandMet]) -> Mapping[str, float]:
    """Share left before each limit."""
    memory = estimate.memory
    room = memory.usable_bytes * (1.0 - pick.found.headroom)
    left = {"memory": 1.0 - memory.needed_bytes / room}
    names = {"ttft_ms": "ttft", "tpot_ms": "tpot", "deadline_hours": "deadline"}
    for d in met:
        if d.target in names:
            left[names[d.target]] = 1.0 - d.got / d.asked
        else:
            spare = 1.0 - d.asked / d.got
            left["demand"] = min(left.get("demand", spare), spare)
    return left


def why(
    pick: Pick,
    estimates: Sequence[WorkloadEstimate],
    met: Sequence[DemandMet],
    others: Sequence[Alternative],
    fleet_text: str,
) -> str:
    """One sentence: what was chosen, that it meets the targets, and what the next best would cost."""
    one = len(pick.parts) == 1
    reached = "its target" if len(met) == 1 else f"all {len(met)} targets"
    does = (f" meets {reached}" if one else f" together meet {reached}") if met else " fits" if one else " fit"
    share = usd(chosen_usd_per_hour(pick))
    offers = ", ".join(dict.fromkeys(part.source.offer for part in pick.parts))
    what = " and ".join(part_text(p.candidate, e.gpu_name) for p, e in zip(pick.parts, estimates, strict=True))
    dearer = [o for o in others if o.usd_per_hour_more is not None and o.usd_per_hour_more >= 0]
    runner_up = ""
    if dearer:
        more = usd(dearer[0].usd_per_hour_more or 0.0)
        price = "at the same list price" if more == NO_MONEY else f"{more} per hour more"
        runner_up = f"; next by list price: {dearer[0].gpu}, {price}"
    return f"{what}{does} for {share} per hour (its share of {offers}) as part of {fleet_text}{runner_up}."


def part_text(candidate: Candidate, gpu_name: str) -> str:
    """One part in words."""
    number = f"{candidate.replicas} x " if candidate.replicas > 1 else ""
    each = candidate.gpus_per_replica
    gpus = f"{each} GPUs" if each > 1 else "one GPU"
    return f"{number}{gpus} of {gpu_name} in {format_of(candidate)}"
