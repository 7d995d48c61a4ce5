"""What a terminal shows: the summary of a plan, and estimates with their memory bars."""

from __future__ import annotations

from collections.abc import Sequence

from planner.estimate.document import EstimateDocument, FailedEstimate, WorkloadEstimate
from planner.plan.types import Plan
from planner.report.bars import memory_bar
from planner.report.language import ENGLISH
from planner.report.numbers import shown
from planner.report.sections import PeriodsView
from planner.report.terminal import bar, table, wrapped
from planner.report.types import InfeasibleView, Pair, ReportView, WorkloadView
from planner.report.view import view_of
from planner.report.workloads import UNKNOWN, money_pairs, one_line, parameters, price_text, speed_pairs, upper_bytes

MOST_DETAILED = 8
"""Workloads up to which an estimate shows each in full below the table."""
MARKS = {"met": "✓", "tight": "≈", "missed": "✗", "none": " "}


def plan_summary(plan: Plan) -> str:
    """The plan on one screen, in English as all that a terminal shows.

    Raises InputError as `view_of` does.
    """
    return summary_of(view_of(plan, language=ENGLISH))


def summary_of(view: ReportView) -> str:
    """The view of a plan on one screen."""
    lines = [f"{view.name}: {view.status_word}", "", *wrapped(view.decision, indent="  ")]
    if view.figures:
        rows = [(f.label, f"{f.value} {f.unit}".rstrip(), f.note) for f in view.figures]
        lines += ["", *table(rows, right=frozenset({1}))]
    if view.infeasible is not None:
        lines += _infeasible_lines(view.infeasible)
    if view.bill.rows:
        lines += ["", "Bill of materials", *_bill_lines(view)]
    if view.periods is not None:
        lines += ["", "Over time", *_period_lines(view.periods, view.hourly_unit)]
    if view.workloads:
        lines += ["", "Workloads"]
        for w in view.workloads:
            lines += _workload_lines(w)
    lines += ["", *wrapped(view.proof)]
    lines += ["", *(line for text in view.outlook for line in wrapped(text))] if view.outlook else []
    lines += [line for w in view.warnings for line in wrapped(f"Warning: {w}")]
    return "\n".join(lines) + "\n"


def _bill_lines(view: ReportView) -> list[str]:
    rows = [("", "item", "GPU", "how", "GPUs", view.hourly_unit)]
    rows += [(r.number, r.item, r.gpu, r.procurement, r.gpus, r.usd_per_hour) for r in view.bill.rows]
    rows.append(("", "total", "", "", view.bill.gpus, view.bill.usd_per_hour))
    lines = table(rows, right=frozenset({0, 4, 5}))
    return [*lines, f"  {view.bill.note}"] if view.bill.note else lines


def _period_lines(view: PeriodsView, hourly_unit: str) -> list[str]:
    rows = [("", "nodes", "GPUs", hourly_unit, "cost", "paid", "kW")]
    rows += [(r.when, r.nodes, r.gpus, r.usd_per_hour, r.usd_total, r.cash_usd, r.power_kw) for r in view.rows]
    rows.append(("in all", "", "", "", view.usd_total, view.cash_usd, ""))
    demand = [("", *(r.when for r in view.rows)), *((f"{d.letter} {d.name}", *d.cells) for d in view.demand)]
    orders = [("order", "item", "how", "there in"), *((o.when, o.item, o.how, o.there) for o in view.orders)]
    return [
        *table(rows, right=frozenset(range(1, 7))),
        "",
        *table(demand),
        *(["", *table(orders)] if view.orders else []),
        *wrapped(view.lead, indent="  "),
    ]


def _workload_lines(w: WorkloadView) -> list[str]:
    m = w.memory
    lines = [f"  {w.letter} {w.name}: {w.summary}"]
    used, track = _chars(w)
    lines.append(f"    {bar(used, track)}  {m.peak} of {m.usable} GiB a GPU, {w.status_word}")
    rows = [
        (
            MARKS[t.state],
            t.label,
            f"{t.got} {t.unit}".rstrip(),
            f"{t.relation} {t.asked}",
            t.interval and f"({t.interval})",
        )
        for t in w.targets
    ]
    lines += table(rows, right=frozenset({2}), indent=4)
    return lines + [line for text in w.warnings for line in wrapped(f"Warning: {text}", indent="    ")]


