"""How long a trial should take, from what was predicted for it: what a budget and the parts of a suite are made by.

Set-up is counted with named constants that nobody has measured yet on a large GPU: every record holds the seconds its
trial took, beside which these can be held.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from validation.trial import Expected, Trial
from validation.units import gib

START_S = 12.0
"""Python, torch and transformers are loaded and a context is made."""
BUILD_BYTES_PER_SECOND: Mapping[str, float] = MappingProxyType({"device": 20e9, "host": 2e9, "disk": 0.5e9})
"""Random weights drawn on the device; drawn in host memory and copied; written to disk besides."""
ENGINE_START_S = 90.0
"""A serving engine profiles, compiles and captures graphs before it serves."""
SERVING_ROUNDS = 6.0
"""Rounds of one batch that an engine's own benchmark takes, its warm-up included."""
PREFILLS, WARM_STEPS = 4, 3
"""Prefills of an inference trial and its decode steps before the timed ones, as `infer.py` runs them."""
TRAIN_STEPS = 7
"""Warm-up and timed steps of a training trial, as `train.py` runs them."""
VARIED_STEPS = 4.0
"""What its five shorter steps take, in steps of full length."""
HOST_PRECISIONS = ("nf4", "int8", "fp8", "int8-w8a8")


def seconds_of(trial: Trial, expected: Mapping[str, Expected] | None = None) -> float:
    """Seconds from start to end, by the predictions given (default: the trial's own).

    >>> base = dict(id="a", engine="transformers", gpu="g", gpus=1, model={}, config={"output_tokens": 5})
    >>> seconds_of(Trial(mode="infer", **base), {"ttft": Expected(predicted=2.0), "tpot": Expected(predicted=1.0)})
    27.0
    """
    known = trial.expected if expected is None else expected
    rules = {rule: e.predicted for rule, e in known.items()}
    build_s = rules.get("weights", rules.get("static", 0.0)) / BUILD_BYTES_PER_SECOND[built_on(trial)]
    if trial.engine != "transformers":
        answer_s = rules.get("ttft", 0.0) + trial.number("output_tokens", 0) * rules.get("tpot", 0.0)
        return ENGINE_START_S + build_s + SERVING_ROUNDS * answer_s
    return START_S + build_s + run_s(trial, rules)


def run_s(trial: Trial, rules: Mapping[str, float]) -> float:
    """Seconds of the steps themselves."""
    if trial.mode == "infer":
        steps = max(0, trial.number("output_tokens", 0) - 1)
        return PREFILLS * rules.get("ttft", 0.0) + (WARM_STEPS + steps) * rules.get("tpot", 0.0)
    varied = VARIED_STEPS if float(trial.options.get("length_variation") or 0.0) > 0 else 0.0
    return (TRAIN_STEPS + varied) * rules.get("step", 0.0)


def built_on(trial: Trial) -> str:
    """Where the random weights are drawn: on the device, in host memory where they are packed or split, on disk."""
    if trial.share("weights_disk"):
        return "disk"
    packed = trial.text("precision") in HOST_PRECISIONS or trial.text("method") == "qlora"
    return "host" if packed or trial.share("weights_cpu") or trial.share("params_cpu") else "device"


def planned_s(trial: Trial) -> float:
    """The trial's own estimate, else one from its predictions."""
    return trial.seconds if trial.seconds is not None else seconds_of(trial)


def foreseen(trials: Sequence[Trial]) -> list[str]:
    """What a run would do: a line for each trial with its card, memory on it and seconds, and their sum."""
    rows = [("trial", "GPU", "device memory", "fits", "seconds")]
    for trial in trials:
        device = trial.expected.get("device")
        fits = {True: "yes", False: "no", None: "-"}[trial.fits]
        memory = gib(device.predicted) if device is not None else "-"
        rows.append((trial.id, trial.gpu, memory, fits, f"{planned_s(trial):.0f}"))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    whole_s = sum(planned_s(trial) for trial in trials)
    return [*lines, f"{len(trials)} trials, about {max(1, round(whole_s / 60))} min if all goes as predicted"]
