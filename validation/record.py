"""What was measured, published or simulated, beside what was predicted: one schema for all of them.

A record is one JSON object: one file for each trial on a device, one line each in `.jsonl` files for published tables
and simulated cases. This module needs the standard library alone and knows no planner: it reads, writes and checks.

Rules name what a quantity is; `UNIT_OF_RULE` lists the common ones. A rule of memory is counted in bytes on the fullest
GPU, of time in seconds, of rates per second over the whole deployment.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

SCHEMA = "validation/record/v1"
ORIGINS = ("published", "simulated", "measured")
UNITS = ("bytes", "s", "1/s", "1", "W", "Hz")
VERDICTS = ("inside", "outside", "unproven")
"""Measured within its interval, not within it, or nothing to compare with."""
STATES = ("ok", "oom", "crashed", "timeout", "garbage", "busy", "no-memory", "no-gpu", "unsupported", "error")
MAX_FILE_BYTES = 64 * 1024 * 1024

UNIT_OF_RULE: Mapping[str, str] = MappingProxyType(
    {
        "allocated": "bytes",
        "reserved": "bytes",
        "device": "bytes",
        "static": "bytes",
        "weights": "bytes",
        "kv_pool": "bytes",
        "workspace": "bytes",
        "host": "bytes",
        "kv_tokens": "1",
        "fits": "1",
        "output_rate": "1/s",
        "token_rate": "1/s",
        "request_rate": "1/s",
        "ttft": "s",
        "tpot": "s",
        "prefill": "s",
        "step": "s",
        "mfu": "1",
        "power": "W",
    }
)
"""Units of the rules that the replay measures; published tables may use further rules."""


class RecordError(ValueError):
    """A record that cannot be read or written, with its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Who says so."""

    name: str
    url: str | None = None
    as_of: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """One figure: measured beside predicted. `interval` is the 90 % prediction interval in the same unit."""

    rule: str
    measured: float | None
    unit: str
    predicted: float | None = None
    interval: tuple[float, float] | None = None
    verdict: str | None = None

    @property
    def error(self) -> float | None:
        """(predicted - measured) / measured; None where either is missing or nothing was measured."""
        if self.predicted is None or not self.measured:
            return None
        return (self.predicted - self.measured) / self.measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a trial on a device ended."""

    state: str
    detail: str = ""
    seconds: float | None = None
    """Wall time of the trial, set-up included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One configuration, on one machine, with its figures."""

    id: str
    origin: str
    source: Source
    environment: Mapping[str, Any] = field(default_factory=dict)
    """`gpu`, `gpus`, `driver`, library versions by name, `command`, `date` ..."""
    workload: Mapping[str, Any] = field(default_factory=dict)
    """A workload of a spec, fully pinned: predictions are made again from it."""
    quantities: tuple[Quantity, ...] = ()
    outcome: Outcome | None = None
    """Measured records only."""
    emulated: Mapping[str, Any] | None = None
    """What stood for something else: `{"gpu": ..., "memory_bytes": ...}` for a smaller card, `{"model": "tiny"}`."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Everything else that was seen: figures by phase, clocks, what an engine said."""
    explained: str = ""
    """Why a figure outside its interval is understood; empty = open."""

    def quantity(self, rule: str) -> Quantity | None:
        """The figure of a rule, or None."""
        return next((q for q in self.quantities if q.rule == rule), None)

    def as_dict(self) -> dict[str, Any]:
        """The record as it stands in files; optional parts appear only where they hold something."""
        raw = asdict(self)
        for key in ("outcome", "emulated", "details", "explained"):
            if not raw[key]:
                del raw[key]
        return {"schema": SCHEMA, **raw}


def moment(seconds: float) -> str:
    """A time since the epoch as records say it.

    >>> moment(0.0)
    '1970-01-01T00:00:00+00:00'
    """
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(seconds))


