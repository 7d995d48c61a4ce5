"""Factors from recorded errors: what they hold, and of sources nobody has seen."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from planner.accuracy.interval_file import load_left_out, yaml_text
from planner.accuracy.intervals import (
    CONFIDENCES,
    Residual,
    cells,
    fitted,
    left_out_places,
    residuals,
    row_weights,
    weighted_quantile,
)
from planner.catalog.intervals import Figure, interval_of, load_intervals
from planner.errors import InputError
from tests.accuracy.rows import row


def errors(
    spread: float, *, sources: int = 12, rows: int = 40, shift: float = 0.0, figure: Figure = "device"
) -> list[Residual]:
    """Normal errors; each source has a shift of its own."""
    noise = np.random.default_rng(7)
    return [
        Residual(
            source=f"s{s}",
            figure=figure,
            kind="infer",
            engine="vllm",
            log_ratio=float(shift + own + noise.normal(0.0, spread)),
        )
        for s, own in enumerate(noise.normal(0.0, spread, sources))
        for _ in range(rows)
    ]


def test_a_source_left_out_is_held_as_often_as_claimed() -> None:
    found = errors(0.1)
    needed, (_, stretch) = left_out_places(found), fitted(found)
    for confidence in (0.8, 0.9, 0.95):
        inside = float((needed[confidence] <= stretch["memory of inference"][confidence]).mean())
        assert confidence <= inside <= confidence + 0.05


def test_wider_errors_make_wider_intervals_and_the_prediction_stays_inside() -> None:
    for shift in (-0.3, 0.0, 0.3):
        narrow, wide = (fitted(errors(spread, shift=shift))[0][0].log_ends[0.9] for spread in (0.05, 0.2))
        assert wide[0] <= narrow[0] <= 0.0 <= narrow[1] <= wide[1]


def test_more_confidence_is_never_narrower() -> None:
    for cell in fitted(errors(0.1))[0]:
        lows, highs = zip(*(cell.log_ends[c] for c in CONFIDENCES), strict=True)
        assert list(lows) == sorted(lows, reverse=True)
        assert list(highs) == sorted(highs)


def test_a_cell_of_one_source_leans_on_the_cell_above_it() -> None:
    many = errors(0.1, figure="allocated")
    few = [
        Residual(source="one", figure="device", kind="infer", engine="vllm", log_ratio=r) for r in (0.5, 0.6, 0.7, 0.8)
    ]
    found = {(c.figure, c.kind, c.engine): c for c in cells([*many, *few])}
    above, own = found["memory", "infer", "vllm"], found["device", "infer", "vllm"]
    assert above.log_ends[0.9][1] < own.log_ends[0.9][1] < 0.8


def test_a_table_of_many_rows_weighs_more_but_not_as_many_times_more() -> None:
    weights = row_weights([*errors(0.1, sources=1, rows=100), *errors(0.1, sources=2, rows=4)[4:]])
    assert weights[:100].sum() / weights[100:].sum() == pytest.approx(5.0)


def test_a_quantile_of_equal_weights_is_the_middle() -> None:
    assert weighted_quantile(np.array([4.0, 0.0, 2.0]), np.ones(3), 0.5) == 2.0
    assert weighted_quantile(np.array([0.0, 1.0]), np.array([3.0, 1.0]), 0.5) < 0.5


def test_errors_of_fitted_speeds_count_more_than_those_on_left_out_sources() -> None:
    slow = row(1.0, 0.5, rule="tpot", record="a")
    rate = row(1.0, 0.5, rule="output_rate", record="b")
    simulated = row(1.0, 0.5, record="c", origin="simulated")
    found = residuals([slow, rate, simulated], {("b", "output_rate"): 0.25})
    assert [r.log_ratio for r in found] == pytest.approx([-1.5 * math.log(2.0), 0.25])
    assert residuals([row(2.0, 1.0)], {})[0].log_ratio == pytest.approx(math.log(2.0))


def test_the_file_is_read_back_as_it_was_made(tmp_path: Path) -> None:
    made, stretch = fitted([*errors(0.1), *errors(0.3, figure="tpot"), *errors(0.4, figure="ttft")])
    path = tmp_path / "intervals.yaml"
    path.write_text(yaml_text(made, stretch, as_of="2026-11-22"), encoding="utf-8")
    facts = load_intervals(path)
    assert len(facts) == len(made)
    fact = interval_of(facts, figure="device", kind="infer", engine="vllm")
    (cell,) = (c for c in made if (c.figure, c.kind, c.engine) == ("device", "infer", "vllm"))
    for confidence in CONFIDENCES:
        assert fact.ends(confidence) == pytest.approx(
            tuple(math.exp(end) for end in cell.log_ends[confidence]), abs=2e-4
        )
    assert interval_of(facts, figure="workspace", kind="infer", engine="llamacpp").figure == "memory"


def test_errors_on_left_out_sources_are_read_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "errors.json"
    rows = [{"id": "a", "rule": "tpot", "log_error": -0.5}]
    path.write_text(json.dumps({"schema": "planner/speed-errors/v1", "rows": rows}))
    assert load_left_out(path) == {("a", "tpot"): 0.5}
    path.write_text(json.dumps({"schema": "other", "rows": []}))
    with pytest.raises(InputError, match="schema 'other'"):
        load_left_out(path)
