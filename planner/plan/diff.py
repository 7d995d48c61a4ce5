"""What changes between two plans, in the manner of an infrastructure diff: + to add, ~ to change, - to remove."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from planner.estimate.document import ConfigValue
from planner.plan.types import PeriodWorkload, Plan, PurchaseLine, WorkloadPlan
from planner.units import usd

SAME = "no changes"


def diff(old: Plan, new: Plan) -> tuple[str, ...]:
    """Lines for people: totals, then purchases, then workloads; one line `no changes` where there are none."""
    lines = [*status_lines(old, new), *total_lines(old, new), *purchase_lines(old, new), *period_lines(old, new)]
    lines += workload_lines(old, new)
    if not lines:
        return (SAME,)
    marks = [line[0] for line in lines]
    summary = f"{marks.count('+')} to add, {marks.count('~')} to change, {marks.count('-')} to remove"
    return (*lines, summary)


def changed(name: str, old: str, new: str, note: str = "") -> str:
    """A line of something that changes."""
    return f"~ {name}: {old} -> {new}" + (f" ({note})" if note else "")


def status_lines(old: Plan, new: Plan) -> Iterator[str]:
    if old.status != new.status:
        yield changed("status", old.status, new.status)


def total_lines(old: Plan, new: Plan) -> Iterator[str]:
    """Totals that differ, with the difference."""
    if old.totals is None or new.totals is None:
        return
    for key, unit in (
        ("usd_per_hour", "USD/h"),
        ("usd_horizon", "USD over the horizon"),
        ("capex_usd", "USD of purchases"),
        ("gpus", "GPUs"),
        ("nodes", "nodes"),
        ("power_kw", "kW"),
        ("rack_units", "rack units"),
        ("kg_co2_per_month", "kg CO2 a month"),
    ):
        a, b = getattr(old.totals, key), getattr(new.totals, key)
        if a == b:
            continue
        note = f"{b - a:+,.2f}" if a is not None and b is not None else ""
        yield changed(f"total {unit}", figure(a), figure(b), note)


def figure(value: float | None) -> str:
    """A number as text.

    >>> figure(1234.5), figure(8), figure(None)
    ('1,234.50', '8', 'unknown')
    """
    if value is None:
        return "unknown"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def purchase_lines(old: Plan, new: Plan) -> Iterator[str]:
    """The bill, line by line."""
    before = {(p.offer, p.procurement, p.period): p for p in old.purchases}
    after = {(p.offer, p.procurement, p.period): p for p in new.purchases}
    for key in sorted(before.keys() | after.keys()):
        a, b = before.get(key), after.get(key)
        if a is None and b is not None:
            yield f"+ {bill_text(b)}"
        elif b is None and a is not None:
            yield f"- {bill_text(a)}"
        elif a is not None and b is not None and seen_by_diff(a) != seen_by_diff(b):
            yield changed(f"{a.offer} ({how_text(a)})", price_text(a), price_text(b))


def bill_text(line: PurchaseLine) -> str:
    """One line of the bill in words."""
    return f"{line.offer} ({how_text(line)}): {price_text(line)}, {line.gpus} x {line.gpu}"


def how_text(line: PurchaseLine) -> str:
    """How the nodes are got; from the second period on also from when."""
    return f"{line.procurement}, from period {line.period + 1}" if line.period else line.procurement


def seen_by_diff(line: PurchaseLine) -> tuple[int, float | None, int, int | None]:
    """What of a line makes it another one."""
    return line.nodes, line.usd_per_hour, line.last_period, line.order_month


def price_text(line: PurchaseLine) -> str:
    cost = "price unknown" if line.usd_per_hour is None else f"{usd(line.usd_per_hour)} per hour"
    until = f", until period {line.last_period + 1}" if line.last_period else ""
    ordered = f", ordered in month {line.order_month}" if line.order_month else ""
    return f"{line.nodes} node{'s' if line.nodes != 1 else ''}, {cost}{until}{ordered}"


def period_lines(old: Plan, new: Plan) -> Iterator[str]:
    """The periods: how many, what each costs, and how many replicas of each workload run in it."""
    if len(old.periods) != len(new.periods):
        yield changed("periods", str(len(old.periods)), str(len(new.periods)))
        return
    for a, b in zip(old.periods, new.periods, strict=True):
        name = f"period {a.index + 1}"
        if a.months != b.months:
            yield changed(f"{name} months", str(a.months), str(b.months))
        if a.usd_total != b.usd_total:
            note = f"{b.usd_total - a.usd_total:+,.2f}"
            yield changed(f"{name} USD", figure(a.usd_total), figure(b.usd_total), note)
        left, right = ({w.name: period_text(w) for w in p.workloads} for p in (a, b))
        for workload in sorted(left.keys() & right.keys()):
            if left[workload] != right[workload]:
                yield changed(f"{name} workload {workload}", left[workload], right[workload])


def period_text(w: PeriodWorkload) -> str:
    """How a workload runs in a period."""
    where = ", ".join(f"{p.replicas} on {p.offer}" for p in w.placements)
    return f"demand x {w.factor:g}: {where or 'does not run'}"


def workload_lines(old: Plan, new: Plan) -> Iterator[str]:
    """Workloads: where they run and how."""
    before = {w.name: w for w in old.workloads}
    after = {w.name: w for w in new.workloads}
    for name in dict.fromkeys([*before, *after]):
        a, b = before.get(name), after.get(name)
        if a is None and b is not None:
            yield f"+ workload {name}: {seat_text(b)}"
        elif b is None and a is not None:
            yield f"- workload {name}: {seat_text(a)}"
        elif a is not None and b is not None:
            yield from one_workload(a, b)


def one_workload(a: WorkloadPlan, b: WorkloadPlan) -> Iterator[str]:
    """What moves and what is set otherwise for one workload."""
    if seat_text(a) != seat_text(b):
        yield changed(f"workload {a.name}", seat_text(a), seat_text(b))
    left, right = flat(a.config), flat(b.config)
    for key in sorted(left.keys() | right.keys()):
        if left.get(key) != right.get(key):
            yield changed(f"workload {a.name} {key}", left.get(key, "unset"), right.get(key, "unset"))


def seat_text(w: WorkloadPlan) -> str:
    """Where a workload runs."""
    offers = ", ".join(sorted({p.offer for p in w.placements}))
    return f"{w.replicas} replica{'s' if w.replicas != 1 else ''} on {w.gpus} x {w.gpu} of {offers}"


def flat(config: Mapping[str, ConfigValue]) -> dict[str, str]:
    """Settings as text, nested ones with a dot; shares of zero count as unset."""
    found: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            found |= {f"{key}.{k}": f"{v:g}" for k, v in value.items() if v}
        elif value is not None:
            found[key] = str(value)
    return found
