"""A decode step and the prefill of a prompt: layers, head, sampling, stages, and what comes over the host link."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from planner.architecture.types import Block
from planner.estimate.memory.kv_cache import audio_windows, cross_tokens, is_encoder_decoder
from planner.estimate.speed.collectives import all_gather_s, point_to_point_s
from planner.estimate.speed.gemm import product_time
from planner.estimate.speed.layer import Pass, layer_time
from planner.estimate.speed.setup import Setup
from planner.estimate.speed.times import Seconds, add
from planner.estimate.types import Floats, InferJob, InferWays
from planner.estimate.work import head_product, main_blocks


def blocks_time(setup: Setup, blocks: Iterable[Block], work: Pass) -> Seconds:
    """Seconds of all layers of the blocks, one pass."""
    return add(*(layer_time(setup, b, work).times(float(b.num_layers)) for b in blocks))


def head_time(setup: Setup, rows: Floats) -> Seconds:
    """Seconds of the vocabulary projection for `rows` positions, and gathering its parts."""
    product = head_product(setup.job.model, setup.job.weights)
    if product is None:
        return Seconds()
    time = product_time(
        setup.narrow if product.quantised else setup.wide,
        rows=rows,
        columns=product.out_features / setup.tensor_parallel,
        depth=np.full(1, float(product.in_features)),
        weight_bytes=product.bytes_per_weight,
    )
    gathered = rows * product.out_features * setup.value_bytes
    return time + Seconds(communication=all_gather_s(setup.tensor_group, gathered))


def handover_time(setup: Setup, ways: InferWays, rows: Floats) -> Seconds:
    """Seconds that activations of one pass spend between pipeline stages."""
    n_bytes = rows * setup.job.model.hidden_size * setup.value_bytes
    hops = ways.pipeline_parallel - 1.0
    moving = hops * point_to_point_s(setup.pipeline_group, n_bytes)
    return Seconds(communication=moving + hops * setup.engine.stage_overhead_s)


def decoder_blocks(job: InferJob) -> tuple[Block, ...]:
    """The layers that every generated token passes through."""
    return tuple(b for b in main_blocks(job.model) if b.stack == "decoder")


def cross_length(job: InferJob) -> float:
    """Tokens that cross attention sees: the encoder's output, or the image."""
    return float(cross_tokens(job))


def decode_step(setup: Setup, ways: InferWays, *, sequences: Floats, context: Floats) -> Seconds:
    """Seconds of one pass that makes one token for each of `sequences` sequences of one rank, all stages in turn."""
    work = Pass(
        rows=sequences,
        sequences=sequences,
        length=context,
        decode=True,
        chunks=np.ones(1),
        cross_length=cross_length(setup.job),
    )
    return add(
        blocks_time(setup, decoder_blocks(setup.job), work),
        head_time(setup, sequences),
        handover_time(setup, ways, sequences),
    )


def prompt_time(
    setup: Setup, ways: InferWays, *, prompts: Floats, tokens: float, chunk: Floats, stages: Floats
) -> Seconds:
    """Seconds to take in `prompts` prompts of `tokens` tokens each on one rank, first pass in to last pass out.

    Passes hold at most `chunk` tokens; every pass reads the weights again. `stages` pipeline stages work on them at
    the same time (1: one after another). Encoders, image towers and the first token's head are included.
    """
    job = setup.job
    own = decoder_blocks(job)
    prompt = prompt_length(job, tokens)
    passes = np.maximum(1.0, np.ceil(prompts * prompt / np.maximum(chunk, 1.0)))
    work = Pass(
        rows=prompts * prompt / passes / ways.context_parallel,
        sequences=prompts / ways.context_parallel,
        length=np.full(1, prompt),
        decode=False,
        chunks=passes,
        cross_length=cross_length(job),
    )
    one_pass = add(blocks_time(setup, own, work), handover_time(setup, ways, work.rows))
    parts = [one_pass.times((passes + stages - 1.0) / stages)]
    parts += [
        blocks_time(setup, (b,), side_pass(b, job, prompts, tokens)).times(repeats(b, job)) for b in side_blocks(job)
    ]
    return add(*parts, head_time(setup, prompts))


def prompt_length(job: InferJob, tokens: float) -> float:
    """Tokens of a prompt of `tokens` that the decoder takes in: one behind an encoder."""
    return 1.0 if is_encoder_decoder(job.model) else tokens


def side_blocks(job: InferJob) -> tuple[Block, ...]:
    """The layers beside the decoder that a request runs through: a tower only where the request has images."""
    return tuple(
        b
        for b in job.model.blocks
        if b.stack != "decoder" and (b.stack != "vision" or job.num_images or job.model.task == "vision")
    )


def repeats(block: Block, job: InferJob) -> float:
    """Times a stack runs for one request: the denoiser once for every step."""
    return float(job.steps) if block.stack == "denoiser" else 1.0


def side_pass(block: Block, job: InferJob, prompts: Floats, tokens: float) -> Pass:
    """The pass of an encoder, tower or denoiser over what `prompts` requests bring."""
    per_request, length = side_tokens(block, job, tokens)
    return Pass(
        rows=prompts * per_request,
        sequences=prompts * per_request / length,
        length=np.full(1, length),
        decode=False,
        chunks=np.ones(1),
        cross_length=cross_length(job),
    )


def side_tokens(block: Block, job: InferJob, tokens: float) -> tuple[float, float]:
    """Positions of one request in a stack beside the decoder, and how many of them attend to each other."""
    images = job.model.image_tokens
    if block.stack == "vision" and images is not None:
        if images.kind == "grid":
            patches = float(job.image_tokens * images.patches_per_token)
            return patches * job.num_images, max(1.0, patches)
        tiles = max(1.0, job.image_tokens / images.tokens) if images.tokens else 1.0
        return images.patches * tiles * job.num_images, float(max(1, images.patches))
    if block.stack == "encoder" and job.model.audio_positions:
        window = float(job.model.audio_positions)
        return window * audio_windows(job.model, job.audio_s), window
    fixed = float(block.tokens_fixed or 0) or max(1.0, tokens)
    if block.stack == "vision":
        return fixed * max(1, job.num_images), fixed
    if block.stack in ("denoiser", "vae") and job.image_width and job.model.image_size:
        fixed *= job.image_width * job.image_height / job.model.image_size**2
    return fixed, fixed
