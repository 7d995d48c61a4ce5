"""Closed loops and static batches: Little's law, bounds, and what queues do."""

from __future__ import annotations

import heapq
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.estimate.speed.serving import Served, closed_loop, static_batch
from tests.estimate.jobs import one


def loop(
    clients: float,
    running: float,
    prefill_s: float,
    step_s: float,
    tokens: float,
    packed: float = 1.0,
    length_spread: float = 0.05,
    server_s: float = 0.0,
) -> Served:
    return closed_loop(
        clients=one(clients), running=one(running), prefill_s=one(prefill_s), own_prefill_s=one(prefill_s),
        step_s=one(step_s), new_tokens=tokens, packed=one(packed), length_spread=length_spread,
        server_s=one(server_s),
    )  # fmt: skip


loads = st.tuples(
    st.integers(1, 500), st.floats(1e-3, 5.0), st.floats(1e-4, 0.2), st.integers(2, 4000), st.floats(1.0, 64.0)
)


@given(loads, st.integers(0, 300))
def test_clients_times_tokens_over_residence_is_the_output_rate(
    load: tuple[int, float, float, int, float], queued: int
) -> None:
    running, prefill_s, step_s, tokens, packed = load
    clients = running + queued
    served = loop(clients, running, prefill_s, step_s, tokens, packed)
    residence = served.ttft_s[0] + (tokens - 1) * served.tpot_s[0]
    assert clients * tokens / residence == pytest.approx(served.requests_per_second[0] * tokens, rel=1e-9)


@given(loads)
def test_no_token_comes_faster_than_a_step_and_no_first_token_before_its_prefill(
    load: tuple[int, float, float, int, float],
) -> None:
    running, prefill_s, step_s, tokens, packed = load
    served = loop(running, running, prefill_s, step_s, tokens, packed)
    assert served.tpot_s[0] >= step_s * (1 - 1e-9)
    assert served.ttft_s[0] >= prefill_s * (1 - 1e-9)


def test_a_request_alone_waits_for_nobody() -> None:
    served = loop(1, 1, prefill_s=0.4, step_s=0.02, tokens=500)
    assert served.ttft_s[0] == pytest.approx(0.4)
    assert served.tpot_s[0] == pytest.approx(0.02)
    assert served.requests_per_second[0] == pytest.approx(1 / (0.4 + 499 * 0.02))


def test_beyond_the_batch_the_rate_stands_and_the_queue_grows() -> None:
    """NIM's Llama-3.3-70B at 5,000/500 tokens: flat throughput and seconds of TTFT beyond the KV limit."""
    full, over = (loop(c, 90, prefill_s=0.4, step_s=0.037, tokens=500) for c in (90, 250))
    assert over.requests_per_second == pytest.approx(full.requests_per_second)
    assert over.tpot_s == pytest.approx(full.tpot_s)
    assert over.ttft_s[0] - full.ttft_s[0] == pytest.approx(160 / full.requests_per_second[0])


def test_a_server_beside_the_engine_bounds_the_rate_and_costs_nothing_below_it() -> None:
    free, below, above = (loop(100, 100, 0.01, 0.02, tokens=100, server_s=s) for s in (0.0, 0.02, 0.05))
    assert below.requests_per_second == free.requests_per_second
    assert above.requests_per_second[0] == pytest.approx(1 / 0.05)


def test_a_static_batch_makes_its_tokens_in_prefill_and_steps() -> None:
    served = static_batch(batch=one(64), prefill_s=one(2.0), step_s=one(0.03), rounds=100)
    assert served.requests_per_second[0] == pytest.approx(64 / (2.0 + 3.0))
    assert (served.ttft_s[0], served.tpot_s[0]) == pytest.approx((2.0, 0.03))


def test_a_single_token_has_no_time_between_tokens() -> None:
    assert np.isnan(loop(4, 4, 0.1, 0.02, tokens=1).tpot_s[0])
    assert np.isnan(static_batch(batch=one(4), prefill_s=one(1), step_s=one(0.1), rounds=0).tpot_s[0])


PROMPT_TOKEN_S, STEP_S, SEQUENCE_S, CHUNK = 70e-6, 0.014, 6e-5, 8192
"""An engine like Llama-3.3-70B in FP8 on two H100: 70 us a prompt token, steps of 14 ms and more."""


def simulated_ttft_s(clients: int, prompt: int, tokens: int, *, spread: float) -> float:
    """Mean TTFT in steady state of a small event simulation: passes of whole prompts and one step for all others."""
    rng = random.Random(1)
    arrivals = [(0.003 * i, i) for i in range(clients)]
    heapq.heapify(arrivals)
    now, waiting, running, waits = 0.0, [], [], []
    while len(waits) < 12 * clients:
        while arrivals and arrivals[0][0] <= now:
            waiting.append(heapq.heappop(arrivals)[0])
        if not waiting and not running:
            now = arrivals[0][0]
            continue
        taken = waiting[: max(1, (CHUNK - len(running)) // prompt)]
        waiting = waiting[len(taken) :]
        now += STEP_S + SEQUENCE_S * len(running) + len(taken) * prompt * PROMPT_TOKEN_S
        running = [left - 1 for left in running]
        for _ in range(running.count(0)):
            heapq.heappush(arrivals, (now + rng.expovariate(100.0), len(waits) + len(arrivals)))
        running = [left for left in running if left > 0]
        waits += [now - came for came in taken]
        running += [max(1, round(rng.gauss(tokens, spread * tokens))) for _ in taken]
    return float(np.mean(waits[3 * clients :]))


@pytest.mark.parametrize(
    ("clients", "prompt", "tokens", "spread"),
    [(25, 200, 200, 0.0), (100, 200, 200, 0.0), (250, 200, 200, 0.0), (25, 500, 300, 0.0), (150, 1000, 300, 0.0)],
)
def test_first_tokens_of_clients_in_step_come_as_a_simulation_has_them(
    clients: int, prompt: int, tokens: int, spread: float
) -> None:
    """Equal lengths keep clients together. The formula is a mean of regimes: within 35 %."""
    step_s = STEP_S + SEQUENCE_S * clients
    served = loop(clients, clients, prompt * PROMPT_TOKEN_S, step_s, tokens, CHUNK / prompt, length_spread=spread)
    assert served.ttft_s[0] == pytest.approx(simulated_ttft_s(clients, prompt, tokens, spread=spread), rel=0.35)


def test_clients_whose_answers_differ_in_length_hardly_wait_for_each_other() -> None:
    together = loop(50, 50, 0.035, 0.017, 300, packed=16, length_spread=0.0)
    apart = loop(50, 50, 0.035, 0.017, 300, packed=16, length_spread=0.5)
    assert simulated_ttft_s(50, 500, 300, spread=0.5) < 0.3 * simulated_ttft_s(50, 500, 300, spread=0.0)
    assert apart.ttft_s[0] < 0.3 * together.ttft_s[0]
