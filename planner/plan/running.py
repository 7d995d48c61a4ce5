"""What runs where: the optimiser's answer in terms of the spec's workloads, period by period."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from planner.candidates.types import Candidate, Source
from planner.plan.fleet import Choice, FleetProblem
from planner.solve.solution import Assignment, Solution

Key = tuple[str, str]
"""A workload of the problem and its column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Equal replicas of one workload on nodes of one source."""

    key: Key
    candidate: Candidate
    """Sized to this part: `replicas` are those placed here."""
    source: Source
    share: float
    """Of what the workload's replicas can serve."""

    @property
    def name(self) -> str:
        return self.candidate.workload


def parts_of(fleet: FleetProblem, solution: Solution, workload: str, period: int = 0) -> tuple[Part, ...]:
    """The parts of one workload of the spec in one period, the largest share first; empty where it does not run."""
    found = list(_placed(fleet, solution, workload, period))
    weights = [c.replicas * (c.rate or 1.0) for _, c, _ in found]
    parts = [
        Part(key=key, candidate=candidate, source=choice.source, share=weight / sum(weights))
        for (key, candidate, choice), weight in zip(found, weights, strict=True)
    ]
    return tuple(sorted(parts, key=lambda p: (-p.share, p.key)))


def _placed(
    fleet: FleetProblem, solution: Solution, workload: str, period: int
) -> Iterator[tuple[Key, Candidate, Choice]]:
    for name, asked in fleet.asked.items():
        if asked.workload != workload or asked.period not in (None, period):
            continue
        for a in solution.assignments.get(name, ()):
            if a.period not in (None, period):
                continue
            choice = fleet.choices[name, a.column]
            replicas = counted(fleet, choice, a) if asked.is_counted else choice.candidate.replicas
            yield (name, a.column), replace(choice.candidate, replicas=replicas), choice


def counted(fleet: FleetProblem, choice: Choice, a: Assignment) -> int:
    """Replicas of an assignment whose pieces were counted."""
    whole_nodes = not fleet.shared and choice.candidate.nodes_per_replica == 1
    return int(a.replicas) * (choice.per_node if whole_nodes else 1)


def indices(parts: Mapping[str, tuple[Part, ...]]) -> dict[Key, tuple[str, int]]:
    """Workload and place among its parts, by what the problem calls them."""
    return {part.key: (name, n) for name, found in parts.items() for n, part in enumerate(found)}
