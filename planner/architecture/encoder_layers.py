"""The plain transformer encoder layer that vision, speech and contrastive models share."""

from __future__ import annotations

from planner.architecture.schema_parts import Activation, AttentionShape, LinearBias, MlpShape, NormKind, TowerShape
from planner.architecture.tensors import attention, attention_tensors, feed_forward, mlp_tensors, norm
from planner.architecture.types import Block, Stack, Tensor


def even_heads(hidden: int, heads: int, *, bias: LinearBias = "qkvo") -> AttentionShape:
    """Multi-head attention whose heads share the width evenly."""
    return AttentionShape(num_heads=heads, num_kv_heads=heads, head_dim=hidden // heads, bias=bias)


def encoder_block(
    name: str,
    stack: Stack,
    *,
    num_layers: int,
    hidden: int,
    heads: AttentionShape,
    mlp: MlpShape,
    norm_kind: NormKind = "layernorm",
    norm_names: tuple[str, ...] = ("input_layernorm", "post_attention_layernorm"),
    extra: tuple[Tensor, ...] = (),
    causal: bool = False,
    tokens_fixed: int | None = None,
    dropout: bool = False,
    attention_dropout: bool = False,
) -> Block:
    """A run of equal layers: attention, MLP, norms, and what a family adds."""
    return Block(
        name=name,
        stack=stack,
        num_layers=num_layers,
        hidden_size=hidden,
        tensors=(
            *attention_tensors(heads, hidden),
            *mlp_tensors(mlp, hidden),
            *(t for n in norm_names for t in norm(n, norm_kind, hidden)),
            *extra,
        ),
        attention=attention(heads, causal=causal, caches=False),
        feed_forward=feed_forward(mlp),
        norm=norm_kind,
        num_norms=len(norm_names),
        tokens_fixed=tokens_fixed,
        dropout=dropout,
        attention_dropout=attention_dropout,
    )


def plain_block(
    name: str,
    stack: Stack,
    shape: TowerShape,
    *,
    activation: Activation = "gelu",
    extra: tuple[Tensor, ...] = (),
    causal: bool = False,
    tokens_fixed: int | None = None,
) -> Block:
    """The layers of ViT, CLIP and SigLIP: LayerNorm, biased projections, plain MLP."""
    return encoder_block(
        name,
        stack,
        num_layers=shape.num_layers,
        hidden=shape.hidden_size,
        heads=even_heads(shape.hidden_size, shape.num_heads),
        mlp=MlpShape(intermediate_size=shape.intermediate_size, gated=False, activation=activation, bias="all"),
        extra=extra,
        causal=causal,
        tokens_fixed=tokens_fixed,
    )
