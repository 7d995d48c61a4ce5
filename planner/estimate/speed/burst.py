"""Requests that come all at once: when each sees its first token and its last, on one rank.

Continuous batching: prompts are taken in by passes of as many as one holds; every pass also makes a token for those
already in. Beyond the slots the next request starts as one ends, so latencies repeat with every full round of the
batch. Engines of fixed batches answer one batch after another. Answers have one length: of mixed ones the mean.
`tests/estimate/speed/test_burst.py` holds it to a simulation pass by pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.estimate.speed.open_loop import Latency, latency
from planner.estimate.types import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class BurstTimes:
    """Times of one rank."""

    step_s: Floats
    """Decode step with 1, 2, ... up to all slots' requests."""
    prefill_s: float
    """Engine time of one prompt packed into passes with others."""
    overhead_s: float
    """From start to first token beside the prompts."""
    rounds: float
    """Tokens after the first."""
    num_packed: float
    """Prompts that one pass holds, at least 1."""
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

    >>> one = BurstTimes(step_s=np.ones(2), prefill_s=1.0, overhead_s=0.0, rounds=3.0, num_packed=1.0, continuous=False)
    >>> burst_of(one, requests=4).makespan_s          # two batches of two: 2 s of prompts and three steps each
    10.0
    """
    slots = len(times.step_s)
    number = np.arange(requests)
    first, last = taken_in(times, min(requests, slots))
    cycle_s = slots * times.prefill_s + times.rounds * float(times.step_s[-1])
    place, turn = number % slots, number // slots
    later_s = turn * cycle_s + times.overhead_s
    ttft_s, end_s = first[place] + later_s, last[place] + later_s
    return Burst(
        makespan_s=float(end_s.max()),
        ttft=latency(ttft_s, mean_s=float(ttft_s.mean())),
        end_to_end=latency(end_s, mean_s=float(end_s.mean())),
    )


def taken_in(times: BurstTimes, count: int) -> tuple[Floats, Floats]:
    """First and last token of the requests that start at once, in their order."""
    number = np.arange(count)
    full_step_s = float(times.step_s[count - 1])
    if not times.continuous:
        all_in_s = np.full(count, count * times.prefill_s)
        return all_in_s, all_in_s + times.rounds * full_step_s
    passes = np.floor(number / times.num_packed)
    before = np.minimum(np.floor(passes * times.num_packed).astype(np.intp), count)
    steps_s = np.concatenate([np.zeros(1), times.step_s[:count]])
    new_pass = np.concatenate([np.ones(1), np.diff(passes)])
    waited_s = np.cumsum(new_pass * steps_s[before]) * bool(times.rounds)
    first: Floats = np.minimum(np.ceil((passes + 1) * times.num_packed), count) * times.prefill_s + waited_s
    made = passes[-1] - passes
    last: Floats = first[-1] + np.maximum(times.rounds - made, 0.0) * full_step_s
    return first, np.maximum(last, first)
