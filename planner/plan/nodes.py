"""Which replicas sit together on a node: the optimiser's packing, dealt out to the nodes of the bill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from planner.candidates.types import Candidate
from planner.plan.fleet import FleetProblem
from planner.plan.running import Key
from planner.solve.solution import PackedItem, PackedNodes, Solution

Content = tuple[tuple[Key, int], ...]
"""Replicas, by what the problem calls them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filling:
    """Equal nodes that hold the same."""

    nodes: int
    held: Content = ()
    """On whole GPUs of each."""
    cut: tuple[tuple[int, Content], ...] = ()
    """GPUs of each that are cut, and the replicas on the parts of one."""


def fillings_by_source(
    fleet: FleetProblem, solution: Solution, placed: Mapping[Key, Candidate], period: int, time: int
) -> dict[str, list[Filling]]:
    """What fills the nodes of each source in one period at one time of day."""
    cut: dict[str, list[Content]] = {}
    for gpus in solution.cut:
        if (gpus.period, gpus.time) == (period, time):
            cut.setdefault(gpus.node, []).extend([content_of(gpus.items)] * gpus.gpus)
    found: dict[str, list[Filling]] = {}
    for packed in solution.packing:
        if (packed.period, packed.time) == (period, time):
            found.setdefault(packed.node, []).extend(fillings(fleet, packed, placed, cut.get(packed.node, [])))
    return found


def content_of(items: tuple[PackedItem, ...]) -> Content:
    """Items as the keys of the problem."""
    return tuple(((i.workload, i.column), i.replicas) for i in items)


def fillings(
    fleet: FleetProblem, packed: PackedNodes, placed: Mapping[Key, Candidate], cut: list[Content]
) -> Iterator[Filling]:
    """Nodes of one filling. Where nodes are not shared, a piece is a node full of replicas, the last part-filled;
    nodes with cut GPUs take these off the list `cut`."""
    pieces = content_of(tuple(i for i in packed.items if i.workload))
    cut_each = sum(i.replicas for i in packed.items if not i.workload)
    if cut_each:
        yield from with_cut(packed.nodes, pieces, cut_each, cut)
        return
    choices = {key: fleet.choices[key] for key, _ in pieces}
    if fleet.shared or any(choice.candidate.nodes_per_replica > 1 for choice in choices.values()):
        yield Filling(nodes=packed.nodes, held=pieces)
        return
    ((key, choice),) = choices.items()
    full, rest = divmod(placed[key].replicas, choice.per_node)
    if full:
        yield Filling(nodes=full, held=((key, choice.per_node),))
    if rest:
        yield Filling(nodes=1, held=((key, rest),))


def with_cut(nodes: int, pieces: Content, cut_each: int, cut: list[Content]) -> Iterator[Filling]:
    """Nodes with as many cut GPUs each, equal ones together."""
    every: Counter[tuple[tuple[int, Content], ...]] = Counter()
    for _ in range(nodes):
        taken = Counter(cut.pop(0) for _ in range(cut_each))
        every[tuple((gpus, content) for content, gpus in taken.items())] += 1
    for cuts, count in every.items():
        yield Filling(nodes=count, held=pieces, cut=cuts)


def dealt(full: list[Filling], nodes: int) -> Iterator[Filling]:
    """Take the fillings of `nodes` nodes off the list; what is left of the nodes stands by."""
    left = nodes
    while left and full:
        filling = full.pop(0)
        taken = min(filling.nodes, left)
        if filling.nodes > taken:
            full.insert(0, replace(filling, nodes=filling.nodes - taken))
        left -= taken
        yield replace(filling, nodes=taken)
    if left:
        yield Filling(nodes=left)
