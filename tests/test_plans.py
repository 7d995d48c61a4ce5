"""The worked examples: each spec gives the plan that is committed beside it, proven and audited."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from planner.catalog.load import Catalog
from planner.plan.audit import audit
from planner.plan.build import build_plan
from planner.plan.io import read_plan, write_plan
from planner.plan.types import Plan
from planner.spec.load import load_spec

ROOT = Path(__file__).parent.parent
EXAMPLES = ("quickstart", "startup", "company", "frontier", "growth", "laptop")
CREATED = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load()


def key_figures(plan: Plan) -> dict[str, object]:
    """What a reader of the example would notice if it moved."""
    assert plan.totals is not None
    return {
        "status": plan.status,
        "usd_per_hour": plan.totals.usd_per_hour,
        "capex_usd": plan.totals.capex_usd,
        "power_kw": plan.totals.power_kw,
        "gpus": plan.totals.gpus,
        "purchases": [(p.offer, p.procurement, p.nodes) for p in plan.purchases],
        "workloads": [(w.name, w.gpu, w.gpus, w.memory.device_peak_bytes) for w in plan.workloads],
    }


def test_every_example_is_among_these() -> None:
    assert sorted(EXAMPLES) == sorted(p.parent.name for p in ROOT.glob("plans/*/workloads.yaml"))


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_gives_the_plan_beside_it(
    name: str, catalog: Catalog, update_golden: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    plan = build_plan(load_spec(Path("plans", name, "workloads.yaml")), catalog, created=CREATED)
    assert plan.status == "optimal"
    assert plan.solver.gap == 0
    assert audit(plan) == ()
    assert all(d.met for w in plan.workloads for d in w.demand_met)
    if update_golden:
        steady = plan.model_copy(update={"solver": plan.solver.model_copy(update={"wall_s": 0.0})})
        write_plan(steady, Path("plans", name))
    committed = read_plan(Path("plans", name, "plan.json"))
    assert_same(key_figures(plan), key_figures(committed))


def assert_same(now: dict[str, object], committed: dict[str, object]) -> None:
    """Money and power may differ in the last digits between machines; the rest is exact."""
    for key, value in committed.items():
        expected = pytest.approx(value, rel=1e-9) if isinstance(value, float) else value
        assert now[key] == expected, f"{key} moved; --update-golden rewrites the plan"
