"""Bytes of the tensors that live inside one forward pass of inference, on one rank."""

from __future__ import annotations

import math

import numpy as np

from planner.architecture.types import Block, Model, Moe
from planner.estimate.memory.convention import listed
from planner.estimate.memory.kv_cache import audio_windows, cross_tokens, is_encoder_decoder
from planner.estimate.types import Floats, InferJob, Ints

EAGER_SCORE_BYTES = {"bf16": 10, "fp16": 8, "fp32": 8, "tf32": 8}
"""Per attention score in eager attention at its softmax in 32 bit: the 16-bit scores, their 32-bit copy and the result
(bf16); torch converts fp16 inside the kernel, and the 16-bit result joins them (ATen SoftMax.cpp; model code)."""
ALIBI_SCORE_BYTES = 16
"""With biases added in 32 bit (BLOOM): three 32-bit tensors and two in 16."""
EAGER_LIVE = 3
"""Hidden-size tensors beside eager attention's own: embeddings, the layer's input and its norm."""
RESIDUAL_EAGER = 4
"""Hidden-size tensors beside the MLP's inner ones in eager code: embeddings, the layer's input, the sum after
attention and its norm. n x (3I + 4h) x 2 bytes to 0.1 % of the model code run on meta tensors, Qwen2.5 7B to 72B."""
RESIDUAL_POST_NORM = 3
"""... where the norms follow attention and MLP, so none of their results waits as an input (BERT, OLMo-2)."""
RESIDUAL_FUSED = 3
"""The same with fused norms, which work in place: 6 x I / t + 6 x h bytes a token, exact on two vLLM profile runs."""
RESIDUAL_REDUCED = 5
"""... and at the down-projection of several GPUs, beside the activation: its result and the sum over GPUs. vLLM's
first engine keeps gate and up alive there in all classes but Llama's (`keeps_gate_up`): Qwen2.5-32B on two GPUs with
10,000 tokens logs 1.26 GiB, 1.258 by 3 x I + 5 x h."""
LIVE_GELU_NEW = 4
"""Inner-size tensors of the tanh GELU written out in Python (GPT-2, GPT-J, Phi-1 and Phi-2)."""
LIVE_FUSED_GATE = 4
"""Inner-size tensors where gate and up are one matrix: both halves, the activation, the product (Phi-3, GLM-4)."""
GATHERED_COPIES = 2
"""Inner-size tensors more where gate and up are gathered from all ranks: the pieces beside what they are joined to."""
ROTATING_COPIES = 3
"""Tensors of the keys' size while they are rotated; with heads gathered from all ranks that is the peak, the pieces of
q, k and v beside it (OLMo-2 and Phi-3 on several simulated ranks, to 1 %)."""
ONE_HOT_BYTES = 8
"""The loop over experts marks every token's choices in a 64-bit table."""
LOOP_IMBALANCE = 2.0
"""Tokens of the busiest expert over the mean: an assumption."""
ALL_LOGITS_BYTES = 6
"""16-bit logits and their 32-bit copy."""
KEPT_LOGITS_BYTES = 4
"""The 32-bit logits of the prompt that old generation loops hold during the first decode step."""
POSITION_ID_BYTES = 8
PIXEL_BYTES = 4
JOINED_COPIES = 3
TILE_MULTIPLE = 8
"""Positions of a tile are padded to a multiple of this before attention (the model class)."""
VAE_CHANNELS = 256
VAE_LIVE_MAPS = 2


