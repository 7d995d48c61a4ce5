"""Requests that come at random: how many a replica carries within the latency targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner.candidates.margins import Margins
from planner.candidates.misses import Stage
from planner.candidates.search import Search, TargetCheck
from planner.candidates.types import Candidate
from planner.estimate.hardware import hardware
from planner.estimate.memory import infer_memory
from planner.estimate.speed import infer_speed
from planner.estimate.speed.arrivals import Queue, is_continuous, latency_factors, queues_of
from planner.estimate.speed.sustained import Limits, RankTimes, latencies, sustained_per_second
from planner.estimate.types import Floats, Hardware, InferJob, InferSpeed, InferWays, stacked
from planner.spec.parts import InferTargets
from planner.spec.types import InferWorkload
from planner.units import MILLI

LEAST_USED = 0.1
"""Utilisation below which a replica is not sized: one that keeps its targets only when all but idle is too slow."""
SMALLER = 0.8
"""Of the rate, tried next where the full queueing model says that targets are missed at it."""
MOST_TRIES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What one replica of each row carries, requests a second, and the latency targets it was held to."""

    per_second: Floats
    checks: tuple[TargetCheck, ...]


def limits_of(targets: InferTargets, margins: Margins) -> Limits | None:
    """The latency targets that hold under random arrivals, tightened by the margins of the planning quantile."""
    if targets.requests_per_second is None or (targets.ttft_ms is None and targets.tpot_ms is None):
        return None
    return Limits(
        ttft_s=None if targets.ttft_ms is None else targets.ttft_ms * MILLI / margins.ttft,
        tpot_s=None if targets.tpot_ms is None else targets.tpot_ms * MILLI / margins.seconds,
        percentile=targets.latency_percentile,
    )


def carried(
    search: Search, workload: InferWorkload, job: InferJob, ways: InferWays, hw: Hardware, slots: Floats,
    speed: InferSpeed,
) -> Carried | None:  # fmt: skip
    """Rates within the latency targets; None where no latency is asked, or of an engine that serves fixed batches."""
    limits = limits_of(workload.targets, search.margins)
    if limits is None or not is_continuous(job):
        return None
    times = rank_times(job, ways, hw, slots, speed, percentile=limits.percentile)
    most_used = search.facts.value("queueing-utilisation-cap")
    per_rank = sustained_per_second(times, limits, most_used=most_used)
    least = least_checks(times, limits, workload.targets)
    slow = np.max(np.stack([c.excess_ratio for c in least]), axis=0) > 1.0
    whole: Floats = per_rank * ways.data_parallel / search.margins.seconds
    return Carried(per_second=np.where(slow, 0.0, whole), checks=least)


def rank_times(
    job: InferJob, ways: InferWays, hw: Hardware, slots: Floats, speed: InferSpeed, *, percentile: int | None
) -> RankTimes:
    """Times of one rank of every row: of the full batch as estimated, and of one request alone."""
    ranks: Floats = ways.data_parallel.astype(np.float64)
    alone = infer_speed(job, replace(ways, batch=ranks), hw, kv_slots=np.maximum(slots, ranks))
    running = speed.batch_running / ranks
    cycle_s = running / (speed.requests_per_second / ranks)
    factors = latency_factors(job, percentile)
    makes_tokens = factors.rounds > 0
    step_full_s = speed.step_s if makes_tokens else np.zeros_like(running)
    return RankTimes(
        slots=running,
        step_one_s=np.minimum(alone.step_s, step_full_s),
        step_full_s=step_full_s,
        prefill_s=np.maximum(cycle_s - factors.rounds * step_full_s, 0.0) / running,
        first_s=alone.ttft_s,
        rounds=factors.rounds,
        slow_first_factor=factors.slow_prompt,
        prefill_variation=factors.prompt_variation,
        rounds_variation=factors.answer_variation,
    )


