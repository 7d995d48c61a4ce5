"""A plan small enough to read, as `plan build` writes it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from validation.planfile import body_sha256

ROOT = Path(__file__).parents[2]
LLAMA = {
    "model_type": "llama",
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "tie_word_embeddings": True,
}
GIB = 2**30
INFER: dict[str, Any] = {
    "name": "chat",
    "mode": "infer",
    "model": "test/llama-1b",
    "engine": "transformers",
    "gpu": "l4",
    "replicas": 2,
    "fits": True,
    "config": {
        "precision": "bf16",
        "kv_precision": "bf16",
        "attention": "sdpa",
        "tensor_parallel": 1,
        "pipeline_parallel": 1,
        "data_parallel": 1,
        "expert_parallel": 1,
        "context_parallel": 1,
        "batch": 4,
        "input_tokens": 512,
        "output_tokens": 64,
        "offload": {"weights_cpu": 0.0, "weights_disk": 0.0, "kv_cpu": 0.0},
    },
    "memory": {
        "per_gpu_bytes": {"weights": 2_471_628_800, "kv_cache": 75_497_472},
        "allocated_peak_bytes": 3 * GIB,
        "reserved_peak_bytes": 3 * GIB,
        "device_peak_bytes": 4 * GIB,
        "static_bytes": 2_471_628_800,
        "usable_bytes": 22 * GIB,
        "kv_cache_tokens": 2304,
    },
    "performance": {
        "output_tokens_per_second": 400.0,
        "tokens_per_second": 3600.0,
        "requests_per_second": 6.25,
        "ttft_s": 0.1,
        "tpot_s": 0.018,
        "step_s": 0.018,
        "mfu": 0.2,
    },
    "intervals": {"allocated_peak_bytes": [2.9 * GIB, 3.1 * GIB], "output_tokens_per_second": [300.0, 500.0]},
    "placements": [{"offer": "x/y/z", "node": "n", "gpus_per_replica": 1, "nodes_per_replica": 1, "replicas": 2}],
}
SPEC = {
    "name": "chat",
    "model": "test/llama-1b",
    "mode": "infer",
    "engine": "transformers",
    "batch": "auto",
    "sequence": {"input": 512, "output": 64},
    "pin": {"gpu": None},
    "targets": {"requests_per_second": 4.0},
    "lora": None,
}


def sealed(raw: dict[str, Any]) -> dict[str, Any]:
    """The plan with its hash, as it would be written."""
    return {**raw, "body_sha256": body_sha256(raw)}


@pytest.fixture
def plan() -> dict[str, Any]:
    """A plan of one inference workload."""
    return sealed(
        {
            "schema": "planner/plan/v1",
            "name": "test-plan",
            "created": "2026-11-22T00:00:00+00:00",
            "status": "optimal",
            "solver": {"wall_s": 1.0, "gap": 0.0},
            "workloads": [copy.deepcopy(INFER)],
            "inputs": {"spec": {"workloads": [SPEC]}, "models": {"chat": LLAMA}},
        }
    )


@pytest.fixture
def plan_file(plan: dict[str, Any], tmp_path: Path) -> Path:
    """The same plan in a file."""
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan))
    return path


Write = Callable[[dict[str, Any]], Path]


@pytest.fixture
def written(tmp_path: Path) -> Write:
    """Put a document into a file."""

    def write(raw: dict[str, Any]) -> Path:
        path = tmp_path / "given.json"
        path.write_text(json.dumps(raw))
        return path

    return write
