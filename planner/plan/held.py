"""Ways that serve a workload together are sized by the short form of the queueing model; those that are chosen are held
to the full one, and where it lets them carry less, the fleet is chosen again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from planner.candidates.generate import held_under_arrivals
from planner.candidates.types import Candidate, Supply, WorkloadCandidates
from planner.plan.fleet import FleetProblem
from planner.solve.solution import Solution
from planner.spec.types import InferWorkload, Spec

if TYPE_CHECKING:
    from planner.catalog.load import Catalog


def held(
    spec: Spec,
    found: Sequence[WorkloadCandidates],
    fleet: FleetProblem,
    solution: Solution,
    supply: Supply,
    catalog: Catalog,
) -> list[WorkloadCandidates] | None:
    """The candidates with lower rates for those that are chosen and carry less; None where all chosen keep theirs.

    A candidate changes once at most, so that choosing again comes to an end. Where no fleet exists all are held to the
    full model, for what would make one exist must be told by it.
    """
    kept = [_held(spec, entry, _chosen(fleet, solution, entry), supply, catalog) for entry in found]
    return kept if any(a is not b for a, b in zip(kept, found, strict=True)) else None


def _chosen(fleet: FleetProblem, solution: Solution, entry: WorkloadCandidates) -> list[Candidate]:
    """The counted candidates of a workload that the solution uses, each once; all of them where there is none."""
    if solution.status == "infeasible":
        counted = any(a.is_counted for a in fleet.asked.values() if a.workload == entry.workload)
        return [*entry.candidates] if counted else []
    ways = {
        choice.candidate.id: choice.candidate
        for name, asked in fleet.asked.items()
        if asked.workload == entry.workload and asked.is_counted
        for a in solution.assignments.get(name, ())
        for choice in (fleet.choices[name, a.column],)
    }
    return [ways[key] for key in sorted(ways)]


def _held(
    spec: Spec, entry: WorkloadCandidates, chosen: Sequence[Candidate], supply: Supply, catalog: Catalog
) -> WorkloadCandidates:
    workload = spec.workload(entry.workload)
    if not chosen or not isinstance(workload, InferWorkload):
        return entry
    again = {c.id: c for c in held_under_arrivals(workload, spec, supply, catalog, chosen)}
    rates = {c.id: again[c.id].rate if c.id in again else None for c in chosen}
    if all(rates[c.id] == c.rate for c in chosen):
        return entry

    def at_their_rates(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
        return tuple(again.get(c.id, c) for c in candidates if c.id not in rates or c.id in again)

    return replace(
        entry,
        candidates=at_their_rates(entry.candidates),
        by_period=tuple(at_their_rates(ways) for ways in entry.by_period),
    )
