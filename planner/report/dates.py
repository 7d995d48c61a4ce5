"""Dates in a report's language."""

from __future__ import annotations

from datetime import date

from planner.report.language import ENGLISH, spoken_now
from planner.report.numbers import native_digits, shown


def date_text(text: str) -> str:
    """A date, `YYYY-MM-DD`, as the language in use writes it; English keeps it, and so does every text that is no date.

    >>> from planner.report.language import speaking
    >>> with speaking("de"):
    ...     date_text("2026-11-22")
    '22.11.2026'
    """
    code = spoken_now().language.code
    if code == ENGLISH:
        return shown(text)
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return shown(text)
    from babel.dates import format_date

    return native_digits(format_date(day, "medium", locale=code))
