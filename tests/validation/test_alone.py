"""A run has its folder alone, and ends its children whatever ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.validation.conftest import ROOT
from validation.alone import held, stopped_by_signals
from validation.record import RecordError

NEVER_ENDS = """
import sys
from pathlib import Path
from validation.alone import stopped_by_signals
from validation.supervise import supervise
work = Path(sys.argv[1])
child = "import os, time; open('pid.part', 'w').write(str(os.getpid())); os.rename('pid.part', 'pid'); time.sleep(600)"
with stopped_by_signals():
    supervise([sys.executable, "-c", child], work=work, result_file=work / "none.json", time_limit_s=600)
"""


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    with held(tmp_path / "out"), pytest.raises(RecordError, match="another run writes there"), held(tmp_path / "out"):
        pass
    with held(tmp_path / "out"):  # free again
        pass
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_an_error_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="cannot be written"), held(tmp_path / "file"):
        pass


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_told_to_end_takes_its_child_with_it(sign: signal.Signals, tmp_path: Path) -> None:
    # Whoever runs the tests may ignore hang-ups (nohup), which children inherit.
    program = f"import signal; signal.signal({sign.value}, signal.SIG_DFL)\n{NEVER_ENDS}"
    run = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, stderr=subprocess.DEVNULL)
    for _ in range(600):
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            break
        threading.Event().wait(0.05)
    child = int((tmp_path / "pid").read_text())
    run.send_signal(sign)
    assert run.wait(timeout=30) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopped_by_signals():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
