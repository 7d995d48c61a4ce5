"""Throughput and latency of one replica from the times of a decode step and a prefill.

Closed loop: C clients, each sends its next request when the last is answered. Little's law ties the three figures
together, so `C x output = rate x (ttft + (output - 1) x tpot)` holds exactly. All arguments are of one data-parallel
rank, one entry per way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from planner.estimate.types import Floats

MOST_LOAD = 0.95
"""Share of engine time in prefill at which the queueing formula is cut off."""
OWN_PASS = 0.9
"""Passes that a request of a group waits which fits into one pass: the first of the group start a little earlier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Means over requests of one rank."""

    requests_per_second: Floats
    ttft_s: Floats
    tpot_s: Floats
    """Not a number where a request makes fewer than two tokens."""


def closed_loop(
    *,
    clients: Floats,
    running: Floats,
    prefill_s: Floats,
    own_prefill_s: Floats,
    step_s: Floats,
    server_s: Floats,
    new_tokens: float,
    packed: Floats,
    length_spread: Floats | float,
    prompt_variation: float = 0.0,
) -> Served:
    """Continuous batching with `running` of `clients` requests in the batch.

    The engine spends `prefill_s` on each request (its share of a packed prefill) and one `step_s` on every round of
    decode tokens. Before its first token a request waits for its own prefill (`own_prefill_s`), for the step that runs
    when it comes and the prompts before it (evenly spread arrivals: M/D/1 at the share of time spent in prefill), and
    for the prompts that come with it (`together_s`). Prompts of several lengths make that wait longer by the squared
    coefficient of variation `prompt_variation` (Pollaczek and Khinchine). The rest of the others' prefills lies
    between its tokens. Beyond the batch it queues.
    """
    rounds = max(0.0, new_tokens - 1.0)
    cycle = running * prefill_s + rounds * step_s
    residence = np.maximum(np.maximum(cycle, running * server_s), own_prefill_s + rounds * step_s)
    rate = running / residence
    others = residence - rounds * step_s - own_prefill_s
    load = np.minimum(rate * prefill_s, MOST_LOAD)
    spread_out = np.where(
        running > 1, load / (2.0 * (1.0 - load)) * (1.0 + prompt_variation) * prefill_s + 0.5 * step_s, 0.0
    )
    group = together_s(running=running, packed=packed, prefill_s=prefill_s, drift_s=length_spread * rounds * step_s)
    waiting = np.minimum(spread_out + np.maximum(0.0, group - own_prefill_s), others)
    queue = (clients - running) / rate
    first = own_prefill_s + waiting + queue
    if rounds == 0:
        return Served(requests_per_second=rate, ttft_s=residence + queue, tpot_s=np.full_like(rate, np.nan))
    return Served(requests_per_second=rate, ttft_s=first, tpot_s=step_s + (others - waiting) / rounds)


def together_s(*, running: Floats, packed: Floats, prefill_s: Floats, drift_s: Floats) -> Floats:
    """Seconds from arrival to first token of requests that started together, times the share that still do.

    Prompts of one pass (`packed` fill it) get their first tokens at once, so answers of equal length end at once and
    the next prompts come at once: a request waits for the pass of its group, and for most of another one where more
    clients than one pass takes make groups meet. 0.9 and 1.9 passes at the two ends: a discrete-event simulation
    (`tests/estimate/speed/test_serving.py`). Answers whose ends drift apart by `drift_s` lose the group.

    >>> alone = together_s(running=np.ones(1), packed=np.ones(1), prefill_s=np.ones(1), drift_s=np.zeros(1))
    >>> round(float(alone[0]), 1)
    0.9
    """
    taken = np.minimum(packed, running)
    one_pass = taken * prefill_s
    passes = OWN_PASS + (1.0 - taken / running)
    kept: Floats = one_pass / (one_pass + drift_s)
    return passes * one_pass * kept


def static_batch(*, batch: Floats, prefill_s: Floats, step_s: Floats, rounds: Floats | float) -> Served:
    """One batch at a time: all prompts, then `rounds` steps until the last answer is made, then the next batch."""
    rate = batch / (prefill_s + rounds * step_s)
    tpot = np.where(np.asarray(rounds) > 0, step_s, np.nan)
    return Served(requests_per_second=rate, ttft_s=prefill_s + 0.0 * rate, tpot_s=tpot + 0.0 * rate)


def chance_of_most(values: Sequence[float], shares: Sequence[float], draws: Floats) -> list[Floats]:
    """For each value of a mix how likely it is the largest of `draws` taken from it.

    >>> [float(c[0]) for c in chance_of_most((100.0, 500.0), (0.5, 0.5), np.array([2.0]))]
    [0.25, 0.75]
    """
    order = sorted(range(len(values)), key=lambda k: values[k])
    found: dict[int, Floats] = {}
    below: Floats = np.zeros(1)
    upto = 0.0
    for k in order:
        upto = 1.0 if k == order[-1] else upto + shares[k]
        reached: Floats = upto**draws
        found[k], below = reached - below, reached
    return [found[k] for k in range(len(values))]
