"""Exact integers for the optimiser: the one place where numbers are rounded, never to the plan's favour.

Demand, loads and money round up, capacity and limits round down. Figures that have a common denominator
are multiplied out instead, so that a load of exactly one node still fits one node.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from planner.units import GRAMS_PER_KG, HOURS_PER_MONTH, MEGA, WATTS_PER_KW

MAX_COEFFICIENT = 2**40
"""Largest coefficient of one row; times the bounds of its variables it stays inside 64 bits."""
MAX_SUM = 2**60
"""Largest value of one side of a row that shares out GPUs."""
FLUID_GRID = 720_720
"""Steps into which a workload's demand may be split in mode `fluid`: divisible by all of 1..16."""
CENTI = 100


@dataclass(frozen=True, slots=True)
class Row:
    """`sum(coefficients * x) >= bound` in whole numbers."""

    coefficients: tuple[int, ...]
    bound: int
    is_exact: bool


def at_least(rates: Sequence[Fraction], demand: Fraction) -> Row:
    """`sum(rates * x) >= demand` in whole numbers; where no small common denominator exists, rates round down
    and the demand rounds up, by less than one part in 2**25 of the largest.

    >>> at_least([Fraction("0.5"), Fraction(2)], Fraction("3.5"))
    Row(coefficients=(1, 4), bound=7, is_exact=True)
    """
    numbers = [*rates, demand]
    common = math.lcm(*(n.denominator for n in numbers))
    largest = max(numbers)
    if largest * common <= MAX_COEFFICIENT:
        whole = [int(n * common) for n in numbers]
        shared = math.gcd(*whole) or 1
        return Row(tuple(n // shared for n in whole[:-1]), whole[-1] // shared, True)
    scale = Fraction(MAX_COEFFICIENT) / largest
    return Row(tuple(math.floor(n * scale) for n in rates), math.ceil(demand * scale), False)


@dataclass(frozen=True, slots=True)
class Loads:
    """`sum(loads * x) <= unit * capacity` in whole numbers."""

    loads: tuple[int, ...]
    unit: int
    """What one GPU holds."""
    is_exact: bool


def loads(shares: Sequence[Fraction], *, grid: int, capacity: int) -> Loads:
    """GPUs that each whole workload would fill (`shares`), per step of a `grid`; `capacity` GPUs at most.

    >>> loads([Fraction(3, 8), Fraction(3, 4)], grid=10, capacity=4)
    Loads(loads=(3, 6), unit=80, is_exact=True)
    """
    common = math.lcm(*(s.denominator for s in shares))
    largest = max(Fraction(capacity), sum(shares, Fraction(0)), Fraction(1))
    if largest * common * grid <= MAX_SUM:
        return Loads(tuple(int(s * common) for s in shares), grid * common, True)
    scale = max(1, MAX_SUM // (grid * math.ceil(largest)))
    return Loads(tuple(math.ceil(s * scale) for s in shares), grid * scale, False)


def replicas_for(demand: Fraction, rate: Fraction) -> int:
    """Whole replicas that serve a demand.

    >>> replicas_for(Fraction(7), Fraction(3))
    3
    """
    return math.ceil(demand / rate)


def micro_usd(usd: float) -> int:
    """Money to pay, in whole micro-USD, rounded up.

    >>> micro_usd(2.3)
    2300000
    """
    return math.ceil(Decimal(repr(float(usd))) * MEGA)


def micro_usd_limit(usd: float) -> int:
    """Money that may be spent, in whole micro-USD, rounded down."""
    return math.floor(Decimal(repr(float(usd))) * MEGA)


def micro_usd_months(usd: float) -> int:
    """Money paid at once, as whole micro-USD an hour over one month, rounded up.

    >>> micro_usd_months(730.0)
    1000000
    """
    return math.ceil(Decimal(repr(float(usd))) * MEGA / HOURS_PER_MONTH)


def micro_usd_months_limit(usd: float) -> int:
    """Money that may be spent at once, in the same unit, rounded down."""
    return math.floor(Decimal(repr(float(usd))) * MEGA / HOURS_PER_MONTH)


def usd_up(usd: float) -> int:
    """Purchase money, in whole USD, rounded up."""
    return math.ceil(Decimal(repr(float(usd))))


def usd_limit(usd: float) -> int:
    """Purchase money that may be spent, in whole USD, rounded down."""
    return math.floor(Decimal(repr(float(usd))))


def grams(kg: float) -> int:
    """Carbon, in whole grams, rounded up."""
    return math.ceil(Decimal(repr(float(kg))) * GRAMS_PER_KG)


def watts(kw: float) -> int:
    """Power drawn, in whole W, rounded up."""
    return math.ceil(Decimal(repr(float(kw))) * WATTS_PER_KW)


def watts_limit(kw: float) -> int:
    """Power allowed, in whole W, rounded down."""
    return math.floor(Decimal(repr(float(kw))) * WATTS_PER_KW)


def hundredths(value: float) -> int:
    """Rack units taken, in hundredths, rounded up."""
    return math.ceil(Decimal(repr(float(value))) * CENTI)


def hundredths_limit(value: float) -> int:
    """Rack units allowed, in hundredths, rounded down."""
    return math.floor(Decimal(repr(float(value))) * CENTI)


PERIODS_ROUNDING = (
    "whole micro-USD an hour (of purchases, per month of the horizon), W, g of CO2 an hour, hundredths of a rack unit, "
    "parts in 10**8 of a workload's largest demand: what is spent or used rounds up, limits and rates round down"
)
ROUNDING = (
    "whole micro-USD an hour, whole USD of purchases, W, g of CO2 an hour, hundredths of a rack unit: "
    "what is spent or used rounds up, limits round down, each by less than one unit a node"
)
