"""Saved activations of a training run: per layer, per stage, and while one layer's backward runs."""

from __future__ import annotations

import numpy as np

from planner.architecture.types import Block
from planner.estimate.memory.convention import FULL, Convention, convention
from planner.estimate.memory.saved import (
    RSTD_BYTES,
    Saved,
    attention,
    inner,
    outer,
    per_pair,
    replicated,
    saved_of,
    score_bytes,
)
from planner.estimate.memory.saved_adapters import adapter_bytes
from planner.estimate.memory.train_loss import tokens_of
from planner.estimate.memory.train_states import micro_batches
from planner.estimate.memory.weights import stage_share
from planner.estimate.types import Floats, TrainJob, TrainWays


def layer_bytes(saved: Saved, job: TrainJob, ways: TrainWays) -> Floats:
    """Saved bytes of one layer for one micro-batch, on the rank whose experts get most tokens."""
    tokens = tokens_of(job, ways)
    tp = ways.tensor_parallel
    imbalance = job.engine.optional_number("expert_imbalance") or 1.0
    busiest = np.where(ways.expert_parallel > 1, imbalance - 1.0, 0.0) * saved.routed_per_token
    outer_split = tp if job.engine.flag("sequence_parallel") else np.ones(1)
    pairs = tokens * job.sequence_tokens
    result: Floats = (
        tokens * (saved.outer_per_token / outer_split + (saved.inner_per_token + busiest) / tp)
        + pairs * saved.scores_per_pair / tp
    )
    return result


def boundary_of(block: Block, rules: Convention) -> Saved:
    """A layer's input, kept under full checkpointing."""
    return outer(rules.residual * block.hidden_size)


def kept_layer_bytes(block: Block, job: TrainJob, ways: TrainWays) -> Floats:
    """What one layer keeps under the job's checkpointing."""
    rules = convention(job)
    if job.checkpointing == "full":
        offloaded = job.engine.flag("activation_offloading")
        return layer_bytes(boundary_of(block, rules), job, ways) * (0.0 if offloaded else 1.0)
    saved = saved_of(block, rules, job.lora)
    if job.checkpointing == "selective":
        return layer_bytes(selected(saved, boundary_of(block, rules), job), job, ways)
    return layer_bytes(saved, job, ways)


def offloaded_activation_bytes(job: TrainJob, ways: TrainWays) -> Floats:
    """Layer inputs of one GPU that wait in pinned host memory for backward."""
    if not (job.engine.flag("activation_offloading") and job.checkpointing == "full"):
        return np.zeros(1)
    rules = convention(job)
    kept = [b.num_layers * layer_bytes(boundary_of(b, rules), job, ways) for b in text_blocks(job)]
    whole: Floats = sum(kept, np.zeros(1))
    return whole * stage_share(job.model.num_layers, ways.pipeline_parallel)


def selected(saved: Saved, boundary: Saved, job: TrainJob) -> Saved:
    """Selective recompute: the attention core is redone (Megatron); op-level policies keep about half of the rest."""
    if job.engine.options.get("selective_policy") == "ops":
        return Saved(
            outer_per_token=boundary.outer_per_token + saved.outer_per_token / 2,
            inner_per_token=saved.inner_per_token / 2,
            scores_per_pair=0.0,
        )
    return Saved(outer_per_token=saved.outer_per_token, inner_per_token=saved.inner_per_token, scores_per_pair=0.0)


def text_blocks(job: TrainJob) -> tuple[Block, ...]:
    """The blocks that see the workload's sequence: the text stack, or the tower of a model that has none."""
    text = tuple(job.model.stack("decoder", "encoder", "denoiser", "text"))
    return text or tuple(job.model.stack("vision", "audio"))


def widest(values: list[Floats]) -> Floats:
    result: Floats = np.maximum.reduce(np.broadcast_arrays(np.zeros(1), *values))
    return result


def one_layer_bytes(job: TrainJob, ways: TrainWays) -> Floats:
    """Everything the widest layer keeps, as it stands while its backward runs."""
    rules = convention(job)
    return widest([layer_bytes(saved_of(b, rules, job.lora), job, ways) for b in text_blocks(job)])


def mlp_moment_bytes(job: TrainJob, ways: TrainWays) -> Floats:
    """The widest layer in the backward of its MLP: nothing of it is freed yet but the product; gradients of the
    product, of the gate and of up stand beside the rest.
    """
    rules = convention(job)
    return widest(
        [layer_bytes(saved_of(b, rules, job.lora) + mlp_gradients(b, rules), job, ways) for b in text_blocks(job)]
    )


def last_layer_gradient_bytes(job: TrainJob, ways: TrainWays) -> Floats:
    """Gradients inside the layer that backward enters first, beside everything kept."""
    rules = convention(job)
    return widest([layer_bytes(mlp_gradients(b, rules), job, ways) for b in text_blocks(job)])


