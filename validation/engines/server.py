"""A serving engine as a child: started, waited for, benchmarked by its own client, ended.

The server's talk goes into a file that grows no further than a limit; start-up figures are read from it. Server and
client are children like any other: a time limit, a session of their own, and the same verdicts.
"""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from validation.record import Outcome
from validation.supervise import OOM_WORDS, Finished, Tail, cause, child_environment, end_group, last_line, supervise
from validation.trial import Trial
from validation.units import MILLI

READY_POLL_S = 0.5
LOCAL = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """How to serve and measure one trial."""

    command: Sequence[str]
    benchmark: Sequence[str]
    result_file: Path
    """Where the benchmark leaves its JSON."""
    port: int
    health: str
    """Path that answers once requests are taken."""
    start_up: Callable[[str], Mapping[str, float]]
    """Figures by rule from the server's talk."""
    num_requests: int
    """That the benchmark sends."""


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as found:
        found.bind((LOCAL, 0))
        return int(found.getsockname()[1])


def serve_and_measure(trial: Trial, work: Path, served: Served) -> Finished:
    """Start the engine, wait until it serves, run its benchmark, end it; figures of both."""
    started, clock = time.time(), time.monotonic()
    with subprocess.Popen(
        served.command,
        cwd=work,
        env=child_environment(work),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as server:
        assert server.stdout is not None
        talk = Tail(server.stdout)
        try:
            ready = wait_until_ready(server, served, deadline=clock + trial.time_limit_s)
            if not ready:
                end_group(server)
                return ended(server.returncode, talk.text(), trial, started, clock, served)
            measured = dict(served.start_up(talk.so_far()))  # later lines, one a request, push these out
            left = max(1.0, trial.time_limit_s - (time.monotonic() - clock))
            begun = time.time()
            client = supervise(served.benchmark, work=work, result_file=served.result_file, time_limit_s=left)
            timed = [begun, time.time()]
        finally:
            end_group(server)
        text = talk.text()
    result = read_benchmark(served.result_file)
    outcome = outcome_of(result, client.outcome, text, asked=served.num_requests)
    if outcome.state == "ok" and result is not None:
        measured |= benchmark_figures(result)
    whole = Outcome(state=outcome.state, detail=outcome.detail, seconds=round(time.monotonic() - clock, 3))
    found = {"measured": measured, "details": {"timed": timed}}
    return Finished(outcome=whole, result=found, talk=text, started=started)


def outcome_of(result: Mapping[str, Any] | None, client: Outcome, talk: str, *, asked: int) -> Outcome:
    """What the benchmark's end means: a rate over requests of which some failed is no figure."""
    if result is None:
        if OOM_WORDS.search(talk):
            return Outcome(state="oom", detail=last_line(talk, OOM_WORDS))
        kept = client if client.state not in ("ok", "garbage") else None
        return kept or Outcome(state="garbage", detail=f"no benchmark result: {client.detail}")
    done = result.get("completed")
    if isinstance(done, int) and done < asked:
        state = "oom" if OOM_WORDS.search(talk) else "error"
        return Outcome(state=state, detail=f"{asked - done} of {asked} requests failed: {cause(talk)}")
    return Outcome(state="ok")


def wait_until_ready(server: subprocess.Popen[bytes], served: Served, *, deadline: float) -> bool:
    """True once the health path answers; False where the server ends or time does."""
    while time.monotonic() < deadline:
        if server.poll() is not None:
            return False
        if answers(served):
            return True
        time.sleep(READY_POLL_S)
    return False


def answers(served: Served) -> bool:
    """The health path says 200 now. Asked on this machine alone, past any proxy."""
    asked = http.client.HTTPConnection(LOCAL, served.port, timeout=2)
    try:
        asked.request("GET", served.health)
        return asked.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        asked.close()


def ended(returncode: int, text: str, trial: Trial, started: float, clock: float, served: Served) -> Finished:
    """The verdict on a server that never served."""
    seconds = round(time.monotonic() - clock, 3)
    if OOM_WORDS.search(text):
        state, detail = "oom", last_line(text, OOM_WORDS)
    elif seconds >= trial.time_limit_s:
        state, detail = "timeout", f"did not serve within {trial.time_limit_s:g} s"
    elif returncode < 0 and -returncode != signal.SIGTERM:
        state, detail = "crashed", f"ended by {signal.Signals(-returncode).name}"
    else:
        state, detail = "error", f"exit code {returncode}: {cause(text)}"
    result = {"measured": dict(served.start_up(text))}
    return Finished(
        outcome=Outcome(state=state, detail=detail, seconds=seconds), result=result, talk=text, started=started
    )


def unavailable(detail: str) -> Finished:
    """The end of a trial whose engine is not here."""
    return Finished(outcome=Outcome(state="unsupported", detail=detail), result={}, talk="", started=time.time())


def read_benchmark(path: Path) -> dict[str, Any] | None:
    """What a benchmark left: a JSON object, or the last line of a file of them."""
    try:
        lines = path.read_text(encoding="utf-8").strip().splitlines()
        raw = json.loads("".join(lines) if lines and lines[0].strip() == "{" else lines[-1])
    except (OSError, ValueError, IndexError):
        return None
    return raw if isinstance(raw, dict) else None


def benchmark_figures(raw: Mapping[str, Any]) -> dict[str, float]:
    """Figures by rule from the result of `vllm bench serve` or `sglang.bench_serving`, which name them alike."""
    total = raw.get("total_token_throughput", raw.get("total_throughput"))
    found = {
        "output_rate": raw.get("output_throughput"),
        "token_rate": total,
        "request_rate": raw.get("request_throughput"),
        "ttft": _seconds(raw.get("mean_ttft_ms")),
        "tpot": _seconds(raw.get("mean_tpot_ms")),
    }
    return {rule: float(value) for rule, value in found.items() if value is not None}


def _seconds(milliseconds: Any) -> float | None:
    return None if milliseconds is None else float(milliseconds) * MILLI


def numbers(pattern: str, text: str) -> list[float]:
    """The first group of every match as a number, thousands separators left out.

    >>> numbers("size: ([0-9,]+) tokens", "GPU KV cache size: 75,840 tokens")
    [75840.0]
    """
    return [float(str(found).replace(",", "")) for found in re.findall(pattern, text)]


def highest(*patterns: str, text: str) -> float | None:
    """The highest number of the first pattern that matches at all: on the fullest GPU; None where none does."""
    for pattern in patterns:
        if found := numbers(pattern, text):
            return max(found)
    return None
