"""Latency of one rank under requests that arrive at random (Poisson), whatever is already in flight.

Iteration-level scheduling (Orca, Yu et al., OSDI 2022): an iteration makes one token for every running request and
prefills the prompts that came since the last one. Four parts, each with its own formula:

- Requests running: the rank is a processor-sharing queue whose speed depends on how many share it, so
  P(n) ~ product over k <= n of rate x tokens x step(k) / k, whatever the distribution of the answers' lengths (Kelly,
  Reversibility and Stochastic Networks, 1979, section 3.3; Cohen 1979). Prompts take `rate x prefill` of the time.
- Waiting for a free slot: beyond the slots that chain goes on at the full batch's rate (M/M/c); waits of answers that
  vary by `cv` are (1 + cv^2) / 2 of that (Lee and Longton 1959), exponential for those who wait.
- The iteration under way when a request comes, and the prompts that come with it: iterations T = step + the prompts
  of the one before have mean step / (1 - load) and variance rate x E[prefill^2] x mean / (1 - load^2); an arrival finds
  one that is longer by its size bias (the inspection paradox).
- Time per token over one answer: prompts of others (Poisson) and how many run beside it while it lasts (M/D/inf:
  covariance falls linearly over a residence, so its mean over one has 2/3 of the variance).

Quantiles are those of the sum of the parts over an even lattice of points. One rank, one way.
`tests/estimate/speed/test_open_loop.py` holds all of it to a discrete-event simulation.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from planner.estimate.speed.serving import MOST_LOAD
from planner.estimate.types import Floats

LATTICE_POINTS = 8192
QUANTILES = (0.5, 0.9, 0.99)
TINY = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Over requests."""

    mean_s: float
    p50_s: float
    p90_s: float
    p99_s: float

    def at(self, percentile: int | None) -> float:
        """The quantile of a percentile that is reported, or the mean."""
        return {None: self.mean_s, 50: self.p50_s, 90: self.p90_s, 99: self.p99_s}[percentile]


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """Kinds of requests of a mix, one entry each."""

    share: Floats
    prefill_s: Floats
    """Engine time of the prompt."""
    first_s: Floats
    """From start to first token on an idle engine."""
    rounds: Floats
    """Tokens after the first."""

    def mean(self, values: Floats) -> float:
        """Over requests."""
        return float(np.sum(self.share * values))


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenLoop:
    """One rank under random arrivals. All but the utilisation is None where it cannot keep up."""

    utilisation: float
    """Arrival rate over the most that the full batch carries."""
    running: float | None = None
    """Mean requests in the batch."""
    waiting_share: float | None = None
    """Share of the requests that find every slot taken."""
    prefill_load: float | None = None
    """Share of time in prefill."""
    step_s: float | None = None
    """Mean decode step with the requests that a request runs beside; 0 where no tokens are made."""
    own_s: float | None = None
    """First token on an idle engine."""
    stall_s: float | None = None
    """Mean stalls of an answer by prompts that came while its own was prefilled, beyond the usual ones."""
    queue_s: float | None = None
    """Mean wait for a slot."""
    rounds: float | None = None
    """Decode steps that a request stays for in a batch that runs to its longest answer; None = its own tokens."""
    iteration_s: float | None = None
    """Mean of the iteration under way, the prompts that came with the request, and the decode step they join."""
    ttft: Latency | None = None
    tpot: Latency | None = None
    """None where no request makes two tokens."""
    end_to_end: Latency | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """How many run, and how long an arrival waits for a slot."""

    found_shares: Floats
    """Chance that an arrival finds 0, 1, ... up to all slots taken."""
    running: float
    """Mean requests in the batch."""
    waiting_share: float
    """Chance to find every slot taken."""
    wait_s: float
    """Mean wait of those who wait."""
    variance_ratio: float
    """Variance of the number's mean over one residence, relative to its own: 2/3 in M/D/inf."""


