"""State-space and linear-attention mixers: tensors, states and the arithmetic of the recurrence.

States are per sequence and independent of its length. The FLOP of a recurrence are those of the plain
scan (decay, update, read of every state value); chunked kernels do more work to use tensor cores.
Sources: Mamba (arXiv 2312.00752), Mamba-2 (2405.21060), Gated DeltaNet (2412.06464), Kimi Linear
(2510.26692), MiniMax-01 (2501.08313), and the model classes of transformers.
"""

from __future__ import annotations

from planner.architecture.schema_parts import (
    GatedDeltaNetShape,
    KdaShape,
    LightningShape,
    Mamba1Shape,
    Mamba2Shape,
    RecurrentShape,
)
from planner.architecture.tensors import matrix, vector
from planner.architecture.types import Recurrent, Tensor

FLOP_PER_STATE_VALUE = {"mamba1": 9, "mamba2": 5, "gated_deltanet": 7, "kda": 7, "lightning": 5}
"""mamba1: discretise A and B (4), decay and add (2), times x (1), read (2); mamba2 and lightning: decay (1),
outer product added (2), read (2); delta rules also read the old value before writing (2)."""


def recurrent_tensors(shape: RecurrentShape, hidden: int) -> tuple[Tensor, ...]:
    """All parameters of one mixer."""
    match shape:
        case Mamba1Shape():
            return _mamba1_tensors(shape, hidden)
        case Mamba2Shape():
            return _mamba2_tensors(shape, hidden)
        case GatedDeltaNetShape():
            return _deltanet_tensors(shape, hidden)
        case KdaShape():
            return _kda_tensors(shape, hidden)
        case LightningShape():
            return _lightning_tensors(shape, hidden)


def recurrent(shape: RecurrentShape) -> Recurrent:
    """What one layer keeps and computes for one sequence.

    >>> qwen = GatedDeltaNetShape(num_key_heads=16, num_value_heads=48, key_dim=128, value_dim=128, conv_width=4)
    >>> recurrent(qwen).state_values
    786432
    """
    state, conv_channels, inner = _sizes(shape)
    conv_width = 1 if isinstance(shape, LightningShape) else shape.conv_width
    flop = FLOP_PER_STATE_VALUE[shape.kind] * state
    return Recurrent(
        kind=shape.kind,
        state_values=state,
        conv_values=conv_channels * (conv_width - 1),
        inner_size=inner,
        flop_per_token=flop + 2 * conv_channels * (conv_width if conv_width > 1 else 0),
        state_is_fp32=shape.state_is_fp32,
    )


def _sizes(shape: RecurrentShape) -> tuple[int, int, int]:
    """State values, channels of the convolution, inner width."""
    match shape:
        case Mamba1Shape():
            return shape.inner_size * shape.state_size, shape.inner_size, shape.inner_size
        case Mamba2Shape():
            inner = shape.num_heads * shape.head_dim
            return inner * shape.state_size, inner + 2 * shape.num_groups * shape.state_size, inner
        case GatedDeltaNetShape():
            inner = shape.num_value_heads * shape.value_dim
            return inner * shape.key_dim, inner + 2 * shape.num_key_heads * shape.key_dim, inner
        case KdaShape():
            inner = shape.num_heads * shape.head_dim
            return inner * shape.head_dim, 3 * inner, inner
        case LightningShape():
            inner = shape.num_heads * shape.head_dim
            return inner * shape.head_dim, 0, inner


def _mamba1_tensors(shape: Mamba1Shape, hidden: int) -> tuple[Tensor, ...]:
    inner, state, rank = shape.inner_size, shape.state_size, shape.dt_rank
    norms = [vector(f"{n}_layernorm", "norm", size) for n, size in (("dt", rank), ("b", state), ("c", state))]
    return (
        *matrix("in_proj", "mixer", 2 * inner, hidden, bias=shape.proj_bias),
        *matrix("conv1d", "state", inner, shape.conv_width, bias=shape.conv_bias),
        *matrix("x_proj", "mixer", rank + 2 * state, inner),
        *matrix("dt_proj", "mixer", inner, rank, bias=True),
        *matrix("A_log", "state", inner, state),
        vector("D", "state", inner),
        *matrix("out_proj", "mixer", hidden, inner, bias=shape.proj_bias),
        *(norms if shape.inner_norms else ()),
    )


def _mamba2_tensors(shape: Mamba2Shape, hidden: int) -> tuple[Tensor, ...]:
    _, channels, inner = _sizes(shape)
    rows = inner + channels + shape.num_heads
    return (
        *matrix("in_proj", "mixer", rows, hidden, bias=shape.proj_bias),
        *matrix("conv1d", "state", channels, shape.conv_width, bias=shape.conv_bias),
        *(vector(name, "state", shape.num_heads) for name in ("A_log", "D", "dt_bias")),
        *((vector("mixer_norm", "norm", inner),) if shape.gated_norm else ()),
        *matrix("out_proj", "mixer", hidden, inner, bias=shape.proj_bias),
    )


def _deltanet_tensors(shape: GatedDeltaNetShape, hidden: int) -> tuple[Tensor, ...]:
    _, channels, inner = _sizes(shape)
    heads = shape.num_value_heads
    return (
        *matrix("in_proj_qkvz", "mixer", channels + inner, hidden),
        *matrix("in_proj_ba", "mixer", 2 * heads, hidden),
        *matrix("conv1d", "state", channels, shape.conv_width),
        vector("A_log", "state", heads),
        vector("dt_bias", "state", heads),
        vector("mixer_norm", "norm", shape.value_dim),
        *matrix("out_proj", "mixer", hidden, inner),
    )


def _kda_tensors(shape: KdaShape, hidden: int) -> tuple[Tensor, ...]:
    _, channels, inner = _sizes(shape)
    low_rank = [
        t
        for gate in ("f", "g")
        for t in (
            *matrix(f"{gate}_a_proj", "mixer", shape.head_dim, hidden),
            *matrix(f"{gate}_b_proj", "mixer", inner, shape.head_dim),
        )
    ]
    return (
        *(t for name in ("q_proj", "k_proj", "v_proj") for t in matrix(name, "mixer", inner, hidden)),
        *matrix("conv1d", "state", channels, shape.conv_width),
        vector("dt_bias", "state", inner),
        vector("A_log", "state", shape.num_heads),
        *low_rank,
        *matrix("b_proj", "mixer", shape.num_heads, hidden),
        vector("o_norm", "norm", shape.head_dim),
        *matrix("o_proj", "mixer", hidden, inner),
    )


def _lightning_tensors(shape: LightningShape, hidden: int) -> tuple[Tensor, ...]:
    inner = shape.num_heads * shape.head_dim
    return (
        *matrix("qkv_proj", "mixer", 3 * inner, hidden),
        *matrix("output_gate", "mixer", inner, hidden),
        vector("mixer_norm", "norm", inner),
        *matrix("out_proj", "mixer", hidden, inner),
    )
