"""Memory of inference, part by part, as `memory/infer.py` composes it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from planner.estimate.derive.memory_host import infer_host_steps
from planner.estimate.derive.memory_shared import context, fragmentation, parameters, totals
from planner.estimate.derive.steps import bytes_text, exact, over, part, product, scalar, step, total
from planner.estimate.document import DerivationStep, MemoryDocument
from planner.estimate.memory.device import SEGMENT_BYTES, STABLE_FRAGMENTATION, library_workspace_bytes
from planner.estimate.memory.infer import (
    activations_of,
    batched_tokens,
    cache_per_sequence,
    dequant_bytes,
    fixed_bytes,
    graphs_of,
    has_budget,
    logits_of,
    logits_rows,
    most_sequences,
    rank_batch,
    rotary_cache_bytes,
)
from planner.estimate.memory.kv_cache import CacheShape, cache_shape, cross_tokens, full_length
from planner.estimate.memory.weights import head_copy_bytes, stage_share, weight_split
from planner.estimate.memory.working_set import (
    ALL_LOGITS_BYTES,
    SAMPLER_BYTES_PER_LOGIT,
    compute_bytes,
    forward_bytes,
    vision_bytes,
)
from planner.estimate.types import Floats, Hardware, InferJob, InferWays
from planner.units import BITS_PER_BYTE

KV_SOURCE = "Vaswani et al. 2017; Pope et al. 2022 (arXiv 2211.05102)"
EVEN = ("transformers", "llamacpp", "exllama")
ONE = np.ones(1)


def infer_memory_steps(
    job: InferJob, ways: InferWays, hw: Hardware, memory: MemoryDocument
) -> Iterator[DerivationStep]:
    """Every part of the peak on the fullest GPU."""
    yield parameters(job.model)
    yield weights(job, ways, memory)
    yield from cache_steps(job, ways)
    graphs = 0.0
    if job.engine.name == "llamacpp":
        yield from buffer_steps(job, ways, memory)
    elif has_budget(job):
        graphs = 0.0 if job.engine.flag("enforce_eager") else scalar(graphs_of(job, ways))
        yield from budget_steps(job, ways, hw, memory, graphs)
    else:
        yield from growing_steps(job, ways, hw, memory)
        yield from fragmentation(memory, memory.allocated_peak_bytes - memory.per_gpu_bytes["weights"])
    yield context(memory, hw, int(ways.gpus[0]), graphs)
    yield from totals(memory, hw)
    yield from infer_host_steps(job, ways, hw, memory)


def weights(job: InferJob, ways: InferWays, memory: MemoryDocument) -> DerivationStep:
    """Stored bytes of the model by how they are dealt over GPUs."""
    s = weight_split(job.model, job.weights)
    tp, pp = scalar(ways.tensor_parallel), scalar(ways.pipeline_parallel)
    even = job.engine.name in EVEN
    dealt = [(over(f"{exact(a)} [k and v]", min(tp, heads)), a) for heads, a in s.kv_groups]
    dealt += [(over(f"{exact(s.parallel)} [other matrices]", tp), s.parallel)]
    dealt += [(f"{exact(s.replicated)} [norms and copies]", s.replicated)]
    dealt += [(over(f"{exact(s.expert)} [experts]", max(tp, scalar(ways.expert_parallel))), s.expert)]
    layers = " + ".join(text for text, amount in dealt if amount)
    share = 1.0 / pp if even else scalar(stage_share(job.model.num_layers, ways.pipeline_parallel))
    on_gpu = 1.0 - scalar(ways.weights_cpu) - scalar(ways.weights_disk)
    factor = "" if share * on_gpu == 1.0 else f" x {exact(share * on_gpu)} [of the layers]"
    table = s.embedding if job.engine.name == "llamacpp" and not job.model.tied_embeddings else 0.0
    copy = head_copy_bytes(job.model, job.weights) * bool(job.engine.options.get("load_tied_head_in_fp8")) / tp
    if even:
        ends = total(
            (
                ("token table", (s.embedding / tp - table) / pp),
                ("head", s.head / (tp * pp)),
                ("outside layers", s.outer / pp),
            )
        )
    elif pp == 1:
        ends = total((("token table", s.embedding / tp), ("head", s.head / tp), ("outside layers", s.outer)))
    else:
        ends = f"max({exact(s.embedding / tp)}, {exact(s.head / tp + s.outer)}) [first or last stage]"
    extra = f" + {exact(copy)} [copy of the head]" if copy else ""
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
    cache = cache_shape(job)
    if cache.cross_bytes:
        yield cross_step(job, cache)
    yield sequence_step(job, ways, cache, cached_length(job))


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


def cached_length(job: InferJob) -> int:
    """Tokens of one sequence when its last one is made; llama.cpp lays out its whole context."""
    if job.engine.name != "llamacpp":
        return full_length(job)
    asked = job.engine.optional_number("max_model_len") or float(job.total_tokens)
    return int(np.ceil(asked / 256) * 256)


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


def growing_steps(job: InferJob, ways: InferWays, hw: Hardware, memory: MemoryDocument) -> Iterator[DerivationStep]:
    """Engines that allocate as they go: what the binding phase holds."""
    parts, cache = memory.per_gpu_bytes, cache_shape(job)
    n, decode = scalar(rank_batch(ways)), memory.phase == "decode"
    static = job.engine.options.get("kv_layout") == "static"
    length = full_length(job)
    seq = scalar(cache_per_sequence(job, cache, ways, length)) * (job.output_tokens > 0)
    prompt = length if static or job.model.task in ("seq2seq", "speech") else job.input_tokens
    at_prompt = scalar(cache_per_sequence(job, cache, ways, prompt)) * (job.output_tokens > 0)
    if parts["kv_cache"]:
        yield part(
            "kv_cache",
            f"batch x bytes of a sequence of {length if decode else prompt:,} tokens ({memory.phase} binds)",
            f"{exact(n)} x {exact(seq if decode else at_prompt)}",
            parts["kv_cache"],
            KV_SOURCE,
        )
    layers = max(job.model.num_layers / scalar(ways.pipeline_parallel), 1.0)
    unit = scalar(activations_of(job, ways, ONE))
    if decode:
        formula, numbers = "batch x a second copy of one layer's cache while it grows", f"{exact(n)} x {exact(seq)}"
        numbers = f"{numbers} / {exact(layers)}"
    else:
        formula = "batch x working set of the prefill of one sequence"
        numbers = f"{exact(n)} x {working_set(job, ways, job.input_tokens / scalar(ways.context_parallel), unit)}"
    if parts["activations"]:
        yield part(
            "activations",
            formula,
            numbers,
            parts["activations"],
            "Qwen2.5 speed tables: n x (3 x intermediate + 4 x hidden) x 2 bytes, median error 0.3 %",
        )
    if parts["logits"]:
        rows = 1 if decode or job.engine.options.get("logits") != "all" else job.input_tokens
        yield part(
            "logits",
            "batch x positions x vocabulary x bytes a logit / tensor parallel",
            over(product(n, rows, job.model.vocab_size, ALL_LOGITS_BYTES), ways.tensor_parallel),
            parts["logits"],
            "16-bit logits and their 32-bit copy",
        )
    fixed = fixed_bytes(job, ways, hw)
    rotary = rotary_cache_bytes(job) / scalar(ways.pipeline_parallel)
    yield workspace(job, ways, hw, memory, rotary)
    growth = max(
        at_prompt + unit + scalar(logits_of(job, ways, ONE)),
        seq + (0.0 if static else seq / layers) + scalar(logits_rows(job, ways, ONE)),
    )
    yield step(
        "memory.max_batch",
        "floor((usable x (1 - headroom) - weights - workspace - context - segment) / bytes a sequence) x data parallel",
        f"max(0, floor(({memory.usable_bytes:,} x {exact(1.0 - job.memory_headroom)} - {exact(fixed.weights)} - "
        f"{exact(fixed.workspace + rotary)} - "
        f"{exact(fixed.context)} - {SEGMENT_BYTES:,}) / ({exact(growth)} x {1 + STABLE_FRAGMENTATION:g}))) x "
        f"{exact(ways.data_parallel)}",
        exact(memory.max_batch),
        "the larger of prefill and last decode step, with the allocator's reserve",
    )


def working_set(job: InferJob, ways: InferWays, tokens: float, whole: float) -> str:
    """Tokens x live values x bytes, and what eager attention or a vision tower adds."""
    text = scalar(forward_bytes(job, tokens=np.array([tokens]), sequences=ONE, tensor_parallel=ways.tensor_parallel))
    if job.attention == "eager" or text < whole or not tokens:
        return f"{exact(whole)} [scores or image tower included]"
    width = text / tokens / compute_bytes(job)
    return f"{product(tokens, width, compute_bytes(job))} [tokens, live values, bytes]"


def workspace(
    job: InferJob, ways: InferWays, hw: Hardware, memory: MemoryDocument, rotary: float = 0.0
) -> DerivationStep:
    """Library workspace, expanded matrices, buffers of offloaded layers."""
    held = scalar(fixed_bytes(job, ways, hw).workspace)
    library = scalar(library_workspace_bytes(hw))
    expanded = dequant_bytes(job) / scalar(ways.tensor_parallel)
    return part(
        "workspace",
        "cuBLAS workspace + 16-bit copy of the largest quantised matrix + two offloaded layers + rotary tables",
        total(
            (
                ("cuBLAS", library),
                ("expanded matrix", expanded),
                ("streamed layers", held - library - expanded if held - library - expanded > 0.5 else 0.0),
                ("rotary tables", rotary),
            )
        ),
        memory.per_gpu_bytes["workspace"],
        "catalogs/runtime.yaml; Qwen speed tables (97 to 250 MiB for AWQ and GPTQ)",
    )


def budget_steps(
    job: InferJob, ways: InferWays, hw: Hardware, memory: MemoryDocument, graphs: float
) -> Iterator[DerivationStep]:
    """Engines that take a share of the GPU: a profile run, then everything left becomes the pool."""
    parts = memory.per_gpu_bytes
    tokens = scalar(batched_tokens(job, hw))
    peak = forward_bytes(job, tokens=np.array([tokens]), sequences=ONE, tensor_parallel=ways.tensor_parallel)
    forward = max(scalar(peak), vision_bytes(job))
    options = [working_set(job, ways, tokens, forward)]
    if job.engine.options.get("sampler_profile") and job.model.has_head:
        cap = scalar(most_sequences(job, hw))
        options.append(f"{product(cap, job.model.vocab_size, SAMPLER_BYTES_PER_LOGIT)} [sampler's dummy run]")
    yield part(
        "activations",
        "largest of the widest step (max_num_batched_tokens) and the sampler's profile run",
        options[0] if len(options) == 1 else f"max({', '.join(options)})",
        parts["activations"],
        "vLLM profile runs: 2.07 and 2.99 GiB exact",
    )
    yield workspace(job, ways, hw, memory)
    yield from pool_steps(job, ways, memory, graphs)


def pool_steps(job: InferJob, ways: InferWays, memory: MemoryDocument, graphs: float) -> Iterator[DerivationStep]:
    """The pool, the tokens and the sequences it holds."""
    if not cache_shape(job).holds_anything:
        return
    parts, usable = memory.per_gpu_bytes, memory.usable_bytes
    named = [(k, float(parts[k])) for k in ("weights", "activations", "workspace")]
    named += [("context", parts["context"] - graphs)]
    inside = graphs if job.engine.flag("cuda_graphs_in_budget") else 0.0
    share = job.engine.optional_number("gpu_memory_utilization")
    static = job.engine.optional_number("mem_fraction_static")
    free = job.engine.optional_number("kv_cache_free_gpu_memory_fraction")
    if share is not None:
        spent = total([*named, ("graphs", inside)])
        formula, numbers = "gpu_memory_utilization x usable - the rest", f"{share:g} x {usable:,} - ({spent})"
    elif static is not None:
        formula, numbers = "mem_fraction_static x usable - weights", f"{static:g} x {usable:,} - {parts['weights']:,}"
    else:
        spent = total([*named, ("graphs", graphs)])
        formula = "kv_cache_free_gpu_memory_fraction x what is free"
        numbers = f"{free or 0.0:g} x ({usable:,} - ({spent}))"
    spent = total([*named, ("graphs", graphs)])
    ceiling = f"{exact(1.0 - job.memory_headroom)} x {usable:,} [headroom] - ({spent})"
    seq = scalar(cache_per_sequence(job, cache_shape(job), ways, full_length(job)))
    yield part(
        "kv_cache",
        f"the pool: {formula}, never beyond the headroom, room for one sequence at least",
        f"max({exact(seq * min(scalar(rank_batch(ways)), 1.0))}, min({numbers}, {ceiling}))",
        parts["kv_cache"],
        f"{job.engine.name}: start-up logs; the pool is filled with pages whatever the batch",
    )
    if not seq:
        return
    if memory.max_batch:
        yield step(
            "memory.max_batch",
            "floor(pool / bytes of a whole sequence) x data parallel",
            f"floor({parts['kv_cache']:,} / {exact(seq)}) x {exact(ways.data_parallel)}",
            exact(memory.max_batch),
            "a sequence is held to its last token",
        )
    page = cache_shape(job).block_tokens
    if memory.kv_cache_tokens:
        yield step(
            "memory.kv_cache_tokens",
            "floor(pool / bytes a token / page) x page",
            f"floor({parts['kv_cache']:,} / ({exact(seq)} / {full_length(job):,}) / {page}) x {page}",
            exact(memory.kv_cache_tokens),
            "tokens are allocated in pages",
        )


def buffer_steps(job: InferJob, ways: InferWays, memory: MemoryDocument) -> Iterator[DerivationStep]:
    """llama.cpp lays everything out at start."""
    parts, length = memory.per_gpu_bytes, cached_length(job)
    n: Floats = rank_batch(ways)
    seq = scalar(cache_per_sequence(job, cache_shape(job), ways, length))
    ubatch = min(job.engine.number("ubatch"), float(length))
    hidden = job.model.hidden_size
    head = f"({job.model.vocab_size} + {hidden}) x {exact(ubatch)} x 4"
    scores = ""
    if job.attention == "eager":
        heads = max((b.attention.num_heads for b in job.model.blocks if b.attention is not None), default=0)
        scores = f"{length} x {exact(ubatch)} x {heads} x 4 + 5 x {hidden} x {exact(ubatch)} x 4"
    yield part(
        "kv_cache", "slots x bytes of a full context", f"{exact(n)} x {exact(seq)}", parts["kv_cache"], KV_SOURCE
    )
    yield part(
        "workspace",
        "compute buffer: (vocabulary + hidden) x micro-batch x 4, or the scores without flash attention",
        f"max({head}, {scores})" if scores else head,
        parts["workspace"],
        "llama.cpp logs: 258.50, 254.50, 105.00 MiB exact",
    )
    if seq:
        yield step(
            "memory.max_batch",
            "floor((usable x (1 - headroom) - weights - compute buffer - context) / bytes of a slot) x data parallel",
            f"max(0, floor(({memory.usable_bytes:,} x {exact(1.0 - job.memory_headroom)} - {parts['weights']:,} - "
            f"{parts['workspace']:,} - {parts['context']:,}) / {exact(seq)})) x {exact(ways.data_parallel)}",
            exact(memory.max_batch),
            "slots are laid out at start",
        )
