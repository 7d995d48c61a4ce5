"""Gemma 3n: four parallel residual copies (AltUp), per-layer embeddings, shared K/V, audio and vision.

Text and audio shapes follow the model classes of transformers; of the convolutional vision backbone only
the total is known and kept in the catalog.
"""

from __future__ import annotations

from planner.architecture.schema import ModelEntry
from planner.architecture.schema_text import AudioConformer, Gemma3nArchitecture, MobilenetTower
from planner.architecture.tensors import attention, attention_tensors, feed_forward, matrix, mlp_tensors, vector
from planner.architecture.types import Block, ImageTokens, Model, Tensor

LayerKind = tuple[str, bool]
"""Mixer, and whether the layer has keys and values of its own."""


def build_gemma3n(entry: ModelEntry, arch: Gemma3nArchitecture) -> Model:
    """Every tensor of the text stack and the audio encoder; the vision backbone as one lump."""
    own_kv = arch.num_layers - arch.num_kv_shared_layers
    kinds = [(arch.mixers[i % len(arch.mixers)], i < own_kv) for i in range(arch.num_layers)]
    distinct = tuple(dict.fromkeys(kinds))
    hidden, audio, vision = arch.hidden_size, arch.audio, arch.vision
    return Model(
        id=entry.id,
        family=entry.family,
        task=entry.task,
        hidden_size=hidden,
        vocab_size=arch.vocab_size,
        tied_embeddings=True,
        max_context=entry.max_context,
        native_dtype=entry.native_dtype,
        blocks=(
            *(_block(arch, kind, kinds.count(kind)) for kind in distinct),
            *((_conformer(audio),) if audio else ()),
        ),
        outer=(
            *_text_outer(arch),
            *(_audio_outer(audio, hidden) if audio else ()),
            *(_vision_outer(vision, hidden) if vision else ()),
        ),
        layer_order=tuple(distinct.index(kind) for kind in kinds),
        logit_softcap=True,
        image_tokens=_image_tokens(vision) if vision else None,
    )


def _block(arch: Gemma3nArchitecture, kind: LayerKind, num_layers: int) -> Block:
    mixer, own_kv = kind
    hidden, streams = arch.hidden_size, arch.altup_inputs
    sliding = mixer == "sliding"
    projections = attention_tensors(arch.attention, hidden)
    norms = (
        "input_layernorm",
        "post_attention_layernorm",
        "pre_feedforward_layernorm",
        "post_feedforward_layernorm",
        "altup.router_norm",
        "post_laurel_norm",
        "post_per_layer_input_norm",
    )
    return Block(
        name=f"{mixer}+dense" if own_kv else f"{mixer}+dense, shared K/V",
        stack="decoder",
        num_layers=num_layers,
        hidden_size=hidden,
        tensors=(
            *(t for t in projections if own_kv or t.name not in ("k_proj", "v_proj", "k_norm")),
            *mlp_tensors(arch.feed_forward, hidden),
            *(vector(name, "norm", hidden) for name in norms),
            vector("altup.correct_output_scale", "other", hidden),
            *matrix("altup.correction_coefs", "other", streams, streams),
            *matrix("altup.prediction_coefs", "other", streams * streams, streams),
            *matrix("altup.modality_router", "router", streams, hidden),
            *matrix("laurel.linear_left", "mlp", arch.laurel_rank, hidden),
            *matrix("laurel.linear_right", "mlp", hidden, arch.laurel_rank),
            *matrix("per_layer_input_gate", "mlp", arch.per_layer_size, hidden),
            *matrix("per_layer_projection", "mlp", hidden, arch.per_layer_size),
        ),
        attention=attention(
            arch.attention,
            kind="sliding" if sliding else "full",
            window=arch.window if sliding else None,
            caches=own_kv,
        ),
        feed_forward=feed_forward(arch.feed_forward),
        num_norms=len(norms),
    )


