"""What the driver says of the card: who else uses it, how much is free, what it draws and how fast it runs.

`nvidia-smi` is asked, since it is there wherever the driver is; `pynvml` would say the same. Nothing is changed: no
clock, no limit, no MIG setting. What the driver does not tell (`[N/A]`) is unknown here, never 0.
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from validation.units import MEGA, MIB, gib

QUERY_TIMEOUT_S = 10.0
BUSY_BYTES = 512 * MIB
"""More than this in use on a card without our processes means that somebody works on it: an idle driver holds less."""
SETTLE_S = 10.0
"""A child that was ended gives its memory back within this."""
SETTLE_POLL_S = 0.5
CARD_FIELDS = ("index", "uuid", "name", "memory.total", "memory.used", "driver_version", "mig.mode.current")
SAMPLE_FIELDS = ("power.draw", "clocks.sm", "clocks.mem", "temperature.gpu")
SAMPLE_PERIOD_S = 0.1
GPU_LINE = re.compile(r"^GPU (\d+): .*\(UUID: (GPU-[^)]+)\)")
SLICE_LINE = re.compile(r"^\s+MIG (\S+)\s+Device\s+\d+: \(UUID: (MIG-[^)]+)\)")
"""`nvidia-smi -L` lists the slices of a card under it, as NVIDIA's MIG user guide shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One GPU as the driver shows it, or one slice (MIG device) of it."""

    index: int
    """Of the whole card."""
    uuid: str
    """Of the whole card."""
    name: str
    total_bytes: int | None
    """None where the driver does not say: of a slice, and where processor and GPU share one memory."""
    used_bytes: int | None
    driver: str
    mig: str
    slice_profile: str = ""
    """Such as `1g.10gb`; empty = the whole card."""
    slice_uuid: str = ""
    others: tuple[tuple[int, int | None], ...] = ()
    """(process id, bytes) of other processes that compute on it."""

    @property
    def free_bytes(self) -> int | None:
        """Memory nobody holds."""
        if self.total_bytes is None or self.used_bytes is None:
            return None
        return self.total_bytes - self.used_bytes

    @property
    def title(self) -> str:
        """Its name for people and folders."""
        return f"{self.name} MIG {self.slice_profile}" if self.slice_profile else self.name


