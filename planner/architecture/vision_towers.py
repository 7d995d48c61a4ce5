"""Vision towers of vision-language models, with their projectors into the text width.

Tensor shapes follow the model classes of transformers; totals are checked there by the tests.
"""

from __future__ import annotations

from dataclasses import dataclass

from planner.architecture.encoder_layers import encoder_block, even_heads, plain_block
from planner.architecture.schema_parts import (
    ClipTower,
    Gemma4Tower,
    Llama4Tower,
    MllamaTower,
    MlpShape,
    NormKind,
    PixtralTower,
    QwenTower,
    SiglipTower,
    VisionTower,
)
from planner.architecture.tensors import convolution, matrix, norm, vector
from planner.architecture.types import Block, ImageTokens, Tensor

COLOURS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Tower:
    """What a vision tower adds to a model."""

    blocks: tuple[Block, ...]
    outer: tuple[Tensor, ...]
    image_tokens: ImageTokens
    image_size: int | None


def build_tower(shape: VisionTower, *, text_hidden: int) -> Tower:
    """Layers, patch embedding, positions and projector of one tower."""
    match shape:
        case ClipTower():
            return _clip(shape, text_hidden)
        case SiglipTower():
            return _siglip(shape, text_hidden)
        case PixtralTower():
            return _pixtral(shape, text_hidden)
        case QwenTower():
            return _qwen(shape, text_hidden)
        case Llama4Tower():
            return _llama4(shape, text_hidden)
        case MllamaTower():
            return _mllama(shape, text_hidden)
        case Gemma4Tower():
            return _gemma4(shape, text_hidden)


def patch_embedding(hidden: int, patch: int, *, bias: bool, frames: int = 1) -> tuple[Tensor, ...]:
    """The convolution that turns each patch of `patch` x `patch` pixels into one vector."""
    return convolution("patch_embedding", hidden, COLOURS * frames * patch * patch, bias=bias)


def _two_layer_projector(inner: int, out: int, *, bias: bool = True) -> tuple[Tensor, ...]:
    return (
        *matrix("projector.linear_1", "projector", out, inner, bias=bias),
        *matrix("projector.linear_2", "projector", out, out, bias=bias),
    )


def _clip(shape: ClipTower, text_hidden: int) -> Tower:
    hidden, positions = shape.hidden_size, shape.num_patches + 1
    per_tile = shape.tokens_per_image or shape.num_patches
    # LLaVA-NeXT cuts an image into up to 4 tiles beside the overview; its row ends and un-padding are left out
    tokens = ImageTokens(
        kind="tiles" if shape.image_newline else "fixed",
        patches_per_token=1,
        tokens=per_tile,
        side=shape.image_size,
        patches=positions,
        max_tiles=4 if shape.image_newline else 1,
    )
    return Tower(
        blocks=(plain_block("vision", "vision", shape, activation="quick_gelu", tokens_fixed=positions),),
        outer=(
            vector("class_embedding", "position", hidden),
            *patch_embedding(hidden, shape.patch_size, bias=False),
            *matrix("vision_positions", "position", positions, hidden),
            *norm("pre_layernorm", "layernorm", hidden),
            *norm("post_layernorm", "layernorm", hidden),
            *_two_layer_projector(hidden, text_hidden),
            *((vector("image_newline", "other", text_hidden),) if shape.image_newline else ()),
        ),
        image_tokens=tokens,
        image_size=shape.image_size,
    )


