"""Speech models: Whisper and wav2vec 2.0."""

from __future__ import annotations

from planner.architecture.encoder_decoder import cross_attention, cross_tensors
from planner.architecture.encoder_layers import encoder_block
from planner.architecture.schema import ModelEntry
from planner.architecture.schema_media import Wav2Vec2Architecture, WhisperArchitecture
from planner.architecture.tensors import (
    attention,
    attention_tensors,
    convolution,
    feed_forward,
    matrix,
    mlp_tensors,
    norm,
    vector,
)
from planner.architecture.types import Block, Model

CONV_WIDTH = 3
"""Width of Whisper's two convolutions over time; the second halves the frames."""


def build_whisper(entry: ModelEntry, arch: WhisperArchitecture) -> Model:
    """Every tensor; the encoder's sinusoidal positions are stored, so they count."""
    hidden = arch.hidden_size
    decoder_norms = ("self_attn_layer_norm", "encoder_attn_layer_norm", "final_layer_norm")
    decoder = Block(
        name="decoder",
        stack="decoder",
        num_layers=arch.num_layers,
        hidden_size=hidden,
        tensors=(
            *attention_tensors(arch.attention, hidden),
            *cross_tensors(arch.attention, hidden),
            *mlp_tensors(arch.feed_forward, hidden),
            *(t for name in decoder_norms for t in norm(name, "layernorm", hidden)),
        ),
        attention=attention(arch.attention),
        cross_attention=cross_attention(arch.attention),
        feed_forward=feed_forward(arch.feed_forward),
        norm="layernorm",
        num_norms=len(decoder_norms),
        dropout=arch.dropout,
        attention_dropout=arch.attention_dropout,
    )
    encoder = encoder_block(
        "encoder",
        "encoder",
        num_layers=arch.num_encoder_layers,
        hidden=hidden,
        heads=arch.attention,
        mlp=arch.feed_forward,
        norm_names=("self_attn_layer_norm", "final_layer_norm"),
        tokens_fixed=arch.encoder_positions,
        dropout=arch.dropout,
        attention_dropout=arch.attention_dropout,
    )
    return Model(
        id=entry.id,
        family=entry.family,
        task=entry.task,
        hidden_size=hidden,
        vocab_size=arch.vocab_size,
        tied_embeddings=True,
        max_context=entry.max_context,
        native_dtype=entry.native_dtype,
        blocks=(decoder, encoder),
        outer=(
            *matrix("embed_tokens", "embedding", arch.vocab_size, hidden),
            *matrix("decoder.embed_positions", "position", arch.position_rows, hidden),
            *norm("decoder.layer_norm", "layernorm", hidden),
            *convolution("conv1", hidden, arch.num_mel_bins * CONV_WIDTH, bias=True),
            *convolution("conv2", hidden, hidden * CONV_WIDTH, bias=True),
            *matrix("encoder.embed_positions", "position", arch.encoder_positions, hidden),
            *norm("encoder.layer_norm", "layernorm", hidden),
        ),
        layer_order=(0,) * arch.num_layers,
        audio_positions=arch.encoder_positions,
    )


def build_wav2vec2(entry: ModelEntry, arch: Wav2Vec2Architecture) -> Model:
    """Every tensor of the encoder with its CTC head."""
    hidden, channels = arch.hidden_size, arch.conv_channels
    fan_in = (1, *channels[:-1])
    convolutions = [
        convolution(f"conv_layers.{i}", out, source * width)
        for i, (out, source, width) in enumerate(zip(channels, fan_in, arch.conv_kernels, strict=True))
    ]
    block = encoder_block(
        "encoder",
        "encoder",
        num_layers=arch.num_layers,
        hidden=hidden,
        heads=arch.attention,
        mlp=arch.feed_forward,
        norm_names=("layer_norm", "final_layer_norm"),
        dropout=arch.dropout,
        attention_dropout=arch.attention_dropout,
    )
    return Model(
        id=entry.id,
        family=entry.family,
        task=entry.task,
        hidden_size=hidden,
        vocab_size=arch.vocab_size,
        tied_embeddings=False,
        max_context=entry.max_context,
        native_dtype=entry.native_dtype,
        blocks=(block,),
        outer=(
            vector("masked_spec_embed", "other", hidden),
            *(t for conv in convolutions for t in conv),
            *norm("conv_layers.0.layer_norm", "layernorm", channels[0]),
            *norm("feature_projection.layer_norm", "layernorm", channels[-1]),
            *matrix("feature_projection.projection", "projector", hidden, channels[-1], bias=True),
            *convolution(
                "pos_conv_embed", hidden, hidden // arch.position_conv_groups * arch.position_conv_kernel, bias=True
            ),
            # weight normalisation stores one magnitude per kernel position
            vector("pos_conv_embed.magnitude", "conv", arch.position_conv_kernel),
            *norm("encoder.layer_norm", "layernorm", hidden),
            *matrix("lm_head", "head", arch.vocab_size, hidden, bias=True),
        ),
        layer_order=(0,) * arch.num_layers,
        activations_modelled=False,
    )
