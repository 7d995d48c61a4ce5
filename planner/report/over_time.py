"""The fleet over time: what is there in each period, what it costs, and what has to be ordered when."""

from __future__ import annotations

from collections.abc import Iterator

from planner.plan.types import PeriodPlan, PeriodWorkload, Plan
from planner.report.bars import letter
from planner.report.bill import months_text, time_there
from planner.report.currency import currency
from planner.report.language import _, ngettext
from planner.report.numbers import factor, figure, money, money_sum, shown, whole
from planner.report.sections import DemandRow, OrderRow, PeriodRow, PeriodsView
from planner.report.words import PROCUREMENT, called
from planner.report.workloads import UNKNOWN


def periods_view(plan: Plan) -> PeriodsView | None:
    """The section; None for a plan without periods."""
    if not plan.periods:
        return None
    usd = sum(p.usd_total for p in plan.periods)
    borne = money_sum([p.usd_total for p in plan.periods], usd, digits=0, most=2)
    paid = money_sum([p.cash_usd for p in plan.periods], sum(p.cash_usd for p in plan.periods), digits=0, most=2)
    rows = zip(plan.periods, borne.parts, paid.parts, strict=True)
    return PeriodsView(
        lead=lead(plan),
        rows=tuple(period_row(p, total, cash) for p, total, cash in rows),
        usd_total=borne.total,
        cash_usd=paid.total,
        demand=tuple(demand_row(plan, i, w.name) for i, w in enumerate(plan.workloads)),
        orders=tuple(orders(plan)),
        note=_(
            "Demand is a factor on the targets. Cost spreads a purchase over the time from its delivery to the end of "
            "the horizon; paid is what falls due in the period."
        ),
    )


def period_row(p: PeriodPlan, total: str, cash: str) -> PeriodRow:
    return PeriodRow(
        when=months_text(p.first_month, p.first_month + p.months),
        nodes=whole(p.nodes),
        gpus=whole(p.gpus),
        usd_per_hour=money(p.usd_per_hour),
        usd_total=total,
        cash_usd=cash,
        power_kw=figure(p.power_kw),
    )


def demand_row(plan: Plan, index: int, name: str) -> DemandRow:
    found = [next((w for w in p.workloads if w.name == name), None) for p in plan.periods]
    return DemandRow(letter=letter(index), name=shown(name), cells=tuple(demand_text(w) for w in found))


def demand_text(w: PeriodWorkload | None) -> str:
    """`1.5× of 1.57×, 2 GPUs`."""
    if w is None or not w.replicas:
        return _("does not run")
    gpus = ngettext("{n} GPU", "{n} GPUs", w.gpus).format(n=whole(w.gpus))
    if w.capacity is None:
        return gpus
    return _("{asked} of {could}, {gpus}").format(asked=factor(w.factor), could=at_most(w.capacity), gpus=gpus)


def at_most(capacity: float) -> str:
    """A factor that can be served, rounded down to two digits: never more than there is.

    >>> at_most(1.5679)
    '1.56×'
    """
    return f"{figure(int(capacity * 100) / 100)}×"


def orders(plan: Plan) -> Iterator[OrderRow]:
    """What to order or sign, the soonest first; what is rented again without a break is not signed twice."""
    dated = [(line.order_month, n, line) for n, line in enumerate(plan.purchases) if line.order_month is not None]
    for month, _n, line in sorted(dated, key=lambda e: e[:2]):
        yield OrderRow(
            when=month_text(month),
            item=f"{whole(line.nodes)} × {shown(line.node)}",
            how=called(PROCUREMENT, line.procurement),
            there=time_there(plan, line) or _("throughout"),
        )


def month_text(month: int) -> str:
    """When something is due.

    >>> month_text(0), month_text(8)
    ('now', 'after 8 months')
    """
    if month == 0:
        return _("now")
    return ngettext("after {n} month", "after {n} months", month).format(n=whole(month))


def lead(plan: Plan) -> str:
    """What to order now, and when the next order is due."""
    total = money(sum(p.usd_total for p in plan.periods), 0)
    cost = ngettext(
        "Over {n} period the fleet costs {total} {currency}.",
        "Over {n} periods the fleet costs {total} {currency}.",
        len(plan.periods),
    ).format(n=whole(len(plan.periods)), total=total, currency=currency())
    if next_order(plan):
        return f"{cost} {next_order(plan)}"
    if any(line.order_month is not None for line in plan.purchases):
        return f"{cost} " + _("Everything is ordered now; nothing has to be ordered later.")
    return f"{cost} " + _("Nothing has to be ordered.")


def next_order(plan: Plan) -> str:
    """The soonest order after those of today, as a sentence; empty where there is none."""
    later = sorted({line.order_month for line in plan.purchases if line.order_month})
    if not later:
        return ""
    text = ngettext(
        "The next order is due after {n} month: {items}.", "The next order is due after {n} months: {items}.", later[0]
    )
    return text.format(n=whole(later[0]), items=ordered_items(plan, later[0]))


def ordered_items(plan: Plan, month: int) -> str:
    """What is due in one month."""
    items = [
        _("{nodes} × {node} ({how})").format(
            nodes=whole(line.nodes), node=shown(line.node), how=called(PROCUREMENT, line.procurement)
        )
        for line in plan.purchases
        if line.order_month == month
    ]
    return _("; ").join(items) if items else UNKNOWN
