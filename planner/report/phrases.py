"""Sentences that other rooms wrote into a plan, in the language and the currency of the report.

A plan holds some sentences ready: why a way was chosen, why a GPU was rejected, what a warning says. They are
English and count in USD. `foreign` recognises those of the phrase book (`phrasebook.py`) by their fixed words, takes
names and numbers out of them and says the same in the language in use. Any other stays English, and is marked as
such on the page.

What a placeholder of a phrase stands for follows from the first part of its name: `{usd}` and `{usd_more}` are
amounts, `{n}` is a number, `{share}` a percentage, `{part}` a part of memory, `{way}` a way to pay; `{said_cause}` is
itself a sentence of the book, and several with commas are taken one by one; anything else is a name, kept as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from string import Formatter

from planner.report.currency import USD, currency, currency_now
from planner.report.language import ENGLISH, _, spoken_now
from planner.report.numbers import LONGEST_NAME, localised, money, shown
from planner.report.phrasebook import FRAGMENTS, SENTENCES
from planner.report.words import PARTS, PROCUREMENT, called, comma_separated, listed

NUMBER = r"-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?"
PATTERNS: Mapping[str, str] = {
    "usd": NUMBER,
    "n": NUMBER,
    "share": NUMBER + r" ?%",
    "part": "|".join(key.replace("_", " ") for key in PARTS),
    "way": "|".join(key.replace("_", " ") for key in PROCUREMENT),
}
"""What a placeholder matches, by the first part of its name; names match anything, as little as they can."""


class Foreign(str):
    """A sentence in English on a page in another language."""

    __slots__ = ()


def foreign(text: str, longest: int = LONGEST_NAME) -> str:
    """A sentence of a plan in the language and currency in use; safe to print, as `shown` makes it.

    >>> foreign("weights in fp8 need 33.9 GiB on one GPU (one GPU), it has 22.3 GiB")
    'weights in fp8 need 33.9 GiB on one GPU (one GPU), it has 22.3 GiB'
    """
    is_english = spoken_now().language.code == ENGLISH
    if is_english and currency_now().code == USD:
        return shown(text, longest)
    found = translated(text, SENTENCES)
    if found is not None:
        return found
    return untranslated(text, longest)


def sentence(text: str) -> str:
    """A sentence of a plan as it stands alone on a page: with a capital where it opens with a word, and a full stop.

    Names and keys keep their case.

    >>> sentence("the price of l4 (buy) is of low confidence"), sentence("periods: nothing changes.")
    ('The price of l4 (buy) is of low confidence.', 'periods: nothing changes.')
    """
    if not text:
        return text
    opening = text.split(" ", 1)[0]
    is_word = opening.isalpha() and any(_(phrase).split(" ", 1)[0] == opening for phrase in (*SENTENCES, *FRAGMENTS))
    whole = (text[0].upper() + text[1:] if is_word else text) + ("" if text[-1] in ".!?…" else ".")
    return Foreign(whole) if isinstance(text, Foreign) else whole


def untranslated(text: str, longest: int = LONGEST_NAME) -> str:
    """A text from outside that is in no book, safe to print and marked as English on a page in another language."""
    safe = shown(text, longest)
    return safe if spoken_now().language.code == ENGLISH or not safe else Foreign(safe)


def translated(text: str, book: tuple[str, ...]) -> str | None:
    """The sentence of the book that `text` is, said anew; None where it, or a sentence inside it, is none of them."""
    for phrase, pattern in patterns(book):
        match = pattern.fullmatch(text)
        if match is None:
            continue
        values = {name: value_text(name, value) for name, value in match.groupdict().items()}
        if None not in values.values():
            return _(phrase).format(**{**values, "currency": currency()})
    return None


@cache
def patterns(book: tuple[str, ...]) -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Every phrase with what recognises it; those with more fixed words first."""
    order = sorted(book, key=lambda phrase: -sum(len(fixed) for fixed, *_rest in Formatter().parse(phrase)))
    return tuple((phrase, re.compile(pattern_of(phrase), re.DOTALL)) for phrase in order)


def pattern_of(phrase: str) -> str:
    """A regular expression with a group for each placeholder.

    >>> pattern_of("{n} GPUs of {gpu}").replace(NUMBER, "NUMBER")
    '(?P<n>NUMBER)\\\\ GPUs\\\\ of\\\\ (?P<gpu>.+?)'
    """
    out: list[str] = []
    for fixed, name, *_rest in Formatter().parse(phrase):
        out.append(re.escape(fixed))
        if name == "currency":
            out.append(USD)
        elif name is not None:
            out.append(f"(?P<{name}>{PATTERNS.get(name.partition('_')[0], '.+?')})")
    return "".join(out)


def value_text(name: str, value: str) -> str | None:
    """What stands for a placeholder, in the language and currency in use; None for a sentence not in the book."""
    return KINDS.get(name.partition("_")[0], shown)(value)


def amount_text(value: str) -> str:
    """An amount in USD, in the currency in use with at least as many digits."""
    _whole, _point, fraction = value.partition(".")
    return money(float(value.replace(",", "")), len(fraction))


def part_text(value: str) -> str:
    """A part of memory, written with spaces."""
    return called(PARTS, value.replace(" ", "_"))


def way_text(value: str) -> str:
    """A way to pay, written with spaces."""
    return called(PROCUREMENT, value.replace(" ", "_"))


def said_text(value: str) -> str | None:
    """A sentence inside a sentence, or several after each other; None where one is not in the book."""
    whole = translated(value, SAID)
    if whole is not None:
        return whole
    for separator, joined in ((", ", comma_separated), (" and ", listed)):
        parts = [translated(part, SAID) for part in value.split(separator)]
        said = [part for part in parts if part is not None]
        if len(said) == len(parts) > 1:
            return joined(said)
    return None


SAID = (*FRAGMENTS, *SENTENCES)
KINDS: Mapping[str, Callable[[str], str | None]] = {
    "usd": amount_text,
    "n": localised,
    "share": localised,
    "part": part_text,
    "way": way_text,
    "said": said_text,
}
