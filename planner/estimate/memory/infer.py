"""Memory of one replica serving a model: the peak over load, prefill and decode, or the engine's own budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.estimate.memory.device import (
    STABLE_FRAGMENTATION,
    context_bytes,
    fragmentation_bytes,
    graph_bytes,
    library_workspace_bytes,
    usable_bytes,
)
from planner.estimate.memory.kv_cache import CacheShape, cache_shape, full_length, is_encoder_decoder
from planner.estimate.memory.weights import (
    head_copy_bytes,
    largest_matrix_params,
    stage_share,
    weight_split,
)
from planner.estimate.memory.working_set import (
    SAMPLER_BYTES_PER_LOGIT,
    forward_bytes,
    logits_bytes,
    vision_bytes,
)
from planner.estimate.types import PARTS, Bools, Floats, Hardware, InferJob, InferWays, Memory
from planner.units import GIB

LARGE_GPU_BYTES = 70 * GIB
"""vLLM takes larger defaults on GPUs of at least this much memory, the A100 left out."""
DEQUANT_BYTES = 2
MOST_SEQUENCES = 65536
BUDGET_OPTIONS = ("gpu_memory_utilization", "mem_fraction_static", "kv_cache_free_gpu_memory_fraction")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """Bytes that do not grow with the batch, per GPU of the fullest stage."""

    weights: Floats
    offloaded_host: Floats
    offloaded_disk: Floats
    workspace: Floats
    context: Floats


def infer_memory(job: InferJob, ways: InferWays, hw: Hardware) -> Memory:
    """Bytes on the fullest GPU of one replica; one entry per way."""
    fixed = fixed_bytes(job, ways, hw)
    if job.engine.name == "llamacpp":
        return buffers_memory(job, ways, hw, fixed)
    if has_budget(job):
        return budget_memory(job, ways, hw, fixed)
    return growing_memory(job, ways, hw, fixed)


def has_budget(job: InferJob) -> bool:
    """The engine takes a share of the GPU whatever the model needs, and fills it with KV pages."""
    return any(job.engine.options.get(option) is not None for option in BUDGET_OPTIONS)


def fixed_bytes(job: InferJob, ways: InferWays, hw: Hardware) -> Fixed:
    """Weights after offload, the buffer that streams offloaded layers, workspaces and context."""
    split = weight_split(job.model, job.weights)
    even_stages = job.engine.name in ("transformers", "llamacpp", "exllama")
    tp, pp = ways.tensor_parallel, ways.pipeline_parallel
    expert_group = np.maximum(ways.expert_parallel, tp)
    share = 1.0 / pp if even_stages else stage_share(job.model.num_layers, pp)
    on_gpu = 1.0 - ways.weights_cpu - ways.weights_disk
    layers = split.layers_per_gpu(tp, expert_group) * share
    if even_stages:
        ends = (split.embedding + split.head) / (tp * pp) + split.outer / pp
    else:
        ends = split.fullest_stage(tp, expert_group, np.zeros(1), pp == 1)
    copy = head_copy_bytes(job.model, job.weights) * bool(job.engine.options.get("load_tied_head_in_fp8")) / tp
    streamed = np.where(on_gpu < 1.0, layers / np.maximum(job.model.num_layers * share, 1.0) * 2, 0.0)
    gpus = np.minimum(ways.gpus, hw.node_gpus)
    dequant = dequant_bytes(job)
    return Fixed(
        weights=layers * on_gpu + ends + copy,
        offloaded_host=layers * ways.weights_cpu * gpus,
        offloaded_disk=layers * ways.weights_disk * gpus,
        workspace=library_workspace_bytes(hw) + streamed + dequant / tp,
        context=context_bytes(hw, ways.gpus),
    )


def dequant_bytes(job: InferJob) -> float:
    """A 16-bit copy of the largest quantised matrix, where a big batch expands it before the product.

    Measured on AWQ and GPTQ: 97, 170 and 250 MiB on 8B, 14B and 32B (Qwen speed tables).
    """
    if job.weights.bits >= 16 or not job.weights.weight_only or job.engine.name == "llamacpp":
        return 0.0
    if has_budget(job):
        return 0.0
    return float(largest_matrix_params(job.model) * DEQUANT_BYTES)


def rank_batch(ways: InferWays) -> Floats:
    """Sequences of one data-parallel rank."""
    result: Floats = np.ceil(ways.batch / ways.data_parallel)
    return result


def cache_per_sequence(job: InferJob, cache: CacheShape, ways: InferWays, tokens: float) -> Floats:
    """Bytes of one sequence on one GPU of the fullest stage."""
    even = job.engine.name in ("transformers", "llamacpp", "exllama")
    pp = ways.pipeline_parallel
    share = 1.0 / pp if even else stage_share(job.model.num_layers, pp)
    ranks = np.where(job.engine.flag("attention_data_parallel"), 1, ways.tensor_parallel)
    per_rank = cache.bytes_per_sequence(np.array([float(tokens)]), ranks)
    over_ranks = np.where(job.engine.flag("attention_data_parallel"), ways.tensor_parallel, 1)
    result: Floats = per_rank * share / ways.context_parallel / over_ranks * (1.0 - ways.kv_cpu)
    return result


def growing_memory(job: InferJob, ways: InferWays, hw: Hardware, fixed: Fixed) -> Memory:
    """Engines that allocate as they go (Transformers): the larger of prefill and the last decode step."""
    cache = cache_shape(job)
    sequences = rank_batch(ways)
    length = full_length(job)
    keeps_cache = job.output_tokens > 0
    static = job.engine.options.get("kv_layout") == "static"
    per_sequence = cache_per_sequence(job, cache, ways, length) * keeps_cache
    prompt = length if static or is_encoder_decoder(job.model) else job.input_tokens
    prompt_cache = cache_per_sequence(job, cache, ways, prompt) * keeps_cache
    one_layer = per_sequence / np.maximum(job.model.num_layers / ways.pipeline_parallel, 1.0)
    unit = activations_of(job, ways, np.ones(1))
    logits_unit = logits_of(job, ways, np.ones(1))
    batched = {
        "prefill": prompt_cache + unit + logits_unit,
        "decode": per_sequence + (0.0 if static else one_layer) + logits_rows(job, ways, np.ones(1)),
    }
    rotary = rotary_cache_bytes(job) / ways.pipeline_parallel
    base = fixed.weights + fixed.workspace + rotary
    decode_binds = batched["decode"] > batched["prefill"]
    parts = {
        "weights": fixed.weights,
        "kv_cache": sequences * np.where(decode_binds, per_sequence, prompt_cache),
        "activations": sequences * np.where(decode_binds, 0.0 if static else one_layer, unit),
        "logits": sequences * np.where(decode_binds, logits_rows(job, ways, np.ones(1)), logits_unit),
        "workspace": fixed.workspace + rotary,
    }
    allocated = sum(parts.values(), np.zeros(1))
    transient = allocated - fixed.weights
    fragmentation = fragmentation_bytes(transient)
    room = usable_bytes(hw) * (1.0 - job.memory_headroom) - base - fixed.context - fragmentation_bytes(np.zeros(1))
    growth = np.maximum(batched["prefill"], batched["decode"]) * (1 + STABLE_FRAGMENTATION)
    most = bounded(room / np.maximum(growth, 1.0)) * ways.data_parallel
    host = fixed.offloaded_host + host_cache(job, cache, ways, sequences, length)
    return memory_of(
        parts,
        context=fixed.context,
        fragmentation=fragmentation,
        static=fixed.weights,
        host=host,
        disk=fixed.offloaded_disk,
        tokens=sequences * length * keeps_cache + np.zeros(1),
        most=most,
        phase=np.where(decode_binds, "decode", "prefill"),
    )


def activations_of(job: InferJob, ways: InferWays, sequences: Floats) -> Floats:
    """Working set of a prefill of `sequences` sequences."""
    text = forward_bytes(
        job,
        tokens=sequences * prompt_tokens(job) / ways.context_parallel,
        sequences=sequences,
        tensor_parallel=ways.tensor_parallel,
    )
    result: Floats = np.maximum(text, sequences * vision_bytes(job))
    return result


def prompt_tokens(job: InferJob) -> int:
    """Tokens of one request that the first pass takes in; the decoder behind an encoder starts from one."""
    return 1 if is_encoder_decoder(job.model) else job.input_tokens


def logits_of(job: InferJob, ways: InferWays, sequences: Floats) -> Floats:
    """Logits of a prefill: the last position, or all of them in older versions."""
    rows = sequences * (prompt_tokens(job) if job.engine.options.get("logits") == "all" else 1)
    return logits_bytes(job.model, rows=rows, tensor_parallel=ways.tensor_parallel)


def logits_rows(job: InferJob, ways: InferWays, sequences: Floats) -> Floats:
    return logits_bytes(job.model, rows=sequences, tensor_parallel=ways.tensor_parallel)


def rotary_cache_bytes(job: InferJob) -> float:
    """Cosine and sine tables that every layer kept for itself up to transformers 4.38 (192 and 448 MiB measured)."""
    if not job.engine.flag("rotary_cache_per_layer") or job.model.max_context is None:
        return 0.0
    head_dim = max((b.attention.head_dim for b in job.model.blocks if b.attention is not None), default=0)
    return float(job.model.num_layers * job.model.max_context * head_dim * 2 * 2)


def host_cache(job: InferJob, cache: CacheShape, ways: InferWays, sequences: Floats, length: int) -> Floats:
    """KV cache kept in host memory, whole replica."""
    whole = cache.bytes_per_sequence(np.array([float(length)]), np.ones(1, dtype=np.int64))
    result: Floats = sequences * whole * ways.kv_cpu * ways.data_parallel
    return result


def batched_tokens(job: InferJob, hw: Hardware) -> Floats:
    """Tokens of the engine's widest step: its chunk, or a whole prompt where prefill is not chunked."""
    model_len = job.engine.optional_number("max_model_len") or float(job.total_tokens)
    chunk = job.engine.optional_number("max_num_batched_tokens")
    large = job.engine.optional_number("max_num_batched_tokens_large_gpu")
    if chunk is None:
        return np.array([max(model_len, 2048.0)])
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
    result: Bools = (hw.memory_bytes >= LARGE_GPU_BYTES) & (hw.arch != "ampere")
    return result


