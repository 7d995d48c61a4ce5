"""A plan as ready text: the one place where a plan's numbers are formatted for people."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from planner.errors import InputError
from planner.plan.types import Conflict, FactUsed, Infeasible, Plan, Relaxation
from planner.report.bill import MOST_NODE_GROUPS, bill_view, fleet_view
from planner.report.decision import (
    asked_of_reader,
    confidence_notes,
    decision_sentence,
    key_figures,
    proof_facts,
    proof_sentence,
    status_word,
)
from planner.report.evidence import evidence_rows, unproven_lines
from planner.report.numbers import figure, money, shown, whole
from planner.report.outlook import outlook_lines
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
from planner.report.words import AUDIENCES, GLOSSARY, LOW_CONFIDENCE, SECTIONS
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


def view_of(plan: Plan, audience: str = ALL_READERS) -> ReportView:
    """Everything the reports of `plan` say, as text; `audience` is a key of `AUDIENCES` and chooses the sections.

    Raises InputError when `report.accent` of the spec is not a colour.
    """
    names = {w.gpu: w.gpu_name for w in plan.workloads}
    headroom = _headroom(plan)
    workloads = tuple(workload_view(w, index=i, headroom=headroom) for i, w in enumerate(plan.workloads))
    rejected = tuple(rejected_group(w.name, w.rejected, index=i) for i, w in enumerate(plan.workloads) if w.rejected)
    return ReportView(
        audience=audience,
        masthead=masthead(plan),
        name=shown(plan.name),
        created=shown(plan.created[:10]),
        created_at=shown(plan.created),
        status=plan.status,
        status_word=status_word(plan),
        decision=decision_sentence(plan, names, workloads),
        figures=key_figures(plan, workloads),
        asked=asked_of_reader(plan),
        confidence=confidence_notes(plan, workloads),
        sections=_sections(plan, workloads, rejected, AUDIENCES[audience]),
        bill=bill_view(plan, names),
        fleet=fleet_view(plan, names),
        fleet_more=_fleet_more(plan),
        workloads=workloads,
        rejected=rejected,
        all_rejected=_all_rejected(plan),
        proof=proof_sentence(plan),
        proof_facts=proof_facts(plan),
        outlook=tuple(outlook_lines(plan)),
        evidence=evidence_rows(plan),
        unproven=tuple(unproven_lines(plan)),
        facts=facts_view((*plan.inputs.assumptions, *plan.inputs.facts)),
        infeasible=_infeasible(plan.infeasible) if plan.infeasible is not None else None,
        reproduce=_reproduce(plan),
        glossary=tuple(Pair(label=term, value=text) for term, text in GLOSSARY),
        warnings=tuple(shown(w, longest=LONGEST_TEXT) for w in plan.warnings),
    )


def _headroom(plan: Plan) -> float:
    """The share of device memory that the spec keeps free; 0 where it does not say."""
    fleet = plan.inputs.spec.get("fleet")
    share = fleet.get("memory_headroom") if isinstance(fleet, Mapping) else None
    return float(share) if isinstance(share, int | float) else 0.0


def masthead(plan: Plan) -> Masthead:
    """Title, organisation, author and accent colour from `report:` in the spec."""
    given = plan.inputs.spec.get("report")
    report = {k: v for k, v in given.items() if isinstance(v, str)} if isinstance(given, Mapping) else {}
    accent = report.get("accent", "")
    if accent and not _ACCENT.fullmatch(accent):
        raise InputError(f"report.accent: {shown(accent)!r} is not a colour; write it as #RRGGBB")
    return Masthead(
        title=shown(report.get("title") or f"GPU capacity plan: {plan.name}"),
        organisation=shown(report.get("organisation", "")),
        author=shown(report.get("author", "")),
        language="en",
        accent=accent,
        logo=plan.inputs.logo if _LOGO.fullmatch(plan.inputs.logo) else "",
    )


def _sections(
    plan: Plan, workloads: Sequence[WorkloadView], rejected: Sequence[RejectedGroup], asked: Sequence[str]
) -> tuple[Section, ...]:
    """The table of contents: of the sections asked for, those that have something to say."""
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
        "glossary": True,
    }
    inner = {"workloads": tuple(Section(id=w.id, title=w.name) for w in workloads)}
    wanted = [k for k in SECTIONS if present[k] and k in asked]
    return tuple(Section(id=k, title=SECTIONS[k], inner=inner.get(k, ())) for k in wanted)


def _fleet_more(plan: Plan) -> str:
    hidden = len(plan.nodes) - MOST_NODE_GROUPS
    return f"{whole(hidden)} more groups of nodes in plan.json." if hidden > 0 else ""


def _all_rejected(plan: Plan) -> tuple[tuple[str, str, str], ...]:
    rows = [(w.name, r) for w in plan.workloads for r in w.rejected]
    if plan.infeasible is not None:
        rows += [(name, r) for name, found in sorted(plan.infeasible.unplaceable.items()) for r in found]
    return tuple((shown(name), shown(r.gpu), shown(r.reason, longest=LONGEST_TEXT)) for name, r in rows)


def facts_view(facts: Sequence[FactUsed]) -> Facts:
    """The facts a plan rests on; those of low confidence first."""
    order = sorted(facts, key=lambda f: f.confidence.casefold() not in LOW_CONFIDENCE)
    rows = [_fact_row(f, longest=LONGEST_FACT) for f in order]
    hidden = len(rows) - MOST_FACT_ROWS
    num_weak = sum(row.is_weak for row in rows)
    return Facts(
        rows=tuple(rows[:MOST_FACT_ROWS]),
        all_rows=tuple(_fact_row(f, longest=LONGEST_CELL) for f in order),
        more=f"{whole(hidden)} more in assumptions.csv and plan.json." if hidden > 0 else "",
        weak=f"{whole(num_weak)} of {whole(len(rows))} are of low confidence; they stand first." if num_weak else "",
    )


def _fact_row(fact: FactUsed, *, longest: int) -> FactRow:
    return FactRow(
        kind=shown(fact.kind),
        id=shown(fact.id),
        what=shown(fact.what, longest=longest),
        value=shown(fact.value, longest=longest),
        source=shown(fact.source, longest=longest),
        as_of=shown(fact.as_of),
        confidence=shown(fact.confidence),
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
        text=shown(c.text, longest=LONGEST_TEXT),
    )


def _relaxation(r: Relaxation) -> RelaxationRow:
    return RelaxationRow(
        limit=shown(r.limit),
        value=figure(r.value, 6),
        usd_per_hour=f"{money(r.usd_per_hour)} USD/h" if r.usd_per_hour is not None else "price unknown",
        text=shown(r.text, longest=LONGEST_TEXT),
    )


def _reproduce(plan: Plan) -> tuple[Pair, ...]:
    """Everything it takes to get this plan again."""
    rows = [
        ("Command", f"plan build {shlex.quote(plan.inputs.spec_file)}"),
        ("Report again", "plan report plan.json"),
        ("Spec file", plan.inputs.spec_file),
        ("Spec, SHA-256", plan.spec_sha256),
        ("Catalogs, SHA-256", plan.catalog_sha256),
        ("Planner version", plan.planner_version),
        ("Plan schema", plan.schema_),
        ("Random seed", str(plan.solver.seed)),
        ("Created", plan.created),
    ]
    return tuple(Pair(label=label, value=shown(value)) for label, value in rows)
