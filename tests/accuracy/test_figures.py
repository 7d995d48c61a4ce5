"""Figures of errors, on numbers that can be checked by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.accuracy.figures import figures, kendall_tau
from tests.accuracy.rows import SERVED, row


def test_errors_of_four_rows() -> None:
    rows = [row(100.0, p) for p in (100.0, 90.0, 120.0, 300.0)]
    found = figures(rows)
    assert (found.n, found.failed, found.sources) == (4, 0, 1)
    assert found.median == pytest.approx(0.15)
    assert found.mape == pytest.approx(0.575)
    assert found.worst == pytest.approx(2.0)
    assert found.bias == pytest.approx(0.1)
    assert found.p90 == pytest.approx(0.2 + 0.7 * 1.8)
    assert (found.within_10, found.within_20, found.within_2x) == (0.5, 0.75, 0.75)
    assert found.under_3 == 0.25


def test_a_source_counts_once_however_many_rows_it_has() -> None:
    many = [row(100.0, 110.0, source="a") for _ in range(9)]
    assert figures([*many, row(100.0, 130.0, source="b")]).by_source == pytest.approx(0.2)


def test_a_row_without_a_prediction_is_counted_and_no_error_is_made_up() -> None:
    found = figures([row(100.0, None, failure="why", answer=None)])
    assert (found.n, found.failed) == (1, 1)
    assert (found.median, found.coverage, found.not_to_fit, found.tau) == (None, None, None, None)


def test_what_ran_though_it_was_said_not_to_fit_is_counted() -> None:
    full = replace(SERVED, fits=False)
    assert figures([row(1.0, 1.0), row(1.0, 1.0, answer=full)]).not_to_fit == 0.5


def test_coverage_counts_the_rows_inside_their_intervals() -> None:
    rows = [row(m, 100.0, interval=(80.0, 120.0)) for m in (80.0, 100.0, 121.0)]
    assert figures(rows).coverage == pytest.approx(2 / 3)


def test_order_is_judged_within_one_model_gpu_and_quantity() -> None:
    right = [row(m, p, model="a") for m, p in ((1, 10), (2, 20), (3, 30), (4, 40))]
    wrong = [row(m, p, model="b") for m, p in ((1, 40), (2, 30), (3, 20), (4, 10))]
    assert figures(right).tau == 1.0
    assert figures(wrong).tau == -1.0
    assert figures([*right, *wrong]).tau == 0.0
    assert figures([*right, *wrong]).sweeps == 2
    assert figures(right[:3]).tau is None


def test_ties_are_no_order() -> None:
    # one pair tied on one side alone: 2 of sqrt(2 x 3) pairs agree
    assert kendall_tau([1, 1, 2], [1, 2, 3]) == pytest.approx(2 / 6**0.5)
    assert kendall_tau([1, 1], [1, 2]) is None


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=12))
def test_order_does_not_care_how_rows_are_sorted(pairs: list[tuple[int, int]]) -> None:
    xs, ys = [p[0] for p in pairs], [p[1] for p in pairs]
    tau = kendall_tau(xs, ys)
    assert tau is None or -1.0 - 1e-9 <= tau <= 1.0 + 1e-9
    assert kendall_tau(xs[::-1], ys[::-1]) == tau
