"""The rate within latency limits: against the full queueing model, and against the simulation of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.estimate.speed.open_loop import most_requests_per_second, open_loop
from planner.estimate.speed.sustained import Limits, RankTimes, latencies, sustained_per_second
from tests.estimate.speed.test_open_loop import CHAT, FEW_SLOTS, LONG_PROMPTS, MIXED, Mix, simulated


def slow_prompt_s(mix: Mix, percentile: int) -> float:
    """The prompt that so many per cent of the requests do not exceed."""
    upto = 0.0
    for share, seconds in sorted(zip(mix.shares, mix.prefill_s, strict=True), key=lambda kind: kind[1]):
        upto += share
        if upto >= percentile / 100.0:
            return seconds
    return max(mix.prefill_s)


MIXES = {"chat": CHAT, "few slots": FEW_SLOTS, "long prompts": LONG_PROMPTS, "mixed": MIXED}


def times_of(mix: Mix, percentile: int | None) -> RankTimes:
    """The same engine in the short form's terms."""
    requests, steps = mix.requests(), mix.steps()
    prefill, rounds = requests.mean(requests.prefill_s), requests.mean(requests.rounds)

    def variation(values: np.ndarray[tuple[int], np.dtype[np.float64]], mean: float) -> float:
        return float(np.sum(requests.share * (values - mean) ** 2) / mean**2)

    return RankTimes(
        slots=np.array([float(mix.slots)]),
        step_one_s=steps[:1],
        step_full_s=steps[-1:],
        prefill_s=np.array([prefill]),
        first_s=np.array([prefill]),
        rounds=rounds,
        slow_first_factor=1.0 if percentile is None else slow_prompt_s(mix, percentile) / prefill,
        prefill_variation=variation(requests.prefill_s, prefill),
        rounds_variation=variation(requests.rounds, rounds),
    )


@pytest.mark.parametrize("used", [0.1, 0.3, 0.6, 0.8])
@pytest.mark.parametrize("name", MIXES)
def test_means_are_those_of_the_full_model(name: str, used: float) -> None:
    mix = MIXES[name]
    rate = used * most_requests_per_second(mix.requests(), mix.steps())
    full = open_loop(mix.requests(), requests_per_second=rate, step_s=mix.steps())
    assert full.ttft is not None
    assert full.tpot is not None
    ttft_s, tpot_s = latencies(times_of(mix, None), np.array([used]), percentile=None)
    assert ttft_s.item() == pytest.approx(full.ttft.mean_s, rel=0.18)
    assert tpot_s.item() == pytest.approx(full.tpot.mean_s, rel=0.05)


def most_by_the_full_model(mix: Mix, limits: Limits, *, most_used: float) -> float:
    """The largest rate at which the full model keeps the limits, by halving."""
    whole = most_requests_per_second(mix.requests(), mix.steps())
    low, high = 0.0, most_used
    key = "mean_s" if limits.percentile is None else f"p{limits.percentile}_s"
    for _ in range(12):
        used = (low + high) / 2.0
        found = open_loop(mix.requests(), requests_per_second=used * whole, step_s=mix.steps())
        assert found.ttft is not None
        assert found.tpot is not None
        assert limits.ttft_s is not None
        assert limits.tpot_s is not None
        good = getattr(found.ttft, key) <= limits.ttft_s and getattr(found.tpot, key) <= limits.tpot_s
        low, high = (used, high) if good else (low, used)
    return low * whole


@pytest.mark.parametrize("percentile", [None, 50, 90, 99])
@pytest.mark.parametrize("name", MIXES)
def test_rate_within_limits_is_that_of_the_full_model(name: str, percentile: int | None) -> None:
    """At most a tenth above it and not a quarter below; of the 99th percentile within 40 %."""
    mix = MIXES[name]
    limits = Limits(ttft_s=2.5 * max(mix.prefill_s) + 0.1, tpot_s=0.05, percentile=percentile)
    found = sustained_per_second(times_of(mix, percentile), limits, most_used=0.9).item()
    exact = most_by_the_full_model(mix, limits, most_used=0.9)
    least, most = (0.7, 1.4) if percentile == 99 else (0.75, 1.1)
    assert least * exact <= found <= most * exact


@pytest.mark.parametrize("name", MIXES)
def test_simulated_requests_keep_the_limits_at_the_rate_found(name: str) -> None:
    """Nine in ten within the limit but for the formula's own error."""
    mix = MIXES[name]
    idle_s = times_of(mix, 90).prefill_s.item()
    limits = Limits(ttft_s=idle_s + 0.5, tpot_s=0.06, percentile=90)
    rate = sustained_per_second(times_of(mix, 90), limits, most_used=0.9).item()
    used = rate / most_requests_per_second(mix.requests(), mix.steps())
    seen = simulated(mix, round(used, 2), 6_000)
    assert float(np.quantile(seen["ttft"], 0.9)) <= 1.2 * (idle_s + 0.5)
    assert float(np.quantile(seen["tpot"], 0.9)) <= 1.2 * 0.06


@settings(max_examples=40)
@given(
    slots=st.integers(1, 256),
    prefill=st.floats(1e-3, 0.5),
    rounds=st.integers(1, 500),
    ttft=st.floats(0.05, 5.0),
    more=st.floats(1.01, 3.0),
)
def test_looser_limits_never_carry_less(slots: int, prefill: float, rounds: int, ttft: float, more: float) -> None:
    one, full, tokens = np.array([0.01]), np.array([0.01 + 1e-4 * slots]), np.array([prefill])
    times = RankTimes(
        slots=np.array([float(slots)]), step_one_s=one, step_full_s=full, prefill_s=tokens, first_s=tokens,
        rounds=float(rounds),
    )  # fmt: skip
    tight = sustained_per_second(times, Limits(ttft_s=ttft, percentile=90), most_used=0.9)
    loose = sustained_per_second(times, Limits(ttft_s=ttft * more, percentile=90), most_used=0.9)
    assert 0.0 <= tight.item() <= loose.item() * (1 + 1e-9) <= 0.9 * times.most_per_second.item() * (1 + 1e-9)


def test_nothing_is_carried_where_an_idle_engine_is_too_slow() -> None:
    assert sustained_per_second(times_of(CHAT, None), Limits(ttft_s=0.01), most_used=0.9).item() == 0.0
