"""The section of a plan over periods: money that adds up, orders in time, no statement flipped by rounding."""

from __future__ import annotations

import pytest

from planner.explain.steps import explain_workload
from planner.plan.diff import SAME, diff
from planner.report.html import render_html
from planner.report.over_time import at_most
from planner.report.text import plan_summary
from planner.report.view import view_of
from tests.plan.plans import plan_of
from tests.plan.test_over_time import BUY, GROWING


def amount(text: str) -> float:
    return float(text.replace(",", ""))


def test_shown_costs_of_the_periods_add_up_to_the_shown_total() -> None:
    view = view_of(plan_of(BUY)).periods
    assert view is not None
    assert sum(amount(r.usd_total) for r in view.rows) == pytest.approx(amount(view.usd_total), abs=1e-6)
    assert sum(amount(r.cash_usd) for r in view.rows) == pytest.approx(amount(view.cash_usd), abs=1e-6)


def test_the_report_says_what_to_order_when() -> None:
    plan = plan_of(BUY)
    view = view_of(plan)
    assert view.periods is not None
    bought = next(p for p in plan.purchases if p.procurement == "buy")
    row = next(o for o in view.periods.orders if o.how == "bought")
    assert row.when == f"after {bought.order_month} months"
    assert row.there.endswith("to 36")
    assert "The next order is due after" in view.decision
    assert row.when in plan_summary(plan)
    page = render_html(view)
    assert 'id="periods"' in page
    assert row.there in page


def test_a_plan_without_periods_has_no_such_section() -> None:
    view = view_of(plan_of())
    assert view.periods is None
    assert 'id="periods"' not in render_html(view)


def test_what_could_be_served_is_never_rounded_up() -> None:
    assert at_most(1.999) == "1.99×"
    assert at_most(2.0) == "2×"


def test_explain_tells_the_replicas_of_each_period() -> None:
    plan = plan_of(GROWING)
    chat = next(w for w in plan.workloads if w.name == "chat")
    steps = [s for g in explain_workload(chat).groups for s in g.steps]
    assert [s.figure for s in steps if s.figure.startswith("replicas in period")] == [
        f"replicas in period {n}" for n in (1, 2, 3)
    ]


def test_diff_tells_what_moves_in_which_period() -> None:
    old, new = plan_of(GROWING), plan_of(GROWING.replace("chat: 10", "chat: 14"))
    lines = diff(old, new)
    assert diff(old, old) == (SAME,)
    assert any(line.startswith("~ period 3 USD") for line in lines)
    assert any(line.startswith("~ period 3 workload chat") for line in lines)
    assert not any(line.startswith("~ period 1 workload") for line in lines)
