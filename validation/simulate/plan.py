"""Every workload of a plan, simulated beside what the plan predicts: `plan validate --level simulate`.

Each runs in a process of its own, for the simulation changes torch and transformers while it lasts. A workload that
cannot be simulated gives a record that says why.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from validation import record as records
from validation.record import Outcome, Quantity, Record, Source
from validation.simulate.case import CaseError, case_of

TIMEOUT_S = 600.0
ARCHITECTURE_DIGIT: Mapping[str, int] = {"hopper": 9}
"""First digit of the compute capability where it decides a library's workspace; 8 elsewhere."""
PREDICTED: Mapping[str, str] = {
    "allocated": "allocated_peak_bytes",
    "reserved": "reserved_peak_bytes",
    "static": "static_bytes",
}
"""Keys of an estimate's memory by rule; parts stand in its `per_gpu_bytes` under their own names."""


def simulate_plan(plan: Mapping[str, Any], *, only: str | None = None) -> list[Record]:
    """Records of the plan's workloads, or of the one called `only`: simulated beside predicted.

    Raises CaseError where the plan has no such workload.
    """
    workloads = [w for w in plan["workloads"] if only in (None, w["name"])]
    if not workloads:
        raise CaseError(f"the plan has no workload {only!r}")
    return [_simulated(plan, workload) for workload in workloads]


def _simulated(plan: Mapping[str, Any], workload: Mapping[str, Any]) -> Record:
    pinned = pinned_workload(plan, workload)
    keys = (plan["inputs"].get("models") or {}).get(workload["name"])
    try:
        if keys is None:
            raise CaseError(f"the plan holds no config.json of {workload['model']}")
        case_of(pinned, keys)
        found = run_apart({**pinned, "model": keys})
    except CaseError as err:
        return Record(
            id=workload["name"],
            origin="simulated",
            source=Source(name="simulated"),
            environment={"gpu": workload["gpu"]},
            workload=pinned,
            outcome=Outcome(state="unsupported", detail=str(err)),
        )
    quantities = tuple(beside(q, workload) for q in found.quantities)
    return replace(found, workload=pinned, quantities=quantities, outcome=Outcome(state="ok"))


def pinned_workload(plan: Mapping[str, Any], workload: Mapping[str, Any]) -> dict[str, Any]:
    """The spec's workload with everything the plan decided pinned."""
    asked = next(w for w in plan["inputs"]["spec"]["workloads"] if w["name"] == workload["name"])
    config = workload["config"]
    options = (plan["inputs"].get("engine_options") or {}).get(workload["name"]) or asked.get("engine_options") or {}
    widths = ("tensor_parallel", "pipeline_parallel", "data_parallel", "context_parallel", "expert_parallel")
    decided = ("precision", "kv_precision", "attention", "checkpointing", "sharding", "micro_batch")
    kept = ("name", "model", "mode", "method", "lora", "optimizer")
    found = {key: asked[key] for key in kept if asked.get(key) is not None}
    pin = {"gpu": workload["gpu"]} | {key: config[key] for key in (*widths, *decided) if config.get(key) is not None}
    used = {key: share for key, share in (config.get("offload") or {}).items() if share}
    found |= {"engine": workload.get("engine", asked.get("engine")), "engine_options": options}
    found["pin"] = pin | ({"offload": used} if used else {})
    if asked["mode"] == "train":
        return found | {"sequence": asked["sequence"], "batch": asked["batch"]}
    lengths = {"input": config["input_tokens"], "output": config["output_tokens"]}
    return found | {"sequence": lengths, "batch": config["batch"]}


def run_apart(workload: Mapping[str, Any]) -> Record:
    """The record of one case from a process of its own. Raises CaseError with what went wrong there."""
    command = [sys.executable, "-m", "validation.simulate", "-"]
    try:
        done = subprocess.run(
            command,
            input=json.dumps([workload]),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            cwd=Path(__file__).parents[2],
        )
    except subprocess.TimeoutExpired:
        raise CaseError(f"not done after {TIMEOUT_S:.0f} s") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise CaseError(last.removeprefix("simulate: "))
    (found,) = json.loads(done.stdout)
    return records.record_of(found)


def beside(quantity: Quantity, workload: Mapping[str, Any]) -> Quantity:
    """The figure with the plan's prediction, its interval and the verdict."""
    memory = workload["memory"]
    key = PREDICTED.get(quantity.rule)
    predicted = memory.get(key) if key else memory["per_gpu_bytes"].get(quantity.rule)
    ends = (workload.get("intervals") or {}).get(key or "")
    interval = (float(ends[0]), float(ends[1])) if ends else None
    verdict = records.judged(quantity.measured, interval) if interval else None
    return replace(quantity, predicted=predicted, interval=interval, verdict=verdict)
