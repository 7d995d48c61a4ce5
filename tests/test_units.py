"""Units for people: every formatter keeps the size and says the unit."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner import units


@given(st.integers(1, 10**12), st.integers(1, 10**6))
def test_ceil_div_is_the_least_count_that_holds_all(a: int, b: int) -> None:
    boxes = units.ceil_div(a, b)
    assert (boxes - 1) * b < a <= boxes * b


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1,023 B"),
        (1024, "1.0 KiB"),
        (33_554_432, "32.0 MiB"),
        (1_073_741_824, "1.00 GiB"),
        (1_374_389_534_720, "1.25 TiB"),
    ],
)
def test_bytes_are_shown_in_binary_units(n_bytes: int, text: str) -> None:
    assert units.short_bytes(n_bytes) == text


def test_gib_and_gb_are_told_apart() -> None:
    assert units.gib(80 * units.GB) == "74.5 GiB"
    assert units.gib(80 * units.GIB) == "80.0 GiB"


@pytest.mark.parametrize(
    ("value_s", "text"),
    [(0.000_004, "4 µs"), (0.0123, "12.3 ms"), (1.5, "1.5 s"), (90, "1.5 min"), (7200, "2 h"), (172_800, "2 days")],
)
def test_durations_take_the_largest_unit_that_fits(value_s: float, text: str) -> None:
    assert units.seconds(value_s) == text


def test_an_endless_duration_has_a_word() -> None:
    assert units.seconds(math.inf) == "unbounded"


@pytest.mark.parametrize(
    ("count", "text"),
    [(999, "999"), (1000, "1 k"), (8_030_261_248, "8.03 B"), (671_026_404_352, "671 B"), (2e12, "2 T")],
)
def test_counts_have_three_digits_and_a_decimal_suffix(count: float, text: str) -> None:
    assert units.short_count(count) == text


def test_money_has_its_currency() -> None:
    assert units.usd(1234.5) == "1,234.50 USD"
    assert units.usd(0.000_25, digits=5) == "0.00025 USD"
