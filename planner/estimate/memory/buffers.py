"""llama.cpp: model, KV and compute buffers, all laid out at start.

What its logs print, to 0.01 MiB where a case is named: the token table (and an encoder's positions) stay in host
memory; a tied head is a second copy of the table. Cells are padded to 256. The compute buffer is the larger of the
output head's step and of one layer's attention.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.estimate.formats import tensor_bytes
from planner.estimate.memory.composed import bounded, memory_of
from planner.estimate.memory.device import usable_bytes
from planner.estimate.memory.fixed import Fixed, cache_per_sequence, host_cache, rank_batch
from planner.estimate.memory.kv_cache import CacheLine, CacheShape, cache_shape
from planner.estimate.types import Floats, Hardware, InferJob, InferWays, Memory

CELLS = 256
"""Cells of a cache are a multiple of this."""
VALUE_BYTES = 4
"""Compute buffers hold 32-bit values."""
HIDDEN_WITH_SCORES = 4
"""Hidden-size tensors beside the scores: 280.00 MiB (Mistral-7B, 8,192 cells, 256 tokens), 1104.00 (Llama-3.1-70B,
8,192, 512), 1160.00 (405B, 4,096, 512) and 16.00 (bge-small, 512, 512)."""
HIDDEN_WITH_FLASH = 5
"""... and with flash attention, which keeps the mask in 16 bit as well: 808.02 MiB (Qwen3.5-9B, 262,144 cells)."""
FLASH_MASK_BYTES = 6
SPLIT_COPIES = 3
"""Further copies of a device's inputs where layers are split over GPUs (GGML_SCHED_MAX_COPIES 4)."""


def buffers_memory(job: InferJob, ways: InferWays, hw: Hardware, fixed: Fixed) -> Memory:
    """Bytes on one device."""
    weights = fixed.weights - host_table_bytes(job) / ways.pipeline_parallel
    sequences = rank_batch(ways)
    length = context_cells(job)
    cache = cells_shape(job)
    per_sequence = cache_per_sequence(job, cache, ways, float(length))
    compute = compute_buffer(job, ways)
    parts = {
        "weights": weights,
        "kv_cache": sequences * per_sequence,
        "activations": np.zeros(1),
        "logits": np.zeros(1),
        "workspace": compute,
    }
    room = usable_bytes(hw) * (1.0 - job.memory_headroom) - weights - compute - fixed.context
    most = bounded(room / np.maximum(per_sequence, 1.0)) * ways.data_parallel
    return memory_of(
        parts,
        context=fixed.context,
        fragmentation=np.zeros(1),
        static=weights,
        host=fixed.offloaded_host + host_table_bytes(job) + host_cache(job, cache, ways, sequences, length),
        disk=fixed.offloaded_disk,
        tokens=sequences * length,
        most=most,
        phase=np.full(1, "decode"),
    )


def context_cells(job: InferJob) -> int:
    """Cells of one sequence: its context, padded."""
    asked = job.engine.optional_number("max_model_len") or float(job.total_tokens)
    return int(np.ceil(asked / CELLS) * CELLS)


def micro_batch(job: InferJob) -> float:
    """Tokens of one physical batch."""
    return min(job.engine.number("ubatch"), float(context_cells(job)))


def cells_shape(job: InferJob) -> CacheShape:
    """What one sequence caches: sliding layers hold their window and one physical batch; encoders keep keys and values
    like decoders do (`encoder_cache`; later builds keep none)."""
    shape = cache_shape(job)
    ubatch = job.engine.number("ubatch")
    lines = tuple(
        line if line.window is None else replace(line, window=int(np.ceil((line.window + ubatch) / CELLS) * CELLS))
        for line in shape.lines
    )
    if not job.engine.flag("encoder_cache"):
        return replace(shape, lines=lines)
    for block in job.model.stack("encoder"):
        a = block.attention
        if a is not None and job.model.task in ("encoder", "embedding"):
            values = a.num_kv_heads * (a.head_dim + a.value_dim)
            line = CacheLine(bytes_per_token=2.0 * block.num_layers * values, window=None, max_split=a.num_kv_heads)
            lines = (*lines, line)
    return replace(shape, lines=lines)


def host_table_bytes(job: InferJob) -> float:
    """Bytes of tensors that never reach the GPU: the token table, where no head shares it; all tables of an encoder,
    and its pooler, which the file format leaves out."""
    if job.model.has_head:
        tables = {"embedding"} - ({"embedding"} if job.model.tied_embeddings else set())
    else:
        tables = {"embedding", "position", "head"}
    return sum(tensor_bytes(t, job.weights) for t in job.model.outer if t.role in tables)


def attention_buffer(job: InferJob) -> float:
    """Of the widest layer: scores of a physical batch against all cells, their mask and the hidden-size tensors."""
    cells, ubatch = float(context_cells(job)), micro_batch(job)
    hidden = job.model.hidden_size * ubatch * VALUE_BYTES
    if job.attention != "eager":
        return cells * ubatch * FLASH_MASK_BYTES + HIDDEN_WITH_FLASH * hidden
    heads = max((b.attention.num_heads for b in job.model.blocks if b.attention is not None), default=0)
    return cells * ubatch * (heads + 1) * VALUE_BYTES + HIDDEN_WITH_SCORES * hidden


def head_buffer(job: InferJob) -> float:
    """Of the output head: logits and hidden states of a physical batch. Llama-3-8B: 258.50 MiB."""
    if not job.model.has_head:
        return 0.0
    return (job.model.vocab_size + job.model.hidden_size) * micro_batch(job) * VALUE_BYTES


def split_inputs(job: InferJob) -> float:
    """Copies of the hidden states and the mask that a device of several takes in."""
    rows = micro_batch(job) * VALUE_BYTES
    return SPLIT_COPIES * rows * (job.model.hidden_size + context_cells(job))


def compute_buffer(job: InferJob, ways: InferWays) -> Floats:
    """The graph's scratch on one device."""
    largest = max(head_buffer(job), attention_buffer(job))
    result: Floats = largest + np.where(ways.pipeline_parallel > 1, split_inputs(job), 0.0)
    return result
