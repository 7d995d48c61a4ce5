"""plan.json as the replay reads it: checked for its schema and its hash, then one trial for each workload."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from validation.duration import seconds_of
from validation.trial import DEFAULT_TIME_LIMIT_S, Expected, Trial, TrialError, slug

SCHEMA = "planner/plan/v1"
FILE_NAME = "plan.json"
MAX_FILE_BYTES = 2**28
LIMIT_TIMES = 3.0
"""A trial is ended after so many times what it should take."""

MEMORY_RULES = {"allocated": "allocated_peak_bytes", "reserved": "reserved_peak_bytes", "device": "device_peak_bytes"}
RATE_RULES = {
    "output_rate": "output_tokens_per_second",
    "token_rate": "tokens_per_second",
    "request_rate": "requests_per_second",
}
TIME_RULES = {"ttft": "ttft_s", "tpot": "tpot_s", "step": "step_s"}
BUDGET_ENGINES = ("vllm", "sglang", "trtllm")
"""Engines that fill a pool of KV blocks and report its size."""
PIN_KEYS = (
    "tensor_parallel",
    "pipeline_parallel",
    "data_parallel",
    "expert_parallel",
    "context_parallel",
    "precision",
    "kv_precision",
    "micro_batch",
    "batch",
    "attention",
    "checkpointing",
    "sharding",
    "offload",
)


def read_json(path: Path) -> Any:
    """The document in a file. Raises TrialError where it cannot be read or holds NaN."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise TrialError(f"{path}: larger than {MAX_FILE_BYTES} bytes")
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except OSError as err:
        raise TrialError(f"{path}: cannot be read: {err.strerror}") from None
    except (ValueError, RecursionError) as err:
        if isinstance(err, TrialError):
            raise
        raise TrialError(f"{path}: not a JSON document: {err}") from None


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is not a number")


def read_plan(path: Path) -> dict[str, Any]:
    """The plan in a file or folder.

    Raises TrialError for another schema, for a plan changed after it was written, and for an infeasible one.
    """
    raw = read_json(path / FILE_NAME if path.is_dir() else path)
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
        found = raw.get("schema") if isinstance(raw, dict) else type(raw).__name__
        raise TrialError(f"{path}: schema {found!r}; this version replays {SCHEMA!r}")
    if raw.get("body_sha256") != body_sha256(raw):
        raise TrialError(f"{path}: the plan was changed after it was written (its hash does not match); build it again")
    if not raw.get("workloads"):
        raise TrialError(f"{path}: the plan is {raw.get('status')} and chose no configuration: nothing to replay")
    return raw


def body_sha256(raw: Mapping[str, Any]) -> str:
    """Hash over everything but the hash itself, `created` and wall times, as the planner writes it."""
    body = {k: v for k, v in raw.items() if k not in ("body_sha256", "created")}
    if isinstance(body.get("solver"), dict):
        body["solver"] = {k: v for k, v in body["solver"].items() if k != "wall_s"}
    text = json.dumps(body, ensure_ascii=False, allow_nan=False, sort_keys=True, indent=1) + "\n"
    return hashlib.sha256(text.encode()).hexdigest()


def trials_of_plan(raw: Mapping[str, Any], *, only: str | None = None) -> tuple[Trial, ...]:
    """One trial for each workload: one replica of its chosen configuration.

    Raises TrialError where `only` names no workload of the plan, or a chosen model has no keys to build it from.
    """
    names = [w["name"] for w in raw["workloads"]]
    if only is not None and only not in names:
        raise TrialError(f"the plan has no workload {only!r}; it has {', '.join(names)}")
    specs = {w["name"]: w for w in raw["inputs"]["spec"]["workloads"]}
    chosen = [w for w in raw["workloads"] if only in (None, w["name"])]
    return tuple(trial_of_workload(w, specs[w["name"]], raw["inputs"], plan=raw["name"]) for w in chosen)


def trial_of_workload(
    workload: Mapping[str, Any], spec: Mapping[str, Any], inputs: Mapping[str, Any], *, plan: str
) -> Trial:
    """The trial of one chosen configuration."""
    models = inputs.get("models") or {}
    placement = workload["placements"][0]
    options = (inputs.get("engine_options") or {}).get(workload["name"]) or spec.get("engine_options") or {}
    made = Trial(
        id=slug(f"{plan}-{workload['name']}"),
        mode=workload["mode"],
        engine=workload["engine"],
        gpu=workload["gpu"],
        gpus=placement["gpus_per_replica"],
        nodes=placement["nodes_per_replica"],
        model=models.get(workload["name"], {}),
        config={**workload["config"], **training_extras(spec)},
        options=options,
        workload=pinned(workload, spec),
        expected=expected_of(workload),
        fits=workload["fits"],
        usable_bytes=workload["memory"]["usable_bytes"],
    )
    return replace(made, time_limit_s=max(DEFAULT_TIME_LIMIT_S, LIMIT_TIMES * seconds_of(made)))


def training_extras(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Adapters as the workload describes them."""
    return {"lora": dict(_filled(spec["lora"]))} if spec.get("lora") else {}


def expected_of(workload: Mapping[str, Any]) -> dict[str, Expected]:
    """Predictions by rule, rates of one replica. A figure that does not apply is left out."""
    memory, speed, intervals = workload["memory"], workload["performance"], workload["intervals"]
    replicas = workload["replicas"]
    found: dict[str, Expected] = {}
    for rule, key in MEMORY_RULES.items():
        found[rule] = _expected(memory[key], intervals.get(key))
    if workload["mode"] == "train":
        found["static"] = _expected(memory["static_bytes"], None)
    else:
        found["weights"] = _expected(memory["per_gpu_bytes"]["weights"], None)
    if workload["engine"] in BUDGET_ENGINES and memory.get("kv_cache_tokens"):
        found["kv_tokens"] = _expected(memory["kv_cache_tokens"], None)
        found["kv_pool"] = _expected(memory["per_gpu_bytes"]["kv_cache"], None)
    for rule, key in RATE_RULES.items():
        if speed.get(key) is not None:
            found[rule] = _expected(speed[key] / replicas, intervals.get(key), scale=1 / replicas)
    for rule, key in TIME_RULES.items():
        if speed.get(key) is not None:
            found[rule] = _expected(speed[key], intervals.get(key))
    if speed.get("mfu") is not None:
        found["mfu"] = _expected(speed["mfu"], None)
    return found


def _expected(value: float, interval: Any, *, scale: float = 1.0) -> Expected:
    return Expected(predicted=value, interval=(interval[0] * scale, interval[1] * scale) if interval else None)


def pinned(workload: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    """The spec's entry with every choice of the plan pinned and everything empty left out, for one replica."""
    entry = {key: value for key, value in _filled(spec) if key not in ("pin", "targets")}
    config = workload["config"]
    pin = {key: config[key] for key in PIN_KEYS if config.get(key) is not None}
    known_offload = {"weights_cpu", "weights_disk", "kv_cpu", "experts_cpu", "optimizer_cpu", "params_cpu"}
    split = {k: v for k, v in (pin.pop("offload", None) or {}).items() if k in known_offload}
    if any(split.values()):
        pin["offload"] = split
    node = workload["placements"][0]["node"]
    return {**entry, "pin": {**pin, "gpu": workload["gpu"], "node": node, "replicas": 1}}


def _filled(spec: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Keys that say something, in inner mappings too."""
    for key, value in spec.items():
        kept = dict(_filled(value)) if isinstance(value, Mapping) else value
        if kept not in (None, [], {}):
            yield key, kept
