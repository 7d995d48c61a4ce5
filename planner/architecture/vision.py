"""Vision models of their own: ViT, CLIP, SigLIP, ResNet, Swin, ConvNeXt."""

from __future__ import annotations

from planner.architecture.encoder_layers import encoder_block, even_heads, plain_block
from planner.architecture.schema import ModelEntry
from planner.architecture.schema_media import (
    ContrastiveArchitecture,
    ConvnextArchitecture,
    ResnetArchitecture,
    SwinArchitecture,
    VitArchitecture,
)
from planner.architecture.schema_parts import MlpShape
from planner.architecture.tensors import convolution, matrix, mlp_tensors, norm, vector
from planner.architecture.types import Block, Model, NormName, Tensor
from planner.architecture.vision_towers import COLOURS, patch_embedding


def build_vit(entry: ModelEntry, arch: VitArchitecture) -> Model:
    """ViT and DINOv2."""
    hidden, positions = arch.hidden_size, arch.num_patches + 1
    scales = (vector("layer_scale1", "other", hidden), vector("layer_scale2", "other", hidden))
    block = plain_block("vision", "vision", arch, extra=scales if arch.layer_scale else (), tokens_fixed=positions)
    outer = [
        vector("cls_token", "position", hidden),
        *((vector("mask_token", "other", hidden),) if arch.mask_token else ()),
        *matrix("position_embeddings", "position", positions, hidden),
        *patch_embedding(hidden, arch.patch_size, bias=True),
        *norm("layernorm", "layernorm", hidden),
        *(matrix("pooler", "head", hidden, hidden, bias=True) if arch.pooler else ()),
        *(matrix("classifier", "head", arch.num_labels, hidden, bias=True) if arch.num_labels else ()),
    ]
    return _vision_model(entry, hidden, (block,), tuple(outer), (0,) * arch.num_layers, arch.image_size)


def build_contrastive(entry: ModelEntry, arch: ContrastiveArchitecture) -> Model:
    """CLIP and SigLIP, both towers; the text tower is the main stack."""
    text, vision = arch.text, arch.vision
    clip = arch.kind == "clip"
    positions = vision.num_patches + (1 if clip else 0)
    activation = text.activation
    blocks = (
        plain_block("text", "text", text, activation=activation, causal=clip, tokens_fixed=text.position_rows),
        plain_block("vision", "vision", vision, activation=activation, tokens_fixed=positions),
    )
    outer = (
        *matrix("token_embedding", "embedding", text.vocab_size, text.hidden_size),
        *matrix("text_positions", "position", text.position_rows, text.hidden_size),
        *norm("final_layer_norm", "layernorm", text.hidden_size),
        *matrix("vision_positions", "position", positions, vision.hidden_size),
        *patch_embedding(vision.hidden_size, vision.patch_size, bias=not clip),
        *norm("post_layernorm", "layernorm", vision.hidden_size),
        *(_clip_ends(arch) if clip else _siglip_ends(arch)),
    )
    return Model(
        id=entry.id,
        family=entry.family,
        task=entry.task,
        hidden_size=text.hidden_size,
        vocab_size=text.vocab_size,
        tied_embeddings=True,
        max_context=entry.max_context,
        native_dtype=entry.native_dtype,
        blocks=blocks,
        outer=outer,
        layer_order=(0,) * text.num_layers,
        has_head=False,
        activations_modelled=False,
        image_size=vision.image_size,
    )


def _clip_ends(arch: ContrastiveArchitecture) -> tuple[Tensor, ...]:
    width = arch.vision.hidden_size
    return (
        vector("class_embedding", "position", width),
        *norm("pre_layernorm", "layernorm", width),
        *matrix("text_projection", "projector", arch.projection_size, arch.text.hidden_size),
        *matrix("visual_projection", "projector", arch.projection_size, width),
        vector("logit_scale", "other", 1),
    )


def _siglip_ends(arch: ContrastiveArchitecture) -> tuple[Tensor, ...]:
    """A linear head on the text side, attention pooling with an MLP on the image side."""
    width, text = arch.vision.hidden_size, arch.text.hidden_size
    mlp = MlpShape(intermediate_size=arch.vision.intermediate_size, gated=False, activation="gelu", bias="all")
    return (
        *matrix("text_head", "projector", text, text, bias=True),
        vector("head.probe", "other", width),
        *matrix("head.in_proj", "projector", 3 * width, width, bias=True),
        *matrix("head.out_proj", "projector", width, width, bias=True),
        *norm("head.layernorm", "layernorm", width),
        *mlp_tensors(mlp, width, role="projector"),
        vector("logit_scale", "other", 1),
        vector("logit_bias", "other", 1),
    )


def _conv_norm(name: str, out: int, fan_in: int) -> tuple[Tensor, ...]:
    """Convolution without bias, then batch norm."""
    return (*convolution(name, out, fan_in), *norm(f"{name}.norm", "layernorm", out))