def _siglip(shape: SiglipTower, text_hidden: int) -> Tower:
    hidden, patches = shape.hidden_size, shape.num_patches
    match shape.projector:
        case "gemma3":
            projector = (
                *matrix("projector.linear", "projector", text_hidden, hidden),
                vector("projector.norm", "norm", hidden),
            )
        case "linear":
            projector = matrix("projector.linear", "projector", text_hidden, hidden, bias=True)
        case "pixel_shuffle":
            projector = matrix("projector.linear", "projector", text_hidden, hidden * shape.shuffle**2)
    per_tile = shape.tokens_per_image or patches // shape.shuffle**2
    tiled = shape.projector == "pixel_shuffle"
    return Tower(
        blocks=(plain_block("vision", "vision", shape, tokens_fixed=patches),),
        outer=(
            *patch_embedding(hidden, shape.patch_size, bias=True),
            *matrix("vision_positions", "position", patches, hidden),
            *norm("post_layernorm", "layernorm", hidden),
            *projector,
        ),
        image_tokens=ImageTokens(
            kind="tiles" if tiled else "fixed",
            patches_per_token=patches // per_tile,
            tokens=per_tile,
            side=shape.image_size,
            patches=patches,
            max_tiles=16 if tiled else 1,
        ),
        image_size=shape.image_size,
    )


def _pixtral(shape: PixtralTower, text_hidden: int) -> Tower:
    hidden, merged = shape.hidden_size, shape.merge**2
    block = encoder_block(
        "vision",
        "vision",
        num_layers=shape.num_layers,
        hidden=hidden,
        heads=even_heads(hidden, shape.num_heads, bias="none"),
        mlp=MlpShape(intermediate_size=shape.intermediate_size, gated=True, activation="silu"),
        norm_kind="rmsnorm",
    )
    if shape.projector == "patch_merger":
        projector = (
            vector("projector.norm", "norm", hidden),
            *matrix("projector.patch_merger", "projector", hidden, hidden * merged),
            *_two_layer_projector(hidden, text_hidden, bias=False),
        )
    else:
        projector = _two_layer_projector(hidden, text_hidden)
    return Tower(
        blocks=(block,),
        outer=(
            *patch_embedding(hidden, shape.patch_size, bias=False),
            vector("pre_layernorm", "norm", hidden),
            *projector,
        ),
        image_tokens=ImageTokens(kind="grid", side=shape.patch_size * shape.merge, patches_per_token=merged),
        image_size=shape.image_size,
    )


def _qwen(shape: QwenTower, text_hidden: int) -> Tower:
    hidden, merged = shape.hidden_size, shape.merge**2
    gated = shape.kind == "qwen2_5_vl"
    norm_kind: NormKind = "rmsnorm" if gated else "layernorm"
    block = encoder_block(
        "vision",
        "vision",
        num_layers=shape.num_layers,
        hidden=hidden,
        heads=even_heads(hidden, shape.num_heads),
        mlp=MlpShape(
            intermediate_size=shape.intermediate_size, gated=gated, activation="silu" if gated else "gelu", bias="all"
        ),
        norm_kind=norm_kind,
    )
    deepstack = tuple(
        t
        for i in range(shape.num_deepstack)
        for t in (
            *norm(f"deepstack_{i}.norm", "layernorm", hidden * merged),
            *matrix(f"deepstack_{i}.fc1", "projector", hidden * merged, hidden * merged, bias=True),
            *matrix(f"deepstack_{i}.fc2", "projector", text_hidden, hidden * merged, bias=True),
        )
    )
    return Tower(
        blocks=(block,),
        outer=(
            *patch_embedding(hidden, shape.patch_size, bias=shape.kind == "qwen3_vl", frames=shape.temporal_patch),
            *(matrix("vision_positions", "position", shape.num_positions, hidden) if shape.num_positions else ()),
            *norm("merger.norm", norm_kind, hidden),
            *matrix("merger.fc1", "projector", hidden * merged, hidden * merged, bias=True),
            *matrix("merger.fc2", "projector", text_hidden, hidden * merged, bias=True),
            *deepstack,
        ),
        image_tokens=ImageTokens(kind="grid", side=shape.patch_size * shape.merge, patches_per_token=merged),
        image_size=None,
    )


