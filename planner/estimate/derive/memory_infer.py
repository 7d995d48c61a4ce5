"""Memory of inference, part by part, as `memory/infer.py` composes it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from planner.estimate.derive.memory_host import infer_host_steps
from planner.estimate.derive.memory_infer_budget import budget_steps
from planner.estimate.derive.memory_infer_buffers import buffer_steps
from planner.estimate.derive.memory_infer_growing import growing_steps
from planner.estimate.derive.memory_shared import context, parameters, totals
from planner.estimate.derive.steps import bytes_text, exact, over, part, product, scalar, step, total
from planner.estimate.document import DerivationStep, MemoryDocument
from planner.estimate.memory.budget import graphs_of
from planner.estimate.memory.buffers import cells_shape, context_cells, host_table_bytes
from planner.estimate.memory.convention import listed
from planner.estimate.memory.fixed import (
    EVEN_STAGES,
    cache_per_sequence,
    fixed_bytes,
    has_budget,
    mean_cache_per_sequence,
    stage_part,
)
from planner.estimate.memory.infer import planned_lengths
from planner.estimate.memory.kv_cache import CacheShape, cache_shape, cross_tokens, full_length, lengths_in_batch
from planner.estimate.types import Hardware, InferJob, InferWays
from planner.units import BITS_PER_BYTE


def infer_memory_steps(
    job: InferJob, ways: InferWays, hw: Hardware, memory: MemoryDocument
) -> Iterator[DerivationStep]:
    """Every part of the peak on the fullest GPU."""
    job = planned_lengths(job)
    yield parameters(job.model)
    yield weights(job, ways, hw, memory)
    yield from cache_steps(job, ways)
    graphs = 0.0
    if job.engine.name == "llamacpp":
        yield from buffer_steps(job, ways, memory)
    elif has_budget(job):
        graphs = 0.0 if job.engine.flag("enforce_eager") else scalar(graphs_of(job, ways))
        yield from budget_steps(job, ways, hw, memory)
    else:
        yield from growing_steps(job, ways, hw, memory)
    yield context(memory, hw, int(ways.gpus[0]), graphs)
    yield from totals(memory, hw)
    yield from infer_host_steps(job, ways, hw, memory)


def weights(job: InferJob, ways: InferWays, hw: Hardware, memory: MemoryDocument) -> DerivationStep:
    """Stored bytes of the model by how they are dealt over GPUs."""
    fixed = fixed_bytes(job, ways, hw)
    s = fixed.split
    tp, pp = scalar(ways.tensor_parallel), scalar(ways.pipeline_parallel)
    even = job.engine.name in EVEN_STAGES
    dealt = [(over(f"{exact(a)} [k and v]", min(tp, heads)), a) for heads, a in s.kv_groups]
    dealt += [(over(f"{exact(s.parallel)} [other matrices]", tp), s.parallel)]
    dealt += [(f"{exact(s.replicated)} [norms and copies]", s.replicated)]
    dealt += [(over(f"{exact(s.expert)} [experts]", max(tp, scalar(ways.expert_parallel))), s.expert)]
    layers = " + ".join(text for text, amount in dealt if amount)
    share = scalar(stage_part(job, ways))
    on_gpu = 1.0 - scalar(ways.weights_cpu) - scalar(ways.weights_disk)
    factor = "" if share * on_gpu == 1.0 else f" x {exact(share * on_gpu)} [of the layers]"
    host = host_table_bytes(job) / pp if job.engine.name == "llamacpp" else 0.0
    rest = (
        ("copy of the head", fixed.copy),
        ("padding of the experts", fixed.padding),
        ("unsplit ends of blocks", fixed.gap),
        ("rotary table", fixed.tables),
    )
    if even:
        ends = total(
            (
                ("token table", s.embedding / (pp if listed(job, "whole_embedding_families") else tp * pp)),
                ("head", s.head / (tp * pp)),
                ("outside layers", s.outer / pp),
            )
        )
    elif pp == 1:
        ends = total((("token table", s.embedding / tp), ("head", s.head / tp), ("outside layers", s.outer)))
    else:
        ends = f"max({exact(s.embedding / tp)}, {exact(s.head / tp + s.outer)}) [first or last stage]"
    extra = "".join(f" + {exact(value)} [{name}]" for name, value in rest if scalar(value))
    extra += f" - {exact(host)} [tables in host memory]" if host else ""
    away = scalar(fixed.experts_away)
    extra += f" - {exact(away)} [experts in host memory]" if away else ""
    return part(
        "weights",
        "bytes of the layers, dealt over tensor and pipeline parallel, + bytes outside them",
        f"({layers}){factor} + {ends}{extra}",
        memory.per_gpu_bytes["weights"],
        f"{job.weights.id}, {job.weights.bits:g} bits quantised and {job.weights.unquantised_bits:g} the rest: "
        f"{job.weights.source}",
    )


def cache_steps(job: InferJob, ways: InferWays) -> Iterator[DerivationStep]:
    """What one token and one whole sequence cache: the number of layers is in it."""
    if not job.output_tokens:
        return
    terms = []
    per_token = 0.0
    size = job.kv_bits / BITS_PER_BYTE
    for block in job.model.stack("decoder"):
        a = block.attention
        if a is None or not a.causal or not a.kv_values_per_token:
            continue
        values = a.kv_values_per_token
        what = f"2 x {block.num_layers} x {a.num_kv_heads} x {a.head_dim} [layers, KV heads, head_dim]"
        if values != 2 * a.num_kv_heads * a.head_dim:
            what = f"{block.num_layers} x {values} [layers, cached values: {a.kind}]"
        terms.append(f"{what} x {size:g}")
        per_token += block.num_layers * values * size
        if a.index_values_per_token:
            terms.append(f"{block.num_layers} x {a.index_values_per_token} [indexer]")
            per_token += block.num_layers * a.index_values_per_token
    if terms:
        yield step(
            "kv_bytes_per_token",
            "2 (key and value) x layers x KV heads x head_dim x bytes of a value",
            " + ".join(terms),
            f"{exact(per_token)} bytes a token",
            "one key and one value vector per layer, KV head and token",
        )
    cache = cells_shape(job) if job.engine.name == "llamacpp" else cache_shape(job)
    if cache.cross_bytes:
        yield cross_step(job, cache)
    if job.traffic:
        yield mix_step(job, ways, cache)
    else:
        yield sequence_step(job, ways, cache, context_cells(job) if job.engine.name == "llamacpp" else full_length(job))


def mix_step(job: InferJob, ways: InferWays, cache: CacheShape) -> DerivationStep:
    """Bytes of the average sequence of a full batch."""
    kinds = [
        (f"{share:.3g} of the batch, {tokens:,} tokens", share * scalar(cache_per_sequence(job, cache, ways, tokens)))
        for tokens, share in lengths_in_batch(job)
    ]
    return step(
        "kv_bytes_per_sequence",
        "share of the batch (requests x tokens made) x bytes of a whole sequence on this GPU, added up over the mix",
        total(kinds),
        bytes_text(mean_cache_per_sequence(job, cache, ways)),
        "Little's law: a long answer stays longer; the pool must hold the longest request too",
    )


def cross_step(job: InferJob, cache: CacheShape) -> DerivationStep:
    """Keys and values of what the encoder saw: made once a request, whatever is written."""
    seen, size = cross_tokens(job), job.kv_bits / BITS_PER_BYTE
    crossed = [b for b in job.model.stack("decoder") if b.cross_attention is not None]
    terms = [
        f"{b.num_layers} x {b.cross_attention.kv_values_per_token} x {seen} x {size:g} [layers, values, tokens seen]"
        for b in crossed
        if b.cross_attention is not None
    ]
    return step(
        "kv_bytes_cross_attention",
        "layers with cross-attention x cached values of a token x tokens of the encoder x bytes of a value",
        " + ".join(terms),
        bytes_text(cache.cross_bytes),
        "keys and values of the encoder's output are kept for the whole answer, one sequence, undivided",
    )


def sequence_step(job: InferJob, ways: InferWays, cache: CacheShape, tokens: int) -> DerivationStep:
    """Bytes of one sequence on one GPU: windows cut, pages filled, heads dealt out whole."""
    ranks = 1.0 if job.engine.flag("attention_data_parallel") else scalar(ways.tensor_parallel)
    pages = int(np.ceil(tokens / cache.block_tokens) * cache.block_tokens)
    terms = []
    for line in cache.lines:
        kept = pages if line.window is None else min(pages, line.window)
        terms.append(over(product(line.bytes_per_token, kept), min(ranks, line.max_split)))
    if cache.state_bytes + cache.cross_bytes:
        terms.append(over(f"{exact(cache.state_bytes + cache.cross_bytes)} [state, cross attention]", ranks))
    whole = scalar(cache.bytes_per_sequence(np.array([float(tokens)]), np.array([int(ranks)])))
    here = scalar(cache_per_sequence(job, cache, ways, tokens))
    factor = "" if here == whole else f" x {exact(here / whole if whole else 0.0)} [share of this GPU]"
    return step(
        "kv_bytes_per_sequence",
        f"bytes a token x tokens kept ({tokens:,} in pages of {cache.block_tokens}), all layers of this GPU",
        f"({' + '.join(terms) or '0'}){factor}",
        bytes_text(here),
        "heads are dealt out whole; one layer alone holds 1/layers of it",
    )
