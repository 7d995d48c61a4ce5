"""Bursts and fixed batches: the formulas against simulations that know none of them."""

from __future__ import annotations

import random

import numpy as np
import pytest

from planner.estimate.speed.burst import BurstTimes, burst_of
from planner.estimate.speed.fixed_batches import fixed_batches
from planner.estimate.speed.open_loop import Requests

STEP_S, SEQUENCE_S, PREFILL_S = 0.02, 2e-4, 0.012


def step_s(running: int) -> float:
    return STEP_S + SEQUENCE_S * running


def simulated_burst(rounds: list[int], *, slots: int, packed: int) -> tuple[list[float], list[float]]:
    """Iterations of one token for each running request and up to `packed` prompts, as far as slots go."""
    now, waiting, requests = 0.0, len(rounds), len(rounds)
    left: list[tuple[int, int]] = []
    first, last = [0.0] * requests, [0.0] * requests
    while waiting or left:
        joined = [requests - waiting + i for i in range(min(waiting, packed, slots - len(left)))]
        waiting -= len(joined)
        now += len(joined) * PREFILL_S + (step_s(len(left)) if left else 0.0)
        left = [(who, more - 1) for who, more in left]
        for who, more in left:
            if more == 0:
                last[who] = now
        left = [(who, more) for who, more in left if more]
        for who in joined:
            first[who] = last[who] = now
            left.append((who, rounds[who]))
    return first, last


def burst_times(slots: int, packed: int, shares: list[float], rounds: list[int]) -> BurstTimes:
    prefill = np.full(len(shares), PREFILL_S)
    return BurstTimes(
        kinds=Requests(
            share=np.array(shares), prefill_s=prefill, first_s=prefill, rounds=np.array(rounds, dtype=np.float64)
        ),
        step_s=np.array([step_s(n) for n in range(1, slots + 1)]),
        overhead_s=0.0,
        num_packed=packed,
        continuous=True,
    )


@pytest.mark.parametrize(("requests", "slots"), [(1, 8), (20, 32), (64, 64), (200, 64), (500, 128)])
@pytest.mark.parametrize("packed", [1, 4])
def test_burst_of_equal_requests_is_that_of_the_simulation(requests: int, slots: int, packed: int) -> None:
    found = burst_of(burst_times(slots, packed, [1.0], [150]), requests=requests)
    first, last = simulated_burst([150] * requests, slots=slots, packed=packed)
    assert found.makespan_s == pytest.approx(max(last))
    assert found.ttft.mean_s == pytest.approx(float(np.mean(first)))
    assert found.end_to_end.p90_s == pytest.approx(float(np.quantile(last, 0.9)))


@pytest.mark.parametrize("slots", [16, 400])
def test_a_burst_ends_with_its_longest_answers(slots: int) -> None:
    """Short and long answers in random order: the simulation knows nothing of how the formula deals them."""
    mixed = random.Random(1).choices([40, 400], [0.8, 0.2], k=300)
    found = burst_of(burst_times(slots, 4, [0.8, 0.2], [40, 400]), requests=300)
    first, last = simulated_burst(mixed, slots=slots, packed=4)
    assert found.makespan_s == pytest.approx(max(last), rel=0.06)
    assert found.ttft.mean_s == pytest.approx(float(np.mean(first)), rel=0.06)
    assert found.end_to_end.p50_s == pytest.approx(float(np.median(last)), rel=0.1)
    alike = burst_of(burst_times(slots, 4, [1.0], [112]), requests=300)
    assert found.makespan_s > alike.makespan_s


def simulated_batches(rate: float, *, batch: int, rounds: int, count: int) -> tuple[list[float], list[float]]:
    """One batch of what waits after another; time to first token and to the end of each request."""
    rng = random.Random(3)
    came: list[float] = []
    at = 0.0
    for _ in range(count):
        at += rng.expovariate(rate)
        came.append(at)
    now, served = 0.0, 0
    first, end = [], []
    while served < count:
        now = max(now, came[served])
        taken = 1
        while taken < batch and served + taken < count and came[served + taken] <= now:
            taken += 1
        began = now + taken * PREFILL_S
        now = began + rounds * step_s(taken)
        for n in range(served, served + taken):
            first.append(began - came[n])
            end.append(now - came[n])
        served += taken
    return first[count // 10 :], end[count // 10 :]


@pytest.mark.parametrize("batch", [1, 4, 32])
@pytest.mark.parametrize("used", [0.2, 0.5, 0.8])
def test_fixed_batches_are_those_of_the_simulation(batch: int, used: float) -> None:
    rounds = 60
    steps = np.array([step_s(n) for n in range(1, batch + 1)])
    rate = used * batch / (batch * PREFILL_S + rounds * float(steps[-1]))
    found = fixed_batches(
        requests_per_second=rate, prefill_s=PREFILL_S, overhead_s=0.0, rounds=float(rounds), step_s=steps
    )
    first, end = simulated_batches(rate, batch=batch, rounds=rounds, count=20_000)
    assert found.ttft is not None
    assert found.end_to_end is not None
    assert found.utilisation == pytest.approx(used)
    assert found.ttft.mean_s == pytest.approx(float(np.mean(first)), rel=0.1)
    assert found.ttft.p90_s == pytest.approx(float(np.quantile(first, 0.9)), rel=0.15)
    assert found.end_to_end.p50_s == pytest.approx(float(np.quantile(end, 0.5)), rel=0.1)


def test_a_queue_that_only_grows_has_no_latencies() -> None:
    found = fixed_batches(requests_per_second=2.0, prefill_s=1.0, overhead_s=0.0, rounds=0.0, step_s=np.ones(1))
    assert found.utilisation == pytest.approx(2.0)
    assert found.ttft is None
