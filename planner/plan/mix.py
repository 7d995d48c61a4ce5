"""One estimate of a workload that runs in several configurations at once: what adds up, and what is the slowest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from planner.estimate.document import (
    BurstDocument,
    CostDocument,
    DerivationStep,
    OpenLoopDocument,
    PerformanceDocument,
    WorkloadEstimate,
)
from planner.units import MEGA, SECONDS_PER_HOUR

RATES = ("output_tokens_per_second", "tokens_per_second", "requests_per_second")
TIMES = ("ttft_s", "tpot_s")


def together(parts: Sequence[WorkloadEstimate]) -> WorkloadEstimate:
    """The parts, the largest first, as one workload: GPUs, rates, money and power add up, times to first token and for
    one token are those of the slowest part, and the rest is that of the first."""
    first, *others = parts
    if not others:
        return first
    gpus = sum(e.gpus for e in parts)
    return first.model_copy(
        update={
            "gpus": gpus,
            "replicas": sum(e.replicas for e in parts),
            "fits": all(e.fits for e in parts),
            "performance": performance(parts, gpus),
            "intervals": intervals(parts),
            "cost": cost(parts),
            "power_kw": summed(parts, lambda e: e.power_kw),
            "kg_co2_per_month": summed(parts, lambda e: e.kg_co2_per_month),
            "warnings": tuple(dict.fromkeys(w for e in parts for w in e.warnings)),
            "derivation": (*first.derivation, *(sum_step(parts, key) for key in RATES if rate(first, key) is not None)),
        }
    )


def rate(estimate: WorkloadEstimate, key: str) -> float | None:
    """One figure of the performance."""
    found: float | None = getattr(estimate.performance, key)
    return found


def summed(parts: Sequence[WorkloadEstimate], figure: Callable[[WorkloadEstimate], float | None]) -> float | None:
    """A figure of all parts; None where one has none."""
    values = [figure(e) for e in parts]
    known = [v for v in values if v is not None]
    return sum(known) if len(known) == len(values) else None


def slowest(parts: Sequence[WorkloadEstimate], key: str) -> WorkloadEstimate:
    """The part with the longest time of a kind; the first of equals."""
    return max(parts, key=lambda e: rate(e, key) or 0.0)


def performance(parts: Sequence[WorkloadEstimate], gpus: int) -> PerformanceDocument:
    """Rates add up; times are the longest."""
    sums = {key: summed(parts, partial(rate, key=key)) for key in RATES}
    tokens = sums["tokens_per_second"]
    return parts[0].performance.model_copy(
        update={
            **sums,
            **{key: rate(slowest(parts, key), key) for key in TIMES},
            "tokens_per_second_per_gpu": None if tokens is None else tokens / gpus,
            "open_loop": open_loop(parts),
            "burst": burst(parts),
        }
    )


def open_loop(parts: Sequence[WorkloadEstimate]) -> OpenLoopDocument | None:
    """The queues together: arrivals and running requests add up, times are those of the slowest part."""
    queues = [e.performance.open_loop for e in parts]
    found = [q for q in queues if q is not None]
    if len(found) < len(queues):
        return None
    worst = max(found, key=lambda q: (q.ttft_s is None, q.ttft_s.mean if q.ttft_s else 0.0))
    running = [q.running for q in found if q.running is not None]
    carried = [q.sustained_requests_per_second for q in found if q.sustained_requests_per_second is not None]
    return worst.model_copy(
        update={
            "requests_per_second": sum(q.requests_per_second for q in found),
            "running": sum(running) if len(running) == len(found) else None,
            "sustained_requests_per_second": sum(carried) if len(carried) == len(found) else None,
        }
    )


def burst(parts: Sequence[WorkloadEstimate]) -> BurstDocument | None:
    """The burst over all parts: requests and tokens add up, times are those of the part that ends last."""
    found = [e.performance.burst for e in parts]
    known = [b for b in found if b is not None]
    if len(known) < len(found):
        return None
    last = max(known, key=lambda b: b.makespan_s)
    made = [b.output_tokens_per_second * b.makespan_s for b in known if b.output_tokens_per_second is not None]
    return last.model_copy(
        update={
            "requests": sum(b.requests for b in known),
            "output_tokens_per_second": sum(made) / last.makespan_s if len(made) == len(known) else None,
        }
    )


def intervals(
    parts: Sequence[WorkloadEstimate],
) -> dict[str, tuple[int, int] | tuple[float, float] | None]:
    """Ends of rates add up, as errors of one kind go together; times are those of the slowest part."""
    result = dict(parts[0].intervals)
    for key in RATES:
        ends = [e.intervals.get(key) for e in parts]
        known = [pair for pair in ends if pair is not None]
        if key in result:
            whole = len(known) == len(ends)
            result[key] = (float(sum(a for a, _ in known)), float(sum(b for _, b in known))) if whole else None
    for key in TIMES:
        if key in result:
            result[key] = slowest(parts, key).intervals.get(key)
    return result


def cost(parts: Sequence[WorkloadEstimate]) -> CostDocument:
    """Money adds up."""
    hourly = summed(parts, lambda e: e.cost.usd_per_hour)
    tokens = summed(parts, lambda e: e.performance.output_tokens_per_second)
    each = None if hourly is None or not tokens else hourly / (tokens * SECONDS_PER_HOUR) * MEGA
    return CostDocument(
        usd_per_hour=hourly,
        usd_per_million_output_tokens=each,
        usd_total=summed(parts, lambda e: e.cost.usd_total),
        basis="; ".join(dict.fromkeys(e.cost.basis for e in parts if e.cost.basis)) or None,
    )


def sum_step(parts: Sequence[WorkloadEstimate], key: str) -> DerivationStep:
    """How a rate of several configurations comes about."""
    numbers = " + ".join(f"{rate(e, key) or 0.0:,.4g} ({e.replicas} x {e.gpu})" for e in parts)
    total = sum(rate(e, key) or 0.0 for e in parts)
    return DerivationStep(
        figure=f"performance.{key} of all configurations",
        formula="sum over the configurations; the steps above are those of the first",
        numbers=numbers,
        result=f"{total:,.4g}",
        source="the placements of the plan",
    )
