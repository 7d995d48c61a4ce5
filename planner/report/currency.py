"""The currency of a report: plans count in USD; a report may show another currency at a rate that has a date.

There is no list of rates: the spec gives the one to use, with its date and its source, and every report says it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType

from planner.report.language import _, marked

USD = "USD"


@dataclass(frozen=True, slots=True, kw_only=True)
class Currency:
    """What amounts are shown in."""

    code: str
    """ISO 4217."""
    per_usd: float
    """Units of it for one USD."""
    as_of: str = ""
    """Date of the rate, `YYYY-MM-DD`."""
    source: str = ""


IN_USD = Currency(code=USD, per_usd=1.0)
_CURRENCY: ContextVar[Currency] = ContextVar("currency", default=IN_USD)
NAMES: Mapping[str, str] = MappingProxyType({"USD": marked("USD"), "EUR": marked("EUR"), "GBP": marked("GBP")})
"""Currencies that languages may call by name; any other keeps its code."""


@contextmanager
def counting_in(shown: Currency) -> Iterator[None]:
    """Amounts formatted inside are in the currency `shown`."""
    token = _CURRENCY.set(shown)
    try:
        yield
    finally:
        _CURRENCY.reset(token)


def currency() -> str:
    """What the currency of the report is called.

    >>> currency()
    'USD'
    """
    code = _CURRENCY.get().code
    return _(NAMES[code]) if code in NAMES else code


def currency_now() -> Currency:
    """The currency of the report with its rate."""
    return _CURRENCY.get()


def in_currency(amount_usd: float) -> float:
    """An amount in the currency of the report.

    >>> with counting_in(Currency(code="EUR", per_usd=0.5)):
    ...     in_currency(3.0)
    1.5
    """
    shown = _CURRENCY.get()
    return amount_usd if shown.code == USD else amount_usd * shown.per_usd
