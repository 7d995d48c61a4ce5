"""Bytes of KV cache and recurrent state of one sequence on one GPU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.architecture.types import Block
from planner.estimate.types import Engine, Floats, InferJob, Ints
from planner.units import BITS_PER_BYTE

FP32_BYTES = 4
INDEX_BYTES = 1
"""A sparse-attention indexer keeps its keys in FP8 (DeepSeek-V3.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheLine:
    """What layers of one kind cache. Bytes are of all those layers, undivided."""

    bytes_per_token: float
    window: int | None
    """Tokens kept at most; None = all."""
    max_split: int
    """Ways it can be dealt over tensor-parallel ranks: the KV heads, 1 for latent caches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheShape:
    """Everything one sequence leaves in memory between steps."""

    lines: tuple[CacheLine, ...]
    state_bytes: float
    """Recurrent and convolution states, whatever the length."""
    cross_bytes: float
    """Keys and values of the encoder's output (encoder-decoders, cross-attended images)."""
    block_tokens: int
    """Tokens are allocated in pages of this many."""

    def bytes_per_sequence(self, tokens: Floats, tensor_parallel: Ints, *, shared_latent: bool = True) -> Floats:
        """Of one sequence with `tokens` tokens, all layers, on one tensor-parallel rank.

        Every layer keeps one key and one value vector per KV head and token. Heads are dealt out whole, so
        tensor parallelism beyond the KV heads copies them; a latent (MLA) cache is copied to every rank.
        """
        pages = np.ceil(tokens / self.block_tokens) * self.block_tokens
        total: Floats = (self.state_bytes + self.cross_bytes) / np.asarray(tensor_parallel, dtype=np.float64)
        for line in self.lines:
            kept = pages if line.window is None else np.minimum(pages, line.window)
            total = total + line.bytes_per_token * kept / np.minimum(tensor_parallel, line.max_split)
        return total

    def bytes_per_token(self, tensor_parallel: Ints) -> Floats:
        """Of one more token while no window is full, on one tensor-parallel rank."""
        zero: Floats = np.zeros(1)
        return sum((line.bytes_per_token / np.minimum(tensor_parallel, line.max_split) for line in self.lines), zero)


def cache_shape(job: InferJob) -> CacheShape:
    """What one sequence of the job caches, by the engine's conventions."""
    windowed = job.engine.options.get("kv_window", "ideal") != "disabled"
    lines: dict[tuple[int | None, int], float] = {}
    state = cross = 0.0
    for block in job.model.blocks:
        if block.stack != "decoder":
            continue
        attention = block.attention
        if attention is not None and attention.causal and job.model.task not in ("encoder",):
            per_token = attention.kv_values_per_token * job.kv_bits / BITS_PER_BYTE
            per_token += attention.index_values_per_token * INDEX_BYTES
            if attention.window_values_per_token:
                recent = (attention.window, attention.num_kv_heads)
                values = block.num_layers * attention.window_values_per_token * job.kv_bits / BITS_PER_BYTE
                lines[recent] = lines.get(recent, 0.0) + values
            if per_token:
                window = attention.window if windowed and attention.kind in ("sliding", "chunked") else None
                key = (window, 1 if attention.kind in ("latent", "compressed") else attention.num_kv_heads)
                lines[key] = lines.get(key, 0.0) + block.num_layers * per_token
        if block.recurrent is not None:
            state += block.num_layers * recurrent_bytes(block)
        if block.cross_attention is not None:
            cross += block.num_layers * cross_tokens(job) * block.cross_attention.kv_values_per_token * 2
    return CacheShape(
        lines=tuple(
            CacheLine(bytes_per_token=v, window=w, max_split=m) for (w, m), v in sorted(lines.items(), key=str)
        ),
        state_bytes=state,
        cross_bytes=cross,
        block_tokens=page_tokens(job.engine),
    )


def recurrent_bytes(block: Block) -> float:
    """State of one sequence in one layer: the recurrence in 32 bit where the model says so, convolution in 16."""
    assert block.recurrent is not None
    state_bytes = FP32_BYTES if block.recurrent.state_is_fp32 else 2
    return block.recurrent.state_values * state_bytes + block.recurrent.conv_values * 2


def cross_tokens(job: InferJob) -> int:
    """Tokens of the encoder that every decoder layer attends to."""
    if job.model.audio_positions:
        return job.model.audio_positions
    return job.image_tokens or job.input_tokens


def page_tokens(engine: Engine) -> int:
    return int(engine.optional_number("kv_block_tokens") or 1)


def full_length(job: InferJob) -> int:
    """Tokens one sequence holds when its last token is made (an encoder-decoder caches the answer alone)."""
    if job.model.task in ("seq2seq", "speech"):
        return max(1, job.output_tokens)
    return job.input_tokens + job.output_tokens
