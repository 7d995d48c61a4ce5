"""Weights against sizes that were published or follow from a parameter count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.estimate.memory.weights import head_copy_bytes, parameter_split, stage_share, weight_split
from tests.estimate.jobs import catalog, whole

MODELS = ("llama-2-7b", "meta-llama/Llama-3.1-8B", "mistralai/Mixtral-8x7B-v0.1", "deepseek-ai/DeepSeek-V3")


@pytest.mark.parametrize("model", MODELS)
def test_a_split_holds_every_parameter_once(model: str) -> None:
    found = catalog().models.get(model)
    assert parameter_split(found).total == found.params_total


def test_llama_2_7b_in_16_bit_takes_two_bytes_a_parameter() -> None:
    split = weight_split(catalog().models.get("llama-2-7b"), catalog().precision("fp16"))
    assert split.total == 2 * 6_738_415_616


def test_awq_llama_3_1_8b_is_the_5_73_gb_of_its_checkpoint() -> None:
    """2.10 GB of it are the embedding and head that AWQ leaves in 16 bit."""
    split = weight_split(catalog().models.get("meta-llama/Llama-3.1-8B"), catalog().precision("int4-awq"))
    assert split.total == pytest.approx(5.73e9, rel=0.005)
    assert split.embedding + split.head == pytest.approx(2.10e9, rel=0.005)


def test_deepseek_v3_in_its_own_fp8_is_the_size_of_its_files_without_the_mtp_layer() -> None:
    """688,586,727,753 bytes published, of which 11.61 B + 1.85 B parameters are the MTP layer and its copies."""
    split = weight_split(catalog().models.get("deepseek-ai/DeepSeek-V3"), catalog().precision("fp8-block"))
    assert split.total == pytest.approx(688_586_727_753 - 11.61e9 - 2 * 1.85e9, rel=0.003)


def test_qwen3_0_6b_in_fp8_loads_a_head_of_297_mib_beside_its_tied_embedding() -> None:
    copy = head_copy_bytes(catalog().models.get("Qwen/Qwen3-0.6B"), catalog().precision("fp8-block"))
    assert copy / 2**20 == pytest.approx(297, abs=0.5)


@given(tp=st.sampled_from([1, 2, 4, 8]), model=st.sampled_from(MODELS))
def test_splitting_never_loses_a_byte(tp: int, model: str) -> None:
    split = weight_split(catalog().models.get(model), catalog().precision("bf16"))
    part = split.layers_per_gpu(whole(tp), whole(tp))[0]
    assert part <= split.layers <= tp * part * (1 + 1e-12)


def test_kv_projections_are_not_split_finer_than_their_heads() -> None:
    split = weight_split(catalog().models.get("meta-llama/Llama-3.1-8B"), catalog().precision("bf16"))
    at_8, at_16 = split.layers_per_gpu(whole(8, 16), whole(8, 16))
    kv_bytes = 2 * 32 * 4096 * 8 * 128 * 2  # k and v of 32 layers, 8 heads of 128, 2 bytes
    shared = (split.layers - kv_bytes - split.replicated) / 16
    assert at_16 == pytest.approx(shared + kv_bytes / 8 + split.replicated)
    assert at_8 > at_16


def test_uneven_stages_are_as_large_as_the_one_with_most_layers() -> None:
    assert np.allclose(stage_share(32, whole(1, 2, 3, 5)), [1, 0.5, 11 / 32, 7 / 32])
