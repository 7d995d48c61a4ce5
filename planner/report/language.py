"""The language of a report: English texts are the keys, message catalogs hold the others.

The language is a context variable, so that the many small functions that make text need no further argument.
English costs nothing: catalogs are read when another language is spoken first.

    from planner.report.language import _, marked, ngettext

    LABELS = {"weights": marked("Weights")}                     # in a constant: marked here, `_()` where it is used
    _("{gpus} in {nodes}").format(...)                          # whole sentences, named placeholders
    ngettext("{n} node", "{n} nodes", n).format(n=whole(n))     # a count
    {{ _("For {workload}").format(workload=w.name) }}           {# in a template #}

Catalogs are collected and compiled by `python -m benchmarks.languages`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from planner.errors import InputError

if TYPE_CHECKING:
    from gettext import NullTranslations

ENGLISH = "en"
LOCALES = Path(__file__).parent / "locales"
DOMAIN = "messages"
Direction = Literal["ltr", "rtl"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """What a report needs to know of a language beside its messages."""

    code: str
    direction: Direction
    group: str
    """Between thousands."""
    point: str
    """Between whole and fraction."""
    digits: str = ""
    """Its own ten digits, from zero; empty where those are 0 to 9."""
    native_group: str = ""
    native_point: str = ""
    native_percent: str = ""


LANGUAGES: Mapping[str, Language] = MappingProxyType(
    {
        language.code: language
        for language in (
            Language(code=ENGLISH, direction="ltr", group=",", point="."),
            Language(
                code="fa",
                direction="rtl",
                group=",",
                point=".",
                digits="۰۱۲۳۴۵۶۷۸۹",
                native_group="٬",
                native_point="٫",
                native_percent="٪",
            ),
            Language(code="de", direction="ltr", group=".", point=","),
        )
    }
)
"""Separators are those of the Unicode CLDR (a test compares them with Babel's copy)."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """The language in use, and whether numbers are written in its own digits."""

    language: Language
    has_native_digits: bool = False


IN_ENGLISH = Spoken(LANGUAGES[ENGLISH])
_SPOKEN: ContextVar[Spoken] = ContextVar("spoken", default=IN_ENGLISH)


@contextmanager
def speaking(code: str, *, digits: str = "latin") -> Iterator[Spoken]:
    """Texts made inside are in the language `code`, numbers in `latin` digits or its `native` ones.

    Raises InputError for a language that there is not.

    >>> with speaking("de") as spoken:
    ...     spoken.language.point
    ','
    """
    found = LANGUAGES.get(code)
    if found is None:
        raise InputError(f"report.language: there is no {code!r}; there are {', '.join(LANGUAGES)}")
    token = _SPOKEN.set(Spoken(found, digits == "native" and bool(found.digits)))
    try:
        yield _SPOKEN.get()
    finally:
        _SPOKEN.reset(token)


def spoken_now() -> Spoken:
    """The language in use."""
    return _SPOKEN.get()


@cache
def catalog_of(code: str) -> NullTranslations:
    """The messages of a language other than English."""
    from gettext import GNUTranslations

    with (LOCALES / code / "LC_MESSAGES" / f"{DOMAIN}.mo").open("rb") as file:
        return GNUTranslations(file)


def _(message: str) -> str:
    """A text in the language in use."""
    language = _SPOKEN.get().language
    return message if language.code == ENGLISH or not message else catalog_of(language.code).gettext(message)


def ngettext(one: str, many: str, number: int) -> str:
    """The form of a text that `number` takes in the language in use.

    >>> ngettext("{n} node", "{n} nodes", 2).format(n=2)
    '2 nodes'
    """
    language = _SPOKEN.get().language
    if language.code == ENGLISH:
        return one if number == 1 else many
    return catalog_of(language.code).ngettext(one, many, number)


def pgettext(context: str, message: str) -> str:
    """A short text whose translation depends on where it stands; `context` says where.

    >>> pgettext("a price", "unknown")
    'unknown'
    """
    language = _SPOKEN.get().language
    return message if language.code == ENGLISH else catalog_of(language.code).pgettext(context, message)


def marked(message: str) -> str:
    """Leaves a text as it is: it stands in a constant, is collected from there and translated where it is used."""
    return message
