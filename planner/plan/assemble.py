"""The plan document: spec, candidates and solution put together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from planner import __version__
from planner.architecture.hf.write import config_of
from planner.candidates.periods import factors, has_demand
from planner.candidates.planning import PlanningFacts
from planner.candidates.site import SiteFacts
from planner.candidates.types import Source, WorkloadCandidates
from planner.plan.bill import Batch, batches, line, node_loads, totals
from planner.plan.facts import assumptions_used, facts_used, rented_assumption, rented_stand_at, stands_nowhere_known
from planner.plan.fleet import FleetProblem
from planner.plan.infeasible import infeasible_report
from planner.plan.over_time import in_all_periods, over_time
from planner.plan.pick import Pick
from planner.plan.questions import Questions, insights
from planner.plan.replan import Near, move_warnings, moves_section
from planner.plan.running import Part, parts_of
from planner.plan.sections import workload_plan
from planner.plan.types import DayTime, Inputs, Plan, PurchaseLine, SolverFacts, Status, Totals, WorkloadPlan
from planner.solve.scale import PERIODS_ROUNDING, ROUNDING
from planner.solve.solution import Solution
from planner.spec.load import LoadedSpec
from planner.spec.types import Spec, Workload
from planner.units import GRAMS_PER_KG, HOURS_PER_MONTH, WATTS_PER_KW

if TYPE_CHECKING:
    from planner.catalog.load import Catalog
    from planner.solve.alternatives import Forced

SCALE_OF_OBJECTIVE = {"power": WATTS_PER_KW, "gpus": 1, "carbon": GRAMS_PER_KG}
"""Units of the problem in one unit of the plan; carbon then counts per month."""
TOTAL_OF_OBJECTIVE = {"cost": "usd_per_hour", "power": "it_power_kw", "gpus": "gpus", "carbon": "kg_co2_per_month"}
"""The key of the plan's totals that an objective makes small."""
ROUNDING_SHARE = 1e-6
"""Share of a value that whole micro-units of the problem may hide."""
SWITCHES_ARE_FREE = (
    "hours: stopping one workload and starting the next on the same GPUs counts as taking no time; leave some between"
)
CUT_GPUS = (
    "some replicas run on parts of GPUs (MIG): their speed is scaled from whole GPUs by an assumption, not measured, "
    "and turning MIG on or changing the parts stops what runs on the GPU"
)
MOVES_ARE_FREE = (
    "periods: setting a workload up anew between two periods counts as free, and bought nodes are kept to the end"
)
TRAINING_STAYS = "nodes of training runs are counted as kept over {}, as those of services are"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Everything a plan is made of."""

    loaded: LoadedSpec
    catalog: Catalog
    found: tuple[WorkloadCandidates, ...]
    lost: tuple[WorkloadCandidates, ...]
    """Workloads that nothing in the fleet can run."""
    every_source: tuple[Source, ...] = ()
    """Every way to get nodes, dearer ones included."""
    fleet: FleetProblem | None
    solution: Solution | None
    near: Near | None = None
    """Where an old plan was given: how `solution` was found near it."""
    asked: Questions
    """What else is to be answered."""
    swings: tuple[Mapping[str, Any], ...] = ()
    """What the best fleet costs at other traffic, where that was asked."""
    site: SiteFacts
    facts: PlanningFacts
    seed: int
    wall_s: float
    """Candidates and solver."""


def assemble(work: Work, *, created: str) -> Plan:
    """The document of the answer; an infeasible one holds the reason instead of a fleet."""
    if work.fleet is None or work.solution is None or work.solution.status == "infeasible":
        report = infeasible_report(work.loaded, work.fleet, work.solution, work.lost)
        inputs = inputs_of(work, ())
        return Plan(status="infeasible", infeasible=report, inputs=inputs, **common(work, created), **empty())
    return (
        over_periods(work, work.fleet, work.solution, created)
        if work.fleet.calendar
        else at_once(work, work.fleet, work.solution, created)
    )


def at_once(work: Work, fleet: FleetProblem, solution: Solution, created: str) -> Plan:
    """The document where demand stays the same."""
    spec = work.loaded.spec
    bill = batches(fleet, solution)
    picked = picks(work, fleet, solution, bill)
    lines = tuple(line(b, work.every_source) for b in bill)
    sums = totals(bill, months=spec.horizon.months)
    text = near_text(work.near, spec.objective[0]) if work.near else fleet_text(solution.status, spec.objective[0])
    more = insights(fleet, work.near.least if work.near else solution, picked, work.asked)
    facts = solver_facts(work, sums)
    near_status: Status = "feasible" if facts.gap is None or facts.gap > 0 else "optimal"
    parts = [part for p in picked for part in p.parts]
    return Plan(
        status=near_status if work.near else solution.status,
        totals=sums,
        purchases=lines,
        nodes=node_loads(fleet, solution, bill, {p.workload.name: p.parts for p in picked}),
        workloads=sections(work, picked, text, more.again),
        times_of_day=day_times(fleet),
        moves=moves_section(fleet, work.near, unit=unit_of(spec.objective[0], fleet)) if work.near else None,
        pareto=more.pareto,
        sensitivity=(*work.swings, *more.sensitivity),
        one_gpu_type=more.one_gpu_type,
        inputs=inputs_of(work, parts),
        warnings=(*plan_warnings(work, parts, lines), *more.warnings),
        **common(work, created, sums),
    )


def over_periods(work: Work, fleet: FleetProblem, solution: Solution, created: str) -> Plan:
    """The document where demand changes over time."""
    spec = work.loaded.spec
    cap = work.facts.value("utilisation-cap")
    found = over_time(spec, fleet, solution, work.found, work.catalog, utilisation_cap=cap)
    lines = tuple(line(b, work.every_source) for b in found.bill)
    text = f"{fleet_text(solution.status, spec.objective[0])} over all periods"
    more = insights(fleet, solution, found.picks, work.asked)
    return Plan(
        status=solution.status,
        totals=found.totals,
        purchases=lines,
        nodes=found.nodes,
        times_of_day=day_times(fleet),
        workloads=tuple(in_all_periods(w, found) for w in sections(work, found.picks, text, more.again)),
        periods=found.periods,
        inputs=inputs_of(work, found.parts),
        warnings=(*plan_warnings(work, found.parts, lines), *period_warnings(spec), *more.warnings),
        **common(work, created, found.totals),
    )


def day_times(fleet: FleetProblem) -> tuple[DayTime, ...]:
    """The times of day, where there are several."""
    if len(fleet.day) < 2:
        return ()
    return tuple(DayTime(hours=t.hours, workloads=tuple(sorted(t.workloads))) for t in fleet.day)


def sections(
    work: Work, picked: Sequence[Pick], text: str, again: Mapping[tuple[str, str, str], Forced]
) -> tuple[WorkloadPlan, ...]:
    """The section of every workload."""
    months, cap = work.loaded.spec.horizon.months, work.facts.value("utilisation-cap")
    return tuple(
        workload_plan(p, work.catalog, months=months, utilisation_cap=cap, fleet_text=text, again=again) for p in picked
    )


def common(work: Work, created: str, sums: Totals | None = None) -> dict[str, Any]:
    """What every plan has, feasible or not."""
    return {
        "name": work.loaded.spec.name,
        "created": created,
        "planner_version": __version__,
        "spec_sha256": work.loaded.text_sha256,
        "catalog_sha256": work.catalog.sha256(),
        "solver": solver_facts(work, sums),
    }


def empty() -> dict[str, Any]:
    """What an infeasible plan does not have."""
    return {"totals": None, "purchases": (), "nodes": (), "workloads": ()}


def picks(work: Work, fleet: FleetProblem, solution: Solution, bill: Sequence[Batch]) -> tuple[Pick, ...]:
    """The choice for every workload, in the spec's order."""
    found = {entry.workload: entry for entry in work.found}
    prices = {b.source.id: b.usd_per_hour for b in bill}
    return tuple(
        Pick(
            workload=workload,
            parts=parts_of(fleet, solution, workload.name),
            found=found[workload.name],
            node_usd_per_hour=prices,
        )
        for workload in work.loaded.spec.workloads
    )