def activation_width(job: InferJob, block: Block, tensor_parallel: Ints) -> Floats:
    """Live values per token at the widest point of a layer of the block."""
    fused = job.engine.options.get("mlp_kernel") == "fused"
    residual = RESIDUAL_FUSED if fused else residual_eager(block)
    splits = tensor_parallel > 1
    whole_heads, whole_mlp = listed(job, "whole_attention_families"), listed(job, "whole_mlp_families")
    heads_split = np.where(whole_heads, 1, tensor_parallel)
    tensor_parallel = np.where(whole_mlp, 1, tensor_parallel)
    widths = [np.zeros(1)]
    if block.feed_forward is not None:
        inner = block.feed_forward.intermediate_size
        gathered = GATHERED_COPIES * (splits & whole_mlp)
        widths.append((live_inner(block, fused=fused) + gathered) * inner / tensor_parallel)
        beside = 0 if plain_llama(block) or not job.engine.flag("keeps_gate_up") else live_inner(block, fused=fused) - 1
        sums = np.where(tensor_parallel > 1, RESIDUAL_REDUCED, RESIDUAL_REDUCED - 1) - residual
        down = (1 + beside) * inner / tensor_parallel + sums * block.hidden_size
        widths.append(np.where(fused & ((tensor_parallel > 1) | (beside > 0)), down, 0.0))
    if block.moe is not None:
        widths.append(moe_width(job, block.moe, tensor_parallel, fused=fused))
    if block.attention is not None:
        a = block.attention
        heads = a.num_heads * (2 * a.head_dim + a.value_dim) if a.kind == "latent" else a.num_heads * 2 * a.head_dim
        turning = (a.num_heads + (2 + ROTATING_COPIES) * a.num_kv_heads) * a.head_dim * (splits & whole_heads)
        widths.append((heads + 2 * a.num_kv_heads * a.head_dim) / heads_split + turning)
    if block.recurrent is not None:
        widths.append(4 * block.recurrent.inner_size / tensor_parallel)
    widest = np.maximum.reduce(np.broadcast_arrays(*widths))
    result: Floats = widest + residual * block.hidden_size
    return result


def plain_llama(block: Block) -> bool:
    """The block of the Llama class: gated SiLU, no biases, no norms of queries and keys."""
    mlp, attention = block.feed_forward, block.attention
    if mlp is None or attention is None or not mlp.gated or mlp.activation != "silu":
        return False
    return attention.qk_norm == "none" and not attention.has_bias


def residual_eager(block: Block) -> int:
    """Hidden-size tensors beside the MLP's inner ones in eager code; GPT-2 also holds its position embeddings."""
    names = {t.name for t in block.tensors}
    if "output_layernorm" in names or ("post_feedforward_layernorm" in names and "input_layernorm" not in names):
        return RESIDUAL_POST_NORM
    return RESIDUAL_EAGER + written_out(block)


def written_out(block: Block) -> bool:
    """GPT-2's own class: one-dimensional convolutions, softmax in the type of the scores."""
    return any(t.module == "c_attn" for t in block.tensors) and block.stack == "decoder"


def live_inner(block: Block, *, fused: bool) -> int:
    """Tensors of the MLP's inner width that live together."""
    mlp = block.feed_forward
    assert mlp is not None
    if fused:
        return 3 if mlp.gated else 2
    modules = [t.module for t in block.tensors if t.name in ("gate_proj", "up_proj") and t.role == "mlp"]
    if mlp.gated and len(modules) == 2 and modules[0] and modules[0] == modules[1]:
        return LIVE_FUSED_GATE
    if mlp.activation == "gelu_new":
        return LIVE_GELU_NEW
    return 3 if mlp.gated else 2


def moe_width(job: InferJob, moe: Moe, tensor_parallel: Ints, *, fused: bool) -> Floats:
    """Live values per token of a mixture of experts, without the residual stream.

    Grouped products gather the tokens of all experts: the gathered input, both halves, activation and product; then
    four tensors of the gathered output while it is weighted and put back. The loop holds one expert's tokens.
    """
    k, inner, read = moe.top_k, moe.intermediate_size, moe.input_size
    shared = (3 if moe.gated else 2) * moe.shared_intermediate_size / tensor_parallel
    if fused:
        return (3 if moe.gated else 2) * k * inner / tensor_parallel + shared + k * read
    if job.engine.options.get("experts_kernel") == "loop":
        busiest = min(1.0, LOOP_IMBALANCE * k / moe.num_experts)
        table = k * moe.num_experts * ONE_HOT_BYTES / compute_bytes(job)
        loop: Floats = table + read + busiest * ((3 if moe.gated else 2) * inner / tensor_parallel + 2 * read) + shared
        return loop
    result: Floats = np.maximum(k * (read + (4 if moe.gated else 2) * inner / tensor_parallel), 4.0 * k * read + shared)
    return result


