"""The convolutional halves of diffusion pipelines: UNet denoiser and autoencoder.

Each resolution becomes one block of convolutions and, in the UNet, one run of transformer layers, so that
work and activations follow from the positions of that resolution.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from planner.architecture.schema_media import UnetShape, VaeShape
from planner.architecture.schema_parts import AttentionShape
from planner.architecture.tensors import attention, convolution, matrix, norm
from planner.architecture.types import Block, FeedForward, Stack, Tensor

KERNEL = 9
"""Values of a 3 x 3 kernel."""
COLOURS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One model of a pipeline."""

    blocks: tuple[Block, ...]
    outer: tuple[Tensor, ...]


def residual(name: str, source: int, out: int, *, time_size: int = 0) -> tuple[Tensor, ...]:
    """Two normed convolutions with a shortcut; in a denoiser the time embedding joins between them."""
    return (
        *norm(f"{name}.norm1", "layernorm", source),
        *convolution(f"{name}.conv1", out, source * KERNEL, bias=True),
        *(matrix(f"{name}.time_emb_proj", "mlp", out, time_size, bias=True) if time_size else ()),
        *norm(f"{name}.norm2", "layernorm", out),
        *convolution(f"{name}.conv2", out, out * KERNEL, bias=True),
        *(convolution(f"{name}.shortcut", out, source, bias=True) if source != out else ()),
    )


def resample(name: str, channels: int) -> tuple[Tensor, ...]:
    """The convolution that goes with halving or doubling the resolution."""
    return convolution(name, channels, channels * KERNEL, bias=True)


