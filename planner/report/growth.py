"""Demand against capacity: how far each service may grow, and when the next node has to be ordered."""

from __future__ import annotations

import math
from collections.abc import Callable

from planner.plan.types import Plan
from planner.report.bars import at, letter, tone
from planner.report.language import _, ngettext
from planner.report.numbers import factor, figure, percent, shown, whole
from planner.report.plot import Line, curve, nice_ticks, plot, style
from planner.report.sections import GrowthRow, GrowthView, Plot
from planner.report.whatif import NextOrder, capacity, months_until, next_order
from planner.report.words import comma_separated, semicolon_separated

GROWTHS_PER_MONTH = (0.02, 0.05, 0.10)
"""Growth of traffic for which the chart tells when capacity is full."""
TABLE_GROWTH_PER_MONTH = 0.05
PLOT_MONTHS = 24
HIGHEST_GROWTH = 12.0
"""Times today's demand that the chart reaches at most: the fastest growth gets to 9.8 in two years."""
MOST_GROWTH_ROWS = 10
"""Services listed, the fullest first."""
MOST_TICKS = 5
FINE_BELOW = 0.1
"""Shares below this are told with one digit after the point."""


def room_percent(share: float) -> str:
    """Room to grow as percent, rounded down: never more than there is.

    >>> room_percent(0.0579), room_percent(1.279)
    ('5.7 %', '127 %')
    """
    return _rounded(share, math.floor)


def used_percent(share: float) -> str:
    """Capacity in use as percent, rounded up.

    >>> used_percent(0.9441)
    '95 %'
    """
    return _rounded(share, math.ceil)


def _rounded(share: float, towards: Callable[[float], int]) -> str:
    steps = 100 if share >= FINE_BELOW else 1000
    nearest = round(share * steps, 6)
    return percent(towards(nearest) / steps, 0 if share >= FINE_BELOW else 1)


def growth_view(plan: Plan) -> GrowthView | None:
    """Demand against capacity; None where no service has a demand, or demand has periods."""
    if plan.periods:
        return None
    held = [(capacity(w), i, w) for i, w in enumerate(plan.workloads)]
    known = sorted((c, i, w.name) for c, i, w in held if c is not None)
    if not known:
        return None
    order = next_order(plan)
    hidden = len(known) - MOST_GROWTH_ROWS
    lines = [
        (style(i), letter(i), _("Demand growing by {share} a month").format(share=percent(g)))
        for i, g in enumerate(GROWTHS_PER_MONTH)
    ]
    full = (style(len(lines)), letter(len(lines)), _("What the nodes of this plan carry"))
    is_drawn = order is not None and order.demand_factor <= HIGHEST_GROWTH
    return GrowthView(
        lead=_growth_lead(order),
        rows=tuple(_growth_row(c, i, name) for c, i, name in known[:MOST_GROWTH_ROWS]),
        more=ngettext("{n} more service has more room.", "{n} more services have more room.", hidden).format(
            n=whole(hidden)
        )
        if hidden > 0
        else "",
        plot=None if order is None else growth_plot(order),
        across=_("Months from the start"),
        up=_("Demand, 1 = that of the plan"),
        lines=(*lines, full) if is_drawn else tuple(lines),
        rate=percent(TABLE_GROWTH_PER_MONTH),
    )


def _growth_row(held: float, index: int, name: str) -> GrowthRow:
    months = months_until(held, TABLE_GROWTH_PER_MONTH)
    return GrowthRow(
        letter=letter(index),
        tone=tone(index),
        name=shown(name),
        used_at=at(1.0 / held),
        used=used_percent(1.0 / held),
        room=room_percent(held - 1.0),
        due=_("at once")
        if months == 0
        else ngettext("after {n} month", "after {n} months", months).format(n=whole(months)),
    )


def _growth_lead(order: NextOrder | None) -> str:
    if order is None:
        return _("The nodes of this plan carry any growth that was looked at.")
    room = room_percent(order.demand_factor - 1.0)
    when = semicolon_separated(_due(order.demand_factor, g) for g in GROWTHS_PER_MONTH)
    return _(
        "The next order is due when the traffic of all services has grown by {room}: then {workload} needs another "
        "node ({offer}). Time until then: {when}. Delivery time comes off that."
    ).format(room=room, workload=shown(order.workload), offer=shown(order.offer), when=when)


def _due(times: float, growth_per_month: float) -> str:
    """How long demand that grows by a share each month stays within `times` today's."""
    n, share = months_until(times, growth_per_month), percent(growth_per_month)
    if not n:
        return _("under a month at {share} a month").format(share=share)
    return ngettext("{n} month at {share} a month", "{n} months at {share} a month", n).format(n=whole(n), share=share)


def growth_plot(order: NextOrder) -> Plot:
    """Demand over two years at several rates of growth, and what the nodes carry."""
    ceiling = max(1.2, min(HIGHEST_GROWTH, 1.25 * order.demand_factor))
    ticks = nice_ticks(1.0, ceiling, MOST_TICKS)
    months = float(PLOT_MONTHS)
    lines = [
        Line(
            letter=letter(i),
            points=_grown(growth, months, ticks[-1]),
            letter_share=0.85,
        )
        for i, growth in enumerate(GROWTHS_PER_MONTH)
    ]
    held = order.demand_factor
    if held <= ticks[-1]:
        lines.append(Line(letter=letter(len(lines)), points=((0.0, held), (months, held)), letter_share=0.1))
    return plot(
        lines,
        label=_(
            "Demand that grows by {shares} a month against {factor} times that of the plan, which its nodes carry"
        ).format(shares=comma_separated(percent(g) for g in GROWTHS_PER_MONTH), factor=factor(order.demand_factor)),
        across=[(float(m), whole(m)) for m in range(0, PLOT_MONTHS + 1, 6)],
        up=[(t, figure(t)) for t in ticks],
    )


def _grown(growth_per_month: float, months: float, ceiling: float) -> tuple[tuple[float, float], ...]:
    """Demand over time as corners."""
    return curve(lambda m: (1.0 + growth_per_month) ** m, 0.0, months, ceiling=ceiling)