def _chars(w: WorkloadView) -> tuple[float, float]:
    """Shares of the track that peak and device take, read off the drawn bar."""
    free = [s for s in w.memory.segments if s.key == "free"]
    capacity = float(w.memory.capacity_at.rstrip("%"))
    return (100.0 - float(free[0].width.rstrip("%")) if free else 100.0), capacity


def _infeasible_lines(view: InfeasibleView) -> list[str]:
    lines: list[str] = []
    if view.conflict:
        lines += ["", "Cannot hold together", *table([(c.where, c.limit, c.value, c.text) for c in view.conflict])]
    if view.relaxations:
        rows = [(r.limit, r.value, r.usd_per_hour, r.text) for r in view.relaxations]
        lines += ["", "Smallest changes, one at a time", *table(rows, right=frozenset({1, 2}))]
    for group in view.unplaceable:
        lines += ["", f"No GPU can run {group.workload} as asked", *table([(r.gpus, r.reason) for r in group.rows])]
        lines += [f"  {group.more}"] if group.more else []
    return lines


def estimate_table(document: EstimateDocument, *, headroom: float | None = None, asked_surely: bool = False) -> str:
    """Estimates as a table, and each in full while they are few; `headroom` is the share that must stay free,
    None where that is not known; `asked_surely`: `fits` was asked at the upper end of the peak's interval."""
    done = [w for w in document.workloads if isinstance(w, WorkloadEstimate)]
    failed = [w for w in document.workloads if isinstance(w, FailedEstimate)]
    lines: list[str] = []
    if len(done) > 1:
        lines += [*_overview(done, headroom), ""]
    if len(done) <= MOST_DETAILED:
        for w in done:
            lines += [*_details(w, headroom, asked_surely), ""]
    lines += [line for f in failed for line in wrapped(f"{shown(f.name)}: {shown(f.error, longest=600)}")]
    return "\n".join(lines).rstrip("\n") + "\n"


def _overview(done: Sequence[WorkloadEstimate], headroom: float | None) -> list[str]:
    rows = [("workload", "GPUs", "", "GiB a GPU", "of", "fits", "speed", "USD/h")]
    for w in done:
        view = memory_bar(w.memory, headroom=headroom, fits=w.fits)
        speed = speed_pairs(w)
        rows.append(
            (
                shown(w.name, longest=40),
                f"{w.gpus} × {shown(w.gpu_name, longest=40)}",
                bar(w.memory.device_peak_bytes, w.memory.usable_bytes, 20),
                view.peak,
                view.usable,
                "yes" if w.fits else "no",
                f"{speed[0].value} {speed[0].label.casefold()}" if speed else UNKNOWN,
                money_pairs(w)[0].value,
            )
        )
    return table(rows, right=frozenset({3, 4}), indent=0)


def _details(w: WorkloadEstimate, headroom: float | None, asked_surely: bool) -> list[str]:
    view = memory_bar(w.memory, headroom=headroom, fits=w.fits, upper_bytes=upper_bytes(w), asked_surely=asked_surely)
    lines = [
        f"{shown(w.name)}: {shown(w.model)}, {parameters(w)} parameters, {shown(w.engine)}",
        f"  {one_line(w)}",
        f"  {bar(w.memory.device_peak_bytes, w.memory.usable_bytes)}  {view.peak} of {view.usable} GiB",
        f"  {view.verdict}",
    ]
    parts = [(s.label, f"{s.value} GiB", s.share, bar(_percent(s.width), 100.0, 20)) for s in view.segments]
    lines += ["", *table(parts, right=frozenset({1, 2}), indent=4), ""]
    lines += _pair_lines(view.beside) + _pair_lines(speed_pairs(w)) + _pair_lines(money_pairs(w))
    notes = [f"Price: {text}" for text in [price_text(w)] if text]
    notes += [f"Warning: {shown(text, longest=600)}" for text in w.warnings]
    return lines + [line for note in notes for line in wrapped(note, indent="  ")]


def _percent(width: str) -> float:
    """The number of a width such as `12.5%`."""
    return float(width.rstrip("%"))


def _pair_lines(pairs: Sequence[Pair]) -> list[str]:
    return table([(p.label.ljust(32), p.value, f"({p.note})" if p.note else "") for p in pairs], indent=4)
