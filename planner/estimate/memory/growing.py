"""Engines that allocate as they go (Transformers): the largest of loading, prefill and the decode steps."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from planner.estimate.memory.composed import bounded, memory_of
from planner.estimate.memory.device import (
    BLOCK_BYTES,
    STEADY_SHARE,
    fragmentation_bytes,
    steady_bytes,
    usable_bytes,
)
from planner.estimate.memory.fixed import (
    Fixed,
    cache_per_sequence,
    expanded_bytes,
    host_cache,
    rank_batch,
    stage_part,
    tied_head_file_bytes,
)
from planner.estimate.memory.kv_cache import CacheShape, cache_shape, cross_tokens, full_length, is_encoder_decoder
from planner.estimate.memory.weights import weight_split
from planner.estimate.memory.working_set import (
    KEPT_LOGITS_BYTES,
    compute_bytes,
    forward_bytes,
    logits_bytes,
    position_bytes,
    vision_bytes,
)
from planner.estimate.types import Floats, Hardware, InferJob, InferWays, Memory

BALANCE_LAYERS = 1.25
"""Room beyond an even share that accelerate leaves on every GPU but the last, in layers (get_balanced_memory)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Bytes that one phase holds beside weights and library workspace: per sequence of a rank, and once."""

    name: str
    cache: Floats
    activations: Floats
    logits: Floats
    once: Floats
    """Whatever the batch: positions and masks, a matrix expanded to 16 bit, a head loaded twice."""

    @property
    def each(self) -> Floats:
        """Bytes of one sequence."""
        result: Floats = self.cache + self.activations + self.logits
        return result


def growing_memory(job: InferJob, ways: InferWays, hw: Hardware, fixed: Fixed) -> Memory:
    """The phase that holds most, with the parts it holds."""
    sequences = rank_batch(ways)
    every = phases(job, ways)
    totals = np.stack(np.broadcast_arrays(*(sequences * p.each + p.once for p in every)))
    binds = np.argmax(totals, axis=0)

    def chosen(columns: list[Floats]) -> Floats:
        every_row = np.stack(np.broadcast_arrays(*columns, totals[0])[:-1])
        picked: Floats = np.take_along_axis(every_row, binds[None], axis=0)[0]
        return picked

    resident = resident_bytes(job, ways)
    once = chosen([p.once for p in every])
    parts = {
        "weights": fixed.weights,
        "kv_cache": sequences * chosen([p.cache for p in every]),
        "activations": sequences * chosen([p.activations for p in every]),
        "logits": sequences * chosen([p.logits for p in every]),
        "workspace": fixed.workspace + resident + once,
    }
    allocated = sum(parts.values(), np.zeros(1))
    transient = allocated - fixed.weights
    steady = steady_bytes(transient, growing_tensors(job, ways))
    room = usable_bytes(hw) * (1.0 - job.memory_headroom) - fixed.context
    free = np.floor((room - allocated) / BLOCK_BYTES) * BLOCK_BYTES
    cached = np.minimum(fragmentation_bytes(transient, cached=keeps_cache(job)), free)
    fragmentation = np.maximum(steady, cached)
    length = full_length(job)
    cache = cache_shape(job)
    return memory_of(
        parts,
        context=fixed.context,
        fragmentation=fragmentation,
        static=fixed.weights,
        host=fixed.offloaded_host + host_cache(job, cache, ways, sequences, length),
        disk=fixed.offloaded_disk,
        tokens=sequences * length * (job.output_tokens > 0) + np.zeros(1),
        most=most_sequences_of(job, ways, hw, fixed, every, resident),
        phase=np.array([p.name for p in every])[binds],
        cached=fragmentation - steady,
    )


def most_sequences_of(
    job: InferJob, ways: InferWays, hw: Hardware, fixed: Fixed, every: tuple[Phase, ...], resident: Floats
) -> Floats:
    """Sequences that fit in the tightest phase, with what the allocator cannot give back."""
    grow = 1.0 + STEADY_SHARE
    room = room_bytes(job, ways, hw, fixed) - resident * grow
    most = [bounded((room - p.once * grow) / np.maximum(p.each * grow, 1.0)) for p in every]
    result: Floats = np.minimum.reduce(np.broadcast_arrays(*most)) * ways.data_parallel
    return result


def room_bytes(job: InferJob, ways: InferWays, hw: Hardware, fixed: Fixed) -> Floats:
    """Device memory left for what grows, before the allocator's share of it."""
    usable = usable_bytes(hw) * (1.0 - job.memory_headroom) - fixed.weights - fixed.workspace - fixed.context
    result: Floats = usable - steady_bytes(fixed.workspace, growing_tensors(job, ways))
    return result


