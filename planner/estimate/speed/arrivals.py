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
from planner.estimate.speed.open_loop import OpenLoop, Requests, open_loop, steady
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """One rank of one way as the queueing models want it."""

    requests: Requests
    step_s: Floats
    """Decode step with 1, 2, ... up to all slots' requests."""
    ranks: float
    """Data-parallel ranks over which the replica's requests are dealt at random."""
    continuous: bool
    overhead_s: float
    rounds: float
    """Decode steps of a fixed batch."""

    def means_at(self, requests_per_second: float) -> tuple[float, float] | None:
        """Mean TTFT and TPOT in seconds where the replica gets so many, TPOT 0 where no request makes two tokens.

        None where it cannot keep up.
        """
        if self.continuous:
            rate = requests_per_second / self.ranks
            found = steady(self.requests, requests_per_second=rate, step_s=self.step_s)
            return None if found is None else (found.ttft_s, found.tpot_s * bool(self.requests.rounds.any()))
        batches = self.at(requests_per_second)
        if batches.ttft is None:
            return None
        return batches.ttft.mean_s, 0.0 if batches.tpot is None else batches.tpot.mean_s

    def at(self, requests_per_second: float) -> OpenLoop:
        """Latencies where the replica gets so many."""
        rate = requests_per_second / self.ranks
        if self.continuous:
            return open_loop(self.requests, requests_per_second=rate, step_s=self.step_s)
        found = fixed_batches(
            requests_per_second=rate,
            prefill_s=self.requests.mean(self.requests.prefill_s),
            overhead_s=self.overhead_s,
            rounds=self.rounds,
            step_s=self.step_s,
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
            rounds=self.rounds,
            ttft=found.ttft,
            tpot=found.tpot,
            end_to_end=found.end_to_end,
        )


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
    (queue,) = queues_of(job, ways, hw, kv_slots=kv_slots, kernels=kernels)
    return queue.at(requests_per_second)


def queues_of(
    job: InferJob, ways: InferWays, hw: Hardware, *, kv_slots: Floats, kernels: Kernels | None = None
) -> list[Queue]:
    """The queue of every way: all times in a few calls, however many ways there are."""
    kernels = kernels or shipped_kernels()
    setup = infer_setup(job, ways, hw, kernels)
    lengths = lengths_of(job)
    size = max(len(ways), len(hw), len(kv_slots))
    running = np.broadcast_to(most_running(setup, ways, kv_slots=kv_slots), (size,))
    requests = requests_of(setup, ways, lengths, running=running)
    steps = decode_steps(job, ways, hw, kernels, lengths, running)
    rounds = np.broadcast_to(batch_rounds(lengths, setup.engine, running), (size,))
    ranks = np.broadcast_to(ways.data_parallel, (size,))
    return [
        Queue(
            requests=requests[n],
            step_s=steps[n],
            ranks=float(ranks[n]),
            continuous=setup.engine.continuous_batching,
            overhead_s=setup.engine.request_overhead_s,
            rounds=float(rounds[n]),
        )
        for n in range(size)
    ]


def infer_burst(
    job: InferJob, ways: InferWays, hw: Hardware, *, kv_slots: Floats, requests: int, kernels: Kernels | None = None
) -> Burst:
    """Latencies of `requests` that come at once to ONE idle replica, dealt evenly over its data-parallel ranks."""
    setup = infer_setup(job, ways, hw, kernels or shipped_kernels())
    engine = setup.engine
    (queue,) = queues_of(job, ways, hw, kv_slots=kv_slots, kernels=kernels)
    times = BurstTimes(
        kinds=queue.requests,
        step_s=queue.step_s,
        overhead_s=engine.request_overhead_s + engine.first_token_s,
        num_packed=max(1, int(np.ravel(pass_tokens(setup))[0] / mean_prompt(lengths_of(job)))),
        continuous=engine.continuous_batching,
    )
    return burst_of(times, requests=-(-requests // int(ways.data_parallel[0])))


def requests_of(setup: Setup, ways: InferWays, lengths: Lengths, *, running: Floats) -> list[Requests]:
    """Every kind of request of the traffic with its times on one rank of each way; packed as in the full batch."""
    engine = setup.engine
    groups = stage_groups(setup, ways, running)
    prefill, first = [], []
    for tokens, _ in lengths.prompts:
        several, single = prompt_kind_times(setup, ways, tokens, running=running)
        engine_s = request_s(setup, lengths, several.total_s / groups, running=running)
        prefill.append(np.broadcast_to(engine_s, running.shape))
        alone_s = single.total_s + engine.request_overhead_s + engine.first_token_s
        first.append(np.broadcast_to(alone_s, running.shape))
    share = np.array([share for _, share in lengths.prompts])
    rounds = np.maximum(0.0, np.array(lengths.answers) - 1.0)
    return [
        Requests(share=share, prefill_s=prefill_s, first_s=first_s, rounds=rounds)
        for prefill_s, first_s in zip(np.stack(prefill, axis=1), np.stack(first, axis=1), strict=True)
    ]


def decode_steps(
    job: InferJob, ways: InferWays, hw: Hardware, kernels: Kernels, lengths: Lengths, running: Floats
) -> list[Floats]:
    """Seconds of a decode step at 1, 2, ... up to `running` sequences of one rank, of every way.

    Evaluated at a few batches of all ways at once; between them a step is close to a straight line.
    """
    points = [np.unique(np.round(np.geomspace(1.0, most, STEP_POINTS))) for most in running.tolist()]
    row = np.repeat(np.arange(len(points)), [len(p) for p in points])
    batches: Floats = np.concatenate(points).astype(np.float64)
    wide = ways.take(row)
    setup = infer_setup(job, wide, hw.take(row), kernels)
    steps = full_step(setup, wide, sequences=batches / stage_groups(setup, wide, batches), context=lengths.context)
    columns = np.split(np.broadcast_to(steps.total_s, batches.shape), np.cumsum([len(p) for p in points])[:-1])
    return [np.interp(np.arange(1.0, p[-1] + 1), p, column) for p, column in zip(points, columns, strict=True)]
