"""Every workload of a plan, simulated beside what the plan predicts: `plan validate --level simulate`.

Each runs in a process of its own, for the simulation changes torch and transformers while it lasts. A workload that
cannot be simulated gives a record that says why. What libraries hold for themselves (the cuBLAS workspace) is taken
from the plan: no model code shows it.
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
from validation.planfile import trials_of_plan
from validation.record import Outcome, Quantity, Record, Source
from validation.simulate.case import CaseError, case_of
from validation.trial import Expected, Trial

TIMEOUT_S = 600.0
NO_ACTIVATION_OFFLOAD = ("none", "auto", None)


def simulate_plan(plan: Mapping[str, Any], *, only: str | None = None) -> list[Record]:
    """Records of the plan's workloads, or of the one called `only`: simulated beside predicted.

    Raises TrialError where the plan has no such workload.
    """
    parts = {w["name"]: w["memory"]["per_gpu_bytes"] for w in plan["workloads"]}
    trials = trials_of_plan(plan, only=only)
    names = [name for name in parts if only in (None, name)]
    return [_simulated(trial, parts[name]) for name, trial in zip(names, trials, strict=True)]


def _simulated(trial: Trial, parts: Mapping[str, int]) -> Record:
    workload = workload_of(trial)
    try:
        if not trial.model:
            raise CaseError("the plan holds no config.json of this model: no family of the planner writes it")
        case_of(workload, trial.model)
        found = run_apart({**workload, "model": trial.model}, workspace_bytes=int(parts.get("workspace", 0)))
    except CaseError as err:
        return Record(
            id=trial.id,
            origin="simulated",
            source=Source(name="simulated"),
            environment={"gpu": trial.gpu, "gpus": trial.gpus},
            workload=workload,
            outcome=Outcome(state="unsupported", detail=str(err)),
        )
    expected = dict(trial.expected)
    expected |= {rule: Expected(predicted=nbytes) for rule, nbytes in parts.items() if rule not in expected}
    if trial.mode == "train" and trial.options.get("length_variation"):
        # the plan reserves for batches of varying length; simulated ones are all of the longest
        expected["reserved"] = replace(expected["reserved"], interval=None)
    quantities = tuple(beside(q, expected.get(q.rule)) for q in found.quantities)
    return replace(found, id=trial.id, workload=workload, quantities=quantities, outcome=Outcome(state="ok"))


def workload_of(trial: Trial) -> dict[str, Any]:
    """The trial's workload with the lengths it was planned for and all of its engine's options."""
    workload = {**trial.workload, "engine": trial.engine, "engine_options": dict(trial.options)}
    workload.pop("traffic", None)
    if workload.get("offload") in NO_ACTIVATION_OFFLOAD or not (workload.get("pin") or {}).get("offload"):
        workload.pop("offload", None)
    if trial.mode == "infer":
        lengths = {"input": trial.config["input_tokens"], "output": trial.config["output_tokens"]}
        workload |= {"sequence": lengths, "batch": trial.config["batch"]}
    return workload


def run_apart(workload: Mapping[str, Any], *, workspace_bytes: int) -> Record:
    """The record of one case from a process of its own. Raises CaseError with what went wrong there."""
    command = [sys.executable, "-m", "validation.simulate", "-", "--full", "--workspace-bytes", str(workspace_bytes)]
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


def beside(quantity: Quantity, expected: Expected | None) -> Quantity:
    """The figure with what was predicted, the interval around it and the verdict."""
    if expected is None:
        return quantity
    verdict = records.judged(quantity.measured, expected.interval)
    return replace(quantity, predicted=expected.predicted, interval=expected.interval, verdict=verdict)
