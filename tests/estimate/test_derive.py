"""Derivations: a calculator gets every result from the numbers, and no figure is without a step."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable

import pytest

from planner.estimate.document import DerivationStep, WorkloadEstimate
from planner.estimate.run import estimate_spec
from planner.spec.load import load_spec_text
from planner.units import MIB
from tests.estimate.jobs import catalog

SPEC = """
version: 1
name: derive
workloads:
  - {name: transformers, model: llama-3.1-8b, mode: infer, engine: transformers, precision: bf16, batch: 4,
     sequence: {input: 1024, output: 256}, pin: {gpu: a100-sxm-80gb}}
  - {name: many-sequences, model: qwen2.5-0.5b, mode: infer, engine: transformers, precision: bf16, batch: 64,
     sequence: {input: 64, output: 2000}, pin: {gpu: a100-sxm-80gb}}
  - {name: vllm, model: llama-3.1-8b, mode: infer, engine: vllm, precision: bf16, batch: 16,
     sequence: {input: 1024, output: 256}, pin: {gpu: h100-sxm-80gb, tensor_parallel: 2, replicas: 3}}
  - {name: sglang, model: llama-3.1-8b, mode: infer, engine: sglang, precision: fp8, batch: 16,
     sequence: {input: 1024, output: 256}, pin: {gpu: h100-sxm-80gb}}
  - {name: tensorrt, model: qwen3-30b-a3b, mode: infer, engine: trtllm, precision: bf16, batch: 16,
     sequence: {input: 1024, output: 256}, pin: {gpu: h200-sxm-141gb}}
  - {name: llamacpp, model: llama-3.1-8b, mode: infer, engine: llamacpp, precision: gguf-q4_k_m, batch: 1,
     sequence: {input: 1024, output: 256}, pin: {gpu: rtx-4090-24gb}}
  - {name: bert, model: bert-base, mode: infer, engine: transformers, precision: fp16, batch: 32,
     sequence: {input: 512, output: 0}, pin: {gpu: t4}}
  - {name: qlora, model: llama-3.1-8b, mode: train, method: qlora, batch: 16, sequence: 1024, pin: {gpu: l40s},
     targets: {tokens: 1.0e7}}
  - {name: full, model: qwen2.5-0.5b, mode: train, method: full, batch: 16, sequence: 2048,
     pin: {gpu: a100-sxm-80gb, data_parallel: 2}, targets: {tokens: 1.0e8}}
  - {name: offloaded, model: llama-3.1-8b, mode: infer, engine: transformers, precision: bf16, batch: 2,
     sequence: {input: 1024, output: 256}, pin: {gpu: rtx-4090-24gb, offload: {weights_cpu: 0.5, weights_disk: 0.25,
     kv_cpu: 0.5}}}
  - {name: table-in-host, model: llama-3.1-8b, mode: infer, engine: llamacpp, precision: gguf-q4_k_m, batch: 1,
     sequence: {input: 1024, output: 256}, pin: {gpu: rtx-4090-24gb, offload: {weights_cpu: 0.5}}}
  - {name: optimizer-in-host, model: qwen2.5-0.5b, mode: train, method: full, batch: 16, sequence: 1024,
     sharding: zero3, pin: {gpu: l4, data_parallel: 2, offload: {optimizer_cpu: 1.0, params_cpu: 0.5}}}
  - {name: both-in-part, model: qwen2.5-0.5b, mode: train, method: full, batch: 16, sequence: 1024,
     sharding: zero3, pin: {gpu: l4, data_parallel: 2, offload: {optimizer_cpu: 0.5, params_cpu: 0.25}}}
  - {name: whisper, model: whisper-large-v3, mode: infer, engine: transformers, precision: fp16, batch: 4,
     audio: {seconds: 30}, sequence: {input: 1, output: 100}, pin: {gpu: l4}}
  - {name: awq-loading, model: qwen2.5-1.5b, mode: infer, engine: "transformers@4.46.0", precision: int4-awq, batch: 1,
     sequence: {input: 1, output: 2048}, pin: {gpu: a100-sxm-80gb}}
  - {name: old-loop, model: qwen1.5-7b, mode: infer, engine: "transformers@4.38.0", precision: bf16, batch: 1,
     sequence: {input: 30720, output: 2048}, pin: {gpu: a100-sxm-80gb}}
  - {name: padded-experts, model: gpt-oss-120b, mode: infer, engine: "vllm@0.10.2", precision: mxfp4, batch: auto,
     sequence: {input: 2048, output: 64}, pin: {gpu: h100-sxm-80gb, tensor_parallel: 2}}
  - {name: images-profiled, model: llama-3.2-11b-vision-instruct, mode: infer, engine: "vllm@0.6.6", precision: bf16,
     batch: auto, sequence: {input: 2048, output: 64}, engine_options: {max_num_seqs: 32}, pin: {gpu: h100-sxm-80gb}}
  - {name: split-buffers, model: gpt-oss-20b, mode: infer, engine: llamacpp, precision: gguf-q8_0, batch: 2,
     sequence: {input: 8000, output: 100}, pin: {gpu: l40s, pipeline_parallel: 2}}
  - {name: t5, model: flan-t5-xl, mode: infer, engine: transformers, precision: bf16, batch: 4,
     sequence: {input: 512, output: 100}, pin: {gpu: l4}}
  - {name: arrivals, model: llama-3.1-8b, mode: infer, engine: vllm, precision: bf16, batch: 32,
     sequence: {input: 1024, output: 256}, targets: {requests_per_second: 12},
     pin: {gpu: h100-sxm-80gb, data_parallel: 2, replicas: 2}}
  - {name: overrun, model: llama-3.1-8b, mode: infer, engine: vllm, precision: bf16, batch: 32,
     sequence: {input: 1024, output: 256}, targets: {requests_per_second: 1200}, pin: {gpu: h100-sxm-80gb}}
  - {name: arrivals-pooled, model: bge-m3, mode: infer, engine: vllm, precision: fp16, batch: 32,
     sequence: {input: 512, output: 0}, targets: {requests_per_second: 20}, pin: {gpu: h100-sxm-80gb}}
  - {name: mix-paged, model: gemma-3-27b-it, mode: infer, engine: vllm, precision: bf16, batch: auto,
     traffic: [{input: 200, output: 100, share: 0.7}, {input: 8000, output: 500, share: 0.3}],
     targets: {requests_per_second: 0.5}, pin: {gpu: h200-sxm-141gb}}
  - {name: mix-padded, model: llama-3.1-8b, mode: infer, engine: transformers, precision: bf16, batch: 8,
     traffic: [{input: 200, output: 100, share: 0.7}, {input: 2000, output: 500, share: 0.3}],
     targets: {requests_per_second: 0.5}, pin: {gpu: a100-sxm-80gb}}
  - {name: mix-slots, model: llama-3.1-8b, mode: infer, engine: llamacpp, precision: gguf-q4_k_m, batch: 4,
     traffic: [{input: 200, output: 100, share: 0.7}, {input: 2000, output: 500, share: 0.3}],
     pin: {gpu: rtx-4090-24gb}}
  - {name: whole-heads, model: microsoft/phi-3-mini-4k-instruct, mode: infer, engine: transformers, precision: bf16,
     batch: 4, sequence: {input: 1024, output: 8}, pin: {gpu: a100-sxm-80gb, tensor_parallel: 4}}
  - {name: whole-table, model: EleutherAI/pythia-1.4b, mode: infer, engine: transformers, precision: bf16, batch: 4,
     sequence: {input: 1024, output: 8}, pin: {gpu: a100-sxm-80gb, tensor_parallel: 2}}
  - {name: split-tuning, model: EleutherAI/pythia-1.4b, mode: train, method: full, batch: 4, sequence: 1024,
     pin: {gpu: a100-sxm-80gb, tensor_parallel: 2}}
  - {name: split-llama, model: llama-3.1-8b, mode: train, method: full, precision: bf16, batch: 2, sequence: 1024,
     pin: {gpu: h200-sxm-141gb, tensor_parallel: 2}}
  - {name: views, model: qwen2.5-0.5b, mode: train, method: full, batch: 16, sequence: 1024, sharding: none,
     engine_options: {gradient_bucket_view: true}, pin: {gpu: a100-sxm-80gb, data_parallel: 8}}
  - {name: in-backward, model: llama-3.1-8b, mode: train, engine: torchtune, method: full, precision: bf16,
     batch: {global: 1, micro: 1}, sequence: 2048, checkpointing: full, pin: {gpu: h200-sxm-141gb},
     engine_options: {optimizer_step: in-backward}}
  - {name: saved-tables, model: llama-3.1-8b, mode: train, method: lora, batch: {global: 4, micro: 1}, sequence: 2048,
     lora: {rank: 16, modules_to_save: [embed_tokens, lm_head]}, pin: {gpu: h200-sxm-141gb}}
  - {name: full-to-the-brim, model: llama-2-7b, mode: infer, engine: transformers, precision: fp16, batch: 15,
     sequence: {input: 3000, output: 256}, pin: {gpu: l40s}}
