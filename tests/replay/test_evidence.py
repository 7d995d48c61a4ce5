"""A plan's evidence stands in plan.json and in its report."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.catalog.load import Catalog
from planner.plan.io import parse_plan, plan_json, read_plan
from planner.plan.types import Plan
from planner.replay.evidence import shipped_records, with_evidence
from planner.report.html import render_html
from planner.report.view import view_of
from validation.evidence import evidence_of
from validation.record import Quantity, Record, Source, read_records

ROOT = Path(__file__).parents[2]
NEAR = Record(
    id="near",
    origin="measured",
    source=Source(name="test data <b>"),
    environment={"date": "2026-11-20T10:00:00+00:00"},
    workload={
        "model": "Qwen/Qwen2.5-7B",
        "mode": "infer",
        "engine": "vllm",
        "sequence": {"input": 1024, "output": 256},
        "batch": 128,
        "precision": ["fp8"],
        "pin": {"gpu": "h100-sxm-80gb"},
    },
    quantities=(Quantity(rule="tpot", measured=0.05, unit="s"),),
)


@pytest.fixture(scope="module")
def plan() -> Plan:
    """A shipped plan with a vLLM workload, and evidence from one record of test data."""
    return with_evidence(read_plan(ROOT / "plans" / "company" / "plan.json"), Catalog.load(), [NEAR])


def test_every_workload_says_what_is_unproven_and_what_is_near(plan: Plan) -> None:
    assert [e.workload for e in plan.evidence] == [w.name for w in plan.workloads]
    assert all(e.unproven == ("memory", "speed") for e in plan.evidence)
    near = [n for e in plan.evidence for n in e.near]
    assert near
    assert all(n.differs for n in near)
    (figure,) = near[0].figures
    assert figure.measured == 0.05
    assert figure.predicted is not None
    assert 0.005 < figure.predicted < 0.5


def test_evidence_survives_the_file(plan: Plan) -> None:
    assert parse_plan(plan_json(plan)).evidence == plan.evidence


def test_the_report_shows_measured_beside_predicted_escaped(plan: Plan) -> None:
    page = render_html(view_of(plan))
    assert 'id="evidence"' in page
    assert "50.0 ms" in page
    assert "test data &lt;b&gt;" in page
    assert "plan validate" in page


def test_a_plan_without_evidence_has_no_such_section() -> None:
    bare = read_plan(ROOT / "plans" / "company" / "plan.json").model_copy(update={"evidence": ()})
    assert 'id="evidence"' not in render_html(view_of(bare))


def test_the_shipped_records_are_near_something() -> None:
    found = with_evidence(read_plan(ROOT / "plans" / "company" / "plan.json"), Catalog.load())
    assert any(n.origin == "published" for e in found.evidence for n in e.near)


def test_records_passed_over_unread_say_nothing_of_the_plan(plan: Plan) -> None:
    raw = plan.model_dump(mode="json", by_alias=True)
    every = list(read_records(ROOT / "validation" / "records"))
    some = list(shipped_records(raw))
    assert 0 < len(some) < len(every)
    assert evidence_of(raw, some) == evidence_of(raw, every)
