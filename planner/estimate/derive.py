"""How each figure came about: the formula, the numbers put in, the result and the source."""

from __future__ import annotations

from collections.abc import Iterator

from planner.architecture.types import Attention, Model
from planner.estimate.document import DerivationStep, MemoryDocument
from planner.estimate.memory.kv_cache import full_length
from planner.estimate.memory.states import adapter_params, adapter_state_bytes
from planner.estimate.memory.train import full_state
from planner.estimate.types import InferJob, InferWays, TrainJob, TrainWays
from planner.units import BITS_PER_BYTE, short_bytes

PYTORCH = "PyTorch CUDA caching allocator and start-up logs (catalogs/runtime.yaml)"


def infer_derivation(job: InferJob, ways: InferWays, memory: MemoryDocument) -> tuple[DerivationStep, ...]:
    """The steps of an inference estimate of one row."""
    parts = memory.per_gpu_bytes
    tp, pp = int(ways.tensor_parallel[0]), int(ways.pipeline_parallel[0])
    steps = [parameters(job.model), weights(job, tp, pp, parts["weights"])]
    steps += list(kv_steps(job))
    steps.append(
        DerivationStep(
            figure="memory.per_gpu_bytes.kv_cache",
            formula="what the binding phase holds, on one GPU",
            numbers=f"phase {memory.phase}, batch {ways.batch[0]:.0f}, tensor parallel {tp}, pipeline parallel {pp}",
            result=short_bytes(parts["kv_cache"]),
            source="Vaswani et al. 2017; Pope et al. 2022 (arXiv 2211.05102)",
        )
    )
    steps.append(
        DerivationStep(
            figure="memory.per_gpu_bytes.activations",
            formula="tokens of one pass x widest layer's live values x bytes of a value",
            numbers=f"{job.input_tokens} tokens a sequence, attention {job.attention}",
            result=short_bytes(parts["activations"]),
            source="Qwen2.5 speed tables: n x (3 x intermediate + 4 x hidden) x 2 bytes, median error 0.3 %",
        )
    )
    return (*steps, *overheads(memory))


def parameters(model: Model) -> DerivationStep:
    inside = " + ".join(
        f"{b.num_weight_copies} x {b.num_params_per_layer:,} ({b.name})" for b in model.blocks if b.num_params
    )
    outside = " + ".join(f"{t.num_params:,} ({t.name})" for t in model.outer)
    return DerivationStep(
        figure="params_total",
        formula="parameters of every layer + parameters outside the layers",
        numbers=f"{inside} + {outside}" if outside else inside,
        result=f"{model.params_total:,}",
        source=f"architecture of {model.id}",
    )


def weights(job: InferJob, tp: int, pp: int, result: int) -> DerivationStep:
    return DerivationStep(
        figure="memory.per_gpu_bytes.weights",
        formula="sum over tensors of parameters x bits / 8, dealt over tensor and pipeline parallel",
        numbers=(
            f"{job.model.params_total:,} parameters, {job.weights.bits:g} bits quantised, "
            f"{job.weights.unquantised_bits:g} bits the rest, over {tp} x {pp} GPUs"
        ),
        result=short_bytes(result),
        source=f"{job.weights.id}: {job.weights.source}",
    )


def cached(model: Model) -> Iterator[tuple[int, Attention]]:
    for block in model.stack("decoder"):
        if block.attention is not None and block.attention.causal and block.attention.kv_values_per_token:
            yield block.num_layers, block.attention


def kv_steps(job: InferJob) -> Iterator[DerivationStep]:
    """Per token, then for one whole sequence: the number of layers is in it."""
    per_token = 0.0
    terms = []
    for layers, a in cached(job.model):
        per_token += layers * a.kv_values_per_token * job.kv_bits / BITS_PER_BYTE
        if a.kind == "latent":
            terms.append(f"{layers} layers x ({a.kv_lora_rank} latent + {a.rope_dim} rotary)")
        else:
            window = f", window {a.window}" if a.window else ""
            terms.append(f"2 x {layers} layers x {a.num_kv_heads} KV heads x {a.head_dim} head_dim{window}")
    if not terms:
        return
    size = f"{job.kv_bits / BITS_PER_BYTE:g} bytes"
    yield DerivationStep(
        figure="kv_bytes_per_token",
        formula="2 (key and value) x layers x KV heads x head_dim x bytes of a value",
        numbers=f"({' + '.join(terms)}) x {size}",
        result=f"{per_token:,.0f} bytes a token",
        source="one key and one value vector per layer, KV head and token",
    )
    tokens = full_length(job)
    windowed = any(a.window for _, a in cached(job.model))
    yield DerivationStep(
        figure="kv_bytes_per_sequence",
        formula="bytes a token x tokens of one whole sequence" + (" (windows not yet cut)" if windowed else ""),
        numbers=f"{per_token:,.0f} x {tokens:,}",
        result=short_bytes(per_token * tokens),
        source="all layers; one layer alone holds 1/layers of it",
    )


def overheads(memory: MemoryDocument) -> tuple[DerivationStep, ...]:
    parts = memory.per_gpu_bytes
    return (
        DerivationStep(
            figure="memory.device_peak_bytes",
            formula="allocated parts + fragmentation (reserved - allocated) + CUDA context and NCCL",
            numbers=(
                f"{short_bytes(memory.allocated_peak_bytes)} + {short_bytes(parts['fragmentation'])}"
                f" + {short_bytes(parts['context'])}"
            ),
            result=short_bytes(memory.device_peak_bytes),
            source=PYTORCH,
        ),
    )


def train_derivation(job: TrainJob, ways: TrainWays, memory: MemoryDocument) -> tuple[DerivationStep, ...]:
    """The steps of a training estimate of one row."""
    parts = memory.per_gpu_bytes
    steps = [parameters(job.model)]
    if job.lora is None:
        per = full_state(job)
        trained, what = job.model.params_total, "every parameter"
    else:
        per = adapter_state_bytes(job.lora)
        trained, what = adapter_params(job.model, job.lora), f"adapters of rank {job.lora.rank}"
    layout = (
        f"over {int(ways.tensor_parallel[0])} tensor x {int(ways.pipeline_parallel[0])} pipeline ranks, "
        f"sharding {job.sharding} over {int(ways.data_parallel[0])}"
    )
    steps.append(
        DerivationStep(
            figure="memory.static_bytes",
            formula="trained parameters x (weight + gradient + optimizer bytes)",
            numbers=f"{trained:,} ({what}) x ({per.weight:g} + {per.gradient:g} + {per.optimizer:g}), {layout}",
            result=short_bytes(memory.static_bytes),
            source="state types of the engine profile and optimizer",
        )
    )
    steps.append(
        DerivationStep(
            figure="memory.per_gpu_bytes.activations",
            formula="tokens of a micro-batch x bytes kept for backward, all layers",
            numbers=(
                f"{int(ways.micro_batch[0])} x {job.sequence_tokens} tokens, checkpointing {job.checkpointing}, "
                f"attention {job.attention}"
            ),
            result=short_bytes(parts["activations"]),
            source="Korthikanti et al. (arXiv 2205.05198), tensor inventory of the model classes",
        )
    )
    steps.append(
        DerivationStep(
            figure="memory.per_gpu_bytes.logits",
            formula="tokens x vocabulary x bytes a logit",
            numbers=f"vocabulary {job.model.vocab_size:,}, binding phase {memory.phase}",
            result=short_bytes(parts["logits"]),
            source="logits, their 32-bit copies and gradients of the engine's cross-entropy",
        )
    )
    return (*steps, *overheads(memory))
