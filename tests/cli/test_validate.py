"""`plan validate`: one thing at a time, exit codes as the replay's verdict, suites that carry their predictions."""

from __future__ import annotations

import json
import shutil
import sys
import types
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from planner.cli.main import run
from validation import infer, train
from validation import run as run_module
from validation.device import Cpu
from validation.record import Quantity, Record, Source
from validation.suite import trials_in

ROOT = Path(__file__).parents[2]
SMALL = """\
version: 1
name: two
fleet: {gpus: [h200-sxm-141gb]}
workloads:
  - {name: infer-a, model: gpt2, mode: infer, engine: transformers, sequence: {input: 64, output: 8}, batch: 1,
     precision: [bf16], pin: {gpu: h200-sxm-141gb}}
  - {name: small-b, model: gpt2, mode: infer, engine: transformers, sequence: {input: 64, output: 8}, batch: 1,
     precision: [bf16], pin: {gpu: l4}}
"""


def code_of(*arguments: str | Path) -> int | str | None:
    with pytest.raises(SystemExit) as end:
        run([str(a) for a in arguments])
    return end.value.code


def record(name: str, verdict: str) -> Record:
    figure = Quantity(
        rule="allocated", measured=120.0, unit="bytes", predicted=100.0, interval=(95, 105), verdict=verdict
    )
    return Record(id=name, origin="measured", source=Source(name="test data"), quantities=(figure,))


@pytest.mark.parametrize("arguments", [[], ["plan.json", "--suite", "smoke"], ["plan.json", "--collect", "x"]])
def test_exactly_one_source_is_named(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("validate", *arguments) == 2
    assert "give one of PLAN, --suite, --records and --collect" in capsys.readouterr().err


def test_an_unknown_suite_is_answered_with_the_shipped_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("validate", "--suite", "nothing") == 2
    assert "single-gpu, smoke" in capsys.readouterr().err


@pytest.mark.parametrize(("verdict", "code"), [("inside", 0), ("outside", 1), ("unproven", 0)])
def test_the_exit_code_is_the_verdict(
    verdict: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run_module, "run_trials", lambda trials, settings: [record("a", verdict)])
    shipped = ROOT / "plans" / "quickstart" / "plan.json"
    assert code_of("validate", shipped, "-o", tmp_path / "out", "--json") == code
    shown = json.loads(capsys.readouterr().out)
    assert bool(shown["mismatches"]) is (code == 1)
    page = (tmp_path / "out" / "validation.html").read_text()
    assert f'class="{verdict}"' in page
    assert ("Outside the prediction" in page) is (code == 1)
    assert "Not proven on a device" in page


def test_the_page_escapes_what_a_plan_brings(tmp_path: Path) -> None:
    from planner.replay.page import render_page

    page = render_page([record("<script>alert(1)</script>", "outside")])
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_a_simulated_plan_is_shown_beside_what_was_predicted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The simulation itself is tested where it lies; here it gives one figure that is off."""
    fake = types.ModuleType("validation.simulate.plan")
    vars(fake)["simulate_plan"] = lambda raw, only: [replace(record(raw["name"], "outside"), origin="simulated")]
    monkeypatch.setitem(sys.modules, "validation.simulate.plan", fake)
    shipped = ROOT / "plans" / "quickstart" / "plan.json"
    assert code_of("validate", shipped, "--level", "simulate", "-o", tmp_path) == 1
    assert "MISMATCH quickstart: allocated" in capsys.readouterr().out
    assert (tmp_path / "simulated" / "quickstart.json").is_file()
    assert code_of("validate", "--suite", "smoke", "--level", "simulate") == 2


def test_a_suite_is_predicted_and_carries_everything(tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text(SMALL)
    assert code_of("validate", "--suite", path, "--predict-only", "-o", tmp_path / "out") == 0
    first, second = trials_in(tmp_path / "out" / "two.json")
    assert (first.gpu, second.gpu, first.group, second.group) == ("h200-sxm-141gb", "l4", "infer", "small")
    assert first.model["model_type"] == "gpt2"
    assert first.options["optimizer_step"] == "foreach"
    assert first.expected["weights"].predicted > 2 * 124_000_000
    assert first.expected["allocated"].interval is not None
    assert code_of("validate", "--suite", path, "--gpu", "a100-sxm-80gb", "--predict-only", "-o", tmp_path) == 0
    assert [t.gpu for t in trials_in(tmp_path / "two.json")] == ["a100-sxm-80gb", "l4"]


class Gpu(Cpu):
    """A device that says it is a GPU."""

    kind = "cuda"


def test_every_workload_of_the_shipped_suites_can_be_replayed(tmp_path: Path) -> None:
    """The issue's list: 60 configurations over 8 architectures, and pairs at the edge of memory."""
    assert code_of("validate", "--suite", "single-gpu", "--predict-only", "-o", tmp_path) == 0
    trials = trials_in(tmp_path / "single-gpu.json")
    assert len(trials) >= 60
    assert all(t.model for t in trials)
    assert len({t.model["model_type"] for t in trials}) >= 8
    assert {t.config.get("method") for t in trials} == {None, "full", "lora", "qlora"}
    assert {t.config.get("checkpointing") for t in trials} >= {"none", "full"}
    assert {t.text("precision") for t in trials} >= {"bf16", "fp16", "fp32", "fp8", "int8", "nf4", "bf16-mixed"}
    assert {t.text("attention") for t in trials} == {"sdpa", "eager", "flash"}
    assert len({t.share("weights_cpu") for t in trials}) >= 4
    for part in ("weights_disk", "kv_cpu", "optimizer_cpu", "params_cpu"):
        assert any(t.share(part) for t in trials), part
    assert {t.gpu for t in trials} >= {"rtx-4080-16gb", "l4", "a10g", "a100-sxm-40gb", "h100-sxm-80gb"}
    assert sum(t.seconds or 0.0 for t in trials) < 27 * 60
    for t in trials:  # nothing in it that the replay would refuse
        (infer if t.mode == "infer" else train).check(t, Gpu())
    edges = {t.id: t.fits for t in trials if t.group == "edge"}
    assert len(edges) >= 8
    assert all(fits is name.endswith("-fits") for name, fits in edges.items())
    assert not [t.id for t in trials if t.fits is False and t.group != "edge"]


def test_the_first_trials_cover_every_group(tmp_path: Path) -> None:
    code_of("validate", "--suite", "single-gpu", "--predict-only", "-o", tmp_path)
    trials = trials_in(tmp_path / "single-gpu.json")
    groups = {t.group for t in trials} - {"small", "edge"}
    assert {t.group for t in trials[:12]} >= groups


def test_jobs_are_written_instead_of_run(tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text(SMALL)
    assert code_of("validate", "--suite", path, "--emit", "slurm", "-o", tmp_path / "out") == 0
    assert (tmp_path / "out" / "infer-a" / "replay.sbatch").is_file()


def test_a_plan_of_another_schema_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(ROOT / "plans" / "quickstart" / "plan.json", tmp_path / "plan.json")
    raw: dict[str, Any] = json.loads((tmp_path / "plan.json").read_text())
    (tmp_path / "plan.json").write_text(json.dumps({**raw, "schema": "planner/plan/v9"}))
    assert code_of("validate", tmp_path / "plan.json", "-o", tmp_path / "out") == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("plan: ")
    assert "\n" not in said