def judged(measured: float | None, interval: tuple[float, float] | None) -> str:
    """The verdict on one figure.

    >>> judged(5.0, (4.0, 6.0)), judged(7.0, (4.0, 6.0)), judged(None, (4.0, 6.0))
    ('inside', 'outside', 'unproven')
    """
    if measured is None or interval is None:
        return "unproven"
    return "inside" if interval[0] <= measured <= interval[1] else "outside"


def record_of(raw: Any, *, place: str = "record") -> Record:
    """The record in plain data. Raises RecordError with all its faults."""
    faults = list(_faults(raw))
    if faults:
        raise RecordError("; ".join(f"{place}: {fault}" for fault in faults))
    return Record(
        id=raw["id"],
        origin=raw["origin"],
        source=Source(**raw["source"]),
        environment=raw.get("environment") or {},
        workload=raw.get("workload") or {},
        quantities=tuple(_quantity(q) for q in raw.get("quantities") or ()),
        outcome=Outcome(**raw["outcome"]) if raw.get("outcome") else None,
        emulated=raw.get("emulated"),
        details=raw.get("details") or {},
        explained=raw.get("explained") or "",
    )


def record_line(record: Record) -> str:
    """The record on one line, for `.jsonl` files."""
    return json.dumps(record.as_dict(), ensure_ascii=False, allow_nan=False) + "\n"


def record_text(record: Record) -> str:
    """The record as the text of a file of its own."""
    return json.dumps(record.as_dict(), ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def write_record(record: Record, path: Path) -> Path:
    """Write one record, whole or not at all, with folders on the way; returns the path."""
    return write_text(path, record_text(checked(record)))


def write_records(records: Iterable[Record], path: Path) -> Path:
    """Write many records into one `.jsonl` file, whole or not at all; returns the path."""
    return write_text(path, "".join(record_line(checked(r)) for r in records))


def write_text(path: Path, text: str) -> Path:
    """Write a file under another name, then put it in place; a symbolic link there is refused. Raises RecordError."""
    if path.is_symlink():
        raise RecordError(f"{path}: is a symbolic link; remove it or name another place")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(name).chmod(0o644)
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as err:
        raise RecordError(f"{path}: cannot be written: {err.strerror}") from None
    return path


def checked(record: Record) -> Record:
    """The record itself, once it is known to be whole. Raises RecordError."""
    faults = list(_faults(record.as_dict()))
    if faults:
        raise RecordError("; ".join(f"{record.id}: {fault}" for fault in faults))
    return record


Wanted = Callable[[Mapping[str, Any]], bool]
"""Whether a record, as it stands in its file and not checked yet, is worth reading."""


def read_records(path: Path, *, wanted: Wanted | None = None) -> Iterator[Record]:
    """The records of one `.json` or `.jsonl` file, or of every such file below a folder, in order of their names.

    A `.json` file of another schema is passed over inside folders, and so are records that are not `wanted`: checking
    a record takes longer than parsing it. Raises RecordError.
    """
    if path.is_dir():
        for each in sorted(p for p in path.rglob("*") if p.suffix in (".json", ".jsonl") and p.is_file()):
            yield from _read_file(each, strays_pass=True, wanted=wanted)
        return
    yield from _read_file(path, strays_pass=False, wanted=wanted)


def _read_file(path: Path, *, strays_pass: bool, wanted: Wanted | None) -> Iterator[Record]:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise RecordError(f"{path}: larger than {MAX_FILE_BYTES} bytes")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise RecordError(f"{path}: cannot be read: {err}") from None
    lines = text.splitlines() if path.suffix == ".jsonl" else [text]
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{path}:{number}" if path.suffix == ".jsonl" else str(path)
        raw = _parsed(line, place)
        if strays_pass and path.suffix == ".json" and not (isinstance(raw, dict) and raw.get("schema") == SCHEMA):
            continue
        if wanted is not None and isinstance(raw, dict) and not wanted(raw):
            continue
        yield record_of(raw, place=place)


def _parsed(line: str, place: str) -> Any:
    try:
        return json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError) as err:
        raise RecordError(f"{place}: not JSON: {err}") from None


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is not a number")


