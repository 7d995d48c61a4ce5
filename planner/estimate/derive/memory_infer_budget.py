"""Memory of engines with a budget, part by part, as `memory/budget.py` composes it."""

from __future__ import annotations

from collections.abc import Iterator

from planner.estimate.derive.memory_infer_growing import working_set
from planner.estimate.derive.steps import exact, part, product, scalar, step, total
from planner.estimate.document import DerivationStep, MemoryDocument
from planner.estimate.memory.budget import (
    Budget,
    batched_tokens,
    budget_of,
    most_sequences,
    pool_bytes_per_token,
)
from planner.estimate.memory.fixed import Fixed, cache_per_sequence, fixed_bytes, mean_cache_per_sequence, rank_batch
from planner.estimate.memory.kv_cache import cache_shape, full_length, longest_request
from planner.estimate.memory.working_set import compute_bytes
from planner.estimate.types import Hardware, InferJob, InferWays


def budget_steps(job: InferJob, ways: InferWays, hw: Hardware, memory: MemoryDocument) -> Iterator[DerivationStep]:
    """Engines that take a share of the GPU: a profile run, then everything left becomes the pool."""
    fixed = fixed_bytes(job, ways, hw)
    budget = budget_of(job, ways, hw, fixed)
    parts = memory.per_gpu_bytes
    tokens = scalar(batched_tokens(job, hw))
    options = [working_set(job, ways, tokens, scalar(budget.forward))]
    if scalar(budget.sampler):
        rows = min(scalar(most_sequences(job, hw)), tokens)
        logits = product(rows, job.model.vocab_size, job.engine.number("sampler_bytes_per_logit"))
        hidden = product(tokens, job.model.hidden_size, compute_bytes(job))
        options.append(f"{logits} [sampler's dummy run] + {hidden} [hidden states]")
    yield part(
        "activations",
        "largest of the widest step (max_num_batched_tokens) and the sampler's profile run",
        options[0] if len(options) == 1 else f"max({', '.join(options)})",
        parts["activations"],
        "vLLM profile runs: 2.07 and 2.99 GiB (widest step), 1.26 GiB (sampler)",
    )
    yield part(
        "workspace",
        "cuBLAS workspace + two offloaded layers",
        total((("cuBLAS", fixed.library), ("streamed layers", fixed.streamed))),
        parts["workspace"],
        "catalogs/runtime.yaml",
    )
    yield from pool_steps(job, ways, memory, fixed, budget)


def pool_formula(job: InferJob, memory: MemoryDocument, fixed: Fixed, budget: Budget) -> tuple[str, str]:
    """What the engine calls its budget, and the numbers."""
    usable, parts = memory.usable_bytes, memory.per_gpu_bytes
    spent = [(k, float(parts[k])) for k in ("weights", "activations", "workspace")]
    share = job.engine.optional_number("gpu_memory_utilization")
    static = job.engine.optional_number("mem_fraction_static")
    if share is not None:
        beside = (
            ("context", fixed.context) if job.engine.flag("context_in_budget") else ("outside torch", budget.outside)
        )
        graphs = ("graphs", scalar(budget.graphs) * job.engine.flag("cuda_graphs_in_budget"))
        numbers = f"{share:g} x {usable:,} - ({total([*spent, beside, graphs])})"
        return "gpu_memory_utilization x usable - the rest", numbers
    if static is not None:
        numbers = f"{static:g} x {exact(budget.before_loading)} [free after start] - {parts['weights']:,}"
        return "mem_fraction_static x free before loading - weights", numbers
    free = job.engine.number("kv_cache_free_gpu_memory_fraction")
    rest = total([*spent, ("context", fixed.context), ("graphs", budget.graphs)])
    return "kv_cache_free_gpu_memory_fraction x what is free", f"{free:g} x ({usable:,} - ({rest}))"


def pool_steps(
    job: InferJob, ways: InferWays, memory: MemoryDocument, fixed: Fixed, budget: Budget
) -> Iterator[DerivationStep]:
    """The pool, the tokens and the sequences it holds."""
    cache = cache_shape(job)
    if not cache.holds_anything:
        return
    parts = memory.per_gpu_bytes
    formula, numbers = pool_formula(job, memory, fixed, budget)
    spent = total(
        [
            *((k, float(parts[k])) for k in ("weights", "activations", "workspace")),
            ("context", fixed.context),
            ("graphs", budget.graphs),
        ]
    )
    ceiling = f"{exact(1.0 - job.memory_headroom)} x {memory.usable_bytes:,} [headroom] - ({spent})"
    seq = scalar(mean_cache_per_sequence(job, cache, ways))
    longest = scalar(cache_per_sequence(job, cache, ways, full_length(longest_request(job))))
    room = "the longest sequence" if job.traffic else "one sequence"
    yield part(
        "kv_cache",
        f"the pool: {formula}, never beyond the headroom, room for {room} at least",
        f"max({exact(longest * min(scalar(rank_batch(ways)), 1.0))}, min({numbers}, {ceiling}))",
        parts["kv_cache"],
        f"{job.engine.name}: sources and start-up logs; the pool is filled with pages whatever the batch",
    )
    if seq and memory.max_batch:
        yield step(
            "memory.max_batch",
            "floor(pool / bytes of a whole sequence) x data parallel",
            f"floor({parts['kv_cache']:,} / {exact(seq)}) x {exact(ways.data_parallel)}",
            exact(memory.max_batch),
            "a sequence is held to its last token",
        )
    each = scalar(pool_bytes_per_token(job, cache, ways))
    if seq and memory.kv_cache_tokens:
        yield step(
            "memory.kv_cache_tokens",
            "floor(pool / bytes a token / page) x page",
            f"floor({parts['kv_cache']:,} / {exact(each)} / {cache.block_tokens}) x {cache.block_tokens}",
            exact(memory.kv_cache_tokens),
            "tokens are allocated in pages",
        )