def score_moment_bytes(job: TrainJob, ways: TrainWays) -> Floats:
    """The widest layer in the backward of eager attention: the MLP's tensors are gone, the scores' gradients stand."""
    rules = convention(job)
    if not rules.eager_attention:
        return np.zeros(1)
    blocks = [b for b in text_blocks(job) if b.attention is not None]
    return widest([layer_bytes(without_mlp(b, rules, job) + score_gradients(b, rules), job, ways) for b in blocks])


def mlp_gradients(block: Block, rules: Convention) -> Saved:
    """Gradients alive beside the layer's saved tensors: two or three inner ones and the residual's."""
    width = block.feed_forward.intermediate_size if block.feed_forward is not None else 0
    gated = block.feed_forward is not None and block.feed_forward.gated
    if block.moe is not None:
        width = max(width, block.moe.top_k * block.moe.intermediate_size)
        gated = block.moe.gated
    tensors = (2 if gated else 1) + (0 if rules.keeps_inputs else 1)
    wide = inner(tensors * rules.inner * width)
    return outer(rules.residual * block.hidden_size) + (replicated(wide) if rules.whole_mlp else wide)


def without_mlp(block: Block, rules: Convention, job: TrainJob) -> Saved:
    """The first half of a layer: its norm, projections and attention core."""
    lora = 0.0 if job.lora is None else adapter_bytes(block, job.lora, rules)
    norm = (FULL + rules.residual * rules.trains_base) * block.hidden_size + RSTD_BYTES
    half = attention(block, rules) + outer(norm)
    return half + Saved(outer_per_token=0.0, inner_per_token=lora / 2, scores_per_pair=0.0)


def score_gradients(block: Block, rules: Convention) -> Saved:
    """The saved 16-bit scores are gone; the softmax, its gradient and the scores' own gradient stand together."""
    assert block.attention is not None
    kept = score_bytes(block, rules)
    narrow = block.attention_dropout and not rules.autocast
    softmax = rules.compute if narrow else FULL
    extra = block.attention.num_heads * (3 * softmax + rules.compute * rules.capped_scores - kept)
    return per_pair(extra)


def edge_bytes(job: TrainJob, ways: TrainWays) -> Floats:
    """Outside the layers: the final norm's tensors, the head's input or the output, the embedding dropout's mask."""
    blocks = text_blocks(job)
    if not blocks:
        return np.zeros(1)
    rules, block = convention(job), blocks[-1]
    eager = block.norm == "rmsnorm" and not rules.fused_norm
    norm = (FULL if eager else rules.residual) + (rules.residual if eager and rules.trains_base else 0)
    head = rules.compute * rules.keeps_inputs if job.model.has_head else rules.compute + rules.residual
    result: Floats = tokens_of(job, ways) * block.hidden_size * (norm + head + block.dropout)
    return result / (ways.tensor_parallel if job.engine.flag("sequence_parallel") else 1)


def activations_of(job: TrainJob, ways: TrainWays) -> tuple[Floats, Floats]:
    """Kept by all layers of the first and of the last pipeline stage, micro-batches in flight included."""
    zero: Floats = np.zeros(1)
    whole = sum((b.num_layers * kept_layer_bytes(b, job, ways) for b in text_blocks(job)), zero)
    whole = whole + relative_bias_bytes(job, ways)
    stage = whole * stage_share(job.model.num_layers, ways.pipeline_parallel)
    return stage * in_flight(job, ways), stage


def relative_bias_bytes(job: TrainJob, ways: TrainWays) -> Floats:
    """Learned relative positions (T5) become one bias a head and pair in every layer, the same for all sequences."""
    if job.checkpointing == "full" or not any("relative_attention_bias" in t.name for t in job.model.outer):
        return np.zeros(1)
    heads = sum(b.num_layers * b.attention.num_heads for b in text_blocks(job) if b.attention is not None)
    result: Floats = convention(job).compute * heads * float(job.sequence_tokens) ** 2 / ways.tensor_parallel
    return result


def in_flight(job: TrainJob, ways: TrainWays) -> Floats:
    """Micro-batches whose activations the first stage holds.

    One a stage under 1F1B; interleaving with v chunks adds (p - 1) / (p v); GPipe holds all of a step.
    """
    p = ways.pipeline_parallel
    number = micro_batches(job, ways)
    if job.engine.options.get("schedule") == "gpipe":
        return np.where(p > 1, number, 1.0)
    flight = np.minimum(number, p).astype(np.float64)
    virtual = job.engine.optional_number("virtual_pipeline") or 1.0
    if virtual > 1:
        flight = np.where(p > 1, flight * (1 + (p - 1) / (p * virtual)), flight)
    return flight
