"""FLOP of whole model classes at their published widths against torch's own counter, on tensors without storage.

Two layers each, for every layer counts alike. Torch knows no mask, so its attention is the full square, and so is the
count it is held against; masks and windows are counted in `test_work.py`.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

from planner.architecture.build import build_model
from planner.architecture.huggingface import entry_from_config
from planner.estimate.work import flop_per_pair, forward_work, main_blocks

TOKENS = 512
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama-3.1-8b": (
        "LlamaForCausalLM",
        "LlamaConfig",
        {
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 2,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "vocab_size": 128256,
            "tie_word_embeddings": False,
        },
    ),
    "llama-2-7b": (
        "LlamaForCausalLM",
        "LlamaConfig",
        {
            "hidden_size": 4096,
            "intermediate_size": 11008,
            "num_hidden_layers": 2,
            "num_attention_heads": 32,
            "num_key_value_heads": 32,
            "vocab_size": 32000,
            "tie_word_embeddings": False,
        },
    ),
    "qwen2.5-7b": (
        "Qwen2ForCausalLM",
        "Qwen2Config",
        {
            "hidden_size": 3584,
            "intermediate_size": 18944,
            "num_hidden_layers": 2,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
            "vocab_size": 152064,
            "tie_word_embeddings": False,
        },
    ),
    "qwen3-8b": (
        "Qwen3ForCausalLM",
        "Qwen3Config",
        {
            "hidden_size": 4096,
            "intermediate_size": 12288,
            "num_hidden_layers": 2,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "vocab_size": 151936,
            "tie_word_embeddings": False,
        },
    ),
    "mistral-7b": ("MistralForCausalLM", "MistralConfig", {"num_hidden_layers": 2, "sliding_window": None}),
    "gemma-2b": (
        "GemmaForCausalLM",
        "GemmaConfig",
        {
            "hidden_size": 2048,
            "intermediate_size": 16384,
            "num_hidden_layers": 2,
            "num_attention_heads": 8,
            "num_key_value_heads": 1,
            "head_dim": 256,
        },
    ),
    "gemma-2-9b": (
        "Gemma2ForCausalLM",
        "Gemma2Config",
        {
            "hidden_size": 3584,
            "intermediate_size": 14336,
            "num_hidden_layers": 2,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "head_dim": 256,
        },
    ),
    "gemma-3-1b": (
        "Gemma3ForCausalLM",
        "Gemma3TextConfig",
        {
            "hidden_size": 1152,
            "intermediate_size": 6912,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 1,
            "head_dim": 256,
            "vocab_size": 262144,
        },
    ),
    "phi-3-mini": ("Phi3ForCausalLM", "Phi3Config", {"num_hidden_layers": 2}),
    "phi-2": (
        "PhiForCausalLM",
        "PhiConfig",
        {"hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 2, "num_attention_heads": 32},
    ),
    "gpt2-xl": ("GPT2LMHeadModel", "GPT2Config", {"n_embd": 1600, "n_layer": 2, "n_head": 25}),
    "pythia-6.9b": (
        "GPTNeoXForCausalLM",
        "GPTNeoXConfig",
        {
            "hidden_size": 4096,
            "intermediate_size": 16384,
            "num_hidden_layers": 2,
            "num_attention_heads": 32,
            "vocab_size": 50432,
        },
    ),
    "gpt-j-6b": ("GPTJForCausalLM", "GPTJConfig", {"n_layer": 2}),
    "falcon-7b": (
        "FalconForCausalLM",
        "FalconConfig",
        {
            "hidden_size": 4544,
            "num_hidden_layers": 2,
            "num_attention_heads": 71,
            "multi_query": True,
            "parallel_attn": True,
        },
    ),
    "bloom-3b": ("BloomForCausalLM", "BloomConfig", {"hidden_size": 2560, "n_layer": 2, "n_head": 32}),
    "opt-1.3b": (
        "OPTForCausalLM",
        "OPTConfig",
        {
            "hidden_size": 2048,
            "ffn_dim": 8192,
            "num_hidden_layers": 2,
            "num_attention_heads": 32,
            "word_embed_proj_dim": 2048,
        },
    ),
    "mpt-7b": ("MptForCausalLM", "MptConfig", {"d_model": 4096, "n_heads": 32, "n_layers": 2, "vocab_size": 50432}),
    "mixtral-8x7b": ("MixtralForCausalLM", "MixtralConfig", {"num_hidden_layers": 2, "sliding_window": None}),
    "qwen3-30b-a3b": (
        "Qwen3MoeForCausalLM",
        "Qwen3MoeConfig",
        {
            "hidden_size": 2048,
            "intermediate_size": 6144,
            "moe_intermediate_size": 768,
            "num_experts": 128,
            "num_experts_per_tok": 8,
            "num_hidden_layers": 2,
            "num_attention_heads": 32,
            "num_key_value_heads": 4,
            "head_dim": 128,
            "vocab_size": 151936,
            "tie_word_embeddings": False,
            "mlp_only_layers": [],
            "decoder_sparse_step": 1,
        },
    ),
    "deepseek-v3": ("DeepseekV3ForCausalLM", "DeepseekV3Config", {"num_hidden_layers": 2, "first_k_dense_replace": 1}),
    "gpt-oss-20b": ("GptOssForCausalLM", "GptOssConfig", {"num_hidden_layers": 2, "num_local_experts": 32}),
    "olmo-2-7b": (
        "Olmo2ForCausalLM",
        "Olmo2Config",
        {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 2, "num_attention_heads": 32},
    ),
    "starcoder2-7b": (
        "Starcoder2ForCausalLM",
        "Starcoder2Config",
        {
            "hidden_size": 4608,
            "intermediate_size": 18432,
            "num_hidden_layers": 2,
            "num_attention_heads": 36,
            "num_key_value_heads": 4,
            "vocab_size": 49152,
            "sliding_window": None,
        },
    ),
    "command-r": ("CohereForCausalLM", "CohereConfig", {"num_hidden_layers": 2}),
    "granite-8b": (
        "GraniteForCausalLM",
        "GraniteConfig",
        {
            "hidden_size": 4096,
            "intermediate_size": 12800,
            "num_hidden_layers": 2,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "vocab_size": 49155,
        },
    ),
    "glm-4-9b": ("GlmForCausalLM", "GlmConfig", {"num_hidden_layers": 2}),
    "stablelm-3b": ("StableLmForCausalLM", "StableLmConfig", {"num_hidden_layers": 2}),
    "bert-large": (
        "BertModel",
        "BertConfig",
        {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 2, "num_attention_heads": 16},
    ),
    "roberta-large": (
        "RobertaModel",
        "RobertaConfig",
        {
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 2,
            "num_attention_heads": 16,
            "max_position_embeddings": 1026,
        },
    ),
    "modernbert": ("ModernBertModel", "ModernBertConfig", {"num_hidden_layers": 3}),
    "nemotron": (
        "NemotronForCausalLM",
        "NemotronConfig",
        {
            "hidden_size": 3072,
            "intermediate_size": 9216,
            "num_hidden_layers": 2,
            "num_attention_heads": 24,
            "num_key_value_heads": 8,
        },
    ),
}


def counted_flop(model_class: str, config: Any) -> int:
    """Forward FLOP that torch counts for one sequence, experts gathered as they are in grouped kernels."""
    config._attn_implementation = "eager"
    config._experts_implementation = "batched_mm"
    with torch.device("meta"):
        model = getattr(transformers, model_class)(config).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(input_ids=torch.zeros(1, TOKENS, dtype=torch.long))
    return int(counter.get_total_flops())


@pytest.mark.parametrize("name", MODELS)
def test_flop_of_the_model_class_are_counted_to_within_a_hundredth(name: str) -> None:
    model_class, config_class, sizes = MODELS[name]
    config = getattr(transformers, config_class)(**sizes)
    model = build_model(entry_from_config(config.to_dict(), id=name, source="test"))
    work = forward_work(model, TOKENS, logits="all")
    square = sum(
        b.num_layers * flop_per_pair(b.attention, decode=False) * TOKENS**2
        for b in main_blocks(model)
        if b.attention is not None
    )
    assert work.linear_flop + work.head_flop + square == pytest.approx(counted_flop(model_class, config), rel=0.01)


def test_more_than_twenty_model_classes_are_held_against_torch() -> None:
    assert len({config for _, config, _ in MODELS.values()}) > 20
