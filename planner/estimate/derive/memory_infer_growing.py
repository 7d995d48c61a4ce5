"""Memory of engines that allocate as they go, part by part, as `memory/growing.py` composes it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from planner.estimate.derive.steps import exact, over, part, product, scalar, step, total
from planner.estimate.document import DerivationStep, MemoryDocument
from planner.estimate.memory.device import (
    BLOCK_BYTES,
    SEGMENT_BYTES,
    STEADY_SHARE,
    fragmentation_share,
)
from planner.estimate.memory.fixed import Fixed, fixed_bytes, rank_batch
from planner.estimate.memory.growing import (
    Phase,
    expanded_beside,
    growing_tensors,
    keeps_cache,
    phases,
    prompt_tokens,
    resident_bytes,
    room_bytes,
    rotary_cache_bytes,
)
from planner.estimate.memory.working_set import compute_bytes, forward_bytes
from planner.estimate.types import Hardware, InferJob, InferWays

KV_SOURCE = "Vaswani et al. 2017; Pope et al. 2022 (arXiv 2211.05102)"
RESERVE = "reserved over peak allocated in public logs and in replays of the torch caching allocator; 20 MiB segments"
ONE = np.ones(1)


def growing_steps(job: InferJob, ways: InferWays, hw: Hardware, memory: MemoryDocument) -> Iterator[DerivationStep]:
    """What the binding phase holds, and the batch that the tightest one leaves room for."""
    parts, every = memory.per_gpu_bytes, phases(job, ways)
    n = scalar(rank_batch(ways))
    binding = max(every, key=lambda p: n * scalar(p.each) + scalar(p.once))
    if parts["kv_cache"]:
        yield part(
            "kv_cache",
            f"batch x bytes of one sequence's cache ({binding.name} binds)",
            f"{exact(n)} x {exact(binding.cache)}",
            parts["kv_cache"],
            KV_SOURCE,
        )
    if parts["activations"]:
        yield activations(job, ways, binding, n, parts["activations"])
    if parts["logits"]:
        rows = scalar(binding.logits) * scalar(ways.tensor_parallel) / max(1, job.model.vocab_size)
        yield part(
            "logits",
            "batch x vocabulary x bytes of its logits (positions x 6, 4 where only the 32-bit copy is kept)",
            over(product(n, job.model.vocab_size, rows), ways.tensor_parallel),
            parts["logits"],
            "16-bit logits and their 32-bit copy",
        )
    fixed = fixed_bytes(job, ways, hw)
    yield workspace(job, ways, fixed, binding, memory)
    yield largest_batch(job, ways, hw, fixed, every, memory)
    yield fragmentation(job, ways, memory)


def activations(job: InferJob, ways: InferWays, binding: Phase, n: float, held: float) -> DerivationStep:
    """The prompt's working set, or the tensor that exists twice while a cache grows."""
    if binding.name == "prefill":
        formula = "batch x working set of the prefill of one sequence"
        numbers = working_set(
            job, ways, prompt_tokens(job) / scalar(ways.context_parallel), scalar(binding.activations)
        )
    else:
        formula, numbers = "batch x a second copy of one key tensor while it grows", exact(binding.activations)
    return part(
        "activations",
        formula,
        f"{exact(n)} x {numbers}",
        held,
        "tokens x (3 x intermediate + 4 x hidden) x 2 bytes in gated models: model code run on meta tensors to 0.1 %",
    )


def working_set(job: InferJob, ways: InferWays, tokens: float, whole: float) -> str:
    """Tokens x live values x bytes, where it is as simple as that."""
    text = scalar(forward_bytes(job, tokens=np.array([tokens]), sequences=ONE, tensor_parallel=ways.tensor_parallel))
    if job.attention == "eager" or text < whole or not tokens:
        return f"{exact(whole)} [scores or image tower included]"
    width = text / tokens / compute_bytes(job)
    return f"{product(tokens, width, compute_bytes(job))} [tokens, live values, bytes]"


