"""What does not grow with the batch: weights, their blocks, workspaces and context; and one sequence's cache."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.catalog.runtime import runtime_facts
from planner.estimate.memory.blocks import layer_gap_bytes, outer_gap_bytes
from planner.estimate.memory.convention import listed
from planner.estimate.memory.device import context_bytes, library_workspace_bytes, per_arch
from planner.estimate.memory.kv_cache import CacheShape, lengths_in_batch
from planner.estimate.memory.weights import (
    Split,
    head_copy_bytes,
    largest_matrix_params,
    stage_share,
    weight_split,
)
from planner.estimate.types import Floats, Hardware, InferJob, InferWays
from planner.units import BITS_PER_BYTE

DEQUANT_BYTES = 2
TABLE_BYTES = 2
"""A cosine or sine of the rotary table of a serving engine."""
EVEN_STAGES = frozenset({"transformers", "llamacpp", "exllama"})
"""Engines that deal layers, token table and head over GPUs by size."""
BUDGET_OPTIONS = ("gpu_memory_utilization", "mem_fraction_static", "kv_cache_free_gpu_memory_fraction")


def has_budget(job: InferJob) -> bool:
    """The engine takes a share of the GPU whatever the model needs, and fills it with KV pages."""
    return any(job.engine.options.get(option) is not None for option in BUDGET_OPTIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """Bytes that do not grow with the batch, per GPU of the fullest stage."""

    split: Split
    weights: Floats
    gap: Floats
    """Of `weights`, what the allocator's blocks hold beyond the tensors."""
    copy: Floats
    """Of `weights`, a second output head."""
    padding: Floats
    """Of `weights`, what kernels pad the experts by."""
    tables: Floats
    """Of `weights`, the rotary tables of a serving engine."""
    experts_away: Floats
    """Bytes of routed experts of the layers here that lie in host memory instead."""
    offloaded_host: Floats
    offloaded_disk: Floats
    library: Floats
    """cuBLAS workspace."""
    streamed: Floats
    """Two layers, where offloaded ones pass through."""
    context: Floats

    @property
    def workspace(self) -> Floats:
        result: Floats = self.library + self.streamed
        return result


def fixed_bytes(job: InferJob, ways: InferWays, hw: Hardware) -> Fixed:
    """Weights after offload with their blocks, the buffer that streams offloaded layers, workspace and context."""
    split = weight_split(job.model, job.weights)
    even = job.engine.name in EVEN_STAGES
    tp, pp = ways.tensor_parallel, ways.pipeline_parallel
    expert_group = np.maximum(ways.expert_parallel, tp)
    share = stage_part(job, ways)
    on_gpu = 1.0 - ways.weights_cpu - ways.weights_disk
    layers = split.layers_per_gpu(tp, expert_group) * share
    if even:
        table = np.where(listed(job, "whole_embedding_families"), 1, tp)
        ends = split.embedding / (table * pp) + split.head / (tp * pp) + split.outer / pp
    else:
        ends = split.fullest_stage(tp, expert_group, np.zeros(1), pp == 1)
    copy = head_copy_bytes(job.model, job.weights) * bool(job.engine.options.get("load_tied_head_in_fp8")) / tp
    experts_away = split.expert / expert_group * share * on_gpu * ways.experts_cpu
    gap = gap_bytes(job, ways, share * on_gpu)
    padding = expert_padding_bytes(job, split, ways, hw) * share * on_gpu
    tables = np.full(1, rotary_table_bytes(job))
    streamed = np.where(on_gpu < 1.0, layers / np.maximum(job.model.num_layers * share, 1.0) * 2, 0.0)
    gpus = np.minimum(ways.gpus, hw.node_gpus)
    return Fixed(
        split=split,
        weights=layers * on_gpu - experts_away + ends + copy + gap + tables + padding,
        gap=gap,
        copy=copy,
        padding=padding,
        tables=tables,
        experts_away=experts_away,
        offloaded_host=(layers * ways.weights_cpu + experts_away) * gpus,
        offloaded_disk=layers * ways.weights_disk * gpus,
        library=library_workspace_bytes(hw),
        streamed=streamed,
        context=context_bytes(hw, ways.gpus),
    )


def stage_part(job: InferJob, ways: InferWays) -> Floats:
    """Share of the layers on the stage that holds most."""
    if job.engine.name in EVEN_STAGES:
        return 1.0 / ways.pipeline_parallel.astype(np.float64)
    return stage_share(job.model.num_layers, ways.pipeline_parallel)


def gap_bytes(job: InferJob, ways: InferWays, layers_here: Floats) -> Floats:
    """What the blocks of the weights hold beyond the tensors, by how the engine allocates them.

    `tensors`: one by one as the files list them; `fused`: as fused matrices; `pool`: out of one large block (recent
    Transformers reserve the whole size first) or one buffer, where nothing is left over.
    """
    kind = job.engine.options.get("weights_allocation")
    if kind not in ("tensors", "fused"):
        return np.zeros(1)
    tp = ways.tensor_parallel
    expert_group = np.maximum(ways.expert_parallel, tp)
    layers = layer_gap_bytes(job.model, job.weights, tp, expert_group, fused=kind == "fused")
    outer = outer_gap_bytes(job.model, job.weights, tp)
    result: Floats = layers * layers_here + outer / ways.pipeline_parallel
    return result


