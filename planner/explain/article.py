"""A page of headings, sentences, formulas and tables, told as Markdown or as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from planner.report.language import spoken_now
from planner.report.markdown import escaped
from planner.report.numbers import shown

PAGE = "article.html.j2"


class Piece(NamedTuple):
    """A stretch of text."""

    text: str
    is_strong: bool = False


Text = tuple[Piece, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a page."""

    kind: Literal["heading", "text", "formula", "table"]
    text: Text = ()
    head: tuple[Text, ...] = ()
    rows: tuple[tuple[Text, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Article:
    """A page with its title."""

    title: str
    parts: tuple[Part, ...]


def pieces(text: str) -> Text:
    """Text whose strong stretches stand between double asterisks.

    >>> pieces("a **b** c")
    (Piece(text='a ', is_strong=False), Piece(text='b', is_strong=True), Piece(text=' c', is_strong=False))
    """
    return tuple(Piece(part, i % 2 == 1) for i, part in enumerate(text.split("**")) if part)


def heading(text: str) -> Part:
    """A section's title."""
    return Part(kind="heading", text=(Piece(shown(text)),))


def sentence(text: str) -> Part:
    """A paragraph; double asterisks make strong."""
    return Part(kind="text", text=pieces(text))


def formula(text: str) -> Part:
    """A line of arithmetic."""
    return Part(kind="formula", text=(Piece(text),))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Part:
    """A table; double asterisks make strong."""
    return Part(
        kind="table",
        head=tuple((Piece(shown(cell)),) for cell in head),
        rows=tuple(tuple(_cell(cell) for cell in row) for row in rows),
    )


def _cell(text: str) -> Text:
    inner = text.removeprefix("**").removesuffix("**")
    return (Piece(shown(inner), text != inner),)


def as_markdown(article: Article) -> str:
    """The page as Markdown; one that reads from right to left says so around it."""
    lines = [f"# {escaped(shown(article.title))}", ""]
    for part in article.parts:
        lines += _lines(part)
    body = "\n".join(lines).rstrip("\n") + "\n"
    language = spoken_now().language
    if language.direction == "ltr":
        return body
    return f'<div dir="rtl" lang="{language.code}">\n\n{body}\n</div>\n'


def _lines(part: Part) -> list[str]:
    match part.kind:
        case "heading":
            return [f"## {_marked(part.text)}", ""]
        case "formula":
            return [f"    {''.join(piece.text for piece in part.text)}", ""]
        case "table":
            head = "| " + " | ".join(_marked(cell) for cell in part.head) + " |"
            rows = ["| " + " | ".join(_marked(cell) for cell in row) + " |" for row in part.rows]
            return [head, "|" + " --- |" * len(part.head), *rows, ""]
        case _:
            return [_marked(part.text), ""]


def _marked(text: Text) -> str:
    return "".join(f"**{escaped(piece.text)}**" if piece.is_strong else escaped(piece.text) for piece in text)


def as_html(article: Article) -> str:
    """The page as HTML without scripts or network, in the look and the language of the reports."""
    from planner.report.html import render_page

    return render_page(PAGE, article=article)
