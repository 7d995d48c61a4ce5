"""Image generation pipelines: denoiser, autoencoder and text encoders as stacks of one model.

Shapes follow the classes of diffusers: UNet2DConditionModel, SD3Transformer2DModel, FluxTransformer2DModel,
AutoencoderKL, CLIPTextModel, T5EncoderModel.
"""

from __future__ import annotations

from planner.architecture.encoder_layers import encoder_block, plain_block
from planner.architecture.schema import ModelEntry
from planner.architecture.schema_media import (
    ClipTextShape,
    DiffusionArchitecture,
    FluxShape,
    MmditShape,
    T5EncoderShape,
    UnetShape,
)
from planner.architecture.schema_parts import AttentionShape, MlpShape
from planner.architecture.tensors import attention, feed_forward, matrix, norm, vector
from planner.architecture.types import Attention, Block, Model, Tensor
from planner.architecture.unet import Component, build_unet, build_vae

TIME_CHANNELS = 256
"""Width of the sinusoidal time step fed to the transformers' embedding."""
PATCH = 2
"""Latents along a side of one transformer token."""


def build_diffusion(entry: ModelEntry, arch: DiffusionArchitecture) -> Model:
    """Every tensor of a pipeline; the denoiser is the main stack."""
    latent_side = arch.image_size // arch.vae_downscale
    channels = arch.vae.latent_channels
    match arch.denoiser:
        case UnetShape():
            denoiser = build_unet(arch.denoiser, latent_channels=channels, latent_side=latent_side)
        case MmditShape():
            denoiser = _mmdit(arch.denoiser, channels, latent_side)
        case FluxShape():
            denoiser = _flux(arch.denoiser, channels, latent_side)
    parts = [denoiser, *(_text_encoder(i, shape) for i, shape in enumerate(arch.text_encoders, start=1))]
    parts.append(build_vae(arch.vae, latent_side=latent_side))
    main = denoiser.blocks
    return Model(
        id=entry.id,
        family=entry.family,
        task=entry.task,
        hidden_size=max(block.hidden_size for block in main),
        vocab_size=0,
        tied_embeddings=False,
        max_context=entry.max_context,
        native_dtype=entry.native_dtype,
        blocks=tuple(block for part in parts for block in part.blocks),
        outer=tuple(t for part in parts for t in part.outer),
        layer_order=tuple(i for i, block in enumerate(main) for _ in range(block.num_layers)),
        has_head=False,
        activations_modelled=False,
        image_size=arch.image_size,
    )


def _text_encoder(index: int, shape: ClipTextShape | T5EncoderShape) -> Component:
    name = f"text_encoder_{index}"
    hidden = shape.hidden_size
    table = matrix(f"{name}.embed_tokens", "embedding", shape.vocab_size, hidden)
    if isinstance(shape, ClipTextShape):
        projection = matrix(f"{name}.text_projection", "projector", shape.projection_size, hidden)
        return Component(
            blocks=(plain_block(name, "text", shape, causal=True, tokens_fixed=shape.position_rows),),
            outer=(
                *table,
                *matrix(f"{name}.position_embedding", "position", shape.position_rows, hidden),
                *norm(f"{name}.final_layer_norm", "layernorm", hidden),
                *(projection if shape.projection_size else ()),
            ),
        )
    heads = AttentionShape(num_heads=shape.num_heads, num_kv_heads=shape.num_heads, head_dim=shape.head_dim)
    block = encoder_block(
        name,
        "text",
        num_layers=shape.num_layers,
        hidden=hidden,
        heads=heads,
        mlp=MlpShape(intermediate_size=shape.intermediate_size, gated=True, activation="gelu"),
        norm_kind="rmsnorm",
    )
    buckets = matrix(f"{name}.relative_attention_bias", "position", 32, shape.num_heads)
    return Component(blocks=(block,), outer=(*table, *buckets, vector(f"{name}.final_layer_norm", "norm", hidden)))


def _embedding_mlp(name: str, width: int, hidden: int) -> tuple[Tensor, ...]:
    return (
        *matrix(f"{name}.linear_1", "projector", hidden, width, bias=True),
        *matrix(f"{name}.linear_2", "projector", hidden, hidden, bias=True),
    )


