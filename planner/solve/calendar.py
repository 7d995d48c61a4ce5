"""Time: which periods a contract or a purchase serves, when it has to be ordered, and how long it is paid for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from planner.solve.problem import Buy, Problem, Reserve
from planner.units import ceil_div


@dataclass(frozen=True, slots=True, order=True)
class Contract:
    """A reservation over whole periods: one term, or as many in a row as its last period needs."""

    first: int
    last: int
    paid: int
    """Length of time that is paid for."""


@dataclass(frozen=True, slots=True, order=True)
class Delivery:
    """Nodes bought to be there from the start of a period."""

    first: int
    ordered: int
    """Period in which they are ordered, and paid."""


def starts(p: Problem) -> tuple[int, ...]:
    """When each period starts, and when the last one ends."""
    found = [0]
    for period in range(p.periods):
        found.append(found[-1] + p.length(period))
    return tuple(found)


def span(p: Problem, first: int, last: int) -> int:
    """Length of time from the start of one period to the end of another."""
    return sum(p.length(q) for q in range(first, last + 1))


def contracts(p: Problem, reserve: Reserve) -> tuple[Contract, ...]:
    """The reservations that can be made: in each period one of the fewest terms that serve it, and longer ones where
    the end of a term falls inside a period, so that no other contract could follow on it."""
    return tuple(c for first in range(p.periods) for c in _contracts_from(p, reserve, first))


def _contracts_from(p: Problem, reserve: Reserve, first: int) -> Iterator[Contract]:
    at = starts(p)
    terms, last = 0, first - 1
    while last < p.periods - 1:
        terms = max(terms + 1, ceil_div(at[last + 2] - at[first], reserve.term))
        until = at[first] + terms * reserve.term
        last = bisect_right(at, until) - 2
        if last >= p.periods - 1:
            last = p.periods - 1
        paid = terms * reserve.term
        yield Contract(first, last, paid if reserve.whole else min(paid, at[-1] - at[first]))
        if at[last + 1] == until:
            return


def deliveries(p: Problem, buy: Buy) -> tuple[Delivery, ...]:
    """The starts of periods for which nodes can be bought: those that are far enough off."""
    at = starts(p)
    return tuple(
        Delivery(first, bisect_right(at, at[first] - buy.lead) - 1)
        for first in range(p.periods)
        if at[first] >= buy.lead
    )
