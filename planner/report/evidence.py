"""The section on validation evidence: what was measured nearest to each workload, and what nobody has measured."""

from __future__ import annotations

from collections.abc import Iterator

from planner.plan.types import EvidenceFigure, NearRecord, Plan
from planner.report.numbers import shown
from planner.report.types import EvidenceRow
from planner.units import GIB, MILLI

RULE_WORDS = {
    "allocated": "memory allocated",
    "device": "device memory",
    "static": "memory after a step",
    "kv_tokens": "tokens of KV cache",
    "output_rate": "generated tokens per second",
    "token_rate": "tokens per second",
    "tpot": "time per output token",
    "ttft": "time to first token",
    "step": "time of a step",
}
SAME = "the same configuration"


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
        source=shown(f"{near.source} ({near.origin}{', ' + near.as_of if near.as_of else ''})"),
        differs=shown(", ".join(near.differs) or SAME),
        figure=RULE_WORDS.get(figure.rule, shown(figure.rule)),
        measured=quantity(figure.measured, figure.unit),
        predicted="unknown" if figure.predicted is None else quantity(figure.predicted, figure.unit),
        error="" if error is None else f"{error:+.1%}".replace("%", " %"),
        emulated=shown(near.emulated),
    )


def quantity(value: float, unit: str) -> str:
    """A figure with its unit.

    >>> quantity(3 * 2**29, "bytes"), quantity(0.0125, "s"), quantity(1234.5, "1/s"), quantity(75840, "1")
    ('1.50 GiB', '12.5 ms', '1,234.5', '75,840')
    """
    match unit:
        case "bytes":
            return f"{value / GIB:,.2f} GiB"
        case "s":
            return f"{value:,.2f} s" if value >= 1.0 else f"{value / MILLI:,.1f} ms"
        case "1/s":
            return f"{value:,.1f}"
        case _:
            return f"{value:,.0f}"


def unproven_lines(plan: Plan) -> Iterator[str]:
    """What of each workload no device has measured."""
    for evidence in plan.evidence:
        if evidence.unproven:
            yield shown(f"{evidence.workload}: {' and '.join(evidence.unproven)}")