def build_resnet(entry: ModelEntry, arch: ResnetArchitecture) -> Model:
    """Residual stages; the first layer of a stage is a block of its own where its shapes differ."""
    blocks: list[Block] = []
    order: list[int] = []
    source = arch.embedding_size
    side = arch.image_size // 4
    for stage, (depth, out) in enumerate(zip(arch.depths, arch.hidden_sizes, strict=True)):
        side = side if stage == 0 else side // 2
        first, rest = _residual(arch, source, out, shortcut=source != out or stage > 0), _residual(arch, out, out)
        for name, tensors, layers in ((f"stage {stage} first", first, 1), (f"stage {stage}", rest, depth - 1)):
            if layers:
                order += [len(blocks)] * layers
                blocks.append(_conv_block(name, layers, out, tensors, side, "batchnorm"))
        source = out
    outer = (
        *_conv_norm("embedder", arch.embedding_size, COLOURS * 7 * 7),
        *matrix("classifier", "head", arch.num_labels, arch.hidden_sizes[-1], bias=True),
    )
    return _vision_model(entry, arch.hidden_sizes[-1], tuple(blocks), outer, tuple(order), arch.image_size)


def _residual(arch: ResnetArchitecture, source: int, out: int, *, shortcut: bool = False) -> tuple[Tensor, ...]:
    side = _conv_norm("shortcut", out, source) if shortcut else ()
    if arch.block == "basic":
        return (*side, *_conv_norm("conv1", out, source * 9), *_conv_norm("conv2", out, out * 9))
    inner = out // 4
    return (
        *side,
        *_conv_norm("conv1", inner, source),
        *_conv_norm("conv2", inner, inner * 9),
        *_conv_norm("conv3", out, inner),
    )


def _conv_block(
    name: str, num_layers: int, hidden: int, tensors: tuple[Tensor, ...], side: int, norm_name: NormName
) -> Block:
    return Block(
        name=name,
        stack="vision",
        num_layers=num_layers,
        hidden_size=hidden,
        tensors=tensors,
        norm=norm_name,
        num_norms=sum(t.role == "norm" and not t.name.endswith(".bias") for t in tensors),
        tokens_fixed=side * side,
    )


def build_convnext(entry: ModelEntry, arch: ConvnextArchitecture) -> Model:
    """Stages of depthwise convolution, LayerNorm and a four times wider MLP."""
    blocks = []
    outer = [
        *convolution("patch_embeddings", arch.hidden_sizes[0], COLOURS * arch.patch_size**2, bias=True),
        *norm("embeddings.layernorm", "layernorm", arch.hidden_sizes[0]),
    ]
    for stage, (depth, width) in enumerate(zip(arch.depths, arch.hidden_sizes, strict=True)):
        if stage:
            source = arch.hidden_sizes[stage - 1]
            outer += norm(f"downsampling.{stage}.norm", "layernorm", source)
            outer += convolution(f"downsampling.{stage}", width, source * 4, bias=True)
        mlp = MlpShape(intermediate_size=4 * width, gated=False, activation="gelu", bias="all")
        tensors = (
            vector("layer_scale_parameter", "other", width),
            *convolution("dwconv", width, 49, bias=True),
            *norm("layernorm", "layernorm", width),
            *mlp_tensors(mlp, width),
        )
        side = arch.image_size // arch.patch_size // 2**stage
        blocks.append(_conv_block(f"stage {stage}", depth, width, tensors, side, "layernorm"))
    last = arch.hidden_sizes[-1]
    outer += norm("layernorm", "layernorm", last)
    outer += matrix("classifier", "head", arch.num_labels, last, bias=True)
    order = tuple(stage for stage, depth in enumerate(arch.depths) for _ in range(depth))
    return _vision_model(entry, last, tuple(blocks), tuple(outer), order, arch.image_size)


def build_swin(entry: ModelEntry, arch: SwinArchitecture) -> Model:
    """Windowed attention with relative position biases; width doubles and side halves between stages."""
    blocks = []
    outer = [
        *patch_embedding(arch.embedding_size, arch.patch_size, bias=True),
        *norm("embeddings.norm", "layernorm", arch.embedding_size),
    ]
    bias_rows = (2 * arch.window - 1) ** 2
    for stage, (depth, heads) in enumerate(zip(arch.depths, arch.num_heads, strict=True)):
        width = arch.embedding_size * 2**stage
        side = arch.image_size // arch.patch_size // 2**stage
        blocks.append(
            encoder_block(
                f"stage {stage}",
                "vision",
                num_layers=depth,
                hidden=width,
                heads=even_heads(width, heads),
                mlp=MlpShape(intermediate_size=4 * width, gated=False, activation="gelu", bias="all"),
                extra=matrix("relative_position_bias_table", "position", bias_rows, heads),
                tokens_fixed=side * side,
            )
        )
        if stage + 1 < len(arch.depths):
            outer += norm(f"downsample.{stage}.norm", "layernorm", 4 * width)
            outer += matrix(f"downsample.{stage}.reduction", "projector", 2 * width, 4 * width)
    last = arch.embedding_size * 2 ** (len(arch.depths) - 1)
    outer += norm("layernorm", "layernorm", last)
    outer += matrix("classifier", "head", arch.num_labels, last, bias=True)
    order = tuple(stage for stage, depth in enumerate(arch.depths) for _ in range(depth))
    return _vision_model(entry, last, tuple(blocks), tuple(outer), order, arch.image_size)


def _vision_model(
    entry: ModelEntry,
    hidden: int,
    blocks: tuple[Block, ...],
    outer: tuple[Tensor, ...],
    order: tuple[int, ...],
    image_size: int,
) -> Model:
    return Model(
        id=entry.id,
        family=entry.family,
        task=entry.task,
        hidden_size=hidden,
        vocab_size=0,
        tied_embeddings=False,
        max_context=entry.max_context,
        native_dtype=entry.native_dtype,
        blocks=blocks,
        outer=outer,
        layer_order=order,
        has_head=False,
        activations_modelled=False,
        image_size=image_size,
    )