def bounded(sequences: Floats) -> Floats:
    """Whole sequences, none below zero."""
    result: Floats = np.clip(np.floor(sequences), 0.0, float(MOST_SEQUENCES))
    return result


def budget_memory(job: InferJob, ways: InferWays, hw: Hardware, fixed: Fixed) -> Memory:
    """vLLM, SGLang, TensorRT-LLM: what the budget leaves after weights and a profile run becomes the KV pool."""
    cache = cache_shape(job)
    options = job.engine.options
    tokens = batched_tokens(job, hw)
    tp = ways.tensor_parallel
    activations = forward_bytes(job, tokens=tokens, sequences=np.ones(1), tensor_parallel=tp)
    activations = np.maximum(activations, vision_bytes(job))
    cap = most_sequences(job, hw)
    sampler = cap * job.model.vocab_size * SAMPLER_BYTES_PER_LOGIT if options.get("sampler_profile") else cap * 0.0
    peak = np.maximum(activations, np.where(job.model.has_head, sampler, 0.0))
    graphs = np.zeros(1) if job.engine.flag("enforce_eager") else graphs_of(job, ways)
    usable = usable_bytes(hw)
    if options.get("gpu_memory_utilization") is not None:
        budget = job.engine.number("gpu_memory_utilization") * usable
        inside = graphs if job.engine.flag("cuda_graphs_in_budget") else graphs * 0.0
        pool = budget - fixed.weights - peak - fixed.context - fixed.workspace - inside
    elif options.get("mem_fraction_static") is not None:
        pool = job.engine.number("mem_fraction_static") * usable - fixed.weights
    else:
        free = usable - fixed.weights - peak - fixed.context - fixed.workspace - graphs
        pool = job.engine.number("kv_cache_free_gpu_memory_fraction") * free
    ceiling = usable * (1.0 - job.memory_headroom)
    spent = fixed.weights + peak + fixed.context + fixed.workspace + graphs
    pool = np.minimum(pool, ceiling - spent) * cache.holds_anything
    length = full_length(job)
    per_sequence = cache_per_sequence(job, cache, ways, length)
    if cache.holds_anything:
        most = bounded(pool / np.maximum(per_sequence, 1.0)) * ways.data_parallel
    else:
        room = ceiling - spent + peak
        most = np.minimum(cap, bounded(room / np.maximum(activations_of(job, ways, np.ones(1)), 1.0)))
        most = most * ways.data_parallel
    per_token = per_sequence / length
    pool_tokens = np.where(per_token > 0, np.floor(np.maximum(pool, 0.0) / np.maximum(per_token, 1e-9)), 0.0)
    page = cache.block_tokens
    pool_tokens = np.floor(pool_tokens / page) * page
    short = pool < np.minimum(rank_batch(ways), 1.0) * per_sequence
    needed = np.where(short, per_sequence, np.maximum(pool, 0.0))
    parts = {
        "weights": fixed.weights,
        "kv_cache": needed,
        "activations": peak,
        "logits": np.zeros(1),
        "workspace": fixed.workspace,
    }
    return memory_of(
        parts,
        context=fixed.context + graphs,
        fragmentation=np.zeros(1),
        static=fixed.weights,
        host=fixed.offloaded_host + host_cache(job, cache, ways, rank_batch(ways), length),
        disk=fixed.offloaded_disk,
        tokens=pool_tokens,
        most=most,
        phase=np.full(1, "prefill"),
    )


