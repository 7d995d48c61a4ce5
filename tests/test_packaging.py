"""What is built is what runs: the wheel carries its data and works outside the checkout."""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONSTARTUP")}
    return subprocess.run([str(c) for c in command], cwd=cwd, env=env, capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    done = run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def plan_command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`plan` in an environment of its own: the wheel, and the installed packages but not this checkout."""
    venv = tmp_path_factory.mktemp("venv")
    assert run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=venv).returncode == 0
    paths = {"base": str(venv), "platbase": str(venv)}
    packages = Path(sysconfig.get_path("purelib", vars=paths))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    # A plain .pth line adds the folder without running the .pth files in it, so the editable checkout stays out.
    (packages / "installed.pth").write_text(sysconfig.get_path("purelib") + "\n" + "\n".join(site.getsitepackages()))
    script = venv / "plan.py"
    script.write_text("from planner.cli.main import main\nmain()\n")
    python = venv / ("Scripts" if os.name == "nt" else "bin") / "python"
    launcher = venv / "plan"
    launcher.write_text(f"#!/bin/sh\nexec '{python}' '{script}' \"$@\"\n")
    launcher.chmod(0o755)
    return launcher


def test_the_wheel_carries_its_data(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for prefix in (
        "catalogs/gpus/",
        "catalogs/models/",
        "catalogs/offers/",
        "catalogs/engines/",
        "templates/",
        "plans/",
    ):
        assert any(n.startswith(f"planner/_data/{prefix}") for n in names), prefix
    assert "planner/_data/plans/quickstart/workloads.yaml" in names
    for code in ("fa", "de"):
        assert f"planner/report/locales/{code}/LC_MESSAGES/messages.mo" in names
    assert {"fa.css", "OFL-Vazirmatn.txt"} <= {n.removeprefix("planner/_data/templates/fonts/") for n in names}
    assert "validation/__init__.py" in names
    assert not [n for n in names if n.startswith(("tests/", "catalogs/", "templates/", "plans/")) or ".actual" in n]


def test_an_installed_planner_builds_an_example_outside_the_checkout(plan_command: Path, tmp_path: Path) -> None:
    assert run(plan_command, "init", "--example", "quickstart", cwd=tmp_path).returncode == 0
    done = run(plan_command, "build", "workloads.yaml", "-o", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    plan = json.loads((tmp_path / "out/plan.json").read_text())
    assert plan["status"] == "optimal"
    assert (tmp_path / "out/report.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "out/report.html").stat().st_size > 10_000


def test_the_installed_planner_is_not_the_checkout(plan_command: Path, tmp_path: Path) -> None:
    done = run(plan_command, "doctor", "--json", cwd=tmp_path)
    (data,) = [f for f in json.loads(done.stdout)["findings"] if f["part"] == "catalogs and templates"]
    assert data["state"] == "present"
    assert "_data" in data["detail"]
    assert not Path(data["detail"]).is_relative_to(ROOT)


def requirements(extra: str | None = None) -> set[str]:
    """Names of the packages that the project asks for, or that an extra adds."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] if extra is None else project["optional-dependencies"][extra]
    return {Requirement(line).name.casefold() for line in lines}


def test_planning_needs_no_torch_and_replaying_no_solver() -> None:
    assert not requirements() & {"torch", "transformers", "accelerate", "peft"}
    assert {"torch", "transformers", "accelerate", "peft"} <= requirements("validate")
    assert not requirements("validate") & {"ortools", "weasyprint"}


def test_every_direct_dependency_is_pinned_to_one_version() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = [Requirement(line) for line in lines]
    assert all(len(p.specifier) == 1 and next(iter(p.specifier)).operator == "==" and p.url is None for p in pins)
    names = {p.name.casefold() for p in pins}
    assert len(names) == len(pins)
    wanted = requirements() | requirements("test") | requirements("validate")
    assert wanted - names == {"torch"}, "torch alone is pinned in the Makefile"


def test_the_two_readme_commands_are_what_ci_runs() -> None:
    readme = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in ("demo", "test"):
        assert f"make {target}" in readme
        assert f"\n{target}:" in makefile
    assert "\nmake test\n" in (ROOT / ".ci/run").read_text()
    assert "torch==2.13.0" in makefile
