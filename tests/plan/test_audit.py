"""The audit finds every kind of tampering, from the document alone."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import planner.plan.audit as module
from planner.plan.audit import audit
from planner.plan.io import plan_json
from planner.plan.types import Plan
from tests.plan.plans import plan_of

Raw = dict[str, Any]


def tampered(change: Callable[[Raw], object]) -> tuple[str, ...]:
    """What the audit says of the plan after a change that also forged the hash."""
    raw = json.loads(plan_json(plan_of()))
    change(raw)
    raw["body_sha256"] = ""
    return audit(Plan.model_validate(raw))


def chat(raw: Raw) -> Raw:
    return next(w for w in raw["workloads"] if w["name"] == "chat")


def busy(raw: Raw) -> Raw:
    return next(n for n in raw["nodes"] if n["replicas"])


CHANGES: dict[str, Callable[[Raw], object]] = {
    "planned 0 times": lambda r: r["workloads"].pop(0),
    "not in the spec": lambda r: chat(r).update(name="stranger"),
    "parts add up": lambda r: chat(r)["memory"]["per_gpu_bytes"].update(weights=1),
    "do not fit": lambda r: chat(r)["memory"].update(usable_bytes=10**9),
    "says that it does not fit": lambda r: chat(r).update(fits=False),
    "GPUs, but": lambda r: chat(r).update(gpus=99),
    "replicas placed": lambda r: chat(r)["placements"][0].update(replicas=99),
    "shares of the demand": lambda r: chat(r)["placements"][0].update(share_of_demand=0.5),
    "GPUs a replica": lambda r: chat(r)["placements"][0].update(gpus_per_replica=64),
    "is not in purchases": lambda r: chat(r)["placements"][0].update(offer="aws/none/none"),
    "planned for": lambda r: chat(r)["placements"][0].update(gpu="t4"),
    "pinned is": lambda r: r["inputs"]["spec"]["workloads"][0]["pin"].update(tensor_parallel=8),
    "requests_per_second: 1 is planned": lambda r: chat(r)["performance"].update(requests_per_second=1.0),
    "ttft_ms: 9000 is planned": lambda r: chat(r)["performance"]["open_loop"]["ttft_s"].update(mean=9.0),
    "demand_met: tpot_ms is missing": lambda r: chat(r)["demand_met"].pop(),
    "counted": lambda r: chat(r)["demand_met"][0].update(got=1e9),
    "deadline_hours": lambda r: r["workloads"][1]["placements"][0]["figures"].update(tokens_per_second=1.0),
    "the placements add up to": lambda r: r["workloads"][1]["performance"].update(tokens_per_second=1.0),
    "is another configuration": lambda r: chat(r).update(gpu="t4"),
    "by placement": lambda r: busy(r)["replicas"].update({next(iter(busy(r)["replicas"])): 99}),
    "bytes do not fit": lambda r: chat(r)["placements"][0]["figures"].update(device_peak_bytes=1e15),
    "does not exist": lambda r: busy(r).update(purchase=99),
    "described": lambda r: busy(r).update(nodes=99),
    "bytes used": lambda r: busy(r).update(ram_bytes_used=10**15),
    "the replicas take": lambda r: busy(r).update(gpus_used=0),
    "are placed there": lambda r: r["nodes"].remove(busy(r)),
    "stand by": lambda r: r["inputs"]["spec"]["fleet"].update(spare_nodes=1),
    "totals.usd_per_hour": lambda r: r["totals"].update(usd_per_hour=0.5),
    "totals.usd_horizon": lambda r: r["totals"].update(usd_horizon=0.5),
    "totals.gpus": lambda r: r["totals"].update(gpus=1),
    "less than the machines' own": lambda r: r["totals"].update(power_kw=0.001),
    "fleet.limits.power_kw": lambda r: r["inputs"]["spec"]["fleet"]["limits"].update(power_kw=0.01),
    "fleet.limits.usd_per_hour": lambda r: r["inputs"]["spec"]["fleet"]["limits"].update(usd_per_hour=0.01),
    "are owned": lambda r: r["inputs"]["spec"]["fleet"].update(owned=[]),
    "solver.objective": lambda r: r["solver"].update(objective=0.01, best_bound=0.01),
    "above the value": lambda r: r["solver"].update(best_bound=1e6),
    "optimal, but only": lambda r: r["solver"].update(best_bound=0.01),
}


def test_an_honest_plan_is_clean() -> None:
    assert tampered(lambda raw: None) == ()


@pytest.mark.parametrize("words", CHANGES)
def test_tampering_is_found(words: str) -> None:
    found = tampered(CHANGES[words])
    assert any(words in message for message in found), found


def test_a_change_without_a_new_hash_is_found() -> None:
    raw = json.loads(plan_json(plan_of()))
    raw["workloads"][0]["why"] = "because"
    assert audit(Plan.model_validate(raw)) == ("body_sha256: the plan was changed after it was written",)


def test_the_time_of_day_is_no_part_of_the_hash() -> None:
    raw = json.loads(plan_json(plan_of()))
    raw["created"] = "later"
    raw["solver"]["wall_s"] = 99.0
    assert audit(Plan.model_validate(raw)) == ()


def test_the_audit_imports_neither_solver_nor_candidates() -> None:
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    names = [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    assert names
    assert not [n for n in names if n.startswith(("planner.solve", "planner.candidates", "planner.catalog"))]
