"""Ways that are worth having where several of them serve a workload together."""

from __future__ import annotations

from collections.abc import Iterable

from planner.candidates.search import pieces_held
from planner.candidates.types import Candidate


def useful_together(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Ways of which no other serves as much wherever one replica of it fits, preferred no less: exact also where
    several ways serve a workload together."""
    kept: list[Candidate] = []
    by_kind: dict[int, list[Candidate]] = {}
    order = sorted(
        candidates, key=lambda c: (c.preference, c.gpus_per_replica, -(c.rate or 0.0), c.tightest_share, c.id)
    )
    for c in order:
        rivals = by_kind.setdefault(c.kind, [])
        if not any(outserves(r, c) for r in rivals):
            rivals.append(c)
            kept.append(c)
    return kept


def outserves(a: Candidate, b: Candidate) -> bool:
    """In the place of one replica of `b` as many of `a` as fit there serve no less."""
    if a.preference > b.preference:
        return False
    if a.nodes_per_replica > 1 or b.nodes_per_replica > 1:
        same = (a.nodes_per_replica, a.gpus_per_replica) == (b.nodes_per_replica, b.gpus_per_replica)
        return same and a.host_bytes_per_node <= b.host_bytes_per_node and (a.rate or 0.0) >= (b.rate or 0.0)
    return pieces_held(b, a) * (a.rate or 0.0) >= (b.rate or 0.0)
