"""Display rounding never lies."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.report import numbers
from planner.report.numbers import (
    ceil_text,
    dealt_out,
    factor,
    figure,
    fixed,
    floor_text,
    money,
    money_sum,
    percent,
    shown,
    told_apart,
)

shares = st.floats(min_value=0, max_value=2, allow_nan=False)
amounts = st.floats(min_value=0, max_value=1e7, allow_nan=False, allow_infinity=False)


def number(text: str) -> Decimal:
    return Decimal(text.replace(",", ""))


@given(shares)
def test_only_the_whole_prints_as_100_percent(share: float) -> None:
    assert (percent(share) == "100 %") is (share == 1)


@given(shares)
def test_only_nothing_prints_as_0_percent(share: float) -> None:
    assert (percent(share) == "0 %") is (share == 0)


@pytest.mark.parametrize(
    ("share", "text"), [(0.9997, "99.97 %"), (1.0002, "100.02 %"), (0.42, "42 %"), (0.0004, "0.04 %"), (1.5, "150 %")]
)
def test_percent_takes_the_digits_it_needs(share: float, text: str) -> None:
    assert percent(share) == text


@given(amounts, amounts)
def test_numbers_side_by_side_look_equal_only_when_they_are(a: float, b: float) -> None:
    one, other = told_apart(a, b, digits=2)
    if abs(a - b) > 1e-8:
        assert one != other
    if a == b:
        assert one == other


@given(amounts, amounts)
def test_numbers_side_by_side_keep_their_order(a: float, b: float) -> None:
    one, other = told_apart(a, b, significant=3)
    if a <= b:
        assert number(one) <= number(other)


@given(st.lists(amounts, max_size=12))
def test_amounts_shown_as_exact_add_up_to_the_shown_total(values: list[float]) -> None:
    shown_sum = money_sum(values, sum(values))
    added = sum((number(p) for p in shown_sum.parts), Decimal(0))
    assert (added == number(shown_sum.total)) or not shown_sum.is_exact


@given(st.lists(st.integers(0, 10**12), max_size=12), st.integers(0, 10**6))
def test_dealt_out_steps_add_up_and_stay_within_one_step(parts: list[int], total: int) -> None:
    units = dealt_out(parts, total)
    whole = sum(parts)
    assert sum(units) == (total if whole else 0)
    assert all(abs(u * whole - p * total) < whole for u, p in zip(units, parts, strict=True)) or not whole


@given(st.floats(min_value=0.001, max_value=1e6))
def test_bounds_round_away_from_the_claim(value: float) -> None:
    assert number(floor_text(value)) <= Decimal(repr(value)) <= number(ceil_text(value))


@given(st.floats(min_value=1e-6, max_value=1e6))
def test_money_that_is_there_never_prints_as_nothing(amount: float) -> None:
    assert number(money(amount)) > 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0005, "0.0005"),
        (12.345, "12.3"),
        (999.6, "1,000"),
        (1234.56, "1,235"),
        (200_000_000, "200,000,000"),
    ],
)
def test_figures_have_three_digits_and_no_exponent(value: float, text: str) -> None:
    assert figure(value) == text


def test_minus_nothing_prints_without_its_sign() -> None:
    assert fixed(-0.001) == "0.00"


def test_a_factor_that_is_not_one_does_not_print_as_one() -> None:
    assert [factor(1.0), factor(1.0003), factor(4.0), factor(0.25)] == ["1×", "1.0003×", "4×", "0.25×"]


@pytest.mark.parametrize("hidden", ["\u202e", "\u200b", "\x1b", "\x00", "\u2066", "\ufeff", "\ud800", "\u2028"])
def test_characters_that_do_something_print_as_their_escape(hidden: str) -> None:
    assert shown(f"a{hidden}b") == f"a\\u{ord(hidden):04x}b"


def test_the_joiner_of_persian_spelling_is_kept() -> None:
    assert shown("می\u200cشود") == "می\u200cشود"


def test_long_names_are_cut_and_say_so() -> None:
    assert shown("x" * 10_000) == "x" * numbers.LONGEST_NAME + "… (10,000 characters)"
