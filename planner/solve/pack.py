"""Which replica sits on which node, once it is known how many nodes are filled each way."""

from __future__ import annotations

from collections import Counter

from planner.solve.instance import Instance, capacity
from planner.solve.patterns import most_that_fit
from planner.solve.solution import PackedItem, PackedNodes
from planner.solve.ways import Way

Contents = Counter[tuple[str, str]]
"""Pieces on one node by workload and column."""


def pack(t: str, p: int, i: Instance, pieces: dict[tuple[str, str], int], filled: list[int]) -> tuple[PackedNodes, ...]:
    """Place the `pieces` of one node type and period; `filled` counts nodes by pattern (empty: sizes add up)."""
    ways = [w for w in i.ways_on[t] if pieces.get(w.key)]
    nodes = _by_pattern(t, i, ways, pieces, filled) if i.packing[t].patterns else _first_fit(t, i, ways, pieces)
    return tuple(_grouped(t, p, nodes))


def _by_pattern(
    t: str, i: Instance, ways: list[Way], pieces: dict[tuple[str, str], int], filled: list[int]
) -> list[Contents]:
    left = dict(pieces)
    sizes = i.packing[t].sizes
    nodes = []
    for pattern, count in zip(i.packing[t].patterns, filled, strict=True):
        for _ in range(count):
            node: Contents = Counter()
            for size, places in zip(sizes, pattern, strict=True):
                _fill(node, [w for w in ways if w.size == size], left, places)
            if node:
                nodes.append(node)
    assert not any(left.values()), "patterns hold every piece"
    return nodes


def _first_fit(t: str, i: Instance, ways: list[Way], pieces: dict[tuple[str, str], int]) -> list[Contents]:
    """Largest first: exact where each size divides the next and the last divides the node."""
    left = dict(pieces)
    order = sorted(ways, key=lambda w: (-w.size[0], -w.size[1], w.key))
    whole = capacity(i.node_types[t])
    nodes = []
    while any(left.values()):
        node: Contents = Counter()
        free = whole
        for way in order:
            took = _fill(node, [way], left, most_that_fit(way.size, free))
            free = (free[0] - took * way.size[0], free[1] - took * way.size[1])
        assert node, "a piece fits an empty node"
        nodes.append(node)
    return nodes


def _fill(node: Contents, ways: list[Way], left: dict[tuple[str, str], int], places: int) -> int:
    """Move up to `places` pieces of `ways`, in order, into the node; returns how many moved."""
    moved = 0
    for way in ways:
        took = min(places - moved, left[way.key])
        if took > 0:
            node[way.key] += took
            left[way.key] -= took
            moved += took
    return moved


def _grouped(t: str, p: int, nodes: list[Contents]) -> list[PackedNodes]:
    same = Counter(tuple(sorted(node.items())) for node in nodes)
    return [
        PackedNodes(
            node=t,
            period=p,
            nodes=count,
            items=tuple(PackedItem(workload=w, column=c, replicas=n) for (w, c), n in contents),
        )
        for contents, count in sorted(same.items())
    ]