def most_requests_per_second(requests: Requests, step_s: Floats) -> float:
    """Rate that the full batch carries: slots / (slots x prefill + rounds x step), the closed loop's."""
    slots = len(step_s)
    return slots / (slots * requests.mean(requests.prefill_s) + requests.mean(requests.rounds) * float(step_s[-1]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Steady:
    """Means of one rank that keeps up with its arrivals."""

    slots: Slots
    group: Group
    stall_s: float
    seen_s: Floats
    """Decode step of an arrival that finds 0, 1, ... slots taken."""
    step_s: float
    busy_share: float
    """Share of the arrivals that find the engine at work."""
    load: float
    ttft_s: float
    tpot_s: float


def steady(requests: Requests, *, requests_per_second: float, step_s: Floats) -> Steady | None:
    """Mean latencies at a rate, in closed form; None where the full batch carries less."""
    if requests_per_second >= most_requests_per_second(requests, step_s):
        return None
    load = requests_per_second * requests.mean(requests.prefill_s)
    rounds = requests.mean(requests.rounds)
    slots, group, stall_s = settled(requests, requests_per_second=requests_per_second, step_s=step_s, load=load)
    seen_s = seen_steps(slots, step_s) * (rounds > 0)
    step = float(np.sum(slots.found_shares * seen_s))
    busy = 1.0 - float(slots.found_shares[0]) * (1.0 - load)
    queue_s, iteration_s = slots.waiting_share * slots.wait_s, busy * (step + group.mean_s)
    return Steady(
        slots=slots,
        group=group,
        stall_s=stall_s,
        seen_s=seen_s,
        step_s=step,
        busy_share=busy,
        load=load,
        ttft_s=requests.mean(requests.first_s) + queue_s + iteration_s,
        tpot_s=(step + stall_s * bool(rounds) / max(rounds, 1.0)) / (1.0 - load),
    )


def open_loop(requests: Requests, *, requests_per_second: float, step_s: Floats) -> OpenLoop:
    """Steady state at `requests_per_second`; `step_s` holds a decode step at 1, 2, ... up to all slots' requests.

    Means are closed forms; quantiles are those of `LATTICE_POINTS` points.
    """
    used = requests_per_second / most_requests_per_second(requests, step_s)
    found = steady(requests, requests_per_second=requests_per_second, step_s=step_s)
    if found is None:
        return OpenLoop(utilisation=used)
    slots, group, load, busy, step = found.slots, found.group, found.load, found.busy_share, found.step_s
    rounds = requests.mean(requests.rounds)
    others = requests_per_second * found.tpot_s * requests.mean(requests.prefill_s**2) / (1.0 - load) ** 2
    beside = slots.variance_ratio * float(np.sum(slots.found_shares * (found.seen_s - step) ** 2)) / (1.0 - load) ** 2
    points = lattice()
    kind = np.minimum(np.searchsorted(np.cumsum(requests.share), points[0], side="right"), len(requests.share) - 1)
    waits = np.where(points[1] < slots.waiting_share, 1.0 - points[1] / max(slots.waiting_share, TINY), 1.0)
    queued = -slots.wait_s * np.log(np.maximum(waits, TINY))
    joined = np.where(points[2] < busy, step + group.seconds_at(np.minimum(points[2] / busy, 1.0), step_s=step), 0.0)
    varies = beside + others / np.maximum(requests.rounds[kind], 1.0)
    longest = longest_tpot_s(requests, step_s=step_s)[kind]
    least = float(found.seen_s[0])
    each = np.minimum(gamma_at(points[3], mean=found.tpot_s, variance=varies, least=least), longest)
    first = requests.first_s[kind] + queued + joined
    several = requests.rounds[kind] > 0
    return OpenLoop(
        utilisation=used,
        running=slots.running,
        waiting_share=slots.waiting_share,
        prefill_load=load,
        step_s=step,
        own_s=requests.mean(requests.first_s),
        stall_s=found.stall_s if rounds else 0.0,
        queue_s=slots.waiting_share * slots.wait_s,
        iteration_s=busy * (step + group.mean_s),
        ttft=latency(first, mean_s=found.ttft_s),
        tpot=latency(each[several], mean_s=found.tpot_s) if rounds else None,
        end_to_end=latency(first + requests.rounds[kind] * each, mean_s=found.ttft_s + rounds * found.tpot_s),
    )


def settled(
    requests: Requests, *, requests_per_second: float, step_s: Floats, load: float
) -> tuple[Slots, Group, float]:
    """Slots taken, the iteration an arrival joins, and seconds of stalls that the prompts add which came with it.

    The iteration that prefills a request is longer than others, so more prompts come in it and stall its first tokens
    than its last iteration leaves to others. Two rounds: both follow from the step, which hardly depends on them.
    """
    stall_s = own_s = 0.0
    for _ in range(2):
        slots = taken_slots(
            requests, requests_per_second=requests_per_second, step_s=step_s, load=load, extra_s=stall_s + own_s
        )
        step = float(np.sum(slots.found_shares * seen_steps(slots, step_s))) * (requests.mean(requests.rounds) > 0)
        group = arrival_group(requests, requests_per_second=requests_per_second, step_s=step, load=load)
        own_s = step + requests.mean(requests.prefill_s) + load / (0.5 + load) * group.mean_s
        stall_s = load * max(0.0, own_s - step / (1.0 - load))
    return slots, group, stall_s


def seen_steps(slots: Slots, step_s: Floats) -> Floats:
    """Decode step of an arrival that finds 0, 1, ... slots taken, itself beside them."""
    column: Floats = step_s[np.minimum(np.arange(len(slots.found_shares)), len(step_s) - 1)]
    return column


def taken_slots(
    requests: Requests, *, requests_per_second: float, step_s: Floats, load: float, extra_s: float = 0.0
) -> Slots:
    """The birth-and-death chain of requests in the batch, and of those that wait beyond it.

    Prompts that come stall everybody's decoding, so more come meanwhile: a branching process (Borel and Tanner), by
    which the number in the batch varies (1 + rate^2 Var[prefill]) / (1 - load)^2 times as much. Beyond the slots a
    request takes the engine its prompt and its share of the full batch's steps.

    >>> one = Requests(share=np.ones(1), prefill_s=np.zeros(1), first_s=np.zeros(1), rounds=np.ones(1))
    >>> single = taken_slots(one, requests_per_second=0.5, step_s=np.ones(1), load=0.0)   # M/D/1 at half its load
    >>> single.waiting_share, single.waiting_share * single.wait_s
    (0.5, 0.5)
    """
    count = np.arange(1, len(step_s) + 1)
    rounds, prefill = requests.mean(requests.rounds), requests.mean(requests.prefill_s)
    if not rounds:
        return Slots(found_shares=np.ones(1), running=0.0, waiting_share=0.0, wait_s=0.0, variance_ratio=1.0)
    ratios = requests_per_second * (rounds * step_s + extra_s) / ((1.0 - load) * count)
    variance = requests.mean(requests.prefill_s**2) - prefill**2
    pull = (1.0 - load) ** 2 / (1.0 + requests_per_second**2 * variance)
    logs = np.concatenate([np.zeros(1), np.cumsum(np.log(pull * ratios + 1.0 - pull))])
    chances = np.exp(logs - logs.max())
    used = requests_per_second / most_requests_per_second(requests, step_s)
    chances[-1] /= 1.0 - used
    chances /= chances.sum()
    work_s = requests.prefill_s + requests.rounds * step_s[-1] / len(step_s)
    mean_s = requests.mean(work_s)
    return Slots(
        found_shares=chances,
        running=float(np.sum(chances[1:] * count)),
        waiting_share=float(chances[-1]),
        wait_s=requests.mean(work_s**2) / mean_s / 2.0 / (1.0 - used),
        variance_ratio=1.0 - pull / 3.0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Seconds from arrival to first token beyond the own prefill and one decode step, where the engine is at work."""

    mean_s: float
    alone: float
    """Chance that the iteration under way is a bare step, and that no other request comes while it runs."""
    late_s: float
    """Mean of all other cases."""
    late_variance: float
    """In square seconds."""

    def seconds_at(self, chance: Floats, *, step_s: float) -> Floats:
        """Quantiles of a mixture: an even share of a bare step, or a gamma distribution."""
        rest = max(1.0 - self.alone, TINY)
        late = gamma_at((chance - self.alone) / rest, mean=self.late_s, variance=self.late_variance)
        return np.where(chance < self.alone, chance / max(self.alone, TINY) * step_s, late)


def arrival_group(requests: Requests, *, requests_per_second: float, step_s: float, load: float) -> Group:
    """What is left of the iteration under way, then the prompts of those who came while it ran.

    The iteration found lasts Y, by its size bias of mean E[T] + Var[T] / E[T]; what is left of it is an even share U,
    and the others' prompts are Poisson over Y: mean (1/2 + load) E[Y]. Late cases vary at least as with one length of
    Y. Where no tokens are made there are no iterations but prompts one after another (M/G/1, Pollaczek and Khinchine).
    """
    load = min(load, MOST_LOAD)
    second = requests_per_second * requests.mean(requests.prefill_s**2)
    if not step_s:
        wait = second / (2.0 * (1.0 - load)) / max(load, TINY)
        return Group(mean_s=wait, alone=0.0, late_s=wait, late_variance=wait**2)
    mean = step_s / (1.0 - load)
    found = mean + second / (1.0 - load**2)
    squares = found**2 + second / (1.0 - load**2) * found
    both = (1.0 / 3.0 + load + load**2) * squares + second * found
    alone = float(np.exp(-requests_per_second * (mean + step_s)) * step_s / mean)
    late_s = ((0.5 + load) * found - alone * step_s / 2.0) / (1.0 - alone)
    one = late_s / (0.5 + load)
    least = one**2 / 12.0 + second * one
    spread = (both - alone * step_s**2 / 3.0) / (1.0 - alone) - late_s**2
    return Group(mean_s=(0.5 + load) * found, alone=alone, late_s=late_s, late_variance=max(least, spread))


def longest_tpot_s(requests: Requests, *, step_s: Floats) -> Floats:
    """Time per token of each kind where every slot stays taken, so prompts come only as others leave.

    With their chance spread over the mix at its 99th percentile; prompts that are all alike have none.
    """
    per_round = len(step_s) / max(requests.mean(requests.rounds), 1.0)
    prefill = requests.mean(requests.prefill_s)
    variance = max(0.0, requests.mean(requests.prefill_s**2) - prefill**2)
    spread = np.sqrt(per_round * variance / np.maximum(requests.rounds, 1.0))
    result: Floats = float(step_s[-1]) + per_round * prefill + NormalDist().inv_cdf(QUANTILES[-1]) * spread
    return result


@functools.cache
def lattice(num_points: int = LATTICE_POINTS) -> Floats:
    """Even points of the unit cube in four dimensions: additive recurrence with the root of x^5 = x + 1.

    M. Roberts, "The unreasonable effectiveness of quasirandom sequences", 2018.
    """
    root = 1.0
    for _ in range(60):
        root = (1.0 + root) ** 0.2
    steps = root ** -np.arange(1.0, 5.0)
    points: Floats = (0.5 + np.arange(1, num_points + 1)[None, :] * steps[:, None]) % 1.0
    return points


def gamma_at(chance: Floats, *, mean: float, variance: Floats | float, least: float = 0.0) -> Floats:
    """Quantiles of a gamma distribution of this mean and variance above `least` (Wilson and Hilferty, 1931).

    >>> float(gamma_at(np.array([0.9]), mean=1.0, variance=0.0)[0])
    1.0
    """
    over = max(mean - least, TINY)
    ratio = np.asarray(variance, dtype=np.float64) / over**2 / 9.0
    value = 1.0 - ratio + normal_at(chance) * np.sqrt(ratio)
    result: Floats = least + over * np.maximum(value, 0.0) ** 3
    return result


def normal_at(chance: Floats) -> Floats:
    """Quantiles of the normal distribution, read from a table."""
    chances, values = normal_table()
    return np.interp(chance, chances, values)


@functools.cache
def normal_table() -> tuple[Floats, Floats]:
    """Chances, closer at the ends, and the normal quantiles there."""
    values = np.linspace(-4.0, 4.0, 801)
    return np.array([NormalDist().cdf(v) for v in values]), values


def latency(seconds: Floats, *, mean_s: float) -> Latency:
    """Mean by formula, quantiles of the lattice."""
    p50, p90, p99 = np.quantile(seconds, QUANTILES)
    return Latency(mean_s=mean_s, p50_s=float(p50), p90_s=float(p90), p99_s=float(p99))
