"""Serving engines: what the budget leaves after weights and a profile run becomes the pool of KV pages.

Each engine's own start-up arithmetic, as its sources have it:

- vLLM (`gpu_memory_utilization`): share x total - weights - peak of a profile run - growth outside torch since the CUDA
  context was made [- context in 0.8 to 0.9.1, which measured from zero] [- CUDA graphs since 0.21].
- SGLang (`mem_fraction_static`): free after loading - (1 - share) x free before loading.
- TensorRT-LLM (`kv_cache_free_gpu_memory_fraction`): share x what is free after weights, workspaces and graphs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.estimate.memory.composed import MOST_SEQUENCES, bounded, memory_of
from planner.estimate.memory.device import (
    free_before_loading_bytes,
    graph_bytes,
    outside_torch_bytes,
    usable_bytes,
)
from planner.estimate.memory.fixed import (
    Fixed,
    cache_per_sequence,
    host_cache,
    mean_cache_per_sequence,
    rank_batch,
    stage_part,
)
from planner.estimate.memory.growing import activations_of
from planner.estimate.memory.kv_cache import (
    CacheShape,
    cache_shape,
    full_length,
    longest_request,
    unified_bytes_per_token,
)
from planner.estimate.memory.working_set import compute_bytes, forward_bytes, profiled_vision_bytes
from planner.estimate.types import Bools, Floats, Hardware, InferJob, InferWays, Memory
from planner.units import GIB

LARGE_GPU_BYTES = 70 * GIB
"""vLLM takes larger defaults on GPUs of at least this much memory, the A100 left out."""
LEAST_BATCHED_TOKENS = 2048.0
"""vLLM's smallest profile run without chunked prefill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Bytes that decide the pool, per GPU."""

    forward: Floats
    """The widest step of the profile run."""
    sampler: Floats
    """Its sampling of `max_num_seqs` dummy requests."""
    graphs: Floats
    outside: Floats
    """Growth outside torch: kernels, communicators."""
    before_loading: Floats
    """Free once the context and the communicators stand."""
    pool: Floats

    @property
    def peak(self) -> Floats:
        result: Floats = np.maximum(self.forward, self.sampler)
        return result


def budget_of(job: InferJob, ways: InferWays, hw: Hardware, fixed: Fixed) -> Budget:
    """The engine's start-up arithmetic."""
    forward, sampler = profiled_forward(job, ways, hw), profiled_sampler(job, hw)
    graphs = np.zeros(1) if job.engine.flag("enforce_eager") else graphs_of(job, ways)
    outside = outside_torch_bytes(hw, ways.gpus)
    peak = np.maximum(forward, sampler)
    usable, before_loading = usable_bytes(hw), free_before_loading_bytes(hw, ways.gpus)
    spent = fixed.weights + peak + fixed.context + fixed.workspace + graphs
    if job.engine.options.get("gpu_memory_utilization") is not None:
        inside = graphs * job.engine.flag("cuda_graphs_in_budget")
        beside = fixed.context if job.engine.flag("context_in_budget") else outside
        pool = job.engine.number("gpu_memory_utilization") * usable - fixed.weights - peak - fixed.workspace
        pool = pool - beside - inside
    elif job.engine.options.get("mem_fraction_static") is not None:
        pool = job.engine.number("mem_fraction_static") * before_loading - fixed.weights
    else:
        pool = job.engine.number("kv_cache_free_gpu_memory_fraction") * (usable - spent)
    pool = np.minimum(pool, usable * (1.0 - job.memory_headroom) - spent)
    return Budget(
        forward=forward,
        sampler=sampler,
        graphs=graphs,
        outside=outside,
        before_loading=before_loading,
        pool=pool,
    )


def budget_memory(job: InferJob, ways: InferWays, hw: Hardware, fixed: Fixed) -> Memory:
    """What stands on the GPU after start-up."""
    cache = cache_shape(job)
    budget = budget_of(job, ways, hw, fixed)
    pool = budget.pool * cache.holds_anything
    length = full_length(job)
    per_sequence = mean_cache_per_sequence(job, cache, ways)
    longest = cache_per_sequence(job, cache, ways, full_length(longest_request(job)))
    cap = most_sequences(job, hw)
    if cache.holds_anything:
        most = bounded(pool / np.maximum(per_sequence, 1.0)) * ways.data_parallel * (pool >= longest)
    else:
        spent = fixed.weights + fixed.context + fixed.workspace + budget.graphs
        room = usable_bytes(hw) * (1.0 - job.memory_headroom) - spent
        most = np.minimum(cap, bounded(room / np.maximum(activations_of(job, ways), 1.0))) * ways.data_parallel
    short = pool < np.minimum(rank_batch(ways), 1.0) * longest
    needed = np.where(short, longest, np.maximum(pool, 0.0))
    parts = {
        "weights": fixed.weights,
        "kv_cache": needed,
        "activations": budget.peak,
        "logits": np.zeros(1),
        "workspace": fixed.workspace,
    }
    return memory_of(
        parts,
        context=fixed.context + budget.graphs,
        fragmentation=np.zeros(1),
        static=fixed.weights,
        host=fixed.offloaded_host + host_cache(job, cache, ways, rank_batch(ways), length),
        disk=fixed.offloaded_disk,
        tokens=pool_tokens(job, cache, ways, pool),
        most=most,
        phase=np.full(1, "prefill"),
    )


