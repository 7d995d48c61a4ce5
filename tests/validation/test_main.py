"""`python -m validation` from a bare copy of its folder: offline, writing nowhere else."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.validation.conftest import ROOT, sealed
from validation.__main__ import main

ALLOWED = {"torch", "transformers", "accelerate", "peft", "bitsandbytes", "torchao", "validation"}
GUARD = """
import os, sys

STRANGERS = {"planner", "pydantic", "pydantic_core", "ortools", "weasyprint", "typer", "rich", "scipy"}
INSIDE = tuple(os.environ["MAY_WRITE"].split(os.pathsep))
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

class Without:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in STRANGERS else self.finder.find_spec(name, path, target)

def watched(event, args):
    if event in ("socket.connect", "socket.sendto"):
        address = args[1]
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            refuse(f"reaches out to {address}")
    elif event == "socket.getaddrinfo" and args[0] not in (None, "127.0.0.1", "::1", "localhost", os.uname().nodename):
        refuse(f"asks for the address of {args[0]}")
    elif event == "open" and isinstance(args[2], int) and args[2] & WRITES:
        inside(args[0])
    elif event in ("os.remove", "os.rmdir", "os.mkdir"):
        inside(args[0], args[-1])
    elif event in ("os.truncate", "os.chmod", "shutil.rmtree"):
        inside(args[0])
    elif event in ("os.rename", "os.symlink", "os.link"):
        inside(args[1])

def inside(path, folder=-1):
    if isinstance(path, int):
        return
    below = os.readlink(f"/proc/self/fd/{folder}") if folder >= 0 else ""
    place = os.path.abspath(os.path.join(below, os.fsdecode(path)))
    if not place.startswith(INSIDE):
        refuse(f"writes to {place}")

def refuse(what):
    with open(os.environ["BREACHES"], "a") as file:
        file.write(what + chr(10))
    raise PermissionError(what)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
sys.addaudithook(watched)
"""
"""Put into the start-up of every Python that the run starts: the planner and its libraries are not installed, nothing
reaches beyond this machine, nothing is written but below the folders named."""


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder with a copy of the package and nothing of the planner."""
    folder = tmp_path / "bare"
    shutil.copytree(ROOT / "validation", folder / "validation", ignore=shutil.ignore_patterns("__pycache__", "records"))
    (folder / "sitecustomize.py").write_text(GUARD)
    return folder


def run_bare(bare: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "HF_HOME")}
    environment |= {"PYTHONPATH": str(bare), "HOME": str(bare / "home"), "PYTHONDONTWRITEBYTECODE": "1"}
    breaches = bare.parent / "breaches"
    may_write = [str(bare / "out"), "/dev/", "/proc/self/", str(breaches)]
    environment |= {"MAY_WRITE": os.pathsep.join(may_write), "BREACHES": str(breaches)}
    command = [sys.executable, "-m", "validation", *arguments]
    done = subprocess.run(command, cwd=bare, env=environment, capture_output=True, text=True, timeout=240)
    assert not breaches.exists(), breaches.read_text()
    return done


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


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import pydantic", "No module named 'pydantic'"),
        ("import planner", "No module named 'planner'"),
        ("open('elsewhere', 'w')", "writes to"),
        ("import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)", "reaches out to|asks for"),
    ],
)
def test_the_guard_of_these_tests_holds(bare: Path, code: str, says: str) -> None:
    environment = {"PYTHONPATH": str(bare), "MAY_WRITE": str(bare / "out"), "BREACHES": str(bare / "out")}
    environment |= {"PATH": os.environ["PATH"]}
    done = subprocess.run([sys.executable, "-c", code], cwd=bare, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.search(says, done.stderr)


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


def test_the_replay_is_written_for_the_python_of_older_gpu_hosts() -> None:
    """Ubuntu 22.04 has 3.10; the planner itself needs a newer one."""
    newer = {"UTC", "StrEnum", "Self", "ExceptionGroup", "tomllib", "assert_never", "batched"}
    paths = [p for p in (ROOT / "validation").rglob("*.py") if "simulate" not in p.relative_to(ROOT).parts]
    for path in paths:
        tree = ast.parse(path.read_text(), feature_version=(3, 10))
        names = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
        names |= {a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom | ast.Import) for a in n.names}
        assert not names & newer, path


def test_the_parent_loads_no_torch() -> None:
    code = "import sys, validation.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
