"""Every option that memory knows, one changed at a time: nothing breaks, and the change has the sign it must have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from planner.estimate.memory import infer_memory, train_memory
from planner.estimate.types import InferJob, LoraJob, TrainJob
from tests.estimate.jobs import catalog, engine, hardware, infer_job, infer_ways, train_job, train_ways, whole

TRAINERS = ("transformers", "torchtitan", "torchtune", "megatron", "deepspeed", "litgpt", "llm-foundry")
LLAMA = "meta-llama/Llama-3.1-8B"


def trained(job: TrainJob, **splits: Any) -> float:
    return float(train_memory(job, train_ways(**splits), hardware()).allocated_peak_bytes[0])


def served(job: InferJob, **splits: Any) -> float:
    return float(infer_memory(job, infer_ways(4, **splits), hardware()).allocated_peak_bytes[0])


def tune(name: str = "transformers", options: dict[str, Any] | None = None, **changes: Any) -> TrainJob:
    return train_job(LLAMA, engine=engine(name, **(options or {})), sequence_tokens=2048, **changes)


@pytest.mark.parametrize("name", TRAINERS)
def test_more_sharding_and_checkpointing_and_wider_splits_never_take_more(name: str) -> None:
    peaks = [trained(tune(name, checkpointing=c)) for c in ("none", "selective", "full")]
    assert peaks == sorted(peaks, reverse=True)
    peaks = [trained(tune(name, sharding=s), data_parallel=whole(8)) for s in ("none", "zero1", "zero2", "zero3")]
    assert peaks == sorted(peaks, reverse=True)
    for width in ("tensor_parallel", "pipeline_parallel", "context_parallel"):
        peaks = [trained(tune(name, sharding="zero3"), **{width: whole(n)}) for n in (1, 2, 4)]
        assert peaks == sorted(peaks, reverse=True), width


@pytest.mark.parametrize(
    ("options", "less"),
    [
        ({"optimizer_step": "foreach"}, {"optimizer_step": "fused"}),
        ({"optimizer_step": "fused"}, {"optimizer_step": "in-backward"}),
        ({"cross_entropy": "standard"}, {"cross_entropy": "chunked"}),
        ({"cross_entropy": "standard"}, {"cross_entropy": "fused"}),
        ({}, {"activation_offloading": True}),
        ({}, {"compile": True}),
    ],
)
def test_an_option_that_saves_memory_saves_it(options: dict[str, Any], less: dict[str, Any]) -> None:
    more, saving = (tune(options=o, checkpointing="full", optimizer="sgd") for o in (options, less))
    assert trained(saving) <= trained(more)
    more, saving = (tune(options=o, checkpointing="full") for o in (options, less))
    assert trained(saving) <= trained(more)


def test_optimizers_stand_in_the_order_of_their_states() -> None:
    order = ("adamw", "muon", "lion", "adamw-8bit", "sgd")
    peaks = {
        n: trained(tune(optimizer=n, checkpointing="full", precision="bf16-mixed")) for n in (*order, "sgd-momentum")
    }
    assert [peaks[n] for n in order] == sorted((peaks[n] for n in order), reverse=True)
    assert peaks["lion"] == peaks["sgd-momentum"]


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_every_addition_to_adapters_costs_memory(method: str) -> None:
    base = catalog().precision("nf4" if method == "qlora" else "bf16")
    plain = LoraJob(rank=16, targets=("q_proj", "v_proj"), bits=16.0)
    wide = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    least = trained(tune(method=method, lora=plain, base=base))
    assert least < trained(tune(method="full"))
    for more in (
        {"rank": 64},
        {"targets": wide},
        {"bits": 32.0},
        {"dropout": 0.1},
        {"dora": True},
        {"saved": ("lm_head",)},
    ):
        assert trained(tune(method=method, lora=replace(plain, **more), base=base)) > least, more


def test_kernels_that_write_scores_out_and_precisions_that_are_wider_take_more() -> None:
    assert trained(tune(attention="eager")) > trained(tune(attention="sdpa")) >= trained(tune(attention="flash"))
    assert trained(tune(precision="fp32")) > trained(tune(precision="bf16"))
    eager, flash = (infer_job(LLAMA, attention=a, input_tokens=4096) for a in ("eager", "flash"))
    assert served(eager) > served(flash)


def test_formats_of_weights_and_caches_stand_in_the_order_of_their_bits() -> None:
    formats = ("fp32", "bf16", "fp8", "nf4")
    peaks = [served(infer_job(LLAMA, weights=catalog().precision(p))) for p in formats]
    assert peaks == sorted(peaks, reverse=True)
    caches = [served(infer_job(LLAMA, kv_bits=bits, input_tokens=8192)) for bits in (16.0, 8.5, 8.0)]
    assert caches == sorted(caches, reverse=True)
