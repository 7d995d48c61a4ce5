"""Cost over the horizon: rent, reserve or buy; when buying pays off; payments year by year."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from planner.plan.types import Plan
from planner.report.bars import letter
from planner.report.currency import currency, in_currency
from planner.report.economy import (
    SAME_USD,
    Spell,
    Stream,
    break_even_months,
    by_period,
    by_stretch,
    horizon_months,
    other_streams,
    planned_stream,
)
from planner.report.language import _, marked, ngettext
from planner.report.numbers import dealt_out, delocalised, fixed, localised, money, unit_text, whole
from planner.report.plot import Line, nice_ticks, plot, style
from planner.report.sections import CashFlow, CashRow, HorizonView, Plot, WayRow
from planner.report.words import semicolon_separated
from planner.report.workloads import UNKNOWN
from planner.units import MICRO, short_count

MOST_TICKS = 5
YEAR_TICKS = {12: 3, 24: 6, 36: 6, 48: 12, 60: 12}
"""Months between ticks by length of the horizon."""
NAMES = {
    "on_demand": marked("All rented on demand"),
    "reserved_1y": marked("Reserved for 1 year at a time, where offered"),
    "reserved_3y": marked("Reserved for 3 years at a time, where offered"),
    "spot": marked("Spot, where offered"),
    "buy": marked("Bought, where on sale"),
}
KINDS = {
    "once_usd": marked("Purchase"),
    "rent_usd": marked("Rent"),
    "energy_usd": marked("Electricity"),
    "other_usd": marked("Hosting"),
}


def horizon_view(plan: Plan) -> HorizonView | None:
    """The section; None where a price or the horizon is not known, or nothing is paid for."""
    months = horizon_months(plan.inputs.spec)
    if months is None or plan.totals is None or any(line.usd_per_hour is None for line in plan.purchases):
        return None
    if plan.periods:
        return _over_periods(plan, months)
    planned = planned_stream(plan, months)
    if planned.usd_until(months) <= 0:
        return None
    others = list(other_streams(plan, months))
    return HorizonView(
        lead=_lead(plan, planned, others, months),
        plot=cost_plot([planned, *(s for _k, s in others)], months) if others else None,
        across=_("Months from the start"),
        up=_("Paid until then, {currency}").format(currency=currency()),
        ways=tuple(_rows(planned, others, months)),
        cash=cash_flow(list(by_stretch(planned, months)), planned.usd_until(months)),
        notes=tuple(_notes(plan, others)),
    )


def _over_periods(plan: Plan, months: int) -> HorizonView | None:
    """The section of a plan over periods: its own payments, as they fall due."""
    spells = list(by_period(plan))
    total = sum(p.cash_usd for p in plan.periods)
    if total <= 0:
        return None
    points = [(0.0, 0.0)]
    for spell in spells:
        start, paid = float(spell.first_month - 1), points[-1][1]
        if spell.once_usd:
            points.append((start, paid + in_currency(spell.once_usd)))
        running = in_currency(spell.rent_usd + spell.energy_usd + spell.other_usd)
        points.append((start + spell.months, points[-1][1] + running))
    return HorizonView(
        lead=_total_sentence(total, months),
        plot=paid_plot([tuple(points)], months, _("Cost over time")),
        across=_("Months from the start"),
        up=_("Paid until then, {currency}").format(currency=currency()),
        ways=(),
        cash=cash_flow(spells, total),
        notes=tuple(_notes(plan, ())),
    )


def _total_sentence(total_usd: float, months: int) -> str:
    return ngettext(
        "Over {months} month the fleet costs {total} {currency}.",
        "Over {months} months the fleet costs {total} {currency}.",
        months,
    ).format(months=whole(months), total=money(total_usd, 0), currency=currency())


def _lead(plan: Plan, planned: Stream, others: Sequence[tuple[str, Stream]], months: int) -> str:
    lead = _total_sentence(planned.usd_until(months), months)
    turns = list(_turns(planned, others, months))
    if turns:
        return f"{lead} {turns[0]}"
    if not others and any(line.procurement != "owned" for line in plan.purchases):
        return f"{lead} " + _(
            "Within the procurement that the spec allows, the catalogs know no other way to pay for it."
        )
    return lead


def _turns(planned: Stream, others: Sequence[tuple[str, Stream]], months: int) -> Iterator[str]:
    """When buying pays off, in a sentence."""
    for kind, stream in others:
        if not planned.once_usd and not stream.once_usd:
            continue
        month = break_even_months(planned, stream)
        if planned.once_usd > stream.once_usd and kind == "on_demand":
            if month is None:
                yield _("Renting on demand would never cost more than buying.")
            else:
                yield _("Buying has paid off against renting on demand after {months} months of use.").format(
                    months=_month(month)
                )
        if stream.once_usd > planned.once_usd and kind == "buy":
            if month is None:
                yield _("Buying would never pay off: running costs are as high as the rent.")
            elif month > months:
                yield _("Buying would pay off after {months} months of use only, beyond the horizon.").format(
                    months=_month(month)
                )
            else:
                yield _("Buying would pay off after {months} months of use.").format(months=_month(month))


def _month(months: float) -> str:
    """Months with one digit, rounded up: only then has it paid off."""
    return fixed(-(-months * 10 // 1) / 10, 1)


def _rows(planned: Stream, others: Sequence[tuple[str, Stream]], months: int) -> Iterator[WayRow]:
    yield _row(0, _("As planned"), planned, planned, months)
    for i, (kind, stream) in enumerate(others, start=1):
        yield _row(i, _(NAMES[kind]), stream, planned, months)


def _row(index: int, name: str, stream: Stream, planned: Stream, months: int) -> WayRow:
    month = break_even_months(stream, planned)
    more = stream.usd_until(months) - planned.usd_until(months)
    return WayRow(
        letter=letter(index),
        style=style(index),
        name=name,
        once=money(stream.once_usd, 0),
        per_month=money(stream.usd_per_month, 0),
        total=money(stream.usd_until(months), 0),
        more="" if stream is planned else signed_whole(more if abs(more) >= SAME_USD else 0.0),
        break_even="" if stream is planned else _("month {month}").format(month=_month(month)) if month else UNKNOWN,
    )


def signed_whole(amount: float) -> str:
    """A difference in whole money with its sign.

    >>> signed_whole(1234.5), signed_whole(-20.0), signed_whole(0.0)
    ('+1,234', '−20', '±0')
    """
    return f"{'+' if amount > 0 else '−' if amount < 0 else '±'}{money(abs(amount), 0)}"


def corners(stream: Stream, months: int) -> tuple[tuple[float, float], ...]:
    """What is paid until each month, in the currency of the report."""
    end = (float(months), in_currency(stream.usd_until(months)))
    return ((0.0, 0.0), (0.0, in_currency(stream.once_usd)), end) if stream.once_usd else ((0.0, 0.0), end)


def cost_plot(streams: Sequence[Stream], months: int) -> Plot:
    """Everything paid until each month, a line a way to pay."""
    told = semicolon_separated(
        f"{letter(i)}: {money(s.usd_until(months), 0)} {currency()}" for i, s in enumerate(streams)
    )
    label = _("Cost over time, paid in all after {months} months: {ways}").format(months=whole(months), ways=told)
    return paid_plot([corners(s, months) for s in streams], months, label)


def paid_plot(lines: Sequence[tuple[tuple[float, float], ...]], months: int, label: str) -> Plot:
    """Lines of what is paid until each month, in the currency of the report."""
    up = nice_ticks(0.0, max(y for points in lines for _x, y in points), MOST_TICKS)
    step = YEAR_TICKS.get(months) or max(1, round(months / MOST_TICKS))
    ticks = sorted({*range(0, months - step // 2, step), months})
    return plot(
        [Line(letter=letter(i), points=points, letter_share=0.9 - 0.15 * (i % 5)) for i, points in enumerate(lines)],
        label=label,
        across=[(float(t), whole(t)) for t in ticks],
        up=[(t, localised(short_count(t))) for t in up],
    )


def cash_flow(spells: Sequence[Spell], total_usd: float) -> CashFlow:
    """A table whose every sum is that of its shown amounts, and whose total is the shown cost over the horizon."""
    digits = len(delocalised(money(total_usd, 0)).partition(".")[2])
    used = [k for k in KINDS if any(getattr(s, k) > 0 for s in spells)]
    sums = [sum(getattr(s, k) for s in spells) for k in used]
    by_kind = dealt_out(_micro(sums), round(in_currency(total_usd) * 10**digits))
    columns = [dealt_out(_micro([getattr(s, k) for s in spells]), n) for k, n in zip(used, by_kind, strict=True)]
    rows = [
        CashRow(label=_label(spell), cells=_cells([column[i] for column in columns], digits))
        for i, spell in enumerate(spells)
    ]
    return CashFlow(
        keys=tuple(used),
        kinds=tuple(_(KINDS[k]) for k in used),
        rows=tuple(rows),
        total=CashRow(label=_("Total"), cells=_cells(by_kind, digits)),
    )


def _micro(amounts: Sequence[float]) -> list[int]:
    return [round(a / MICRO) for a in amounts]


def _cells(units: Sequence[int], digits: int) -> tuple[str, ...]:
    return tuple(unit_text(n, digits) for n in (*units, sum(units)))


def _label(spell: Spell) -> str:
    last = spell.first_month + spell.months - 1
    if last == spell.first_month:
        return _("Month {month}").format(month=whole(last))
    return _("Months {first} to {last}").format(first=whole(spell.first_month), last=whole(last))


def _notes(plan: Plan, others: Sequence[tuple[str, Stream]]) -> Iterator[str]:
    kinds = {line.procurement for line in plan.purchases} | {kind for kind, _stream in others}
    if "buy" in kinds and plan.periods:
        yield _("Resale value, interest and taxes are left out; a purchase is paid in the period that orders it.")
    elif "buy" in kinds:
        yield _("Resale value, interest and taxes are left out; a purchase is paid in the first month.")
    if kinds & {"reserved_1y", "reserved_3y"}:
        yield _("Reservations are counted to the end of their last term, whether the nodes are used or not.")
    if plan.totals is not None and plan.totals.energy_usd_per_month:
        yield _("Electricity of machines of your own is {amount} {currency} a month; rents include theirs.").format(
            amount=money(plan.totals.energy_usd_per_month, 0), currency=currency()
        )
    if others:
        yield _("Other ways are those that the spec's procurement allows, for as many nodes with the same GPUs.")
