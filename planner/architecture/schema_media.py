"""Catalog descriptions of speech, vision and diffusion models."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from planner.architecture.schema_parts import (
    Activation,
    AttentionShape,
    Count,
    ImageSize,
    MlpShape,
    PositiveInt,
    Strict,
    TowerShape,
)


class WhisperArchitecture(Strict):
    """Speech to text: convolutions and an encoder over 30 s of audio, a text decoder with cross attention."""

    kind: Literal["whisper"] = "whisper"
    num_layers: PositiveInt
    """Decoder layers."""
    num_encoder_layers: PositiveInt
    hidden_size: PositiveInt
    vocab_size: PositiveInt
    attention: AttentionShape
    feed_forward: MlpShape
    num_mel_bins: PositiveInt
    encoder_positions: PositiveInt
    position_rows: PositiveInt
    dropout: bool = False
    attention_dropout: bool = False


class Wav2Vec2Architecture(Strict):
    """Speech encoder over raw samples with a CTC head."""

    kind: Literal["wav2vec2"] = "wav2vec2"
    num_layers: PositiveInt
    hidden_size: PositiveInt
    vocab_size: PositiveInt
    attention: AttentionShape
    feed_forward: MlpShape
    conv_channels: tuple[PositiveInt, ...]
    conv_kernels: tuple[PositiveInt, ...]
    conv_strides: tuple[PositiveInt, ...]
    position_conv_kernel: PositiveInt
    position_conv_groups: PositiveInt
    dropout: bool = True
    attention_dropout: bool = True


class VitArchitecture(TowerShape, ImageSize):
    """Vision transformer: class token, learned positions."""

    kind: Literal["vit"] = "vit"
    pooler: bool = False
    layer_scale: bool = False
    mask_token: bool = False
    num_labels: Count = 0


class TextTower(TowerShape):
    """Text half of a contrastive model."""

    vocab_size: PositiveInt
    position_rows: PositiveInt
    activation: Activation


class ImageTower(TowerShape, ImageSize):
    """Image half of a contrastive model."""


class ContrastiveArchitecture(Strict):
    """CLIP and SigLIP: a text and an image tower compared in one space."""

    kind: Literal["clip", "siglip"]
    text: TextTower
    vision: ImageTower
    projection_size: Count
    """Width of the common space (CLIP); SigLIP's is the text width, through a head on each side."""


class ResnetArchitecture(Strict):
    """Residual convolutional network."""

    kind: Literal["resnet"] = "resnet"
    block: Literal["basic", "bottleneck"]
    depths: tuple[PositiveInt, ...]
    hidden_sizes: tuple[PositiveInt, ...]
    embedding_size: PositiveInt = 64
    num_labels: Count
    image_size: PositiveInt


class SwinArchitecture(ImageSize):
    """Shifted-window transformer in four stages."""

    kind: Literal["swin"] = "swin"
    embedding_size: PositiveInt
    depths: tuple[PositiveInt, ...]
    num_heads: tuple[PositiveInt, ...]
    window: PositiveInt
    num_labels: Count


class ConvnextArchitecture(Strict):
    """Convolutional network with transformer-like blocks."""

    kind: Literal["convnext"] = "convnext"
    depths: tuple[PositiveInt, ...]
    hidden_sizes: tuple[PositiveInt, ...]
    patch_size: PositiveInt = 4
    num_labels: Count
    image_size: PositiveInt


class UnetShape(Strict):
    """Convolutional denoiser with cross attention (Stable Diffusion 1.x and XL)."""

    kind: Literal["unet"] = "unet"
    channels: tuple[PositiveInt, ...]
    depths: tuple[Count, ...]
    """Transformer layers of each attention of each resolution."""
    mid_depth: PositiveInt
    cross_size: PositiveInt
    added_embedding_size: Count = 0
    """Width of the pooled text and size conditions (SDXL)."""


class MmditShape(Strict):
    """Multimodal diffusion transformer (Stable Diffusion 3)."""

    kind: Literal["mmdit"] = "mmdit"
    num_layers: PositiveInt
    num_heads: PositiveInt
    head_dim: PositiveInt = 64
    qk_norm: bool = False
    joint_size: PositiveInt = 4096
    pooled_size: PositiveInt = 2048


class FluxShape(Strict):
    """FLUX: double-stream then single-stream transformer layers."""

    kind: Literal["flux"] = "flux"
    num_double_layers: PositiveInt
    num_single_layers: PositiveInt
    num_heads: PositiveInt
    head_dim: PositiveInt = 128
    guidance: bool
    joint_size: PositiveInt = 4096
    pooled_size: PositiveInt = 768


class VaeShape(Strict):
    """Image autoencoder."""

    kind: Literal["vae"] = "vae"
    latent_channels: PositiveInt
    quant_conv: bool = True
    channels: tuple[PositiveInt, ...] = (128, 256, 512, 512)


class ClipTextShape(TowerShape):
    """CLIP text encoder of a pipeline."""

    kind: Literal["clip_text"] = "clip_text"
    vocab_size: PositiveInt = 49408
    position_rows: PositiveInt = 77
    projection_size: Count = 0


class T5EncoderShape(TowerShape):
    """T5 text encoder of a pipeline."""

    kind: Literal["t5_encoder"] = "t5_encoder"
    vocab_size: PositiveInt = 32128
    head_dim: PositiveInt = 64


DenoiserShape = Annotated[UnetShape | MmditShape | FluxShape, Field(discriminator="kind")]
TextEncoderShape = Annotated[ClipTextShape | T5EncoderShape, Field(discriminator="kind")]


class DiffusionArchitecture(Strict):
    """An image generation pipeline: denoiser, autoencoder, text encoders."""

    kind: Literal["diffusion"] = "diffusion"
    denoiser: DenoiserShape
    vae: VaeShape
    text_encoders: tuple[TextEncoderShape, ...]
    image_size: PositiveInt
    """Side of the image it was trained for."""
    vae_downscale: PositiveInt
    """Pixels per latent, along a side."""
