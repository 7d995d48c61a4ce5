"""llama.cpp: `llama-bench` for speed, and the buffer sizes it reports when it loads a model file.

It has no dummy weights: a GGUF file of the planned model and format is given with `--gguf`, or one of random weights is
made (`gguf.py`).
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from validation.card import Card
from validation.engines.gguf import GgufError, write_gguf
from validation.engines.server import unavailable
from validation.record import Outcome
from validation.supervise import Finished, supervise
from validation.trial import Trial
from validation.units import MIB, NANO

CACHE_TYPES = {"fp8": "q8_0", "int8": "q8_0", "bf16": "f16", "fp16": "f16", "fp32": "f32"}
REPETITIONS = 3


def replay(trial: Trial, work: Path, gguf: Path | None, cards: Sequence[Card]) -> Finished:
    """Run llama-bench on the given model file."""
    program = shutil.which("llama-bench")
    if program is None:
        return unavailable("engine llamacpp is not installed (no program `llama-bench`)")
    try:
        model = gguf.resolve() if gguf else write_gguf(trial.model, trial.text("precision"), work / "random.gguf")
    except GgufError as err:
        return unavailable(f"{err}; give a model file with --gguf FILE")
    finished = supervise(
        bench_command(program, trial, model),
        work=work,
        result_file=work / "none.json",
        time_limit_s=trial.time_limit_s,
    )
    measured: dict[str, float] = buffers(finished.talk)
    rows = bench_rows(finished.talk)
    if not rows:
        return Finished(
            outcome=finished.outcome, result={"measured": measured}, talk=finished.talk, started=finished.started
        )
    measured |= bench_figures(rows, trial)
    outcome = Outcome(state="ok", seconds=finished.outcome.seconds)
    result = {"measured": measured, "details": {"llama_bench": rows, "weights": "random" if gguf is None else "given"}}
    return Finished(outcome=outcome, result=result, talk=finished.talk, started=finished.started)


def bench_command(program: str, trial: Trial, gguf: Path) -> list[str]:
    """The prompt alone, then prompt and answer in one, layers on the GPU as planned, its talk switched on."""
    layers = int(trial.model.get("num_hidden_layers", 999)) if trial.model else 999
    on_gpu = 999 if not trial.share("weights_cpu") else round(layers * (1 - trial.share("weights_cpu")))
    inputs, outputs = trial.number("input_tokens"), trial.number("output_tokens", 0)
    cache = CACHE_TYPES.get(trial.text("kv_precision"), "f16")
    return [
        *[program, "-m", str(gguf), "-p", str(inputs), "-n", "0", *(["-pg", f"{inputs},{outputs}"] if outputs else [])],
        *["-ngl", str(on_gpu), "-fa", "0" if trial.text("attention") == "eager" else "1", "-ctk", cache, "-ctv", cache],
        *(["-ncmoe", str(round(layers * trial.share("experts_cpu")))] if trial.share("experts_cpu") else []),
        *["-r", str(REPETITIONS), "-o", "json", "-v"],
    ]


def bench_rows(talk: str) -> list[dict[str, Any]]:
    """The JSON list inside what llama-bench says, whatever stands around it; empty where there is none."""
    start, end = re.search(r"^\[\s*$", talk, re.MULTILINE), talk.rfind("\n]")
    if start is None or end < start.start():
        return []
    try:
        rows = json.loads(talk[start.start() : end + 2])
    except ValueError:
        return []
    return [row for row in rows if isinstance(row, dict)]


def bench_figures(rows: Sequence[Mapping[str, Any]], trial: Trial) -> dict[str, float]:
    """TTFT is the prompt's time, TPOT what the answer adds to it, a token; one sequence at a time."""
    found: dict[str, float] = {}
    whole_s, outputs = 0.0, 0
    for row in rows:
        seconds = float(row["avg_ns"]) * NANO
        if row.get("n_gen"):
            whole_s, outputs = seconds, int(row["n_gen"])
        elif row.get("n_prompt"):
            found["ttft"] = seconds
    if outputs and "ttft" in found:
        found["tpot"] = found["step"] = (whole_s - found["ttft"]) / outputs
        found |= {"request_rate": 1 / whole_s, "output_rate": outputs / whole_s}
        found["token_rate"] = (outputs + trial.number("input_tokens")) / whole_s
    return found


def buffers(talk: str) -> dict[str, float]:
    """Bytes of model, KV and compute buffers on GPUs, as llama.cpp reports them; host buffers are left out."""
    found = {
        "weights": _sum(r"(?:CUDA|ROCm|Vulkan|Metal)\d*(?:_Split)? (?:model )?buffer size\s*=\s*([\d.]+) MiB", talk),
        "kv_pool": _sum(r"(?:CUDA|ROCm|Vulkan|Metal)\d* KV buffer size\s*=\s*([\d.]+) MiB", talk),
        "workspace": _sum(r"(?:CUDA|ROCm|Vulkan|Metal)\d* compute buffer size\s*=\s*([\d.]+) MiB", talk),
    }
    return {rule: value for rule, value in found.items() if value is not None}


def _sum(pattern: str, talk: str) -> float | None:
    """Sum over GPUs of the last report of each."""
    last = {}
    for line in talk.splitlines():
        match = re.search(pattern, line)
        if match:
            last[re.split(r"\s+(?:model |KV |compute )?buffer size", line)[0].split()[-1]] = float(match[1]) * MIB
    return sum(last.values()) if last else None
