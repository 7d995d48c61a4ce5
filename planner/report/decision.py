"""The decision page: one sentence, the key figures, what is asked of the reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from planner.plan.types import Plan, PurchaseLine, Relaxation
from planner.report.bill import hourly_text, month_text, purchase_phrase
from planner.report.currency import USD, currency, currency_now
from planner.report.dates import date_text
from planner.report.language import _, marked, ngettext
from planner.report.numbers import figure, percent, shown, whole
from planner.report.over_time import next_order
from planner.report.phrases import foreign
from planner.report.types import Figure, WorkloadView
from planner.report.words import (
    HEADROOM_KEYS,
    LOW_CONFIDENCE,
    called,
    comma_separated,
    in_sentence,
    listed,
    semicolon_separated,
)
from planner.report.workloads import UNKNOWN
from planner.units import HOURS_PER_MONTH

MOST_LINES_NAMED = 3
MOST_TIGHT_NAMED = 6
STATUS_WORDS: Mapping[str, str] = {
    "optimal": marked("Proven optimal"),
    "feasible": marked("Best found in the time allowed"),
    "infeasible": marked("No plan exists"),
}


def decision_sentence(plan: Plan, gpu_names: Mapping[str, str], workloads: Sequence[WorkloadView]) -> str:
    """What to do, what it costs, and what that achieves."""
    if plan.status == "infeasible":
        return infeasible_sentence(plan)
    acts = [
        _act(text, [purchase_phrase(p, gpu_names) for p in _due_now(plan) if p.procurement in kinds])
        for text, kinds in (
            (marked("rent {items}"), ("on_demand", "reserved_1y", "reserved_3y", "spot")),
            (marked("buy {items}"), ("buy",)),
            (marked("use the owned {items}"), ("owned",)),
        )
    ]
    what = listed([a for a in acts if a]) or _("run nothing")
    return " ".join(t for t in (_priced(plan, what), next_order(plan), _result_phrase(workloads)) if t)


def _due_now(plan: Plan) -> Sequence[PurchaseLine]:
    """What has to be got at once: over periods what is ordered now, and what is ours."""
    return [p for p in plan.purchases if not plan.periods or p.order_month == 0 or p.procurement == "owned"]


def _act(text: str, items: Sequence[str]) -> str:
    if not items:
        return ""
    hidden = len(items) - MOST_LINES_NAMED
    more = ngettext("{n} more line of the bill of materials", "{n} more lines of the bill of materials", hidden)
    named = [*items[:MOST_LINES_NAMED], *([more.format(n=whole(hidden))] if hidden > 0 else [])]
    return _(text).format(items=listed(named))


def _priced(plan: Plan, what: str) -> str:
    """What to do, and what it costs: the first sentence."""
    hourly = hourly_text(plan)
    if hourly is None or plan.totals is None:
        text = _("{what}, at a price that is not known in full.").format(what=what)
    elif plan.periods:
        text = _("{what} now. Over all periods the fleet costs {hourly} {currency}/h in the mean.").format(
            what=what, hourly=hourly, currency=currency()
        )
    else:
        text = _("{what} for {hourly} {currency}/h, {monthly} {currency} a month.").format(
            what=what, hourly=hourly, monthly=month_text(plan.totals.usd_per_month), currency=currency()
        )
    return f"{text[0].upper()}{text[1:]}"


def named(workloads: Sequence[str]) -> str:
    """Names of workloads as a phrase; of many, the first few.

    >>> named(["a", "b"]), named([*"abcdefgh"])
    ('a and b', 'a, b, c, d, e, f and 2 others')
    """
    hidden = len(workloads) - MOST_TIGHT_NAMED
    if hidden <= 0:
        return listed(workloads)
    others = ngettext("{n} other", "{n} others", hidden).format(n=whole(hidden))
    return listed([*workloads[:MOST_TIGHT_NAMED], others])


def _result_phrase(workloads: Sequence[WorkloadView]) -> str:
    missed = [w.name for w in workloads if w.status == "missed"]
    if missed:
        return _("Targets are missed by {workloads}.").format(workloads=named(missed))
    tight = [w.name for w in workloads if w.status == "tight"]
    if not any(w.targets for w in workloads):
        text = ngettext(
            "This runs the workload as asked; no targets were set.",
            "This runs the {n} workloads as asked; no targets were set.",
            len(workloads),
        )
    elif tight:
        text = ngettext(
            "Every target of the workload is met; for {tight} the uncertainty of the prediction reaches past a target.",
            "Every target of the {n} workloads is met; for {tight} the uncertainty of the prediction reaches past a "
            "target.",
            len(workloads),
        )
    else:
        text = ngettext(
            "Every target of the workload is met.", "Every target of the {n} workloads is met.", len(workloads)
        )
    return text.format(n=whole(len(workloads)), tight=named(tight))


def infeasible_sentence(plan: Plan) -> str:
    """Why there is no plan, and the smallest change that makes one."""
    trouble = plan.infeasible
    if trouble is None:
        return _("No plan meets these requirements.")
    if trouble.unplaceable:
        names = comma_separated(shown(name) for name in trouble.unplaceable)
        return _("No plan meets these requirements: no GPU that is allowed can run {names} as asked.").format(
            names=names
        )
    limits = listed([shown(c.limit) for c in trouble.conflict])
    if not limits:
        sentence = _("No plan meets these requirements: they cannot hold together.")
    else:
        sentence = ngettext(
            "No plan meets these requirements: {limits} cannot be kept.",
            "No plan meets these requirements: {limits} cannot hold together.",
            len(trouble.conflict),
        ).format(limits=limits)
    if not trouble.relaxations:
        return sentence
    return f"{sentence} {_way_out(trouble.relaxations)}"


def _way_out(relaxations: Sequence[Relaxation]) -> str:
    """The smallest change, or the changes that are enough together."""
    first = relaxations[0]
    if first.together:
        changes = semicolon_separated(foreign(r.text, longest=300).rstrip(".") for r in relaxations if r.together)
        return _("These changes are enough together: {changes}.").format(changes=changes)
    return _("One change is enough, for example: {change}.").format(change=foreign(first.text, longest=300).rstrip("."))


def status_word(plan: Plan) -> str:
    """The outcome in a few words."""
    if plan.moves is not None and plan.moves.extra_share and plan.status == "feasible":
        return _("Near the plan in use")
    return _(STATUS_WORDS[plan.status])


def key_figures(plan: Plan, workloads: Sequence[WorkloadView]) -> tuple[Figure, ...]:
    """Four to seven figures that decide; nothing for an infeasible plan."""
    t = plan.totals
    if t is None:
        return ()
    months = _horizon_months(plan.inputs.spec)
    figures = [
        Figure(
            label=_("GPUs"),
            value=whole(t.gpus),
            note=ngettext("in {n} node", "in {n} nodes", t.nodes).format(n=whole(t.nodes)),
        ),
        Figure(label=_("Cost per hour"), value=hourly_text(plan) or UNKNOWN, unit=currency()),
        Figure(
            label=_("Cost per month"),
            value=month_text(t.usd_per_month),
            unit=currency(),
            note=_("{n} hours").format(n=whole(HOURS_PER_MONTH)),
        ),
    ]
    if t.usd_horizon is not None:
        note = ngettext("{n} month", "{n} months", months).format(n=whole(months)) if months else _("over the horizon")
        figures.append(Figure(label=_("Cost in all"), value=month_text(t.usd_horizon), unit=currency(), note=note))
    if t.capex_usd:
        figures.append(Figure(label=_("To buy"), value=month_text(t.capex_usd), unit=currency(), note=_("once")))
    without = _("{power} kW without cooling").format(power=figure(t.it_power_kw))
    figures.append(Figure(label=_("Power"), value=figure(t.power_kw), unit=_("kW"), note=without))
    tightest = _tightest(plan)
    if tightest is not None:
        figures.append(tightest)
    if t.kg_co2_per_month is not None:
        figures.append(Figure(label=_("CO2 per month"), value=figure(t.kg_co2_per_month), unit=_("kg")))
    return tuple(figures)


def _horizon_months(spec: Mapping[str, Any]) -> int | None:
    horizon = spec.get("horizon")
    months = horizon.get("months") if isinstance(horizon, Mapping) else None
    return months if isinstance(months, int) else None


def _tightest(plan: Plan) -> Figure | None:
    """The smallest headroom of any workload."""
    rooms = [(share, key, w.name) for w in plan.workloads for key, share in w.headroom.items()]
    if not rooms:
        return None
    share, key, name = min(rooms)
    note = _("{what}, {workload}").format(what=called(HEADROOM_KEYS, key), workload=shown(name, longest=40))
    return Figure(label=_("Smallest headroom"), value=percent(share), note=note)


def asked_of_reader(plan: Plan) -> str:
    """The decision that the report asks for."""
    if plan.status == "infeasible":
        return _("Choose which requirement to change, and by how much; the smallest changes are listed below.")
    kinds = {p.procurement for p in plan.purchases}
    if kinds <= {"owned"}:
        return _("Nothing has to be ordered: what is owned is enough.")
    wanted = []
    if plan.totals is not None and plan.totals.capex_usd:
        once = _("to spend {amount} {currency} once")
        wanted.append(once.format(amount=month_text(plan.totals.capex_usd), currency=currency()))
    if kinds - {"owned", "buy"}:
        wanted.append(
            _(
                "to rent the nodes of the bill of materials, with reservations that bind for the term shown, from the "
                "providers named there"
            )
            if kinds & {"reserved_1y", "reserved_3y"}
            else _("to rent the nodes of the bill of materials from the providers named there")
        )
    if not wanted:
        return _("Approval of the bill of materials.")
    return _("Approval {wanted}.").format(wanted=listed(wanted))


def confidence_notes(plan: Plan, workloads: Sequence[WorkloadView]) -> tuple[str, ...]:
    """How far the figures can be trusted."""
    notes = []
    tight = [(w.name, t.label) for w in workloads for t in w.targets if t.state == "tight"]
    if tight:
        which = semicolon_separated(
            _("{target} of {workload}").format(target=in_sentence(label), workload=name)
            for name, label in tight[:MOST_TIGHT_NAMED]
        )
        text = ngettext(
            "{n} target is met by the expected value while the 90 % interval reaches past: {which}.",
            "{n} targets are met by the expected value while the 90 % interval reaches past: {which}.",
            len(tight),
        )
        more = " …" if len(tight) > MOST_TIGHT_NAMED else ""
        notes.append(text.format(n=whole(len(tight)), which=f"{which}{more}"))
    dates = sorted(p.price_as_of for p in plan.purchases if p.price_as_of)
    if dates:
        first, last = date_text(dates[0]), date_text(dates[-1])
        text = (
            _("Prices are of {first}; confirm them with a quote before ordering.")
            if first == last
            else _("Prices are of {first} to {last}; confirm them with a quote before ordering.")
        )
        notes.append(text.format(first=first, last=last))
    notes += rate_notes()
    weak = sum(f.confidence.casefold() in LOW_CONFIDENCE for f in (*plan.inputs.facts, *plan.inputs.assumptions))
    if weak:
        text = ngettext(
            "{n} of the facts used is of low confidence and marked so.",
            "{n} of the facts used are of low confidence and marked so.",
            weak,
        )
        notes.append(text.format(n=whole(weak)))
    return tuple(notes)


def rate_notes() -> list[str]:
    """The rate at which amounts were converted; nothing for those in USD."""
    shown_in = currency_now()
    if shown_in.code == USD:
        return []
    text = _(
        "Amounts in {currency} were converted at {rate} {currency} for 1 USD ({source}, {date}); prices are in USD."
    )
    return [
        text.format(
            currency=currency(),
            rate=figure(shown_in.per_usd, 6),
            source=shown(shown_in.source),
            date=date_text(shown_in.as_of),
        )
    ]
