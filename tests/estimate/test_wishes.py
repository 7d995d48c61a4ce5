"""`plan check` names every workload that cannot be, with its line, and lets everything else pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.errors import InputError
from planner.estimate.wishes import refuse_impossible_wishes
from planner.spec.load import load_spec
from tests.estimate.jobs import catalog

SMALL = "{model_type: llama, num_hidden_layers: 2, hidden_size: 128, intermediate_size: 256, vocab_size: 100"
REFUSED = {
    f"model: {SMALL}, num_attention_heads: 7}}, mode: infer, batch: 1, sequence: 64": "not a multiple of",
    f"model: {SMALL}, num_attention_heads: 8, num_quantum_heads: 3}}, mode: infer, batch: 1, sequence: 64": (
        "unknown key num_quantum_heads; nearest: num_attention_heads"
    ),
    "model: llama-2-7b, mode: infer, engine: vllm, sequence: 64, engine_options: {gpu_mem_utilization: 0.9}": (
        "nearest: gpu_memory_utilization"
    ),
    "model: llama-2-7b, mode: infer, engine: vllm, sequence: 64, precision: gguf-q4_k_m": "does not run precision",
    "model: llama-2-7b, mode: infer, sequence: 64, images: {count: 1, width: 64, height: 64}": "takes no images",
    "model: llama-2-7b, mode: train, precision: fp8-mixed, batch: 1, sequence: 64, pin: {gpu: a100-sxm-80gb}": (
        "cannot train in fp8-mixed"
    ),
    "model: llama-2-7b, mode: infer, sequence: 64, pin: {gpu: l4, tensor_parallel: 3}": "attention heads of",
    "model: llama-2-7b, mode: infer, sequence: 64, pin: {gpu: l4, node: dgx-h100}": "not the pinned l4",
}


def check(folder: Path, *workloads: str) -> None:
    path = folder / "spec.yaml"
    lines = [f"  - {{name: w{i}, {text}}}\n" for i, text in enumerate(workloads)]
    path.write_text("workloads:\n" + "".join(lines), encoding="utf-8")
    refuse_impossible_wishes(load_spec(path), catalog())


def test_every_contradiction_of_a_spec_is_named_at_once_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        check(tmp_path, *REFUSED)
    assert len(caught.value.messages) == len(REFUSED)
    for i, (message, words) in enumerate(zip(caught.value.messages, REFUSED.values(), strict=True)):
        assert f"spec.yaml:{i + 2}:" in message
        assert f"workloads.w{i}: " in message
        assert words in message


def test_what_only_does_not_fit_is_no_contradiction(tmp_path: Path) -> None:
    check(tmp_path, "model: meta-llama/Llama-3.1-405B, mode: infer, sequence: 64, pin: {gpu: l4}")
