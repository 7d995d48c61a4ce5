"""Where does each figure come from? Derivations of a plan, and the classic worked example."""

from __future__ import annotations

from planner.errors import UnknownNameError
from planner.explain.render import as_markdown, as_text
from planner.explain.steps import explain_workload, proof_of
from planner.plan.types import Plan


def explain_plan(plan: Plan, *, workload: str | None = None, markdown: bool = False) -> str:
    """Every figure of the plan, or of one workload, step by step: formula, numbers put in, result, source.

    Raises UnknownNameError for a workload that the plan does not have.
    """
    names = [w.name for w in plan.workloads]
    if workload is not None and workload not in names:
        raise UnknownNameError("workload", workload, names)
    explanations = [explain_workload(w) for w in plan.workloads if workload in (None, w.name)]
    return (as_markdown if markdown else as_text)(explanations, proof_of(plan))
