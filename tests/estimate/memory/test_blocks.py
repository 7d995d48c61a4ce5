"""What the allocator leaves unsplit beside the weights, against published logs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.estimate.memory import infer_memory
from planner.estimate.memory.blocks import layer_gap_bytes, unsplit_bytes
from planner.units import GIB, MIB
from tests.estimate.jobs import catalog, engine, hardware, infer_job, infer_ways, whole

BF16 = catalog().precision("bf16")


@given(st.floats(1, 4096 * MIB))
def test_no_tensor_is_counted_with_more_than_a_mib_beside_it(size: float) -> None:
    assert 0 <= float(unsplit_bytes(np.array([size]))[0]) <= MIB


def test_qwen2_5_14b_counts_three_mib_a_layer_above_its_size() -> None:
    """Gate, up and down are 13,824 x 5,120 x 2 bytes = 135 MiB each and lie in blocks of 136."""
    model = catalog().models.get("qwen2.5-14b")
    assert float(layer_gap_bytes(model, BF16, whole(1), whole(1), fused=False)[0]) == 48 * 3 * MIB


def test_vllm_logs_30_71_gib_for_qwen2_5_32b_on_two_gpus() -> None:
    """vLLM issue 15815: two bytes a parameter would be 30.51."""
    job = infer_job("qwen2.5-32b", engine=engine("vllm@0.7.3", max_model_len=10000))
    memory = infer_memory(job, infer_ways(tensor_parallel=whole(2)), hardware())
    assert float(memory.parts["weights"][0]) / GIB == pytest.approx(30.71, abs=0.03)


def test_weights_out_of_one_large_block_leave_nothing_over() -> None:
    def weights(version: str) -> float:
        job = infer_job("qwen2.5-14b", engine=engine(f"transformers@{version}"))
        return float(infer_memory(job, infer_ways(), hardware()).parts["weights"][0])

    assert weights("4.46.0") - weights("4.51.0") == (3 * 48 + 2) * MIB, "the token table and the head are 1,485 MiB"
    assert weights("4.51.0") == 2 * catalog().models.get("qwen2.5-14b").params_total
