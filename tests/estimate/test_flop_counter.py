"""FLOP against torch's own counter, running small models of the classes themselves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from planner.architecture.build import build_model
from planner.architecture.huggingface import entry_from_config
from planner.architecture.types import Model
from planner.estimate.work import flop_per_pair, forward_work, main_blocks

TOKENS = 96
CONFIGS: dict[str, tuple[Any, Any]] = {
    "llama with grouped queries": (
        LlamaForCausalLM,
        LlamaConfig(
            hidden_size=256, intermediate_size=704, num_hidden_layers=3, num_attention_heads=8, num_key_value_heads=2,
            vocab_size=1000, tie_word_embeddings=False, attn_implementation="eager",
        ),
    ),
    "qwen2, tied": (
        Qwen2ForCausalLM,
        Qwen2Config(
            hidden_size=192, intermediate_size=512, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=6,
            vocab_size=900, tie_word_embeddings=True, attn_implementation="eager",
        ),
    ),
    "gpt2": (GPT2LMHeadModel, GPT2Config(n_embd=128, n_layer=3, n_head=4, vocab_size=800, attn_implementation="eager")),
    "bert": (
        BertModel,
        BertConfig(
            hidden_size=128, intermediate_size=512, num_hidden_layers=2, num_attention_heads=4, vocab_size=700,
            attn_implementation="eager",
        ),
    ),
}  # fmt: skip


def counted_flop(model_class: Any, config: Any) -> int:
    """Forward FLOP that torch counts for one sequence; it knows no mask, so attention is the full square."""
    model = model_class(config).eval()
    tokens = torch.arange(TOKENS)[None, :]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(input_ids=tokens)
    return int(counter.get_total_flops())


def squared_attention_flop(model: Model) -> float:
    return sum(
        b.num_layers * flop_per_pair(b.attention, decode=False) * TOKENS**2
        for b in main_blocks(model)
        if b.attention is not None
    )


@pytest.mark.parametrize("name", CONFIGS)
def test_matrix_flop_are_those_that_torch_counts(name: str) -> None:
    model_class, config = CONFIGS[name]
    model = build_model(entry_from_config(config.to_dict(), id=name, source="test"))
    work = forward_work(model, TOKENS, logits="all")
    pooler = 2 * config.hidden_size**2 if model_class is BertModel else 0  # once for the first token
    ours = work.linear_flop + work.head_flop + squared_attention_flop(model) + pooler
    counted = counted_flop(model_class, config)
    rotary = counted - ours  # the outer product of positions and frequencies, where a model has one
    assert 0 <= rotary <= 2 * TOKENS * 128
