"""The interactive page: one script that stands in it, the figures of the other pages, and nothing from outside."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from planner.plan.types import Plan
from planner.report.html import INTERACTIVE_PAGE, render_html
from planner.report.interactive import whatif_view
from planner.report.sections import WayNow
from planner.report.view import view_of
from planner.report.write import write_reports
from tests.plan.plans import plan_of


@pytest.fixture(scope="module")
def page(two_workloads: Plan) -> str:
    return render_html(view_of(two_workloads), page=INTERACTIVE_PAGE)


def test_only_the_interactive_page_has_a_script(two_workloads: Plan, page: str) -> None:
    assert page.count("<script>") == 1
    assert "<script" not in render_html(view_of(two_workloads))


def test_it_may_load_nothing(page: str) -> None:
    assert "default-src 'none'" in page
    assert not re.search(r"""(src|href)=["'](?!#|data:)""", page)
    assert not re.search(r"\b(fetch|import|eval|Function|XMLHttpRequest)\(", page)


def test_it_is_written_beside_the_other_page(two_workloads: Plan, tmp_path: Path) -> None:
    paths = write_reports(two_workloads, tmp_path, ("interactive",))
    assert [p.name for p in paths] == ["report-interactive.html"]


def reckoned(way: WayNow) -> float:
    """What the script reckons at sliders in the middle."""
    return int(way.replicas) * int(way.gpus_each) * float(way.cost_each)


def test_what_the_script_reckons_with_gives_the_shown_costs() -> None:
    plan = plan_of()
    view = whatif_view(plan)
    assert view is not None
    for row, workload in zip(view.workloads, plan.workloads, strict=True):
        (planned,) = [w for w in row.ways if w.is_planned]
        assert reckoned(planned) == pytest.approx(workload.cost.usd_per_hour)
        assert len(row.ways) == 1 + len(workload.alternatives)
        costs = [reckoned(w) for w in row.ways]
        assert costs == sorted(costs)
        for way in row.ways:
            assert float(way.cost) == pytest.approx(reckoned(way), abs=0.006)
            assert int(way.gpus) == int(way.replicas) * int(way.gpus_each)
            if way.share_each:
                assert math.ceil(1 / float(way.share_each) - 1e-9) <= int(way.replicas)


def test_a_training_does_not_follow_traffic() -> None:
    view = whatif_view(plan_of())
    assert view is not None
    shares = {row.name: {w.share_each for w in row.ways} for row in view.workloads}
    assert shares["tune"] == {""}
    assert "" not in shares["chat"]


def test_names_from_outside_stay_text(two_workloads: Plan) -> None:
    hostile = '"><script>alert(1)</script>'
    chat = two_workloads.workloads[0].model_copy(update={"gpu": hostile, "gpu_name": hostile, "name": hostile})
    plan = two_workloads.model_copy(update={"workloads": (chat, two_workloads.workloads[1])})
    assert render_html(view_of(plan), page=INTERACTIVE_PAGE).count("<script>") == 1
