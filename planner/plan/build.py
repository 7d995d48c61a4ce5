"""Spec and catalogs to plan: candidates, problem, solution, document."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from planner.candidates.generate import candidates_of
from planner.candidates.periods import candidates_over, candidates_together, is_mixed, stretches
from planner.candidates.planning import planning_facts
from planner.candidates.site import site_facts
from planner.candidates.supply import build_supply
from planner.candidates.types import Supply, WorkloadCandidates
from planner.errors import ImpossibleError, InputError
from planner.plan.assemble import Work, assemble
from planner.plan.fleet import FleetProblem, fleet_problem
from planner.plan.held import held
from planner.plan.period_fleet import period_fleet_problem
from planner.plan.questions import SECONDS_FOR_SENSITIVITY, Questions
from planner.plan.replan import Near, OldPlan, near_old_plan, refuse_strange
from planner.plan.types import Plan
from planner.solve.problem import Problem
from planner.solve.solution import Solution
from planner.spec.load import LoadedSpec
from planner.spec.types import Spec

if TYPE_CHECKING:
    from planner.catalog.load import Catalog

SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A plan and the problem that was solved for it."""

    plan: Plan
    problem: Problem | None
    """None where a workload can run nowhere, so that nothing was left to solve."""


def build_plan(
    loaded: LoadedSpec,
    catalog: Catalog,
    *,
    created: datetime | str,
    time_limit_s: float | None = None,
    from_plan: OldPlan | None = None,
) -> Plan:
    """The best plan for a spec, or one whose `infeasible` says why there is none. See `build`."""
    return build(loaded, catalog, created=created, time_limit_s=time_limit_s, from_plan=from_plan).plan


def build(
    loaded: LoadedSpec,
    catalog: Catalog,
    *,
    created: datetime | str,
    time_limit_s: float | None = None,
    from_plan: OldPlan | None = None,
    asked: Questions | None = None,
) -> Built:
    """The best plan for a spec and the problem behind it; `created` is the time of day to write down;
    with `from_plan` it is the plan with the fewest moves away from an old one at (nearly) the least value;
    `asked` is what else is to be answered.

    Raises InputError for unknown names, pins that contradict each other and an old plan where there are periods,
    NoPlanInTimeError when the time limit passes without any plan.
    """
    if from_plan is not None:
        refuse_old_plan_over_periods(loaded)
        refuse_old_plan_of_mixes(loaded)
        refuse_strange(from_plan, loaded)
    start = time.monotonic()
    supply = build_supply(loaded.spec, catalog)
    found = all_candidates(loaded, supply, catalog)
    near: Near | None = None
    fleet, solution, found = chosen(loaded.spec, found, supply, catalog, time_limit_s, start)
    lost = [entry for entry in found if not entry.candidates]
    if fleet is not None and solution is not None and solution.status != "infeasible" and from_plan is not None:
        left_s = time_left(time_limit_s, start)
        near = near_old_plan(fleet, solution, from_plan, catalog, seed=SEED, time_limit_s=left_s)
        solution = near.solution
    work = Work(
        loaded=loaded,
        catalog=catalog,
        found=tuple(found),
        lost=tuple(lost),
        every_source=supply.every,
        fleet=fleet,
        solution=solution,
        near=near,
        asked=asked or Questions(),
        swings=traffic_swings_of(loaded, catalog) if asked is not None and asked.sensitivity and solution else (),
        site=site_facts(loaded.spec, catalog),
        facts=planning_facts(),
        seed=SEED,
        wall_s=time.monotonic() - start,
    )
    written = created if isinstance(created, str) else created.isoformat(timespec="seconds")
    problem = near.problem if near else fleet.problem if fleet else None
    return Built(plan=assemble(work, created=written), problem=problem)


def chosen(
    spec: Spec,
    found: Sequence[WorkloadCandidates],
    supply: Supply,
    catalog: Catalog,
    time_limit_s: float | None,
    start: float,
) -> tuple[FleetProblem | None, Solution | None, Sequence[WorkloadCandidates]]:
    """The problem, its answer and the candidates they rest on; neither problem nor answer where a workload can run
    nowhere. It is chosen again where what was chosen together carries less than was thought."""
    while all(entry.candidates for entry in found):
        calendar = stretches(spec)
        facts = planning_facts()
        fleet = period_fleet_problem(spec, found, facts, calendar) if calendar else fleet_problem(spec, found, facts)
        solution = solved(fleet.problem, time_left(time_limit_s, start))
        again = held(spec, found, fleet, solution, supply, catalog)
        if again is None:
            return fleet, solution, found
        found = again
    return None, None, found


def traffic_swings_of(loaded: LoadedSpec, catalog: Catalog) -> tuple[Mapping[str, Any], ...]:
    """The best fleets at other traffic."""
    from planner.plan.swings import traffic_swings

    def best(asked: LoadedSpec) -> Solution | None:
        found = all_candidates(asked, build_supply(asked.spec, catalog), catalog)
        if not all(entry.candidates for entry in found):
            return None
        return solved(fleet_problem(asked.spec, found, planning_facts()).problem, SECONDS_FOR_SENSITIVITY)

    return tuple(traffic_swings(loaded, best))


def refuse_old_plan_over_periods(loaded: LoadedSpec) -> None:
    """Raise InputError where an old plan meets periods."""
    if loaded.spec.periods:
        raise InputError(
            f"{loaded.where(('periods',))}: periods: a plan over periods cannot be kept near an old one; "
            "leave --from out, or take the periods out"
        )


def refuse_old_plan_of_mixes(loaded: LoadedSpec) -> None:
    """Raise InputError where an old plan meets services of several configurations."""
    for index, w in enumerate(loaded.spec.workloads):
        if is_mixed(w):
            raise InputError(
                f"{loaded.where(('workloads', index, 'mixed'))}: workloads.{w.name}.mixed: a service of several "
                "configurations cannot be kept near an old plan; leave --from out, or take `mixed` out"
            )


def all_candidates(loaded: LoadedSpec, supply: Supply, catalog: Catalog) -> Sequence[WorkloadCandidates]:
    """The candidates of every workload, in the spec's order.

    Raises InputError with the problems of all workloads at once, each with its place.
    """
    found, problems = [], []
    calendar = stretches(loaded.spec)
    for index, workload in enumerate(loaded.spec.workloads):
        try:
            if calendar:
                found.append(candidates_over(workload, loaded.spec, supply, catalog, calendar))
            elif is_mixed(workload):
                found.append(candidates_together(workload, loaded.spec, supply, catalog))
            else:
                found.append(candidates_of(workload, loaded.spec, supply, catalog))
        except (InputError, ImpossibleError) as err:
            problems.append(f"{loaded.where(('workloads', index))}: workloads.{workload.name}: {err}")
    if problems:
        raise InputError(*problems)
    return found


def time_left(time_limit_s: float | None, start: float) -> float | None:
    """What candidates leave of the time limit, in seconds; a little is always left."""
    return None if time_limit_s is None else max(0.1, time_limit_s - (time.monotonic() - start))


def solved(problem: Problem, time_limit_s: float | None) -> Solution:
    """The optimiser's answer."""
    from planner.solve.solver import solve

    return solve(problem, seed=SEED, time_limit_s=time_limit_s)