def build_unet(shape: UnetShape, *, latent_channels: int, latent_side: int) -> Component:
    """Down two residuals a resolution, up three that also read the skips."""
    widths = shape.channels
    time_size = 4 * widths[0]
    convs: dict[int, list[Tensor]] = {level: [] for level in range(len(widths))}
    for name, level, source, out in _unet_residuals(widths):
        convs[level] += residual(name, source, out, time_size=time_size)
    last = len(widths) - 1
    for level, width in enumerate(widths):
        if level < last:
            convs[level] += resample(f"down.{level}.downsample", width)
        if level > 0:
            convs[level] += resample(f"up.{level}.upsample", width)
    blocks = [
        _conv_block(f"residuals {level}", "denoiser", widths[level], tensors, latent_side // 2**level)
        for level, tensors in convs.items()
    ]
    runs = [(level, 5, depth) for level, depth in enumerate(shape.depths) if depth] + [(last, 1, shape.mid_depth)]
    outer: list[Tensor] = []
    for index, (level, num_transformers, depth) in enumerate(runs):
        middle = index == len(runs) - 1
        name = f"transformers {'middle' if middle else level}"
        outer += _transformer_ends(name, widths[level], num_transformers)
        tokens = (latent_side // 2**level) ** 2
        blocks.append(_transformer(name, num_transformers * depth, widths[level], shape.cross_size, tokens))
    outer += (
        *convolution("conv_in", widths[0], latent_channels * KERNEL, bias=True),
        *_embedding("time_embedding", widths[0], time_size),
        *(_embedding("add_embedding", shape.added_embedding_size, time_size) if shape.added_embedding_size else ()),
        *norm("conv_norm_out", "layernorm", widths[0]),
        *convolution("conv_out", latent_channels, widths[0] * KERNEL, bias=True),
    )
    return Component(blocks=tuple(blocks), outer=tuple(outer))


def _unet_residuals(widths: tuple[int, ...]) -> Iterable[tuple[str, int, int, int]]:
    """Name, resolution, input and output channels of every residual; skips are joined in reverse order."""
    skips = [widths[0]]
    source = widths[0]
    last = len(widths) - 1
    for level, width in enumerate(widths):
        for i in range(2):
            yield f"down.{level}.{i}", level, source, width
            source = width
            skips.append(width)
        if level < last:
            skips.append(width)
    for i in range(2):
        yield f"mid.{i}", last, source, source
    for level in range(last, -1, -1):
        for i in range(3):
            yield f"up.{level}.{i}", level, source + skips.pop(), widths[level]
            source = widths[level]


def _embedding(name: str, source: int, out: int) -> tuple[Tensor, ...]:
    return (
        *matrix(f"{name}.linear_1", "projector", out, source, bias=True),
        *matrix(f"{name}.linear_2", "projector", out, out, bias=True),
    )


def _conv_block(name: str, stack: Stack, width: int, tensors: Iterable[Tensor], side: int) -> Block:
    return Block(
        name=name,
        stack=stack,
        num_layers=1,
        hidden_size=width,
        tensors=tuple(tensors),
        norm="layernorm",
        num_norms=0,
        tokens_fixed=side * side,
    )


def _transformer_ends(name: str, width: int, count: int) -> tuple[Tensor, ...]:
    """Norm and the projections into and out of each of `count` transformers of one resolution."""
    return (
        *norm(f"{name}.norm", "layernorm", width, count=count),
        *matrix(f"{name}.proj_in", "projector", width, width, bias=True, count=count),
        *matrix(f"{name}.proj_out", "projector", width, width, bias=True, count=count),
    )


def _transformer(name: str, num_layers: int, width: int, cross_size: int, tokens: int) -> Block:
    """Self attention, cross attention to the text, GEGLU."""
    heads = AttentionShape(num_heads=width // 64, num_kv_heads=width // 64, head_dim=64, bias="o")
    projections = [
        t
        for prefix, source in (("", width), ("cross_", cross_size))
        for t in (
            *matrix(f"{prefix}q_proj", "attention", width, width),
            *matrix(f"{prefix}k_proj", "attention", width, source),
            *matrix(f"{prefix}v_proj", "attention", width, source),
            *matrix(f"{prefix}o_proj", "attention", width, width, bias=True),
        )
    ]
    inner = 4 * width
    return Block(
        name=name,
        stack="denoiser",
        num_layers=num_layers,
        hidden_size=width,
        tensors=(
            *projections,
            *matrix("gate_proj", "mlp", inner, width, bias=True),
            *matrix("up_proj", "mlp", inner, width, bias=True),
            *matrix("down_proj", "mlp", width, inner, bias=True),
            *(t for i in (1, 2, 3) for t in norm(f"norm{i}", "layernorm", width)),
        ),
        attention=attention(heads, causal=False),
        cross_attention=attention(heads, kind="cross", causal=False),
        feed_forward=FeedForward(intermediate_size=inner, gated=True, activation="gelu", has_bias=True),
        norm="layernorm",
        num_norms=3,
        tokens_fixed=tokens,
    )


def build_vae(shape: VaeShape, *, latent_side: int) -> Component:
    """Encoder with two residuals a resolution, decoder with three; attention in the middle of both."""
    widths, latents = shape.channels, shape.latent_channels
    last = len(widths) - 1
    convs: dict[int, list[Tensor]] = {level: [] for level in range(len(widths))}
    source = widths[0]
    for level, width in enumerate(widths):
        for i in range(2):
            convs[level] += residual(f"encoder.{level}.{i}", source, width)
            source = width
        if level < last:
            convs[level] += resample(f"encoder.{level}.downsample", width)
    for half in ("encoder", "decoder"):
        convs[last] += residual(f"{half}.mid.0", source, source) + residual(f"{half}.mid.1", source, source)
        convs[last] += norm(f"{half}.mid.norm", "layernorm", source)
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            convs[last] += matrix(f"{half}.mid.{name}", "attention", source, source, bias=True)
    for level in range(last, -1, -1):
        for i in range(3):
            convs[level] += residual(f"decoder.{level}.{i}", source, widths[level])
            source = widths[level]
        if level > 0:
            convs[level] += resample(f"decoder.{level}.upsample", widths[level])
    pixels = latent_side * 2**last
    outer = (
        *convolution("encoder.conv_in", widths[0], COLOURS * KERNEL, bias=True),
        *norm("encoder.conv_norm_out", "layernorm", widths[-1]),
        *convolution("encoder.conv_out", 2 * latents, widths[-1] * KERNEL, bias=True),
        *convolution("decoder.conv_in", widths[-1], latents * KERNEL, bias=True),
        *norm("decoder.conv_norm_out", "layernorm", widths[0]),
        *convolution("decoder.conv_out", COLOURS, widths[0] * KERNEL, bias=True),
    )
    quant = (
        *convolution("quant_conv", 2 * latents, 2 * latents, bias=True),
        *convolution("post_quant_conv", latents, latents, bias=True),
    )
    blocks = tuple(
        _conv_block(f"vae {level}", "vae", widths[level], tensors, pixels // 2**level)
        for level, tensors in convs.items()
    )
    return Component(blocks=blocks, outer=(*outer, *(quant if shape.quant_conv else ())))
