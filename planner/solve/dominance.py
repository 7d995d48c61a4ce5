"""Ways that no best answer needs: another way to run the same workload on the same nodes asks for no more of anything.

Ways are compared on one node type only; across types stock, power and price would have to be compared as well.
Replacing the dominated way by the other keeps every rule and changes no measure for the worse, so the least of
every list of objectives stays what it was (tests solve with and without).
"""

from __future__ import annotations

from collections.abc import Iterable

from planner.solve.ways import Way

WHOLE_GPU = (2**31, 2**31)
"""More slices than any GPU has: a whole GPU is never less than a part of one."""


def needed_ways(ways: Iterable[Way]) -> tuple[Way, ...]:
    """The ways of one workload of mode `one` that none of the others makes needless, in the order given.

    Of ways that ask for the same, the first by order stays.
    """
    ways = tuple(ways)
    by_node: dict[str, list[tuple[int, Way]]] = {}
    for n, way in enumerate(ways):
        by_node.setdefault(way.column.node, []).append((n, way))
    kept: set[int] = set()
    for group in by_node.values():
        front: list[Way] = []
        for n, way in sorted(group, key=lambda e: (_asks(e[1]), e[0])):
            if not any(_asks_no_more(other, way) for other in front):
                front.append(way)
                kept.add(n)
    return tuple(way for n, way in enumerate(ways) if n in kept)


def _asks(way: Way) -> tuple[int, ...]:
    """Everything that a way takes: pieces in each period, the size of a piece, preference and moves."""
    c = way.column
    return (*(count * c.nodes for count in way.replicas), *way.size, *(way.slices or WHOLE_GPU), c.preference, c.moves)


def _asks_no_more(one: Way, other: Way) -> bool:
    return all(a <= b for a, b in zip(_asks(one), _asks(other), strict=True))