def talk_of_driver(*arguments: str) -> str | None:
    """What `nvidia-smi` says, or None where there is no working driver."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    try:
        done = subprocess.run(
            [tool, *arguments], capture_output=True, text=True, timeout=QUERY_TIMEOUT_S, check=True, errors="replace"
        )
    except (subprocess.SubprocessError, OSError):
        return None
    return done.stdout


def smi(fields: Sequence[str], *, query: str = "gpu", ids: Sequence[str] = ()) -> list[list[str]] | None:
    """Rows of one query, of the cards with these uuids (none named = all); None where there is no working driver."""
    chosen = ["-i", ",".join(ids)] if ids else []
    said = talk_of_driver(*chosen, f"--query-{query}={','.join(fields)}", "--format=csv,noheader,nounits")
    if said is None:
        return None
    return [[cell.strip() for cell in line.split(",")] for line in said.splitlines() if line.strip()]


def cards() -> tuple[Card, ...]:
    """The GPUs that this process may use, in its own numbering; empty where there is none."""
    rows = smi(CARD_FIELDS)
    if not rows:
        return ()
    users: dict[str, list[tuple[int, int | None]]] = {}
    for row in smi(("gpu_uuid", "pid", "used_memory"), query="compute-apps") or []:
        if len(row) == 3 and row[1].isdigit() and int(row[1]) != os.getpid():
            users.setdefault(row[0], []).append((int(row[1]), mib(row[2])))
    found = [
        Card(
            index=int(row[0]),
            uuid=row[1],
            name=row[2],
            total_bytes=mib(row[3]),
            used_bytes=mib(row[4]),
            driver=row[5],
            mig=row[6] if row[6] in ("Enabled", "Disabled") else "",
            others=tuple(users.get(row[1], ())),
        )
        for row in rows
        if len(row) == len(CARD_FIELDS) and row[0].isdigit()
    ]
    cut = any(card.mig == "Enabled" for card in found)
    slices = slices_of(talk_of_driver("-L") or "") if cut else {}
    return visible(found, os.environ.get("CUDA_VISIBLE_DEVICES"), slices)


def slices_of(listing: str) -> dict[str, list[tuple[str, str]]]:
    """(profile, uuid) of the slices of each card, by the card's uuid.

    >>> slices_of("GPU 0: NVIDIA H100 (UUID: GPU-7f)\\n  MIG 2g.20gb     Device  0: (UUID: MIG-37)\\n")
    {'GPU-7f': [('2g.20gb', 'MIG-37')]}
    """
    found: dict[str, list[tuple[str, str]]] = {}
    owner = ""
    for line in listing.splitlines():
        if card := GPU_LINE.match(line):
            owner = card[2]
        elif (part := SLICE_LINE.match(line)) and owner:
            found.setdefault(owner, []).append((part[1], part[2]))
    return found


def visible(
    found: Sequence[Card], wanted: str | None, slices: Mapping[str, Sequence[tuple[str, str]]] | None = None
) -> tuple[Card, ...]:
    """The cards or slices that CUDA_VISIBLE_DEVICES names, in its order.

    As CUDA reads it: an index, or the start of a uuid that fits one device; the first entry that names nothing ends
    the list; of a card that is cut into slices a process sees the first one, and of all slices only one.
    """
    known = [own for card in found for own in devices_of(card, (slices or {}).get(card.uuid, ()))]
    if wanted is None:
        return one_slice([first_of(card, known) for card in found])
    picked: list[Card] = []
    for name in (part.strip() for part in wanted.split(",")):
        if name.isdigit():
            named = [first_of(card, known) for card in found if card.index == int(name)]
        elif name:
            named = [c for c in known if (c.slice_uuid or c.uuid).startswith(name)]
            named = named or [first_of(card, known) for card in found if card.uuid.startswith(name)]
        else:
            named = []
        if len(named) != 1:
            break
        picked += named
    return one_slice(picked)


def devices_of(card: Card, slices: Sequence[tuple[str, str]]) -> list[Card]:
    """The card itself, or what it is cut into. Memory and users that the driver tells are those of the whole card."""
    if card.mig != "Enabled" or not slices:
        return [card]
    bare = replace(card, total_bytes=None, used_bytes=None, others=())
    return [replace(bare, slice_profile=profile, slice_uuid=uuid) for profile, uuid in slices]


def first_of(card: Card, known: Sequence[Card]) -> Card:
    """What a process sees of a card: itself, or its first slice."""
    return next(each for each in known if each.uuid == card.uuid)


def one_slice(found: Sequence[Card]) -> tuple[Card, ...]:
    """CUDA gives a process one slice and nothing beside it."""
    first = next((c for c in found if c.slice_profile), None)
    return (first,) if first is not None else tuple(found)


def mib(text: str) -> int | None:
    """Bytes of a number of MiB; None where the driver does not say.

    >>> mib("143771"), mib("[N/A]")
    (150754820096, None)
    """
    value = number(text)
    return None if value is None else int(value) * MIB


def number(text: str) -> float | None:
    """A number; None where the driver does not say."""
    try:
        return float(text)
    except ValueError:
        return None


def busy(found: Sequence[Card]) -> str | None:
    """Who else works on these cards, or None. Asked before a trial starts anything of its own.

    Of a slice the driver does not tell it: there the child itself looks at what is taken before it begins.
    """
    for card in found:
        if card.others:
            names = ", ".join(f"process {pid} holds {held_text(size)}" for pid, size in card.others)
            return f"GPU {card.index} ({card.name}) is in use: {names}"
        if card.used_bytes is not None and card.used_bytes > BUSY_BYTES:
            return f"GPU {card.index} ({card.name}) is in use: {gib(card.used_bytes)} are taken by processes not shown"
    return None


def held_text(size: int | None) -> str:
    """How much a process holds, in words."""
    return "memory that the driver does not tell" if size is None else gib(size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One reading of the cards in use, summed or averaged; None where the driver does not tell it of each of them."""

    at: float
    """Seconds since the epoch."""
    power_w: float | None
    """Of all cards."""
    sm_hz: float | None
    """Mean clock."""
    memory_hz: float | None
    temperature_c: float | None
    """The hottest."""


class Sampler:
    """Reads power and clocks of some cards in the background between `start` and `stop`; silent without a driver.

    What a slice draws is not told: of its card neither power nor heat is taken, since others may cause them.
    """

    def __init__(self, found: Sequence[Card], period_s: float = SAMPLE_PERIOD_S) -> None:
        self._ids = tuple(dict.fromkeys(card.uuid for card in found))
        self._shared = any(card.slice_profile for card in found)
        self._period_s = period_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.samples: list[Sample] = []

    def __enter__(self) -> Sampler:
        if self._ids:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        if self._ids:
            self._thread.join(timeout=QUERY_TIMEOUT_S)

    def _run(self) -> None:
        while not self._done.is_set():
            rows = smi(SAMPLE_FIELDS, ids=self._ids)
            if not rows:
                return
            read = sample_of(rows, time.time())
            self.samples.append(replace(read, power_w=None, temperature_c=None) if self._shared else read)
            self._done.wait(self._period_s)

    def between(self, begin: float, end: float) -> Mapping[str, float]:
        """Median power, clocks and highest temperature over the timed part of a trial; empty without readings."""
        found = [s for s in self.samples if begin <= s.at <= end]
        seen = {
            name: [value for s in found if (value := getattr(s, name)) is not None]
            for name in ("power_w", "sm_hz", "memory_hz", "temperature_c")
        }
        told = {
            name: max(values) if name == "temperature_c" else statistics.median(values)
            for name, values in seen.items()
            if values
        }
        return {**told, "samples": float(len(found))} if told else {}


def sample_of(rows: Sequence[Sequence[str]], at: float) -> Sample:
    """One reading from the driver's rows, one row a card; clocks come in MHz."""
    columns = [[number(row[i]) for row in rows] for i in range(len(SAMPLE_FIELDS))]
    power, sm, memory, heat = ([v for v in column if v is not None] for column in columns)
    count = len(rows)
    return Sample(
        at=at,
        power_w=sum(power) if len(power) == count else None,
        sm_hz=statistics.fmean(sm) * MEGA if len(sm) == count else None,
        memory_hz=statistics.fmean(memory) * MEGA if len(memory) == count else None,
        temperature_c=max(heat) if len(heat) == count else None,
    )
