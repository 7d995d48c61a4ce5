"""vLLM: `vllm serve` with dummy weights, its start-up report, and `vllm bench serve`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from validation.card import Card
from validation.engines.dummy import is_makeable, model_folder, served_dtype
from validation.engines.server import Served, free_port, highest, numbers, serve_and_measure, unavailable
from validation.supervise import Finished
from validation.trial import Trial
from validation.units import GIB

KV_DTYPES = {"fp8": "fp8", "bf16": "auto", "fp16": "auto", "fp32": "auto", "auto": "auto", "": "auto"}
PROMPTS_PER_CLIENT = 4
"""Rounds of requests in closed loop: the first fills the batch, the last empties it."""
FLAGS: Mapping[str, str] = {
    "max_model_len": "--max-model-len",
    "max_num_seqs": "--max-num-seqs",
    "max_num_batched_tokens": "--max-num-batched-tokens",
}
UTILISATION = "gpu_memory_utilization"
OLD_BLOCK_TOKENS = 16


def replay(trial: Trial, work: Path, gguf: Path | None, cards: Sequence[Card]) -> Finished:
    """Serve the model with dummy weights and measure it with vLLM's own client."""
    program = shutil.which("vllm")
    if program is None:
        return unavailable("engine vllm is not installed (no program `vllm`)")
    precision = trial.text("precision", "bf16")
    if not is_makeable(precision):
        return unavailable(f"no dummy weights in {precision} are made for vLLM")
    if trial.emulate_bytes is not None and trial.options.get(UTILISATION) is None:
        return unavailable(f"the plan does not say {UTILISATION}, so no smaller card can be emulated")
    folder = model_folder(trial, work / "model")
    port = free_port()
    served = Served(
        command=serve_command(program, trial, folder, port=port, cards=cards),
        benchmark=benchmark_command(program, trial, folder, port=port, out=work),
        result_file=work / "bench.json",
        port=port,
        health="/health",
        start_up=start_up,
        num_requests=PROMPTS_PER_CLIENT * trial.number("batch"),
    )
    return serve_and_measure(trial, work, served)


def serve_command(program: str, trial: Trial, folder: Path, *, port: int, cards: Sequence[Card]) -> list[str]:
    """The server as planned. On a card made to look smaller the memory budget shrinks with it."""
    command = [program, "serve", str(folder), "--load-format", "dummy", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--tensor-parallel-size", str(trial.number("tensor_parallel"))]
    command += ["--pipeline-parallel-size", str(trial.number("pipeline_parallel"))]
    command += ["--data-parallel-size", str(trial.number("data_parallel"))]
    if trial.number("expert_parallel") > 1:
        command.append("--enable-expert-parallel")
    precision = trial.text("precision", "bf16")
    command += ["--dtype", served_dtype(precision)]
    if precision == "fp8":
        command += ["--quantization", "fp8"]
    command += ["--kv-cache-dtype", KV_DTYPES.get(trial.text("kv_precision"), "auto")]
    command.append("--no-enable-prefix-caching")
    for option, flag in FLAGS.items():
        if trial.options.get(option) is not None:
            command += [flag, str(trial.options[option])]
    budget = utilisation(trial, cards)
    if budget is not None:
        command += ["--gpu-memory-utilization", f"{budget:.4f}"]
    if trial.options.get("enforce_eager"):
        command.append("--enforce-eager")
    return command


def utilisation(trial: Trial, cards: Sequence[Card]) -> float | None:
    """The share of the card that vLLM may take, scaled where a smaller one is emulated; None = its own default."""
    planned = trial.options.get(UTILISATION)
    total = cards[0].total_bytes if cards else None
    if planned is None:
        return None
    return float(planned) * (trial.emulate_bytes / total if trial.emulate_bytes is not None and total else 1.0)


def benchmark_command(program: str, trial: Trial, folder: Path, *, port: int, out: Path) -> list[str]:
    """vLLM's closed loop: as many clients as the planned batch, prompts and answers of the planned length."""
    batch = trial.number("batch")
    return [
        *[program, "bench", "serve", "--backend", "vllm", "--model", str(folder), "--host", "127.0.0.1"],
        *["--port", str(port), "--dataset-name", "random", "--random-range-ratio", "0.0", "--ignore-eos"],
        *["--random-input-len", str(trial.number("input_tokens"))],
        *["--random-output-len", str(max(1, trial.number("output_tokens")))],
        *["--num-prompts", str(PROMPTS_PER_CLIENT * batch), "--max-concurrency", str(batch)],
        *["--save-result", "--result-dir", str(out), "--result-filename", "bench.json"],
    ]


def start_up(talk: str) -> dict[str, float]:
    """Weights, KV pool and its tokens as vLLM reports them, since 0.4; each worker and engine core says its own.

    The oldest versions count the pool in blocks of 16 tokens, as their default was.
    """
    weights = highest(
        r"Model loading took ([\d.]+) (?:GiB|GB)", r"Loading model weights took ([\d.]+) (?:GiB|GB)", text=talk
    )
    pool = numbers(r"Available KV cache memory: ([\d.]+) GiB", talk)
    tokens = numbers(r"GPU KV cache size: ([\d,]+) tokens", talk)
    blocks = numbers(r"# (?:GPU|cuda) blocks: (\d+)", talk)
    found: dict[str, Any] = {
        "weights": None if weights is None else weights * GIB,
        "kv_pool": min(pool) * GIB if pool else None,
        "kv_tokens": min(tokens) if tokens else min(blocks) * OLD_BLOCK_TOKENS if blocks else None,
    }
    return {rule: float(value) for rule, value in found.items() if value is not None}