def _llama4(shape: Llama4Tower, text_hidden: int) -> Tower:
    hidden, positions = shape.hidden_size, shape.num_patches + 1
    shuffled = hidden * shape.num_patches // shape.tokens_per_tile
    return Tower(
        blocks=(plain_block("vision", "vision", shape, tokens_fixed=positions),),
        outer=(
            vector("class_embedding", "position", hidden),
            *matrix("vision_positions", "position", positions, hidden),
            *patch_embedding(hidden, shape.patch_size, bias=False),
            *norm("pre_layernorm", "layernorm", hidden),
            *norm("post_layernorm", "layernorm", hidden),
            *matrix("adapter.fc1", "projector", shape.projector_input_size, shuffled),
            *matrix("adapter.fc2", "projector", shape.projector_output_size, shape.projector_input_size),
            *matrix("projector.linear", "projector", text_hidden, shape.projector_output_size),
        ),
        image_tokens=ImageTokens(
            kind="tiles",
            patches_per_token=shape.num_patches // shape.tokens_per_tile,
            tokens=shape.tokens_per_tile,
            side=shape.image_size,
            patches=positions,
            max_tiles=16,
        ),
        image_size=shape.image_size,
    )


def _mllama(shape: MllamaTower, text_hidden: int) -> Tower:
    hidden, positions = shape.hidden_size, shape.num_patches + 1
    ratios = shape.num_aspect_ratios + 1
    heads = even_heads(hidden, shape.num_heads, bias="none")
    mlp = MlpShape(intermediate_size=shape.intermediate_size, gated=False, activation="gelu", bias="all")

    def run(name: str, num_layers: int, extra: tuple[Tensor, ...]) -> Block:
        return encoder_block(
            name,
            "vision",
            num_layers=num_layers,
            hidden=hidden,
            heads=heads,
            mlp=mlp,
            extra=extra,
            tokens_fixed=shape.num_tiles * positions,
        )

    gates = (vector("gate_attn", "state", 1), vector("gate_ffn", "state", 1))
    tile_tables = tuple(
        t
        for when in ("pre", "post")
        for t in (
            vector(f"{when}_tile.gate", "state", 1),
            *matrix(f"{when}_tile.embedding", "position", ratios, shape.num_tiles * hidden),
        )
    )
    return Tower(
        blocks=(run("vision", shape.num_layers, ()), run("vision_global", shape.num_global_layers, gates)),
        outer=(
            vector("class_embedding", "position", hidden),
            *patch_embedding(hidden, shape.patch_size, bias=False),
            vector("position_gate", "state", 1),
            *matrix("vision_positions", "position", positions, hidden),
            *matrix("tile_positions", "position", ratios, shape.num_tiles * positions * hidden),
            *tile_tables,
            *norm("pre_layernorm", "layernorm", hidden),
            *norm("post_layernorm", "layernorm", hidden),
            *matrix("projector.linear", "projector", text_hidden, shape.output_size, bias=True),
        ),
        image_tokens=ImageTokens(
            kind="fixed", patches_per_token=1, side=shape.image_size, patches=shape.num_tiles * positions
        ),
        image_size=shape.image_size,
    )


def _gemma4(shape: Gemma4Tower, text_hidden: int) -> Tower:
    hidden = shape.hidden_size
    heads = even_heads(hidden, shape.num_heads, bias="none").model_copy(update={"qk_norm": "head"})
    block = encoder_block(
        "vision",
        "vision",
        num_layers=shape.num_layers,
        hidden=hidden,
        heads=heads,
        mlp=MlpShape(intermediate_size=shape.intermediate_size, gated=True, activation="gelu"),
        norm_kind="rmsnorm",
        norm_names=(
            "input_layernorm",
            "post_attention_layernorm",
            "pre_feedforward_layernorm",
            "post_feedforward_layernorm",
        ),
    )
    return Tower(
        blocks=(block,),
        outer=(
            *patch_embedding(hidden, shape.patch_size, bias=False),
            *matrix("vision_positions", "position", 2 * shape.num_positions, hidden),
            *matrix("projector.linear", "projector", text_hidden, hidden),
        ),
        image_tokens=ImageTokens(
            kind="fixed", patches_per_token=9, tokens=shape.tokens_per_image, patches=9 * shape.tokens_per_image
        ),
        image_size=None,
    )
