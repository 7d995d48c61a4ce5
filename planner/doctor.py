"""What is there and what is missing on this machine, with the command that mends it."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from planner.resources import data_folder

State = Literal["present", "missing", "optional"]
"""`optional`: absent, and only some commands need it."""

PLANNING_PACKAGES = ("ortools", "numpy", "pydantic", "PyYAML", "jinja2", "typer")
PDF_PACKAGES_APT = "libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"
PDF_PACKAGES_LINE = f"apt-get install -y --no-install-recommends {PDF_PACKAGES_APT}"
GPU_QUERY_TIMEOUT_S = 10.0
OLDEST_PYTHON = (3, 11)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One part of the machine."""

    part: str
    state: State
    detail: str
    mend: str = ""
    """Command or step that brings the part; empty where it is present."""

    def line(self) -> str:
        """The finding on one line."""
        mark = {"present": "ok", "missing": "MISSING", "optional": "absent"}[self.state]
        return f"{mark:8}{self.part}: {self.detail}" + (f"\n{'':8}mend: {self.mend}" if self.mend else "")

    def as_dict(self) -> dict[str, object]:
        """The finding as plain data."""
        return asdict(self)


def examine() -> tuple[Finding, ...]:
    """Look at every part once. Starts no download and changes nothing."""
    checks: tuple[Callable[[], Finding], ...] = (python, packages, data, pdf, gpu, torch)
    return tuple(check() for check in checks)


def python() -> Finding:
    """The interpreter."""
    running = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        return Finding(
            part="Python", state="missing", detail=f"{running} is too old", mend="install Python 3.11 or newer"
        )
    return Finding(part="Python", state="present", detail=running)


def packages() -> Finding:
    """The packages that planning needs."""
    found: list[str] = []
    absent: list[str] = []
    for name in PLANNING_PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            absent.append(name)
    if absent:
        mend = f"{sys.executable} -m pip install {' '.join(absent)}"
        return Finding(part="planning packages", state="missing", detail=f"no {', '.join(absent)}", mend=mend)
    return Finding(part="planning packages", state="present", detail=", ".join(found))


def data() -> Finding:
    """The catalogs, templates and examples that came with this installation."""
    try:
        folders = [str(data_folder(name)) for name in ("catalogs", "templates", "plans")]
    except FileNotFoundError as err:
        return Finding(
            part="catalogs and templates", state="missing", detail=str(err), mend="install the package again"
        )
    return Finding(part="catalogs and templates", state="present", detail=os.path.commonpath(folders))


def pdf() -> Finding:
    """WeasyPrint and the system libraries it draws with."""
    part = "PDF reports"
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            import weasyprint
        except ImportError:
            mend = f"{sys.executable} -m pip install weasyprint"
            return Finding(part=part, state="missing", detail="no package weasyprint", mend=mend)
        except OSError as err:  # a system library that WeasyPrint loads; its own message names it
            return Finding(part=part, state="missing", detail=first_line(err), mend=PDF_PACKAGES_LINE)
    return Finding(part=part, state="present", detail=f"weasyprint {weasyprint.__version__}")


def gpu() -> Finding:
    """The GPUs that the NVIDIA driver shows; planning needs none."""
    part = "GPU"
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return Finding(part=part, state="optional", detail="no nvidia-smi; planning needs no GPU")
    try:
        query = [tool, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
        shown = subprocess.run(query, capture_output=True, text=True, timeout=GPU_QUERY_TIMEOUT_S, check=True)
    except (subprocess.SubprocessError, OSError) as err:
        detail = f"nvidia-smi fails: {first_line(err)}"
        return Finding(part=part, state="optional", detail=detail, mend="install the driver again, then restart")
    return Finding(part=part, state="present", detail="; ".join(shown.stdout.split("\n")).rstrip("; ") or "none shown")


def torch() -> Finding:
    """The torch that replays on a GPU use; planning needs none."""
    if importlib.util.find_spec("torch") is None:
        mend = "make test, or pip install torch==2.13.0"
        return Finding(part="torch", state="optional", detail="not installed; only replays need it", mend=mend)
    return Finding(part="torch", state="present", detail=version("torch"))


def first_line(err: BaseException) -> str:
    """The first line of an error's text."""
    return (str(err).splitlines() or [type(err).__name__])[0]
