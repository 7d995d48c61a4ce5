"""Recorded errors as factors: which entry holds, and its ends at any confidence."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from planner.catalog.intervals import FIGURE_OF, Figure, IntervalFact, bounds, interval_facts, interval_of, lineage


def fact(**changes: object) -> IntervalFact:
    plain = {"figure": "memory", "kind": "infer", "low": 0.5, "high": 2.0, "rows": 9, "source": "test", "as_of": "2026"}
    return IntervalFact.model_validate(plain | changes)


def test_the_recorded_ends_are_given_back() -> None:
    recorded = fact(factors={0.5: (0.9, 1.1), 0.99: (0.3, 4.0)})
    assert recorded.ends(0.9) == pytest.approx((0.5, 2.0))
    assert recorded.ends(0.5) == pytest.approx((0.9, 1.1))
    assert recorded.ends(0.99) == pytest.approx((0.3, 4.0))


def test_one_recorded_confidence_serves_all_as_log_normal_errors_would() -> None:
    # 1.2816 and 1.6449 standard deviations reach to the 80 % and the 90 % interval of a normal distribution
    assert fact().ends(0.8)[1] == pytest.approx(math.exp(math.log(2.0) * 1.28155 / 1.64485), rel=1e-4)


def test_a_biased_record_still_holds_the_prediction() -> None:
    low, high = fact(low=1.1, high=1.4).ends(0.9)
    assert low == 1.0
    assert high == pytest.approx(1.4)


def test_a_quantile_is_the_end_of_the_interval_that_leaves_as_much_out() -> None:
    assert fact().factor_at(0.95) == pytest.approx(2.0)
    assert fact().factor_at(0.05) == pytest.approx(0.5)
    assert fact().factor_at(0.5) == 1.0


@given(st.tuples(st.floats(0.01, 0.99), st.floats(0.01, 0.99)))
def test_more_confidence_never_narrows(pair: tuple[float, float]) -> None:
    recorded = fact(factors={0.5: (0.9, 1.1), 0.95: (0.45, 2.1)})
    (low, high), (wider_low, wider_high) = (recorded.ends(c) for c in sorted(pair))
    assert wider_low <= low <= 1.0 <= high <= wider_high


@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.1, 90.0])
def test_a_confidence_is_a_share(confidence: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        fact().ends(confidence)


def test_ends_out_of_order_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"low is above high at confidence 0\.5"):
        fact(factors={0.5: (1.1, 0.9)})


def test_the_engine_then_the_kind_then_the_figure_decide() -> None:
    facts = (
        fact(high=2.1),
        fact(figure="device", high=2.2),
        fact(figure="speed", high=2.3),
        fact(engines=["vllm"], high=2.4),
        fact(kind="train", high=2.5),
        fact(kind="train_lora", high=2.6),
        fact(kind="train", figure="device", high=2.7),
    )

    def high(figure: Figure, kind: str, engine: str) -> float:
        return interval_of(facts, figure=figure, kind=kind, engine=engine).high

    assert high("allocated", "infer", "sglang") == 2.1
    assert high("device", "infer", "sglang") == 2.2
    assert high("device", "infer", "vllm") == 2.4
    assert high("device", "train_lora", "transformers") == 2.6
    assert high("device", "train_full", "transformers") == 2.7
    with pytest.raises(LookupError):
        high("speed", "train", "vllm")


def test_times_have_the_factors_of_rates_turned_round() -> None:
    facts = (fact(figure="speed", low=0.8, high=2.0),)
    assert bounds("infer", "output_tokens_per_second", 0.9, engine="vllm", facts=facts) == pytest.approx((0.8, 2.0))
    assert bounds("infer", "tpot_s", 0.9, engine="vllm", facts=facts) == pytest.approx((0.5, 1.25))


def test_a_figure_without_a_record_is_not_given_one() -> None:
    with pytest.raises(LookupError, match="usd_total"):
        bounds("infer", "usd_total", 0.9, engine="vllm")


def test_every_figure_leads_to_a_shipped_record() -> None:
    families = {lineage(figure)[-1] for figure in FIGURE_OF.values()}
    assert families == {"memory", "speed"}
    for key in FIGURE_OF:
        for kind in ("infer", "train_full", "train_lora", "train_qlora"):
            low, high = bounds(kind, key, 0.9, engine="transformers")
            assert low < high
    assert interval_facts()
