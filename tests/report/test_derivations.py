"""The appendix for engineers says every step of every estimate, and nobody else gets it."""

from __future__ import annotations

from planner.report.html import render_html
from planner.report.view import view_of
from tests.plan.plans import plan_of


def test_engineers_get_every_step_with_its_numbers_and_source() -> None:
    plan = plan_of()
    view = view_of(plan, "engineering")
    told = {(d.name, line.figure, line.result) for d in view.derivations for line in d.lines}
    asked = {(w.name, step.figure, step.result) for w in plan.workloads for step in w.derivation}
    assert asked
    assert told == asked
    assert render_html(view).count("<br>= <b>") == sum(len(w.derivation) for w in plan.workloads)


def test_other_readers_do_not_get_it() -> None:
    for audience in ("all", "management", "procurement"):
        view = view_of(plan_of(), audience)
        assert view.derivations == ()
        assert "derivations" not in [s.id for s in view.sections]
