"""Stand-ins and wishes that bring nothing are said."""

from __future__ import annotations

from typing import Any

import pytest

from planner.estimate.document import FailedEstimate, WorkloadEstimate
from planner.estimate.run import estimate_spec
from planner.spec.load import spec_from_mapping
from tests.estimate.jobs import catalog

TRAIN = {"model": "bert-base", "mode": "train", "sequence": 512, "batch": 8}
CHAT = {"model": "gpt2-xl", "mode": "infer", "batch": 1, "sequence": 512}
MEGATRON = {"model": "llama-2-7b", "mode": "train", "engine": "megatron", "sequence": 2048, "batch": 12}


def answer(**keys: Any) -> WorkloadEstimate | FailedEstimate:
    return estimate_spec(spec_from_mapping({"workloads": [keys]}), catalog()).workloads[0]


def estimated(**keys: Any) -> WorkloadEstimate:
    found = answer(**keys)
    assert isinstance(found, WorkloadEstimate), found
    return found


def warned(found: WorkloadEstimate, words: str) -> bool:
    return any(words in w for w in found.warnings)


@pytest.mark.parametrize(("gpu", "precision"), [("t4", "fp16-mixed"), ("a100-sxm-80gb", "bf16-mixed")])
def test_fp16_stands_in_for_bf16_where_a_gpu_has_none_and_nowhere_else(gpu: str, precision: str) -> None:
    found = estimated(**TRAIN, pin={"gpu": gpu})
    assert found.config["precision"] == precision
    assert warned(found, "has no bf16: trained in fp16-mixed") == (precision == "fp16-mixed")


def test_fp16_does_not_stand_in_on_a_full_gpu_with_bf16() -> None:
    found = estimated(**{**TRAIN, "model": "llama-2-7b"}, pin={"gpu": "l4"})
    assert not found.fits
    assert found.config["precision"] == "bf16-mixed"


def test_a_precision_asked_for_is_not_replaced() -> None:
    found = answer(**TRAIN, precision="bf16-mixed", pin={"gpu": "t4"})
    assert isinstance(found, FailedEstimate)
    assert "precision: fp16-mixed would run" in found.error


@pytest.mark.parametrize(
    ("keys", "label"),
    [
        ({"precision": "fp16", "pin": {"gpu": "a100-sxm-80gb"}}, "fp16"),
        ({"precision": "bf16", "pin": {"gpu": "a100-sxm-80gb"}}, "bf16"),
        ({"precision": "int4-awq", "pin": {"gpu": "t4"}}, "fp16"),
        ({"precision": "gguf-q4_k_m", "pin": {"gpu": "l4"}}, "fp16"),
        ({"precision": "fp32", "pin": {"gpu": "l4"}}, "fp32"),
        ({"precision": "fp16", "kv_precision": "fp8", "engine": "vllm", "pin": {"gpu": "l4"}}, "fp8"),
    ],
)
def test_the_cache_is_named_by_what_it_is_stored_in(keys: dict[str, Any], label: str) -> None:
    assert estimated(**CHAT, **keys).config["kv_precision"] == label


@pytest.mark.parametrize(
    ("engine", "attention", "saves_nothing"),
    [("transformers", "flash", True), ("transformers", "eager", False), ("torchtitan", "flash", False)],
)
def test_selective_checkpointing_that_saves_nothing_is_said(engine: str, attention: str, saves_nothing: bool) -> None:
    keys = {**MEGATRON, "engine": engine, "attention": attention, "pin": {"gpu": "b200-sxm-180gb"}}
    selective, none = (estimated(**keys, checkpointing=c) for c in ("selective", "none"))
    parts = (selective.memory.per_gpu_bytes["activations"], none.memory.per_gpu_bytes["activations"])
    assert (parts[0] == parts[1]) == saves_nothing
    assert warned(selective, "selective saves no memory") == saves_nothing


@pytest.mark.parametrize(("stages", "fullest"), [(3, 11), (4, None)])
def test_uneven_pipeline_stages_are_estimated_on_the_fullest_and_said(stages: int, fullest: int | None) -> None:
    found = estimated(**MEGATRON, pin={"gpu": "a100-sxm-80gb", "pipeline_parallel": stages})
    assert warned(found, f"the fullest holds {fullest}") == (fullest is not None)
    assert warned(found, "do not divide") == (fullest is not None)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"precision": "fp8-mixed"}, "FP8 copies"),
        ({"engine": "torchtune", "engine_options": {"optimizer_step": "in-backward"}}, "cannot accumulate"),
        ({"engine": "transformers", "model": "openai/whisper-large-v3", "sequence": 400}, "vision or audio tower"),
    ],
)
def test_what_the_memory_of_training_leaves_out_is_said(keys: dict[str, Any], words: str) -> None:
    plain = {**MEGATRON, "engine": "torchtune", "pin": {"gpu": "b200-sxm-180gb"}}
    assert not warned(estimated(**plain), words)
    assert warned(estimated(**{**plain, **keys}), words)
