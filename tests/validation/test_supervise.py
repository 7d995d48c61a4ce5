"""Every way a child can end is a verdict: out of memory, crash, hang, garbage, flood, greed."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from validation.supervise import MAX_RESULT_BYTES, Finished, child_environment, supervise

MIB = 2**20


def child(tmp_path: Path, code: str, *, limit_s: float = 20.0, host: int | None = None) -> Finished:
    """Run a child of that code; `RESULT` in it is the path of the result file."""
    result = tmp_path / "work" / "result.json"
    program = f"RESULT = {str(result)!r}\n{code}"
    return supervise(
        [sys.executable, "-c", program],
        work=tmp_path / "work",
        result_file=result,
        time_limit_s=limit_s,
        host_limit_bytes=host,
    )


def test_a_result_is_taken_as_it_is(tmp_path: Path) -> None:
    done = child(tmp_path, 'open(RESULT, "w").write(\'{"state": "ok", "measured": {"step": 1.5}}\')')
    assert (done.outcome.state, done.result["measured"]) == ("ok", {"step": 1.5})


def test_out_of_memory_is_told_by_what_the_framework_says(tmp_path: Path) -> None:
    said = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB."
    done = child(tmp_path, f"import sys; sys.stderr.write({said!r}); sys.exit(1)")
    assert done.outcome.state == "oom"
    assert "Tried to allocate 20.00 GiB" in done.outcome.detail


def test_a_segmentation_fault_is_a_crash_with_its_signal(tmp_path: Path) -> None:
    done = child(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert (done.outcome.state, done.outcome.detail) == ("crashed", "ended by SIGSEGV")


def test_a_hang_ends_at_the_time_limit_even_when_it_ignores_being_asked(tmp_path: Path) -> None:
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    begin = time.monotonic()
    done = child(tmp_path, stubborn, limit_s=0.5)
    assert done.outcome.state == "timeout"
    assert time.monotonic() - begin < 15


@pytest.mark.parametrize("code", ["print('all went well')", 'open(RESULT, "w").write("{not json")'])
def test_success_without_a_readable_result_is_garbage(tmp_path: Path, code: str) -> None:
    assert child(tmp_path, code).outcome.state == "garbage"


def test_a_result_that_is_too_large_or_a_link_is_garbage(tmp_path: Path) -> None:
    big = f'open(RESULT, "w").write(\'{{"state": "ok", "x": "\' + "a" * {MAX_RESULT_BYTES} + \'"}}\')'
    assert child(tmp_path, big).outcome.state == "garbage"
    elsewhere = tmp_path / "elsewhere.json"
    elsewhere.write_text(json.dumps({"state": "ok"}))
    (tmp_path / "work" / "result.json").unlink()
    assert child(tmp_path, f"import os; os.symlink({str(elsewhere)!r}, RESULT)").outcome.state == "garbage"


def test_another_exit_code_is_an_error_with_the_last_words(tmp_path: Path) -> None:
    done = child(tmp_path, "import sys; print('first'); print('no such kernel'); sys.exit(7)")
    assert (done.outcome.state, done.outcome.detail) == ("error", "exit code 7: no such kernel")


def test_a_flood_of_talk_costs_no_memory(tmp_path: Path) -> None:
    done = child(tmp_path, "import sys\nfor _ in range(400): sys.stdout.write('x' * 2**19)\nprint('end')")
    assert len(done.talk) <= MIB
    assert done.talk.rstrip().endswith("end")


def test_a_child_that_takes_too_much_of_the_host_is_ended(tmp_path: Path) -> None:
    done = child(tmp_path, "import time; held = bytearray(300 * 2**20); time.sleep(60)", host=150 * MIB)
    assert done.outcome.state == "no-memory"
    assert "host memory" in done.outcome.detail


def test_what_a_child_leaves_running_is_ended_with_it(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys\n"
        "left = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        'open(RESULT, \'w\').write(\'{"state": "ok", "pid": %d}\' % left.pid)'
    )
    pid = child(tmp_path, code).result["pid"]
    for _ in range(100):
        if not alive(pid):
            break
        time.sleep(0.05)
    assert not alive(pid)


def alive(pid: int) -> bool:
    """A process that is neither gone nor only waiting to be buried."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_an_interrupt_ends_the_child_and_goes_on_up(tmp_path: Path) -> None:
    code = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)"

    def interrupt() -> None:
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        supervise(
            [sys.executable, "-c", code],
            work=tmp_path,
            result_file=tmp_path / "r.json",
            time_limit_s=30,
            on_tick=interrupt,
        )
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_children_are_offline_and_keep_every_cache_in_their_work_folder(tmp_path: Path) -> None:
    kept = child_environment(tmp_path)
    assert (kept["HF_HUB_OFFLINE"], kept["TRANSFORMERS_OFFLINE"]) == ("1", "1")
    inside = ("HOME", "TMPDIR", "HF_HOME", "TORCH_HOME", "TRITON_CACHE_DIR", "XDG_CACHE_HOME", "CUDA_CACHE_PATH")
    assert all(Path(kept[name]).is_relative_to(tmp_path) for name in inside)
