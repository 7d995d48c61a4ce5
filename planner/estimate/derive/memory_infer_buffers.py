"""llama.cpp's buffers, as `memory/buffers.py` lays them out."""

from __future__ import annotations

from collections.abc import Iterator

from planner.estimate.derive.steps import exact, part, scalar, step
from planner.estimate.document import DerivationStep, MemoryDocument
from planner.estimate.memory.buffers import (
    FLASH_MASK_BYTES,
    HIDDEN_WITH_FLASH,
    HIDDEN_WITH_SCORES,
    VALUE_BYTES,
    cells_shape,
    context_cells,
    micro_batch,
    split_inputs,
)
from planner.estimate.memory.fixed import cache_per_sequence, rank_batch
from planner.estimate.types import InferJob, InferWays


def buffer_steps(job: InferJob, ways: InferWays, memory: MemoryDocument) -> Iterator[DerivationStep]:
    """Cache and compute buffer, and the slots that fit."""
    parts, cells = memory.per_gpu_bytes, context_cells(job)
    n = rank_batch(ways)
    seq = scalar(cache_per_sequence(job, cells_shape(job), ways, float(cells)))
    hidden, ubatch = job.model.hidden_size, exact(micro_batch(job))
    heads = max((b.attention.num_heads for b in job.model.blocks if b.attention is not None), default=0)
    if job.attention == "eager":
        scores = f"{cells} x {ubatch} x ({heads} + 1) x {VALUE_BYTES} + {HIDDEN_WITH_SCORES}"
    else:
        scores = f"{cells} x {ubatch} x {FLASH_MASK_BYTES} + {HIDDEN_WITH_FLASH}"
    terms = [f"{scores} x {hidden} x {ubatch} x {VALUE_BYTES}"]
    if job.model.has_head:
        terms.append(f"({job.model.vocab_size} + {hidden}) x {ubatch} x {VALUE_BYTES}")
    compute = f"max({', '.join(terms)})" if len(terms) > 1 else terms[0]
    if scalar(ways.pipeline_parallel) > 1:
        compute += f" + {exact(split_inputs(job))} [copies of a device's inputs]"
    yield part(
        "kv_cache",
        "slots x bytes of a full context",
        f"{exact(n)} x {exact(seq)}",
        parts["kv_cache"],
        "llama.cpp logs: cells padded to 256, keys and values of every layer",
    )
    yield part(
        "workspace",
        "compute buffer: the larger of the output head's step and of one layer's attention",
        compute,
        parts["workspace"],
        "llama.cpp logs: 258.50 (head), 280.00, 1104.00 and 1160.00 (scores), 808.02 MiB (flash) exact",
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
