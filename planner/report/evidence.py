"""The section on validation evidence: what was measured nearest to each workload, and what nobody has measured."""

from __future__ import annotations

from collections.abc import Iterator

from planner.plan.types import EvidenceFigure, NearRecord, Plan
from planner.report.dates import date_text
from planner.report.language import _, marked
from planner.report.numbers import fixed, localised, shown, whole
from planner.report.phrases import untranslated
from planner.report.types import EvidenceRow
from planner.report.words import called, listed
from planner.units import GIB, MILLI

RULE_WORDS = {
    "allocated": marked("memory allocated"),
    "device": marked("device memory"),
    "static": marked("memory after a step"),
    "kv_tokens": marked("tokens of KV cache"),
    "output_rate": marked("generated tokens per second"),
    "token_rate": marked("tokens per second"),
    "tpot": marked("time per output token"),
    "ttft": marked("time to first token"),
    "step": marked("time of a step"),
}
UNPROVEN = {"memory": marked("memory"), "speed": marked("speed")}
SAME = marked("the same configuration")
ORIGINS = {"published": marked("published"), "measured": marked("measured"), "simulated": marked("simulated")}


def evidence_rows(plan: Plan) -> tuple[EvidenceRow, ...]:
    """One figure a row, workloads in the plan's order."""
    return tuple(
        row(evidence.workload, near, figure)
        for evidence in plan.evidence
        for near in evidence.near
        for figure in near.figures
    )


def row(workload: str, near: NearRecord, figure: EvidenceFigure) -> EvidenceRow:
    """One figure beside its prediction."""
    error = None if figure.predicted is None or not figure.measured else figure.predicted / figure.measured - 1.0
    return EvidenceRow(
        workload=shown(workload),
        source=source_text(near),
        differs=untranslated(", ".join(near.differs)) or _(SAME),
        figure=called(RULE_WORDS, figure.rule),
        measured=quantity(figure.measured, figure.unit),
        predicted=_("unknown") if figure.predicted is None else quantity(figure.predicted, figure.unit),
        error="" if error is None else localised(f"{error:+.1%}".replace("%", " %")),
        emulated=shown(near.emulated),
    )


def source_text(near: NearRecord) -> str:
    """Where a record is from, what kind it is, and its date."""
    origin = called(ORIGINS, near.origin)
    if not near.as_of:
        return _("{source} ({origin})").format(source=shown(near.source), origin=origin)
    return _("{source} ({origin}, {date})").format(source=shown(near.source), origin=origin, date=date_text(near.as_of))


def quantity(value: float, unit: str) -> str:
    """A figure with its unit.

    >>> quantity(3 * 2**29, "bytes"), quantity(0.0125, "s"), quantity(1234.5, "1/s"), quantity(75840, "1")
    ('1.50 GiB', '12.5 ms', '1,234.5', '75,840')
    """
    match unit:
        case "bytes":
            return f"{fixed(value / GIB)} GiB"
        case "s" if value >= 1.0:
            return _("{n} s").format(n=fixed(value))
        case "s":
            return _("{n} ms").format(n=fixed(value / MILLI, 1))
        case "1/s":
            return fixed(value, 1)
        case _other:
            return whole(value)


def unproven_lines(plan: Plan) -> Iterator[str]:
    """What of each workload no device has measured."""
    for evidence in plan.evidence:
        if evidence.unproven:
            what = listed([called(UNPROVEN, key) for key in evidence.unproven])
            yield _("{workload}: {what}").format(workload=shown(evidence.workload), what=what)