def _quantity(raw: Mapping[str, Any]) -> Quantity:
    interval = raw.get("interval")
    return Quantity(
        rule=raw["rule"],
        measured=raw.get("measured"),
        unit=raw["unit"],
        predicted=raw.get("predicted"),
        interval=None if interval is None else (interval[0], interval[1]),
        verdict=raw.get("verdict"),
    )


_KEYS = {"schema", "id", "origin", "source", "environment", "workload", "quantities"}
_OPTIONAL = {"outcome", "emulated", "details", "explained"}


def _faults(raw: Any) -> Iterator[str]:
    """What is wrong with a record in plain data."""
    if not isinstance(raw, Mapping):
        yield "not a JSON object"
        return
    if raw.get("schema") != SCHEMA:
        yield f"schema {raw.get('schema')!r}; this version reads {SCHEMA!r}"
        return
    for key in sorted(raw.keys() - _KEYS - _OPTIONAL):
        yield f"unknown key {key!r}"
    if not isinstance(raw.get("id"), str) or not raw["id"]:
        yield "id is missing"
    if raw.get("origin") not in ORIGINS:
        yield f"origin {raw.get('origin')!r}; one of {', '.join(ORIGINS)}"
    yield from _source_faults(raw.get("source"))
    for key in ("environment", "workload", "details", "emulated"):
        if raw.get(key) is not None and not isinstance(raw[key], Mapping):
            yield f"{key} is no object"
    yield from _outcome_faults(raw.get("outcome"))
    quantities = raw.get("quantities")
    if not isinstance(quantities, list | tuple):
        yield "quantities is no list"
        return
    for number, quantity in enumerate(quantities):
        yield from (f"quantities[{number}]: {fault}" for fault in _quantity_faults(quantity))
    rules = [q.get("rule") for q in quantities if isinstance(q, Mapping)]
    for rule in sorted({str(r) for r in rules if rules.count(r) > 1}):
        yield f"rule {rule!r} stands there twice"


def _source_faults(raw: Any) -> Iterator[str]:
    if not isinstance(raw, Mapping) or not isinstance(raw.get("name"), str) or not raw["name"]:
        yield "source.name is missing"
        return
    for key in sorted(raw.keys() - {"name", "url", "as_of", "note"}):
        yield f"unknown key 'source.{key}'"


def _outcome_faults(raw: Any) -> Iterator[str]:
    if raw is None:
        return
    if not isinstance(raw, Mapping) or raw.get("state") not in STATES:
        yield f"outcome.state is none of {', '.join(STATES)}"
        return
    for key in sorted(raw.keys() - {"state", "detail", "seconds"}):
        yield f"unknown key 'outcome.{key}'"


def _quantity_faults(raw: Any) -> Iterator[str]:
    if not isinstance(raw, Mapping):
        yield "not a JSON object"
        return
    for key in sorted(raw.keys() - {"rule", "measured", "unit", "predicted", "interval", "verdict"}):
        yield f"unknown key {key!r}"
    rule = raw.get("rule")
    if not isinstance(rule, str) or not rule:
        yield "rule is missing"
        return
    if raw.get("unit") not in UNITS:
        yield f"{rule}: unit {raw.get('unit')!r}; one of {', '.join(UNITS)}"
    elif UNIT_OF_RULE.get(rule, raw["unit"]) != raw["unit"]:
        yield f"{rule}: unit {raw['unit']!r}; this rule is counted in {UNIT_OF_RULE[rule]!r}"
    for key in ("measured", "predicted"):
        if raw.get(key) is not None and not _is_number(raw[key]):
            yield f"{rule}: {key} {raw[key]!r} is no number"
    interval = raw.get("interval")
    if interval is not None:
        if not (isinstance(interval, list | tuple) and len(interval) == 2 and all(_is_number(v) for v in interval)):
            yield f"{rule}: interval {interval!r} is no pair of numbers"
        elif interval[0] > interval[1]:
            yield f"{rule}: interval {list(interval)} ends before it begins"
    if raw.get("verdict") not in (None, *VERDICTS):
        yield f"{rule}: verdict {raw['verdict']!r}; one of {', '.join(VERDICTS)}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
