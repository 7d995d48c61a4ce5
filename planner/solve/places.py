"""Where everything sits in an answer: on which nodes, at which time of day, on which part of a GPU."""

from __future__ import annotations

from planner.solve.arcs import fillings
from planner.solve.instance import Instance, capacity
from planner.solve.pack import CUT, Piece, by_pattern, first_fit, grouped
from planner.solve.patterns import ONE_GPU
from planner.solve.search import Answer
from planner.solve.solution import CutGpus, PackedNodes
from planner.solve.variables import FleetVars
from planner.solve.ways import Way


def placed(i: Instance, x: FleetVars, answer: Answer) -> dict[str, tuple[PackedNodes | CutGpus, ...]]:
    """`packing` and `cut` of the solution."""
    packing: list[PackedNodes | CutGpus] = []
    cut: list[PackedNodes | CutGpus] = []
    for t, p in i.slots():
        for d in i.times:
            nodes, gpus = _placed_on(t, p, d, i, x, answer)
            packing += nodes
            cut += gpus
    return {"packing": tuple(packing), "cut": tuple(cut)}


def _placed_on(
    t: str, p: int, d: int, i: Instance, x: FleetVars, answer: Answer
) -> tuple[list[PackedNodes], list[CutGpus]]:
    packing, node = i.packing[t], i.node_types[t]

    def count(way: Way) -> int:
        return sum(c * answer.count(v) for c, v in x.pieces(way, p))

    ways = i.ways_at(t, d)
    parts = [Piece(key=w.key, size=w.slices, count=count(w)) for w in ways if w.slices is not None and count(w)]
    cuts = [answer.count(x.cut[t, p, d, k]) for k in range(len(packing.cuts))]
    gpus = by_pattern(parts, packing.slices, packing.cuts, cuts)
    pieces = [
        Piece(key=w.key, size=w.size, count=count(w), least_nodes=w.least_nodes)
        for w in ways
        if w.slices is None and count(w)
    ]
    if gpus:
        pieces.append(Piece(key=CUT, size=ONE_GPU, count=len(gpus)))
    if packing.patterns:
        filled = [answer.count(x.filled[t, p, d, k]) for k in range(len(packing.patterns))]
        nodes = by_pattern(pieces, packing.sizes, packing.patterns, filled)
    elif packing.arcs:
        flow = [answer.count(x.flow[t, p, d, k]) for k in range(len(packing.arcs))]
        patterns = fillings(packing.arcs, flow, len(packing.sizes))
        nodes = by_pattern(pieces, packing.sizes, patterns, [1] * len(patterns))
    else:
        nodes = first_fit(pieces, capacity(node))
    return (
        [PackedNodes(node=t, period=p, time=d, nodes=n, items=items) for n, items in grouped(nodes)],
        [CutGpus(node=t, period=p, time=d, gpus=n, items=items) for n, items in grouped(gpus)],
    )
