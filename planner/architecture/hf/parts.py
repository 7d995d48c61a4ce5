"""What many families read in the same way: heads, MLP, experts, order of layers, dropout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from planner.architecture.hf.reader import Config
from planner.architecture.schema import Architecture, Task
from planner.architecture.schema_parts import (
    AttentionShape,
    LatentShape,
    LinearBias,
    LocalAttention,
    MlpShape,
    MoeShape,
)
from planner.architecture.schema_text import DecoderArchitecture, Mixer
from planner.errors import InputError, did_you_mean, near_matches

T = TypeVar("T")

MIXERS: Mapping[str, Mixer] = {
    "full_attention": "full",
    "attention": "full",
    "indexed_attention": "full",
    "global": "full",
    "sliding_attention": "sliding",
    "local": "sliding",
    "chunked_attention": "chunked",
    "linear_attention": "recurrent",
    "mamba": "recurrent",
    "mamba2": "recurrent",
}
"""Names that configurations give to kinds of layers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How to read one `model_type`."""

    name: str
    """What the catalog calls it."""
    read: Callable[[Config], Architecture]
    task: Task = "text-generation"
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """The library's values for keys a config leaves out."""
    aliases: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    """The family's own names of the common keys."""
    context_key: str = "max_position_embeddings"


def heads(c: Config, *, bias: LinearBias = "none", kv_key: str = "num_key_value_heads", **more: Any) -> AttentionShape:
    """Query and key/value heads; an absent `head_dim` is hidden / heads.

    Raises InputError where the heads do not divide.
    """
    num_heads = c.size("num_attention_heads")
    num_kv_heads = c.optional_size(kv_key) or num_heads
    if num_heads % num_kv_heads:
        raise InputError(f"{c.where('num_attention_heads')} {num_heads} is not a multiple of {kv_key} {num_kv_heads}")
    return AttentionShape(
        num_heads=num_heads, num_kv_heads=num_kv_heads, head_dim=head_dim(c, num_heads), bias=bias, **more
    )


def head_dim(c: Config, num_heads: int) -> int:
    """Width of one head.

    Raises InputError where it is not given and the heads do not divide the hidden size.
    """
    given = c.optional_size("head_dim")
    if given:
        return given
    hidden = c.size("hidden_size")
    if hidden % num_heads:
        raise InputError(f"{c.where('hidden_size')} {hidden} is not a multiple of num_attention_heads {num_heads}")
    return hidden // num_heads


def all_or_none(on: bool) -> LinearBias:
    """Biases on q, k, v and o, or on none."""
    return "qkvo" if on else "none"


def mlp(
    c: Config, *, gated: bool = True, bias: bool = False, act_key: str = "hidden_act", act: str = "silu"
) -> MlpShape:
    """The dense MLP."""
    return MlpShape(
        intermediate_size=c.size("intermediate_size"),
        gated=gated,
        activation=c.activation(act_key, act),
        bias="all" if bias else "none",
    )


def plain_mlp(c: Config, *, act_key: str = "hidden_act", act: str = "gelu", bias: bool = True) -> MlpShape:
    """A two-matrix MLP, four times the hidden size where the config names no width."""
    width = c.optional_size("intermediate_size") or 4 * c.size("hidden_size")
    return MlpShape(
        intermediate_size=width, gated=False, activation=c.activation(act_key, act), bias="all" if bias else "none"
    )


def experts(c: Config, *, num: str, width: str, top_k: str = "num_experts_per_tok", **more: Any) -> MoeShape:
    """Routed experts.

    Raises InputError where more are chosen than exist.
    """
    num_experts, chosen = c.size(num), c.size(top_k)
    if chosen > num_experts:
        raise InputError(f"{c.where(top_k)} {chosen} exceeds {num} {num_experts}")
    options = {"activation": c.activation()} | more
    return MoeShape(num_experts=num_experts, top_k=chosen, intermediate_size=c.size(width), **options)


def latent(c: Config, **more: Any) -> LatentShape:
    """Multi-head latent attention, as DeepSeek writes it."""
    c.ignore("num_key_value_heads", "head_dim", "qk_head_dim", "qkv_bias")
    return LatentShape(
        num_heads=c.size("num_attention_heads"),
        kv_lora_rank=c.size("kv_lora_rank"),
        q_lora_rank=c.optional_size("q_lora_rank"),
        rope_dim=c.size("qk_rope_head_dim"),
        nope_dim=c.size("qk_nope_head_dim"),
        value_dim=c.size("v_head_dim"),
        bias=c.flag("attention_bias"),
        **more,
    )


def layer_types(c: Config, otherwise: tuple[Mixer, ...] = ("full",), *, key: str = "layer_types") -> tuple[Mixer, ...]:
    """The kind of each layer where the config lists them, else `otherwise` (repeating).

    Raises InputError for a kind we do not know or a list of the wrong length.
    """
    listed = c.sequence(key)
    if listed is None:
        num_layers = c.size("num_hidden_layers")
        return otherwise[:num_layers]
    unknown = [str(kind) for kind in listed if kind not in MIXERS]
    if unknown:
        near = did_you_mean(near_matches(unknown[0], tuple(MIXERS)))
        raise InputError(f"{c.where(key)}: unknown kind of layer {unknown[0]!r}; {near}")
    return expect_each_layer(c, key, tuple(MIXERS[kind] for kind in listed))


def expect_each_layer(c: Config, key: str, listed: tuple[T, ...]) -> tuple[T, ...]:
    """The list, if it has one item a layer; else InputError."""
    num_layers = c.size("num_hidden_layers")
    if len(listed) != num_layers:
        raise InputError(f"{c.where(key)} lists {len(listed)} layers, num_hidden_layers is {num_layers}")
    return listed


def every(c: Config, period: int, offset: int, at: Mixer, else_: Mixer) -> tuple[Mixer, ...]:
    """`at` in layers `offset`, `offset + period` ..., `else_` in the others."""
    return tuple(at if i % period == offset else else_ for i in range(c.size("num_hidden_layers")))


def window(c: Config, key: str = "sliding_window") -> LocalAttention | None:
    """The sliding window, unless it reaches the whole context and so changes nothing."""
    size = c.count(key)
    context = c.count("max_position_embeddings")
    return LocalAttention(window=size) if size and not (context and size >= context) else None


def dropouts(c: Config, *, residual: tuple[str, ...], attention: str) -> dict[str, bool]:
    """Whether the configuration trains with dropout, on residuals or embeddings and on attention."""
    rates = [c.rate(key) for key in residual]
    return {"dropout": any(rate > 0 for rate in rates), "attention_dropout": c.rate(attention) > 0}


def decoder(c: Config, **parts: Any) -> DecoderArchitecture:
    """A decoder from its common keys and what the family puts in."""
    c.count("max_position_embeddings")
    common: dict[str, Any] = {
        "num_layers": parts["num_layers"] if "num_layers" in parts else c.size("num_hidden_layers"),
        "hidden_size": c.size("hidden_size"),
        "vocab_size": c.size("vocab_size"),
        "tied_embeddings": c.flag("tie_word_embeddings"),
    }
    return DecoderArchitecture(**(common | parts))


def sizes(
    vocab: int, hidden: int, inner: int, layers: int, num_heads: int, context: int, **more: Any
) -> dict[str, Any]:
    """Defaults of the library in one line."""
    common = {
        "vocab_size": vocab,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": num_heads,
        "max_position_embeddings": context,
    }
    return common | more