def growing_tensors(job: InferJob, ways: InferWays) -> Floats:
    """Tensors of a cache that grows token by token; none where it is laid out at once."""
    grows = keeps_cache(job) and not static(job)
    return num_tensors(job, ways) if grows else np.zeros(1)


def phases(job: InferJob, ways: InferWays) -> tuple[Phase, ...]:
    """Loading, prefill and decode; old generation loops also hold the prompt's logits during the first decode step."""
    cache = cache_shape(job)
    none = np.zeros(1)
    head = np.full(1, tied_head_file_bytes(job)) / ways.tensor_parallel
    prompt_cache = prompt_cache_bytes(job, cache, ways)
    unit, logits = activations_of(job, ways), logits_of(job, ways)
    expanded = expanded_beside(job, ways)
    positions = position_bytes(job, prompt_tokens(job) / ways.context_parallel.astype(np.float64))
    every = [
        Phase(name="load", cache=none, activations=none, logits=none, once=head),
        prefill(prompt_cache, unit, logits, positions + expanded),
    ]
    if not keeps_cache(job):
        return tuple(every)
    whole = cache_per_sequence(job, cache, ways, full_length(job))
    copies = 2.0 if legacy(job) else 1.0
    if legacy(job) and job.engine.options.get("logits") == "all":
        kept = logits_bytes(job.model, rows=np.full(1, float(prompt_tokens(job))), tensor_parallel=ways.tensor_parallel)
        share = KEPT_LOGITS_BYTES / (KEPT_LOGITS_BYTES + 2)
        first = copies * prompt_cache * first_gpu_layers(job, ways)
        every.append(Phase(name="decode", cache=first, activations=none, logits=kept * share, once=none))
    growing = none if static(job) or legacy(job) else whole / num_tensors(job, ways)
    growing = growing + encoder_output_bytes(job)
    last = last_logits(job, ways)
    activations = np.where(growing >= last, growing, 0.0)
    every.append(
        Phase(
            name="decode",
            cache=copies * whole,
            activations=activations,
            logits=np.where(growing >= last, 0.0, last),
            once=none,
        )
    )
    return tuple(every)


def first_gpu_layers(job: InferJob, ways: InferWays) -> Floats:
    """Layers of the first GPU over an even share: the prompt's logits are handed back to it, beside its caches.

    accelerate's `device_map="auto"` deals weights: each GPU takes an even share and 1.25 layers more, the first one
    sets its largest module aside and holds the token table as well (get_balanced_memory, infer_auto_device_map).
    """
    split, count, parts = weight_split(job.model, job.weights), job.model.num_layers, ways.pipeline_parallel
    layer = split.layers / max(1, count)
    largest = max(layer, split.embedding, split.head)
    room = split.total / parts + BALANCE_LAYERS * layer - largest - split.embedding
    dealt = np.clip(np.floor(room / max(layer, 1.0)), 1.0, None)
    result: Floats = np.where(parts > 1, np.minimum(dealt * parts / max(1, count), 1.0), 1.0)
    return result


def encoder_output_bytes(job: InferJob) -> float:
    """What the encoder of an encoder-decoder hands on, one sequence: held while the answer is written."""
    if not is_encoder_decoder(job.model):
        return 0.0
    return float(cross_tokens(job) * job.model.hidden_size * compute_bytes(job))


def prefill(cache: Floats, unit: Floats, logits: Floats, once: Floats) -> Phase:
    """The layers' working set is gone when the head computes: the larger of the two counts."""
    head_binds = logits > unit
    return Phase(
        name="prefill",
        cache=cache,
        activations=np.where(head_binds, 0.0, unit),
        logits=np.where(head_binds, logits, 0.0),
        once=once,
    )


def keeps_cache(job: InferJob) -> bool:
    """Something is generated, so keys and values are kept."""
    return job.output_tokens > 0


def static(job: InferJob) -> bool:
    """The whole cache is laid out before the first token."""
    return job.engine.options.get("kv_layout") == "static"


