"""`plan build` from end to end: what it writes, what it says, and what it leaves when there is no plan."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RunPlan = Callable[..., Any]

SMALL = """\
name: small
fleet: {gpus: [l4, a10g, t4], procurement: [on_demand]}
workloads:
  - {name: chat, model: llama-2-7b, mode: infer, sequence: {input: 500, output: 100}, precision: nf4, batch: 1}
"""
HOPELESS = SMALL.replace("procurement: [on_demand]", "procurement: [on_demand], limits: {usd_per_hour: 0.01}")


@pytest.fixture
def small(folder: Path) -> Path:
    path = folder / "small.yaml"
    path.write_text(SMALL)
    return path


def test_the_plan_and_its_reports_go_where_the_interface_says(plan: RunPlan, small: Path) -> None:
    done = plan("build", small)
    assert done.code == 0, done.err
    assert sorted(os.listdir("plans/small")) == ["plan.json", "problem.json", "report.html", "report.pdf"]
    assert done.out.startswith("small: ")
    assert "USD" in done.out
    document = json.loads(Path("plans/small/plan.json").read_text())
    assert document["schema"] == "planner/plan/v1"
    assert document["status"] == "optimal"


def test_the_formats_asked_for_are_the_ones_written(plan: RunPlan, small: Path) -> None:
    done = plan("build", small, "-o", "out", "--format", "md, json")
    assert done.code == 0
    assert {"plan.json", "report.md", "report.json"} <= set(os.listdir("out"))
    assert not {"report.html", "report.pdf"} & set(os.listdir("out"))


def test_a_second_build_gives_the_same_bytes_but_for_the_times(small: Path) -> None:
    plans = []
    for seed, zone in (("0", "UTC"), ("random", "Asia/Tehran")):
        out = f"out-{seed}"
        command = [sys.executable, "-c", "from planner.cli.main import main; main()", "build", str(small), "-o", out]
        env = {**os.environ, "PYTHONHASHSEED": seed, "TZ": zone}
        subprocess.run([*command, "--format", "md"], env=env, check=True, capture_output=True, timeout=120)
        document = json.loads((small.parent / out / "plan.json").read_text())
        document["solver"]["wall_s"] = document["created"] = None
        plans.append(json.dumps(document))
    assert plans[0] == plans[1]


def test_built_from_its_own_plan_nothing_moves(plan: RunPlan, small: Path) -> None:
    plan("build", small, "-o", "first", "--format", "json")
    done = plan("build", small, "-o", "second", "--format", "json", "--from", "first", "--from-extra", "0.1")
    assert done.code == 0, done.err
    assert "Nothing that runs after first has to move" in " ".join(done.out.split())
    moves = json.loads(Path("second/plan.json").read_text())["moves"]
    assert moves["from_plan"] == "first"
    assert moves["from_sha256"] == json.loads(Path("first/plan.json").read_text())["body_sha256"]
    assert (moves["count"], moves["extra_share"]) == (0, 0.1)


def test_without_a_plan_the_document_says_why_and_the_code_is_3(plan: RunPlan, folder: Path) -> None:
    (folder / "hopeless.yaml").write_text(HOPELESS)
    done = plan("build", "hopeless.yaml", "-o", "out", "--format", "html")
    assert done.code == 3
    assert "no plan exists" in done.err
    assert "hopeless.yaml:2:" in done.err
    assert "fleet.limits.usd_per_hour" in done.err
    document = json.loads((folder / "out/plan.json").read_text())
    assert document["status"] == "infeasible"
    assert document["infeasible"]["relaxations"]
    assert (folder / "out/report.html").exists()


def test_without_the_pdf_libraries_the_rest_is_written_and_the_code_is_2(
    plan: RunPlan, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = small.parent / "broken"
    broken.mkdir()
    (broken / "weasyprint.py").write_text("raise OSError(\"cannot load library 'libgobject-2.0-0'\")\n")
    monkeypatch.setenv("PYTHONPATH", str(broken))
    done = plan("build", small, "-o", "out", "--format", "pdf")
    assert done.code == 2
    assert "apt-get install -y --no-install-recommends libpango-1.0-0" in done.err
    assert {"plan.json", "report.html"} <= set(os.listdir("out"))
    assert "report.pdf" not in os.listdir("out")
    assert done.out.startswith("small: ")


def test_an_unwritable_folder_is_a_message(plan: RunPlan, small: Path) -> None:
    (small.parent / "out").write_text("a file, not a folder")
    done = plan("build", small, "-o", "out")
    assert done.code == 2
    assert "out" in done.err
    assert "Traceback" not in done.err


def test_what_is_built_is_reported_explained_and_compared_without_catalogs(
    plan: RunPlan, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert plan("build", small, "-o", "out", "--format", "md").code == 0
    monkeypatch.setattr("planner.catalog.load.Catalog.load", None)
    again = plan("report", "out", "-o", "again", "--format", "md")
    assert again.code == 0, again.err
    assert Path("again/report.md").read_bytes() == Path("out/report.md").read_bytes()
    assert plan("report", "out/plan.json", "--text").out.startswith("small: ")
    explained = plan("explain", "out", "chat")
    assert explained.code == 0
    assert "6,738,415,616" in explained.out
    assert "nearest: chat" in plan("explain", "out", "chatt").err
    same = plan("diff", "out", "out/plan.json")
    assert same.code == 0
    assert same.out == "no changes\n"


def test_a_workload_that_no_gpu_can_run_is_named_with_the_nearest_miss(plan: RunPlan, folder: Path) -> None:
    (folder / "big.yaml").write_text(SMALL.replace("llama-2-7b", "llama-3.1-405b").replace("nf4", "fp16"))
    done = plan("build", "big.yaml", "-o", "out", "--format", "html")
    assert done.code == 3
    assert "chat" in done.err
    assert "GiB" in done.err
