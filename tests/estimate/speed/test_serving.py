"""Closed loops and static batches: Little's law, bounds, and what queues do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.estimate.speed.serving import Served, closed_loop, static_batch
from tests.estimate.jobs import one


def loop(
    clients: float, running: float, prefill_s: float, step_s: float, tokens: float, wait_share: float = 0.1
) -> Served:
    return closed_loop(
        clients=one(clients), running=one(running), prefill_s=one(prefill_s), own_prefill_s=one(prefill_s),
        step_s=one(step_s), new_tokens=tokens, wait_share=wait_share,
    )  # fmt: skip


loads = st.tuples(
    st.integers(1, 500), st.floats(1e-3, 5.0), st.floats(1e-4, 0.2), st.integers(2, 4000), st.floats(0.0, 1.0)
)


@given(loads, st.integers(0, 300))
def test_clients_times_tokens_over_residence_is_the_output_rate(
    load: tuple[int, float, float, int, float], queued: int
) -> None:
    running, prefill_s, step_s, tokens, wait = load
    clients = running + queued
    served = loop(clients, running, prefill_s, step_s, tokens, wait)
    residence = served.ttft_s[0] + (tokens - 1) * served.tpot_s[0]
    assert clients * tokens / residence == pytest.approx(served.requests_per_second[0] * tokens, rel=1e-9)


@given(loads)
def test_no_token_comes_faster_than_a_step_and_no_first_token_before_its_prefill(
    load: tuple[int, float, float, int, float],
) -> None:
    running, prefill_s, step_s, tokens, wait = load
    served = loop(running, running, prefill_s, step_s, tokens, wait)
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


def test_a_static_batch_makes_its_tokens_in_prefill_and_steps() -> None:
    served = static_batch(batch=one(64), prefill_s=one(2.0), step_s=one(0.03), new_tokens=101)
    assert served.requests_per_second[0] == pytest.approx(64 / (2.0 + 3.0))
    assert (served.ttft_s[0], served.tpot_s[0]) == pytest.approx((2.0, 0.03))


def test_a_single_token_has_no_time_between_tokens() -> None:
    assert np.isnan(loop(4, 4, 0.1, 0.02, tokens=1).tpot_s[0])
    assert np.isnan(static_batch(batch=one(4), prefill_s=one(1), step_s=one(0.1), new_tokens=1).tpot_s[0])
