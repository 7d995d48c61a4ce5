"""Which figures of an estimate make the quantity that was measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.accuracy.rules import FIGURES, RULES, NoPredictionError, predicted
from planner.catalog.intervals import lineage
from tests.accuracy.rows import SERVED, TRAINED
from validation.record import UNIT_OF_RULE


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("allocated", 168),
        ("allocated_sum", 336),
        ("weights_sum", 200),
        ("kv_blocks", 62),
        ("profile_activations", 28),
        ("profile_peak", 128),
        ("output_rate_per_gpu", 200.0),
        ("decode_rate", 800.0),
        ("prefill_rate", 1600.0),
        ("end_to_end", 0.6),
        ("static_output_rate", 8 * 11 / 0.6),
        ("train_rate_per_gpu", 2000.0),
        ("flop_rate", 2000.0 * 6e9),
    ],
)
def test_a_quantity_is_made_of_the_figures_its_rule_names(rule: str, value: float) -> None:
    assert predicted(rule, SERVED, {"flop_per_token": 6e9}) == pytest.approx(value)


def test_an_answer_of_one_token_ends_with_the_first() -> None:
    assert predicted("end_to_end", replace(SERVED, output_tokens=1, tpot_s=None), {}) == 0.5


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("ttft", "does not apply"),
        ("decode_rate", "does not apply"),
        ("flop_rate", "flop_per_token"),
        ("x", "no rule 'x'"),
    ],
)
def test_what_cannot_be_said_is_said_so(rule: str, said: str) -> None:
    with pytest.raises(NoPredictionError, match=said):
        predicted(rule, TRAINED, {})


def test_nothing_may_be_a_buffer_but_never_a_speed() -> None:
    assert predicted("kv_pool", replace(SERVED, part_bytes={**SERVED.part_bytes, "kv_cache": 0}), {}) == 0
    with pytest.raises(NoPredictionError, match="ttft = 0"):
        predicted("ttft", replace(SERVED, ttft_s=0.0), {})


def test_every_rule_that_a_replay_measures_is_known() -> None:
    assert UNIT_OF_RULE.keys() - RULES.keys() == {"fits", "power"}


def test_every_figure_leads_to_a_family() -> None:
    assert FIGURES.keys() <= RULES.keys()
    assert {lineage(figure)[-1] for figure in FIGURES.values()} == {"memory", "speed"}
