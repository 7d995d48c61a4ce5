"""How numbers become text for people, so that rounding never turns a statement into a lie.

A share under one never prints as 100 %, something that is there never prints as 0, two numbers that differ
print differently where one is compared with the other, and shown parts add up to the shown total.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from types import MappingProxyType

from planner.report.currency import in_currency
from planner.report.language import ENGLISH, _, marked, spoken_now
from planner.units import GIB, seconds, short_bytes, short_count

MOST_DIGITS = 9
"""Digits after the point at which a comparison gives up and prints the same text twice."""
LONGEST_NAME = 160
"""Characters of a name that are printed before it is cut."""
_JOINERS = "\u200c"
"""Zero-width non-joiner: part of Persian spelling, the one format character that is kept."""


def shown(text: str, longest: int = LONGEST_NAME) -> str:
    """Text from outside made safe to print: control and format characters visible, length limited.

    A right-to-left override or an escape sequence would otherwise rearrange the page or the terminal.

    >>> shown("a\\u202eb")
    'a\\\\u202eb'
    """
    cut = text if len(text) <= longest else f"{text[:longest]}… ({_num_characters(text)})"
    if cut.isascii() and cut.isprintable():
        return cut
    return "".join(_visible(c) for c in cut)


def _num_characters(text: str) -> str:
    return _("{n} characters").format(n=whole(len(text)))


def _visible(char: str) -> str:
    """One character, or its escape where printing it would do something else than show it."""
    if char in "\n\t":
        return " "
    if char in _JOINERS or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}:
        return char
    return f"\\u{ord(char):04x}"


_SEPARATOR = re.compile(r"(?<=\d)[.,](?=\d)")


def localised(text: str) -> str:
    """Numbers written as in English (`1,234.5`) with the separators, and the digits, of the language in use.

    >>> from planner.report.language import speaking
    >>> with speaking("de"):
    ...     localised("1,234.5 ms")
    '1.234,5 ms'
    """
    spoken = spoken_now()
    language = spoken.language
    if language.code == ENGLISH:
        return text
    if not spoken.has_native_digits:
        if (language.group, language.point) == (",", "."):
            return text
        return _SEPARATOR.sub(lambda found: language.group if found[0] == "," else language.point, text)
    text = _SEPARATOR.sub(lambda found: language.native_group if found[0] == "," else language.native_point, text)
    return native_digits(text).replace(" %", language.native_percent)


def native_digits(text: str) -> str:
    """The digits 0 to 9 of a text as the language in use writes them, where its own were asked for."""
    spoken = spoken_now()
    return text.translate(str.maketrans("0123456789", spoken.language.digits)) if spoken.has_native_digits else text


def delocalised(text: str) -> str:
    """A number made by `localised`, as in English.

    >>> from planner.report.language import speaking
    >>> with speaking("de"):
    ...     delocalised("1.234,5")
    '1,234.5'
    """
    spoken = spoken_now()
    language = spoken.language
    if language.code == ENGLISH:
        return text
    group, point = language.group, language.point
    if spoken.has_native_digits:
        group, point = language.native_group, language.native_point
        text = text.translate(str.maketrans(language.digits, "0123456789"))
    return text.translate({ord(group): ",", ord(point): "."})


def fixed(value: float, digits: int = 2) -> str:
    """A number with thousands separators and a fixed number of digits after the point; never `-0`.

    >>> fixed(1234.5)
    '1,234.50'
    """
    return localised(_fixed(value, digits))


def _fixed(value: float, digits: int) -> str:
    """The same, written as in English whatever the language."""
    text = f"{value:,.{digits}f}"
    return text.removeprefix("-") if text.strip("-0.,") == "" else text


def whole(value: float) -> str:
    """A count.

    >>> whole(24)
    '24'
    """
    return fixed(value, 0)


def floor_text(value: float, digits: int = 2) -> str:
    """Rounded down, for a bound from below.

    >>> floor_text(84.199)
    '84.19'
    """
    return _directed(value, digits, ROUND_FLOOR)


def ceil_text(value: float, digits: int = 2) -> str:
    """Rounded up, for a bound from above.

    >>> ceil_text(84.191)
    '84.20'
    """
    return _directed(value, digits, ROUND_CEILING)


def _directed(value: float, digits: int, rounding: str) -> str:
    return localised(f"{Decimal(repr(float(value))).quantize(Decimal(1).scaleb(-digits), rounding=rounding):,f}")


def figure(value: float, significant: int = 3) -> str:
    """A measured or predicted quantity with about three significant digits and no exponent.

    >>> figure(1234.56), figure(12.345), figure(0.01234)
    ('1,235', '12.3', '0.0123')
    """
    if value == 0:
        return localised("0")
    exponent = Decimal(repr(abs(float(value)))).adjusted()
    digits = max(0, min(MOST_DIGITS, significant - 1 - exponent))
    text = _fixed(value, digits)
    return localised(text.rstrip("0").rstrip(".") if "." in text else text)


def told_apart(a: float, b: float, digits: int = 0, significant: int | None = None) -> tuple[str, str]:
    """Two numbers that stand side by side: as many digits as it takes for unequal numbers to look unequal.

    >>> told_apart(799.97, 800.0)
    ('799.97', '800.00')
    """
    if significant is not None:
        for n in range(significant, MOST_DIGITS + significant):
            one, other = figure(a, n), figure(b, n)
            if a == b or one != other:
                return one, other
    for n in range(digits, MOST_DIGITS):
        one, other = fixed(a, n), fixed(b, n)
        if a == b or one != other:
            return one, other
    return fixed(a, MOST_DIGITS), fixed(b, MOST_DIGITS)


def percent(share: float, digits: int = 0) -> str:
    """A share (0..1) as percent; 100 % and 0 % are printed only for exactly that.

    >>> percent(0.9997), percent(1.0), percent(0.004), percent(0.42)
    ('99.97 %', '100 %', '0.4 %', '42 %')
    """
    if share in (0.0, 1.0):
        return localised(f"{100 * share:.0f} %")
    for n in range(digits, 5):
        text = _fixed(100 * share, n)
        if float(text.replace(",", "")) not in (0.0, 100.0):
            return localised(f"{text} %")
    if 0.5 < share < 1:
        return _("over {percent}").format(percent=localised("99.9999 %"))
    if share > 1:
        return _("just over {percent}").format(percent=localised("100 %"))
    return _("under {percent}").format(percent=localised("0.0001 %"))


def factor(ratio: float) -> str:
    """How many times: `2×`, `1.5×`; 1 is printed only for exactly 1.

    >>> factor(4.0), factor(1.0004)
    ('4×', '1.0004×')
    """
    for n in range(2, MOST_DIGITS):
        text = _fixed(ratio, n)
        if ratio == 1 or float(text.replace(",", "")) != 1:
            return localised(f"{text.rstrip('0').rstrip('.')}×")
    return localised("1×")


@dataclass(frozen=True, slots=True)
class Sum:
    """Shown parts and their shown total."""

    parts: tuple[str, ...]
    total: str
    is_exact: bool
    """The shown parts add up to the shown total to the last digit."""


def money_sum(amounts_usd: Sequence[float], total_usd: float, digits: int = 2, most: int = 4) -> Sum:
    """Amounts in the currency of the report and their total, as `exact_sum`."""
    return exact_sum([in_currency(a) for a in amounts_usd], in_currency(total_usd), digits, most)


def exact_sum(amounts: Sequence[float], total: float, digits: int = 2, most: int = 4) -> Sum:
    """Amounts and their total with the fewest digits that let the shown amounts add up to the shown total.

    >>> exact_sum([1.004, 1.004], 2.008)
    Sum(parts=('1.004', '1.004'), total='2.008', is_exact=True)
    """
    for n in range(digits, most + 1):
        if _sums(amounts, total, n):
            return Sum(tuple(fixed(a, n) for a in amounts), fixed(total, n), True)
    return Sum(tuple(fixed(a, digits) for a in amounts), fixed(total, digits), False)


def _sums(amounts: Sequence[float], total: float, digits: int) -> bool:
    step = Decimal(1).scaleb(-digits)
    rounded = [_rounded(a, step) for a in amounts]
    lost = any(a != 0 and not r for a, r in zip(amounts, rounded, strict=True))
    return not lost and sum(rounded, Decimal(0)) == _rounded(total, step)


def _rounded(value: float, step: Decimal) -> Decimal:
    return Decimal(float(value)).quantize(step, rounding=ROUND_HALF_EVEN)


def money(amount_usd: float, digits: int = 2) -> str:
    """Money in the currency of the report, without its unit; a small amount keeps two digits that are not zero.

    >>> money(1234.5), money(0.00042)
    ('1,234.50', '0.00042')
    """
    amount = in_currency(amount_usd)
    for n in range(digits, MOST_DIGITS):
        text = _fixed(amount, n)
        if amount == 0 or abs(float(text.replace(",", "")) - amount) < abs(amount) / 50:
            return localised(text)
    return fixed(amount, MOST_DIGITS)


def binary_size(n_bytes: float) -> str:
    """Bytes in the largest binary unit that keeps at least one digit before the point.

    >>> binary_size(1073741824)
    '1.00 GiB'
    """
    return localised(short_bytes(n_bytes))


def short_number(number: float) -> str:
    """A count with three significant digits and a decimal suffix.

    >>> short_number(8030261248)
    '8.03 B'
    """
    text, _space, suffix = short_count(number).partition(" ")
    return f"{localised(text)} {_(COUNT_SUFFIXES[suffix])}" if suffix else localised(text)


def duration(value_s: float) -> str:
    """A duration with three significant digits.

    >>> duration(0.0123), duration(float("inf"))
    ('12.3 ms', 'unbounded')
    """
    text, _space, unit = seconds(value_s).partition(" ")
    return f"{localised(text)} {_(TIME_UNITS[unit])}" if unit else _("unbounded")


COUNT_SUFFIXES: Mapping[str, str] = MappingProxyType(
    {"T": marked("T"), "B": marked("B"), "M": marked("M"), "k": marked("k")}
)
"""Suffixes of `short_count`: trillion, billion, million, thousand."""
TIME_UNITS: Mapping[str, str] = MappingProxyType(
    {
        "days": marked("days"),
        "h": marked("h"),
        "min": marked("min"),
        "s": marked("s"),
        "ms": marked("ms"),
        "µs": marked("µs"),
    }
)
"""Units of `seconds`."""


def gib_units(n_bytes: int, digits: int) -> int:
    """Bytes in whole steps of `10**-digits` GiB, rounded half up.

    >>> gib_units(1610612736, 1)
    15
    """
    scale = int(Decimal(1).scaleb(digits))
    return (2 * n_bytes * scale + GIB) // (2 * GIB)


def one_unit(digits: int) -> str:
    """The last digit of a text with that many.

    >>> one_unit(2)
    '0.01'
    """
    return localised(str(Decimal(1).scaleb(-digits)))


def unit_text(units: int, digits: int, suffix: str = "") -> str:
    """Steps of `10**-digits` as text.

    >>> unit_text(1234, 2)
    '12.34'
    """
    return localised(_fixed(float(Decimal(units).scaleb(-digits)), digits) + suffix)


def dealt_out(parts: Sequence[int], total_units: int) -> tuple[int, ...]:
    """Whole steps for each part, in proportion to its size, adding up to `total_units` (largest remainder).

    >>> dealt_out([1, 1, 1], 10)
    (4, 3, 3)
    """
    total = sum(parts)
    if total == 0:
        return tuple(0 for _ in parts)
    floors = [p * total_units // total for p in parts]
    remainders = [p * total_units % total for p in parts]
    order = sorted(range(len(parts)), key=lambda i: (-remainders[i], i))
    for i in order[: total_units - sum(floors)]:
        floors[i] += 1
    return tuple(floors)
