"""Decoder-only language models, hybrids and vision-language models among them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from planner.architecture.latent import latent_attention, latent_tensors
from planner.architecture.moe import moe, moe_tensors
from planner.architecture.recurrent import recurrent, recurrent_tensors
from planner.architecture.schema import ModelEntry
from planner.architecture.schema_parts import AttentionShape
from planner.architecture.schema_text import DecoderArchitecture, FeedForwardKind, Mixer
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
from planner.architecture.types import Attention, Block, Model, Tensor
from planner.architecture.vision_towers import build_tower

LayerKind = tuple[Mixer, FeedForwardKind, int]
"""Mixer, MLP kind, inner width of the dense MLP (0 = the model's)."""


def build_decoder(entry: ModelEntry, arch: DecoderArchitecture) -> Model:
    """Every tensor of a decoder and, where it has one, of its vision tower."""
    kinds = _layer_kinds(arch)
    distinct = tuple(dict.fromkeys(kinds))
    blocks = [_block(arch, kind, kinds.count(kind)) for kind in distinct]
    outer = list(_outer_tensors(arch))
    tower = build_tower(arch.vision, text_hidden=arch.hidden_size) if arch.vision else None
    if tower:
        blocks += tower.blocks
        outer += tower.outer
    return Model(
        id=entry.id,
        family=entry.family,
        task=entry.task,
        hidden_size=arch.hidden_size,
        vocab_size=arch.vocab_size,
        tied_embeddings=arch.tied_embeddings,
        max_context=entry.max_context,
        native_dtype=entry.native_dtype,
        blocks=tuple(blocks),
        outer=tuple(outer),
        layer_order=tuple(distinct.index(kind) for kind in kinds),
        has_head=arch.lm_head and entry.task != "embedding",
        logit_softcap=arch.logit_softcap,
        alibi=arch.position == "alibi",
        eager_only=arch.logit_softcap or arch.position == "alibi" or has_sinks(blocks),
        image_tokens=tower.image_tokens if tower else None,
        image_size=tower.image_size if tower else None,
    )


def has_sinks(blocks: Iterable[Block]) -> bool:
    """Some layer's attention has a learned sink beside its scores."""
    return any(t.name == "sinks" for b in blocks for t in b.tensors)


def _layer_kinds(arch: DecoderArchitecture) -> tuple[LayerKind, ...]:
    widths = arch.intermediate_sizes or (0,) * arch.num_layers
    return tuple(zip(arch.layer_mixers, arch.layer_feed_forwards, widths, strict=True))


def _block(arch: DecoderArchitecture, kind: LayerKind, num_layers: int) -> Block:
    mixer, mlp_kind, width = kind
    hidden = arch.hidden_size
    dense = arch.feed_forward if mlp_kind in ("dense", "both") else None
    routed = arch.moe if mlp_kind in ("moe", "both") else None
    recurs = arch.recurrent if mixer in ("recurrent", "parallel") else None
    tensors = [*_mixer_tensors(arch, mixer)]
    if dense:
        tensors += mlp_tensors(dense, hidden, width=width or None)
    if routed:
        tensors += moe_tensors(routed, hidden)
    norm_names = _norm_names(arch, mixer, mlp_kind)
    tensors += [t for name in norm_names for t in norm(name, arch.norm, hidden)]
    attends = _attention(arch, mixer)
    return Block(
        name="+".join(str(part) for part in (mixer, mlp_kind, width or "") if part not in ("", "none")),
        stack="decoder",
        num_layers=num_layers,
        hidden_size=hidden,
        tensors=renamed(tensors, arch.module_names),
        attention=None if mixer == "cross" else attends,
        cross_attention=attends if mixer == "cross" else None,
        feed_forward=feed_forward(dense, width=width or None) if dense else None,
        moe=moe(routed, hidden) if routed else None,
        recurrent=recurrent(recurs) if recurs else None,
        norm=arch.norm,
        num_norms=len(norm_names),
        parallel=arch.norm_placement in ("shared", "parallel"),
        dropout=arch.dropout,
        attention_dropout=arch.attention_dropout,
    )


def _mixer_tensors(arch: DecoderArchitecture, mixer: Mixer) -> tuple[Tensor, ...]:
    hidden = arch.hidden_size
    mixing = recurrent_tensors(arch.recurrent, hidden) if arch.recurrent else ()
    match mixer:
        case "none":
            return ()
        case "recurrent":
            return mixing
        case "parallel":
            return (*_attention_tensors(arch, mixer), *mixing)
        case "cross":
            gates = (vector("cross_attn_attn_gate", "state", 1), vector("cross_attn_mlp_gate", "state", 1))
            return (*attention_tensors(_cross_shape(arch), hidden), *gates)
        case "full" | "sliding" | "chunked":
            return _attention_tensors(arch, mixer)
        case _:
            assert_never(mixer)


def _attention_tensors(arch: DecoderArchitecture, mixer: Mixer) -> tuple[Tensor, ...]:
    if arch.latent_attention:
        return latent_tensors(arch.latent_attention, arch.hidden_size)
    return attention_tensors(_shape(arch, mixer), arch.hidden_size)


def _attention(arch: DecoderArchitecture, mixer: Mixer) -> Attention | None:
    match mixer:
        case "none" | "recurrent":
            return None
        case "cross":
            return attention(_cross_shape(arch), kind="cross", causal=False)
        case "full" | "parallel":
            if arch.latent_attention:
                return latent_attention(arch.latent_attention)
            return attention(_shape(arch, mixer), causal=arch.causal)
        case "sliding" | "chunked":
            local = arch.local_attention
            return attention(
                _shape(arch, mixer), kind=mixer, window=local.window if local else None, causal=arch.causal
            )
        case _:
            assert_never(mixer)


def _shape(arch: DecoderArchitecture, mixer: Mixer) -> AttentionShape:
    local = arch.local_attention
    shape = local.attention if local and local.attention and mixer in ("sliding", "chunked") else arch.attention
    assert shape is not None, "the schema guarantees the attention a layer needs"
    return shape


def _cross_shape(arch: DecoderArchitecture) -> AttentionShape:
    """Cross attention to an image has the text's geometry and a norm on q and k (Llama 3.2 Vision)."""
    return _shape(arch, "cross").model_copy(update={"qk_norm": "head"})


def _norm_names(arch: DecoderArchitecture, mixer: Mixer, mlp_kind: FeedForwardKind) -> tuple[str, ...]:
    around_mixer: tuple[str, ...]
    around_mlp: tuple[str, ...]
    match arch.norm_placement:
        case "shared":
            return ("input_layernorm",)
        case "pre" | "parallel":
            around_mixer, around_mlp = ("input_layernorm",), ("post_attention_layernorm",)
        case "post":
            around_mixer, around_mlp = ("post_attention_layernorm",), ("post_feedforward_layernorm",)
        case "sandwich":
            around_mixer = ("input_layernorm", "post_attention_layernorm")
            around_mlp = ("pre_feedforward_layernorm", "post_feedforward_layernorm")
        case _:
            assert_never(arch.norm_placement)
    return (*(around_mixer if mixer != "none" else ()), *(around_mlp if mlp_kind != "none" else ()))


def _outer_tensors(arch: DecoderArchitecture) -> tuple[Tensor, ...]:
    hidden = arch.hidden_size
    width = arch.embedding_size or hidden
    out = [*matrix("embed_tokens", "embedding", arch.vocab_size + arch.extra_embedding_rows, width)]
    if arch.position_rows:
        out += matrix("embed_positions", "position", arch.position_rows, hidden)
    if arch.embedding_size:
        out += matrix("project_in", "projector", hidden, width) + matrix("project_out", "projector", width, hidden)
    if arch.embedding_norm:
        out += norm("embed_norm", arch.norm, hidden)
    if arch.final_norm:
        out += norm("norm", arch.norm, hidden)
    if arch.lm_head and not arch.tied_embeddings:
        out += matrix("lm_head", "head", arch.vocab_size, width)
    if arch.lm_head and arch.lm_head_bias:
        out.append(vector("lm_head.bias", "bias", arch.vocab_size))
    return tuple(out)
