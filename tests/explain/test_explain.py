"""`plan explain`: every derivation of the plan, and why the others lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from planner.errors import UnknownNameError
from planner.explain import explain_plan
from planner.plan.types import Plan

Golden = Callable[[str, str], None]
PLAN = Path(__file__).parent.parent / "report" / "fixtures" / "two_workloads.json"


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan.model_validate_json(PLAN.read_text(encoding="utf-8"))


def test_explanation_of_a_plan(plan: Plan, golden: Golden) -> None:
    golden("explain/two_workloads.txt", explain_plan(plan))


def test_every_step_is_told_with_formula_numbers_result_and_source(plan: Plan) -> None:
    text = " ".join(explain_plan(plan).split())
    steps = [s for w in plan.workloads for s in w.derivation]
    assert steps
    for step in steps:
        for part in (step.figure, step.formula, step.numbers, step.result, step.source):
            assert part in text


def test_one_workload_can_be_asked_for(plan: Plan) -> None:
    text = explain_plan(plan, workload="tune")
    assert text.startswith("tune\n====\n")
    assert "llama-3.1-8b" not in text


def test_a_workload_that_the_plan_lacks_gets_near_matches(plan: Plan) -> None:
    with pytest.raises(UnknownNameError, match="nearest: chat"):
        explain_plan(plan, workload="chatt")


def test_the_runner_up_and_its_price_are_named(plan: Plan) -> None:
    text = explain_plan(plan, workload="chat")
    assert "6 × l4-24gb on gcp/g2-standard-4/us-central1" in text
    assert "4.24 USD/h (+0.52): needs six cards" in text


def test_a_plan_without_derivations_says_so(plan: Plan) -> None:
    bare = plan.workloads[0].model_copy(update={"derivation": ()})
    assert "build it again" in explain_plan(plan.model_copy(update={"workloads": (bare,)}))


def test_markdown_has_one_row_a_step(plan: Plan) -> None:
    text = explain_plan(plan, workload="chat", markdown=True)
    assert sum("| result |" in line for line in text.splitlines()) == 4
    assert "| 31,675,383,808 bytes (29.50 GiB) |" in text
