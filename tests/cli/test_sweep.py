"""`plan sweep` from end to end: a table or one document, results in a folder, a bar only where somebody watches."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planner.cli import sweep
from tests.plan.test_sweep import SPEC

RunPlan = Callable[..., Any]


@pytest.fixture
def small(folder: Path) -> Path:
    path = folder / "small.yaml"
    path.write_text(SPEC)
    return path


def test_scenarios_come_out_as_a_table_with_the_values_in_front(plan: RunPlan, small: Path) -> None:
    done = plan("sweep", small, "--vary", "fleet.gpus=[l4],[t4]", "--vary", "workloads.chat.batch=1,2")
    assert done.code == 0, done.err
    head, *rows = done.out.splitlines()
    assert head.split()[:3] == ["gpus", "batch", "status"]
    assert [row.split()[:2] for row in rows] == [['["l4"]', "1"], ['["l4"]', "2"], ['["t4"]', "1"], ['["t4"]', "2"]]
    assert all("chat: 1 x" in row for row in rows)
    assert Path("plans/small-sweep/scenarios.jsonl").exists()
    assert "█" not in done.err


def test_json_is_one_document(plan: RunPlan, small: Path) -> None:
    done = plan("sweep", small, "--vary", "horizon.months=12,36", "--json", "-o", "out")
    document = json.loads(done.out)
    assert document["schema"] == "planner/sweep/v1"
    assert document["vary"] == ["horizon.months"]
    assert [s["values"]["horizon.months"] for s in document["scenarios"]] == [12, 36]


def test_a_spec_with_mistakes_is_refused_as_elsewhere(plan: RunPlan, small: Path) -> None:
    small.write_text(SPEC.replace("mode: infer", "mode: infre"))
    done = plan("sweep", small, "--vary", "horizon.months=12")
    assert done.code == 2
    assert "small.yaml:4:" in done.err
    small.write_text(SPEC)
    assert plan("sweep", small, "--vary", "horizon.months=12", "--workers", "2", "--cluster", "ray://a:1").code == 2


def test_the_bar_is_drawn_over_itself_and_ends_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    sweep.progress(1, 2)
    sweep.progress(2, 2)
    first, second = capsys.readouterr().err.removeprefix("\r").split("\r")
    assert first.endswith(" 1/2")
    assert second.endswith(" 2/2\n")
    assert len(first) == len(second.rstrip("\n"))
