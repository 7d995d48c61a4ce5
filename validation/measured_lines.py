"""Raw JSON lines of a measuring script, as records.

Each line is one trial: what was run (`trial`), where (`device`, `torch`, `transformers`), and what was seen (`peak`,
`prefill_s`, `tpot_s`, `step_s`, `static`, or `error`). Lines of microbenchmarks (`micro`) go into `details`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from validation.record import UNIT_OF_RULE, Outcome, Quantity, Record, RecordError, Source, write_record
from validation.trial import slug

PEAKS = {"allocated": "allocated_peak_bytes", "reserved": "reserved_peak_bytes", "device": "device_peak_bytes"}
OPTIMIZERS = {
    "adamw_fused": ("adamw", "fused"),
    "adamw_foreach": ("adamw", "foreach"),
    "adamw_forloop": ("adamw", "forloop"),
    "sgd": ("sgd", "foreach"),
    "sgd_momentum": ("sgd-momentum", "foreach"),
}
"""Optimizer and way of stepping, by the script's names."""


def import_lines(path: Path, out: Path) -> list[Record]:
    """A record for each line, written under `OUT/<gpu>/`. Raises RecordError for a line that is no trial."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise RecordError(f"{path}: cannot be read: {err}") from None
    records = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            raw = json.loads(line)
            record = record_of_line(raw, source=path.name)
        except (ValueError, KeyError, TypeError) as err:
            raise RecordError(f"{path}:{number}: not a measured trial: {err}") from None
        records.append(record)
        write_record(record, out / slug(str(record.environment["gpu"])) / f"{record.id}.json")
    return records


def record_of_line(raw: Mapping[str, Any], *, source: str) -> Record:
    """The record of one line."""
    trial: Mapping[str, Any] = raw["trial"]
    words = [str(value) for value in trial.values() if value not in (False, None)]
    outcome = Outcome(state="ok")
    if raw.get("error"):
        state = "oom" if raw.get("oom") else "timeout" if raw["error"] == "timeout" else "error"
        outcome = Outcome(state=state, detail=f"{raw['error']}: {raw.get('message', '')}"[:500])
    return Record(
        id=slug("-".join(words)),
        origin="measured",
        source=Source(name="raw measured lines", note=source),
        environment={
            "gpu": raw.get("device", "unknown"),
            "gpus": 1,
            **{key: raw[key] for key in ("torch", "transformers", "driver", "date") if key in raw},
        },
        workload=workload_of(trial) if trial["kind"] != "micro" else {},
        quantities=tuple(quantities_of(raw, trial)),
        outcome=outcome,
        details={
            key: raw[key] for key in ("params", "trainable", "micro", "loaded", "offloaded_modules") if key in raw
        },
    )


def quantities_of(raw: Mapping[str, Any], trial: Mapping[str, Any]) -> list[Quantity]:
    """What was seen, by rule."""
    peak: Mapping[str, Any] = raw.get("peak") or {}
    seen: dict[str, float | None] = {rule: peak.get(key) for rule, key in PEAKS.items()}
    seen["static"] = raw.get("static")
    if trial["kind"] in ("infer", "offload"):
        seen |= {"ttft": raw.get("prefill_s"), "tpot": raw.get("tpot_s")}
    elif raw.get("step_s"):
        seen |= {"step": raw["step_s"], "token_rate": trial["batch"] * trial["seq"] / raw["step_s"]}
    return [
        Quantity(rule=rule, measured=float(value), unit=UNIT_OF_RULE[rule])
        for rule, value in seen.items()
        if value is not None
    ]


def workload_of(trial: Mapping[str, Any]) -> dict[str, Any]:
    """The pinned spec entry of the script's trial."""
    common = {"model": trial["model"], "engine": "transformers", "attention": trial["attention"]}
    if trial["kind"] in ("infer", "offload"):
        precision = trial["dtype"]
        return {
            **common,
            "mode": "infer",
            "batch": trial["batch"],
            "sequence": {"input": trial["seq"], "output": trial["gen"]},
            "precision": precision,
        }
    optimizer, step = OPTIMIZERS[trial["optimizer"]]
    method = {"method": "lora", "lora": {"rank": trial["lora"]}} if trial["lora"] else {"method": "full"}
    return {
        **common,
        **method,
        "mode": "train",
        "sequence": trial["seq"],
        "batch": {"global": trial["batch"], "micro": trial["batch"]},
        "precision": trial["precision"],
        "optimizer": optimizer,
        "checkpointing": "full" if trial["ckpt"] else "none",
        "engine_options": {"optimizer_step": step},
    }
