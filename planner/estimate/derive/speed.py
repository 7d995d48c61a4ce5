"""Speed: seconds by cause, latency, rates and the share of the peak that is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from planner.estimate.derive.steps import exact, scalar, step, total
from planner.estimate.document import DerivationStep, MemoryDocument
from planner.estimate.memory.weights import weight_split
from planner.estimate.speed.infer import batch_rounds, lengths_of, prompt_flop
from planner.estimate.speed.kernels import serving_engine, shipped_kernels
from planner.estimate.speed.step import cross_length
from planner.estimate.types import Floats, Hardware, InferJob, InferSpeed, InferWays, TrainJob, TrainSpeed, TrainWays
from planner.estimate.work import Work, decode_flop, distinct_experts, forward_work, training_work
from planner.units import BITS_PER_BYTE, TERA

KERNELS = "roofline of every operation with measured efficiencies (catalogs/kernels.yaml)"
LITTLE = "Little's law in closed loop: requests in flight = rate x time of a request"


def tera(flop: float) -> str:
    """FLOP in TFLOP, enough digits to compute on with."""
    return f"{flop / TERA:,.8g}"


def causes(shares: Mapping[str, Floats], step_s: Floats, what: str) -> DerivationStep:
    """The seconds of one step by what they are spent on."""
    return step(
        "performance.step_s",
        f"seconds of {what} by cause, added up",
        total((cause, column) for cause, column in shares.items()),
        f"{exact(step_s)} s",
        KERNELS,
    )


def flop_terms(work: Work) -> str:
    """TFLOP of a forward pass by kind."""
    named = (
        ("matrices", work.linear_flop),
        ("attention", work.attention_flop),
        ("recurrence", work.recurrent_flop),
        ("head", work.head_flop),
    )
    return " + ".join(f"{tera(v)} [{name}]" for name, v in named if v) or "0"


def infer_speed_steps(
    job: InferJob, ways: InferWays, hw: Hardware, memory: MemoryDocument, speed: InferSpeed, replicas: int
) -> Iterator[DerivationStep]:
    """Bounds, latency and rates of serving."""
    lengths = lengths_of(job)
    made, rounds = lengths.new_tokens, max(0.0, lengths.new_tokens - 1.0)
    prompt = sum(tokens * share for tokens, share in lengths.prompts)
    model, fmt = job.model, job.weights
    expanded = bool((hw.weight_only | fmt.weight_only)[0]) and fmt.bits < fmt.unquantised_bits
    peak = scalar(hw.peak16_flop_per_second if expanded else hw.peak_flop_per_second)
    works = [(share, forward_work(model, round(tokens), logits="last")) for tokens, share in lengths.prompts]
    first = sum(share * w.total_flop for share, w in works) * job.steps
    later = float(decode_flop(model, np.full(1, lengths.context))[0])
    crossed = any(b.cross_attention is not None for b in model.stack("decoder"))
    if crossed:
        first = sum(share * prompt_flop(job, tokens) for tokens, share in lengths.prompts)
        later = float(decode_flop(model, np.full(1, lengths.context), cross_length=cross_length(job))[0])
        yield step(
            "performance.forward_tflop",
            "TFLOP of the encoder over what it reads, and of the decoder's first token",
            f"{tera(first)} [encoder, cross-attention keys and values, decoder, head]",
            f"{tera(first)} TFLOP, {exact(first / peak)} s at the peak of one GPU",
            "counted from the architecture; one multiply-add is two FLOP",
        )
    elif len(works) == 1:
        yield step(
            "performance.forward_tflop",
            "TFLOP of one forward pass over the prompt: 2 x weights x tokens, attention pairs, recurrence, head",
            f"({flop_terms(works[0][1])}) x {job.steps} [passes]" if job.steps > 1 else flop_terms(works[0][1]),
            f"{tera(first)} TFLOP, {exact(first / peak)} s at the peak of one GPU",
            "counted from the architecture; one multiply-add is two FLOP",
        )
    if scalar(speed.prefill_s) > 0:
        yield step(
            "performance.prefill_s",
            "TFLOP of the prompt / (GPUs x peak x share reached), one request alone",
            f"{tera(first)} / ({exact(ways.gpus)} x {tera(peak)} x "
            f"{exact(first / (scalar(ways.gpus) * peak * scalar(speed.prefill_s)))})",
            f"{exact(speed.prefill_s)} s",
            f"{KERNELS}; launches, transfers and the other stages' waiting are in the share",
        )
    if made and all(b.stack == "decoder" for b in model.blocks):
        read = bytes_read(job, memory, speed, ways)
        yield step(
            "performance.decode_floor_s",
            "bytes a GPU reads in one decode step (weights + KV cache in use) / bandwidth: no step is faster",
            f"({total(read)}) / {exact(hw.hbm_bytes_per_second)}",
            f"{exact(sum(v for _, v in read) / scalar(hw.hbm_bytes_per_second))} s",
            "every weight is read once a step; of the experts those that the batch reaches, evenly routed",
        )
    what = "one decode step of the running batch" if made else "one pass over the batch"
    yield causes(speed.shares, speed.step_s, what)
    wait = scalar(speed.ttft_s) - scalar(speed.prefill_s)
    yield step(
        "performance.ttft_s",
        "prefill of the request itself + the rest: prompts ahead of it, the step that runs, queue, request overhead",
        f"{exact(speed.prefill_s)} + {exact(wait)}",
        f"{exact(speed.ttft_s)} s",
        "closed loop (M/D/1 beside synchronised arrivals); one batch at a time for static engines",
    )
    clients = max(scalar(ways.batch), scalar(ways.data_parallel))
    engine = serving_engine(shipped_kernels(), job.engine)
    stays = scalar(batch_rounds(lengths, engine, np.array([clients / scalar(ways.data_parallel)])))
    until = "output - 1" if engine.continuous_batching or not job.traffic else "longest output of the batch - 1"
    if rounds:
        between = (scalar(speed.tpot_s) - scalar(speed.step_s)) * rounds
        yield step(
            "performance.tpot_s",
            "decode step + other requests' prompts that come between its tokens / (output - 1)",
            f"{exact(speed.step_s)} + {exact(between)} / {exact(rounds)}",
            f"{exact(speed.tpot_s)} s",
            "prompts and decode steps share the engine",
        )
    rate = scalar(speed.requests_per_second) * replicas
    latency = f"{exact(speed.ttft_s)}" + (f" + {exact(stays)} x {exact(speed.tpot_s)}" if stays else "")
    yield step(
        "performance.requests_per_second",
        f"replicas x requests in flight / (ttft + ({until}) x tpot)",
        f"{replicas} x {exact(clients)} / ({latency})",
        f"{exact(rate)} requests/s",
        LITTLE,
    )
    if made:
        yield step(
            "performance.output_tokens_per_second",
            f"replicas x requests in flight x output tokens / (ttft + ({until}) x tpot)",
            f"{replicas} x {exact(clients)} x {exact(made)} / ({latency})",
            f"{exact(rate * made)} tokens/s",
            LITTLE,
        )
    tokens_per_second = rate * (prompt + made)
    yield step(
        "performance.tokens_per_second",
        "requests/s x (input + output tokens)",
        f"{exact(rate)} x ({exact(prompt)} + {exact(made)})",
        f"{exact(tokens_per_second)} tokens/s",
        "mean lengths of the traffic",
    )
    yield per_gpu(tokens_per_second, scalar(ways.gpus) * replicas)
    yield step(
        "performance.mfu",
        "TFLOP of a request (prompt, then each further token) x requests/s / (GPUs x peak TFLOP/s)",
        f"({tera(first)} + {exact(rounds)} x {tera(later)}) x {exact(rate)} / "
        f"({exact(scalar(ways.gpus) * replicas)} x {tera(peak)})",
        exact(speed.mfu),
        f"model FLOP over the dense peak of the type that multiplies ({fmt.compute}, or 16 bit where weights expand)",
    )


def bytes_read(job: InferJob, memory: MemoryDocument, speed: InferSpeed, ways: InferWays) -> list[tuple[str, float]]:
    """Bytes that one GPU reads in a decode step: its weights but the token table, and the caches of the batch."""
    table = (
        sum(t.num_params for t in job.model.outer if t.role == "embedding")
        * job.weights.unquantised_bits
        / BITS_PER_BYTE
    )
    if job.model.tied_embeddings or job.engine.name == "llamacpp":
        table = 0.0
    weights = memory.per_gpu_bytes["weights"] - table / scalar(ways.tensor_parallel * ways.pipeline_parallel)
    cached = float(job.model.kv_values_per_token) * job.kv_bits / BITS_PER_BYTE * lengths_of(job).context
    windowed = any(b.attention is not None and b.attention.window for b in job.model.blocks)
    shards = scalar(ways.gpus)
    caches = 0.0 if windowed else scalar(speed.batch_running) * cached / shards
    idle = idle_experts(job, memory, speed, ways)
    return [("weights", max(weights - idle, 0.0)), ("KV cache at mean length", caches)]


def idle_experts(job: InferJob, memory: MemoryDocument, speed: InferSpeed, ways: InferWays) -> float:
    """Bytes of the experts on one GPU that no token of a step reaches."""
    split = weight_split(job.model, job.weights)
    moe = next((b.moe for b in job.model.blocks if b.moe is not None), None)
    if moe is None or not split.expert:
        return 0.0
    reached = scalar(distinct_experts(moe.num_experts, moe.top_k, speed.batch_running)) / moe.num_experts
    held = split.expert / max(scalar(ways.tensor_parallel), scalar(ways.expert_parallel))
    held = min(held / scalar(ways.pipeline_parallel), float(memory.per_gpu_bytes["weights"]))
    return held * (1.0 - reached)


def per_gpu(tokens_per_second: float, gpus: float) -> DerivationStep:
    """Rate of one GPU."""
    return step(
        "performance.tokens_per_second_per_gpu",
        "tokens/s / GPUs",
        f"{exact(tokens_per_second)} / {exact(gpus)}",
        f"{exact(tokens_per_second / gpus)} tokens/s",
        "all replicas",
    )


def train_speed_steps(
    job: TrainJob, ways: TrainWays, hw: Hardware, speed: TrainSpeed, replicas: int
) -> Iterator[DerivationStep]:
    """One optimizer step, the rate and the share of the peak."""
    work = training_work(job.model, job.sequence_tokens, checkpointing=job.checkpointing, lora=job.lora)
    forward = forward_work(job.model, job.sequence_tokens, logits="all")
    rate = scalar(speed.tokens_per_second) * replicas
    yield step(
        "performance.forward_tflop",
        "TFLOP of one forward pass over a sequence: 2 x weights x tokens, attention pairs, recurrence, head",
        flop_terms(forward),
        f"{tera(forward.total_flop)} TFLOP; forward and backward {tera(work.model_flop)}",
        "backward costs twice the forward, once for frozen weights; recomputation not counted",
    )
    yield causes(speed.shares, speed.step_s, "one optimizer step")
    yield step(
        "performance.tokens_per_second",
        "replicas x sequences of a step x tokens of a sequence / step",
        f"{product_of(replicas, job)} / {exact(speed.step_s)}",
        f"{exact(rate)} tokens/s",
        "whole run",
    )
    yield per_gpu(rate, scalar(ways.gpus) * replicas)
    yield step(
        "performance.mfu",
        "TFLOP of a sequence, forward and backward x sequences / (step x GPUs x peak TFLOP/s)",
        f"{tera(work.model_flop)} x {job.global_batch} / "
        f"({exact(speed.step_s)} x {exact(ways.gpus)} x {tera(scalar(hw.peak_flop_per_second))})",
        exact(speed.mfu),
        "Chowdhery et al. 2022 (arXiv 2204.02311), appendix B: no recomputation in the numerator",
    )


def product_of(replicas: int, job: TrainJob) -> str:
    """Tokens of one step of all replicas."""
    return f"{replicas} x {job.global_batch} x {job.sequence_tokens}"
