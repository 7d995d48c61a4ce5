"""Speed of inference: one call, many ways to run one replica."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.estimate.memory.budget import batched_tokens, most_sequences
from planner.estimate.memory.kv_cache import is_encoder_decoder
from planner.estimate.speed.kernels import EngineRow, Kernels, shipped_kernels
from planner.estimate.speed.offload import cache_time, weights_time
from planner.estimate.speed.serving import Served, chance_of_most, closed_loop, static_batch
from planner.estimate.speed.setup import Setup, infer_setup
from planner.estimate.speed.step import (
    cross_length,
    decode_step,
    decoder_blocks,
    prompt_length,
    prompt_time,
    repeats,
    side_blocks,
    side_tokens,
)
from planner.estimate.speed.times import Seconds, add, binding
from planner.estimate.types import Floats, Hardware, InferJob, InferSpeed, InferWays
from planner.estimate.work import (
    FLOP_PER_MAC,
    cached_bytes_per_token,
    decode_flop,
    head_size,
    layer_products,
    pass_flop,
    visible_tokens,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Mean lengths of a request."""

    prompts: tuple[tuple[float, float], ...]
    """(tokens, share) of the prompts."""
    new_tokens: float
    context: float
    """Tokens cached at the average decode step."""
    answers: tuple[float, ...]
    """Tokens made by each kind of request, in the order of `prompts`."""
    output_spread: float
    """Standard deviation over mean of the answers' lengths that the traffic states; 0 where all are alike."""


