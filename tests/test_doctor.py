"""The doctor names what is missing and the command that mends it; it never fails itself."""

from __future__ import annotations

import builtins
import subprocess
from typing import Any

import pytest

from planner import doctor
from planner.report.pdf import MISSING_LIBRARIES


def fail_import(monkeypatch: pytest.MonkeyPatch, name: str, error: Exception) -> None:
    real = builtins.__import__

    def refuse(wanted: str, *rest: Any, **more: Any) -> Any:
        if wanted == name:
            print("a banner that does not belong on stdout")
            raise error
        return real(wanted, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)


def test_a_missing_system_library_comes_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_import(monkeypatch, "weasyprint", OSError("cannot load library 'libgobject-2.0-0'"))
    found = doctor.pdf()
    assert found.state == "missing"
    assert "libgobject" in found.detail
    assert "apt-get install" in found.mend
    assert "libpangoft2-1.0-0" in found.mend
    assert found.mend in MISSING_LIBRARIES, "the report and the doctor name the same command"
    assert capsys.readouterr().out == ""


def test_a_missing_package_comes_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_import(monkeypatch, "weasyprint", ImportError("no module"))
    assert doctor.pdf().mend.endswith("pip install weasyprint")
    monkeypatch.setattr(doctor, "PLANNING_PACKAGES", ("numpy", "no-such-package"))
    found = doctor.packages()
    assert (found.state, found.detail) == ("missing", "no no-such-package")


def test_a_machine_without_gpu_is_fine_for_planning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda _: None)
    assert doctor.gpu().state == "optional"


def test_a_broken_driver_is_told_and_does_not_stop_the_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    def time_out(*_: Any, **__: Any) -> Any:
        raise subprocess.TimeoutExpired("nvidia-smi", 10)

    monkeypatch.setattr(doctor.shutil, "which", lambda _: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(doctor.subprocess, "run", time_out)
    found = doctor.gpu()
    assert (found.state, found.mend) == ("optional", "install the driver again, then restart")


def test_shown_gpus_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = "NVIDIA L4, 23034 MiB, 580.65\nNVIDIA L4, 23034 MiB, 580.65\n"
    monkeypatch.setattr(doctor.shutil, "which", lambda _: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(doctor.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, shown, ""))
    assert doctor.gpu().detail == "NVIDIA L4, 23034 MiB, 580.65; NVIDIA L4, 23034 MiB, 580.65"


def test_every_absence_says_how_to_mend_it_or_that_it_need_not_be() -> None:
    for finding in doctor.examine():
        assert finding.state == "present" or finding.mend or "needs no" in finding.detail
