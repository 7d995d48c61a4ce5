"""Cost, power and carbon: hand-checked values and what must not happen to an unknown price."""

from __future__ import annotations

import numpy as np
import pytest

from planner.estimate.cost import (
    amortised_usd_per_hour,
    hours_to_train,
    usd_over,
    usd_per_hour,
    usd_per_million_tokens,
    usd_to_train,
)


def column(*values: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array(values)


def test_a_token_price_falls_with_the_rate() -> None:
    """2 USD an hour at 1,000 tokens a second: 3.6 million tokens, so 0.5556 USD a million."""
    price = usd_per_million_tokens(usd_per_hour=column(2.0, 2.0), tokens_per_second=column(1000.0, 2000.0))
    assert price == pytest.approx([2 / 3.6, 1 / 3.6])


def test_an_unknown_price_stays_unknown() -> None:
    hourly = usd_per_hour(
        instance_usd_per_hour=column(np.nan), instance_gpus=column(8.0), gpus=np.array([4]), whole_instances=False
    )
    assert np.isnan(hourly).all()
    assert np.isnan(usd_per_million_tokens(usd_per_hour=hourly, tokens_per_second=column(10.0))).all()
    assert np.isnan(usd_to_train(usd_per_hour=hourly, tokens=1e9, tokens_per_second=column(1e4))).all()


def test_nothing_generated_has_no_token_price() -> None:
    assert np.isnan(usd_per_million_tokens(usd_per_hour=column(2.0), tokens_per_second=column(0.0))).all()


def test_an_instance_begun_is_paid_whole() -> None:
    of = {"instance_usd_per_hour": column(80.0), "instance_gpus": column(8.0), "gpus": np.array([9])}
    assert usd_per_hour(**of, whole_instances=True) == pytest.approx([160.0])
    assert usd_per_hour(**of, whole_instances=False) == pytest.approx([90.0])


def test_training_costs_its_hours() -> None:
    """2e9 tokens at 1e5 a second are 5.5556 hours; at 18 USD an hour 100 USD."""
    assert hours_to_train(tokens=2e9, tokens_per_second=column(1e5)) == pytest.approx([5.5556], rel=1e-4)
    assert usd_to_train(usd_per_hour=column(18.0), tokens=2e9, tokens_per_second=column(1e5)) == pytest.approx([100.0])


def test_bought_hardware_is_paid_off_over_the_horizon() -> None:
    hourly = amortised_usd_per_hour(capex_usd=column(262_800.0), horizon_hours=26_280)
    assert hourly == pytest.approx([10.0])
    assert usd_over(usd_per_hour=hourly, hours=26_280) == pytest.approx([262_800.0])
