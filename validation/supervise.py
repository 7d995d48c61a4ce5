"""Run one child process to its end, whatever that is: every way to fail is a verdict, none ends the run.

The child gets a session of its own, a time limit, a limit on host memory, no network hints and a work folder for
everything it may write. Its result is a JSON file of limited size; its talk is kept from the end, and cut.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from validation.record import Outcome
from validation.units import gib

PACKAGE_PARENT = Path(__file__).resolve().parent.parent
MAX_RESULT_BYTES = 16 * 2**20
MAX_TALK_BYTES = 256 * 2**10
POLL_S = 0.05
HOST_POLL_S = 0.5
"""Walking the process table is not free, so host memory is looked at less often."""
GRACE_S = 3.0
"""Seconds between asking a child to end and killing it."""
HOST_SHARE = 0.92
"""Part of the host memory free at the start that a child may take before it is stopped."""
OOM_WORDS = re.compile(
    r"CUDA out of memory|OutOfMemoryError|CUDA error: out of memory|CUBLAS_STATUS_ALLOC_FAILED|"
    r"HIP out of memory|failed to allocate \w+ buffer|cudaMalloc failed: out of memory|"
    r"No available memory for the cache|larger than the available KV cache memory|"
    r"Not enough memory\. Please try to (?:increase|decrease) --mem-fraction-static",
    re.IGNORECASE,
)
"""What frameworks say when device memory is short: torch, cuBLAS, ROCm, llama.cpp, vLLM (its pool holds no block, or
not one request), SGLang."""
CAUSE = re.compile(r"\b(?:\w*Error|\w*Exception|[Ee]rror|FATAL|Killed)\b:? ")
CONSEQUENCE = re.compile(r"See root cause above|Engine core (?:initialization|proc)|leaked \w+ objects")
"""What engines of several processes say last, long after what went wrong."""
CACHES = (
    "HF_HOME",
    "TORCH_HOME",
    "TRITON_CACHE_DIR",
    "TORCHINDUCTOR_CACHE_DIR",
    "XDG_CACHE_HOME",
    "CUDA_CACHE_PATH",
    "MPLCONFIGDIR",
    "VLLM_CACHE_ROOT",
    "NUMBA_CACHE_DIR",
)
ALLOCATOR_SETTINGS = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF", "PYTORCH_ALLOC_CONF")
"""The user's own change how much the allocator keeps, which predictions do not know of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a child ended, what it wrote as its result, and the end of what it said."""

    outcome: Outcome
    result: Mapping[str, Any]
    talk: str
    started: float
    """Seconds since the epoch."""


