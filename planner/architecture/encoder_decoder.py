"""T5 and BART: an encoder, and a decoder that attends to it."""

from __future__ import annotations

from planner.architecture.schema import ModelEntry
from planner.architecture.schema_parts import AttentionShape, MlpShape, NormKind
from planner.architecture.schema_text import EncoderDecoderArchitecture
from planner.architecture.tensors import (
    attention,
    attention_tensors,
    feed_forward,
    matrix,
    mlp_tensors,
    norm,
    renamed,
)
from planner.architecture.types import Attention, Block, Model, Tensor

NORM_KINDS: dict[str, NormKind] = {"t5": "rmsnorm", "bart": "layernorm"}


def cross_tensors(shape: AttentionShape, hidden: int) -> tuple[Tensor, ...]:
    """Projections of cross attention, under names of their own."""
    return tuple(
        Tensor(name=f"cross_{t.name}", role=t.role, out_features=t.out_features, in_features=t.in_features)
        for t in attention_tensors(shape, hidden)
    )


def cross_attention(shape: AttentionShape) -> Attention:
    """Attention to the encoder's output, whose keys and values are computed once a sequence."""
    return attention(shape, kind="cross", causal=False)


def build_encoder_decoder(entry: ModelEntry, arch: EncoderDecoderArchitecture) -> Model:
    """Every tensor of both halves; the layers of the decoder come first in `blocks`."""
    return Model(
        id=entry.id,
        family=entry.family,
        task=entry.task,
        hidden_size=arch.hidden_size,
        vocab_size=arch.vocab_size,
        tied_embeddings=arch.tied_embeddings,
        max_context=entry.max_context,
        native_dtype=entry.native_dtype,
        blocks=(_decoder(arch), _encoder(arch)),
        outer=_outer_tensors(arch),
        layer_order=(0,) * arch.num_layers,
    )


def _norms(arch: EncoderDecoderArchitecture, *names: str) -> tuple[Tensor, ...]:
    return tuple(t for name in names for t in norm(name, NORM_KINDS[arch.kind], arch.hidden_size))


def _decoder(arch: EncoderDecoderArchitecture) -> Block:
    hidden = arch.hidden_size
    tensors = (
        *attention_tensors(arch.attention, hidden),
        *cross_tensors(arch.attention, hidden),
        *mlp_tensors(arch.feed_forward, hidden),
        *_norms(arch, "self_attn_layer_norm", "cross_attn_layer_norm", "final_layer_norm"),
    )
    return Block(
        name="decoder",
        stack="decoder",
        num_layers=arch.num_layers,
        hidden_size=hidden,
        tensors=renamed(tensors, arch.module_names),
        attention=attention(arch.attention),
        cross_attention=cross_attention(arch.attention),
        feed_forward=feed_forward(arch.feed_forward),
        norm=NORM_KINDS[arch.kind],
        num_norms=3,
        dropout=arch.dropout,
        attention_dropout=arch.attention_dropout,
    )


def _encoder(arch: EncoderDecoderArchitecture) -> Block:
    hidden = arch.hidden_size
    width = arch.encoder_intermediate_size or arch.feed_forward.intermediate_size
    mlp: MlpShape = arch.feed_forward.model_copy(update={"intermediate_size": width})
    tensors = (
        *attention_tensors(arch.attention, hidden),
        *mlp_tensors(mlp, hidden),
        *_norms(arch, "self_attn_layer_norm", "final_layer_norm"),
    )
    return Block(
        name="encoder",
        stack="encoder",
        num_layers=arch.num_encoder_layers,
        hidden_size=hidden,
        tensors=renamed(tensors, arch.module_names),
        attention=attention(arch.attention, causal=False),
        feed_forward=feed_forward(mlp),
        norm=NORM_KINDS[arch.kind],
        dropout=arch.dropout,
        attention_dropout=arch.attention_dropout,
    )


def _outer_tensors(arch: EncoderDecoderArchitecture) -> tuple[Tensor, ...]:
    hidden = arch.hidden_size
    out = [*matrix("shared", "embedding", arch.vocab_size, hidden)]
    for half in ("encoder", "decoder"):
        if arch.num_relative_buckets:
            heads = arch.attention.num_heads
            out += matrix(f"{half}.relative_attention_bias", "position", arch.num_relative_buckets, heads)
        if arch.position_rows:
            out += matrix(f"{half}.embed_positions", "position", arch.position_rows, hidden)
        # T5 ends each half with a norm, BART begins each with one
        out += _norms(arch, f"{half}.layer_norm")
    if not arch.tied_embeddings:
        out += matrix("lm_head", "head", arch.vocab_size, hidden)
    return tuple(out)
