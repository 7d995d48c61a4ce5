"""Plans over periods: what is there when, what is ordered when, and that the audit counts it all again."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import InputError
from planner.plan.audit import audit
from planner.plan.io import plan_json
from planner.plan.over_time import stretches_of
from planner.plan.types import Plan, PurchaseLine
from planner.units import HOURS_PER_MONTH
from tests.plan.plans import built, plan_of

Raw = dict[str, Any]
SPEC = """
version: 1
name: growing
site: {electricity_usd_per_kwh: 0.12, pue: 1.3, carbon_g_per_kwh: 300}
horizon: {months: 36}
fleet:
  gpus: ["h100-sxm-80gb", l4]
  procurement: [on_demand, reserved_1y, buy]
  providers: [aws, lambda, runpod]
  owned: [{node: l4-8x-pcie, count: 1}]
  lead_months: 3
  limits: {usd_per_hour: 60, nodes: 20}
workloads:
  - name: chat
    model: meta-llama/Llama-3.1-8B
    mode: infer
    engine: vllm
    sequence: {input: 1000, output: 250}
    precision: bf16
    targets: {requests_per_second: 2, ttft_ms: 1500, tpot_ms: 80}
  - name: tune
    model: meta-llama/Llama-3.1-8B
    mode: train
    engine: transformers
    method: qlora
    sequence: 2048
    batch: {global: 16}
    targets: {tokens: 2.0e7, deadline_hours: 24}
"""
PERIODS = """
periods:
  - {months: 6, demand: {chat: 0.5, tune: 0}}
  - {months: 12, demand: {chat: 3}}
  - {months: 12, demand: {chat: 10, tune: 2}}
