"""Another currency: at the rate given, said on the page, and never mixed silently."""

from __future__ import annotations

import re
from typing import Any

import pytest

from planner.errors import InputError
from planner.plan.io import read_plan
from planner.plan.types import Plan
from planner.report.html import render_html
from planner.report.markdown import render_markdown
from planner.report.tables import render_csv, tables
from planner.report.text import plan_summary
from planner.report.view import view_of
from planner.resources import data_folder

RATE = {"per_usd": 0.5, "as_of": "2026-11-01", "source": "reference rate of a bank"}


def in_euro(plan: Plan, rate: Any = RATE) -> Plan:
    spec = {**plan.inputs.spec, "report": {"currency": "EUR", "rate": rate}}
    return plan.model_copy(update={"inputs": plan.inputs.model_copy(update={"spec": spec})})


def test_amounts_are_those_in_usd_times_the_rate(two_workloads: Plan) -> None:
    view, usd = view_of(in_euro(two_workloads)), view_of(two_workloads)
    assert usd.bill.usd_per_hour == "27.64"
    assert view.bill.usd_per_hour == "13.82"
    assert "13.82 EUR/h" in view.decision
    assert next((f.value, f.unit) for f in view.figures if f.unit == "EUR") == ("13.82", "EUR")


def test_shown_lines_still_add_up_to_the_shown_total(two_workloads: Plan) -> None:
    bill = view_of(in_euro(two_workloads)).bill
    cents = [round(100 * float(r.usd_per_hour)) for r in bill.rows]
    assert sum(cents) == round(100 * float(bill.usd_per_hour))


def test_the_page_says_rate_source_and_date_and_plans_in_no_other_currency() -> None:
    plan = read_plan(data_folder("plans") / "quickstart" / "plan.json")
    page = render_html(view_of(in_euro(plan)))
    note = "Amounts in EUR were converted at 0.5 EUR for 1 USD (reference rate of a bank, 2026-11-01)"
    assert note in page
    planned, _heading, facts = page.replace(note, "").partition('id="assumptions"')
    assert re.findall(r"[\d.,]+ USD[^<]*", planned) == []
    assert re.findall(r"[\d.,]+ USD", facts), "facts stay as their sources give them"


def test_every_format_shows_the_same_currency(two_workloads: Plan) -> None:
    view = view_of(in_euro(two_workloads))
    assert "EUR/h" in render_markdown(view)
    assert "EUR/h" in render_csv(tables(view)["bill-of-materials"]).splitlines()[0]
    assert "13.82" in plan_summary(in_euro(two_workloads))


@pytest.mark.parametrize("rate", [None, "0.86"])
def test_without_a_rate_there_is_no_report(two_workloads: Plan, rate: Any) -> None:
    with pytest.raises(InputError, match=r"report\.currency: no rate for EUR; give it with its date"):
        view_of(in_euro(two_workloads, rate))