"""
ESTIMATES = estimate_spec(load_spec_text(SPEC).spec, catalog()).workloads
NAMES = tuple(w.name for w in ESTIMATES)
OPERATORS: dict[type[ast.AST], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
FUNCTIONS: dict[str, Callable[..., float]] = {"max": max, "min": min, "floor": math.floor}


def calculator(numbers: str) -> float:
    """Evaluate what a step writes: x is times, [remarks] say nothing, commas group digits."""
    text = re.sub(r"\[[^]]*\]", "", numbers).replace(" x ", " * ")
    return value(ast.parse(re.sub(r"(?<=\d),(?=\d{3})", "", text).strip(), mode="eval").body)


def value(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.BinOp():
            return OPERATORS[type(node.op)](value(node.left), value(node.right))
        case ast.Call(func=ast.Name(id=name)):
            return FUNCTIONS[name](*(value(a) for a in node.args))
    raise ValueError(ast.dump(node))


def first_number(result: str) -> float:
    found = re.match(r"[\d,.]+(e-?\d+)?", result)
    assert found, result
    return float(found[0].replace(",", ""))


def named(name: str) -> WorkloadEstimate:
    estimate = ESTIMATES[NAMES.index(name)]
    assert isinstance(estimate, WorkloadEstimate), estimate
    return estimate


def step_of(name: str, figure: str) -> DerivationStep:
    (step,) = (s for s in named(name).derivation if s.figure == figure)
    return step


@pytest.mark.parametrize("name", NAMES)
def test_a_calculator_gets_every_result_from_the_numbers(name: str) -> None:
    steps = named(name).derivation
    assert len(steps) > 15
    wrong = [
        (s.figure, s.numbers, calculator(s.numbers), s.result)
        for s in steps
        if calculator(s.numbers) != pytest.approx(first_number(s.result), rel=1e-4, abs=2)
        or (first_number(s.result) < 100 and calculator(s.numbers) != pytest.approx(first_number(s.result), rel=1e-4))
    ]
    assert wrong == []


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_has_a_step_with_its_own_value(name: str) -> None:
    document = named(name)
    figures = {f"memory.per_gpu_bytes.{k}": v for k, v in document.memory.per_gpu_bytes.items() if v > MIB}
    for group in ("performance", "cost"):
        fields = getattr(document, group).model_dump()
        figures |= {f"{group}.{k}": v for k, v in fields.items() if isinstance(v, float)}
    arrivals = document.performance.open_loop
    if arrivals is not None:
        figures["performance.open_loop.utilisation"] = arrivals.utilisation
        for key in ("ttft_s", "tpot_s", "end_to_end_s"):
            over_requests = getattr(arrivals, key)
            figures[f"performance.open_loop.{key}.mean"] = over_requests.mean if over_requests else 0.0
    figures |= {f"memory.{k}": getattr(document.memory, k) for k in ("host_bytes", "disk_bytes")}
    figures = {k: v for k, v in figures.items() if v}
    figures |= {k: getattr(document, k) for k in ("power_kw", "kg_co2_per_month") if getattr(document, k) is not None}
    told = {s.figure: s for s in document.derivation}
    assert len(told) == len(document.derivation)
    assert len(figures) > 8
    for figure, expected in figures.items():
        assert figure in told
        assert first_number(told[figure].result) == pytest.approx(expected, rel=1e-5), figure


def test_the_pool_of_a_serving_engine_is_its_budget_and_not_its_batch() -> None:
    step = step_of("vllm", "memory.per_gpu_bytes.kv_cache")
    assert "gpu_memory_utilization" in step.formula
    assert calculator(step.numbers) > 10 * 16 * 1280 * 131072 / 2


def test_the_cache_of_transformers_is_batch_times_sequence() -> None:
    """32 layers x 2 x 8 heads x 128 x 2 bytes = 131,072 a token; 4 sequences of 1,024 or 1,280 tokens."""
    assert step_of("transformers", "kv_bytes_per_token").result == "131,072 bytes a token"
    held = calculator(step_of("transformers", "memory.per_gpu_bytes.kv_cache").numbers)
    assert held in (4 * 131072 * 1024, 4 * 131072 * 1280)


@pytest.mark.parametrize("name", ["transformers", "many-sequences", "vllm", "sglang", "tensorrt", "llamacpp"])
def test_no_decode_step_is_faster_than_reading_its_bytes(name: str) -> None:
    step_s = named(name).performance.step_s
    assert step_s is not None
    assert 0 < first_number(step_of(name, "performance.decode_floor_s").result) < step_s


def test_a_whisper_recording_is_cached_once_for_all_words() -> None:
    """32 decoder layers x 2 x 20 heads x 64 values x 1,500 positions x 2 bytes (Radford et al. 2022, table 1)."""
    told = step_of("whisper", "kv_bytes_cross_attention")
    assert first_number(told.result) == 32 * 2 * 1280 * 1500 * 2


def test_half_of_the_layers_in_host_memory_is_half_of_their_bytes() -> None:
    """Layers of Llama-3.1-8B in bf16: 32 x 218,112,000 parameters x 2 bytes; a quarter lies on disk, half in memory."""
    layers = 32 * 218_112_000 * 2
    assert first_number(step_of("offloaded", "memory.disk_bytes").result) == layers / 4
    cache = 2 * 131072 * 1280 / 2
    assert first_number(step_of("offloaded", "memory.host_bytes").result) == layers / 2 + cache


def test_arrivals_beyond_what_is_served_have_a_warning_and_no_latencies() -> None:
    overrun = named("overrun")
    assert overrun.performance.open_loop is not None
    assert overrun.performance.open_loop.utilisation > 1
    assert overrun.performance.open_loop.ttft_s is None
    assert any("the queue only grows" in w for w in overrun.warnings)


def test_requests_wait_for_the_batch_under_way() -> None:
    queue = named("mix-padded").performance.open_loop
    assert queue is not None
    assert queue.ttft_s is not None
    assert queue.waiting_share is not None
    assert queue.waiting_share > 0.5
    step_s = named("mix-padded").performance.step_s
    assert step_s is not None
    assert queue.ttft_s.mean > 50 * step_s


def test_arrivals_are_dealt_over_replicas_and_ranks() -> None:
    """12 requests a second over two replicas of two ranks are 3 on each of four."""
    found = named("arrivals").performance
    assert found.open_loop is not None
    assert found.requests_per_second is not None
    assert found.open_loop.utilisation == pytest.approx(12 / found.requests_per_second, rel=1e-3)
    assert found.open_loop.running is not None
    assert found.open_loop.end_to_end_s is not None
    assert found.open_loop.ttft_s is not None
    decoding = found.open_loop.end_to_end_s.mean - found.open_loop.ttft_s.mean
    assert 12 * decoding <= found.open_loop.running <= 12 * found.open_loop.end_to_end_s.mean * 1.05
