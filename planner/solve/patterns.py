"""How replicas of different sizes share one node: the maximal ways to fill it.

Bins are not indexed. A node type meets few sizes (GPUs, memory), so all maximal fillings are listed once and
the optimiser chooses how many nodes are filled each way.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from planner.errors import InputError

Size = tuple[int, int]
"""GPUs and memory of one replica on one node."""
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
    return all(ram * node[0] <= gpus * node[1] for gpus, ram in sizes)


def gpus_add_up(sizes: Sequence[Size], node: Size) -> bool:
    """True where a set of replicas fits `n` nodes exactly if its GPUs are at most those of `n` nodes.

    So it is when each size divides the next and the largest divides the node, and memory never binds.

    >>> gpus_add_up([(1, 0), (2, 0), (4, 0)], (8, 0))
    True
    >>> gpus_add_up([(3, 0)], (8, 0))
    False
    """
    chain = [*sorted({gpus for gpus, _ in sizes}), node[0]]
    return only_gpus_matter(sizes, node) and all(large % small == 0 for small, large in pairwise(chain))


def maximal_patterns(sizes: Sequence[Size], node: Size, *, at: str = "") -> tuple[Pattern, ...]:
    """All ways to fill a node to which no further replica of any size could be added.

    Raises TooManyPatternsError when there are more than MAX_PATTERNS.

    >>> maximal_patterns([(4, 0), (3, 0)], (8, 0))
    ((2, 0), (1, 1), (0, 2))
    """
    found: list[Pattern] = []

    def fill(index: int, free: Size, taken: Pattern) -> None:
        if index == len(sizes):
            if all(most_that_fit(s, free) == 0 for s in sizes):
                found.append(taken)
                if len(found) > MAX_PATTERNS:
                    raise TooManyPatternsError(
                        f"{at}: more than {MAX_PATTERNS} ways to fill one node with {len(sizes)} sizes of replicas; "
                        "round their memory up to fewer, coarser steps"
                    )
            return
        gpus, ram = sizes[index]
        most = most_that_fit(sizes[index], free)
        least = most if index == len(sizes) - 1 else 0
        for count in range(most, least - 1, -1):
            fill(index + 1, (free[0] - count * gpus, free[1] - count * ram), (*taken, count))

    fill(0, node, ())
    return tuple(found)
