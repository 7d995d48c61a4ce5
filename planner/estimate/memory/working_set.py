"""Bytes of the tensors that live inside one forward pass of inference, on one rank."""

from __future__ import annotations

import numpy as np

from planner.architecture.types import Block, Model
from planner.estimate.memory.kv_cache import audio_windows, cross_tokens, is_encoder_decoder
from planner.estimate.types import Floats, InferJob, Ints

EAGER_SCORE_BYTES = 6
"""Per attention score in eager attention: 16-bit scores and their 32-bit softmax live together."""
RESIDUAL_EAGER = 4
"""Hidden-size tensors live beside the MLP's inner ones in eager code; measured median error 0.3 % on
Qwen2.5 7B to 72B (Qwen speed tables): n x (3I + 4h) x 2 bytes."""
RESIDUAL_FUSED = 3
"""The same with fused norms: 6 x I / t + 6 x h bytes a token; exact on two vLLM profile runs (2.07, 2.99 GiB)."""
ALL_LOGITS_BYTES = 6
"""16-bit logits and their 32-bit copy."""
SAMPLER_BYTES_PER_LOGIT = 40
"""vLLM's profile run samples max_num_seqs dummy requests: 9 to 10 32-bit copies (256 sequences of a 128k vocabulary
are 1.26 GiB)."""
VAE_CHANNELS = 256
VAE_LIVE_MAPS = 2


def activation_width(block: Block, tensor_parallel: Ints, *, fused: bool) -> Floats:
    """Live values per token at the widest point of a layer of the block."""
    residual = RESIDUAL_FUSED if fused else RESIDUAL_EAGER
    widths = [np.zeros(1)]
    if block.feed_forward is not None:
        inner = (3 if block.feed_forward.gated else 2) * block.feed_forward.intermediate_size
        widths.append(inner / tensor_parallel)
    if block.moe is not None:
        moe = block.moe
        inner = (3 if moe.gated else 2) * (moe.top_k * moe.intermediate_size + moe.shared_intermediate_size)
        widths.append(inner / tensor_parallel + moe.top_k * moe.input_size)
    if block.attention is not None:
        a = block.attention
        heads = a.num_heads * (2 * a.head_dim + a.value_dim) if a.kind == "latent" else a.num_heads * 2 * a.head_dim
        widths.append((heads + 2 * a.num_kv_heads * a.head_dim) / tensor_parallel)
    if block.recurrent is not None:
        widths.append(4 * block.recurrent.inner_size / tensor_parallel)
    widest = np.maximum.reduce(np.broadcast_arrays(*widths))
    result: Floats = widest + residual * block.hidden_size
    return result


def forward_bytes(job: InferJob, *, tokens: Floats, sequences: Floats, tensor_parallel: Ints) -> Floats:
    """Of one forward pass over `tokens` new tokens in `sequences` sequences, text stack only.

    The encoder of an encoder-decoder works on every position of its input (audio: whole windows) at once.
    """
    fused = job.engine.options.get("mlp_kernel") == "fused"
    main = [b for b in job.model.blocks if b.stack in ("decoder", "encoder", "denoiser", "text")]
    if not main:
        return np.zeros(1)
    live = [stack_tokens(job, b, tokens, sequences) * activation_width(b, tensor_parallel, fused=fused) for b in main]
    total: Floats = np.maximum.reduce(np.broadcast_arrays(*live)) * compute_bytes(job)
    if job.attention == "eager":
        total = total + eager_bytes(job, main, tokens, sequences, tensor_parallel)
    return total


def stack_tokens(job: InferJob, block: Block, tokens: Floats, sequences: Floats) -> Floats:
    """Tokens of the pass in one stack: an encoder beside a decoder takes in its whole input."""
    if block.stack != "encoder" or not is_encoder_decoder(job.model):
        return tokens
    result: Floats = np.maximum(tokens, sequences * cross_tokens(job))
    return result


def eager_bytes(job: InferJob, blocks: list[Block], tokens: Floats, sequences: Floats, tensor_parallel: Ints) -> Floats:
    """Of the score matrix of one layer: heads x length^2, quadratic in the length; windows of audio are apart."""
    per_score = EAGER_SCORE_BYTES if compute_bytes(job) == 2 else 2 * compute_bytes(job)
    scores = [np.zeros(1)]
    for block in blocks:
        if block.attention is None:
            continue
        windows = audio_windows(job.model, job.audio_s) if block.stack == "encoder" else 1
        apart = np.maximum(sequences, 1) * windows
        length = stack_tokens(job, block, tokens, sequences) / apart
        scores.append(sequences * windows * block.attention.num_heads / tensor_parallel * length**2)
    result: Floats = np.maximum.reduce(np.broadcast_arrays(*scores)) * per_score
    return result


def compute_bytes(job: InferJob) -> int:
    """Bytes of an activation value."""
    return 4 if job.weights.compute in ("fp32", "tf32") else 2


def vision_bytes(job: InferJob) -> float:
    """Of the image, audio or denoising part of one forward pass, whole batch of one sequence."""
    total = 0.0
    for block in job.model.stack("vision", "audio"):
        tokens = (block.tokens_fixed or 0) * max(1, job.num_images)
        width = activation_width(block, np.ones(1, dtype=np.int64), fused=False)
        total = max(total, float(tokens * width[0] * compute_bytes(job)))
    if job.image_width:
        pixels = job.image_width * job.image_height
        total = max(total, pixels * VAE_CHANNELS * VAE_LIVE_MAPS * compute_bytes(job))
    return total


def logits_bytes(model: Model, *, rows: Floats, tensor_parallel: Ints) -> Floats:
    """Of the logits of `rows` positions: 16-bit and their 32-bit copy."""
    if not model.has_head:
        return np.zeros(1)
    result: Floats = rows * model.vocab_size * ALL_LOGITS_BYTES / tensor_parallel
    return result