def graphs_of(job: InferJob, ways: InferWays) -> Floats:
    share = stage_share(job.model.num_layers, ways.pipeline_parallel)
    result: Floats = graph_bytes(job.model.hidden_size, job.model.num_layers) * share
    return result


def buffers_memory(job: InferJob, ways: InferWays, hw: Hardware, fixed: Fixed) -> Memory:
    """llama.cpp: model, KV and compute buffers, all laid out at start.

    The token table stays in host memory. The compute buffer is the larger of the output head's step and, without
    flash attention, the scores of one micro-batch (258.50, 254.50, 105.00 MiB exact for the first, 280.01 MiB
    at 4,096 context for the second, in public logs).
    """
    cache = cache_shape(job)
    split = weight_split(job.model, job.weights)
    pp = ways.pipeline_parallel
    table = 0.0 if job.model.tied_embeddings else split.embedding
    weights = fixed.weights - table / pp
    context = job.engine.optional_number("max_model_len") or float(job.total_tokens)
    sequences = rank_batch(ways)
    length = np.ceil(context / 256) * 256
    per_sequence = cache_per_sequence(job, cache, ways, float(length))
    ubatch = min(job.engine.number("ubatch"), float(length))
    head_step = (job.model.vocab_size + job.model.hidden_size) * ubatch * 4
    heads = max((b.attention.num_heads for b in job.model.blocks if b.attention is not None), default=0)
    scores = 0.0 if job.attention != "eager" else length * ubatch * heads * 4 + 5 * job.model.hidden_size * ubatch * 4
    compute = max(head_step, scores) + np.zeros(1)
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
        host=fixed.offloaded_host + table + host_cache(job, cache, ways, sequences, int(length)),
        disk=fixed.offloaded_disk,
        tokens=sequences * length,
        most=most,
        phase=np.full(1, "decode"),
    )


def memory_of(
    parts: Mapping[str, Floats],
    *,
    context: Floats,
    fragmentation: Floats,
    static: Floats,
    host: Floats,
    disk: Floats,
    tokens: Floats,
    most: Floats,
    phase: NDArray[np.str_],
) -> Memory:
    """Put the parts of the binding phase together: allocated, then reserved, then what the driver shows."""
    allocated = sum(parts.values(), np.zeros(1))
    columns = np.broadcast_arrays(allocated, context, fragmentation, static, host, disk, tokens, most)
    allocated, context, fragmentation, static, host, disk, tokens, most = columns
    shape = allocated.shape
    whole = {name: np.broadcast_to(parts.get(name, np.zeros(1)), shape) for name in PARTS}
    whole["context"] = context
    whole["fragmentation"] = fragmentation
    return Memory(
        parts=whole,
        allocated_peak_bytes=allocated,
        reserved_peak_bytes=allocated + fragmentation,
        device_peak_bytes=allocated + fragmentation + context,
        static_bytes=static,
        host_bytes=host,
        disk_bytes=disk,
        kv_cache_tokens=tokens,
        max_batch=most,
        phase=np.broadcast_to(phase, shape),
    )
