"""Services that several configurations serve together."""

from __future__ import annotations

import pytest

from planner.errors import InputError
from planner.plan.audit import audit
from planner.plan.build import build_plan
from planner.plan.replan import OldPlan
from planner.spec.load import load_spec_text
from tests.plan.plans import CREATED, TWO, catalog, plan_of

LARGE = TWO.replace("requests_per_second: 6,", "requests_per_second: 40,")
"""More than the node of our own carries."""
MIXED = LARGE.replace("    engine: vllm\n", "    engine: vllm\n    mixed: true\n")


def test_a_service_too_large_for_our_node_fills_it_first() -> None:
    plan = plan_of(MIXED)
    assert plan.status == "optimal"
    assert audit(plan) == ()
    placements = plan.workloads[0].placements
    assert {"owned", "buy"} <= {p.procurement for p in placements}
    assert sum(p.share_of_demand for p in placements) == pytest.approx(1.0)
    assert sum(p.replicas * p.figures["requests_per_second"] for p in placements) == pytest.approx(
        plan.workloads[0].performance.requests_per_second
    )


def test_a_mix_costs_no_more_than_the_best_single_configuration() -> None:
    one, several = plan_of(LARGE), plan_of(MIXED)
    assert one.totals is not None
    assert several.totals is not None
    assert len(one.workloads[0].placements) == 1
    assert several.totals.usd_per_hour < one.totals.usd_per_hour


def test_a_service_that_one_replica_carries_is_not_mixed() -> None:
    small = TWO.replace("requests_per_second: 6,", "requests_per_second: 1,")
    mixed, alone = plan_of(small.replace("    engine: vllm\n", "    engine: vllm\n    mixed: true\n")), plan_of(small)
    (placement,) = mixed.workloads[0].placements
    assert placement.replicas == 1
    assert mixed.totals is not None
    assert alone.totals is not None
    assert mixed.totals.usd_per_hour == pytest.approx(alone.totals.usd_per_hour)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (("requests_per_second: 40, ", ""), "needs requests_per_second"),
        (("    mixed: true\n", "    mixed: true\n    pin: {replicas: 2}\n"), "contradicts pin.replicas 2"),
    ],
)
def test_a_mix_needs_a_demand_and_replicas_that_nobody_fixed(change: tuple[str, str], text: str) -> None:
    with pytest.raises(InputError, match=text):
        load_spec_text(MIXED.replace(*change), "spec.yaml")


def test_a_mix_cannot_be_kept_near_an_old_plan() -> None:
    old = OldPlan(plan=plan_of(TWO), source="old.json")
    with pytest.raises(InputError, match=r"spec.yaml:\d+:\d+: workloads.chat.mixed: .*leave --from out"):
        build_plan(load_spec_text(MIXED, "spec.yaml"), catalog(), created=CREATED, from_plan=old)


def test_chosen_ways_keep_their_latency_by_the_full_queueing_model() -> None:
    """They are sized by its short form; the plan's times are those of the full one."""
    for text in (
        MIXED,
        MIXED.replace("ttft_ms: 1500, tpot_ms: 60", "ttft_ms: 900, tpot_ms: 30, latency_percentile: 99"),
    ):
        plan = plan_of(text)
        assert plan.status == "optimal"
        assert all(d.met for d in plan.workloads[0].demand_met)
        assert audit(plan) == ()
