"""A plan as ready text: the one place where a plan's numbers are formatted for people."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from planner.errors import InputError
from planner.plan.types import Conflict, FactUsed, Infeasible, Plan, Relaxation
from planner.report.bill import MOST_NODE_GROUPS, bill_view, fleet_view, hourly_unit
from planner.report.currency import IN_USD, USD, Currency, counting_in, currency, currency_now
from planner.report.dates import date_text
from planner.report.decision import (
    asked_of_reader,
    confidence_notes,
    decision_sentence,
    key_figures,
    status_word,
)
from planner.report.derivations import derivation_views
from planner.report.evidence import evidence_rows, unproven_lines
from planner.report.facility import facility_view
from planner.report.horizon import horizon_view
from planner.report.interactive import whatif_view
from planner.report.language import ENGLISH, _, ngettext, speaking, spoken_now
from planner.report.numbers import figure, money, shown, whole
from planner.report.outlook import outlook_lines
from planner.report.over_time import periods_view
from planner.report.pages import off_paper
from planner.report.phrases import foreign, untranslated
from planner.report.proof import proof_facts, proof_sentence
from planner.report.risks import owner_of, risk_rows
from planner.report.sensitivity import sensitivity_view
from planner.report.signoff import signoff_view
from planner.report.types import (
    ConflictRow,
    FactRow,
    Facts,
    InfeasibleView,
    Masthead,
    Pair,
    RejectedGroup,
    RelaxationRow,
    ReportView,
    Section,
    WorkloadView,
)
from planner.report.words import AUDIENCES, CONFIDENCE, FACT_KINDS, GLOSSARY, LOW_CONFIDENCE, SECTIONS, called
from planner.report.workloads import UNKNOWN, rejected_group, workload_view

MOST_FACT_ROWS = 120
"""Facts printed; the others stand in assumptions.csv."""
LONGEST_TEXT = 400
LONGEST_FACT = 220
"""Characters of one cell of the printed facts."""
LONGEST_CELL = 4000
"""... and of the facts in assumptions.csv."""
ALL_READERS = "all"
_LOGO = re.compile(r"data:image/(png|svg\+xml);base64,[A-Za-z0-9+/]+={0,2}")
_ACCENT = re.compile(r"#[0-9a-fA-F]{6}")


def view_of(plan: Plan, audience: str = ALL_READERS, language: str | None = None) -> ReportView:
    """Everything the reports of `plan` say, as text; `audience` is a key of `AUDIENCES` and chooses the sections.

    `language` goes before `report.language` of the spec. Raises InputError for one that there is not, for a currency
    without a rate, and when `report.accent` of the spec is not a colour.
    """
    report = report_options(plan)
    with (
        speaking(language or report.get("language") or ENGLISH, digits=report.get("digits") or "latin"),
        counting_in(currency_of(plan)),
    ):
        return _view(plan, audience)


def report_options(plan: Plan) -> Mapping[str, str]:
    """The texts under `report:` of the spec."""
    given = plan.inputs.spec.get("report")
    return {k: v for k, v in given.items() if isinstance(v, str)} if isinstance(given, Mapping) else {}


def currency_of(plan: Plan) -> Currency:
    """The currency of `report:` in the spec with the rate given there.

    Raises InputError where it is not USD and no rate is given.
    """
    code = report_options(plan).get("currency") or USD
    if code == USD:
        return IN_USD
    rate = plan.inputs.spec["report"].get("rate")
    if not isinstance(rate, Mapping):
        raise InputError(
            f"report.currency: no rate for {shown(code)}; give it with its date: "
            "rate: {per_usd: ..., as_of: YYYY-MM-DD, source: ...}"
        )
    return Currency(
        code=shown(code), per_usd=float(rate["per_usd"]), as_of=str(rate["as_of"]), source=str(rate["source"])
    )


def _view(plan: Plan, audience: str) -> ReportView:
    """The view in the language and currency in use."""
    names = gpu_names(plan)
    headroom = _headroom(plan)
    workloads = tuple(workload_view(w, index=i, headroom=headroom) for i, w in enumerate(plan.workloads))
    head = masthead(plan)
    periods, facility = periods_view(plan), facility_view(plan)
    # Both follow from a fleet that stays the same.
    horizon, sensitivity = horizon_view(plan), sensitivity_view(plan)
    risks = risk_rows(plan, workloads)
    left_out = tuple(shown(name) for name in off_paper(plan))
    further = {"periods": periods, "horizon": horizon, "sensitivity": sensitivity, "facility": facility, "risks": risks}
    rejected = tuple(rejected_group(w.name, w.rejected, index=i) for i, w in enumerate(plan.workloads) if w.rejected)
    return ReportView(
        audience=audience,
        masthead=head,
        name=shown(plan.name),
        created=date_text(plan.created[:10]),
        created_at=shown(plan.created),
        currency=currency(),
        hourly_unit=_("{currency}/h").format(currency=currency()),
        currency_code=currency_now().code,
        status=plan.status,
        status_word=status_word(plan),
        decision=decision_sentence(plan, names, workloads),
        figures=key_figures(plan, workloads),
        asked=asked_of_reader(plan),
        confidence=confidence_notes(plan, workloads),
        sections=_sections(
            plan,
            workloads,
            rejected,
            AUDIENCES[audience],
            further={name: bool(found) for name, found in further.items()},
        ),
        bill=bill_view(plan, names),
        fleet=fleet_view(plan, names),
        fleet_more=_fleet_more(plan),
        workloads=workloads,
        off_paper=left_out,
        off_paper_note=_off_paper_note(len(left_out)),
        rejected=rejected,
        all_rejected=_all_rejected(plan),
        proof=proof_sentence(plan),
        proof_facts=proof_facts(plan),
        periods=periods,
        horizon=horizon,
        sensitivity=sensitivity,
        facility=facility,
        risks=risks,
        signoff=signoff_view(plan, author=head.author, status_word=status_word(plan)),
        whatif=whatif_view(plan),
        outlook=tuple(outlook_lines(plan)),
        derivations=derivation_views(plan) if "derivations" in AUDIENCES[audience] else (),
        evidence=evidence_rows(plan),
        unproven=tuple(unproven_lines(plan)),
        facts=facts_view((*plan.inputs.assumptions, *plan.inputs.facts)),
        infeasible=_infeasible(plan.infeasible) if plan.infeasible is not None else None,
        reproduce=_reproduce(plan),
        glossary=tuple(Pair(label=_(term), value=_(text)) for term, text in GLOSSARY),
        warnings=tuple(foreign(w, longest=LONGEST_TEXT) for w in plan.warnings),
    )


def gpu_names(plan: Plan) -> dict[str, str]:
    """What people call the GPUs of a plan, by id."""
    placed = [p for w in plan.workloads for p in w.placements]
    placed += [p for period in plan.periods for w in period.workloads for p in w.placements]
    named = {p.gpu: p.gpu_name for p in placed if p.gpu_name}
    return named | {w.gpu: w.gpu_name for w in plan.workloads}


def _headroom(plan: Plan) -> float:
    """The share of device memory that the spec keeps free; 0 where it does not say."""
    fleet = plan.inputs.spec.get("fleet")
    share = fleet.get("memory_headroom") if isinstance(fleet, Mapping) else None
    return float(share) if isinstance(share, int | float) else 0.0


def masthead(plan: Plan) -> Masthead:
    """Title, organisation, author and accent colour from `report:` in the spec."""
    report, spoken = report_options(plan), spoken_now()
    accent = report.get("accent", "")
    if accent and not _ACCENT.fullmatch(accent):
        raise InputError(f"report.accent: {shown(accent)!r} is not a colour; write it as #RRGGBB")
    return Masthead(
        title=shown(report.get("title") or _("GPU capacity plan: {name}").format(name=plan.name)),
        organisation=shown(report.get("organisation", "")),
        author=shown(report.get("author", "")),
        language=spoken.language.code,
        direction=spoken.language.direction,
        digits="native" if spoken.has_native_digits else "latin",
        accent=accent,
        logo=plan.inputs.logo if _LOGO.fullmatch(plan.inputs.logo) else "",
    )


def _sections(
    plan: Plan,
    workloads: Sequence[WorkloadView],
    rejected: Sequence[RejectedGroup],
    asked: Sequence[str],
    *,
    further: Mapping[str, bool],
) -> tuple[Section, ...]:
    """The table of contents: of the sections asked for, those that have something to say; `further` says it of some."""
    unplaceable = plan.infeasible is not None and bool(plan.infeasible.unplaceable)
    present = {
        "decision": True,
        "infeasible": plan.infeasible is not None,
        "materials": bool(plan.purchases),
        "fleet": bool(plan.nodes),
        "workloads": bool(workloads),
        "rejected": bool(rejected) or unplaceable,
        "proof": True,
        "evidence": bool(plan.evidence),
        "assumptions": bool(plan.inputs.facts or plan.inputs.assumptions),
        "reproduce": True,
        "derivations": any(w.derivation for w in plan.workloads),
        "signoff": plan.infeasible is None,
        "glossary": True,
        **further,
    }
    inner = {"workloads": tuple(Section(id=w.id, title=w.name) for w in workloads)}
    wanted = [k for k in SECTIONS if present[k] and k in asked]
    return tuple(Section(id=k, title=_(SECTIONS[k]), inner=inner.get(k, ())) for k in wanted)


def _off_paper_note(hidden: int) -> str:
    """How many workloads have no page of their own on paper; empty when none."""
    if not hidden:
        return ""
    return ngettext(
        "{n} more workload, which costs less, has its page in report.html.",
        "{n} more workloads, which cost less, have their pages in report.html.",
        hidden,
    ).format(n=whole(hidden))


def _fleet_more(plan: Plan) -> str:
    hidden = len(plan.nodes) - MOST_NODE_GROUPS
    return _("{n} more groups of nodes in plan.json.").format(n=whole(hidden)) if hidden > 0 else ""


def _all_rejected(plan: Plan) -> tuple[tuple[str, str, str], ...]:
    rows = [(w.name, r) for w in plan.workloads for r in w.rejected]
    if plan.infeasible is not None:
        rows += [(name, r) for name, found in sorted(plan.infeasible.unplaceable.items()) for r in found]
    return tuple((shown(name), shown(r.gpu), foreign(r.reason, longest=LONGEST_TEXT)) for name, r in rows)


def facts_view(facts: Sequence[FactUsed]) -> Facts:
    """The facts a plan rests on; those of low confidence first."""
    order = sorted(facts, key=lambda f: f.confidence.casefold() not in LOW_CONFIDENCE)
    rows = [_fact_row(f, longest=LONGEST_FACT) for f in order]
    hidden = len(rows) - MOST_FACT_ROWS
    num_weak = sum(row.is_weak for row in rows)
    return Facts(
        rows=tuple(rows[:MOST_FACT_ROWS]),
        all_rows=tuple(_fact_row(f, longest=LONGEST_CELL) for f in order),
        more=_("{n} more in assumptions.csv and plan.json.").format(n=whole(hidden)) if hidden > 0 else "",
        weak=_("{n} of {all} are of low confidence; they stand first.").format(n=whole(num_weak), all=whole(len(rows)))
        if num_weak
        else "",
    )


def _fact_row(fact: FactUsed, *, longest: int) -> FactRow:
    return FactRow(
        kind=called(FACT_KINDS, fact.kind),
        id=shown(fact.id),
        what=untranslated(fact.what, longest=longest),
        value=shown(fact.value, longest=longest),
        source=untranslated(fact.source, longest=longest),
        as_of=date_text(fact.as_of),
        confidence=called(CONFIDENCE, fact.confidence),
        owner=owner_of(fact.kind),
        is_weak=fact.confidence.casefold() in LOW_CONFIDENCE,
    )


def _infeasible(trouble: Infeasible) -> InfeasibleView:
    return InfeasibleView(
        conflict=tuple(_conflict(c) for c in trouble.conflict),
        relaxations=tuple(_relaxation(r) for r in trouble.relaxations),
        unplaceable=tuple(
            rejected_group(name, found, index=i) for i, (name, found) in enumerate(sorted(trouble.unplaceable.items()))
        ),
    )


def _conflict(c: Conflict) -> ConflictRow:
    value = c.value if c.value is not None else UNKNOWN
    return ConflictRow(
        limit=shown(c.limit),
        where=shown(c.where),
        value=figure(value, 6) if isinstance(value, int | float) else shown(value),
        text=foreign(c.text, longest=LONGEST_TEXT),
    )


def _relaxation(r: Relaxation) -> RelaxationRow:
    return RelaxationRow(
        limit=shown(r.limit),
        value=figure(r.value, 6),
        usd_per_hour=hourly_unit(money(r.usd_per_hour)) if r.usd_per_hour is not None else _("price unknown"),
        text=foreign(r.text, longest=LONGEST_TEXT),
    )


def _reproduce(plan: Plan) -> tuple[Pair, ...]:
    """Everything it takes to get this plan again."""
    rows = [
        (_("Command"), f"plan build {shlex.quote(plan.inputs.spec_file)}"),
        (_("Report again"), "plan report plan.json"),
        (_("Spec file"), plan.inputs.spec_file),
        (_("Spec, SHA-256"), plan.spec_sha256),
        (_("Catalogs, SHA-256"), plan.catalog_sha256),
        (_("Planner version"), plan.planner_version),
        (_("Plan schema"), plan.schema_),
        (_("Random seed"), str(plan.solver.seed)),
        (_("Created"), plan.created),
    ]
    return tuple(Pair(label=label, value=shown(value)) for label, value in rows)
