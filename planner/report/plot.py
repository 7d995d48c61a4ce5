"""Line charts as geometry: places across as percent, so that a chart fits any width; heights in pixels.

Only digits, Latin letters and strokes are drawn; the words of a chart stand beside it as HTML.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from planner.report.bars import at
from planner.report.sections import Mark, Plot, Stroke, Tick

HEIGHT = 220
"""Of a chart, in pixels."""
TOP = 18
BOTTOM = 24
"""Kept free for the labels of the axes, in pixels."""
NUM_STEPS = 12
"""Straight pieces that a curve is drawn as."""
NUM_LINES = 4
"""Line styles: colour and dashes; further lines start again, told apart by their letter."""
NEAR_EDGE = 0.04
"""Share of the width within which a label is set against the edge and not centred."""
Point = tuple[float, float]
"""Across and up, in the units of the axes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What is drawn, in units of the axes: its corners from left to right, and where its letter stands."""

    letter: str
    points: tuple[Point, ...]
    letter_share: float
    """Along the line."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Ends of both axes, in their units."""

    left: float
    right: float
    low: float
    high: float

    def x(self, value: float) -> str:
        """Percent of the width."""
        return at((value - self.left) / (self.right - self.left))

    def y(self, value: float) -> str:
        """Pixels from the top."""
        share = min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))
        return f"{TOP + (1.0 - share) * (HEIGHT - TOP - BOTTOM):.1f}"


def nice_ticks(low: float, high: float, most: int) -> tuple[float, ...]:
    """At most `most` round values that cover a range: steps of 1, 2 or 5 times a power of ten.

    >>> nice_ticks(0, 36, 5), nice_ticks(0, 1, 3)
    ((0.0, 10.0, 20.0, 30.0, 40.0), (0.0, 0.5, 1.0))
    """
    span = high - low
    power = 10.0 ** math.floor(math.log10(span / most))
    for step in (power * n for n in (1, 2, 5, 10, 20, 50)):
        first, last = math.floor(low / step), math.ceil(high / step)
        if last - first < most:
            return tuple(round(n * step, 10) for n in range(first, last + 1))
    raise AssertionError("the widest step leaves two ticks")


def style(index: int) -> str:
    """Which of the line styles the line at `index` has."""
    return f"line-{index % NUM_LINES}"


def plot(
    lines: Sequence[Line],
    *,
    label: str,
    across: Sequence[tuple[float, str]],
    up: Sequence[tuple[float, str]],
    dots: Sequence[tuple[Point, str]] = (),
) -> Plot:
    """A chart of `lines` (and `dots`, with letters) over labelled ticks, the first and last of which end the axes."""
    frame = Frame(across[0][0], across[-1][0], up[0][0], up[-1][0])
    return Plot(
        label=label,
        height=str(HEIGHT),
        floor=frame.y(frame.low),
        across=tuple(_across(frame, value, text) for value, text in across),
        up=tuple(Tick(at=frame.y(value), anchor="start", text=text) for value, text in up),
        strokes=tuple(s for i, line in enumerate(lines) for s in _strokes(frame, line, style(i))),
        marks=(
            *(
                _mark(frame, point_along(line.points, line.letter_share), style(i), line.letter)
                for i, line in enumerate(lines)
            ),
            *(_mark(frame, point, style(i), letter) for i, (point, letter) in enumerate(dots)),
        ),
    )


def _across(frame: Frame, value: float, text: str) -> Tick:
    share = (value - frame.left) / (frame.right - frame.left)
    anchor = "start" if share < NEAR_EDGE else "end" if share > 1 - NEAR_EDGE else "middle"
    return Tick(at=at(share), anchor=anchor, text=text)


def _strokes(frame: Frame, line: Line, key: str) -> Iterator[Stroke]:
    for (x1, y1), (x2, y2) in itertools.pairwise(line.points):
        yield Stroke(style=key, x1=frame.x(x1), y1=frame.y(y1), x2=frame.x(x2), y2=frame.y(y2))


def _mark(frame: Frame, point: Point, key: str, letter: str) -> Mark:
    y = float(frame.y(point[1]))
    return Mark(style=key, x=frame.x(point[0]), y=f"{y:.1f}", text_y=f"{y + 4:.1f}", letter=letter)


def point_along(points: Sequence[Point], share: float) -> Point:
    """The point of a line whose place across is a share of the way from its first to its last.

    >>> point_along([(0, 0), (10, 5)], 0.5)
    (5.0, 2.5)
    """
    x = points[0][0] + share * (points[-1][0] - points[0][0])
    for (x1, y1), (x2, y2) in itertools.pairwise(points):
        if x1 <= x <= x2 and x2 > x1:
            return x, y1 + (y2 - y1) * (x - x1) / (x2 - x1)
    return points[-1]


def curve(f: Callable[[float], float], left: float, right: float, *, ceiling: float) -> tuple[Point, ...]:
    """A function as corners, up to where it passes `ceiling`."""
    found: list[Point] = []
    for i in range(NUM_STEPS + 1):
        x = left + (right - left) * i / NUM_STEPS
        found.append((x, f(x)))
        if f(x) > ceiling:
            break
    if len(found) > 1 and found[-1][1] > ceiling:
        (x1, y1), (x2, y2) = found[-2:]
        found[-1] = (x1 + (x2 - x1) * (ceiling - y1) / (y2 - y1), ceiling)
    return tuple(found)