def pool_tokens(job: InferJob, cache: CacheShape, ways: InferWays, pool: Floats) -> Floats:
    """Tokens the pool holds, in whole pages, as the engine prints them at start-up."""
    per_token = pool_bytes_per_token(job, cache, ways)
    tokens = np.where(per_token > 0, np.maximum(pool, 0.0) / np.maximum(per_token, 1e-9), 0.0)
    result: Floats = np.floor(tokens / cache.block_tokens) * cache.block_tokens
    return result


def pool_bytes_per_token(job: InferJob, cache: CacheShape, ways: InferWays) -> Floats:
    """Bytes that one token takes of the pool on one GPU, by the engine's own way of counting."""
    if job.engine.options.get("kv_window") == "unified":
        ranks = np.where(job.engine.flag("attention_data_parallel"), 1, ways.tensor_parallel)
        over = np.where(job.engine.flag("attention_data_parallel"), ways.tensor_parallel, 1)
        each = unified_bytes_per_token(job, ranks) / over * stage_part(job, ways)
        result: Floats = each / ways.context_parallel * (1.0 - ways.kv_cpu)
        return result
    length = full_length(job)
    return cache_per_sequence(job, cache, ways, length) / length


def profiled_forward(job: InferJob, ways: InferWays, hw: Hardware) -> Floats:
    """Working set of the profile run's forward pass: text of a full step, or the images it starts with."""
    text = forward_bytes(
        job, tokens=batched_tokens(job, hw), sequences=np.ones(1), tensor_parallel=ways.tensor_parallel
    )
    images = profiled_vision_bytes(
        job,
        tokens=batched_tokens(job, hw),
        sequences=most_sequences(job, hw),
        tensor_parallel=ways.tensor_parallel,
    )
    result: Floats = np.maximum(text, images)
    return result


def profiled_sampler(job: InferJob, hw: Hardware) -> Floats:
    """Working set of sampling for the profile run's dummy requests, its hidden states still held.

    38 bytes a logit: 16-bit logits (2), their 32-bit copy (4), sorted values (4) and 64-bit indices (8), and the sort's
    own indices in (8) and buffers (12, cub segmented radix sort). Llama-3-8B with 256 requests and 8,192 tokens logs
    1.26 GiB on one and on two H100: 1.256 by this. Newer versions sample without a sort.
    """
    per_logit = job.engine.optional_number("sampler_bytes_per_logit") or 0.0
    if not per_logit or not job.model.has_head:
        return np.zeros(1)
    tokens = batched_tokens(job, hw)
    rows = np.minimum(most_sequences(job, hw), tokens)
    result: Floats = rows * job.model.vocab_size * per_logit + tokens * job.model.hidden_size * compute_bytes(job)
    return result


def graphs_of(job: InferJob, ways: InferWays) -> Floats:
    """CUDA graphs of the stage's layers."""
    result: Floats = graph_bytes(job.model.hidden_size, job.model.num_layers) * stage_part(job, ways)
    return result


def batched_tokens(job: InferJob, hw: Hardware) -> Floats:
    """Tokens of the engine's widest step: its chunk, or a whole prompt where prefill is not chunked.

    vLLM's first engine turns chunking on by itself for text models with contexts beyond `chunked_above_tokens`.
    """
    model_len = job.engine.optional_number("max_model_len") or float(longest_request(job).total_tokens)
    chunk = job.engine.optional_number("max_num_batched_tokens")
    large = job.engine.optional_number("max_num_batched_tokens_large_gpu")
    above = job.engine.optional_number("chunked_above_tokens")
    if chunk is None:
        auto = above is not None and model_len > above and job.model.task == "text-generation"
        return np.array([LEAST_BATCHED_TOKENS if auto else max(model_len, LEAST_BATCHED_TOKENS)])
    column: Floats = np.full(len(hw), chunk)
    if large is not None:
        column = np.where(is_large(hw), max(large, chunk), column)
    return column if job.engine.flag("chunked_prefill") else np.maximum(column, model_len)


def most_sequences(job: InferJob, hw: Hardware) -> Floats:
    """The engine's cap on running sequences."""
    cap = job.engine.optional_number("max_num_seqs")
    large = job.engine.optional_number("max_num_seqs_large_gpu")
    column: Floats = np.full(len(hw), cap if cap is not None else float(MOST_SEQUENCES))
    return column if large is None or cap is None else np.where(is_large(hw), max(large, cap), column)


def is_large(hw: Hardware) -> Bools:
    """GPUs for which vLLM takes its larger defaults."""
    result: Bools = (hw.memory_bytes >= LARGE_GPU_BYTES) & (hw.arch != "ampere")
    return result