def lengths_of(job: InferJob) -> Lengths:
    """Means over the traffic; a token of a long answer counts as often as it is made."""
    mix = job.traffic or ((job.input_tokens, job.output_tokens, 1.0),)
    extra = job.image_tokens * job.num_images if job.traffic else 0
    made = sum(o * share for _, o, share in mix)
    starts_empty = is_encoder_decoder(job.model)
    seen = sum(o * share * ((0 if starts_empty else i + extra) + o / 2.0) for i, o, share in mix)
    variance = sum(share * (o - made) ** 2 for _, o, share in mix)
    return Lengths(
        prompts=tuple((float(max(1, i + extra)), share) for i, _, share in mix),
        new_tokens=made,
        answers=tuple(float(o) for _, o, _ in mix),
        context=seen / made if made else 0.0,
        output_spread=variance**0.5 / made if made else 0.0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """One data-parallel rank at work: its means and what they are made of."""

    served: Served
    step: Seconds
    prefill: Seconds
    """Engine time of one prompt where prompts are packed into passes."""
    own: Seconds
    """One prompt alone."""
    running: Floats
    """Sequences that really run on the rank."""
    rounds: Floats | float
    """Decode steps that a request stays for: to its own last token, or to the last one of its batch."""


def mean_prompt(lengths: Lengths) -> float:
    """Tokens of the average prompt."""
    return sum(tokens * share for tokens, share in lengths.prompts)


def prompt_variation(lengths: Lengths) -> float:
    """Squared coefficient of variation of the prompts' lengths."""
    mean = mean_prompt(lengths)
    return sum(share * (tokens - mean) ** 2 for tokens, share in lengths.prompts) / mean**2


def batch_rounds(lengths: Lengths, engine: EngineRow, running: Floats) -> Floats | float:
    """Decode steps that a request's slot is taken for: a fixed batch runs until its longest answer is made."""
    if engine.continuous_batching or len(lengths.answers) == 1:
        return max(0.0, lengths.new_tokens - 1.0)
    chances = chance_of_most(lengths.answers, [share for _, share in lengths.prompts], running)
    longest = sum((c * made for c, made in zip(chances, lengths.answers, strict=True)), np.zeros(1))
    result: Floats = np.maximum(0.0, longest - 1.0)
    return result


def prompt_shares(lengths: Lengths, engine: EngineRow, running: Floats) -> list[Floats | float]:
    """How often a prompt takes the time of each kind: a fixed batch is padded to its longest."""
    shares = [share for _, share in lengths.prompts]
    if engine.continuous_batching or len(shares) == 1:
        return list(shares)
    return list(chance_of_most([tokens for tokens, _ in lengths.prompts], shares, running))


def infer_speed(
    job: InferJob, ways: InferWays, hw: Hardware, *, kv_slots: Floats, kernels: Kernels | None = None
) -> InferSpeed:
    """Speed of one replica at `ways.batch` requests in flight, one entry per way.

    `kv_slots` are the sequences of the replica that memory holds: a serving engine queues what is beyond, an engine
    of fixed batches is taken at its word, and so is a way whose memory holds no sequence at all (that it does not fit
    is the memory model's answer). Raises UnknownNameError
    for an engine or architecture that `catalogs/kernels.yaml` does not have.
    """
    setup = infer_setup(job, ways, hw, kernels or shipped_kernels())
    lengths = lengths_of(job)
    serving = serve(setup, ways, lengths, kv_slots=kv_slots)
    return _speed(setup, ways, lengths, serving, max(len(ways), len(hw), len(kv_slots)))


def serve(setup: Setup, ways: InferWays, lengths: Lengths, *, kv_slots: Floats) -> Serving:
    """The times of a step and a prompt, and the rate and latencies that follow."""
    engine = setup.engine
    ranks = ways.data_parallel * 1.0
    clients = np.maximum(1.0, ways.batch / ranks)
    running = most_running(setup, ways, kv_slots=kv_slots)
    groups = stage_groups(setup, ways, running)
    rounds = batch_rounds(lengths, engine, running)
    context: Floats | float = lengths.context
    if not engine.continuous_batching and len(lengths.answers) > 1:
        shares = prompt_shares(lengths, engine, running)
        context = (np.asarray(rounds) + 1.0) / 2.0
        if not is_encoder_decoder(setup.job.model):
            context = context + sum(share * n for share, (n, _) in zip(shares, lengths.prompts, strict=True))
    step = full_step(setup, ways, sequences=running / groups, context=context)
    prefill, own = prompt_times(setup, ways, lengths, running=running)
    if engine.continuous_batching:
        served = closed_loop(
            clients=clients,
            running=running,
            prefill_s=request_s(setup, lengths, prefill.total_s / groups, running=running),
            own_prefill_s=own.total_s + engine.request_overhead_s + engine.first_token_s,
            step_s=step.total_s,
            server_s=server_s(engine, lengths),
            new_tokens=lengths.new_tokens,
            packed=np.maximum(1.0, pass_tokens(setup) / mean_prompt(lengths)),
            length_spread=np.maximum(setup.shared.length_spread, lengths.output_spread),
            prompt_variation=prompt_variation(lengths),
        )
    else:
        served = static_batch(
            batch=running,
            prefill_s=prefill.total_s * running + engine.request_overhead_s,
            step_s=step.total_s,
            rounds=rounds,
        )
    return Serving(served=served, step=step, prefill=prefill, own=own, running=running, rounds=rounds)


def most_running(setup: Setup, ways: InferWays, *, kv_slots: Floats) -> Floats:
    """Sequences that run on one rank at most: what is asked, as far as memory and the engine's cap let."""
    ranks = ways.data_parallel * 1.0
    clients: Floats = np.maximum(1.0, ways.batch / ranks)
    if not setup.engine.continuous_batching:
        return clients
    room = np.where(kv_slots < 1.0, np.inf, np.floor(kv_slots / ranks))
    result: Floats = np.minimum(clients, np.maximum(1.0, np.minimum(room, most_sequences(setup.job, setup.hw))))
    return result


def stage_groups(setup: Setup, ways: InferWays, running: Floats) -> Floats:
    """Groups into which pipeline stages deal the running sequences to work at the same time."""
    result: Floats = np.minimum(1.0 + setup.engine.pipeline_overlap * (ways.pipeline_parallel - 1.0), running)
    return result


def request_s(setup: Setup, lengths: Lengths, prefill_s: Floats, *, running: Floats) -> Floats:
    """Seconds of engine time of one request without its decode steps, from its share of a packed prefill.

    Requests that make no tokens are admitted and answered a pass at a time, so they share the engine's overhead.
    """
    if lengths.new_tokens:
        return prefill_s
    together = np.maximum(1.0, np.minimum(running, np.floor(pass_tokens(setup) / mean_prompt(lengths))))
    return prefill_s + setup.engine.request_overhead_s / together


def server_s(engine: EngineRow, lengths: Lengths) -> Floats:
    """Seconds that the processes beside the engine spend on one request and each of its tokens."""
    per_request = engine.request_overhead_s if lengths.new_tokens else engine.pooled_request_s
    return np.zeros(1) + per_request + engine.server_token_s * lengths.new_tokens


def full_step(setup: Setup, ways: InferWays, *, sequences: Floats, context: Floats | float) -> Seconds:
    """Seconds of one decode step of one rank: GPU work, offloaded parts and the engine's own time."""
    engine = setup.engine
    hidden = 1.0 - setup.shared.async_hidden_share if setup.job.engine.flag("async_scheduling") else 1.0
    busy = hidden * (engine.step_overhead_s + engine.sequence_overhead_s * sequences)
    many = np.where(setup.tensor_parallel > 1, engine.tensor_step_overhead_s, 0.0)
    column = np.asarray(context / ways.context_parallel, dtype=np.float64)
    return add(
        decode_step(setup, ways, sequences=sequences, context=column),
        Seconds(overhead=busy + many),
        weights_time(setup, ways, layer_bytes=layer_weight_bytes(setup), rows=sequences),
        cache_time(setup, ways, cache_bytes=cache_bytes(setup, column) * sequences / setup.attention_split),
    )


def prompt_times(setup: Setup, ways: InferWays, lengths: Lengths, *, running: Floats) -> tuple[Seconds, Seconds]:
    """Mean seconds of engine time of one prompt when prompts are packed into passes, and of a prompt alone."""
    packed, alone = Seconds(), Seconds()
    padded = prompt_shares(lengths, setup.engine, running)
    for (tokens, share), taken in zip(lengths.prompts, padded, strict=True):
        several, single = prompt_kind_times(setup, ways, tokens, running=running)
        packed += several.times(taken)
        alone += single.times(share)
    return packed, alone


def prompt_kind_times(setup: Setup, ways: InferWays, tokens: float, *, running: Floats) -> tuple[Seconds, Seconds]:
    """Seconds of engine time of one prompt of so many tokens, packed into passes with others and alone."""
    chunk = pass_tokens(setup)
    layer_bytes = layer_weight_bytes(setup)
    engine = setup.engine
    stages = np.asarray(1.0 + engine.prompt_overlap * (ways.pipeline_parallel - 1.0), dtype=np.float64)
    packed_stages: Floats = np.ones(1) if engine.continuous_batching else stages
    together = np.maximum(1.0, np.minimum(running, np.floor(chunk / tokens)))
    if not engine.continuous_batching:
        together = running
    passes = np.ceil(together * tokens / chunk)
    rows = together * tokens / passes
    several = add(
        prompt_time(setup, ways, prompts=together, tokens=tokens, chunk=chunk, stages=packed_stages),
        weights_time(setup, ways, layer_bytes=layer_bytes, rows=rows).times(passes),
    )
    passes = np.ceil(tokens / chunk)
    single = add(
        prompt_time(setup, ways, prompts=np.ones(1), tokens=tokens, chunk=chunk, stages=stages),
        weights_time(setup, ways, layer_bytes=layer_bytes, rows=tokens / passes).times(passes),
    )
    return several.times(1.0 / together), single


def pass_tokens(setup: Setup) -> Floats:
    """Prompt tokens of one forward pass at most: the engine's chunk, llama.cpp's micro-batch, else its default."""
    engine = setup.job.engine
    ubatch = engine.optional_number("ubatch")
    if ubatch is not None:
        return np.full(1, ubatch)
    if engine.optional_number("max_num_batched_tokens") is not None:
        return batched_tokens(setup.job, setup.hw)
    return np.full(1, setup.engine.prefill_tokens)


def layer_weight_bytes(setup: Setup) -> float:
    """Bytes of the weights of all decoder layers, whole model."""
    return float(
        sum(
            b.num_layers * p.weights * p.bytes_per_weight
            for b in decoder_blocks(setup.job)
            for p in layer_products(b, setup.job.weights)
        )
    )


def cache_bytes(setup: Setup, context: Floats) -> Floats:
    """Bytes of one sequence's cache at `context` tokens, all layers."""
    total = np.zeros(1)
    for block in decoder_blocks(setup.job):
        if block.attention is not None:
            per_token = cached_bytes_per_token(block.attention, setup.job.kv_bits)
            total = total + block.num_layers * per_token * visible_tokens(block.attention, context)
    return total


def request_flop(setup: Setup, lengths: Lengths) -> float:
    """Model FLOP of one request: its prompt and every token it makes, in the stacks whose time is charged."""
    job = setup.job
    prompts = sum(share * prompt_flop(job, tokens) for tokens, share in lengths.prompts)
    made = max(0.0, lengths.new_tokens - 1.0)
    per_token = decode_flop(job.model, np.full(1, lengths.context), cross_length=cross_length(job))
    return prompts + made * float(per_token[0])


def prompt_flop(job: InferJob, tokens: float) -> float:
    """Model FLOP of what `prompt_time` charges for one prompt: decoder, stacks beside it, first token's head."""
    crossed, own = cross_length(job), prompt_length(job, tokens)
    total = float(FLOP_PER_MAC * head_size(job.model))
    for block in decoder_blocks(job):
        total += pass_flop(block, tokens=own, length=own, cross_length=crossed)
    for block in side_blocks(job):
        rows, length = side_tokens(block, job, tokens)
        total += repeats(block, job) * pass_flop(block, tokens=rows, length=length, cross_length=crossed)
    return total


def _speed(setup: Setup, ways: InferWays, lengths: Lengths, serving: Serving, num_ways: int) -> InferSpeed:
    def column(values: Floats) -> Floats:
        return np.broadcast_to(values, (num_ways,)).astype(np.float64)

    served, step, prefill, running = serving.served, serving.step, serving.prefill, serving.running
    cycle = add(step.times(serving.rounds), prefill.times(running))
    starved = np.broadcast_to(running < np.maximum(1.0, ways.batch / ways.data_parallel), (num_ways,))
    rate = served.requests_per_second * ways.data_parallel
    flop_per_second = rate * request_flop(setup, lengths)
    return InferSpeed(
        ttft_s=column(served.ttft_s),
        tpot_s=column(served.tpot_s),
        prefill_s=column(serving.own.total_s),
        step_s=column(step.total_s if lengths.new_tokens else prefill.total_s * running),
        requests_per_second=column(rate),
        output_tokens_per_second=column(rate * lengths.new_tokens),
        tokens_per_second=column(rate * (mean_prompt(lengths) + lengths.new_tokens)),
        mfu=column(flop_per_second / (ways.gpus * setup.narrow.flop_per_second)),
        batch_running=column(running * ways.data_parallel),
        bound_by=np.where(starved, "kv_space", binding(cycle, num_ways)),
        shares=(step if lengths.new_tokens else prefill.times(running)).shares(num_ways),
    )
