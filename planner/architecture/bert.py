"""Encoder-only language models: BERT and what came after it."""

from __future__ import annotations

from planner.architecture.schema import ModelEntry
from planner.architecture.schema_text import BertArchitecture
from planner.architecture.tensors import (
    attention,
    attention_tensors,
    feed_forward,
    matrix,
    mlp_tensors,
    norm,
    renamed,
    vector,
)
from planner.architecture.types import Block, Model, Tensor

BlockKind = tuple[str, bool]
"""Mixer, and whether attention has a norm of its own."""


def build_bert(entry: ModelEntry, arch: BertArchitecture) -> Model:
    """Every tensor of a bidirectional encoder; without a masked-language-model head."""
    kinds = [
        (arch.mixers[i % len(arch.mixers)], not (i == 0 and arch.first_layer_unnormed)) for i in range(arch.num_layers)
    ]
    distinct = tuple(dict.fromkeys(kinds))
    return Model(
        id=entry.id,
        family=entry.family,
        task=entry.task,
        hidden_size=arch.hidden_size,
        vocab_size=arch.vocab_size,
        tied_embeddings=True,
        max_context=entry.max_context,
        native_dtype=entry.native_dtype,
        blocks=tuple(_block(arch, kind, kinds.count(kind)) for kind in distinct),
        outer=_outer_tensors(arch),
        layer_order=tuple(distinct.index(kind) for kind in kinds),
        has_head=False,
    )


def _block(arch: BertArchitecture, kind: BlockKind, num_layers: int) -> Block:
    mixer, normed = kind
    hidden = arch.hidden_size
    norms = ("attention_layernorm", "output_layernorm") if normed else ("output_layernorm",)
    tensors = (
        *attention_tensors(arch.attention, hidden),
        *mlp_tensors(arch.feed_forward, hidden),
        *(t for name in norms for t in norm(name, arch.norm, hidden)),
    )
    sliding = mixer == "sliding"
    return Block(
        name=mixer if normed else f"{mixer} unnormed",
        stack="encoder",
        num_layers=num_layers,
        hidden_size=hidden,
        tensors=renamed(tensors, arch.module_names),
        attention=attention(
            arch.attention,
            kind="sliding" if sliding else "full",
            window=arch.window if sliding else None,
            causal=False,
        ),
        feed_forward=feed_forward(arch.feed_forward),
        norm=arch.norm,
        num_norms=len(norms),
        dropout=arch.dropout,
        attention_dropout=arch.attention_dropout,
        shared=arch.share_layers,
    )


def _outer_tensors(arch: BertArchitecture) -> tuple[Tensor, ...]:
    hidden, width = arch.hidden_size, arch.embedding_size or arch.hidden_size
    out = [*matrix("word_embeddings", "embedding", arch.vocab_size, width)]
    if arch.position_rows:
        out += matrix("position_embeddings", "position", arch.position_rows, width)
    if arch.num_token_types:
        out += matrix("token_type_embeddings", "embedding", arch.num_token_types, width)
    if arch.embedding_norm:
        out += norm("embeddings_layernorm", arch.norm, width)
    if arch.embedding_size:
        out += matrix("embedding_projection", "projector", hidden, width, bias=True)
    if arch.num_relative_rows:
        out += matrix("rel_embeddings", "position", arch.num_relative_rows, hidden)
        out += norm("rel_layernorm", arch.norm, hidden)
    if arch.num_relative_buckets:
        out += matrix("relative_attention_bias", "position", arch.num_relative_buckets, arch.attention.num_heads)
    if arch.final_norm:
        out += norm("final_norm", arch.norm, hidden)
    if arch.pooler:
        out += matrix("pooler", "head", hidden, hidden, bias=True)
    if arch.num_labels:
        out += matrix("classifier.dense", "head", hidden, hidden, bias=True)
        out += matrix("classifier.out_proj", "head", arch.num_labels, hidden)
        out.append(vector("classifier.out_proj.bias", "bias", arch.num_labels))
    return tuple(out)
