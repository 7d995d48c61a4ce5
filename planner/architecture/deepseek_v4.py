"""DeepSeek-V4: latent attention over a window and compressed blocks, with hyper-connections.

Each layer keeps the last `window` tokens whole and one compressed entry per 4 tokens (found by an indexer)
or per 128 tokens; keys and values are one shared vector of `head_dim`. Shapes follow the model class of
transformers.
"""

from __future__ import annotations

from planner.architecture.moe import moe, moe_tensors
from planner.architecture.schema import ModelEntry
from planner.architecture.schema_text import DeepseekV4Architecture
from planner.architecture.tensors import matrix, vector
from planner.architecture.types import Attention, Block, Model, Tensor

INDEXED_RATIO = 4
"""Compression at which layers choose among blocks by an indexer, two overlapping entries a block."""


def build_deepseek_v4(entry: ModelEntry, arch: DeepseekV4Architecture) -> Model:
    """Every tensor; layers differ only in how they compress."""
    ratios = tuple(dict.fromkeys(arch.compress_ratios))
    streams, hidden = arch.hyper_connections, arch.hidden_size
    return Model(
        id=entry.id,
        family=entry.family,
        task=entry.task,
        hidden_size=hidden,
        vocab_size=arch.vocab_size,
        tied_embeddings=False,
        max_context=entry.max_context,
        native_dtype=entry.native_dtype,
        blocks=tuple(_block(arch, ratio) for ratio in ratios),
        outer=(
            *matrix("embed_tokens", "embedding", arch.vocab_size, hidden),
            vector("norm", "norm", hidden),
            *matrix("hc_head.fn", "other", streams, streams * hidden),
            vector("hc_head.base", "other", streams),
            vector("hc_head.scale", "other", 1),
            *matrix("lm_head", "head", arch.vocab_size, hidden),
        ),
        layer_order=tuple(ratios.index(ratio) for ratio in arch.compress_ratios),
    )


def _block(arch: DeepseekV4Architecture, ratio: int) -> Block:
    hidden = arch.hidden_size
    return Block(
        name=f"compressed {ratio}:1" if ratio else "window",
        stack="decoder",
        num_layers=arch.compress_ratios.count(ratio),
        hidden_size=hidden,
        tensors=(
            *_attention_tensors(arch),
            *_compressor_tensors(arch, ratio),
            *moe_tensors(arch.moe, hidden),
            vector("input_layernorm", "norm", hidden),
            vector("post_attention_layernorm", "norm", hidden),
            *_hyper_connection("attn_hc", arch),
            *_hyper_connection("ffn_hc", arch),
        ),
        attention=_attention(arch, ratio),
        moe=moe(arch.moe, hidden),
    )


def _attention_tensors(arch: DeepseekV4Architecture) -> tuple[Tensor, ...]:
    width = arch.num_heads * arch.head_dim
    return (
        vector("sinks", "state", arch.num_heads),
        *matrix("q_a_proj", "attention", arch.q_lora_rank, arch.hidden_size),
        vector("q_a_norm", "norm", arch.q_lora_rank),
        *matrix("q_b_proj", "attention", width, arch.q_lora_rank),
        *matrix("kv_proj", "attention", arch.head_dim, arch.hidden_size),
        vector("kv_norm", "norm", arch.head_dim),
        *matrix("o_a_proj", "attention", arch.o_groups * arch.o_lora_rank, width // arch.o_groups),
        *matrix("o_b_proj", "attention", arch.hidden_size, arch.o_groups * arch.o_lora_rank),
    )


def _pooling(prefix: str, ratio: int, width: int, out: int, hidden: int) -> tuple[Tensor, ...]:
    """Gated pooling of `ratio` tokens into one entry of `out` values."""
    return (
        *matrix(f"{prefix}.position_bias", "position", ratio, width),
        *matrix(f"{prefix}.kv_proj", "attention", width, hidden),
        *matrix(f"{prefix}.gate_proj", "attention", width, hidden),
        vector(f"{prefix}.kv_norm", "norm", out),
    )


def _compressor_tensors(arch: DeepseekV4Architecture, ratio: int) -> tuple[Tensor, ...]:
    if not ratio:
        return ()
    hidden, indexed = arch.hidden_size, ratio == INDEXED_RATIO
    overlap = 2 if indexed else 1
    pooled = _pooling("compressor", ratio, overlap * arch.head_dim, arch.head_dim, hidden)
    if not indexed:
        return pooled
    index = arch.indexer
    return (
        *pooled,
        *_pooling("indexer", ratio, overlap * index.head_dim, index.head_dim, hidden),
        *matrix("indexer.q_b_proj", "attention", index.num_heads * index.head_dim, arch.q_lora_rank),
        *matrix("indexer.weights_proj", "router", index.num_heads, hidden),
    )


def _hyper_connection(name: str, arch: DeepseekV4Architecture) -> tuple[Tensor, ...]:
    streams = arch.hyper_connections
    mixes = streams * (streams + 2)
    return (
        *matrix(f"{name}.fn", "other", mixes, streams * arch.hidden_size),
        vector(f"{name}.base", "other", mixes),
        vector(f"{name}.scale", "other", 3),
    )


def _attention(arch: DeepseekV4Architecture, ratio: int) -> Attention:
    """Window layers cache `head_dim` a token up to the window; the others keep that and a compressed rest."""
    indexed = ratio == INDEXED_RATIO
    return Attention(
        kind="compressed" if ratio else "sliding",
        num_heads=arch.num_heads,
        num_kv_heads=1,
        head_dim=arch.head_dim,
        value_dim=arch.head_dim,
        window=arch.window,
        kv_values_per_token=arch.head_dim // ratio if ratio else arch.head_dim,
        window_values_per_token=arch.head_dim if ratio else 0,
        index_values_per_token=arch.indexer.head_dim // ratio if indexed else 0,
        q_lora_rank=arch.q_lora_rank,
    )
