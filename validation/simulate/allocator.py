"""PyTorch's CUDA caching allocator, replayed: what a stream of requests makes `memory_allocated` and `memory_reserved`.

After c10/cuda/CUDACachingAllocator.cpp of PyTorch 2.13 with default settings, and with expandable segments. Requests
are rounded up to 512 bytes. Up to 1 MiB they come from segments of 2 MiB; below 10 MiB from segments of 20 MiB; larger
ones get a segment of their own size, rounded up to 2 MiB. A free block is taken best-fit and split where enough
remains; else it is handed out, and counted as allocated, whole. Freed blocks join free neighbours. Left out: retries
after out-of-memory, garbage collection, `max_split_size`, `record_stream`. Pure Python, sizes in bytes.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

MIB = 1 << 20
ROUND = 512
"""kMinBlockSize."""
SMALL = MIB
"""kSmallSize: the largest request of the small pool."""
SMALL_SEGMENT = 2 * MIB
"""kSmallBuffer."""
MIN_OWN_SEGMENT = 10 * MIB
"""kMinLargeAlloc: requests from here on get a segment of their own."""
LARGE_SEGMENT = 20 * MIB
"""kLargeBuffer."""
ROUND_SEGMENT = 2 * MIB
"""kRoundLarge."""


class Event(NamedTuple):
    """One step of a trace: `nbytes` > 0 asks for the memory called `key`, 0 gives it back."""

    key: int
    nbytes: int
    stream: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Peaks:
    """The largest each counter of one device has been."""

    allocated_bytes: int
    """`max_memory_allocated`: blocks handed out."""
    reserved_bytes: int
    """`max_memory_reserved`: segments held."""
    requested_bytes: int
    """What was asked for, before any rounding."""
    segments: int


@dataclass(slots=True, eq=False)
class _Block:
    address: int
    size: int
    pool: _Pool
    before: _Block | None = None
    after: _Block | None = None
    free: bool = False


@dataclass(slots=True, eq=False)
class _Pool:
    """The free blocks of one size class and stream, by size and address."""

    small: bool
    free: list[tuple[int, int, _Block]] = field(default_factory=list)
    tail: _Block | None = None
    """With expandable segments: the block that ends where nothing is mapped yet."""

    def put(self, block: _Block) -> None:
        insort(self.free, (block.size, block.address, block))

    def take(self, block: _Block) -> None:
        del self.free[bisect_left(self.free, (block.size, block.address))]


def rounded(nbytes: int) -> int:
    """The block a request asks for.

    >>> rounded(1), rounded(512), rounded(513)
    (512, 512, 1024)
    """
    return max(ROUND, -(-nbytes // ROUND) * ROUND)


def segment_bytes(size: int) -> int:
    """The segment that is reserved for a block of `size` where no free block serves.

    >>> [segment_bytes(n) // MIB for n in (512, 2 * MIB, 10 * MIB, 11 * MIB)]
    [2, 20, 10, 12]
    """
    if size <= SMALL:
        return SMALL_SEGMENT
    return LARGE_SEGMENT if size < MIN_OWN_SEGMENT else -(-size // ROUND_SEGMENT) * ROUND_SEGMENT


class CachingAllocator:
    """One device's allocator. `malloc` and `free` keep the counters; nothing is ever given back to the driver."""

    def __init__(self, *, expandable_segments: bool = False) -> None:
        self.expandable = expandable_segments
        self.allocated_bytes = self.reserved_bytes = self.requested_bytes = 0
        self.peak_allocated_bytes = self.peak_reserved_bytes = self.peak_requested_bytes = 0
        self.num_segments = 0
        self._pools: dict[tuple[bool, int], _Pool] = {}
        self._live: dict[int, tuple[_Block, int]] = {}
        self._next_address = 0

    def malloc(self, key: int, nbytes: int, stream: int = 0) -> int:
        """Hand out memory under `key`; the bytes of its block, which count as allocated.

        Raises ValueError where the key is in use.
        """
        if key in self._live:
            raise ValueError(f"memory {key} is already handed out")
        size = rounded(nbytes)
        small = size <= SMALL
        pool = self._pools.setdefault((small, stream), _Pool(small=small))
        block = self._found(pool, size) or (self._grown(pool, size) if self.expandable else self._new(pool, size))
        self._split(block, size)
        block.free = False
        self._live[key] = (block, nbytes)
        self.allocated_bytes += block.size
        self.requested_bytes += nbytes
        self.peak_allocated_bytes = max(self.peak_allocated_bytes, self.allocated_bytes)
        self.peak_requested_bytes = max(self.peak_requested_bytes, self.requested_bytes)
        return block.size

    def free(self, key: int) -> None:
        """Take back what `key` was handed. Raises KeyError where it holds nothing."""
        block, nbytes = self._live.pop(key)
        self.allocated_bytes -= block.size
        self.requested_bytes -= nbytes
        pool = block.pool
        for other in (block.before, block.after):
            if other is not None and other.free:
                pool.take(other)
                _join(block, other)
        block.free = True
        pool.put(block)

    def peaks(self) -> Peaks:
        """The counters' largest values so far."""
        return Peaks(
            allocated_bytes=self.peak_allocated_bytes,
            reserved_bytes=self.peak_reserved_bytes,
            requested_bytes=self.peak_requested_bytes,
            segments=self.num_segments,
        )

    def _found(self, pool: _Pool, size: int) -> _Block | None:
        """The best-fitting free block; the one that could still grow only where no other fits."""
        index = bisect_left(pool.free, (size, 0))
        if index < len(pool.free) and pool.free[index][2] is pool.tail and index + 1 < len(pool.free):
            index += 1
        if index >= len(pool.free):
            return None
        return pool.free.pop(index)[2]

    def _new(self, pool: _Pool, size: int) -> _Block:
        block = _Block(self._next_address, segment_bytes(size), pool)
        self._next_address += block.size
        self._reserve(block.size)
        self.num_segments += 1
        return block

    def _grown(self, pool: _Pool, size: int) -> _Block:
        """The end of the pool's expandable segment, with as many more pages mapped as the block needs."""
        page, tail = SMALL_SEGMENT if pool.small else LARGE_SEGMENT, pool.tail
        if tail is not None and tail.free:
            pool.take(tail)
            more = -(-(size - tail.size) // page) * page
            tail.size += more
        else:
            more = -(-size // page) * page
            address = tail.address + tail.size if tail else self._next_address
            grown = _Block(address, more, pool, before=tail)
            if tail is None:
                self._next_address += 1 << 50
                self.num_segments += 1
            else:
                tail.after = grown
            tail = grown
        self._reserve(more)
        pool.tail = tail
        return tail

    def _reserve(self, nbytes: int) -> None:
        self.reserved_bytes += nbytes
        self.peak_reserved_bytes = max(self.peak_reserved_bytes, self.reserved_bytes)

    def _split(self, block: _Block, size: int) -> None:
        """Leave of the block what was asked for, if what remains is worth keeping."""
        pool, remaining = block.pool, block.size - size
        if remaining < ROUND or not (pool.small or self.expandable or remaining > SMALL):
            return
        rest = _Block(block.address + size, remaining, pool, before=block, after=block.after, free=True)
        if block.after is not None:
            block.after.before = rest
        block.after, block.size = rest, size
        if pool.tail is block:
            pool.tail = rest
        pool.put(rest)


def _join(block: _Block, other: _Block) -> None:
    """Add a free neighbour to the block."""
    if other is block.before:
        block.address, block.before = other.address, other.before
        if other.before is not None:
            other.before.after = block
    else:
        block.after = other.after
        if other.after is not None:
            other.after.before = block
    block.size += other.size
    if block.pool.tail is other:
        block.pool.tail = block


def replay(events: Iterable[Event], *, expandable_segments: bool = False) -> Peaks:
    """The peaks of a whole trace.

    Raises ValueError for a key asked for twice, KeyError for one given back that nobody holds.

    >>> replay([Event(1, 3 * MIB), Event(2, MIB), Event(1, 0)]).reserved_bytes // MIB
    22
    """
    allocator = CachingAllocator(expandable_segments=expandable_segments)
    for event in events:
        if event.nbytes:
            allocator.malloc(event.key, event.nbytes, event.stream)
        else:
            allocator.free(event.key)
    return allocator.peaks()
