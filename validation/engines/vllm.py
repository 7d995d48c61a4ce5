"""vLLM: `vllm serve` with dummy weights, its start-up report, and `vllm bench serve`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from validation.card import Card
from validation.engines.dummy import DTYPES, model_folder
from validation.engines.server import Served, first_number, free_port, serve_and_measure, unavailable
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


def replay(trial: Trial, work: Path, gguf: Path | None, cards: Sequence[Card]) -> Finished:
    """Serve the model with dummy weights and measure it with vLLM's own client."""
    program = shutil.which("vllm")
    if program is None:
        return unavailable("engine vllm is not installed (no program `vllm`)")
    precision = trial.text("precision", "bf16")
    if precision not in (*DTYPES, "fp8"):
        return unavailable(f"vLLM makes no dummy weights in {precision}; bf16, fp16, fp32 and fp8 can be replayed")
    folder = model_folder(trial, work / "model")
    port = free_port()
    served = Served(
        command=serve_command(program, trial, folder, port=port, cards=cards),
        benchmark=benchmark_command(program, trial, folder, port=port, out=work),
        result_file=work / "bench.json",
        port=port,
        health="/health",
        start_up=start_up,
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
    command += ["--dtype", DTYPES.get(precision, "bfloat16")]
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
    if trial.emulate_bytes is None or total is None:
        return None if planned is None else float(planned)
    return float(planned or 0.9) * trial.emulate_bytes / total


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
    """Weights, KV pool and its tokens as vLLM reports them, versions 0.7 and later."""
    weights = first_number(r"Model loading took ([\d.]+) (?:GiB|GB)", talk)
    if weights is None:
        weights = first_number(r"Loading model weights took ([\d.]+) (?:GiB|GB)", talk)
    pool = first_number(r"Available KV cache memory: ([\d.]+) GiB", talk)
    tokens = first_number(r"GPU KV cache size: ([\d,]+) tokens", talk)
    found: dict[str, Any] = {
        "weights": None if weights is None else weights * GIB,
        "kv_pool": None if pool is None else pool * GIB,
        "kv_tokens": tokens,
    }
    return {rule: float(value) for rule, value in found.items() if value is not None}