def legacy(job: InferJob) -> bool:
    """Each step makes a new tuple of all layers' caches while the old one lives (Transformers up to 4.41)."""
    return job.engine.options.get("kv_growth") == "legacy" and not static(job)


def num_tensors(job: InferJob, ways: InferWays) -> Floats:
    """Key and value tensors of the caches on one GPU: one of them exists twice while it grows."""
    layers = sum(b.num_layers for b in job.model.stack("decoder") if b.attention is not None)
    result: Floats = np.maximum(2.0 * max(layers, 1) * stage_part(job, ways), 1.0)
    return result


def prompt_cache_bytes(job: InferJob, cache: CacheShape, ways: InferWays) -> Floats:
    """Cache of one sequence at the end of its prefill.

    Sliding layers compute the whole prompt, and what they keep of it is a view of all: they shrink in decode.
    """
    if not keeps_cache(job):
        return np.zeros(1)
    if is_encoder_decoder(job.model):
        return np.zeros(1)
    if static(job):
        return cache_per_sequence(job, cache, ways, full_length(job))
    whole = replace(cache, lines=tuple(replace(line, window=None) for line in cache.lines))
    return cache_per_sequence(job, whole, ways, job.input_tokens)


def expanded_beside(job: InferJob, ways: InferWays) -> Floats:
    """Bytes by which a matrix expanded during the prompt exceeds the inner tensor that it makes room for.

    While the second half of a gated MLP is computed, the expanded matrix lives beside two of its three inner tensors.
    """
    if job.weights.expands != "prompt":
        return np.zeros(1)
    inner = max((b.feed_forward.intermediate_size for b in job.model.blocks if b.feed_forward is not None), default=0)
    tokens = rank_batch(ways) * prompt_tokens(job) / ways.context_parallel
    made = tokens * inner * compute_bytes(job) / ways.tensor_parallel
    result: Floats = np.maximum(expanded_bytes(job) / ways.tensor_parallel - made, 0.0)
    return result


def resident_bytes(job: InferJob, ways: InferWays) -> Floats:
    """An expanded matrix that is kept, and the rotary tables that every layer of old versions kept for itself."""
    kept = expanded_bytes(job) / ways.tensor_parallel if job.weights.expands == "resident" else np.zeros(1)
    result: Floats = kept + rotary_cache_bytes(job) / ways.pipeline_parallel
    return result


def activations_of(job: InferJob, ways: InferWays) -> Floats:
    """Working set of a prefill of one sequence."""
    one = np.ones(1)
    text = forward_bytes(
        job,
        tokens=one * prompt_tokens(job) / ways.context_parallel,
        sequences=one,
        tensor_parallel=ways.tensor_parallel,
    )
    result: Floats = np.maximum(text, vision_bytes(job))
    return result


def prompt_tokens(job: InferJob) -> int:
    """Tokens of one request that the first pass takes in; the decoder behind an encoder starts from one."""
    return 1 if is_encoder_decoder(job.model) else job.input_tokens


def logits_of(job: InferJob, ways: InferWays) -> Floats:
    """Logits of a prefill of one sequence: the last position, or all of them.

    Versions up to 4.44 make a 32-bit copy of them all; later ones of the last position, beside the embeddings and
    final hidden states of the prompt.
    """
    tokens = np.full(1, float(prompt_tokens(job)))
    if job.engine.options.get("logits") != "all":
        return last_logits(job, ways)
    if job.engine.options.get("logits_upcast") == "all":
        return logits_bytes(job.model, rows=tokens, tensor_parallel=ways.tensor_parallel)
    size = compute_bytes(job)
    plain = logits_bytes(job.model, rows=tokens, tensor_parallel=ways.tensor_parallel, per_logit=size)
    result: Floats = plain + 2 * tokens * job.model.hidden_size * size
    return result


def last_logits(job: InferJob, ways: InferWays) -> Floats:
    """Logits of one decode step of one sequence."""
    return logits_bytes(job.model, rows=np.ones(1), tensor_parallel=ways.tensor_parallel)


def rotary_cache_bytes(job: InferJob) -> float:
    """Cosine and sine tables that every layer kept for itself up to transformers 4.38 (192 and 448 MiB measured)."""
    if not job.engine.flag("rotary_cache_per_layer") or job.model.max_context is None:
        return 0.0
    head_dim = max((b.attention.head_dim for b in job.model.blocks if b.attention is not None), default=0)
    return float(job.model.num_layers * job.model.max_context * head_dim * 2 * 2)
