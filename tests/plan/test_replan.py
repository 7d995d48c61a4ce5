"""Plans near an old one: the fewest changes at equal or bounded cost, counted and told."""

from __future__ import annotations

import functools

import pytest

from planner.errors import InputError
from planner.plan.audit import audit
from planner.plan.build import build
from planner.plan.io import parse_plan, plan_json
from planner.plan.replan import OldPlan, place_of, setup
from planner.plan.types import Plan
from planner.report.text import plan_summary
from planner.spec.load import load_spec_text
from tests.plan.plans import CREATED, TWO, catalog, plan_of


def from_old(text: str, old: Plan, extra_share: float = 0.0) -> Plan:
    """The plan of a spec near an old one, as it is read back."""
    start = OldPlan(plan=old, source="old.json", extra_share=extra_share)
    loaded = load_spec_text(text, "spec.yaml")
    return parse_plan(plan_json(build(loaded, catalog(), created=CREATED, from_plan=start).plan))


@functools.cache
def elsewhere() -> Plan:
    """The plan of the same workloads where only L40S may be used."""
    return plan_of(
        TWO.replace('["h100-sxm-80gb", l4, l40s]', "[l40s]").replace("owned: [{node: l4-8x-pcie, count: 1}]", "")
    )


def test_the_same_spec_from_its_own_plan_moves_nothing() -> None:
    old = plan_of()
    new = from_old(TWO, old)
    assert new.moves is not None
    assert (new.moves.count, new.moves.is_fewest) == (0, True)
    assert [w.placements for w in new.workloads] == [w.placements for w in old.workloads]
    assert new.totals == old.totals
    assert new.status == "optimal"
    assert audit(new) == ()


def test_cheapest_plans_only_are_considered_unless_more_may_be_spent() -> None:
    """All on L40S costs more than the best fleet: at equal cost the workloads move, for enough money nothing does."""
    old, best = elsewhere(), plan_of()
    assert old.totals is not None
    assert best.totals is not None
    assert old.totals.usd_per_hour is not None
    assert best.totals.usd_per_hour is not None
    equal = from_old(TWO, old)
    assert equal.moves is not None
    assert equal.moves.count > 0
    assert equal.totals is not None
    assert equal.totals.usd_per_hour == pytest.approx(best.totals.usd_per_hour, rel=1e-6)
    share = old.totals.usd_per_hour / best.totals.usd_per_hour - 1 + 0.2
    near = from_old(TWO, old, share)
    assert near.moves is not None
    assert near.moves.count == 0
    assert near.moves.count_without == equal.moves.count_without
    assert near.moves.least_objective == pytest.approx(best.totals.usd_per_hour, rel=1e-6)
    assert near.totals is not None
    assert near.totals.usd_per_hour == pytest.approx(old.totals.usd_per_hour, rel=1e-6)
    assert near.status == "feasible"
    assert near.solver.gap is not None
    assert near.solver.gap > 0
    assert audit(near) == ()


def test_the_summary_says_what_moves() -> None:
    near = from_old(TWO, elsewhere())
    assert "Against old.json" in " ".join(plan_summary(near).split())
    assert "set up anew" in " ".join(plan_summary(near).split())
    stays = from_old(TWO, plan_of())
    assert "Nothing that runs after old.json has to move" in " ".join(plan_summary(stays).split())


def test_a_limit_of_the_spec_holds_whatever_staying_may_cost() -> None:
    best = plan_of().totals
    assert best is not None
    limited = TWO.replace("usd_per_hour: 60", f"usd_per_hour: {(best.usd_per_hour or 0.0) + 0.001}")
    near = from_old(limited, elsewhere(), 1.0)
    assert audit(near) == ()


def test_a_plan_that_has_nothing_in_common_is_refused_by_name() -> None:
    other = TWO.replace("name: chat", "name: ask").replace("name: tune", "name: teach")
    with pytest.raises(
        InputError, match=r"old.json: none of its workloads \(chat, tune\) is in spec.yaml \(ask, teach\)"
    ):
        from_old(other, plan_of())


def test_an_infeasible_plan_is_no_start() -> None:
    hopeless = plan_of(TWO.replace("usd_per_hour: 60", "usd_per_hour: 0.001"))
    with pytest.raises(InputError, match=r"old.json: this plan is infeasible"):
        from_old(TWO, hopeless)


def test_nodes_that_can_no_longer_be_had_are_told_with_their_workload() -> None:
    without = TWO.replace("l40s]", "]").replace(", ]", "]")
    new = from_old(without, elsewhere())
    assert any("no candidate of this spec can use any more" in w for w in new.warnings)
    assert new.moves is not None
    assert new.moves.count > 0


def test_what_was_to_be_bought_is_by_now_our_own() -> None:
    assert place_of("l4-8x-pcie", "l4-8x-pcie") == place_of("owned:l4-8x-pcie", "l4-8x-pcie")
    assert place_of("aws/g6.xlarge/us", "g6.xlarge") != place_of("gcp/g6.xlarge/us", "g6.xlarge")


def test_batch_follows_demand_and_precision_does_not() -> None:
    running = {"batch": 8, "precision": "bf16"}
    assert setup(running) == setup({**running, "batch": 64})
    assert setup(running) != setup({**running, "precision": "fp8"})
