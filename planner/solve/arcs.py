"""How replicas of very many sizes share one node: fillings as paths through a graph instead of a list of them.

A vertex is what is taken of a node so far, an arc adds one replica. Every path from the empty node is one filling, so
a flow of whole nodes through the graph is exactly a set of filled nodes (arc-flow, Valerio de Carvalho 1999).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from planner.errors import InputError
from planner.solve.patterns import Pattern, Size

MAX_ARCS = 30_000


@dataclass(frozen=True, slots=True)
class Arc:
    """One more replica on a node."""

    tail: int
    """Vertex: 0 is the empty node."""
    head: int
    size: int
    """Index of the replica's size."""


def arcs_of(sizes: Sequence[Size], node: Size, *, at: str) -> tuple[Arc, ...]:
    """All arcs that fillings need when replicas are put in by decreasing size.

    Raises InputError when there are more than MAX_ARCS.
    """
    number = {(0, 0): 0}
    found: dict[tuple[int, int, int], None] = {}
    for k, size in enumerate(sizes):
        gpus, ram = size[:2]
        for start in sorted(number):
            tail = start
            while tail[0] + gpus <= node[0] and tail[1] + ram <= node[1]:
                head = (tail[0] + gpus, tail[1] + ram)
                found[number[tail], number.setdefault(head, len(number)), k] = None
                tail = head
            if len(found) > MAX_ARCS:
                raise InputError(
                    f"{at}: too many ways to fill one node with {len(sizes)} sizes of replicas; "
                    "round their memory up to fewer, coarser steps"
                )
    return tuple(Arc(*key) for key in found)


def fillings(arcs: Sequence[Arc], flow: Sequence[int], num_sizes: int) -> list[Pattern]:
    """The nodes that a flow fills, one pattern each: paths taken out of it until nothing is left."""
    leaving: dict[int, list[int]] = {}
    for n, arc in enumerate(arcs):
        if flow[n]:
            leaving.setdefault(arc.tail, []).append(n)
    left = list(flow)
    found: list[Pattern] = []
    while (first := _next(leaving.get(0, []), left)) is not None:
        counts = [0] * num_sizes
        step: int | None = first
        while step is not None:
            left[step] -= 1
            counts[arcs[step].size] += 1
            step = _next(leaving.get(arcs[step].head, []), left)
        found.append(tuple(counts))
    return found


def _next(choices: Sequence[int], left: Sequence[int]) -> int | None:
    return next((n for n in choices if left[n]), None)
