"""What has been measured near each workload of a plan: for the report's page, from plan.json and records alone.

A record is near where mode, engine, method and model family agree; of those, fewer differing choices come first, then
sizes and lengths that are closer. What was emulated is said; what was not measured in this very configuration is
unproven, however near a record lies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from validation.record import Quantity, Record

MOST_RECORDS = 2
"""Of memory, and as many of speed."""
SHOWN_RULES = ("allocated", "device", "static", "kv_tokens", "output_rate", "tpot", "ttft", "step", "token_rate")
FARTHEST = 4.0
"""Beyond this distance a record says nothing about a workload."""
SAME = 0.25
"""Within this distance it is the same configuration: one size differs by a factor of two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """One record near a workload."""

    record: Record
    distance: float
    differs: tuple[str, ...]
    """What is not as planned: `gpu l4 for h200`, `batch 8 for 64` ..."""
    figures: tuple[Quantity, ...]
    """What was measured, beside what was predicted where that is known."""

    @property
    def is_proof(self) -> bool:
        """Measured on a device, in this configuration."""
        return self.record.origin == "measured" and self.distance <= SAME

    def measures(self, units: frozenset[str]) -> bool:
        """Some figure is counted in one of these units."""
        return any(q.unit in units for q in self.figures)

    @property
    def emulated(self) -> str:
        """What stood for something else, in words; empty = nothing."""
        return ", ".join(f"{k}: {v}" for k, v in (self.record.emulated or {}).items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of one workload."""

    workload: str
    near: tuple[Near, ...]
    unproven: tuple[str, ...]
    """What was not measured on hardware in this configuration: `memory`, `speed`."""


def evidence_of(plan: Mapping[str, Any], records: Iterable[Record]) -> tuple[Evidence, ...]:
    """The evidence for each workload of a plan, in its order. Simulated and tiny runs are no evidence of hardware."""
    usable = [r for r in records if r.origin in ("measured", "published") and not is_tiny(r)]
    seen = [(r, traits_of_record(r)) for r in usable]
    return tuple(evidence_of_workload(w, seen) for w in plan["workloads"])


def may_be_evidence(plan: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], bool]:
    """Whether a record, as it stands in its file, runs in a mode and on an engine that some workload of a plan has."""
    planned = {(w["mode"], w["engine"]) for w in plan["workloads"]}

    def wanted(raw: Mapping[str, Any]) -> bool:
        entry = raw.get("workload")
        return isinstance(entry, Mapping) and (entry.get("mode"), engine_of(entry)) in planned

    return wanted


def engine_of(entry: Mapping[str, Any]) -> str:
    """The engine that a record's workload names, without its version."""
    return str(entry.get("engine") or "").partition("@")[0]


def is_tiny(record: Record) -> bool:
    """A small model stood for the planned one."""
    return bool(record.emulated and "model" in record.emulated)


def evidence_of_workload(workload: Mapping[str, Any], records: Sequence[tuple[Record, Traits]]) -> Evidence:
    """The nearest records (each with what it is known by), and what they leave unproven."""
    planned = traits_of_plan(workload)
    found = []
    for record, seen in records:
        if any(planned[key] != seen[key] for key in ("mode", "engine", "method")):
            continue
        distance = distance_of(planned, seen)
        if distance <= FARTHEST:
            figures = tuple(q for q in record.quantities if q.rule in SHOWN_RULES and q.measured is not None)
            if figures:
                near = Near(record=record, distance=distance, differs=differences(planned, seen), figures=figures)
                found.append(near)
    found.sort(key=lambda n: (n.distance, n.record.origin != "measured", n.record.id))
    by_kind = {kind: [n for n in found if n.measures(units)] for kind, units in UNITS.items()}
    kept = {n.record.id for near in by_kind.values() for n in near[:MOST_RECORDS]}
    unproven = [kind for kind, near in by_kind.items() if not any(n.is_proof for n in near)]
    return Evidence(
        workload=workload["name"], near=tuple(n for n in found if n.record.id in kept), unproven=tuple(unproven)
    )


UNITS: Mapping[str, frozenset[str]] = {"memory": frozenset({"bytes"}), "speed": frozenset({"s", "1/s"})}
"""What figures of memory and of speed are counted in."""


Traits = Mapping[str, Any]


def traits_of_plan(workload: Mapping[str, Any]) -> Traits:
    """What a chosen configuration is known by."""
    config = workload["config"]
    return {
        "mode": workload["mode"],
        "engine": workload["engine"],
        "method": config.get("method", ""),
        "gpu": workload["gpu"],
        "model": str(workload["model"]).rpartition("/")[2].casefold(),
        "precision": config.get("precision"),
        "checkpointing": config.get("checkpointing", ""),
        "batch": config.get("micro_batch") or config.get("batch"),
        "tokens": config.get("sequence_tokens")
        or (config.get("input_tokens") or 0) + (config.get("output_tokens") or 0),
        "gpus": workload["gpus"] // max(1, workload["replicas"]),
    }


def traits_of_record(record: Record) -> Traits:
    """The same of a record's pinned workload."""
    entry, pin = record.workload, record.workload.get("pin") or {}
    batch, sequence = entry.get("batch"), entry.get("sequence")
    if isinstance(batch, Mapping):
        batch = batch.get("micro") if isinstance(batch.get("micro"), int) else batch.get("global")
    if isinstance(sequence, Mapping):
        sequence = (sequence.get("input") or 0) + (sequence.get("output") or 0)
    precision = entry.get("precision")
    gpus = math.prod(int(pin.get(f"{k}_parallel") or 1) for k in ("tensor", "pipeline", "data", "context"))
    model = entry.get("model")
    training = entry.get("mode") == "train"
    return {
        "mode": entry.get("mode"),
        "engine": engine_of(entry),
        "method": entry.get("method", "full") if training else "",
        "gpu": pin.get("gpu") or str(record.environment.get("gpu", "")),
        "model": str(model).rpartition("/")[2].casefold() if isinstance(model, str) else "inline",
        "precision": pin.get("precision") or (precision[0] if isinstance(precision, list | tuple) else precision),
        "checkpointing": (pin.get("checkpointing") or entry.get("checkpointing") or "") if training else "",
        "batch": pin.get("micro_batch") or pin.get("batch") or batch,
        "tokens": sequence,
        "gpus": gpus,
    }


WEIGHTS = {"gpu": 1.0, "model": 2.0, "precision": 1.0, "checkpointing": 1.0}
"""How far one different choice moves a record away; sizes count by the number of doublings, four to a unit."""
DOUBLINGS_PER_UNIT = 4.0


def distance_of(planned: Traits, seen: Traits) -> float:
    """0 = the same configuration on the same GPU."""
    apart = sum(weight for key, weight in WEIGHTS.items() if planned[key] != seen[key])
    for key in ("batch", "tokens", "gpus"):
        apart += doublings(planned[key], seen[key]) / DOUBLINGS_PER_UNIT
    return apart


def doublings(one: Any, other: Any) -> float:
    """How many times one number is double the other; 4 where one is not known.

    >>> doublings(8, 64), doublings(3, None)
    (3.0, 4.0)
    """
    if not isinstance(one, int | float) or not isinstance(other, int | float) or one <= 0 or other <= 0:
        return 4.0
    return abs(math.log2(one / other))


def differences(planned: Traits, seen: Traits) -> tuple[str, ...]:
    """What is not as planned, in words."""
    keys = ("gpu", "model", "precision", "checkpointing", "batch", "tokens", "gpus")
    return tuple(f"{key} {seen[key]} for {planned[key]}" for key in keys if planned[key] != seen[key])
