"""The appendix for engineers: every figure of a workload with its formula, the numbers put in, and the source."""

from __future__ import annotations

from planner.plan.types import Plan
from planner.report.bars import letter, tone
from planner.report.numbers import shown
from planner.report.sections import DerivationLine, DerivationView

LONGEST = 2000
"""Characters of one text of a step."""


def derivation_views(plan: Plan) -> tuple[DerivationView, ...]:
    """The workloads whose estimates say how they come about."""
    return tuple(
        DerivationView(
            letter=letter(i),
            tone=tone(i),
            name=shown(w.name),
            lines=tuple(
                DerivationLine(
                    figure=shown(step.figure),
                    formula=shown(step.formula, longest=LONGEST),
                    numbers=shown(step.numbers, longest=LONGEST),
                    result=shown(step.result, longest=LONGEST),
                    source=shown(step.source, longest=LONGEST),
                )
                for step in w.derivation
            ),
        )
        for i, w in enumerate(plan.workloads)
        if w.derivation
    )
