"""Trials small enough for a CPU: the same kind of model, the same code path, a few layers of a few values.

Nothing about the large configuration is measured by these; they show that the harness builds, runs and reports it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from validation.trial import Trial

SMALL: Mapping[str, int] = {
    "hidden_size": 64,
    "n_embd": 64,
    "d_model": 64,
    "dim": 64,
    "word_embed_proj_dim": 64,
    "embedding_size": 32,
    "intermediate_size": 128,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "n_inner": 128,
    "ffn_dim": 128,
    "ffn_hidden_size": 256,
    "hidden_dim": 128,
    "d_ff": 128,
    "d_kv": 16,
    "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128,
    "vocab_size": 512,
    "num_hidden_layers": 2,
    "n_layer": 2,
    "n_layers": 2,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "num_attention_heads": 4,
    "n_head": 4,
    "n_heads": 4,
    "num_heads": 4,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 16,
    "head_dim": 16,
    "sliding_window": 16,
    "window_size": 16,
}
"""What each size becomes; a size not listed stays."""
KV_KEYS = ("num_key_value_heads", "num_kv_heads")
LENGTHS: Mapping[str, int] = {"input_tokens": 24, "output_tokens": 4, "sequence_tokens": 32}
MOST_SEQUENCES = 2
MOST_RANKS = 2


def tiny(trial: Trial) -> Trial:
    """The trial with a small model, short lengths, one or two sequences and ranks, and nothing predicted.

    Splits that need several GPUs fall away; data-parallel ranks stay, as processes that talk over gloo.
    """
    config = dict(trial.config)
    for key, most in LENGTHS.items():
        if config.get(key):
            config[key] = min(int(config[key]), most)
    for key in ("micro_batch",):
        if config.get(key):
            config[key] = min(int(config[key]), MOST_SEQUENCES)
    for degree in ("tensor_parallel", "pipeline_parallel", "context_parallel", "expert_parallel"):
        config[degree] = 1
    if trial.mode == "infer":
        config |= {"batch": min(trial.number("batch"), MOST_SEQUENCES), "data_parallel": 1}
    else:
        config |= {
            "accumulation": min(trial.number("accumulation"), 2),
            "data_parallel": min(trial.number("data_parallel"), MOST_RANKS),
        }
    lora = config.get("lora")
    if isinstance(lora, Mapping):
        config["lora"] = {**lora, "rank": min(int(lora.get("rank") or 8), 4)}
    model = tiny_keys(trial.model)
    if "vocab_size" in model:
        model.setdefault("pad_token_id", 0)  # a family's own default may lie beyond so small a vocabulary
    return replace(trial, config=config, model=model, expected={}, fits=None, emulate_bytes=None, tiny=True)


def tiny_keys(keys: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a config.json of the same family and features, with every size small.

    >>> tiny_keys({"model_type": "llama", "hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8})
    {'model_type': 'llama', 'hidden_size': 64, 'num_attention_heads': 4, 'num_key_value_heads': 2}
    """
    small: dict[str, Any] = {}
    layers = next((keys[k] for k in ("num_hidden_layers", "n_layer", "num_layers") if k in keys), None)
    for key, value in keys.items():
        if key in SMALL and isinstance(value, int) and not isinstance(value, bool):
            small[key] = min(value, SMALL[key])
        elif key in KV_KEYS and value:
            heads = keys.get("num_attention_heads", value)
            small[key] = 4 if value == heads else min(value, 2)
        elif isinstance(value, list) and len(value) == layers:
            small[key] = value[:2]
        elif isinstance(value, Mapping):
            small[key] = tiny_keys(value)
        elif key.endswith("_token_id") and isinstance(value, int):
            small[key] = value % SMALL["vocab_size"]
        elif key == "mlp_only_layers":
            small[key] = []
        elif key == "first_k_dense_replace":
            small[key] = min(value, 1)
        else:
            small[key] = value
    return small