def fleet_text(status: Status, objective: str) -> str:
    """In what sense the fleet is the best one.

    >>> fleet_text("optimal", "cost")
    'the cheapest fleet that exists for all workloads together'
    """
    best = {"cost": "cheapest", "power": "least power-hungry", "gpus": "smallest", "carbon": "least emitting"}
    if status == "optimal":
        return f"the {best[objective]} fleet that exists for all workloads together"
    return f"the {best[objective]} fleet found within the time limit"


def near_text(near: Near, objective: str) -> str:
    """The same for a fleet near an old plan."""
    what = {"cost": "cost", "power": "power", "gpus": "number of GPUs", "carbon": "emissions"}[objective]
    share = near.old.extra_share
    bound = f"are at most {share:.1%} above the least" if share else "are the least"
    bound = bound if objective == "carbon" else bound.replace("are", "is", 1)
    fewest = "the fewest" if near.solution.status == "optimal" else "few"
    return (
        f"a fleet with {fewest} moves away from {near.old.source} whose {what} {bound} found for all workloads together"
    )


def unit_of(objective: str, fleet: FleetProblem) -> float:
    """Units of the problem's objective in one unit of the plan's."""
    if objective == "cost":
        return fleet.cost_unit
    return SCALE_OF_OBJECTIVE[objective] / (HOURS_PER_MONTH if objective == "carbon" else 1)