def child_environment(work: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a child: offline, quiet, and every cache inside the work folder."""
    kept = {name: value for name, value in os.environ.items() if name not in ALLOCATOR_SETTINGS}
    for name in CACHES:
        kept[name] = str(work / "cache" / name.lower())
    kept |= {
        "HOME": str(work),
        "TMPDIR": str(work),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # the order in which the driver's own tool counts the cards
        "PYTHONPATH": os.pathsep.join([str(PACKAGE_PARENT), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    return kept | dict(extra or {})


def worker_command(trial_file: Path, result_file: Path, *, device: str, force: bool = False) -> list[str]:
    """The child that replays one trial with torch; `force` = whoever else may be on the card."""
    command = [sys.executable, "-m", "validation.worker", str(trial_file), str(result_file), "--device", device]
    return [*command, "--force"] if force else command


def supervise(
    command: Sequence[str],
    *,
    work: Path,
    result_file: Path,
    time_limit_s: float,
    host_limit_bytes: int | None = None,
    extra_environment: Mapping[str, str] | None = None,
    on_tick: Callable[[], None] | None = None,
) -> Finished:
    """Run the command in `work` until it ends, hangs or takes too much, and say which."""
    work.mkdir(parents=True, exist_ok=True)
    limit = host_limit_bytes if host_limit_bytes is not None else int(HOST_SHARE * available_host_bytes())
    started, clock = time.time(), time.monotonic()
    with subprocess.Popen(
        command,
        cwd=work,
        env=child_environment(work, extra_environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as child:
        assert child.stdout is not None
        talk = Tail(child.stdout)
        stopped, look_at = "", clock
        try:
            while child.poll() is None:
                if time.monotonic() - clock > time_limit_s:
                    stopped = "timeout"
                elif limit and time.monotonic() >= look_at:
                    look_at = time.monotonic() + HOST_POLL_S
                    stopped = "host" if resident_bytes(child.pid) > limit else ""
                if stopped:
                    end_group(child)
                    break
                if on_tick is not None:
                    on_tick()
                time.sleep(POLL_S)
        finally:
            end_group(child)
        text = talk.text()
    result = read_result(result_file)
    outcome = verdict(child.returncode, result, text, stopped=stopped, limit_s=time_limit_s, limit_bytes=limit)
    seconds = time.monotonic() - clock
    timed = Outcome(state=outcome.state, detail=outcome.detail, seconds=round(seconds, 3))
    return Finished(outcome=timed, result=result or {}, talk=text, started=started)


def verdict(
    returncode: int, result: Mapping[str, Any] | None, talk: str, *, stopped: str, limit_s: float, limit_bytes: int
) -> Outcome:
    """What the end of a child means."""
    if stopped == "timeout":
        return Outcome(state="timeout", detail=f"not done after {limit_s:g} s; ended")
    if stopped == "host":
        return Outcome(state="no-memory", detail=f"took more than {gib(limit_bytes)} of host memory; ended")
    if result is not None and isinstance(result.get("state"), str):
        return Outcome(state=result["state"], detail=str(result.get("detail", ""))[:2000])
    if OOM_WORDS.search(talk):
        return Outcome(state="oom", detail=last_line(talk, OOM_WORDS))
    if returncode < 0:
        name = signal.Signals(-returncode).name
        hint = "; the host may be out of memory" if name == "SIGKILL" else ""
        return Outcome(state="crashed", detail=f"ended by {name}{hint}")
    if returncode:
        return Outcome(state="error", detail=f"exit code {returncode}: {cause(talk)}")
    return Outcome(state="garbage", detail=f"exit code 0 without a readable result: {last_line(talk)}")


def read_result(path: Path) -> dict[str, Any] | None:
    """The JSON object a child left; None where there is none, it is too large, or it is something else."""
    try:
        if path.is_symlink() or path.stat().st_size > MAX_RESULT_BYTES:
            return None
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return raw if isinstance(raw, dict) else None


def last_line(talk: str, wanted: re.Pattern[str] | None = None) -> str:
    """The last line that says something, or the last that holds a pattern; at most 300 characters.

    >>> last_line("one\\n two  \\n\\n")
    'two'
    """
    lines = [line.strip() for line in talk.splitlines() if line.strip()]
    if wanted is not None:
        lines = [line for line in lines if wanted.search(line)] or lines
    return lines[-1][:300] if lines else "no output"


def cause(talk: str) -> str:
    """The last line that names an error, passing over those that only follow from it; else the last line.

    >>> cause("ValueError: no such dtype\\nRuntimeError: Engine core initialization failed. See root cause above.")
    'ValueError: no such dtype'
    """
    lines = [line for line in talk.splitlines() if CAUSE.search(line) and not CONSEQUENCE.search(line)]
    return last_line("\n".join(lines) or talk)


def end_group(child: subprocess.Popen[bytes]) -> None:
    """End the child and all it started: ask first, then kill."""
    for sign, wait_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, GRACE_S)):
        try:
            os.killpg(child.pid, sign)
        except (ProcessLookupError, PermissionError):
            break
        try:
            child.wait(timeout=wait_s)
        except subprocess.TimeoutExpired:
            continue
    child.wait()


class Tail:
    """Reads a stream to its end in the background and keeps its last part; a flood costs no memory."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._kept = bytearray()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while chunk := os.read(self._stream.fileno(), 65536):
            self._kept += chunk
            del self._kept[:-MAX_TALK_BYTES]

    def so_far(self) -> str:
        """What is kept now."""
        return bytes(self._kept).decode("utf-8", errors="replace")

    def text(self) -> str:
        """What was kept, once the stream has ended (or its last writer has been killed)."""
        self._thread.join(timeout=GRACE_S)
        return self.so_far()


def available_host_bytes() -> int:
    """Host memory that can be taken without swapping; 0 where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    found = [line.split() for line in lines if line.startswith("MemAvailable:")]
    return int(found[0][1]) * 2**10 if found else 0


def resident_bytes(pid: int) -> int:
    """Host memory that a process and its descendants in one session hold; 0 where the system does not say."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        session, pages = int(fields[3]), int(fields[21])
        if session == pid:
            total += pages * os.sysconf("SC_PAGE_SIZE")
    return total
