"""The caching allocator by hand-checked traces and by what must hold for any trace."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from validation.simulate.allocator import MIB, CachingAllocator, Event, Peaks, replay

KIB = 1024


@st.composite
def traces(draw: st.DrawFn) -> list[Event]:
    """Requests of all sizes, given back in any order, some never."""
    sizes = st.one_of(st.integers(1, 3000), st.integers(1, 3 * MIB), st.integers(1, 60 * MIB))
    live: list[int] = []
    events = []
    for key, size in enumerate(draw(st.lists(sizes, min_size=1, max_size=60))):
        events.append(Event(key, size))
        live.append(key)
        while live and draw(st.booleans()):
            events.append(Event(live.pop(draw(st.integers(0, len(live) - 1))), 0))
    return events


def test_small_requests_share_a_two_mib_segment() -> None:
    peaks = replay([Event(i, 1) for i in range(4096)])
    assert (peaks.allocated_bytes, peaks.reserved_bytes, peaks.segments) == (2 * MIB, 2 * MIB, 1)


def test_a_freed_block_serves_the_next_request() -> None:
    peaks = replay([Event(1, 30 * MIB), Event(1, 0), Event(2, 28 * MIB)])
    assert (peaks.allocated_bytes, peaks.reserved_bytes) == (30 * MIB, 30 * MIB)


def test_a_large_block_with_little_left_over_is_handed_out_whole() -> None:
    allocator = CachingAllocator()
    allocator.malloc(1, 20 * MIB)
    allocator.free(1)
    assert allocator.malloc(2, 19 * MIB) == 20 * MIB  # 1 MiB remains: not split
    allocator.free(2)
    assert allocator.malloc(3, 19 * MIB - 512) == 19 * MIB - 512


def test_neighbours_join_so_that_a_larger_request_fits() -> None:
    allocator = CachingAllocator()
    allocator.malloc(1, 40 * MIB)
    allocator.free(1)
    for key in (2, 3):
        allocator.malloc(key, 20 * MIB)
    allocator.free(2)
    allocator.free(3)
    allocator.malloc(4, 40 * MIB)
    assert allocator.peaks() == Peaks(
        allocated_bytes=40 * MIB, reserved_bytes=40 * MIB, requested_bytes=40 * MIB, segments=1
    )


def test_growing_requests_fragment_ordinary_segments_and_not_expandable_ones() -> None:
    growing = [event for i in range(8) for event in (Event(i, (20 + 4 * i) * MIB), *([Event(i - 1, 0)] if i else []))]
    assert replay(growing).reserved_bytes > 1.5 * replay(growing).allocated_bytes
    assert replay(growing, expandable_segments=True).reserved_bytes < 1.5 * replay(growing).allocated_bytes


def test_streams_do_not_share_blocks() -> None:
    peaks = replay([Event(1, 20 * MIB), Event(1, 0), Event(2, 20 * MIB, 1)])
    assert peaks.reserved_bytes == 40 * MIB


def test_giving_back_what_nobody_holds_is_an_error() -> None:
    with pytest.raises(KeyError):
        replay([Event(1, 0)])
    with pytest.raises(ValueError, match="already"):
        replay([Event(1, 5), Event(1, 5)])


@settings(max_examples=60, deadline=None)
@given(trace=traces(), expandable=st.booleans())
def test_requested_is_at_most_allocated_is_at_most_reserved(trace: list[Event], expandable: bool) -> None:
    peaks = replay(trace, expandable_segments=expandable)
    assert peaks.requested_bytes <= peaks.allocated_bytes <= peaks.reserved_bytes
    assert peaks.reserved_bytes % (2 * MIB) == 0


@settings(max_examples=60, deadline=None)
@given(trace=traces(), expandable=st.booleans())
def test_a_trace_given_back_leaves_nothing_allocated_and_keeps_its_segments(
    trace: list[Event], expandable: bool
) -> None:
    allocator = CachingAllocator(expandable_segments=expandable)
    live: set[int] = set()
    for event in trace:
        if event.nbytes:
            allocator.malloc(event.key, event.nbytes)
            live.add(event.key)
        else:
            allocator.free(event.key)
            live.discard(event.key)
    for key in live:
        allocator.free(key)
    assert (allocator.allocated_bytes, allocator.requested_bytes) == (0, 0)
    assert allocator.reserved_bytes == allocator.peaks().reserved_bytes