def _text_outer(arch: Gemma3nArchitecture) -> tuple[Tensor, ...]:
    hidden, streams = arch.hidden_size, arch.altup_inputs
    all_layers = arch.num_layers * arch.per_layer_size
    return (
        *matrix("embed_tokens", "embedding", arch.vocab_size, hidden),
        *matrix("embed_tokens_per_layer", "embedding", arch.per_layer_vocab_size, all_layers),
        *matrix("per_layer_model_projection", "projector", all_layers, hidden),
        vector("per_layer_projection_norm", "norm", arch.per_layer_size),
        vector("norm", "norm", hidden),
        *matrix("altup_projections", "projector", hidden, hidden, count=streams - 1),
        *matrix("altup_unembed_projections", "projector", hidden, hidden, count=streams - 1),
    )


def _embedder(name: str, vocab: int, width: int, text_hidden: int) -> tuple[Tensor, ...]:
    """From a modality's features (or its own special tokens) into the text width."""
    return (
        *matrix(f"{name}.embedding", "embedding", vocab, width),
        vector(f"{name}.hard_embedding_norm", "norm", width),
        vector(f"{name}.soft_embedding_norm", "norm", width),
        *matrix(f"{name}.embedding_projection", "projector", text_hidden, width),
    )


def _conformer(audio: AudioConformer) -> Block:
    hidden = audio.hidden_size
    halves = [
        t
        for half in ("start", "end")
        for t in (
            vector(f"ffw_{half}.pre_layer_norm", "norm", hidden),
            *matrix(f"ffw_{half}.ffw_layer_1", "mlp", 4 * hidden, hidden),
            *matrix(f"ffw_{half}.ffw_layer_2", "mlp", hidden, 4 * hidden),
            vector(f"ffw_{half}.post_layer_norm", "norm", hidden),
        )
    ]
    names = ("pos_proj", "q_proj", "k_proj", "v_proj", "o_proj")
    single_norms = ("pre_attn_norm", "post_attn_norm", "lconv1d.pre_layer_norm", "lconv1d.conv_norm", "norm")
    return Block(
        name="audio",
        stack="audio",
        num_layers=audio.num_layers,
        hidden_size=hidden,
        tensors=(
            *halves,
            *(t for name in names for t in matrix(name, "attention", hidden, hidden)),
            vector("per_dim_scale", "other", hidden // audio.num_heads),
            *matrix("lconv1d.linear_start", "mlp", 2 * hidden, hidden),
            *matrix("lconv1d.depthwise_conv1d", "conv", hidden, audio.conv_width),
            *matrix("lconv1d.linear_end", "mlp", hidden, hidden),
            *(vector(name, "norm", hidden) for name in single_norms),
        ),
        num_norms=len(single_norms) + 4,
    )


def _image_tokens(vision: MobilenetTower) -> ImageTokens:
    return ImageTokens(kind="fixed", patches_per_token=1, tokens=vision.tokens_per_image)


def _vision_outer(vision: MobilenetTower, text_hidden: int) -> tuple[Tensor, ...]:
    return (
        *_embedder("embed_vision", vision.vocab_size, vision.hidden_size, text_hidden),
        vector("vision_backbone", "conv", vision.backbone_values),
    )


def _audio_outer(audio: AudioConformer, text_hidden: int) -> tuple[Tensor, ...]:
    out: list[Tensor] = []
    source = 1
    for i, channels in enumerate(audio.conv_channels):
        out += matrix(f"subsample.conv_{i}", "conv", channels, source * 9)
        out.append(vector(f"subsample.norm_{i}", "norm", channels))
        source = channels
    # each of the two convolutions halves the mel bins
    features = audio.input_features // 2 ** len(audio.conv_channels) * source
    return (
        *out,
        *matrix("subsample.input_proj", "projector", audio.hidden_size, features),
        *_embedder("embed_audio", audio.vocab_size, audio.hidden_size, text_hidden),
    )
