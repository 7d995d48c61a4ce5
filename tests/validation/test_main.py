"""`python -m validation` from a bare copy of its folder: offline, writing nowhere else."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.validation.conftest import ROOT, sealed
from validation.__main__ import main

ALLOWED = {"torch", "transformers", "accelerate", "peft", "bitsandbytes", "torchao", "validation"}
NO_NETWORK = """
import socket
def refuse(self, address, *rest):
    if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
        raise AssertionError(f"reaches out to {address}")
    return whole(self, address, *rest)
whole, socket.socket.connect = socket.socket.connect, refuse
"""
"""Put into the start-up of every Python that the run starts."""


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder with a copy of the package and nothing of the planner."""
    folder = tmp_path / "bare"
    shutil.copytree(ROOT / "validation", folder / "validation", ignore=shutil.ignore_patterns("__pycache__", "records"))
    (folder / "sitecustomize.py").write_text(NO_NETWORK)
    return folder


def run_bare(bare: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "HF_HOME")}
    environment |= {"PYTHONPATH": str(bare), "HOME": str(bare / "home"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "validation", *arguments]
    return subprocess.run(command, cwd=bare, env=environment, capture_output=True, text=True, timeout=240)


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_a_bare_copy_replays_a_plan_offline_and_writes_into_its_output_folder_alone(
    bare: Path, plan_file: Path
) -> None:
    shutil.copy(plan_file, bare / "plan.json")
    before = files(bare)
    done = run_bare(bare, "plan.json", "-o", "out", "--device", "cpu", "--json")
    assert done.returncode == 0, done.stderr
    (record,) = json.loads(done.stdout)["records"]
    assert record["outcome"]["state"] == "ok", record["outcome"]
    assert "tiny model" in record["emulated"]["model"]
    assert {q["verdict"] for q in record["quantities"]} == {"unproven"}
    assert files(bare) - before == {"out/cpu/test-plan-chat.json", "out/SUMMARY.md"}


def test_two_ranks_train_under_torchrun(bare: Path, plan: dict[str, Any]) -> None:
    work = plan["workloads"][0]
    work |= {"mode": "train", "config": TRAIN, "fits": True}
    (bare / "plan.json").write_text(json.dumps(sealed(plan)))
    done = run_bare(bare, "plan.json", "-o", "out", "--device", "cpu", "--json")
    assert done.returncode == 0, done.stderr
    (record,) = json.loads(done.stdout)["records"]
    assert record["outcome"]["state"] == "ok", record["outcome"]
    assert record["details"]["ranks"] == 2
    assert record["details"]["trainable"] == record["details"]["parameters"]


TRAIN = {
    "method": "full",
    "precision": "bf16-mixed",
    "optimizer": "adamw",
    "checkpointing": "full",
    "sharding": "zero3",
    "attention": "sdpa",
    "data_parallel": 8,
    "micro_batch": 1,
    "accumulation": 2,
    "batch": 16,
    "sequence_tokens": 2048,
    "offload": {"optimizer_cpu": 0.0, "params_cpu": 0.0},
}


@pytest.mark.parametrize("change", [{"name": "other"}, {"schema": "planner/plan/v9"}])
def test_a_plan_tampered_with_or_of_another_schema_is_refused(
    plan: dict[str, Any], change: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan | change))
    assert main([str(path), "-o", str(tmp_path / "out")]) == 2
    assert "validation:" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_dry_run_says_what_would_be_run_and_for_how_long(plan_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Start 12 s, 2.3 GiB of weights at 20 GB/s, four prefills of 0.1 s, 66 steps of 18 ms: 13.7 s."""
    assert main([str(plan_file), "--dry-run"]) == 0
    header, line, total = capsys.readouterr().out.splitlines()
    assert line.split() == ["test-plan-chat", "l4", "4.00", "GiB", "yes", "14"]
    assert header.split()[-1] == "seconds"
    assert total == "1 trials, about 1 min if all goes as predicted"


def test_the_package_needs_nothing_but_the_standard_library_and_the_model_libraries() -> None:
    strangers = set()
    paths = [p for p in (ROOT / "validation").rglob("*.py") if "simulate" not in p.relative_to(ROOT).parts]
    assert len(paths) > 20
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            strangers |= {n.split(".")[0] for n in names} - ALLOWED - set(sys.stdlib_module_names)
    assert not strangers


def test_the_parent_loads_no_torch() -> None:
    code = "import sys, validation.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
