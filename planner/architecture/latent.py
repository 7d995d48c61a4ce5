"""Multi-head latent attention (DeepSeek-V2 and after) and its sparse-attention indexer.

The latent and the rotary key are all that is cached: `kv_lora_rank + rope_dim` values a token, for all heads.
Source: DeepSeek-V2 paper (arXiv 2405.04434), section 2.1; DeepSeek-V3.2 model code for the indexer.
"""

from __future__ import annotations

from planner.architecture.schema_parts import IndexerShape, LatentShape
from planner.architecture.tensors import matrix, norm, vector
from planner.architecture.types import Attention, Tensor


def latent_tensors(shape: LatentShape, hidden: int) -> tuple[Tensor, ...]:
    """Projections of one layer."""
    heads, rank = shape.num_heads, shape.kv_lora_rank
    q_width = heads * (shape.nope_dim + shape.rope_dim)
    if shape.q_lora_rank is None:
        query = matrix("q_proj", "attention", q_width, hidden)
    else:
        query = (
            *matrix("q_a_proj", "attention", shape.q_lora_rank, hidden, bias=shape.bias),
            vector("q_a_layernorm", "norm", shape.q_lora_rank),
            *matrix("q_b_proj", "attention", q_width, shape.q_lora_rank),
        )
    return (
        *query,
        *matrix("kv_a_proj", "attention", rank + shape.rope_dim, hidden, bias=shape.bias),
        vector("kv_a_layernorm", "norm", rank),
        *matrix("kv_b_proj", "attention", heads * (shape.nope_dim + shape.value_dim), rank),
        *matrix("o_proj", "attention", hidden, heads * shape.value_dim, bias=shape.bias),
        *(indexer_tensors(shape.indexer, hidden, shape.q_lora_rank or hidden) if shape.indexer else ()),
    )


def indexer_tensors(shape: IndexerShape, hidden: int, query_rank: int) -> tuple[Tensor, ...]:
    """The scorer of one layer. Its head weights stay 16-bit in every format, like a router."""
    return (
        *matrix("wq_b", "attention", shape.num_heads * shape.head_dim, query_rank),
        *matrix("wk", "attention", shape.head_dim, hidden),
        *norm("k_norm", "layernorm", shape.head_dim),
        *matrix("weights_proj", "router", shape.num_heads, hidden),
    )


def latent_attention(shape: LatentShape) -> Attention:
    """How one layer attends, and what it caches.

    >>> v3 = LatentShape(num_heads=128, kv_lora_rank=512, q_lora_rank=1536, rope_dim=64, nope_dim=128, value_dim=128)
    >>> latent_attention(v3).kv_values_per_token
    576
    """
    return Attention(
        kind="latent",
        num_heads=shape.num_heads,
        num_kv_heads=1,
        head_dim=shape.nope_dim + shape.rope_dim,
        value_dim=shape.value_dim,
        kv_values_per_token=shape.kv_lora_rank + shape.rope_dim,
        index_values_per_token=shape.indexer.head_dim if shape.indexer else 0,
        kv_lora_rank=shape.kv_lora_rank,
        q_lora_rank=shape.q_lora_rank,
        rope_dim=shape.rope_dim,
        has_bias=shape.bias,
    )
