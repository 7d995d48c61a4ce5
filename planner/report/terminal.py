"""Plain text for terminals: tables with aligned columns and bars of characters."""

from __future__ import annotations

from collections.abc import Sequence

NUM_BAR_CHARS = 40
_FILL, _FREE, _OVER = "█", "░", "▓"


def table(rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset(), indent: int = 2) -> list[str]:
    """Lines of a table whose columns are as wide as their longest cell; columns in `right` are right-aligned.

    >>> table([("a", "1"), ("bb", "22")], right=frozenset({1}), indent=0)
    ['a    1', 'bb  22']
    """
    if not rows:
        return []
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        (
            " " * indent + "  ".join(_cell(c, w, i in right) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        ).rstrip()
        for row in rows
    ]


def _cell(text: str, width: int, is_right: bool) -> str:
    return text.rjust(width) if is_right else text.ljust(width)


def bar(used: float, limit: float, num_chars: int = NUM_BAR_CHARS) -> str:
    """Used against a limit. Full only when nothing is free, and never full of free; past the limit it says so.

    >>> bar(50, 100, 10), bar(99.9, 100, 10), bar(130, 100, 10)
    ('█████░░░░░', '█████████░', '██████████▓')
    """
    if used > limit:
        return _FILL * num_chars + _OVER
    num_full = int(num_chars * used / limit + 0.5) if limit else 0
    num_full = min(num_full, num_chars - 1) if used < limit else num_chars
    num_full = max(num_full, 1) if used > 0 else num_full
    return _FILL * num_full + _FREE * (num_chars - num_full)


def wrapped(text: str, *, width: int = 100, indent: str = "") -> list[str]:
    """Text in lines of at most `width` characters."""
    import textwrap

    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )
