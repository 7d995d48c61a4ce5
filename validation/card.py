"""What the driver says of the card: who else uses it, how much is free, what it draws and how fast it runs.

`nvidia-smi` is asked, since it is there wherever the driver is; `pynvml` would say the same. Nothing is changed: no
clock, no limit, no MIG setting.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from validation.units import MIB, gib

QUERY_TIMEOUT_S = 10.0
BUSY_BYTES = 512 * MIB
"""More than this in use on a card without our processes means that somebody works on it: an idle driver holds less."""
CARD_FIELDS = ("index", "uuid", "name", "memory.total", "memory.used", "driver_version", "mig.mode.current")
SAMPLE_FIELDS = ("power.draw", "clocks.sm", "clocks.mem", "temperature.gpu", "utilization.gpu")
SAMPLE_PERIOD_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One GPU as the driver shows it."""

    index: int
    uuid: str
    name: str
    total_bytes: int
    used_bytes: int
    driver: str
    mig: str
    others: tuple[tuple[int, int], ...] = ()
    """(process id, bytes) of other processes that compute on it."""

    @property
    def free_bytes(self) -> int:
        """Memory nobody holds."""
        return self.total_bytes - self.used_bytes


def smi(fields: Sequence[str], *, query: str = "gpu") -> list[list[str]] | None:
    """Rows of one query, or None where there is no working driver."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    command = [tool, f"--query-{query}={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=QUERY_TIMEOUT_S, check=True)
    except (subprocess.SubprocessError, OSError):
        return None
    return [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines() if line.strip()]


def cards() -> tuple[Card, ...]:
    """The GPUs that this process may use, in its own numbering; empty where there is none."""
    rows = smi(CARD_FIELDS)
    if not rows:
        return ()
    users: dict[str, list[tuple[int, int]]] = {}
    for row in smi(("gpu_uuid", "pid", "used_memory"), query="compute-apps") or []:
        if len(row) == 3 and row[1].isdigit() and int(row[1]) != os.getpid():
            users.setdefault(row[0], []).append((int(row[1]), whole(row[2]) * MIB))
    found = [
        Card(
            index=whole(row[0]),
            uuid=row[1],
            name=row[2],
            total_bytes=whole(row[3]) * MIB,
            used_bytes=whole(row[4]) * MIB,
            driver=row[5],
            mig=row[6],
            others=tuple(users.get(row[1], ())),
        )
        for row in rows
        if len(row) == len(CARD_FIELDS)
    ]
    return visible(found, os.environ.get("CUDA_VISIBLE_DEVICES"))


def visible(found: Sequence[Card], wanted: str | None) -> tuple[Card, ...]:
    """The cards named in CUDA_VISIBLE_DEVICES, by index or by the start of their uuid, in that order."""
    if wanted is None:
        return tuple(found)
    picked = []
    for name in filter(None, (part.strip() for part in wanted.split(","))):
        picked += [c for c in found if (name.isdigit() and c.index == int(name)) or c.uuid.startswith(name)]
    return tuple(picked)


def whole(text: str) -> int:
    """A whole number, 0 where the driver says `[N/A]`.

    >>> whole("143771"), whole("[N/A]")
    (143771, 0)
    """
    try:
        return int(float(text))
    except ValueError:
        return 0


def busy(found: Sequence[Card]) -> str | None:
    """Who else works on these cards, or None. Asked before a trial starts anything of its own."""
    for card in found:
        if card.others:
            names = ", ".join(f"process {pid} holds {gib(size)}" for pid, size in card.others)
            return f"GPU {card.index} ({card.name}) is in use: {names}"
        if card.used_bytes > BUSY_BYTES:
            return f"GPU {card.index} ({card.name}) is in use: {gib(card.used_bytes)} are taken by processes not shown"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One reading of every visible card, summed or averaged."""

    at: float
    """Seconds since the epoch."""
    power_w: float
    """Of all cards."""
    sm_hz: float
    """Mean clock."""
    memory_hz: float
    temperature_c: float
    """The hottest."""


class Sampler:
    """Reads power and clocks in the background between `start` and `stop`; silent where there is no driver."""

    def __init__(self, period_s: float = SAMPLE_PERIOD_S) -> None:
        self._period_s = period_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.samples: list[Sample] = []

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(timeout=QUERY_TIMEOUT_S)

    def _run(self) -> None:
        while not self._done.is_set():
            rows = smi(SAMPLE_FIELDS)
            if not rows:
                return
            self.samples.append(sample_of(rows, time.time()))
            self._done.wait(self._period_s)

    def between(self, begin: float, end: float) -> Mapping[str, float]:
        """Median power, clocks and highest temperature over the timed part of a trial; empty without readings."""
        found = [s for s in self.samples if begin <= s.at <= end]
        if not found:
            return {}
        return {
            "power_w": statistics.median(s.power_w for s in found),
            "sm_hz": statistics.median(s.sm_hz for s in found),
            "memory_hz": statistics.median(s.memory_hz for s in found),
            "temperature_c": max(s.temperature_c for s in found),
            "samples": float(len(found)),
        }


def sample_of(rows: Sequence[Sequence[str]], at: float) -> Sample:
    """One reading from the driver's rows, one row a card; clocks come in MHz."""
    columns = [[number(row[i]) for row in rows] for i in range(len(SAMPLE_FIELDS))]
    return Sample(
        at=at,
        power_w=sum(columns[0]),
        sm_hz=statistics.fmean(columns[1]) * 1e6,
        memory_hz=statistics.fmean(columns[2]) * 1e6,
        temperature_c=max(columns[3]),
    )


def number(text: str) -> float:
    """A number, 0 where the driver does not say."""
    try:
        return float(text)
    except ValueError:
        return 0.0
