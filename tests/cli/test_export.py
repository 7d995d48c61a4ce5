"""`plan export`: where files go, what is said, and exit codes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from planner.cli.main import run

PLANS = Path(__file__).parents[2] / "plans"


def export(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        run(["export", *arguments])
    return int(ended.value.code or 0)


def test_files_go_beside_the_plan_into_a_folder_of_the_target(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(PLANS / "startup/plan.json", tmp_path)
    assert export(str(tmp_path), "--to", "vllm") == 0
    said = capsys.readouterr()
    script = tmp_path / "vllm/assistant.sh"
    assert said.out == f"{script}\n"
    assert os.access(script, os.X_OK)
    assert said.err.startswith("weekly-tune: not for vllm: vllm does not train")


def test_nothing_to_export_is_exit_2_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert export(str(PLANS / "laptop/plan.json"), "--to", "vllm", "-o", str(out)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "70b-at-home: not for vllm: the plan runs it with llamacpp; use --to llamacpp" in said.err
    assert not out.exists()


def test_an_unknown_target_is_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert export(str(PLANS / "laptop/plan.json"), "--to", "ollama") == 2
    assert "llamacpp" in capsys.readouterr().err
