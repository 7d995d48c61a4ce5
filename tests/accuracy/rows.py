"""Answers and scored rows made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from planner.accuracy.rules import figure_of
from planner.accuracy.types import Answer, Scored

PARTS = {"weights": 100, "gradients": 0, "optimizer": 0, "activations": 20, "kv_cache": 40, "logits": 5, "workspace": 3}
SERVED = Answer(
    mode="infer",
    method="infer",
    engine="vllm",
    gpu="a100-sxm-80gb",
    arch="ampere",
    fits=True,
    gpus=2,
    batch=8.0,
    input_tokens=100,
    output_tokens=11,
    part_bytes=PARTS,
    allocated_bytes=168,
    reserved_bytes=180,
    device_bytes=200,
    static_bytes=100,
    host_bytes=0,
    kv_cache_tokens=1000,
    output_tokens_per_second=400.0,
    tokens_per_second=4000.0,
    requests_per_second=40.0,
    ttft_s=0.5,
    tpot_s=0.01,
    prefill_s=0.4,
    step_s=0.01,
    mfu=0.3,
)
TRAINED = replace(SERVED, mode="train", method="full", engine="megatron", ttft_s=None, tpot_s=None, prefill_s=None)


def row(measured: float, predicted: float | None, *, rule: str = "allocated", **changes: Any) -> Scored:
    """One scored figure."""
    plain = Scored(
        record="r-1",
        origin="published",
        source="table",
        framework="vLLM",
        model="m",
        precision="bf16",
        rule=rule,
        figure=figure_of(rule),
        unit="bytes",
        measured=measured,
        answer=SERVED,
        predicted=predicted,
    )
    return replace(plain, **changes)
