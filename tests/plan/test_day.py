"""Fleets that do one thing by day and another by night."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.plan.audit import audit
from planner.plan.day import times_of_day
from planner.plan.io import plan_json
from planner.plan.types import Plan
from planner.report.view import view_of
from planner.spec.day import day_share
from planner.spec.load import load_spec_text
from tests.plan.plans import plan_of

Raw = dict[str, Any]
SPEC = """
version: 1
name: daily
site: {{electricity_usd_per_kwh: 0.12, pue: 1.3, carbon_g_per_kwh: 300}}
fleet:
  gpus: ["h100-sxm-80gb"]
  procurement: [on_demand]
  providers: [lambda]
workloads:
  - name: chat
    model: meta-llama/Llama-3.1-8B
    mode: infer
    engine: vllm
    sequence: {{input: 1000, output: 250}}
    precision: bf16
    targets: {{requests_per_second: 4}}
    {chat}
  - name: tune
    model: meta-llama/Llama-3.1-8B
    mode: train
    engine: transformers
    method: lora
    sequence: 2048
    batch: {{global: 16}}
    targets: {{tokens: 5.0e7, deadline_hours: 48}}
    {tune}
"""
APART = SPEC.format(chat="hours: 08:00-20:00", tune="hours: 20:00-08:00")
ALWAYS = SPEC.format(chat="", tune="")


def test_what_trains_at_night_uses_the_gpus_that_serve_by_day() -> None:
    apart, always = plan_of(APART), plan_of(ALWAYS)
    assert apart.totals is not None
    assert always.totals is not None
    assert (apart.totals.gpus, always.totals.gpus) == (1, 2)
    assert apart.status == "optimal"
    assert audit(apart) == ()
    assert [t.hours for t in apart.times_of_day] == [("20:00-08:00",), ("08:00-20:00",)]
    assert {(load.time_index, *load.replicas) for load in apart.nodes} == {(0, "tune"), (1, "chat")}
    assert always.times_of_day == ()


def test_shares_of_the_cost_by_hours_are_no_more_than_the_fleet() -> None:
    plan = plan_of(APART)
    assert plan.totals is not None
    assert plan.totals.usd_per_hour is not None
    shares = [w.cost.usd_per_hour or 0.0 for w in plan.workloads]
    assert sum(shares) <= plan.totals.usd_per_hour * (1 + 1e-9)
    assert shares[0] == pytest.approx(plan.totals.usd_per_hour / 2)


def test_a_deadline_counts_all_hours_of_which_half_are_worked() -> None:
    plan = plan_of(APART)
    tune = next(w for w in plan.workloads if w.name == "tune")
    (met,) = tune.demand_met
    assert tune.performance.tokens_per_second is not None
    assert met.got == pytest.approx(2 * 5.0e7 / tune.performance.tokens_per_second / 3600)


def test_hours_that_meet_share_nothing() -> None:
    plan = plan_of(SPEC.format(chat="hours: 08:00-20:00", tune="hours: 19:59-08:00"))
    assert plan.totals is not None
    assert plan.totals.gpus == 2
    assert audit(plan) == ()


def test_periods_and_hours_go_together() -> None:
    plan = plan_of(APART + "periods: [{months: 12, demand: {}}, {months: 12, demand: {chat: 4}}]\n")
    assert plan.status == "optimal"
    assert audit(plan) == ()
    assert {load.time_index for p in plan.periods for load in p.loads} == {0, 1}


def test_the_report_says_the_hours() -> None:
    view = view_of(plan_of(APART))
    assert view.workloads[0].summary.endswith("08:00-20:00")
    assert {g.title.rpartition(", ")[2] for g in view.fleet} == {"20:00-08:00", "08:00-20:00"}
    assert any("counts as taking no time" in w for w in view.warnings)


ranges = st.tuples(st.integers(0, 23), st.integers(0, 23)).filter(lambda e: e[0] != e[1])


@given(st.lists(st.none() | ranges, min_size=1, max_size=5))
def test_times_of_day_are_the_whole_day_and_each_workload_has_its_hours(asked: list[tuple[int, int] | None]) -> None:
    rows = [
        f"- {{name: w{n}, model: gpt2, mode: infer, sequence: 8{f', hours: {e[0]:02d}:00-{e[1]:02d}:00' if e else ''}}}"
        for n, e in enumerate(asked)
    ]
    workloads = load_spec_text("workloads:\n" + "\n".join(rows)).spec.workloads
    day = times_of_day(workloads)
    assert sum(day_share(t.hours) for t in day) == pytest.approx(1.0)
    assert len({t.workloads for t in day}) == len(day)
    for w in workloads:
        assert sum(day_share(t.hours) for t in day if w.name in t.workloads) == pytest.approx(w.day_share)


def tampered(change: Callable[[Raw], object]) -> tuple[str, ...]:
    raw = json.loads(plan_json(plan_of(APART)))
    change(raw)
    raw["body_sha256"] = ""
    return audit(Plan.model_validate(raw))


CHANGES: dict[str, Callable[[Raw], object]] = {
    "they add up to 12 hours": lambda r: r["times_of_day"].pop(),
    "tune runs 24 hours a day": lambda r: r["times_of_day"][1]["workloads"].append("tune"),
    "hold 0 parts of tune": lambda r: r["nodes"][0].update(time_index=1),
    "workloads.tune.targets.deadline_hours": lambda r: r["inputs"]["spec"]["workloads"][1].update(
        hours=["20:00-20:30"]
    ),
}


@pytest.mark.parametrize("words", CHANGES)
def test_tampering_with_hours_is_found(words: str) -> None:
    found = tampered(CHANGES[words])
    assert any(words in message for message in found), found