"""
GROWING = SPEC + PERIODS


def placed(plan: Plan, period: int, workload: str) -> int:
    return next(w.replicas for w in plan.periods[period].workloads if w.name == workload)


def line(plan: Plan, procurement: str) -> PurchaseLine:
    return next(p for p in plan.purchases if p.procurement == procurement)


def test_a_plan_over_periods_is_proven_and_stands_the_audit() -> None:
    plan = plan_of(GROWING)
    assert (plan.status, plan.solver.gap) == ("optimal", 0)
    assert audit(plan) == ()
    assert [p.months for p in plan.periods] == [6, 12, 18], "the last period lasts to the horizon's end"
    assert [p.first_month for p in plan.periods] == [0, 6, 18]


def test_every_period_meets_its_own_demand_and_no_more_than_one_replica_beyond() -> None:
    for period in plan_of(GROWING).periods:
        for w in period.workloads:
            assert all(d.met for d in w.demand_met)
            assert w.capacity is None or w.capacity >= w.factor * (1 - 1e-6)
    factors = [next(w.factor for w in p.workloads if w.name == "chat") for p in plan_of(GROWING).periods]
    assert factors == [0.5, 3.0, 10.0]


def test_a_run_with_factor_0_runs_only_in_the_others() -> None:
    plan = plan_of(GROWING)
    assert [placed(plan, n, "tune") > 0 for n in range(3)] == [False, True, True]
    tune = next(w for w in plan.workloads if w.name == "tune")
    assert tune.period == 2
    deadline = next(d for d in tune.demand_met if d.target == "deadline_hours")
    assert tune.performance.tokens_per_second is not None
    assert deadline.got == pytest.approx(4.0e7 / tune.performance.tokens_per_second / 3600)


def test_money_of_the_periods_adds_up_to_the_horizon() -> None:
    plan = plan_of(GROWING)
    assert plan.totals is not None
    assert plan.totals.usd_horizon == pytest.approx(sum(p.usd_total for p in plan.periods))
    assert plan.totals.usd_horizon == pytest.approx(sum(p.cash_usd for p in plan.periods))
    assert plan.totals.usd_per_hour == pytest.approx(plan.totals.usd_horizon / 36 / HOURS_PER_MONTH)
    assert plan.solver.objective == plan.totals.usd_per_hour


def test_one_period_with_factor_1_costs_what_the_plan_without_periods_costs() -> None:
    """Where nothing is bought late and services run one way, both problems are the same."""
    bare = SPEC.replace("  lead_months: 3\n", "")
    whole, once = plan_of(bare + "periods: [{months: 36, demand: {}}]\n"), plan_of(bare)
    assert whole.totals is not None
    assert once.totals is not None
    assert whole.totals.usd_per_hour is not None
    assert once.totals.usd_per_hour is not None
    assert whole.totals.usd_per_hour <= once.totals.usd_per_hour * (1 + 1e-6)
    assert len(whole.periods) == 1


def test_more_demand_in_one_period_never_costs_less() -> None:
    more = GROWING.replace("chat: 3}", "chat: 4}")
    least, most = plan_of(GROWING).totals, plan_of(more).totals
    assert least is not None
    assert most is not None
    assert most.usd_horizon is not None
    assert least.usd_horizon is not None
    assert most.usd_horizon >= least.usd_horizon * (1 - 1e-9)


BUY = (
    GROWING.replace("[on_demand, reserved_1y, buy]", "[on_demand, buy]")
    .replace('["h100-sxm-80gb", l4]', '["h100-sxm-80gb"]')
    .replace("[aws, lambda, runpod]", "[aws]")
    .replace("owned: [{node: l4-8x-pcie, count: 1}]", "owned: []")
)
"""Rent is dear, so that what is needed for long is bought."""


def test_what_is_bought_is_ordered_its_lead_before_and_stays() -> None:
    plan = plan_of(BUY)
    bought = line(plan, "buy")
    assert bought.period > 0, "three months of lead: nothing bought is there from the start"
    assert bought.last_period == 2
    assert bought.order_month == plan.periods[bought.period].first_month - 3
    ordered = [p.index for p in plan.periods if p.capex_usd]
    assert ordered == [
        n for n, p in enumerate(plan.periods) if p.first_month <= bought.order_month < p.first_month + p.months
    ]
    assert audit(plan) == ()


def test_the_budget_of_a_period_holds() -> None:
    most = max(p.capex_usd for p in plan_of(BUY).periods)
    assert most > 0
    tight = plan_of(BUY.replace("nodes: 20}", f"nodes: 20, capex_usd_per_period: {most - 1}}}"))
    assert max(p.capex_usd for p in tight.periods) < most
    assert audit(tight) == ()


def test_limits_hold_in_every_period_and_a_clash_names_the_line() -> None:
    plan = plan_of(GROWING.replace("usd_per_hour: 60", "usd_per_hour: 0.2"))
    assert plan.status == "infeasible"
    assert plan.infeasible is not None
    assert [c.limit for c in plan.infeasible.conflict] == ["fleet.limits.usd_per_hour"]
    (way_out,) = plan.infeasible.relaxations
    again = plan_of(GROWING.replace("usd_per_hour: 60", f"usd_per_hour: {way_out.value}"))
    assert again.status == "optimal"
    assert audit(again) == ()


def test_where_purchases_alone_come_too_late_the_lead_is_named() -> None:
    plan = plan_of(BUY.replace("[on_demand, buy]", "[buy]"))
    assert plan.infeasible is not None
    assert "fleet.lead_months" in [c.limit for c in plan.infeasible.conflict]
    assert (
        plan_of(BUY.replace("[on_demand, buy]", "[buy]").replace("lead_months: 3", "lead_months: 0")).status
        == "optimal"
    )


def test_pinned_replicas_stay_as_they_are_in_every_period() -> None:
    pinned = GROWING.replace("tpot_ms: 80}", "tpot_ms: 80}\n    pin: {gpu: h100-sxm-80gb, replicas: 2}")
    plan = plan_of(pinned)
    assert [placed(plan, n, "chat") for n in range(3)] == [2, 2, 2]
    assert audit(plan) == ()


def test_without_shared_nodes_every_node_holds_one_workload() -> None:
    plan = plan_of(GROWING.replace("  lead_months: 3", "  share_gpus: false\n  lead_months: 3"))
    assert audit(plan) == ()
    assert all(len(load.replicas) <= 1 for p in plan.periods for load in p.loads)


VARIANTS = {
    "nothing runs at first": SPEC + "periods: [{months: 6, demand: {chat: 0, tune: 0}}, {months: 6, demand: {}}]\n",
    "power before cost": GROWING.replace("name: growing", "name: growing\nobjective: [power, cost]"),
    "carbon": GROWING.replace("name: growing", "name: growing\nobjective: carbon"),
    "spares": GROWING.replace("  lead_months: 3", "  spare_nodes: 1\n  lead_months: 3"),
    "whole nodes, by night": GROWING.replace("  lead_months: 3", "  share_gpus: false\n  lead_months: 3").replace(
        "method: qlora", "method: qlora\n    hours: 20:00-06:00"
    ),
    "mixed on several nodes": GROWING.replace("engine: vllm", "engine: vllm\n    mixed: true\n    least_nodes: 2"),
    "contracts that end inside periods": SPEC.replace(
        "[on_demand, reserved_1y, buy]", "[reserved_1y, reserved_3y, buy]"
    )
    + "periods: [{months: 7, demand: {chat: 1}}, {months: 11, demand: {chat: 3}}]\n",
    "concurrency": GROWING.replace("requests_per_second: 2, ttft_ms: 1500, tpot_ms: 80", "concurrency: 48"),
}


@pytest.mark.parametrize("text", VARIANTS.values(), ids=VARIANTS)
def test_whatever_is_asked_over_periods_stands_the_audit(text: str) -> None:
    plan = plan_of(text)
    assert plan.status == "optimal"
    assert audit(plan) == ()


def test_a_plan_in_use_is_refused_with_periods() -> None:
    from planner.plan.build import build
    from planner.plan.replan import OldPlan
    from planner.spec.load import load_spec_text
    from tests.plan.plans import CREATED, catalog

    old = OldPlan(plan=plan_of(GROWING), source="old.json")
    with pytest.raises(InputError, match=r"periods: a plan over periods cannot be kept near"):
        build(load_spec_text(GROWING, "spec.yaml"), catalog(), created=CREATED, from_plan=old)


def test_a_factor_that_changes_nothing_is_said() -> None:
    plain = GROWING.replace("targets: {tokens: 2.0e7, deadline_hours: 24}", "targets: {}")
    assert any("tune asks for no rate" in w for w in plan_of(plain).warnings)


def test_the_problem_has_the_months_as_lengths() -> None:
    problem = built(GROWING).problem
    assert problem is not None
    assert problem.lengths == (6, 12, 18)
    assert {w.id for w in problem.workloads} == {"chat", "tune in period 2", "tune in period 3"}


@given(st.lists(st.integers(0, 6), min_size=1, max_size=6))
def test_stretches_give_the_counts_back(counts: list[int]) -> None:
    found = stretches_of(counts)
    again = [sum(n for first, last, n in found if first <= p <= last) for p in range(len(counts))]
    assert again == counts
    assert all(number > 0 for _, _, number in found)


def tampered(change: Callable[[Raw], object]) -> tuple[str, ...]:
    raw = json.loads(plan_json(plan_of(GROWING)))
    change(raw)
    raw["body_sha256"] = ""
    return audit(Plan.model_validate(raw))


CHANGES: dict[str, Callable[[Raw], object]] = {
    "2 planned, 3 in the spec": lambda r: r["periods"].pop(),
    "the spec says 6 to 18": lambda r: r["periods"][1].update(months=11),
    "not the 3 of the spec": lambda r: r["periods"][1]["demand"].update(chat=2.0),
    "to be there in time it is": lambda r: r["purchases"][-1].update(order_month=99),
    "periods[2].usd_per_hour": lambda r: r["periods"][2].update(usd_per_hour=0.1),
    "periods[2].usd_total": lambda r: r["periods"][2].update(usd_total=1.0),
    "periods[1].cash_usd": lambda r: r["periods"][1].update(cash_usd=1.0),
    "periods[0].capex_usd": lambda r: r["periods"][0].update(capex_usd=5.0),
    "periods[2].gpus": lambda r: r["periods"][2].update(gpus=1),
    "periods[2].purchases": lambda r: r["periods"][2].update(purchases=[]),
    "replicas on": lambda r: r["periods"][2]["workloads"][0].update(replicas=99),
    "periods[2].workloads.chat.targets": lambda r: r["periods"][2]["workloads"][0]["placements"][0]["figures"].update(
        requests_per_second=0.01
    ),
    "periods[1].nodes": lambda r: r["periods"][1]["loads"].clear(),
    "totals.usd_horizon": lambda r: r["totals"].update(usd_horizon=1.0),
    "totals.nodes": lambda r: r["totals"].update(nodes=1),
    "are owned": lambda r: r["inputs"]["spec"]["fleet"].update(owned=[]),
}


def test_an_honest_plan_over_periods_is_clean() -> None:
    assert tampered(lambda raw: None) == ()


@pytest.mark.parametrize("words", CHANGES)
def test_tampering_with_periods_is_found(words: str) -> None:
    found = tampered(CHANGES[words])
    assert any(words in message for message in found), found
