"""Small builders of tensors: a matrix with its bias, a norm, an embedding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from planner.architecture.schema_parts import AttentionShape, MlpShape, NormKind
from planner.architecture.types import Attention, AttentionKind, FeedForward, Role, Tensor


def matrix(name: str, role: Role, rows: int, columns: int, *, bias: bool = False, count: int = 1) -> tuple[Tensor, ...]:
    """A weight of `rows` x `columns`, then its bias where it has one."""
    weight = Tensor(name=name, role=role, out_features=rows, in_features=columns, count=count)
    if not bias:
        return (weight,)
    return (weight, vector(f"{name}.bias", "bias", rows, count=count))


def vector(name: str, role: Role, length: int, *, count: int = 1) -> Tensor:
    """A one-dimensional parameter."""
    return Tensor(name=name, role=role, out_features=length, count=count)


def norm(name: str, kind: NormKind, size: int, *, count: int = 1) -> tuple[Tensor, ...]:
    """Weight (and bias, for a plain LayerNorm) of a normalisation; nothing for OLMo's without parameters."""
    if kind == "nonparametric":
        return ()
    weight = vector(name, "norm", size, count=count)
    return (weight, vector(f"{name}.bias", "norm", size, count=count)) if kind == "layernorm" else (weight,)


def convolution(name: str, out: int, fan_in: int, *, bias: bool = False) -> tuple[Tensor, ...]:
    """A convolution of `out` channels, each reading `fan_in` values."""
    return matrix(name, "conv", out, fan_in, bias=bias)


def renamed(tensors: Iterable[Tensor], modules: Mapping[str, str]) -> tuple[Tensor, ...]:
    """The tensors with the model class's own module names put in."""
    return tuple(replace(t, module=modules[t.name]) if t.name in modules else t for t in tensors)


def attention_tensors(shape: AttentionShape, hidden: int, *, kv_input: int | None = None) -> tuple[Tensor, ...]:
    """q, k, v, o with biases, head norms and sinks. Cross attention reads keys and values from `kv_input`."""
    source = hidden if kv_input is None else kv_input
    value_dim = shape.value_dim or shape.head_dim
    width = shape.num_heads * shape.head_dim
    kv_width = shape.num_kv_heads * shape.head_dim
    out = [
        *matrix("q_proj", "attention", width * (2 if shape.output_gate else 1), hidden, bias="q" in shape.bias),
        *matrix("k_proj", "attention", kv_width, source, bias="k" in shape.bias),
    ]
    if not shape.key_is_value:
        out += matrix("v_proj", "attention", shape.num_kv_heads * value_dim, source, bias="v" in shape.bias)
    has_o_bias = shape.bias in ("qkvo", "qvo", "o")
    out += matrix("o_proj", "attention", hidden, shape.num_heads * value_dim, bias=has_o_bias)
    if shape.qk_norm != "none":
        full = shape.qk_norm == "full"
        out.append(vector("q_norm", "norm", width if full else shape.head_dim))
        out.append(vector("k_norm", "norm", kv_width if full else shape.head_dim))
    if shape.sinks:
        out.append(vector("sinks", "state", shape.num_heads))
    return tuple(out)


def attention(
    shape: AttentionShape,
    *,
    kind: AttentionKind = "full",
    window: int | None = None,
    causal: bool = True,
    caches: bool = True,
) -> Attention:
    """How one layer attends. Encoders cache nothing; cross attention caches values per token of the other stack."""
    value_dim = shape.value_dim or shape.head_dim
    per_token = shape.num_kv_heads * (shape.head_dim + value_dim)
    return Attention(
        kind=kind,
        num_heads=shape.num_heads,
        num_kv_heads=shape.num_kv_heads,
        head_dim=shape.head_dim,
        value_dim=value_dim,
        window=window,
        kv_values_per_token=per_token if caches and (causal or kind == "cross") else 0,
        causal=causal,
        qk_norm=shape.qk_norm,
        has_bias=shape.bias != "none",
    )


def mlp_tensors(shape: MlpShape, hidden: int, *, role: Role = "mlp", width: int | None = None) -> tuple[Tensor, ...]:
    """gate, up and down projections, or up and down."""
    inner = width or shape.intermediate_size
    wide_bias = shape.bias == "all"
    gate = matrix("gate_proj", role, inner, hidden, bias=wide_bias) if shape.gated else ()
    return (
        *gate,
        *matrix("up_proj", role, inner, hidden, bias=wide_bias),
        *matrix("down_proj", role, hidden, inner, bias=shape.bias != "none"),
    )


def feed_forward(shape: MlpShape, *, width: int | None = None) -> FeedForward:
    """The dense MLP of one layer."""
    return FeedForward(
        intermediate_size=width or shape.intermediate_size,
        gated=shape.gated,
        activation=shape.activation,
        has_bias=shape.bias != "none",
    )