def forward_bytes(job: InferJob, *, tokens: Floats, sequences: Floats, tensor_parallel: Ints) -> Floats:
    """Of one forward pass over `tokens` new tokens in `sequences` sequences, text stack only.

    The encoder of an encoder-decoder works on every position of its input (audio: whole windows) at once.
    """
    main = [b for b in job.model.blocks if b.stack in ("decoder", "encoder", "denoiser", "text")]
    if not main:
        return np.zeros(1)
    live = [stack_tokens(job, b, tokens, sequences) * activation_width(job, b, tensor_parallel) for b in main]
    total: Floats = np.maximum.reduce(np.broadcast_arrays(*live)) * compute_bytes(job)
    if runs_eager(job):
        scores, kept = eager_bytes(job, main, tokens, sequences, tensor_parallel)
        total = np.maximum(total + kept, scores)
    return total


def runs_eager(job: InferJob) -> bool:
    """Attention scores are written out: asked for, or the library's class knows nothing else."""
    plain = job.engine.options.get("mlp_kernel") != "fused"
    return job.attention == "eager" or (plain and job.model.eager_only and (job.attention == "sdpa" or job.model.alibi))


def stack_tokens(job: InferJob, block: Block, tokens: Floats, sequences: Floats) -> Floats:
    """Tokens of the pass in one stack: an encoder beside a decoder takes in its whole input."""
    if block.stack != "encoder" or not is_encoder_decoder(job.model):
        return tokens
    result: Floats = np.maximum(tokens, sequences * cross_tokens(job))
    return result


def eager_bytes(
    job: InferJob, blocks: list[Block], tokens: Floats, sequences: Floats, tensor_parallel: Ints
) -> tuple[Floats, Floats]:
    """Of the widest layer's eager attention: its scores (heads x length^2), their mask, queries and repeated keys and
    values, and the residual stream; and what of it lives on beside the MLP: the weights and the mask. Windows of
    audio are apart.
    """
    size = compute_bytes(job)
    usual = EAGER_SCORE_BYTES.get(job.weights.compute, EAGER_SCORE_BYTES["bf16"])
    live, kept = [np.zeros(1)], [np.zeros(1)]
    for block in blocks:
        a = block.attention
        if a is None:
            continue
        windows = audio_windows(job.model, job.audio_s) if block.stack == "encoder" else 1
        per_score = ALIBI_SCORE_BYTES if job.model.alibi else 2 * size if written_out(block) else usual
        rows = stack_tokens(job, block, tokens, sequences)
        apart = np.maximum(sequences, 1) * windows
        length = rows / apart
        pairs = sequences * windows * length**2
        scores = pairs * (a.num_heads / tensor_parallel * per_score + size)
        copies = 1 if a.num_kv_heads in (a.num_heads, 1) else 3
        own = rows * size * (EAGER_LIVE * block.hidden_size + copies * a.num_heads * a.head_dim / tensor_parallel)
        live.append(scores + own)
        kept.append(pairs * size * (a.num_heads / tensor_parallel + 1))
    return np.maximum.reduce(np.broadcast_arrays(*live)), np.maximum.reduce(np.broadcast_arrays(*kept))


def position_bytes(job: InferJob, length: Floats) -> Floats:
    """Of one forward pass, whatever the batch: rotary cosines and sines, position ids, the mask of a sliding window."""
    if job.engine.options.get("mlp_kernel") == "fused" or not job.model.num_layers:
        return length * 0.0
    attentions = [b.attention for b in job.model.stack("decoder") if b.attention is not None]
    if not attentions:
        return length * 0.0
    learned = any(t.role == "position" for t in job.model.outer)
    head_dim = 0 if learned else max(a.rope_dim or a.head_dim for a in attentions)
    windows = [a.window for a in attentions if a.kind in ("sliding", "chunked") and a.window is not None]
    mask = np.where(min(windows) <= length, length, 0.0) if windows and job.attention == "sdpa" else length * 0.0
    result: Floats = length * (2 * head_dim * compute_bytes(job) + POSITION_ID_BYTES + mask)
    return result


