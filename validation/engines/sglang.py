"""SGLang: its server with dummy weights, its start-up report, and `sglang.bench_serving`."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from validation.card import Card
from validation.engines.dummy import is_makeable, model_folder, served_dtype
from validation.engines.server import Served, free_port, highest, numbers, serve_and_measure, unavailable
from validation.engines.vllm import PROMPTS_PER_CLIENT
from validation.supervise import Finished
from validation.trial import Trial
from validation.units import GIB

KV_DTYPES = {"fp8": "fp8_e4m3"}
FRACTION = "mem_fraction_static"


def replay(trial: Trial, work: Path, gguf: Path | None, cards: Sequence[Card]) -> Finished:
    """Serve the model with dummy weights and measure it with SGLang's own client."""
    if importlib.util.find_spec("sglang") is None:
        return unavailable("engine sglang is not installed")
    precision = trial.text("precision", "bf16")
    if not is_makeable(precision):
        return unavailable(f"no dummy weights in {precision} are made for SGLang")
    if trial.emulate_bytes is not None and trial.options.get(FRACTION) is None:
        return unavailable(f"the plan does not say {FRACTION}, so no smaller card can be emulated")
    folder = model_folder(trial, work / "model")
    port = free_port()
    served = Served(
        command=serve_command(trial, folder, port=port, cards=cards),
        benchmark=benchmark_command(trial, folder, port=port, out=work / "bench.json"),
        result_file=work / "bench.json",
        port=port,
        health="/health",
        start_up=start_up,
        num_requests=PROMPTS_PER_CLIENT * trial.number("batch"),
    )
    return serve_and_measure(trial, work, served)


def serve_command(trial: Trial, folder: Path, *, port: int, cards: Sequence[Card]) -> list[str]:
    """The server as planned. On a card made to look smaller the static share shrinks with it."""
    command = [sys.executable, "-m", "sglang.launch_server", "--model-path", str(folder), "--load-format", "dummy"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--disable-radix-cache"]
    command += ["--tp-size", str(trial.number("tensor_parallel")), "--pp-size", str(trial.number("pipeline_parallel"))]
    command += ["--dp-size", str(trial.number("data_parallel"))]
    precision = trial.text("precision", "bf16")
    command += ["--dtype", served_dtype(precision)]
    if precision == "fp8":
        command += ["--quantization", "fp8"]
    command += ["--kv-cache-dtype", KV_DTYPES.get(trial.text("kv_precision"), "auto")]
    planned, total = trial.options.get(FRACTION), cards[0].total_bytes if cards else None
    if planned is not None:
        smaller = trial.emulate_bytes / total if trial.emulate_bytes is not None and total else 1.0
        command += ["--mem-fraction-static", f"{float(planned) * smaller:.4f}"]
    if trial.options.get("max_model_len") is not None:
        command += ["--context-length", str(trial.options["max_model_len"])]
    return command


def benchmark_command(trial: Trial, folder: Path, *, port: int, out: Path) -> list[str]:
    """SGLang's closed loop: as many clients as the planned batch, prompts and answers of the planned length."""
    batch = trial.number("batch")
    return [
        *[sys.executable, "-m", "sglang.bench_serving", "--backend", "sglang", "--host", "127.0.0.1"],
        *["--port", str(port), "--model", str(folder), "--dataset-name", "random-ids", "--random-range-ratio", "1.0"],
        *["--random-input-len", str(trial.number("input_tokens"))],
        *["--random-output-len", str(max(1, trial.number("output_tokens")))],
        *["--num-prompts", str(PROMPTS_PER_CLIENT * batch), "--max-concurrency", str(batch)],
        *["--output-file", str(out)],
    ]


def start_up(talk: str) -> dict[str, float]:
    """Weights, KV pool and its tokens as SGLang reports them; its GB are GiB. The pool is K and V together.

    Models with latent attention say one size, those with sliding windows that of both their pools.
    """
    found: dict[str, float] = {}
    weights = highest(r"Load weight end\..*?mem usage=([\d.]+) GB", text=talk)
    if weights is not None:
        found["weights"] = weights * GIB
    pools = re.findall(r"KV Cache is allocated\..*?K size: ([\d.]+) GB, V size: ([\d.]+) GB", talk)
    single = highest(r"KV Cache is allocated\..*?KV size: ([\d.]+) GB", r"SWAKVPool mem usage: ([\d.]+) GB", text=talk)
    if single is not None or pools:
        found["kv_pool"] = GIB * (single if single is not None else max(float(k) + float(v) for k, v in pools))
    tokens = numbers(r"max_total_num_tokens=(\d+)", talk) or numbers(r"KV Cache is allocated\..*?#tokens: (\d+)", talk)
    if tokens:
        found["kv_tokens"] = min(tokens)
    return found
