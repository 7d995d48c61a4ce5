"""Cost, power and carbon: hand-checked values and what must not happen to an unknown price."""

from __future__ import annotations

import numpy as np
import pytest

from planner.estimate.cost import (
    hours_to_train,
    usd_over,
    usd_per_million_tokens,
)


def column(*values: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array(values)


def test_a_token_price_falls_with_the_rate() -> None:
    """2 USD an hour at 1,000 tokens a second: 3.6 million tokens, so 0.5556 USD a million."""
    price = usd_per_million_tokens(usd_per_hour=column(2.0, 2.0), tokens_per_second=column(1000.0, 2000.0))
    assert price == pytest.approx([2 / 3.6, 1 / 3.6])


def test_an_unknown_price_stays_unknown() -> None:
    hourly = column(np.nan)
    assert np.isnan(usd_per_million_tokens(usd_per_hour=hourly, tokens_per_second=column(10.0))).all()
    assert np.isnan(usd_over(usd_per_hour=hourly, hours=10.0)).all()


def test_nothing_generated_has_no_token_price() -> None:
    assert np.isnan(usd_per_million_tokens(usd_per_hour=column(2.0), tokens_per_second=column(0.0))).all()


def test_training_costs_its_hours() -> None:
    """2e9 tokens at 1e5 a second are 5.5556 hours; at 18 USD an hour 100 USD."""
    assert hours_to_train(tokens=2e9, tokens_per_second=column(1e5)) == pytest.approx([5.5556], rel=1e-4)
    assert usd_over(usd_per_hour=column(18.0), hours=50 / 9) == pytest.approx([100.0])
