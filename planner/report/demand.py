"""Demand against capacity period by period: a bar of what is asked inside the frame of what the replicas carry."""

from __future__ import annotations

from collections.abc import Iterator

from planner.plan.types import PeriodWorkload, Plan
from planner.report.bars import at, letter, tone
from planner.report.growth import used_percent
from planner.report.language import _
from planner.report.numbers import factor, shown, whole
from planner.report.sections import DemandBar, DemandChart
from planner.report.words import semicolon_separated

MOST_CHARTS = 8
"""Services drawn; the table of periods holds all."""
HEIGHT = 84
TOP = 16
"""Kept free above the bars for their labels, in pixels."""
BOTTOM = 18
GAP_SHARE = 0.25
"""Of the place of a period, free between its bar and the next."""


def demand_charts(plan: Plan) -> tuple[DemandChart, ...]:
    """A chart a service whose demand has periods; none for a plan without."""
    if not plan.periods:
        return ()
    charts = (_chart(plan, i, w.name) for i, w in enumerate(plan.workloads) if w.mode == "infer")
    return tuple(c for c in charts if c is not None)[:MOST_CHARTS]


def _chart(plan: Plan, index: int, name: str) -> DemandChart | None:
    found = [next((w for w in p.workloads if w.name == name), None) for p in plan.periods]
    highest = max((w.capacity or 0.0 for w in found if w is not None), default=0.0)
    if not highest:
        return None
    ends = [(p.first_month, p.first_month + p.months) for p in plan.periods]
    bars = tuple(_bars(found, ends, highest))
    told = semicolon_separated(f"{b.when}: {b.used}" for b in bars)
    return DemandChart(
        letter=letter(index),
        tone=tone(index),
        name=shown(name),
        height=str(HEIGHT),
        floor=str(HEIGHT - BOTTOM),
        bars=bars,
        label=_("{name}: share of capacity used by month: {shares}").format(name=shown(name), shares=told),
    )


def _bars(found: list[PeriodWorkload | None], ends: list[tuple[int, int]], highest: float) -> Iterator[DemandBar]:
    last = ends[-1][1]
    room = HEIGHT - TOP - BOTTOM
    for workload, (first, end) in zip(found, ends, strict=True):
        held = (workload.capacity or 0.0) if workload is not None else 0.0
        asked = workload.factor if workload is not None and held else 0.0
        width = (end - first) / last
        yield DemandBar(
            x=at(first / last),
            width=at(width * (1.0 - GAP_SHARE)),
            middle=at(first / last + width * (1.0 - GAP_SHARE) / 2),
            frame_y=f"{TOP + room * (1.0 - held / highest):.1f}",
            frame_height=f"{room * held / highest:.1f}",
            y=f"{TOP + room * (1.0 - asked / highest):.1f}",
            height=f"{room * asked / highest:.1f}",
            label_y=f"{TOP + room * (1.0 - held / highest) - 4:.1f}",
            demand=factor(asked) if held else "–",
            when=f"{whole(first + 1)}–{whole(end)}",
            used=used_percent(asked / held) if held else "–",
        )
