"""Where text goes: the answer to stdout, talk to stderr; no colour, no bars, and no character that can crash."""

from __future__ import annotations

import io
import json
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import BaseModel

Cell = object
"""What stands in a table: text, numbers, None for unknown, or a collection of those."""


def answer(text: str) -> None:
    """Print what was asked for."""
    sys.stdout.write(text.rstrip("\n") + "\n")


def say(text: str) -> None:
    """Print what the user should know beside the answer."""
    sys.stderr.write(text.rstrip("\n") + "\n")


def answer_json(document: BaseModel | Mapping[str, object] | Sequence[object]) -> None:
    """Print one JSON document, keys as in the contract."""
    if isinstance(document, Mapping | Sequence):
        answer(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False, default=str))
    else:
        answer(document.model_dump_json(by_alias=True, indent=2))


def tolerant_streams() -> None:
    """Let stdout and stderr replace characters that their encoding lacks (LANG=C) instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def table(rows: Sequence[Mapping[str, Cell]], columns: Sequence[str] | None = None) -> str:
    """Rows as aligned columns under a header; numbers to the right.

    >>> print(table([{"gpu": "l4", "gib": 22.5}, {"gpu": "t4", "gib": 15}]))
    gpu   gib
    l4   22.5
    t4     15
    """
    names = list(columns or (rows[0] if rows else ()))
    cells = [[cell_text(row.get(name)) for name in names] for row in rows]
    numeric = [bool(rows) and all(is_number(row.get(name)) for row in rows) for name in names]
    widths = [max([width(name), *(width(line[i]) for line in cells)]) for i, name in enumerate(names)]
    return "\n".join(
        "  ".join(pad(text, widths[i], to_the_right=numeric[i]) for i, text in enumerate(line)).rstrip()
        for line in ([names, *cells] if names else [])
    )


def details(pairs: Mapping[str, Cell], indent: str = "") -> str:
    """A mapping as `key: value` lines, nested ones indented.

    >>> print(details({"id": "l4", "link": {"name": "pcie", "gpus": None}}))
    id: l4
    link:
      name: pcie
      gpus: -
    """
    lines: list[str] = []
    for key, value in pairs.items():
        if isinstance(value, Mapping) and value:
            lines += [f"{indent}{key}:", details(value, indent + "  ")]
        elif isinstance(value, Sequence) and not isinstance(value, str) and any(isinstance(v, Mapping) for v in value):
            lines.append(f"{indent}{key}:")
            lines += [indent + "  - " + details(v, indent + "    ").lstrip() for v in value if isinstance(v, Mapping)]
        else:
            lines.append(f"{indent}{key}: {cell_text(value)}")
    return "\n".join(lines)


def cell_text(value: Cell) -> str:
    """One value as text on one line, without control characters.

    >>> cell_text(["a", 1]), cell_text(None), cell_text(2.0)
    ('a, 1', '-', '2')
    """
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:,.10g}"
        case int():
            return str(value)
        case Mapping():
            return ", ".join(f"{k}={cell_text(v)}" for k, v in value.items()) or "-"
        case list() | tuple():
            return ", ".join(cell_text(v) for v in value) or "-"
        case _:
            return "".join(c if unicodedata.category(c) != "Cc" else " " for c in str(value)).strip()


def is_number(value: Cell) -> bool:
    """True for what is set to the right: a number, or its absence."""
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def width(text: str) -> int:
    """Columns that the text takes on a terminal."""
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def pad(text: str, columns: int, *, to_the_right: bool) -> str:
    """Text filled with spaces to a number of terminal columns."""
    spaces = " " * max(0, columns - width(text))
    return spaces + text if to_the_right else text + spaces