def least_checks(times: RankTimes, limits: Limits, targets: InferTargets) -> tuple[TargetCheck, ...]:
    """Latencies of every row when all but idle, against the targets."""
    ttft_s, tpot_s = latencies(times, np.full_like(times.slots, LEAST_USED), percentile=limits.percentile)
    whose = "" if limits.percentile is None else f"p{limits.percentile} "
    found = []
    for name, seconds, limit_s, asked_ms, target in (
        ("TTFT", ttft_s, limits.ttft_s, targets.ttft_ms, "ttft_ms"),
        ("TPOT", tpot_s, limits.tpot_s, targets.tpot_ms, "tpot_ms"),
    ):
        if limit_s is not None and asked_ms is not None:
            ratio = seconds / limit_s
            text = f"best {whose}{name} {{0:,.4g}} ms ({{1}}), asked {asked_ms:,.4g} ms"
            found.append(TargetCheck(excess_ratio=ratio, values=ratio * asked_ms, text=text, target=target))
    return tuple(found)


def kept_under_arrivals(search: Search, found: Sequence[Candidate]) -> list[Candidate]:
    """The candidates with rates at which the full queueing model keeps the latency targets as well.

    The search sizes many ways by its short form (`sustained.py`); those worth giving the optimiser are held to the
    model that the estimate reports, and carry less where that says so.
    """
    workload = search.resolved.workload
    limits = limits_of(workload.targets, search.margins) if isinstance(workload, InferWorkload) else None
    if limits is None:
        return [*found]
    return [
        kept
        for c, queue in zip(found, queues(search, found), strict=True)
        for kept in held_to(search, c, queue, limits)
    ]


def queues(search: Search, found: Sequence[Candidate]) -> list[Queue]:
    """The queue of every candidate, those of one job in one call."""
    by_job: dict[int, list[int]] = {}
    for n, c in enumerate(found):
        by_job.setdefault(id(c.job), []).append(n)
    result: dict[int, Queue] = {}
    for rows in by_job.values():
        job = found[rows[0]].job
        assert isinstance(job, InferJob)
        ways = stacked([w for n in rows if isinstance(w := found[n].ways, InferWays)])
        hw = hardware(job, [search.supply.kinds[found[n].kind] for n in rows], search.catalog)
        slots = infer_memory(job, ways, hw).max_batch
        result |= dict(zip(rows, queues_of(job, ways, hw, kv_slots=slots), strict=True))
    return [result[n] for n in range(len(found))]


def held_to(search: Search, c: Candidate, queue: Queue, limits: Limits) -> Iterator[Candidate]:
    """The candidate at a rate that keeps the limits; nothing where a thirtieth of its rate does not."""
    workload = search.resolved.workload
    assert isinstance(workload, InferWorkload)
    asked = workload.targets.requests_per_second
    if asked is None or c.rate is None:
        yield c
        return
    rate = c.rate
    for _ in range(MOST_TRIES):
        if within(queue, asked * rate * search.margins.seconds, limits):
            whole = max(c.replicas, int(np.ceil((1.0 - 1e-12) / rate)))
            if workload.pin.replicas is None or whole <= workload.pin.replicas:
                yield replace(c, rate=rate, replicas=workload.pin.replicas or whole)
                return
            break
        rate *= SMALLER
    search.misses.add(
        c.gpu, Stage.TARGET, 1.0 + 1e-6, "latency targets are missed under random arrivals at the rate asked"
    )


def within(queue: Queue, per_second: float, limits: Limits) -> bool:
    """Whether one replica keeps the limits at a rate, by the full model."""
    if limits.percentile is None:
        means = queue.means_at(per_second)
        wanted = limits.ttft_s, limits.tpot_s
        return means is not None and all(
            limit is None or seconds <= limit for seconds, limit in zip(means, wanted, strict=True)
        )
    found = queue.at(per_second)
    if found.ttft is None:
        return False
    good = limits.ttft_s is None or found.ttft.at(limits.percentile) <= limits.ttft_s
    if limits.tpot_s is not None and found.tpot is not None:
        good = good and found.tpot.at(limits.percentile) <= limits.tpot_s
    return good