def solver_facts(work: Work, sums: Totals | None) -> SolverFacts:
    """What was proven, and how. The value is the plan's own, unrounded; the bound never stands above it."""
    name = work.loaded.spec.objective[0]
    solution = work.solution
    value = bound = gap = None
    if work.fleet is not None and solution is not None and solution.status != "infeasible":
        value = getattr(sums, TOTAL_OF_OBJECTIVE[name])
        proven = work.near.least if work.near else solution
        bound = None if proven.bound is None else min(proven.bound / unit_of(name, work.fleet), value)
        gap = gap_of(value, bound) if work.near else solution.gap
    return SolverFacts(
        objective=value,
        objective_name=name,
        best_bound=bound,
        gap=gap,
        wall_s=work.wall_s,
        candidates=sum(entry.evaluated for entry in work.found),
        kept=len(work.fleet.choices) if work.fleet else sum(len(entry.candidates) for entry in work.found),
        seed=work.seed,
        rounding=PERIODS_ROUNDING if work.loaded.spec.periods else ROUNDING,
    )


def gap_of(value: float, bound: float | None) -> float | None:
    """How far a value may stand above the least, as a share of its own; differences below rounding count as none.

    >>> gap_of(10.0, 9.0), gap_of(10.0, 10.0), gap_of(10.0, None)
    (0.1, 0.0, None)
    """
    if bound is None:
        return None
    gap = (value - bound) / value if value else 0.0
    return gap if gap > ROUNDING_SHARE else 0.0


def inputs_of(work: Work, parts: Sequence[Part]) -> Inputs:
    """The spec with every default, and the facts and assumptions behind the answer."""
    spec = work.loaded.spec
    chosen = [(spec.workload(part.name), part.candidate, part.source) for part in parts]
    return Inputs(
        spec=spec.model_dump(mode="json", by_alias=True),
        spec_file=work.loaded.source,
        facts=facts_used(spec, chosen, work.catalog),
        assumptions=(*assumptions_used(chosen, work.facts), *rented_assumption(chosen, work.site)),
        models=model_configs([w for w, _, _ in chosen], work.catalog),
        engine_options={part.name: dict(part.candidate.job.engine.options) for part in reversed(parts)},
        logo=work.loaded.logo,
    )


def model_configs(workloads: Sequence[Workload], catalog: Catalog) -> dict[str, dict[str, Any]]:
    """What a replay builds each workload's model from, so that it needs no catalog."""
    found: dict[str, dict[str, Any]] = {}
    for workload in {w.name: w for w in workloads}.values():
        model = workload.model
        keys = config_of(catalog.models.entry(model)) if isinstance(model, str) else dict(model)
        if keys is not None:
            found[workload.name] = keys
    return found


def period_warnings(spec: Spec) -> Iterator[str]:
    """Factors that change nothing, and what is left out of account."""
    for w in spec.workloads:
        if not has_demand(w) and any(f not in (0.0, 1.0) for f in factors(spec, w.name)):
            yield f"periods: {w.name} asks for no rate, concurrency or work, so that its factors change nothing"
    yield MOVES_ARE_FREE


def plan_warnings(work: Work, parts: Sequence[Part], lines: Sequence[PurchaseLine]) -> Iterator[str]:
    """What a reader should know about the whole fleet."""
    yield from work.site.warnings
    if work.near is not None and work.fleet is not None:
        yield from move_warnings(work.fleet, work.near.old)
    spec = work.loaded.spec
    sources = [part.source for part in parts]
    spot = sum(row.nodes for row in lines if row.procurement == "spot")
    if spot:
        yield f"{spot} of the nodes are spot instances, which the provider may take back at any time"
    for row in lines:
        if row.price_confidence == "low":
            yield f"the price of {row.offer} ({row.procurement.replace('_', ' ')}) is of low confidence"
        if not row.power_kw:
            yield f"the power of {row.node} is not published and counts as 0 kW"
        elif row.procurement != "owned" and any(s.host.power_kw is None for s in sources if s.offer == row.offer):
            yield f"the power of {row.node} is not published; that of its GPUs alone is counted"
        if row.procurement in ("buy", "owned") and row.rack_units is None:
            yield f"the space of {row.node} is not published"
    if any(stands_nowhere_known(s) for s in sources):
        yield rented_stand_at(work.site)
    if any(w.mode == "train" for w in spec.workloads):
        yield TRAINING_STAYS.format("every period it runs in" if spec.periods else "the whole horizon")
    if any(part.candidate.part is not None for part in parts):
        yield CUT_GPUS
    if any(w.hours for w in spec.workloads):
        yield SWITCHES_ARE_FREE
