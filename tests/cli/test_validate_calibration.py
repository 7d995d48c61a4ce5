"""`--calibration` of `estimate` and `build`, and `plan calibrate` where there is nothing to measure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from planner.catalog.calibration import Calibration, Factors, calibration_in_use, calibration_text
from planner.cli.main import run

FLAGS = ("--model", "llama-3.1-8b", "--mode", "infer", "--engine", "vllm", "--batch", "1", "--sequence", "2048")
SPEC = """\
version: 1
name: one
fleet: {gpus: [l4]}
workloads:
  - {name: w, model: llama-3.2-1b, mode: infer, engine: vllm, sequence: {input: 256, output: 64},
     targets: {requests_per_second: 1}}
"""


def code_of(*arguments: str | Path) -> int | str | None:
    with pytest.raises(SystemExit) as end:
        run([str(a) for a in arguments])
    return end.value.code


@pytest.fixture
def slow_l4(tmp_path: Path) -> Path:
    """Test data: an L4 with half the bandwidth that the catalogs expect."""
    path = tmp_path / "l4.json"
    made = Calibration(gpu="l4", arch="ada", factors=Factors(bandwidth=0.5), source="test data", as_of="2026-11-22")
    path.write_text(calibration_text(made))
    return path


def test_an_estimate_takes_a_calibration_and_the_next_one_is_as_shipped(
    slow_l4: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    speeds = []
    for more in ((), ("--calibration", str(slow_l4)), ()):
        assert code_of("estimate", *FLAGS, "--gpu", "l4", "--json", *more) == 0
        speeds.append(json.loads(capsys.readouterr().out)["workloads"][0]["performance"]["tpot_s"])
    assert speeds[0] == speeds[2]
    assert speeds[1] > 1.4 * speeds[0]
    assert calibration_in_use() is None


def test_a_plan_names_the_calibration_it_rests_on(slow_l4: Path, tmp_path: Path) -> None:
    spec = tmp_path / "w.yaml"
    spec.write_text(SPEC)
    assert code_of("build", spec, "-o", tmp_path / "out", "--format", "json", "--calibration", slow_l4) == 0
    assumptions = json.loads((tmp_path / "out" / "plan.json").read_text())["inputs"]["assumptions"]
    (used,) = [a for a in assumptions if a["id"] == "calibration-l4"]
    assert (used["value"], used["source"]) == ("bandwidth x 0.500", "test data")


def test_scenarios_of_a_sweep_rest_on_the_calibration_and_are_others_without_it(slow_l4: Path, tmp_path: Path) -> None:
    spec = tmp_path / "w.yaml"
    spec.write_text(SPEC)
    ids = []
    for more in ((), ("--calibration", slow_l4)):
        assert code_of("sweep", spec, "--vary", "horizon.months=12", "-o", tmp_path / "sweep", *more) == 0
        rows = [json.loads(line) for line in (tmp_path / "sweep" / "scenarios.jsonl").read_text().splitlines()]
        ids.append(rows[-1]["id"])
        assert rows[-1]["status"] == "optimal"
    assert ids[0] != ids[1]
    assert calibration_in_use() is None


def test_a_file_that_is_no_calibration_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.json"
    path.write_text("{}")
    assert code_of("estimate", *FLAGS, "--gpu", "l4", "--calibration", path) == 2
    assert "as `plan calibrate` writes it" in capsys.readouterr().err


def test_calibrating_without_a_gpu_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_of("calibrate", "-o", tmp_path / "c.json") == 2
    assert not (tmp_path / "c.json").exists()


def test_calibrating_from_records_without_any_says_what_to_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of("calibrate", "--from-records", "--records", tmp_path, "-o", tmp_path / "c.json") == 2
    assert "plan validate --suite single-gpu" in capsys.readouterr().err
