"""Judges a plan over periods: the calendar, what is ordered when, and the money of each period, counted again."""

from __future__ import annotations

from collections.abc import Iterator

from planner.plan.audit_stage import near
from planner.plan.types import PeriodPlan, Plan, PurchaseLine
from planner.units import HOURS_PER_MONTH


def periods_agree(plan: Plan) -> Iterator[str]:
    """The periods are the spec's, and add up from the lines of the bill."""
    spec = plan.inputs.spec
    listed = spec.get("periods") or ()
    if len(listed) != len(plan.periods):
        yield f"periods: {len(plan.periods)} planned, {len(listed)} in the spec"
        return
    if not listed:
        return
    yield from calendar_agrees(plan)
    for n, line in enumerate(plan.purchases):
        yield from orders_are_in_time(plan, n, line)
    for period in plan.periods:
        yield from money_agrees(plan, period)
        yield from counts_agree(plan, period)


def calendar_agrees(plan: Plan) -> Iterator[str]:
    """Months and factors are the spec's; the last period lasts to the horizon's end."""
    spec = plan.inputs.spec
    start, names = 0, [w["name"] for w in spec["workloads"]]
    for n, (asked, period) in enumerate(zip(spec["periods"], plan.periods, strict=True)):
        months = asked["months"] if n < len(plan.periods) - 1 else spec["horizon"]["months"] - start
        if (period.index, period.first_month, period.months) != (n, start, months):
            said = f"months {period.first_month} to {period.first_month + period.months}"
            yield f"periods[{n}]: {said}, the spec says {start} to {start + months}"
        for name in names:
            factor = asked["demand"].get(name, 1.0)
            row = next((w for w in period.workloads if w.name == name), None)
            if period.demand.get(name) != factor or row is None or row.factor != factor:
                yield f"periods[{n}].demand.{name}: not the {factor:g} of the spec"
        start += months


def orders_are_in_time(plan: Plan, n: int, line: PurchaseLine) -> Iterator[str]:
    """Nothing is there before it could be ordered; what is bought stays."""
    if not 0 <= line.period <= line.last_period < len(plan.periods):
        yield f"purchases[{n}]: there from period {line.period} to {line.last_period}"
        return
    lead = plan.inputs.spec.get("fleet", {}).get("lead_months", 0) if line.procurement == "buy" else 0
    order = plan.periods[line.period].first_month - lead
    if line.procurement != "owned" and line.order_month != order:
        yield f"purchases[{n}]: ordered in month {line.order_month}, to be there in time it is {order}"
    if order < 0:
        yield f"purchases[{n}]: would have to be ordered {-order} months ago"
    if line.procurement == "buy" and line.last_period != len(plan.periods) - 1:
        yield f"purchases[{n}]: bought, but gone after period {line.last_period}"
    term = {"reserved_1y": 12, "reserved_3y": 36}.get(line.procurement, 0)
    if term and line.last_period < len(plan.periods) - 1:
        months = sum(p.months for p in plan.periods[line.period : line.last_period + 1])
        after = plan.periods[line.last_period + 1].months
        if months % term and months % term + after <= term:
            yield f"purchases[{n}]: given back after {months} months of a term of {term}"


def money_agrees(plan: Plan, period: PeriodPlan) -> Iterator[str]:
    """What the lines that are there cost, and what is ordered."""
    hours = period.months * HOURS_PER_MONTH
    end = sum(p.months for p in plan.periods)
    here = [row for row in plan.purchases if row.period <= period.index <= row.last_period]
    hourly = sum(row.usd_per_hour or 0.0 for row in here)
    until = period.first_month + period.months
    ordered = [row for row in plan.purchases if row.order_month is not None and row.procurement == "buy"]
    capex = sum(row.capex_usd or 0.0 for row in ordered if period.first_month <= (row.order_month or 0) < until)
    spread = sum(
        (row.capex_usd or 0.0) / ((end - plan.periods[row.period].first_month) * HOURS_PER_MONTH)
        for row in here
        if row.procurement == "buy"
    )
    expected = {
        "usd_per_hour": hourly,
        "usd_total": hourly * hours,
        "capex_usd": capex,
        "cash_usd": (hourly - spread) * hours + capex,
    }
    for key, value in expected.items():
        if not near(getattr(period, key), value):
            yield f"periods[{period.index}].{key}: {getattr(period, key):g}, the lines add up to {value:g}"


def counts_agree(plan: Plan, period: PeriodPlan) -> Iterator[str]:
    """Lines, nodes, GPUs, power and space of one period."""
    here = {n: row for n, row in enumerate(plan.purchases) if row.period <= period.index <= row.last_period}
    if tuple(here) != period.purchases:
        yield f"periods[{period.index}].purchases: {list(period.purchases)}, the bill says {list(here)}"
    expected = {
        "gpus": sum(row.gpus for row in here.values()),
        "nodes": sum(row.nodes for row in here.values()),
        "it_power_kw": sum(row.power_kw for row in here.values()),
    }
    if period.rack_units is not None:
        expected["rack_units"] = sum(row.rack_units or 0.0 for row in here.values())
    for key, value in expected.items():
        if not near(getattr(period, key), value):
            yield f"periods[{period.index}].{key}: {getattr(period, key):g}, the lines add up to {value:g}"
    for w in period.workloads:
        gpus = sum(p.replicas * p.gpus_per_replica for p in w.placements)
        replicas = sum(p.replicas for p in w.placements)
        if (w.replicas, w.gpus) != (replicas, gpus):
            said = f"{w.replicas} replicas on {w.gpus} GPUs"
            yield f"periods[{period.index}].workloads.{w.name}: {said}, {replicas} placed on {gpus}"
