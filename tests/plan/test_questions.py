"""What a buyer asks next: each answer is the cost of a plan that is built for the changed question."""

from __future__ import annotations

import functools

import pytest

from planner.plan import questions
from planner.plan.audit import audit
from planner.plan.build import build
from planner.plan.io import parse_plan, plan_json
from planner.plan.questions import Questions
from planner.plan.types import Plan
from planner.report.text import plan_summary
from planner.report.write import pages_of
from planner.spec.load import load_spec_text
from tests.plan.plans import CREATED, TWO, catalog, plan_of

NOT_OWNED = TWO.replace("  owned: [{node: l4-8x-pcie, count: 1}]\n", "")


@functools.cache
def asked(text: str = TWO) -> Plan:
    """The plan with every question answered, as it is read back."""
    every = Questions(alternatives=True, sensitivity=True, pareto=True)
    loaded = load_spec_text(text, "spec.yaml")
    return parse_plan(plan_json(build(loaded, catalog(), created=CREATED, asked=every).plan))


def cost_of(plan: Plan) -> float:
    """USD per hour of the fleet."""
    assert plan.totals is not None
    assert plan.totals.usd_per_hour is not None
    return plan.totals.usd_per_hour


def test_an_alternative_costs_the_fleet_what_pinning_it_costs() -> None:
    best = plan_of()
    (tune,) = (w for w in best.workloads if w.name == "tune")
    for other in tune.alternatives:
        pinned = plan_of(TWO.rstrip() + f"\n    pin: {{gpu: {other.gpu}, precision: {other.config['precision']}}}\n")
        assert other.fleet_is_proven
        assert other.fleet_usd_per_hour_more == pytest.approx(cost_of(pinned) - cost_of(best), abs=1e-5)
        assert "the cheapest fleet with it costs" in other.why_not


def test_one_gpu_type_alone_costs_what_a_fleet_of_it_costs() -> None:
    rows = {row.gpu: row for row in asked(NOT_OWNED).one_gpu_type}
    assert set(rows) == {"h100-sxm-80gb", "l4", "l40s"}
    for gpu, row in rows.items():
        alone = plan_of(NOT_OWNED.replace('["h100-sxm-80gb", l4, l40s]', f"[{gpu}]"))
        assert row.is_proven
        assert row.usd_per_hour == pytest.approx(cost_of(alone), abs=1e-5)


def test_the_front_runs_from_the_cheapest_fleet_to_the_least_power() -> None:
    front = asked().pareto
    assert front[0]["usd_per_hour"] == pytest.approx(cost_of(plan_of()), abs=1e-5)
    frugal = plan_of(TWO.replace("name: two", "name: two\nobjective: power"))
    assert frugal.totals is not None
    assert front[-1]["it_power_kw"] == pytest.approx(frugal.totals.it_power_kw, abs=0.01)
    costs = [p["usd_per_hour"] for p in front]
    powers = [p["it_power_kw"] for p in front]
    assert costs == sorted(costs)
    assert powers == sorted(powers, reverse=True)


def test_an_owned_node_more_is_worth_the_rent_that_it_saves() -> None:
    """What one more is said to save is what the fleet with two of them costs less."""
    (more,) = (e for e in asked().sensitivity if e["kind"] == "one_more_node")
    two = plan_of(TWO.replace("node: l4-8x-pcie, count: 1", "node: l4-8x-pcie, count: 2"))
    assert more["node"] == "l4-8x-pcie"
    assert more["saves_usd_per_hour"] == pytest.approx(cost_of(plan_of()) - cost_of(two), abs=1e-5)
    assert more["saves_usd_per_month"] == pytest.approx(more["saves_usd_per_hour"] * 730)


def test_the_choice_flips_above_the_price_and_not_below_it() -> None:
    flips = [e for e in asked(NOT_OWNED).sensitivity if e["kind"] == "price_flip"]
    assert flips
    for flip in flips:
        assert flip["usd_per_hour_flip"] >= flip["usd_per_hour_now"]
        assert flip["usd_per_hour_flip"] == pytest.approx(flip["usd_per_hour_now"] * (1 + flip["share"]), rel=1e-6)
        assert flip["text"].startswith(f"if {flip['offer']} costs ")
        assert set(flip["to_gpus"]) == set(flip["workloads"].values())


def test_answers_stand_in_every_report() -> None:
    plan = asked()
    text = " ".join(plan_summary(plan).split())
    pages = pages_of(plan, ("html", "md"))
    for said in ("Cost against power:", "All on one GPU type:", "One more node"):
        assert said in text
        assert said in pages.html
    assert audit(plan) == ()


def test_what_is_not_asked_for_is_solved_as_far_as_it_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is a count of columns, so that every machine solves the same fleets again."""
    loaded = load_spec_text(TWO, "spec.yaml")
    monkeypatch.setattr(questions, "MOST_COLUMNS_AGAIN", 0)
    monkeypatch.setattr(questions, "MOST_NEARBY", 0)
    none = build(loaded, catalog(), created=CREATED).plan
    assert all(a.fleet_usd_per_hour_more is None for w in none.workloads for a in w.alternatives)
    assert none.one_gpu_type == ()
    monkeypatch.setattr(questions, "MOST_COLUMNS_AGAIN", 200)
    some = build(loaded, catalog(), created=CREATED).plan
    first = [w.alternatives[0].fleet_usd_per_hour_more is not None for w in some.workloads]
    assert first == [True, True]
    assert all(a.fleet_usd_per_hour_more is None for w in some.workloads for a in w.alternatives[1:])


def test_other_alternatives_are_solved_near_the_best_fleet_and_said_to_cost_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exact = asked(TWO)
    monkeypatch.setattr(questions, "MOST_COLUMNS_AGAIN", 0)
    near = build(load_spec_text(TWO, "spec.yaml"), catalog(), created=CREATED).plan
    pairs = [
        (a, b)
        for v, w in zip(near.workloads, exact.workloads, strict=True)
        for a, b in zip(v.alternatives, w.alternatives, strict=True)
        if a.fleet_usd_per_hour_more is not None and b.fleet_usd_per_hour_more is not None
    ]
    assert len(pairs) >= 4
    assert all(a.fleet_usd_per_hour_more >= b.fleet_usd_per_hour_more - 1e-9 for a, b in pairs)
    assert all("at most" in a.why_not for a, _ in pairs if not a.fleet_is_proven and a.fleet_usd_per_hour_more)


def test_questions_in_money_are_not_answered_for_another_objective() -> None:
    plan = asked(TWO.replace("name: two", "name: two\nobjective: power"))
    assert plan.pareto == plan.sensitivity == ()
    assert any("for objective cost only" in w for w in plan.warnings)


def test_other_traffic_is_solved_again_and_more_never_costs_less() -> None:
    plan = asked()
    less, more = (e for e in plan.sensitivity if e["kind"] == "traffic")
    assert plan.totals is not None
    assert (less["share"], more["share"]) == (-0.2, 0.2)
    assert less["usd_per_hour"] <= plan.totals.usd_per_hour + 1e-6 <= more["usd_per_hour"] + 2e-6


def test_what_other_traffic_costs_is_what_a_spec_with_it_costs() -> None:
    """An independent oracle: the same targets written into the spec."""
    plan = asked()
    (more,) = (e for e in plan.sensitivity if e["kind"] == "traffic" and e["share"] > 0)
    written = plan_of(TWO.replace("requests_per_second: 6", "requests_per_second: 7.2")).totals
    assert written is not None
    assert more["usd_per_hour"] == pytest.approx(written.usd_per_hour, abs=1e-4)
