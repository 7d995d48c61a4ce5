"""Random arrivals and bursts at one configuration: the queue's parameters from the times of the kernels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.estimate.speed.burst import Burst, BurstTimes, burst_of
from planner.estimate.speed.fixed_batches import fixed_batches
from planner.estimate.speed.infer import (
    Lengths,
    batch_rounds,
    full_step,
    lengths_of,
    mean_prompt,
    most_running,
    pass_tokens,
    prompt_kind_times,
    prompt_variation,
    request_s,
    stage_groups,
)
from planner.estimate.speed.kernels import Kernels, serving_engine, shipped_kernels
from planner.estimate.speed.open_loop import OpenLoop, Requests, open_loop
from planner.estimate.speed.setup import Setup, infer_setup
from planner.estimate.types import Floats, Hardware, InferJob, InferWays

STEP_POINTS = 33
"""Batches at which a decode step is evaluated; between them it is close to a straight line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyFactors:
    """What the spread of the requests' sizes adds to latencies."""

    rounds: float
    """Tokens after the first, mean."""
    slow_prompt: float
    """The prompt at the percentile asked over the mean one."""
    prompt_variation: float
    """Squared coefficient of variation of the prompts."""
    answer_variation: float
    """The same of the answers."""


def latency_factors(job: InferJob, percentile: int | None) -> LatencyFactors:
    """Of the workload's traffic; a percentile asks for the prompt that so many per cent do not exceed."""
    lengths = lengths_of(job)
    slow, upto = mean_prompt(lengths), 0.0
    for tokens, share in sorted(lengths.prompts) if percentile is not None else ():
        slow, upto = (tokens, upto + share) if upto < (percentile or 0) / 100.0 else (slow, upto)
    return LatencyFactors(
        rounds=max(0.0, lengths.new_tokens - 1.0),
        slow_prompt=slow / mean_prompt(lengths),
        prompt_variation=prompt_variation(lengths),
        answer_variation=lengths.output_spread**2,
    )


def is_continuous(job: InferJob) -> bool:
    """The engine lets requests join and leave a running batch."""
    return serving_engine(shipped_kernels(), job.engine).continuous_batching


def infer_open_loop(
    job: InferJob,
    ways: InferWays,
    hw: Hardware,
    *,
    kv_slots: Floats,
    requests_per_second: float,
    kernels: Kernels | None = None,
) -> OpenLoop:
    """Latencies of ONE way whose replica gets `requests_per_second`, dealt at random over its data-parallel ranks.

    The batch is at most `ways.batch`. Engines without continuous batching serve one batch after another.
    """
    setup = infer_setup(job, ways, hw, kernels or shipped_kernels())
    lengths = lengths_of(job)
    running = most_running(setup, ways, kv_slots=kv_slots)
    requests = requests_of(setup, ways, lengths, running=running)
    rate = requests_per_second / float(ways.data_parallel[0])
    steps = decode_steps(setup, ways, lengths, most=int(running[0]))
    if setup.engine.continuous_batching:
        return open_loop(requests, requests_per_second=rate, step_s=steps)
    rounds = batch_rounds(lengths, setup.engine, running)
    found = fixed_batches(
        requests_per_second=rate,
        prefill_s=requests.mean(requests.prefill_s),
        overhead_s=setup.engine.request_overhead_s,
        rounds=float(np.ravel(rounds)[0]),
        step_s=steps,
    )
    if found.ttft is None:
        return OpenLoop(utilisation=found.utilisation)
    waited = found.wait_s or 0.0
    return OpenLoop(
        utilisation=found.utilisation,
        running=found.running,
        waiting_share=found.waiting_share,
        step_s=None if found.tpot is None else found.tpot.mean_s,
        own_s=found.ttft.mean_s - waited,
        queue_s=waited,
        rounds=float(np.ravel(rounds)[0]),
        ttft=found.ttft,
        tpot=found.tpot,
        end_to_end=found.end_to_end,
    )


def infer_burst(
    job: InferJob, ways: InferWays, hw: Hardware, *, kv_slots: Floats, requests: int, kernels: Kernels | None = None
) -> Burst:
    """Latencies of `requests` that come at once to ONE idle replica, dealt evenly over its data-parallel ranks."""
    setup = infer_setup(job, ways, hw, kernels or shipped_kernels())
    lengths = lengths_of(job)
    engine = setup.engine
    running = most_running(setup, ways, kv_slots=kv_slots)
    times = BurstTimes(
        kinds=requests_of(setup, ways, lengths, running=running),
        step_s=decode_steps(setup, ways, lengths, most=int(running[0])),
        overhead_s=engine.request_overhead_s + engine.first_token_s,
        num_packed=max(1, int(np.ravel(pass_tokens(setup))[0] / mean_prompt(lengths))),
        continuous=engine.continuous_batching,
    )
    return burst_of(times, requests=-(-requests // int(ways.data_parallel[0])))


def requests_of(setup: Setup, ways: InferWays, lengths: Lengths, *, running: Floats) -> Requests:
    """Every kind of request of the traffic with its times on one rank; packed as in the full batch."""
    engine = setup.engine
    groups = stage_groups(setup, ways, running)
    prefill, first = [], []
    for tokens, _ in lengths.prompts:
        several, single = prompt_kind_times(setup, ways, tokens, running=running)
        prefill.append(float(request_s(setup, lengths, several.total_s / groups, running=running)[0]))
        first.append(float(single.total_s[0]) + engine.request_overhead_s + engine.first_token_s)
    return Requests(
        share=np.array([share for _, share in lengths.prompts]),
        prefill_s=np.array(prefill),
        first_s=np.array(first),
        rounds=np.maximum(0.0, np.array(lengths.answers) - 1.0),
    )


def decode_steps(setup: Setup, ways: InferWays, lengths: Lengths, *, most: int) -> Floats:
    """Seconds of a decode step at 1, 2, ... `most` sequences of one rank."""
    points = np.unique(np.round(np.geomspace(1.0, most, STEP_POINTS)))
    steps = full_step(setup, ways, sequences=points / stage_groups(setup, ways, points), context=lengths.context)
    column: Floats = np.broadcast_to(steps.total_s, points.shape)
    result: Floats = np.interp(np.arange(1.0, most + 1), points, column)
    return result
