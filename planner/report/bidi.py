"""Numbers, units and names inside right-to-left text, kept in their own order.

Between Persian words, `27.64 USD/h` would be shown as `USD/h 27.64` and `+3.5` as `3.5+`: the marks between digits
and Latin letters take the direction of the paragraph (Unicode Standard Annex 9, rules N1 and N2). So every run that
reads from left to right is put between LEFT-TO-RIGHT ISOLATE and POP DIRECTIONAL ISOLATE. A run that holds several
words gets a LEFT-TO-RIGHT MARK before each that does not begin with a letter, since the layout of the PDF loses the
isolate where a line breaks, and one after each that does not end with a letter or digit.
"""

from __future__ import annotations

import re

from planner.report.language import spoken_now

ISOLATE, POP, MARK = "\u2066", "\u2069", "\u200e"
_RTL = "\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc"
_DIGITS = "\u06f0-\u06f9\u066a-\u066c"
"""Persian digits, percent sign and separators: inside the block of the letters, but read from left to right."""
_WORD = re.compile(rf"(?:[^\s{_RTL}\u200c{ISOLATE}{POP}]|[{_DIGITS}])+")
_CORE = re.compile(rf"[^\W_{_RTL}]|[{_DIGITS}]")
"""A letter or digit that reads from left to right."""
_NUMBER = re.compile(rf"[\d.,{_DIGITS}]+")
"""A number without sign or unit keeps its order anywhere."""
_LETTER = re.compile(f"[{_RTL}]")
_NEEDS_CARE = re.compile(rf"(?![\d\s.,]*$|[\d.]+%$)(?:.*[\s{_RTL}]|[-+−±<>≤≥≈~(]|.*×$)", re.DOTALL)
"""A word alone reads in its own order; an id, a colour, a dash pattern or a place on a chart stays as it is."""
_ENDS = ".,;:!?…"
_OPERATORS = "=×/"
"""Where one stands alone at the end of a run, its other side is in the sentence."""
_OPENING, _CLOSING = "([{", ")]}"


def isolated(text: str) -> str:
    """The text with its left-to-right runs isolated; as it is where the language in use reads from left to right.

    >>> from planner.report.language import speaking
    >>> with speaking("fa"):
    ...     isolated("بها 27.64 USD/h.") == f"بها {ISOLATE}27.64 USD/h{POP}."
    True
    """
    if spoken_now().language.direction == "ltr" or not _NEEDS_CARE.match(text) or not _CORE.search(text):
        return text
    if not _LETTER.search(text):
        return _wrapped(text.split(" "), is_whole=True)
    out: list[str] = []
    run: list[str] = []
    place = 0
    for word in _WORD.finditer(text):
        joins = bool(run) and text[place : word.start()] == " " and run[-1][-1] not in _ENDS
        if not joins:
            out += [_wrapped(run), text[place : word.start()]]
            run = []
        run.append(word[0])
        place = word.end()
    return "".join([*out, _wrapped(run), text[place:]])


def _wrapped(words: list[str], *, is_whole: bool = False) -> str:
    """A run between isolates; marks at its ends that belong to the sentence, and unbalanced brackets, stay outside.

    `is_whole`: there is no sentence around it.
    """
    text = " ".join(words)
    start, end = (0, len(text)) if is_whole else _balanced(text)
    inner = text[start:end]
    if not _CORE.search(inner) or _NUMBER.fullmatch(inner):
        return text
    *others, last = inner.split(" ")
    marked = " ".join([*(w if w[-1:].isalnum() else w + MARK for w in others), last])
    marked = " ".join(w if w[:1].isalpha() or i == 0 else MARK + w for i, w in enumerate(marked.split(" ")))
    return f"{text[:start]}{ISOLATE}{marked}{POP}{text[end:]}"


def _balanced(text: str) -> tuple[int, int]:
    """The part of a run without what belongs to the sentence around it."""
    start, end = 0, len(text)
    outside = " –·«»\"'"
    while start < end and (
        text[start] in outside + _CLOSING
        or (text[start] in _OPERATORS and text[start + 1 : start + 2] == " ")
        or (text[start] in _OPENING and not _closed(text, start, end))
    ):
        start += 1
    while start < end and (
        text[end - 1] in outside + _ENDS + _OPENING
        or (text[end - 1] in _OPERATORS + "+±" and text[end - 2 : end - 1] == " ")
        or (text[end - 1] in _CLOSING and not _opened(text, start, end))
    ):
        end -= 1
    return start, end


def _closed(text: str, start: int, end: int) -> bool:
    """The bracket that opens at `start` closes before `end`."""
    return text.count(_CLOSING[_OPENING.index(text[start])], start, end) >= text.count(text[start], start, end)


def _opened(text: str, start: int, end: int) -> bool:
    """The bracket that closes just before `end` opens after `start`."""
    last = text[end - 1]
    return text.count(_OPENING[_CLOSING.index(last)], start, end) >= text.count(last, start, end)
