"""Requests that come all at once: when each sees its first token and its last, on one rank.

Continuous batching: prompts are taken in by passes of as many as one holds while slots are free; every pass also makes
a token for those already in. Between the end of one answer and the next nothing changes, so time runs from end to end.
Engines of fixed batches answer one batch after another, each until its longest answer is made. Kinds of a mix are dealt
evenly over the order in which requests are served.
`tests/estimate/speed/test_burst.py` holds it to a simulation pass by pass.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from planner.estimate.speed.open_loop import Latency, Requests, latency
from planner.estimate.types import Floats

GOLDEN = 0.6180339887498949
"""Multiples of the golden section, modulo 1, are spread evenly however many are taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BurstTimes:
    """Times of one rank."""

    kinds: Requests
    """`prefill_s` of a prompt packed into passes with others; `first_s` is not used."""
    step_s: Floats
    """Decode step with 1, 2, ... up to all slots' requests."""
    overhead_s: float
    """From start to first token beside the prompts."""
    num_packed: int
    """Prompts that one pass holds."""
    continuous: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """What the requests of one burst see."""

    makespan_s: float
    """Until the last answer is complete."""
    ttft: Latency
    end_to_end: Latency


def burst_of(times: BurstTimes, *, requests: int) -> Burst:
    """`requests` that come at once to an idle rank.

    >>> kinds = Requests(share=np.ones(1), prefill_s=np.ones(1), first_s=np.ones(1), rounds=np.full(1, 3.0))
    >>> one = BurstTimes(kinds=kinds, step_s=np.ones(2), overhead_s=0.0, num_packed=1, continuous=False)
    >>> burst_of(one, requests=4).makespan_s          # two batches of two: 2 s of prompts and three steps each
    10.0
    """
    kind = kinds_in_order(times.kinds, requests)
    serve = joined_and_left if times.continuous else batch_after_batch
    first, last = serve(times, kind)
    ttft_s, end_s = first + times.overhead_s, last + times.overhead_s
    return Burst(
        makespan_s=float(end_s.max()),
        ttft=latency(ttft_s, mean_s=float(ttft_s.mean())),
        end_to_end=latency(end_s, mean_s=float(end_s.mean())),
    )


def kinds_in_order(kinds: Requests, requests: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """The kind of each request, in the order in which they are served."""
    upto = np.cumsum(kinds.share)
    chance = (GOLDEN * np.arange(1, requests + 1)) % 1.0
    return np.minimum(np.searchsorted(upto, chance, side="right"), len(upto) - 1)


def joined_and_left(times: BurstTimes, kind: np.ndarray[tuple[int], np.dtype[np.intp]]) -> tuple[Floats, Floats]:
    """First and last token of each request under continuous batching."""
    slots, count = len(times.step_s), len(kind)
    prefill_s = times.kinds.prefill_s[kind].tolist()
    rounds = np.round(times.kinds.rounds[kind]).astype(int).tolist()
    first, last = np.zeros(count), np.zeros(count)
    running: list[tuple[int, int]] = []
    now_s, iteration, begun = 0.0, 0, 0
    while begun < count or running:
        joining = range(begun, min(count, begun + times.num_packed, begun + slots - len(running)))
        ahead = 1 if joining else running[0][0] - iteration
        now_s += ahead * float(times.step_s[len(running) - 1]) if running else 0.0
        now_s += sum(prefill_s[who] for who in joining)
        iteration += ahead
        while running and running[0][0] <= iteration:
            last[heapq.heappop(running)[1]] = now_s
        for who in joining:
            first[who] = last[who] = now_s
            if rounds[who]:
                heapq.heappush(running, (iteration + rounds[who], who))
        begun += len(joining)
    return first, last


def batch_after_batch(times: BurstTimes, kind: np.ndarray[tuple[int], np.dtype[np.intp]]) -> tuple[Floats, Floats]:
    """First and last token of each request where one batch ends before the next starts."""
    first, last = np.zeros(len(kind)), np.zeros(len(kind))
    now_s = 0.0
    for start in range(0, len(kind), len(times.step_s)):
        batch = kind[start : start + len(times.step_s)]
        here = slice(start, start + len(batch))
        now_s += float(times.kinds.prefill_s[batch].sum())
        step_s = float(times.step_s[len(batch) - 1])
        first[here] = now_s
        last[here] = now_s + times.kinds.rounds[batch] * step_s
        now_s += float(times.kinds.rounds[batch].max()) * step_s
    return first, last