def workspace(job: InferJob, ways: InferWays, fixed: Fixed, binding: Phase, memory: MemoryDocument) -> DerivationStep:
    """Library workspace, expanded matrices, buffers of offloaded layers, what the phase holds whatever the batch."""
    rotary = rotary_cache_bytes(job) / scalar(ways.pipeline_parallel)
    expanded = scalar(expanded_beside(job, ways)) if binding.name == "prefill" else 0.0
    kept = scalar(resident_bytes(job, ways)) - rotary
    return part(
        "workspace",
        "cuBLAS workspace + 16-bit copy of the largest quantised matrix + two offloaded layers + rotary tables",
        total(
            (
                ("cuBLAS", fixed.library),
                ("streamed layers", fixed.streamed),
                ("expanded matrix", expanded + (kept if kept > 0.5 else 0.0)),
                ("rotary tables", rotary),
                (
                    "tied head in the files" if binding.name == "load" else "positions and mask",
                    scalar(binding.once) - expanded,
                ),
            )
        ),
        memory.per_gpu_bytes["workspace"],
        "catalogs/runtime.yaml; sources of AutoAWQ, ExLlama and Transformers",
    )


def largest_batch(
    job: InferJob, ways: InferWays, hw: Hardware, fixed: Fixed, every: tuple[Phase, ...], memory: MemoryDocument
) -> DerivationStep:
    """Room over what one sequence adds in the tightest phase."""
    grow = 1 + STEADY_SHARE
    room = scalar(room_bytes(job, ways, hw, fixed)) - scalar(resident_bytes(job, ways)) * grow
    tight = min(every, key=lambda p: (room - scalar(p.once) * grow) / max(scalar(p.each) * grow, 1.0))
    held = scalar(resident_bytes(job, ways)) + scalar(tight.once)
    return step(
        "memory.max_batch",
        "floor((usable x (1 - headroom) - weights - workspace - context - segment - a block a growing tensor) / "
        "bytes a sequence) x data parallel",
        f"min(65536, max(0, floor(({memory.usable_bytes:,} x {exact(1.0 - job.memory_headroom)} - "
        f"{exact(fixed.weights)} - {exact(fixed.context)} - {SEGMENT_BYTES:,} - "
        f"{exact(growing_tensors(job, ways))} x {BLOCK_BYTES:,} - "
        f"({exact(fixed.workspace)} + {exact(held)}) x {grow:g}) / max(1, {exact(tight.each)} x {grow:g})))) x "
        f"{exact(ways.data_parallel)}",
        exact(memory.max_batch),
        f"the tightest phase is {tight.name}; with the allocator's reserve",
    )


def fragmentation(job: InferJob, ways: InferWays, memory: MemoryDocument) -> DerivationStep:
    """Reserved above allocated: at least what no retry gives back, and no more than is free."""
    parts = memory.per_gpu_bytes
    moves = memory.allocated_peak_bytes - parts["weights"]
    share = fragmentation_share(cached=keeps_cache(job))
    tensors = scalar(growing_tensors(job, ways))
    steady = STEADY_SHARE * moves + SEGMENT_BYTES + BLOCK_BYTES * tensors
    wanted = share * moves + SEGMENT_BYTES
    room = memory.usable_bytes * (1.0 - job.memory_headroom) - parts["context"] - memory.allocated_peak_bytes
    if max(steady, min(wanted, room)) == steady:
        formula = "least share of what comes and goes + one part-filled segment + a block for every tensor that grows"
        numbers = f"{STEADY_SHARE:g} x {exact(moves)} + {SEGMENT_BYTES:,} + {exact(tensors)} x {BLOCK_BYTES:,}"
    elif wanted <= room:
        formula = "share of what comes and goes at the peak + one part-filled segment"
        numbers = f"{share:g} x {exact(moves)} + {SEGMENT_BYTES:,}"
    else:
        formula = "cached blocks fill what is free, in pieces of 2 MiB, until the allocator gives them back"
        usable = f"{memory.usable_bytes:,} x {exact(1.0 - job.memory_headroom)}"
        left = f"{usable} - {parts['context']:,} - {memory.allocated_peak_bytes:,}"
        numbers = f"floor(({left}) / {BLOCK_BYTES:,}) x {BLOCK_BYTES:,}"
    return part("fragmentation", formula, numbers, parts["fragmentation"], RESERVE)