def compute_bytes(job: InferJob) -> int:
    """Bytes of an activation value."""
    return 4 if job.weights.compute in ("fp32", "tf32") else 2


def vision_bytes(job: InferJob) -> float:
    """Of the image, audio or denoising part of one forward pass, whole batch of one sequence."""
    total = 0.0
    for block in job.model.stack("vision", "audio"):
        tokens = tower_tokens(job, block) * max(1, job.num_images)
        width = activation_width(job, block, np.ones(1, dtype=np.int64))
        total = max(total, tokens * (float(width[0]) * compute_bytes(job) + pixel_bytes(job)))
    if job.image_width:
        pixels = job.image_width * job.image_height
        total = max(total, pixels * VAE_CHANNELS * VAE_LIVE_MAPS * compute_bytes(job))
    return total


def profiled_vision_bytes(job: InferJob, *, tokens: Floats, sequences: Floats, tensor_parallel: Ints) -> Floats:
    """Of the vision tower in a serving engine's profile run: every dummy request brings its largest image.

    A tower that the text reads by cross attention keeps the states of several layers, stacks and joins them: the joined
    width, the stack and the states kept are 3 x its input, beside the pixels. Llama-3.2-11B-Vision with 128
    requests: 36.2 of 36.63 GiB logged. Towers whose tokens stand in the prompt take as many images as fit its
    tokens; where an image may have any size, the largest is `largest_image_tokens`.
    """
    towers = list(job.model.stack("vision"))
    image = job.model.image_tokens
    if not towers or image is None:
        return np.zeros(1)
    size = compute_bytes(job)
    patches = max(b.tokens_fixed or 0 for b in towers)
    if any(b.cross_attention is not None for b in job.model.stack("decoder")):
        joined = max((t.in_features for t in job.model.outer if t.role == "projector"), default=0)
        pixels = max((t.in_features for t in job.model.outer if t.name == "patch_embedding"), default=0)
        hidden = max(b.hidden_size for b in towers)
        tile = next((t.out_features for t in job.model.outer if t.name == "vision_positions"), patches)
        padded = patches * math.ceil(tile / TILE_MULTIPLE) * TILE_MULTIPLE / tile
        values = max((JOINED_COPIES - 1) * joined, hidden) * padded + (joined + pixels) * patches
        cross: Floats = sequences * values * size
        return cross
    tiles = image.max_tiles + 1 if image.kind == "tiles" else 1
    per_image = image.tokens * tiles
    patches = image.patches * tiles or patches
    if image.kind == "grid":
        per_image = int(job.engine.optional_number("largest_image_tokens") or job.image_tokens or 1)
        patches = per_image * image.patches_per_token
    images = np.maximum(np.minimum(sequences, np.floor(tokens / max(per_image, 1))), 1.0)
    widths = [activation_width(job, b, tensor_parallel) for b in towers]
    result: Floats = images * patches * np.maximum.reduce(np.broadcast_arrays(*widths)) * size
    return result


def tower_tokens(job: InferJob, block: Block) -> int:
    """Positions of one image or recording in a tower; where images have any size, those behind its text tokens."""
    image = job.model.image_tokens
    if block.stack == "vision" and image is not None and image.kind == "grid":
        return job.image_tokens * image.patches_per_token
    return block.tokens_fixed or 0


def pixel_bytes(job: InferJob) -> float:
    """Of the pixels behind one patch: in 32 bit as they come in, and their 16-bit copy."""
    pixels = max((t.in_features for t in job.model.outer if t.name == "patch_embedding"), default=0)
    return float(pixels * (PIXEL_BYTES + (compute_bytes(job) if compute_bytes(job) < PIXEL_BYTES else 0)))


def logits_bytes(model: Model, *, rows: Floats, tensor_parallel: Ints, per_logit: float = ALL_LOGITS_BYTES) -> Floats:
    """Of the logits of `rows` positions: 16-bit and their 32-bit copy, unless `per_logit` says otherwise."""
    if not model.has_head:
        return np.zeros(1)
    result: Floats = rows * model.vocab_size * per_logit / tensor_parallel
    return result
