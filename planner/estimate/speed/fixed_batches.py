"""Random arrivals at an engine that serves one batch after another: it takes what waits, up to its batch, when free.

The number waiting as a batch ends is a Markov chain, for requests come by chance (Poisson) and a batch of k takes
prefill x k + steps: the bulk-service queue (N. Bailey, "On queueing processes with bulk service", Journal of the Royal
Statistical Society B 16, 1954), here with a service time that depends on the batch. A request waits for the batch
under way, for whole batches of those before it, and for the prompts of its own. Answers have one length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.estimate.speed.open_loop import Latency, latency, lattice, normal_at
from planner.estimate.types import Floats

LARGEST_BATCH = 512
"""Batches are cut here; such engines hold fewer."""
TAIL = 6.0
"""Standard deviations of arrivals kept beside their mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedBatches:
    """What requests see; all but the utilisation is None where the queue only grows."""

    utilisation: float
    running: float | None = None
    """Mean requests being answered."""
    waiting_share: float | None = None
    """Share of the requests that come while a batch is answered."""
    wait_s: float | None = None
    """Mean until the own batch starts."""
    ttft: Latency | None = None
    tpot: Latency | None = None
    end_to_end: Latency | None = None


def fixed_batches(
    *, requests_per_second: float, prefill_s: float, overhead_s: float, rounds: float, step_s: Floats
) -> FixedBatches:
    """Steady state; `step_s` holds a decode step at 1, 2, ... up to the batch's requests.

    >>> one = fixed_batches(requests_per_second=0.5, prefill_s=1.0, overhead_s=0.0, rounds=0.0, step_s=np.ones(1))
    >>> round(one.ttft.mean_s, 1) if one.ttft else None         # M/D/1 at half its load: waits half a service
    1.5
    """
    batch = min(len(step_s), LARGEST_BATCH)
    sizes = np.arange(1.0, batch + 1)
    service_s = sizes * prefill_s + overhead_s + rounds * step_s[:batch]
    used = requests_per_second * float(service_s[-1]) / batch
    if used >= 1.0:
        return FixedBatches(utilisation=used)
    waiting = waiting_chances(requests_per_second * service_s, used)
    served = np.clip(np.arange(len(waiting)), 1, batch)
    left = np.arange(len(waiting)) - np.minimum(np.arange(len(waiting)), batch)
    busy_s = waiting * service_s[served - 1]
    idle_s = float(waiting[0]) / requests_per_second
    busy = float(busy_s.sum()) / (float(busy_s.sum()) + idle_s)
    points = lattice()
    state = np.searchsorted(np.cumsum(busy_s / busy_s.sum()), points[0], side="right").clip(0, len(waiting) - 1)
    under_way_s = service_s[served[state] - 1]
    since, until = points[1] * under_way_s, (1.0 - points[1]) * under_way_s
    ahead = left[state] + poisson_at(points[2], requests_per_second * since)
    behind = poisson_at(points[3], requests_per_second * until)
    before = np.floor(ahead / batch)
    own = np.minimum(ahead + behind + 1.0 - before * batch, batch).astype(np.intp)
    found_busy = (np.arange(len(state)) + 0.5) / len(state) < busy
    waits_s = np.where(found_busy, until + before * service_s[-1], 0.0)
    own = np.where(found_busy, np.maximum(own, 1), 1)
    ttft_s = waits_s + own * prefill_s + overhead_s
    each_s = step_s[own - 1]
    end_s = ttft_s + rounds * each_s
    return FixedBatches(
        utilisation=used,
        running=requests_per_second * float(np.mean(end_s - waits_s)),
        waiting_share=busy,
        wait_s=float(waits_s.mean()),
        ttft=latency(ttft_s, mean_s=float(ttft_s.mean())),
        tpot=latency(each_s, mean_s=float(each_s.mean())) if rounds else None,
        end_to_end=latency(end_s, mean_s=float(end_s.mean())),
    )


def waiting_chances(arrivals: Floats, used: float) -> Floats:
    """Chances of 0, 1, ... waiting as a batch ends; `arrivals` come in the mean while one of 1, 2, ... is answered."""
    batch = len(arrivals)
    most = int(np.ceil(arrivals[-1] + TAIL * np.sqrt(arrivals[-1]) + batch + TAIL * TAIL / 2.0 / (1.0 - used)))
    states = np.arange(most + 1)
    table = np.stack([poisson_chances(mean, most) for mean in arrivals])
    moves = np.zeros((most + 1, most + 1))
    for waiting in states:
        taken = min(max(int(waiting), 1), batch)
        rest = max(int(waiting) - batch, 0)
        moves[waiting, rest:] = table[taken - 1, : most + 1 - rest]
        moves[waiting, -1] += 1.0 - moves[waiting].sum()
    balance = moves.T - np.eye(most + 1)
    balance[-1] = 1.0
    whole = np.zeros(most + 1)
    whole[-1] = 1.0
    chances = np.maximum(np.linalg.solve(balance, whole), 0.0)
    result: Floats = chances / chances.sum()
    return result


def poisson_chances(mean: float, most: int) -> Floats:
    """Chances of 0, 1, ... `most` arrivals."""
    number = np.arange(1.0, most + 1)
    logs = np.concatenate([np.zeros(1), np.cumsum(np.log(max(mean, 1e-300) / number))]) - mean
    result: Floats = np.exp(logs)
    return result


def poisson_at(chance: Floats, mean: Floats) -> Floats:
    """Quantiles of Poisson distributions: the normal's with the first term of Cornish and Fisher."""
    z = normal_at(chance)
    result: Floats = np.maximum(np.round(mean + z * np.sqrt(mean) + (z**2 - 1.0) / 6.0), 0.0)
    return result