def expert_padding_bytes(job: InferJob, split: Split, ways: InferWays, hw: Hardware) -> Floats:
    """Bytes by which the kernels of MXFP4 experts pad them, all layers on one rank.

    The width that experts read and their inner width on one rank are rounded up to what the kernel of the architecture
    works in. gpt-oss-120b is 60.8 GiB in its files and loads as 64.4 GiB on Hopper and 66.0 on others.
    """
    if not job.engine.flag("pads_mxfp4_experts") or job.weights.id != "mxfp4":
        return np.zeros(1)
    moe = next((b.moe for b in job.model.blocks if b.moe is not None), None)
    if moe is None:
        return np.zeros(1)
    facts, ranks = runtime_facts(), np.maximum(ways.tensor_parallel, ways.expert_parallel)
    inner = moe.intermediate_size / ways.tensor_parallel
    wide = rounded_up(np.full(1, float(moe.input_size)), per_arch(hw.arch, facts.mxfp4_hidden_multiple.of))
    tall = rounded_up(inner, per_arch(hw.arch, facts.mxfp4_inner_multiple.of))
    result: Floats = split.expert / ranks * (wide * tall / (moe.input_size * inner) - 1.0)
    return result


def rounded_up(sizes: Floats, multiple: Floats) -> Floats:
    """The next multiple at or above each size."""
    result: Floats = np.ceil(sizes / multiple) * multiple
    return result


def rotary_table_bytes(job: InferJob) -> float:
    """Cosines and sines of every position up to the model's longest context, once for all layers (serving engines)."""
    if not job.engine.flag("rotary_table") or job.model.max_context is None:
        return 0.0
    if any(t.role == "position" for t in job.model.outer) and job.model.task != "vision-language":
        return 0.0
    attentions = [b.attention for b in job.model.stack("decoder") if b.attention is not None]
    width = max((a.rope_dim or a.head_dim for a in attentions), default=0)
    return float(job.model.max_context * width * TABLE_BYTES)


def expanded_bytes(job: InferJob) -> float:
    """A 16-bit copy of the largest quantised matrix, where a big batch expands it before the product.

    AutoAWQ expands from 1,024 tokens on; ExLlama keeps the buffer; bitsandbytes expands for more than one token.
    """
    if job.weights.bits >= 16 or not job.weights.weight_only or job.engine.name == "llamacpp":
        return 0.0
    if has_budget(job) or job.weights.expands == "never":
        return 0.0
    return float(largest_matrix_params(job.model) * DEQUANT_BYTES)


def tied_head_file_bytes(job: InferJob) -> float:
    """A second copy of a tied head that the files hold: loaded, then dropped. Measured on Qwen2.5-0.5B, 1.5B and 3B in
    AWQ: 260, 445 and 594 MiB over the peak of a short run, to 5 MiB."""
    if not (job.model.tied_embeddings and job.model.has_head and job.weights.stores_tied_head):
        return 0.0
    rows = next((t for t in job.model.outer if t.role == "embedding"), None)
    return 0.0 if rows is None else rows.num_params * job.weights.unquantised_bits / BITS_PER_BYTE


def rank_batch(ways: InferWays) -> Floats:
    """Sequences of one data-parallel rank."""
    result: Floats = np.ceil(ways.batch / ways.data_parallel)
    return result


def cache_per_sequence(job: InferJob, cache: CacheShape, ways: InferWays, tokens: float) -> Floats:
    """Bytes of one sequence on one GPU of the fullest stage."""
    whole = job.engine.flag("attention_data_parallel") or listed(job, "whole_attention_families")
    ranks = np.where(whole, 1, ways.tensor_parallel)
    per_rank = cache.bytes_per_sequence(np.array([float(tokens)]), ranks)
    over_ranks = np.where(job.engine.flag("attention_data_parallel"), ways.tensor_parallel, 1)
    here = stage_part(job, ways) / ways.context_parallel / over_ranks * (1.0 - ways.kv_cpu)
    result: Floats = per_rank * here
    return result


def mean_cache_per_sequence(job: InferJob, cache: CacheShape, ways: InferWays) -> Floats:
    """Bytes of the average sequence of a full batch at its last token, on one GPU of the fullest stage."""
    zero: Floats = np.zeros(1)
    return sum((share * cache_per_sequence(job, cache, ways, n) for n, share in lengths_in_batch(job)), zero)


def host_cache(job: InferJob, cache: CacheShape, ways: InferWays, sequences: Floats, length: int) -> Floats:
    """KV cache kept in host memory, whole replica."""
    whole = cache.bytes_per_sequence(np.array([float(length)]), np.ones(1, dtype=np.int64))
    result: Floats = sequences * whole * ways.kv_cpu * ways.data_parallel
    return result
