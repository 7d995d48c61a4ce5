"""What holds for every command: where text goes, exit codes, and streams that never fail."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from planner import __version__
from planner.cli import main
from planner.errors import InfeasibleError, InputError, MismatchError, MissingPartError, NoPlanInTimeError

RunPlan = Callable[..., Any]

TINY_PROBLEM = {
    "schema": "planner/problem/v1",
    "node_types": {"a": {"gpus": 8, "cost": 800}, "b": {"gpus": 1, "cost": 120}},
    "workloads": [
        {
            "id": "w",
            "columns": [
                {"id": "on-a", "node": "a", "gpus": 4, "replicas": 2},
                {"id": "on-b", "node": "b", "gpus": 1, "replicas": 6},
            ],
        }
    ],
}


def shell(*arguments: str, **settings: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", "from planner.cli.main import main; main()", *arguments]
    return subprocess.run(command, env={**os.environ, **settings}, capture_output=True, timeout=60)


def test_help_and_version_answer_on_stdout(plan: RunPlan) -> None:
    assert plan("--version").out == f"plan {__version__}\n"
    for arguments in (["--help"], ["-h"], ["build", "-h"], ["catalog", "list", "--help"]):
        done = plan(*arguments)
        assert done.code == 0
        assert done.out.startswith("Usage: plan")
        assert done.err == ""


def test_plan_alone_shows_the_help(plan: RunPlan) -> None:
    done = plan()
    assert "Commands:" in done.out + done.err
    assert done.code in (0, 2)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("spec.yaml:1:1: a", "spec.yaml:2:1: b"), 2),
        (MissingPartError("no pango"), 2),
        (MismatchError("differs"), 1),
        (InfeasibleError("none"), 3),
        (NoPlanInTimeError("late"), 4),
    ],
)
def test_one_place_turns_errors_into_exit_codes(
    plan: RunPlan, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    app = typer.Typer()

    @app.command()
    def fail() -> None:
        raise error

    monkeypatch.setattr(main, "app", app)
    done = plan()
    assert done.code == code
    assert done.err == f"plan: {error}\n"
    assert done.out == ""


def test_a_disk_that_refuses_is_a_message(plan: RunPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    app = typer.Typer()

    @app.command()
    def fail() -> None:
        raise PermissionError(13, "Permission denied", "/somewhere")

    monkeypatch.setattr(main, "app", app)
    done = plan()
    assert (done.code, done.err) == (2, "plan: /somewhere: Permission denied\n")


def test_interrupting_exits_130(plan: RunPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    app = typer.Typer()

    @app.command()
    def wait() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "app", app)
    assert plan().code == 130


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="this system has no SIGPIPE")
def test_a_closed_pipe_ends_quietly() -> None:
    command = f"{sys.executable} -c 'from planner.cli.main import main; main()' catalog list models | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"},
        {"COLUMNS": "20"},
        {"NO_COLOR": "1", "TERM": "dumb"},
    ],
)
def test_no_terminal_is_too_poor(settings: dict[str, str]) -> None:
    for arguments in (["--help"], ["catalog", "show", "l4"], ["estimate", "--help"]):
        done = shell(*arguments, **settings)
        assert done.returncode == 0, done.stderr
        assert b"\x1b" not in done.stdout + done.stderr


def test_names_that_the_encoding_lacks_do_not_crash(folder: Path) -> None:
    spec = folder / "spec.yaml"
    spec.write_text("workloads:\n  - {name: Übersetzung, model: gpt2x, mode: infer, batch: 1, sequence: 9}\n")
    done = shell("check", str(spec), PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    assert done.returncode == 2
    assert b"workloads.?bersetzung.model: unknown model" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["schema"],
        ["schema", "plan"],
        ["schema", "problem"],
        ["catalog", "list", "gpus", "--json"],
        ["catalog", "list", "models", "--json"],
        ["catalog", "list", "offers", "--filter", "l40s", "--json"],
        ["catalog", "show", "h100-sxm-80gb", "--json"],
        ["catalog", "show", "llama-2-7b", "--json"],
        ["doctor", "--json"],
        ["check", "spec.yaml", "--json"],
        ["estimate", "spec.yaml", "--json"],
        ["solve", "problem.json", "--json"],
    ],
    ids=" ".join,
)
def test_json_is_one_document_and_nothing_else(plan: RunPlan, folder: Path, arguments: list[str]) -> None:
    (folder / "spec.yaml").write_text(
        "workloads:\n  - {model: gpt2, mode: infer, batch: 1, sequence: 512, pin: {gpu: l4}}\n"
    )
    (folder / "problem.json").write_text(json.dumps(TINY_PROBLEM))
    done = plan(*arguments)
    assert done.code == 0
    assert json.loads(done.out)
    assert "NaN" not in done.out


def test_check_shows_the_spec_that_the_defaults_make(plan: RunPlan, folder: Path) -> None:
    (folder / "spec.yaml").write_text("workloads:\n  - {model: gpt2, mode: infer, batch: 1, sequence: 512}\n")
    shown = plan("check", "spec.yaml", "--show-defaults")
    (folder / "full.yaml").write_text(shown.out)
    assert "memory_headroom: 0.05" in shown.out
    assert plan("check", "full.yaml", "--json").out == plan("check", "spec.yaml", "--json").out


def test_init_writes_specs_that_check_accepts(plan: RunPlan, folder: Path) -> None:
    assert plan("init").code == 0
    assert plan("check", "workloads.yaml").code == 0
    for example in ("quickstart", "startup", "company", "frontier", "growth", "laptop"):
        assert plan("init", f"{example}.yaml", "--example", example).code == 0
        done = plan("check", f"{example}.yaml")
        assert done.code == 0, done.err


def test_solve_and_verify_agree_and_verify_can_say_no(plan: RunPlan, folder: Path) -> None:
    (folder / "problem.json").write_text(json.dumps(TINY_PROBLEM))
    solution = json.loads(plan("solve", "problem.json", "--json").out)
    assert solution["objective"]["cost"] == 720
    (folder / "solution.json").write_text(json.dumps(solution))
    assert plan("solve", "problem.json", "--verify", "solution.json").code == 0
    solution["objective"]["cost"] = 719
    (folder / "solution.json").write_text(json.dumps(solution))
    done = plan("solve", "problem.json", "--verify", "solution.json")
    assert done.code == 1
    assert "720" in done.err


def test_a_problem_without_solution_exits_3(plan: RunPlan, folder: Path) -> None:
    (folder / "problem.json").write_text(json.dumps({**TINY_PROBLEM, "limits": {"cost": 700}}))
    done = plan("solve", "problem.json")
    assert done.code == 3
    assert "cost" in done.err
    assert "with cost 720" in done.out


def test_unnamed_specs_of_two_files_have_folders_of_their_own(plan: RunPlan, folder: Path) -> None:
    text = "workloads: [{model: gpt2, mode: infer, sequence: 64, batch: 1, pin: {gpu: l4}}]\n"
    for name in ("one.yaml", "two.yaml"):
        (folder / name).write_text(text)
        assert plan("build", name, "--format", "md").code == 0
    assert sorted(p.parent.name for p in folder.glob("plans/*/plan.json")) == ["one", "two"]
