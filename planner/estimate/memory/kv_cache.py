"""Bytes of KV cache and recurrent state of one sequence on one GPU."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from planner.architecture.types import Block, Model
from planner.estimate.types import Engine, Floats, InferJob, Ints
from planner.units import BITS_PER_BYTE, ceil_div

FP32_BYTES = 4
INDEX_BYTES = 1
"""A sparse-attention indexer keeps its keys in FP8 (DeepSeek-V3.2)."""
AUDIO_POSITIONS_PER_SECOND = 50
"""Whisper halves frames of 10 ms (Radford et al. 2022, section 2.2); wav2vec 2.0 steps 320 samples of 16 kHz."""


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

    @property
    def holds_anything(self) -> bool:
        """False for models without a cache: encoders, vision models, denoisers."""
        return bool(self.lines) or self.state_bytes > 0 or self.cross_bytes > 0

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
    """What one sequence of the job caches, by the engine's conventions.

    vLLM's first engine pages cross-attention layers like the others: 6,001 blocks in 14.65 GiB for
    Llama-3.2-11B-Vision are all 40 layers.
    """
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
            per_token = block.num_layers * block.cross_attention.kv_values_per_token * job.kv_bits / BITS_PER_BYTE
            cross += cross_tokens(job) * per_token
            if job.engine.flag("cross_layers_paged"):
                key = (None, block.cross_attention.num_kv_heads)
                lines[key] = lines.get(key, 0.0) + per_token
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
    """Tokens of the encoder that every decoder layer attends to: whole windows of audio, the images, or the prompt."""
    if job.model.audio_positions:
        return job.model.audio_positions * audio_windows(job.model, job.audio_s)
    if job.model.task == "diffusion":
        return max((b.tokens_fixed or 0 for b in job.model.stack("text")), default=0) or job.input_tokens
    if is_encoder_decoder(job.model):
        return job.input_tokens
    padded = max((b.tokens_fixed or 0 for b in job.model.stack("vision")), default=0)
    return job.num_images * (job.image_tokens or padded)


def audio_windows(model: Model, seconds: float) -> int:
    """Windows that a recording is padded to (Whisper: 30 s of 1500 positions); 1 where nothing says how long it is."""
    if not model.audio_positions:
        return 1
    return max(1, ceil_div(audio_frames(seconds), model.audio_positions))


def audio_frames(seconds: float) -> int:
    """Encoder positions of a recording, rounded up.

    >>> audio_frames(30.0)
    1500
    """
    return math.ceil(seconds * AUDIO_POSITIONS_PER_SECOND)


def is_encoder_decoder(model: Model) -> bool:
    """An encoder reads the prompt, so the decoder starts from one token."""
    return any(model.stack("encoder")) and any(model.stack("decoder"))


def page_tokens(engine: Engine) -> int:
    return int(engine.optional_number("kv_block_tokens") or 1)


def full_length(job: InferJob) -> int:
    """Tokens one sequence holds when its last token is made (an encoder-decoder caches the answer alone)."""
    if is_encoder_decoder(job.model):
        return max(1, job.output_tokens)
    return job.input_tokens + job.output_tokens


def longest_request(job: InferJob) -> InferJob:
    """The job with every request like the longest of its mix."""
    if not job.traffic:
        return job
    inputs, outputs, _ = max(job.traffic, key=lambda kind: (kind[0] + kind[1], kind[1]))
    return replace(job, input_tokens=inputs + image_tokens(job), output_tokens=outputs, traffic=())


def padded_batch(job: InferJob) -> InferJob:
    """The job as one batch sees it that is padded to its longest prompt and runs until its longest answer is made."""
    if not job.traffic:
        return job
    inputs, outputs = max(i for i, _, _ in job.traffic), max(o for _, o, _ in job.traffic)
    return replace(job, input_tokens=inputs + image_tokens(job), output_tokens=outputs, traffic=())


def image_tokens(job: InferJob) -> int:
    """Tokens of the images that come before the text of every prompt."""
    return job.image_tokens * job.num_images


def lengths_in_batch(job: InferJob) -> tuple[tuple[int, float], ...]:
    """Whole lengths of the requests that a batch holds at one time, with their shares of it.

    A long answer stays longer: each kind counts by its share of requests times its tokens made (Little's law).
    """
    if not job.traffic:
        return ((full_length(job), 1.0),)
    stays = [share * max(1, outputs) for _, outputs, share in job.traffic]
    kinds = (replace(job, input_tokens=i + image_tokens(job), output_tokens=o, traffic=()) for i, o, _ in job.traffic)
    return tuple((full_length(kind), stay / sum(stays)) for kind, stay in zip(kinds, stays, strict=True))


GROUP_TOLERANCE = 1.25
"""Groups take the larger kind's layer count where it is within this of the smaller one's (vLLM kv_cache_utils)."""


def unified_bytes_per_token(job: InferJob, tensor_parallel: Ints) -> Floats:
    """What one token takes of a pool whose pages are shared by layers of several kinds (vLLM's hybrid manager).

    Kinds are full attention, each window, and recurrent layers. Each is dealt into groups of as many layers as the
    rarest kind has, the last one padded; every group takes pages of the same size for every printed token. gpt-oss
    (18 full, 18 sliding) is charged all 36 layers; Gemma-3-27B (10 full, 52 sliding) seven groups of ten.
    """
    counts: dict[int | str | None, int] = {}
    widest: Floats = np.zeros(1)
    ranks = np.asarray(tensor_parallel, dtype=np.float64)
    for block in job.model.stack("decoder"):
        if block.recurrent is not None:
            counts["recurrent"] = counts.get("recurrent", 0) + block.num_layers
        attention = block.attention or block.cross_attention
        if attention is None or not attention.kv_values_per_token:
            continue
        window = attention.window if attention.kind in ("sliding", "chunked") else None
        counts[window] = counts.get(window, 0) + block.num_layers
        most = 1 if attention.kind in ("latent", "compressed") else attention.num_kv_heads
        values = attention.kv_values_per_token * job.kv_bits / BITS_PER_BYTE
        each = (values + attention.index_values_per_token * INDEX_BYTES) / np.minimum(ranks, most)
        widest = np.maximum(widest, each)
    if not counts:
        return widest
    fewest, largest = min(counts.values()), max(counts.values())
    size = largest if largest < fewest * GROUP_TOLERANCE else fewest
    result: Floats = widest * size * sum(ceil_div(n, size) for n in counts.values())
    return result
