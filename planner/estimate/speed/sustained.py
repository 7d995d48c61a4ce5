"""How many requests a second one rank carries while latencies keep their limits: closed forms, many ways at once.

A short form of `open_loop.py` for searching: the step is a straight line from one request to all slots, the batch
follows by Little's law, and waiting for a slot is that of many servers (H. Sakasegawa, "An approximation formula
L_q = alpha rho^beta / (1 - rho)", Annals of the Institute of Statistical Mathematics 29, 1977):

    wait = (1 + cv^2) / 2 x u^(sqrt(2 (c + 1)) - 1) / (c (1 - u)) x service,   c slots, utilisation u

Quantiles add up part by part, so they lie a little above those of the sum. `tests/estimate/speed/test_sustained.py`
holds them to `open_loop` and to a discrete-event simulation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.estimate.speed.open_loop import normal_at
from planner.estimate.speed.serving import MOST_LOAD
from planner.estimate.types import Bools, Floats

HALVINGS = 24
ROUNDS = 3
"""Of the batch and the stalls that follow from it: they hardly move after the second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankTimes:
    """Times of one data-parallel rank, one entry per way."""

    slots: Floats
    step_one_s: Floats
    """A decode step with one request."""
    step_full_s: Floats
    """A decode step with every slot taken."""
    prefill_s: Floats
    """Engine time of one prompt among others."""
    first_s: Floats
    """From start to first token on an idle engine."""
    rounds: float
    """Tokens after the first."""
    slow_first_factor: float = 1.0
    """`first_s` of the prompt at the percentile asked over that of the mean one."""
    prefill_variation: float = 0.0
    """Squared coefficient of variation of the prompts' engine times."""
    rounds_variation: float = 0.0
    """The same of the answers' lengths."""

    @property
    def most_per_second(self) -> Floats:
        """Requests a second that the full batch carries."""
        cycle_s = self.slots * self.prefill_s + self.rounds * self.step_full_s
        return self.slots / np.maximum(cycle_s, 1e-12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What latencies may be at most; None = no limit."""

    ttft_s: float | None = None
    tpot_s: float | None = None
    percentile: int | None = None
    """Of the requests that must keep them; None = the mean must."""


def sustained_per_second(times: RankTimes, limits: Limits, *, most_used: float) -> Floats:
    """Largest rate at which both latencies keep their limits, at most `most_used` of what the full batch carries.

    0 where even an idle engine misses a limit.
    """
    low = np.zeros_like(times.most_per_second)
    high = np.full_like(low, most_used)
    for _ in range(HALVINGS):
        middle = (low + high) / 2.0
        good = keeps(times, limits, middle)
        low, high = np.where(good, middle, low), np.where(good, high, middle)
    found = np.where(keeps(times, limits, np.full_like(low, most_used)), most_used, low)
    result: Floats = np.where(keeps(times, limits, np.zeros_like(low)), found, 0.0) * times.most_per_second
    return result


def keeps(times: RankTimes, limits: Limits, used: Floats) -> Bools:
    """Whether latencies at utilisation `used` are within the limits."""
    ttft_s, tpot_s = latencies(times, used, percentile=limits.percentile)
    good: Bools = (ttft_s <= (np.inf if limits.ttft_s is None else limits.ttft_s)) & (
        tpot_s <= (np.inf if limits.tpot_s is None else limits.tpot_s)
    )
    return good


def latencies(times: RankTimes, used: Floats, *, percentile: int | None) -> tuple[Floats, Floats]:
    """Time to first token and time per further token at utilisation `used`, below 1.

    >>> one = RankTimes(slots=np.ones(1), step_one_s=np.ones(1), step_full_s=np.ones(1),
    ...                 prefill_s=np.zeros(1), first_s=np.zeros(1), rounds=1.0)   # M/D/1 at half its load: waits half
    >>> ttft_s, tpot_s = latencies(one, np.array([0.5]), percentile=None)
    >>> round(waiting_s(one, np.array([0.5]), percentile=None).item(), 3), tpot_s.item()
    (0.5, 1.0)
    """
    rate = used * times.most_per_second
    load = np.minimum(rate * times.prefill_s, MOST_LOAD)
    slope = (times.step_full_s - times.step_one_s) / np.maximum(times.slots - 1.0, 1.0)
    squares = rate * times.prefill_s**2 * (1.0 + times.prefill_variation)
    makes_tokens = float(times.rounds > 0)
    extra_s = stall_s = np.zeros_like(rate)
    for _ in range(ROUNDS):
        # Little: running = rate x time in the batch, where a step is a straight line of how many run beside.
        held = rate * (times.rounds * times.step_one_s + extra_s)
        running = held / np.maximum(1.0 - load - rate * times.rounds * slope, 1e-3)
        others = np.minimum(running, times.slots - 1.0)
        step_s = makes_tokens * np.minimum(times.step_one_s + slope * others, times.step_full_s)
        mean_s = step_s / (1.0 - load)
        found_s = mean_s + squares / (1.0 - load**2) if times.rounds else squares / np.maximum(load, 1e-12)
        own_s = step_s + times.prefill_s + load * found_s
        stall_s = load * np.maximum(0.0, own_s - mean_s)
        extra_s = own_s + stall_s
    busy = np.minimum(1.0, running + load)
    joined_s = step_s + (0.5 + load) * found_s
    tpot_s = (step_s + stall_s / max(times.rounds, 1.0)) / (1.0 - load)
    if percentile is None:
        return times.first_s + busy * joined_s + waiting_s(times, used, percentile=None), tpot_s
    # What is left of the iteration found, and the Poisson prompts over its whole length: as in `open_loop.py`.
    found_squares = found_s**2 + squares / (1.0 - load**2) * found_s
    joined_variance = (1.0 / 3.0 + load + load**2) * found_squares + squares * found_s - ((0.5 + load) * found_s) ** 2
    per_round = (1.0 + times.rounds_variation) / max(times.rounds, 1.0)
    tpot_variance = squares * tpot_s / (1.0 - load) ** 2 * per_round
    # Requests that find the engine idle wait for nothing: the quantile lies among the others.
    among = np.clip(1.0 - (1.0 - percentile / 100.0) / np.maximum(busy, 1e-12), 0.0, 1.0)
    joined_s = np.where(among > 0, gamma_quantile(among, mean=joined_s, variance=joined_variance), 0.0)
    chance = np.full_like(rate, percentile / 100.0)
    slow_s = step_s + gamma_quantile(chance, mean=np.maximum(tpot_s - step_s, 1e-12), variance=tpot_variance)
    first_s = times.first_s * times.slow_first_factor
    return first_s + joined_s + waiting_s(times, used, percentile=percentile), slow_s


def gamma_quantile(chance: Floats, *, mean: Floats, variance: Floats) -> Floats:
    """Quantiles of gamma distributions (Wilson and Hilferty, 1931).

    >>> gamma_quantile(np.array([0.9]), mean=np.ones(1), variance=np.zeros(1)).item()
    1.0
    """
    ratio = variance / np.maximum(mean, 1e-12) ** 2 / 9.0
    result: Floats = mean * np.maximum(1.0 - ratio + normal_at(chance) * np.sqrt(ratio), 0.0) ** 3
    return result


def waiting_s(times: RankTimes, used: Floats, *, percentile: int | None) -> Floats:
    """Wait for a slot: its mean, or its quantile where an exponential share of the requests waits at all."""
    service_s = times.slots / times.most_per_second
    chance = used ** (np.sqrt(2.0 * (times.slots + 1.0)) - 1.0)
    those_s = (1.0 + times.rounds_variation) / 2.0 * service_s / (times.slots * np.maximum(1.0 - used, 1e-9))
    if percentile is None:
        return chance * those_s
    beyond = chance / (1.0 - percentile / 100.0)
    return those_s * np.log(np.maximum(beyond, 1.0))
