"""What the terminal shows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from planner.estimate.document import EstimateDocument
from planner.plan.types import Plan
from planner.report.terminal import bar
from planner.report.text import estimate_table, plan_summary
from planner.report.view import view_of

Golden = Callable[[str, str], None]


@pytest.mark.parametrize("name", ["two_workloads", "infeasible", "unplaceable"])
def test_summary_of_a_plan(name: str, request: pytest.FixtureRequest, golden: Golden) -> None:
    golden(f"report/{name}.txt", plan_summary(request.getfixturevalue(name)))


def test_estimates_of_four_workloads(estimates: EstimateDocument, golden: Golden) -> None:
    golden("report/estimates.txt", estimate_table(estimates, headroom=0.05))


def test_the_terminal_and_the_report_print_the_same_figures(two_workloads: Plan) -> None:
    text = plan_summary(two_workloads)
    view = view_of(two_workloads)
    assert all(f.value in text for f in view.figures)
    assert all(w.memory.peak in text and t.got in text for w in view.workloads for t in w.targets)


def test_no_name_moves_the_cursor_or_the_text(two_workloads: Plan) -> None:
    chat = two_workloads.workloads[0].model_copy(update={"name": "a\x1b[31m\u202eb\r[/foo]"})
    text = plan_summary(two_workloads.model_copy(update={"workloads": (chat,)}))
    assert "a\\u001b[31m\\u202eb\\u000d[/foo]" in text
    assert not set(text) & {"\x1b", "\u202e", "\r"}


def test_what_does_not_fit_says_so(estimates: EstimateDocument) -> None:
    text = estimate_table(estimates)
    assert "Does not fit: the peak of 15.88 GiB is above the 14.74 GiB of the device." in text
    assert "unknown GPU 'h10O'; nearest: h100-sxm-80gb" in text


def test_many_estimates_are_a_table_only(estimates: EstimateDocument) -> None:
    many = EstimateDocument(workloads=tuple(w for w in estimates.workloads for _ in range(3)))
    assert "Allocated peak" not in estimate_table(many)
    assert len(estimate_table(many).splitlines()) == 1 + 9 + 1 + 3


@pytest.mark.parametrize(
    ("used", "limit", "text"),
    [(0, 10, "░░░░"), (0.001, 10, "█░░░"), (9.99, 10, "███░"), (10, 10, "████"), (10.01, 10, "████▓"), (5, 10, "██░░")],
)
def test_a_bar_is_full_only_when_nothing_is_free(used: float, limit: float, text: str) -> None:
    assert bar(used, limit, 4) == text
