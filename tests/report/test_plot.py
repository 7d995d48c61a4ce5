"""Line charts: round ticks that cover the data, and places that lie inside the drawing."""

from __future__ import annotations

import itertools
import re

from hypothesis import given
from hypothesis import strategies as st

from planner.plan.types import Plan
from planner.report.html import render_html
from planner.report.plot import HEIGHT, Line, curve, nice_ticks, plot
from planner.report.view import view_of

spans = st.tuples(st.floats(-1e3, 1e3), st.floats(1e-1, 1e7))


@given(spans, st.integers(3, 9))
def test_ticks_cover_the_range_with_even_steps(span: tuple[float, float], most: int) -> None:
    low, high = span[0], span[0] + span[1]
    ticks = nice_ticks(low, high, most)
    slack = 1e-6 * max(abs(low), abs(high), 1.0)
    assert 2 <= len(ticks) <= most
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack
    steps = {round((b - a) / (ticks[1] - ticks[0]), 6) for a, b in itertools.pairwise(ticks)}
    assert steps == {1.0}


def test_a_rising_line_goes_up_the_page() -> None:
    drawn = plot(
        [Line(letter="A", points=((0.0, 0.0), (10.0, 5.0)), letter_share=0.5)],
        label="",
        across=[(0.0, "0"), (10.0, "10")],
        up=[(0.0, "0"), (5.0, "5")],
    )
    (stroke,) = drawn.strokes
    assert (stroke.x1, stroke.x2) == ("0%", "100%")
    assert 0 < float(stroke.y2) < float(stroke.y1) < HEIGHT
    assert drawn.marks[0].x == "50%"


def test_a_curve_stops_where_it_leaves_the_chart() -> None:
    corners = curve(lambda x: 1.1**x, 0.0, 24.0, ceiling=1.21)
    assert corners[-1][1] == 1.21
    assert abs(corners[-1][0] - 2.0) < 0.05


def test_dashes_stay_numbers_on_a_page_from_right_to_left(two_workloads: Plan) -> None:
    page = render_html(view_of(two_workloads, language="fa"))
    found = set(re.findall(r'stroke-dasharray="([^"]*)"', page))
    assert "7 4" in found
    assert all(re.fullmatch(r"[\d ]+", dashes) for dashes in found)
