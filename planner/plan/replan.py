"""A plan near the one in use: what would have to be set up anew, and the fewest of that at a bounded cost."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from planner.candidates.types import Candidate, Source
from planner.errors import InputError, NoPlanInTimeError
from planner.estimate.document import ConfigValue
from planner.plan.fleet import Choice, FleetProblem
from planner.plan.pick import bare_seat, config_of
from planner.plan.types import Moves, Placement, Plan, WorkloadMoves
from planner.solve.problem import Problem
from planner.solve.replan import near_the_best
from planner.solve.solution import Solution
from planner.spec.load import LoadedSpec

if TYPE_CHECKING:
    from planner.catalog.load import Catalog

SIZED_BY_DEMAND = frozenset({"accumulation", "batch", "input_tokens", "output_tokens", "sequence_tokens"})
"""Decisions of `config` that follow the demand: they are set without moving a replica."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OldPlan:
    """The plan in use, and how far from the least of the first objective staying near it may lead."""

    plan: Plan
    source: str
    """The file as the user named it."""
    extra_share: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """The answer near an old plan."""

    problem: Problem
    """What was asked: the fewest moves, the first objective limited."""
    solution: Solution
    least: Solution
    """The best answer when moves do not count."""
    old: OldPlan


def refuse_strange(old: OldPlan, loaded: LoadedSpec) -> None:
    """Raise InputError for an old plan from which this spec cannot start."""
    if old.plan.status == "infeasible":
        raise InputError(f"{old.source}: this plan is infeasible, so nothing of it runs; leave --from out")
    names = {w.name for w in loaded.spec.workloads}
    if not any(w.name in names for w in old.plan.workloads):
        theirs = ", ".join(sorted(w.name for w in old.plan.workloads))
        raise InputError(
            f"{old.source}: none of its workloads ({theirs}) is in {loaded.source} ({', '.join(sorted(names))}); "
            "workloads are matched by name"
        )


def near_old_plan(
    fleet: FleetProblem, best: Solution, old: OldPlan, catalog: Catalog, *, seed: int, time_limit_s: float | None
) -> Near:
    """The fewest moves whose first objective is at most `old.extra_share` above the best.

    When time ends first, the best answer stays, with its moves counted.
    """
    from planner.solve.solver import solve

    counted = with_moves(fleet, old.plan, catalog)
    asked = near_the_best(counted, best, extra_share=Fraction(str(old.extra_share)))
    start = time.monotonic()
    try:
        found = solve(asked, seed=seed, time_limit_s=time_limit_s, start_from=best)
    except NoPlanInTimeError:
        found = best.model_copy(update={"status": "feasible", "wall_s": time.monotonic() - start})
    return Near(problem=asked, solution=found, least=best, old=old)


def with_moves(fleet: FleetProblem, old: Plan, catalog: Catalog) -> Problem:
    """The problem with each choice's moves away from the old plan."""
    running = {w.name: w.placements for w in old.workloads}
    workloads = []
    for w in fleet.problem.workloads:
        placements = running.get(w.id)
        if placements is not None:
            columns = [
                c.model_copy(update={"moves": moves_of(fleet.choices[w.id, c.id], placements, catalog)})
                for c in w.columns
            ]
            w = w.model_copy(update={"columns": tuple(columns)})
        workloads.append(w)
    return fleet.problem.model_copy(update={"workloads": tuple(workloads)})


def moves_of(choice: Choice, running: tuple[Placement, ...], catalog: Catalog) -> int:
    """Replicas that would have to be set up anew: those beyond the ones that run the same way on the same nodes."""
    stays = [p.replicas for p in running if is_same(choice.candidate, choice.source, p, catalog)]
    return max(0, choice.candidate.replicas - sum(stays))


def is_same(candidate: Candidate, source: Source, p: Placement, catalog: Catalog) -> bool:
    """Runs on the same nodes, split and stored the same way. How the nodes are paid for does not matter, and what
    was to be bought is by now our own."""
    if (p.gpus_per_replica, p.nodes_per_replica) != (candidate.gpus_per_replica, candidate.nodes_per_replica):
        return False
    if place_of(p.offer, p.node) != place_of(source.offer, source.node):
        return False
    return setup(p.config) == setup(config_of(candidate, bare_seat(candidate, source, catalog)))


def place_of(offer: str, node: str) -> str:
    """The offer that nodes are rented from; for nodes of our own, the node.

    >>> place_of("owned:dgx-h100", "dgx-h100") == place_of("dgx-h100", "dgx-h100")
    True
    """
    return f"own:{node}" if offer in (node, f"owned:{node}") else offer


def setup(config: Mapping[str, ConfigValue]) -> dict[str, ConfigValue]:
    """The decisions that a running replica cannot change."""
    return {k: v for k, v in config.items() if k not in SIZED_BY_DEMAND}


def moves_section(fleet: FleetProblem, near: Near, *, unit: float) -> Moves:
    """What the document says of moves; `unit` is that of the problem in one unit of the plan."""
    first = fleet.problem.objective[0]
    rows = tuple(_rows(near.problem, near.solution, near.old.plan))
    return Moves(
        from_plan=near.old.source,
        from_sha256=near.old.plan.body_sha256,
        extra_share=near.old.extra_share,
        count=sum(row.replicas_moved for row in rows),
        count_without=sum(row.replicas_moved for row in _rows(near.problem, near.least, near.old.plan)),
        least_objective=near.least.objective[first] / unit,
        is_fewest=near.solution.status == "optimal",
        workloads=rows,
    )


def _rows(problem: Problem, solution: Solution, old: Plan) -> Iterator[WorkloadMoves]:
    was = {w.name: sum(p.replicas for p in w.placements) for w in old.workloads}
    for w in problem.workloads:
        moves = {c.id: c.moves for c in w.columns}
        count = sum(moves[a.column] for a in solution.assignments[w.id])
        yield WorkloadMoves(workload=w.id, replicas_moved=count, replicas_before=was.get(w.id, 0))


def move_warnings(fleet: FleetProblem, old: OldPlan) -> Iterator[str]:
    """Where the old plan stands on nodes, or holds workloads, that the new one cannot have."""
    places = {place_of(s.offer, s.node) for s in fleet.sources.values()}
    names = {w.id for w in fleet.problem.workloads}
    for w in old.plan.workloads:
        if w.name not in names:
            yield f"{w.name} of {old.source} is not in the spec any more; it is left out"
            continue
        for offer in dict.fromkeys(p.offer for p in w.placements if place_of(p.offer, p.node) not in places):
            yield f"{w.name} runs on {offer}, which no candidate of this spec can use any more; it has to move"