def _stream(prefix: str, hidden: int, *, modulations: int, ends: bool = True) -> tuple[Tensor, ...]:
    """One side (image or text) of a joint layer. A side that ends here has neither output nor MLP."""
    names = (f"{prefix}{p}_proj" for p in "qkv")
    qkv = (t for name in names for t in matrix(name, "attention", hidden, hidden, bias=True))
    through = (
        *matrix(f"{prefix}o_proj", "attention", hidden, hidden, bias=True),
        *matrix(f"{prefix}up_proj", "mlp", 4 * hidden, hidden, bias=True),
        *matrix(f"{prefix}down_proj", "mlp", hidden, 4 * hidden, bias=True),
    )
    return (
        *matrix(f"{prefix}modulation", "mlp", modulations * hidden, hidden, bias=True),
        *qkv,
        *(through if ends else ()),
    )


def _joint_attention(heads: int, head_dim: int) -> Attention:
    shape = AttentionShape(num_heads=heads, num_kv_heads=heads, head_dim=head_dim, bias="qkvo")
    return attention(shape, causal=False)


def _joint_block(
    name: str, num_layers: int, tensors: tuple[Tensor, ...], heads: int, head_dim: int, tokens: int
) -> Block:
    hidden = heads * head_dim
    mlp = MlpShape(intermediate_size=4 * hidden, gated=False, activation="gelu", bias="all")
    return Block(
        name=name,
        stack="denoiser",
        num_layers=num_layers,
        hidden_size=hidden,
        tensors=tensors,
        attention=_joint_attention(heads, head_dim),
        feed_forward=feed_forward(mlp),
        norm="nonparametric",
        tokens_fixed=tokens,
    )


def _transformer_ends(hidden: int, latent_channels: int, joint: int, pooled: int) -> tuple[Tensor, ...]:
    patch = latent_channels * PATCH * PATCH
    return (
        *matrix("x_embedder", "projector", hidden, patch, bias=True),
        *matrix("context_embedder", "projector", hidden, joint, bias=True),
        *_embedding_mlp("timestep_embedder", TIME_CHANNELS, hidden),
        *_embedding_mlp("text_embedder", pooled, hidden),
        *matrix("norm_out", "projector", 2 * hidden, hidden, bias=True),
        *matrix("proj_out", "projector", patch, hidden, bias=True),
    )


def _mmdit(shape: MmditShape, latent_channels: int, latent_side: int) -> Component:
    hidden = shape.num_heads * shape.head_dim
    tokens = (latent_side // PATCH) ** 2
    head_norms = tuple(vector(f"{p}norm_{x}", "norm", shape.head_dim) for p in ("", "context_") for x in "qk")
    norms = head_norms if shape.qk_norm else ()
    image = _stream("", hidden, modulations=6)
    joint = (*image, *_stream("context_", hidden, modulations=6), *norms)
    last = (*image, *_stream("context_", hidden, modulations=2, ends=False), *norms)
    return Component(
        blocks=(
            _joint_block("joint", shape.num_layers - 1, joint, shape.num_heads, shape.head_dim, tokens),
            _joint_block("joint last", 1, last, shape.num_heads, shape.head_dim, tokens),
        ),
        outer=_transformer_ends(hidden, latent_channels, shape.joint_size, shape.pooled_size),
    )


def _flux(shape: FluxShape, latent_channels: int, latent_side: int) -> Component:
    hidden, head_dim = shape.num_heads * shape.head_dim, shape.head_dim
    tokens = (latent_side // PATCH) ** 2
    double = (
        *_stream("", hidden, modulations=6),
        *_stream("context_", hidden, modulations=6),
        *(vector(f"{p}norm_{x}", "norm", head_dim) for p in ("", "context_") for x in "qk"),
    )
    single = (
        *matrix("modulation", "mlp", 3 * hidden, hidden, bias=True),
        *(t for p in ("q_proj", "k_proj", "v_proj") for t in matrix(p, "attention", hidden, hidden, bias=True)),
        *matrix("up_proj", "mlp", 4 * hidden, hidden, bias=True),
        *matrix("proj_out", "mlp", hidden, 5 * hidden, bias=True),
        *(vector(f"norm_{x}", "norm", head_dim) for x in "qk"),
    )
    guidance = _embedding_mlp("guidance_embedder", TIME_CHANNELS, hidden) if shape.guidance else ()
    return Component(
        blocks=(
            _joint_block("double", shape.num_double_layers, double, shape.num_heads, head_dim, tokens),
            _joint_block("single", shape.num_single_layers, single, shape.num_heads, head_dim, tokens),
        ),
        outer=(*_transformer_ends(hidden, latent_channels, shape.joint_size, shape.pooled_size), *guidance),
    )
