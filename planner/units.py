"""Convert and format bytes, seconds, FLOP and USD: the only module that writes powers of two or ten.

Everything inside the project is in base units (bytes, seconds, FLOP, USD, kW, shares 0..1); these
constants and functions are for the edges: catalogs in vendors' units come in, people-facing text goes out.
"""

from __future__ import annotations

import math

KIB = 2**10
MIB = 2**20
GIB = 2**30
TIB = 2**40
KB = 10**3
MB = 10**6
GB = 10**9
TERA = 10**12
MEGA = 10**6
MICRO = 1e-6
MILLI = 1e-3
SECONDS_PER_HOUR = 3600
HOURS_PER_MONTH = 730
MINUTES_PER_HOUR = 60
MINUTES_PER_DAY = 24 * MINUTES_PER_HOUR
"""8,760 hours a year over 12 months: the cloud providers' billing month."""
MONTHS_PER_YEAR = 12
WATTS_PER_KW = 1000
BITS_PER_BYTE = 8
GRAMS_PER_KG = 1000
KG_PER_TONNE = 1000
BTU_PER_HOUR_PER_KW = 3412.142
"""1 kWh is 3,412.142 BTU (International Table)."""
KW_PER_COOLING_TON = 3.516853
"""A ton of refrigeration is 12,000 BTU an hour."""


def ceil_div(a: int, b: int) -> int:
    """Integer `a / b` rounded up.

    >>> ceil_div(7, 4)
    2
    """
    return -(-a // b)


def gib(n_bytes: float, digits: int = 1) -> str:
    """Bytes as GiB text.

    >>> gib(1073741824)
    '1.0 GiB'
    """
    return f"{n_bytes / GIB:,.{digits}f} GiB"


def short_bytes(n_bytes: float) -> str:
    """Bytes in the largest binary unit that keeps at least one digit before the point.

    >>> short_bytes(33554432)
    '32.0 MiB'
    >>> short_bytes(1073741824)
    '1.00 GiB'
    """
    for size, name, digits in ((TIB, "TiB", 2), (GIB, "GiB", 2), (MIB, "MiB", 1), (KIB, "KiB", 1)):
        if abs(n_bytes) >= size:
            return f"{n_bytes / size:,.{digits}f} {name}"
    return f"{n_bytes:,.0f} B"


def usd(amount: float, digits: int = 2) -> str:
    """Money as text.

    >>> usd(1234.5)
    '1,234.50 USD'
    """
    return f"{amount:,.{digits}f} USD"


def short_count(number: float) -> str:
    """A count with three significant digits and a decimal suffix.

    >>> short_count(8030261248)
    '8.03 B'
    """
    for size, suffix in ((TERA, "T"), (GB, "B"), (MB, "M"), (KB, "k")):
        if abs(number) >= size:
            return f"{three_digits(number / size)} {suffix}"
    return three_digits(number)


def three_digits(number: float) -> str:
    """Three significant digits, never an exponent for 1,000 and more.

    >>> three_digits(0.01234), three_digits(999.6), three_digits(12345.0)
    ('0.0123', '1,000', '12,345')
    """
    return f"{number:,.0f}" if abs(number) >= 999.5 else f"{number:.3g}"


def seconds(value_s: float) -> str:
    """A duration as text with three significant digits.

    >>> seconds(0.0123)
    '12.3 ms'
    """
    if not math.isfinite(value_s):
        return "unbounded"
    for size, name in ((86400.0, "days"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (MILLI, "ms")):
        if abs(value_s) >= size:
            return f"{three_digits(value_s / size)} {name}"
    return f"{value_s / MICRO:.3g} µs"
