"""A dozen and a half published measurements, each within 35 %: other models, GPUs and engines in every row.

The rows are a sanity band, not the accuracy: that is stated in the README over whole tables.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from planner.estimate.speed import infer_speed, train_speed
from planner.estimate.types import InferSpeed, LoraJob
from tests.estimate.jobs import catalog, engine, infer_job, infer_ways, one, train_job, train_ways, whole
from tests.estimate.speed.machines import AMPLE_SLOTS, machine

BAND = 0.35


@dataclass(frozen=True)
class Served:
    """One measured row of inference."""

    model: str
    gpu: str
    engine: str
    precision: str
    tokens: tuple[int, int]
    batch: int
    measured: float
    figure: Callable[[InferSpeed], float]
    source: str
    kv_bits: float = 16.0
    tensor_parallel: int = 1
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.model} {self.precision} on {self.tensor_parallel}x{self.gpu}, {self.engine}"


def rate(found: InferSpeed) -> float:
    return float(found.output_tokens_per_second[0])


def ttft(found: InferSpeed) -> float:
    return float(found.ttft_s[0])


def tpot(found: InferSpeed) -> float:
    return float(found.tpot_s[0])


def decoding(found: InferSpeed) -> float:
    return 1.0 / tpot(found)


TRT09 = "TensorRT-LLM 0.9 performance overview (2024-04)"
NIM = "NIM for LLMs 1.8.0 performance tables, closed loop (docs.nvidia.com/nim/benchmarking)"
GST = "GPUStack performance lab, closed loop of 4 (gpustack/gpustack docs/performance-lab)"
XD = "XiongjieDai/GPU-Benchmarks-on-LLM-Inference @aa72e0ec86c3 (2024-05)"
QWEN3 = "Qwen3 speed tables (docs/source/getting_started/speed_benchmark), end to end of 2,048 tokens"
LLAMA_70B = "meta-llama/Llama-3.3-70B-Instruct"
ROWS = (
    Served("EleutherAI/gpt-j-6b", "h200-sxm-141gb", "trtllm", "fp8", (128, 2048), 120, 8530, rate, TRT09, 8),
    Served("EleutherAI/gpt-j-6b", "l40s", "trtllm", "fp8", (128, 2048), 64, 1904, rate, TRT09, 8),
    Served("EleutherAI/gpt-j-6b", "a100-sxm-80gb", "trtllm", "fp16", (128, 128), 512, 5876, rate, TRT09),
    Served("EleutherAI/gpt-j-6b", "h100-sxm-80gb", "trtllm", "fp8", (128, 1), 1, 0.0055, ttft, TRT09, 8),
    Served(LLAMA_70B, "h100-sxm-80gb", "trtllm", "fp8", (5000, 500), 1, 0.4068, ttft, NIM, 8, 2),
    Served(LLAMA_70B, "h100-sxm-80gb", "trtllm", "fp8", (5000, 500), 1, 0.0186, tpot, NIM, 8, 2),
    Served("Qwen/Qwen3-8B", "h100-sxm-80gb", "vllm", "bf16", (233, 221), 4, 0.0074, tpot, GST),
    Served("Qwen/Qwen3-8B", "h100-sxm-80gb", "sglang", "bf16", (233, 221), 4, 525.59, rate, GST),
    Served("Qwen/Qwen3-8B", "h100-sxm-80gb", "sglang", "fp8-block", (233, 221), 4, 0.0057, tpot, GST),
    Served("Qwen/Qwen3-4B", "h20-96gb", "sglang", "int4-awq", (1, 2048), 1, 10.26 / 2048, tpot, QWEN3),
    Served("Qwen/Qwen3-0.6B", "h20-96gb", "transformers", "bf16", (1, 2048), 1, 34.98 / 2048, tpot, QWEN3),
    Served("meta-llama/Meta-Llama-3-8B", "rtx-4090-24gb", "llamacpp", "gguf-q4_k_m", (1, 512), 1, 130.6, decoding, XD),
    Served("meta-llama/Meta-Llama-3-8B", "rtx-3090-24gb", "llamacpp", "gguf-f16", (1, 512), 1, 47.4, decoding, XD),
    Served("meta-llama/Meta-Llama-3-8B", "a100-sxm-80gb", "llamacpp", "gguf-f16", (1, 512), 1, 53.5, decoding, XD),
    Served(
        "meta-llama/Llama-2-7b-hf", "a100-sxm-80gb", "transformers", "bf16", (5, 200), 1, 104.9, decoding,
        "gpt-fast README @32971d312954: compiled decoding", options={"compile": True, "kv_layout": "static"},
    ),
    Served(
        "facebook/opt-6.7b", "t4", "transformers", "fp16", (512, 32), 2, 25.12, rate,
        "FlexGen README @004ffef82b46: Hugging Face Accelerate without offload",
    ),
    Served(
        "Qwen/Qwen2-72B", "h100-sxm-80gb", "vllm", "fp16", (128, 128), 1, 2.5755 / 128, tpot,
        "Argonne LLM-Inference-Bench @4211f5: end to end of 128 tokens", tensor_parallel=4,
    ),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_serving_lies_within_the_band_of_a_published_run(row: Served) -> None:
    job = infer_job(
        row.model, engine=engine(row.engine, **row.options), weights=catalog().precision(row.precision),
        kv_bits=row.kv_bits, input_tokens=row.tokens[0], output_tokens=row.tokens[1],
    )  # fmt: skip
    ways = infer_ways(row.batch, tensor_parallel=whole(row.tensor_parallel))
    found = infer_speed(job, ways, machine(job, row.gpu, row.tensor_parallel), kv_slots=one(AMPLE_SLOTS))
    assert row.figure(found) == pytest.approx(row.measured, rel=BAND), row.source


ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
QWEN_README = "QwenLM/Qwen README @03cd81f5e4da: seconds a step of eight sequences"


@pytest.mark.parametrize(
    ("model", "tokens", "base", "measured_s"),
    [
        ("Qwen/Qwen1.5-7B", 1024, "bf16", 2.8),
        ("Qwen/Qwen1.5-7B", 8192, "bf16", 21.3),
        ("Qwen/Qwen1.5-14B", 8192, "bf16", 36.0),
        ("Qwen/Qwen1.5-14B", 1024, "int4-gptq", 8.2),
        ("Qwen/Qwen1.5-72B", 8192, "int4-gptq", 179.8),
    ],
)
def test_fine_tuning_lies_within_the_band_of_the_published_steps(
    model: str, tokens: int, base: str, measured_s: float
) -> None:
    """One A100-80GB, LoRA and QLoRA on all linear layers, full checkpointing."""
    job = train_job(
        model, method="lora" if base == "bf16" else "qlora", lora=LoraJob(rank=64, targets=ALL, bits=32.0),
        base=catalog().precision(base), precision="bf16-mixed", sequence_tokens=tokens, global_batch=8,
        checkpointing="full", attention="flash",
    )  # fmt: skip
    found = train_speed(job, train_ways(1), machine(job, "a100-sxm-80gb"))
    assert found.step_s[0] == pytest.approx(measured_s, rel=BAND), QWEN_README


@pytest.mark.parametrize(
    ("model", "splits", "batch", "measured"),
    [
        ("meta-llama/Llama-2-7b-hf", {"data_parallel": 8}, (1, 128), 16934.0),
        ("meta-llama/Llama-2-13b-hf", {"pipeline_parallel": 4, "data_parallel": 2}, (1, 32), 10180.0),
    ],
)
def test_fp8_training_lies_within_the_band_of_the_nemo_tables(
    model: str, splits: dict[str, int], batch: tuple[int, int], measured: float
) -> None:
    """NeMo 24.12 performance summary: tokens a second of one H100, 4,096 tokens a sequence."""
    job = train_job(
        model, engine=engine("megatron"), base=catalog().precision("fp32"), precision="fp8-mixed",
        sequence_tokens=4096, global_batch=batch[1], sharding="zero1", attention="flash",
    )  # fmt: skip
    ways = train_ways(batch[0], **{name: whole(number) for name, number in splits.items()})
    found = train_speed(job, ways, machine(job, "h100-sxm-80gb", 8))
    assert found.tokens_per_second[0] / ways.gpus[0] == pytest.approx(measured, rel=BAND)
