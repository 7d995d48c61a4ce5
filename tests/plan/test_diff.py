"""What changes between two plans, line by line."""

from __future__ import annotations

from planner.plan.diff import diff
from tests.plan.plans import TWO, plan_of


def test_equal_plans_have_no_changes() -> None:
    assert diff(plan_of(), plan_of()) == ("no changes",)


def test_a_workload_more_is_added_and_back_is_removed() -> None:
    one = plan_of(TWO[: TWO.index("  - name: tune")])
    assert any(line.startswith("+ workload tune:") for line in diff(one, plan_of()))
    assert any(line.startswith("- workload tune:") for line in diff(plan_of(), one))


def test_a_larger_demand_changes_the_total_and_the_replicas() -> None:
    more = plan_of(TWO.replace("requests_per_second: 6", "requests_per_second: 60"))
    lines = diff(plan_of(), more)
    assert any(line.startswith("~ total USD/h:") for line in lines)
    assert any(line.startswith("~ workload chat:") for line in lines)
    assert lines[-1].endswith("to remove")


def test_becoming_infeasible_is_the_first_line() -> None:
    gone = plan_of(TWO.replace("ttft_ms: 1500", "ttft_ms: 1"))
    assert diff(plan_of(), gone)[0] == "~ status: optimal -> infeasible"


def test_purchases_and_the_whole_horizon_are_told_apart() -> None:
    old = plan_of()
    assert old.totals is not None
    new = old.model_copy(update={"totals": old.totals.model_copy(update={"capex_usd": 5.0, "usd_horizon": 7.0})})
    lines = diff(old, new)
    assert any(line.startswith("~ total USD of purchases:") for line in lines)
    assert any(line.startswith("~ total USD over the horizon:") for line in lines)
