"""Logits and the loss: what stands from the head's output to the start of its backward, on the last stage alone."""

from __future__ import annotations

import numpy as np

from planner.estimate.memory.convention import FULL, HALF, convention
from planner.estimate.types import Floats, TrainJob, TrainWays

CHUNKS = 8
FUSED_LOSS_SHARE = 0.15
"""Fused linear cross-entropy works on a fraction of the rows at a time (Liger kernel's chunking)."""
COPIES = 3
"""Log-probabilities, their gradient and the logits' gradient stand together at the loss's backward."""


def loss_bytes(job: TrainJob, ways: TrainWays) -> Floats:
    """At the start of backward.

    The standard Hugging Face loss of a causal model holds 12 bytes a logit (4 saved, 8 temporary; exact on meta
    tensors), whatever the type of the logits; an encoder's is taken in the logits' own type. A chunked loss holds
    `loss_kept_bytes_per_logit` of all rows and the rest of one chunk of `loss_chunk_tokens` positions.
    """
    if not job.model.has_head:
        return np.zeros(1)
    rows = tokens_of(job, ways)
    kind = str(job.engine.options.get("cross_entropy", "standard"))
    split = ways.tensor_parallel if job.engine.flag("vocab_parallel") else np.ones(1)
    chunk = job.engine.optional_number("loss_chunk_tokens")
    if kind == "chunked" and chunk is not None:
        length = job.sequence_tokens
        kept = job.engine.optional_number("loss_kept_bytes_per_logit") or 0.0
        inside = job.engine.optional_number("loss_chunk_bytes_per_logit") or per_logit(job)
        each = kept + inside * min(1.0, chunk / length)
    else:
        share = {"fused": FUSED_LOSS_SHARE, "chunked": 1.0 / chunks(job)}.get(kind, 1.0)
        if kind == "fused" and job.engine.flag("vocab_parallel"):
            share = 1.0 / 3.0
        each = per_logit(job) * share
    result: Floats = rows * job.model.vocab_size * each / split
    return result


def per_logit(job: TrainJob) -> float:
    """Bytes a logit of the rows worked on together; capped logits keep their tanh as well."""
    stated = job.engine.number("loss_bytes_per_logit") + convention(job).compute * job.model.logit_softcap
    causal = any(b.stack == "decoder" for b in job.model.blocks)
    return stated if causal else min(stated, float(COPIES * convention(job).compute))


def forward_loss_bytes(job: TrainJob, loss: Floats) -> Floats:
    """At the end of forward, before the first gradient: logits, their 32-bit copy and the log-probabilities."""
    each = per_logit(job)
    rules = convention(job)
    live = (HALF + 2 * FULL) if rules.compute == HALF else 2 * FULL
    result: Floats = loss * min(1.0, live / each)
    return result


def tokens_of(job: TrainJob, ways: TrainWays) -> Floats:
    """Tokens of one micro-batch on one rank."""
    result: Floats = ways.micro_batch * job.sequence_tokens / ways.context_parallel
    return result


def chunks(job: TrainJob) -> float:
    """Pieces the rows are worked through in."""
    stated = job.engine.optional_number("cross_entropy_chunks") or 1.0
    return stated if stated > 1 else float(CHUNKS)


def head_calls(job: TrainJob) -> float:
    """Times the output head runs in one forward: once a chunk where the engine chunks the head as well."""
    chunk = job.engine.optional_number("loss_chunk_tokens")
    if chunk is None or job.engine.options.get("cross_entropy") != "chunked":
        return 1.0
    return float(np.ceil(job.sequence_tokens / chunk))
