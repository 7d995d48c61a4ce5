"""How replicas of different sizes share one node: the maximal ways to fill it.

Bins are not indexed. A node type meets few sizes (GPUs, memory), so all maximal fillings are listed once and
the optimiser chooses how many nodes are filled each way.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise

from planner.errors import InputError

Size = tuple[int, ...]
"""GPUs and memory of one replica on one node; a third figure is the number of the workload that alone may use the
place, where it matters who does."""
Apart = Collection[tuple[int, int]]
"""Pairs of numbers of workloads that share no node."""
Pattern = tuple[int, ...]
"""How many replicas of each size one node holds."""
ONE_GPU: Size = (1, 0)
"""What a GPU that is cut takes of its node."""
MAX_PATTERNS = 2_000


class TooManyPatternsError(InputError):
    """More ways to fill a node than are worth listing."""


def most_that_fit(size: Size, free: Size) -> int:
    """Replicas of one size in what is free of a node.

    >>> most_that_fit((2, 10), (8, 35))
    3
    """
    by_gpu = free[0] // size[0] if size[0] else free[1] // size[1]
    return min(by_gpu, free[1] // size[1]) if size[1] else by_gpu


def only_gpus_matter(sizes: Sequence[Size], node: Size) -> bool:
    """True where memory never binds: no size takes a larger share of the memory than of the GPUs."""
    return all(size[1] * node[0] <= size[0] * node[1] for size in sizes)


def gpus_add_up(sizes: Sequence[Size], node: Size) -> bool:
    """True where a set of replicas fits `n` nodes exactly if its GPUs are at most those of `n` nodes.

    So it is when each size divides the next and the largest divides the node, and memory never binds.

    >>> gpus_add_up([(1, 0), (2, 0), (4, 0)], (8, 0))
    True
    >>> gpus_add_up([(3, 0)], (8, 0))
    False
    """
    chain = [*sorted({size[0] for size in sizes}), node[0]]
    return only_gpus_matter(sizes, node) and all(large % small == 0 for small, large in pairwise(chain))


def owner_of(size: Size) -> int:
    """The number of the only workload that may use the place; 0 = any."""
    return size[2] if len(size) > 2 else 0


def maximal_patterns(sizes: Sequence[Size], node: Size, *, at: str = "", apart: Apart = ()) -> tuple[Pattern, ...]:
    """All ways to fill a node to which no further replica of any size could be added; workloads that are `apart` are
    not on one node.

    Raises TooManyPatternsError when there are more than MAX_PATTERNS.

    >>> maximal_patterns([(4, 0), (3, 0)], (8, 0))
    ((2, 0), (1, 1), (0, 2))
    """
    found: list[Pattern] = []
    rivals = [[k for k, other in enumerate(sizes) if (owner_of(size), owner_of(other)) in apart] for size in sizes]

    def fits(index: int, free: Size, taken: Pattern) -> int:
        if any(k < len(taken) and taken[k] for k in rivals[index]):
            return 0
        return most_that_fit(sizes[index], free)

    def fill(index: int, free: Size, taken: Pattern) -> None:
        if index == len(sizes):
            if all(fits(k, free, taken) == 0 for k in range(len(sizes))):
                found.append(taken)
                if len(found) > MAX_PATTERNS:
                    raise TooManyPatternsError(
                        f"{at}: more than {MAX_PATTERNS} ways to fill one node with {len(sizes)} sizes of replicas; "
                        "round their memory up to fewer, coarser steps"
                    )
            return
        gpus, ram = sizes[index][:2]
        most = fits(index, free, taken)
        least = most if index == len(sizes) - 1 else 0
        for count in range(most, least - 1, -1):
            fill(index + 1, (free[0] - count * gpus, free[1] - count * ram), (*taken, count))

    fill(0, node, ())
    return tuple(found)
