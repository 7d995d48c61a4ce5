"""The plan document: spec, candidates and solution put together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from planner import __version__
from planner.architecture.hf.write import config_of
from planner.candidates.planning import PlanningFacts
from planner.candidates.site import SiteFacts
from planner.candidates.types import Source, WorkloadCandidates
from planner.plan.bill import node_loads, purchases, totals
from planner.plan.facts import assumptions_used, facts_used, rented_assumption, rented_stand_at, stands_nowhere_known
from planner.plan.fleet import FleetProblem
from planner.plan.infeasible import infeasible_report
from planner.plan.questions import Questions, insights
from planner.plan.replan import Near, move_warnings, moves_section
from planner.plan.sections import Pick, workload_plan
from planner.plan.types import Inputs, Plan, PurchaseLine, SolverFacts, Status, Totals
from planner.solve.scale import ROUNDING
from planner.solve.solution import Solution
from planner.spec.load import LoadedSpec
from planner.units import GRAMS_PER_KG, HOURS_PER_MONTH, MEGA, WATTS_PER_KW

if TYPE_CHECKING:
    from planner.catalog.load import Catalog

SCALE_OF_OBJECTIVE = {"cost": MEGA, "power": WATTS_PER_KW, "gpus": 1, "carbon": GRAMS_PER_KG}
"""Units of the problem in one unit of the plan; carbon then counts per month."""
TOTAL_OF_OBJECTIVE = {"cost": "usd_per_hour", "power": "it_power_kw", "gpus": "gpus", "carbon": "kg_co2_per_month"}
"""The key of the plan's totals that an objective makes small."""
ROUNDING_SHARE = 1e-6
"""Share of a value that whole micro-units of the problem may hide."""
NO_GPU_SHARING = "every replica has whole GPUs: sharing one GPU between replicas (MIG) is not planned in this version"
TRAINING_STAYS = "nodes of training runs are counted as kept over the whole horizon, as those of services are"


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
    spec, solution, fleet = work.loaded.spec, work.solution, work.fleet
    picked = picks(work, fleet, solution)
    lines = purchases(fleet, solution, work.every_source)
    sums = totals(fleet, solution, lines, months=spec.horizon.months)
    text = near_text(work.near, spec.objective[0]) if work.near else fleet_text(solution.status, spec.objective[0])
    cap = work.facts.value("utilisation-cap")
    more = insights(fleet, work.near.least if work.near else solution, picked, work.asked)
    sections = tuple(
        workload_plan(
            p, work.catalog, months=spec.horizon.months, utilisation_cap=cap, fleet_text=text, again=more.again
        )
        for p in picked
    )
    facts = solver_facts(work, sums)
    near_status: Status = "feasible" if facts.gap is None or facts.gap > 0 else "optimal"
    return Plan(
        status=near_status if work.near else solution.status,
        totals=sums,
        purchases=lines,
        nodes=node_loads(fleet, solution),
        workloads=sections,
        moves=moves_section(fleet, work.near, unit=unit_of(spec.objective[0])) if work.near else None,
        pareto=more.pareto,
        sensitivity=more.sensitivity,
        one_gpu_type=more.one_gpu_type,
        inputs=inputs_of(work, picked),
        warnings=(*plan_warnings(work, picked, lines), *more.warnings),
        **common(work, created, sums),
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


def picks(work: Work, fleet: FleetProblem, solution: Solution) -> tuple[Pick, ...]:
    """The choice for every workload, in the spec's order."""
    found = {entry.workload: entry for entry in work.found}
    chosen = []
    for workload in work.loaded.spec.workloads:
        (assignment,) = solution.assignments[workload.name]
        choice = fleet.choices[workload.name, assignment.column]
        pick = Pick(workload=workload, candidate=choice.candidate, source=choice.source, found=found[workload.name])
        chosen.append(pick)
    return tuple(chosen)


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


def unit_of(objective: str) -> float:
    """Units of the problem's objective in one unit of the plan's."""
    return SCALE_OF_OBJECTIVE[objective] / (HOURS_PER_MONTH if objective == "carbon" else 1)


def solver_facts(work: Work, sums: Totals | None) -> SolverFacts:
    """What was proven, and how. The value is the plan's own, unrounded; the bound never stands above it."""
    name = work.loaded.spec.objective[0]
    solution = work.solution
    value = bound = gap = None
    if solution is not None and solution.status != "infeasible":
        value = getattr(sums, TOTAL_OF_OBJECTIVE[name])
        proven = work.near.least if work.near else solution
        bound = None if proven.bound is None else min(proven.bound / unit_of(name), value)
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
        rounding=ROUNDING,
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


def inputs_of(work: Work, picked: Sequence[Pick]) -> Inputs:
    """The spec with every default, and the facts and assumptions behind the answer."""
    chosen = [(p.workload, p.candidate, p.source) for p in picked]
    spec = work.loaded.spec
    return Inputs(
        spec=spec.model_dump(mode="json", by_alias=True),
        spec_file=work.loaded.source,
        facts=facts_used(spec, chosen, work.catalog),
        assumptions=(*assumptions_used(chosen, work.facts), *rented_assumption(chosen, work.site)),
        models=model_configs(picked, work.catalog),
        engine_options={p.workload.name: dict(p.candidate.job.engine.options) for p in picked},
        logo=work.loaded.logo,
    )


def model_configs(picked: Sequence[Pick], catalog: Catalog) -> dict[str, dict[str, Any]]:
    """What a replay builds each workload's model from, so that it needs no catalog."""
    found: dict[str, dict[str, Any]] = {}
    for pick in picked:
        model = pick.workload.model
        keys = config_of(catalog.models.entry(model)) if isinstance(model, str) else dict(model)
        if keys is not None:
            found[pick.workload.name] = keys
    return found


def plan_warnings(work: Work, picked: Sequence[Pick], lines: Sequence[PurchaseLine]) -> Iterator[str]:
    """What a reader should know about the whole fleet."""
    yield from work.site.warnings
    if work.near is not None and work.fleet is not None:
        yield from move_warnings(work.fleet, work.near.old)
    spec = work.loaded.spec
    spot = sum(row.nodes for row in lines if row.procurement == "spot")
    if spot:
        yield f"{spot} of the nodes are spot instances, which the provider may take back at any time"
    for row in lines:
        if row.price_confidence == "low":
            yield f"the price of {row.offer} ({row.procurement.replace('_', ' ')}) is of low confidence"
        if not row.power_kw:
            yield f"the power of {row.node} is not published and counts as 0 kW"
        elif row.procurement != "owned" and any(not_published(p) for p in picked if p.source.offer == row.offer):
            yield f"the power of {row.node} is not published; that of its GPUs alone is counted"
        if row.procurement in ("buy", "owned") and row.rack_units is None:
            yield f"the space of {row.node} is not published"
    if any(stands_nowhere_known(p.source) for p in picked):
        yield rented_stand_at(work.site)
    if any(w.mode == "train" for w in spec.workloads):
        yield TRAINING_STAYS
    yield NO_GPU_SHARING


def not_published(pick: Pick) -> bool:
    """The node's power stands in the catalog as unknown."""
    return pick.source.host.power_kw is None
