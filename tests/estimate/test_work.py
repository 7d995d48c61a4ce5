"""Counts of work: values checked by hand, published ones, and laws of masks and routing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.architecture.types import Attention
from planner.estimate.types import LoraJob
from planner.estimate.work import (
    attended_pairs,
    decode_flop,
    distinct_experts,
    flop_per_pair,
    forward_work,
    layer_products,
    training_work,
    visible_tokens,
)
from tests.estimate.jobs import catalog


def attention(**changes: Any) -> Attention:
    fields: dict[str, Any] = {
        "kind": "full", "num_heads": 4, "num_kv_heads": 4, "head_dim": 8, "value_dim": 8, "kv_values_per_token": 64,
    }  # fmt: skip
    return Attention(**(fields | changes))


def test_llama_3_1_8b_prefill_of_2048_tokens_matches_the_published_count() -> None:
    """By hand: 2 x 6.979e9 x 2,048; 2 x 32 x 4,096 x 2,048^2; 2 x 4,096 x 128,256."""
    work = forward_work(catalog().models.get("llama-3.1-8b"), 2048, logits="last")
    assert work.linear_flop == pytest.approx(2.859e13, rel=1e-3)
    assert work.attention_flop == pytest.approx(1.10e12, rel=2e-3)
    assert work.head_flop == pytest.approx(1.05e9, rel=2e-3)
    assert work.total_flop == pytest.approx(2.97e13, rel=1e-3)


def test_llama_3_1_8b_layers_hold_6_979_billion_matrix_weights() -> None:
    model = catalog().models.get("llama-3.1-8b")
    weights = sum(
        b.num_layers * p.weights for b in model.blocks for p in layer_products(b, catalog().precision("bf16"))
    )
    assert weights == 6_979_321_856  # 32 x (2 x 4096^2 + 2 x 4096 x 1024 + 3 x 4096 x 14336)


def test_every_logit_of_training_costs_what_the_last_one_costs_times_the_tokens() -> None:
    model = catalog().models.get("gpt2")
    last, every = forward_work(model, 100, logits="last"), forward_work(model, 100, logits="all")
    assert every.head_flop == 100 * last.head_flop
    assert every.linear_flop == last.linear_flop


def test_a_moe_prompt_costs_its_active_parameters() -> None:
    """Qwen3-30B-A3B: 3.3e9 active parameters less embedding, 2 FLOP each and token."""
    model = catalog().models.get("Qwen/Qwen3-30B-A3B")
    per_token = forward_work(model, 1000, logits="all")
    embedding = model.vocab_size * model.hidden_size
    active = model.params_active - embedding
    assert (per_token.linear_flop + per_token.head_flop) / 1000 == pytest.approx(2 * active, rel=1e-3)


def test_fusing_projections_keeps_flop_and_bytes() -> None:
    fmt = catalog().precision("gguf-q4_k_m")
    for block in catalog().models.get("llama-3.1-8b").blocks:
        apart, fused = layer_products(block, fmt), layer_products(block, fmt, fused=True)
        assert len(fused) < len(apart)
        assert sum(p.flop_per_token for p in apart) == sum(p.flop_per_token for p in fused)
        stored = [sum(p.weights * p.bytes_per_weight for p in ps) for ps in (apart, fused)]
        assert stored[0] == pytest.approx(stored[1])


def test_absorbed_latent_attention_decodes_over_576_and_512_values_a_head() -> None:
    """DeepSeek-V3: scores over 512 + 64 cached values, output over 512, for each of 128 heads."""
    model = catalog().models.get("deepseek-ai/DeepSeek-V3")
    latent = next(b.attention for b in model.blocks if b.attention is not None)
    assert flop_per_pair(latent, decode=True) == 2 * 128 * (576 + 512)
    assert flop_per_pair(latent, decode=False) == 2 * 128 * (192 + 128)


@pytest.mark.parametrize(("experts", "top_k", "tokens", "expected"), [(128, 8, 16, 82.4), (256, 8, 64, 222.4)])
def test_distinct_experts_match_the_published_check_values(
    experts: int, top_k: int, tokens: int, expected: float
) -> None:
    assert distinct_experts(experts, top_k, np.array([float(tokens)]))[0] == pytest.approx(expected, abs=0.05)


@given(st.integers(2, 512), st.integers(1, 16), st.integers(1, 10_000))
def test_tokens_reach_between_top_k_and_all_experts(experts: int, top_k: int, tokens: int) -> None:
    top_k = min(top_k, experts)
    reached = distinct_experts(experts, top_k, np.array([float(tokens)]))[0]
    assert top_k * (1 - 1e-9) <= reached <= experts
    assert reached <= tokens * top_k * (1 + 1e-9)


@given(st.integers(1, 300), st.integers(1, 64))
def test_masks_attend_to_as_many_pairs_as_counting_them_one_by_one(tokens: int, window: int) -> None:
    full = sum(i for i in range(1, tokens + 1))
    sliding = sum(min(i, window) for i in range(1, tokens + 1))
    chunked = sum((i - 1) % window + 1 for i in range(1, tokens + 1))
    assert attended_pairs(attention(), float(tokens)) == full
    assert attended_pairs(attention(kind="sliding", window=window), float(tokens)) == sliding
    assert attended_pairs(attention(kind="chunked", window=window), float(tokens)) == chunked
    assert attended_pairs(attention(causal=False), float(tokens)) == tokens**2


@given(st.integers(1, 100_000), st.integers(1, 8192))
def test_a_window_never_shows_more_than_the_cache_holds(context: int, window: int) -> None:
    seen = visible_tokens(attention(kind="sliding", window=window), np.array([float(context)]))[0]
    assert seen == min(context, window)
    chunk = visible_tokens(attention(kind="chunked", window=window), np.array([float(context)]))[0]
    assert 1 <= chunk <= min(context, window)


def test_one_more_cached_token_costs_llama_8b_four_flop_a_head_value() -> None:
    """4 x layers x heads x head_dim: 4 x 32 x 32 x 128."""
    flop = decode_flop(catalog().models.get("llama-3.1-8b"), np.array([1000.0, 1001.0]))
    assert flop[1] - flop[0] == pytest.approx(4 * 32 * 32 * 128, rel=1e-6)


def test_full_checkpointing_adds_between_a_quarter_and_a_third() -> None:
    model = catalog().models.get("llama-3.1-8b")
    none = training_work(model, 4096, checkpointing="none", lora=None)
    selective = training_work(model, 4096, checkpointing="selective", lora=None)
    full = training_work(model, 4096, checkpointing="full", lora=None)
    assert 0.25 <= full.hardware_flop / none.hardware_flop - 1 <= 1 / 3
    assert 0 < selective.hardware_flop / none.hardware_flop - 1 < 0.05
    assert full.model_flop == none.model_flop


def test_lora_spares_a_third_of_the_flop_of_full_fine_tuning() -> None:
    model = catalog().models.get("llama-3.1-8b")
    lora = LoraJob(rank=8, targets=("q_proj", "v_proj"), bits=32.0)
    full, adapters = (training_work(model, 512, checkpointing="none", lora=which) for which in (None, lora))
    assert adapters.model_flop / full.model_flop == pytest.approx(2 / 3, rel=0.02)
