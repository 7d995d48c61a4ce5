"""Which replica sits on which node, once it is known how many nodes are filled each way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from planner.solve.patterns import Pattern, Size, most_that_fit, owner_of
from planner.solve.solution import PackedItem

Key = tuple[str, str]
"""Workload and column."""
Contents = Counter[Key]
"""Pieces in one bin."""
CUT: Key = ("", "")
"""Stands for GPUs that are cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Equal pieces that must be placed."""

    key: Key
    size: Size
    count: int
    least_nodes: int = 1
    """Bins that pieces of the workload must be in at least."""


def by_pattern(
    pieces: Sequence[Piece], sizes: Sequence[Size], patterns: Sequence[Pattern], filled: Sequence[int]
) -> list[Contents]:
    """Place pieces into bins; `filled` counts bins by pattern."""
    left = {k.key: k.count for k in pieces}
    patterned = [pattern for pattern, count in zip(patterns, filled, strict=True) for _ in range(count)]
    bins: list[Contents] = [Counter() for _ in patterned]
    for at, size in enumerate(sizes):
        keys = [k.key for k in pieces if k.size == size]
        places = [(contents, pattern[at]) for contents, pattern in zip(bins, patterned, strict=True) if pattern[at]]
        if owner_of(size):
            _spread(places, keys, left)
        else:
            for piece in (k for k in pieces if k.size == size and k.least_nodes > 1):
                _take_roomiest(places, piece, keys, left)
        for contents, number in places:
            _fill(contents, keys, left, _room(contents, number, keys))
    assert not any(left.values()), "patterns hold every piece"
    return [contents for contents in bins if contents]


def first_fit(pieces: Sequence[Piece], whole: Size) -> list[Contents]:
    """Largest first: exact where each size divides the next and the last divides the bin."""
    left = {k.key: k.count for k in pieces}
    order = sorted(pieces, key=lambda k: (-k.size[0], -k.size[1], k.key))
    bins = []
    while any(left.values()):
        contents: Contents = Counter()
        free = whole
        for piece in order:
            took = _fill(contents, [piece.key], left, most_that_fit(piece.size, free))
            free = (free[0] - took * piece.size[0], free[1] - took * piece.size[1])
        assert contents, "a piece fits an empty bin"
        bins.append(contents)
    return bins


def grouped(bins: Sequence[Contents]) -> list[tuple[int, tuple[PackedItem, ...]]]:
    """Equal bins together: how many, and what is in each."""
    same = Counter(tuple(sorted(contents.items())) for contents in bins)
    return [
        (count, tuple(PackedItem(workload=w, column=c, replicas=n) for (w, c), n in contents))
        for contents, count in sorted(same.items())
    ]


def _room(contents: Contents, number: int, keys: Sequence[Key]) -> int:
    """Places of a bin that are free, of `number` for these keys."""
    return number - sum(contents[k] for k in keys)


def _take_roomiest(
    places: Sequence[tuple[Contents, int]], piece: Piece, keys: Sequence[Key], left: dict[Key, int]
) -> None:
    """One piece into each of the bins with most places free: so all workloads find theirs wherever that is possible."""
    order = sorted(places, key=lambda place: -_room(place[0], place[1], keys))
    for contents, _ in order[: piece.least_nodes]:
        _fill(contents, [piece.key], left, 1)


def _spread(places: Sequence[tuple[Contents, int]], keys: Sequence[Key], left: dict[Key, int]) -> None:
    """One piece into every bin with a place, those first that hold nothing of the same workload."""
    names = {workload for workload, _ in keys}
    for contents, _ in sorted(places, key=lambda place: any(w in names for w, _ in place[0])):
        _fill(contents, keys, left, 1)


def _fill(contents: Contents, keys: Sequence[Key], left: dict[Key, int], places: int) -> int:
    """Move up to `places` pieces, in order, into a bin; returns how many moved."""
    moved = 0
    for key in keys:
        took = min(places - moved, left[key])
        if took > 0:
            contents[key] += took
            left[key] -= took
            moved += took
    return moved
