"""Time of the attention core: the products between queries, keys and values, without the projections.

Prefill is compute: FLOP over the share of the 16-bit peak that fused kernels reach at that sequence length. Decode is
memory: the cache of every sequence is read once a step. Measured shares: `catalogs/kernels.yaml`.
"""

from __future__ import annotations

import numpy as np

from planner.architecture.types import Attention, Recurrent
from planner.estimate.speed.columns import AttentionColumns
from planner.estimate.speed.kernels import Shared
from planner.estimate.speed.times import Seconds
from planner.estimate.types import AttentionKernel, Floats
from planner.estimate.work import cached_bytes_per_token, flop_per_pair, state_bytes, visible_tokens

LENGTH_EXPONENT = 1.5
"""How fast the share falls for short sequences (fit within .03 over 512 to 16k tokens)."""


def prefill_rate(params: AttentionColumns, length: Floats) -> Floats:
    """FLOP per second of fused causal attention on sequences of `length` tokens, per GPU."""
    slope = (params.half_length / np.maximum(length, 1.0)) ** LENGTH_EXPONENT
    return params.flop_per_second * params.prefill_share / (1.0 + slope)


def prefill_time(
    params: AttentionColumns,
    shared: Shared,
    attention: Attention,
    *,
    pairs: Floats,
    length: Floats,
    sequences: Floats,
    heads_split: Floats,
    kernel: AttentionKernel,
    value_bytes: float,
) -> Seconds:
    """Seconds of one layer for `sequences` sequences of `length` tokens with `pairs` query-key pairs each, per GPU.

    Unfused (eager) attention also writes and reads the square of scores several times.
    """
    split = np.minimum(heads_split, attention.num_heads)
    flop = flop_per_pair(attention, decode=False) * pairs * sequences / split
    compute = Seconds(compute=flop / prefill_rate(params, length), overhead=params.decode_launch_s)
    if kernel != "eager":
        return compute
    scores = attention.num_heads / split * length**2 * sequences * value_bytes
    traffic = shared.eager_attention_passes * scores
    return compute + Seconds(memory_bandwidth=traffic / (params.bytes_per_second * shared.elementwise_bandwidth_share))


def decode_time(
    params: AttentionColumns,
    shared: Shared,
    attention: Attention,
    *,
    context: Floats,
    sequences: Floats,
    heads_split: Floats,
    kv_bits: float,
    copies: float = 0.0,
    repeats: bool = False,
) -> Seconds:
    """Seconds of one layer for one new token of each of `sequences` sequences, per GPU.

    KV heads are dealt out whole, so splitting beyond them copies the cache; a latent cache is never split.
    `copies` are further passes over the cache (a cache grown by concatenation), `repeats` a cache expanded to
    all query heads before use (written and read once more).
    """
    cached = visible_tokens(attention, context) * cached_bytes_per_token(attention, kv_bits)
    n_bytes = sequences * cached / np.minimum(heads_split, attention.num_kv_heads)
    ramp = params.decode_half_bytes * n_bytes / (n_bytes + params.decode_half_bytes)
    reading = (n_bytes + ramp) / (params.bytes_per_second * params.decode_share)
    groups = attention.num_heads / attention.num_kv_heads if repeats and attention.kind != "latent" else 1.0
    passes = copies + (2.0 * groups if groups > 1.0 else 0.0)
    copying = passes * n_bytes / (params.bytes_per_second * shared.elementwise_bandwidth_share)
    flop = flop_per_pair(attention, decode=True) * visible_tokens(attention, context) * sequences
    split = np.minimum(heads_split, attention.num_heads)
    computing = flop / split / (params.flop_per_second * params.prefill_share)
    by_compute = computing > reading
    return Seconds(
        compute=np.where(by_compute, computing, 0.0),
        memory_bandwidth=np.where(by_compute, 0.0, reading) + copying,
        overhead=params.decode_launch_s,
    )


def recurrent_decode_time(
    params: AttentionColumns, shared: Shared, recurrent: Recurrent, *, sequences: Floats, heads_split: Floats
) -> Seconds:
    """Seconds of one layer's state update for one token of each sequence: the state is read and written, per GPU."""
    moved = 2.0 * sequences * state_bytes(recurrent) / heads_split
    rate = params.bytes_per_second * shared.elementwise_bandwidth_share
    return Seconds(memory_bandwidth=moved / rate, overhead=params.decode_launch_s)


def recurrent_prefill_time(
    params: AttentionColumns, shared: Shared, recurrent: Recurrent, *, tokens: Floats, heads_split: Floats
) -> Seconds:
    """Seconds of one layer's scan over `tokens` tokens, per GPU; chunked kernels run on the tensor cores."""
    flop = recurrent.flop_per_token * tokens / heads_split
    rate = params.flop_per_second * shared.recurrent_peak_share
    return Seconds(compute=flop / rate, overhead=params.decode_launch_s)
