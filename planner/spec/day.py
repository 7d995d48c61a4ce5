"""Hours of the day: ranges as a spec writes them, as minutes from midnight."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated

from pydantic import AfterValidator, Field

from planner.units import MINUTES_PER_DAY, MINUTES_PER_HOUR

Range = tuple[int, int]
"""Minutes from midnight, the end excluded."""


def some_time(text: str) -> str:
    """Refuse a range without time in it, or past the end of the day."""
    start, end = ends(text)
    if start == end:
        raise ValueError(f"{text} has no time in it; leave `hours` out for the whole day")
    if end > MINUTES_PER_DAY:
        raise ValueError(f"{text} ends after 24:00")
    return text


Hours = Annotated[
    str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-4]):[0-5][0-9]$"), AfterValidator(some_time)
]
"""A range of the day, `HH:MM-HH:MM`; one that ends before it starts goes past midnight."""


def ends(text: str) -> Range:
    """Both ends of a range.

    >>> ends("20:00-08:30")
    (1200, 510)
    """
    start, _, end = text.partition("-")
    return minute(start), minute(end)


def minute(text: str) -> int:
    """Minutes from midnight of `HH:MM`."""
    hours, _, minutes = text.partition(":")
    return int(hours) * MINUTES_PER_HOUR + int(minutes)


def ranges(hours: Iterable[str]) -> tuple[Range, ...]:
    """The ranges in order, those past midnight in two.

    >>> ranges(["20:00-08:00"])
    ((0, 480), (1200, 1440))
    """
    found: list[Range] = []
    for text in hours:
        start, end = ends(text)
        found += [(start, end)] if start < end else [(start, MINUTES_PER_DAY), *([(0, end)] if end else [])]
    return tuple(sorted(found))


def overlap(hours: Iterable[str]) -> bool:
    """Some minute is in two ranges."""
    found = ranges(hours)
    return any(a[1] > b[0] for a, b in pairwise(found))


def day_share(hours: Iterable[str]) -> float:
    """Share of the day in the ranges; all of it where there are none.

    >>> day_share(["20:00-08:00"]), day_share([])
    (0.5, 1.0)
    """
    found = ranges(hours)
    return sum(end - start for start, end in found) / MINUTES_PER_DAY if found else 1.0
