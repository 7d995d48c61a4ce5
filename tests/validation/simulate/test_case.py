"""Workloads of a spec as runs: precisions, batches, and what is refused with its reason."""

from __future__ import annotations

from typing import Any

import pytest

from validation.simulate.case import CaseError, case_of

KEYS = {"model_type": "gpt2"}
TRAIN: dict[str, Any] = {"mode": "train", "sequence": 128, "batch": {"global": 8, "micro": 2}}
INFER: dict[str, Any] = {"mode": "infer", "sequence": {"input": 100, "output": 5}, "batch": 3}


@pytest.mark.parametrize(
    ("precision", "method", "dtype", "autocast"),
    [
        ("bf16-mixed", "full", "float32", "bfloat16"),
        ("fp16-mixed", "full", "float32", "float16"),
        ("bf16", "full", "bfloat16", None),
        ("fp32", "full", "float32", None),
        ("bf16-mixed", "lora", "bfloat16", "bfloat16"),
        ("bf16", "lora", "bfloat16", None),
    ],
)
def test_mixed_precision_keeps_wide_weights_but_for_a_frozen_base(
    precision: str, method: str, dtype: str, autocast: str | None
) -> None:
    case = case_of(TRAIN | {"precision": precision, "method": method}, KEYS)
    assert (case.dtype, case.autocast) == (dtype, autocast)


def test_the_global_batch_is_passed_in_micro_batches() -> None:
    case = case_of(TRAIN, KEYS)
    assert (case.sequences, case.micro_batches) == (2, 4)


def test_a_pin_comes_before_the_workload() -> None:
    pinned = case_of(TRAIN | {"checkpointing": "none", "pin": {"checkpointing": "full", "micro_batch": 8}}, KEYS)
    assert (pinned.checkpointing, pinned.sequences, pinned.micro_batches) == (True, 8, 1)


def test_an_integer_sequence_is_the_whole_context() -> None:
    case = case_of(INFER | {"sequence": 2048}, KEYS)
    assert (case.tokens, case.output_tokens) == (1792, 256)


def test_inference_loads_onto_the_device_out_of_one_block_and_training_moves_tensor_by_tensor() -> None:
    apart = case_of(INFER | {"engine_options": {"weights_allocation": "tensors"}}, KEYS)
    assert (case_of(INFER, KEYS).pooled, apart.pooled, case_of(TRAIN, KEYS).pooled) == (True, False, False)


@pytest.mark.parametrize(
    ("workload", "why"),
    [
        (INFER | {"engine": "vllm@0.33"}, "engine vllm"),
        (INFER | {"precision": "int4-awq"}, "precision int4-awq"),
        (INFER | {"pin": {"pipeline_parallel": 2}}, "pipeline_parallel 2"),
        (TRAIN | {"pin": {"tensor_parallel": 2, "data_parallel": 2}}, "tensor and data parallelism"),
        (INFER | {"batch": "auto"}, "batch"),
        (INFER | {"sequence": None, "traffic": []}, "mix of requests"),
        (TRAIN | {"batch": 8}, "micro auto"),
        (TRAIN | {"optimizer": "adamw-paged-8bit"}, "optimizer adamw-paged-8bit"),
        (TRAIN | {"checkpointing": "selective"}, "checkpointing selective"),
        (TRAIN | {"sharding": "zero1", "pin": {"data_parallel": 2}}, "data_parallel 2"),
        (TRAIN | {"pin": {"offload": {"optimizer_cpu": 1.0}}}, "offload"),
    ],
)
def test_what_is_not_simulated_says_so(workload: dict[str, Any], why: str) -> None:
    with pytest.raises(CaseError, match=why):
        case_of(workload, KEYS)
