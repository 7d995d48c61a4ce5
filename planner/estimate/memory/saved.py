"""Activations that forward keeps for backward: bytes per token and layer.

The inventory of Hugging Face, LitGPT, Megatron and FSDP code: every tensor a backward formula needs is counted
once, and checked by following every storage of the model classes run on meta tensors. `inner` tensors are divided
by tensor parallelism; `outer` ones (hidden-size tensors) only with sequence parallelism (Korthikanti et al.,
arXiv 2205.05198).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from planner.architecture.types import Attention, Block
from planner.estimate.memory.convention import FULL, HALF, Convention
from planner.estimate.memory.saved_adapters import adapter_bytes, copied_output, fused_qkv, shares_module
from planner.estimate.types import LoraJob

LSE_BYTES = 4
"""Log-sum-exp of every query head, 32-bit."""
RSTD_BYTES = 4
MASK_BYTES = 1
PLAIN_TENSORS = {"relu": 1, "gelu_new": 5}
"""Inner tensors a plain MLP keeps: relu its result alone; the tanh formula of `gelu_new`, written out in Python,
five (its argument, half of it, the tanh, one plus it, the product). One kernel keeps its argument and its result."""
KERNEL_TENSORS = 2
AUTOCAST_GELU_NEW = 8
"""Autocast takes the power and what follows in 32 bit: three 32-bit tensors and two 16-bit ones, in 16-bit units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """Bytes of one layer."""

    outer_per_token: float
    inner_per_token: float
    scores_per_pair: float
    """Per query-key pair, all heads (eager attention): times tokens x length; divided by tensor parallelism."""
    routed_per_token: float = 0.0
    """The part of `inner_per_token` that follows the router: more on the busiest rank of an expert-parallel group."""

    def __add__(self, other: Saved) -> Saved:
        return Saved(
            outer_per_token=self.outer_per_token + other.outer_per_token,
            inner_per_token=self.inner_per_token + other.inner_per_token,
            scores_per_pair=self.scores_per_pair + other.scores_per_pair,
            routed_per_token=self.routed_per_token + other.routed_per_token,
        )


def saved_of(block: Block, rules: Convention, lora: LoraJob | None) -> Saved:
    """Everything one layer of the block keeps."""
    heads, wide = attention(block, rules), mlp(block, rules)
    heads = replicated(heads) if rules.whole_attention else heads
    total = norms(block, rules) + heads + (replicated(wide) if rules.whole_mlp else wide) + experts(block, rules)
    total = total + recurrent(block, rules) + dropout(block) + cross_attention(block, rules)
    return total if lora is None else total + inner(adapter_bytes(block, lora, rules))


def replicated(saved: Saved) -> Saved:
    """The same with nothing split by tensor parallelism but the scores."""
    return replace(saved, outer_per_token=saved.outer_per_token + saved.inner_per_token, inner_per_token=0.0)


def outer(amount: float) -> Saved:
    return Saved(outer_per_token=amount, inner_per_token=0.0, scores_per_pair=0.0)


def inner(amount: float) -> Saved:
    return Saved(outer_per_token=0.0, inner_per_token=amount, scores_per_pair=0.0)


def per_pair(amount: float) -> Saved:
    return Saved(outer_per_token=0.0, inner_per_token=0.0, scores_per_pair=amount)


def norms(block: Block, rules: Convention) -> Saved:
    """RMSNorm in eager code keeps a 32-bit copy and, for its weight, the normed tensor; a fused norm or LayerNorm its
    input alone, which two norms of a parallel block share.
    """
    h = block.hidden_size
    if block.norm == "rmsnorm" and not rules.fused_norm:
        normed = FULL if rules.wide_norm_product else rules.residual
        return outer(block.num_norms * ((FULL + normed * rules.trains_base) * h + RSTD_BYTES))
    inputs = 1 if block.parallel else block.num_norms
    return outer(inputs * rules.residual * h + block.num_norms * 2 * RSTD_BYTES)


def attention(block: Block, rules: Convention) -> Saved:
    """Inputs of the projections, q, k, v, the output, and the scores or their log-sum-exp."""
    a = block.attention
    if a is None:
        return outer(0.0)
    c, h = rules.compute, block.hidden_size
    copies = 3 if rules.casts_each_input and not fused_qkv(block) else 1
    inputs = copies * c * h * rules.keeps_inputs
    tensors = float(heads_bytes(a, rules, whole_qkv=copied_output(block, rules)))
    if a.kind == "latent":
        inputs += c * ((a.kv_lora_rank or 0) + (a.q_lora_rank or 0) + (a.rope_dim or 0))
    if a.qk_norm != "none":
        normed = a.head_dim * (a.num_heads + a.num_kv_heads)
        wide = c == FULL or rules.wide_norm_product
        kept = FULL + (FULL if wide else HALF) * rules.trains_base
        tensors += kept * normed + RSTD_BYTES * (a.num_heads + a.num_kv_heads)
    if math_kernel(a, rules):
        return outer(inputs) + inner(tensors) + per_pair(a.num_heads * FULL)
    if not rules.eager_attention:
        return outer(inputs) + inner(tensors + LSE_BYTES * a.num_heads)
    return outer(inputs) + inner(tensors) + per_pair(a.num_heads * score_bytes(block, rules))


def cross_attention(block: Block, rules: Convention) -> Saved:
    """Of a decoder layer that reads the encoder: like self-attention, over as many encoder tokens as its own."""
    if block.cross_attention is None:
        return outer(0.0)
    return attention(replace(block, attention=block.cross_attention), rules)


def math_kernel(a: Attention, rules: Convention) -> bool:
    """SDPA with grouped heads has no fused kernel in 32 bit: the composite one keeps the 32-bit softmax."""
    grouped = a.kind != "latent" and a.num_kv_heads != a.num_heads
    return rules.sdpa and rules.compute == FULL and grouped and not rules.repeats_kv


def heads_bytes(a: Attention, rules: Convention, *, whole_qkv: bool) -> int:
    """q, k, v and the output of the attention core; with views, the rotated copies and the output's as well."""
    repeats = rules.repeats_kv or math_kernel(a, rules) or a.kind == "latent"
    heads_kv = a.num_heads if repeats else a.num_kv_heads
    core = a.num_heads * a.head_dim + heads_kv * (a.head_dim + a.value_dim) + a.num_heads * a.value_dim
    if whole_qkv and a.kind != "latent":
        core += a.num_heads * a.head_dim + a.num_kv_heads * a.head_dim
        core += a.num_heads * a.value_dim * rules.trains_base
    return rules.compute * core


def score_bytes(block: Block, rules: Convention) -> float:
    """Of one score of one head in eager attention.

    Models without attention dropout take the softmax in 32 bit and cast it (6 bytes in 16-bit runs); those with it
    (GPT-2, BERT) in their own type, or 32 bit under autocast, and keep the mask and the dropped scores as well. A
    fused softmax kernel keeps its 16-bit result alone.
    """
    c = rules.compute
    if rules.fused_mlp:
        return c + (MASK_BYTES + c) * block.attention_dropout
    before = (FULL if rules.autocast else c) * rules.keeps_softmax_input
    if block.attention_dropout:
        return before + (FULL if rules.autocast else c) + MASK_BYTES + c
    return before + FULL + (c if c == HALF else 0) + c * rules.capped_scores


def mlp(block: Block, rules: Convention) -> Saved:
    """Gated: gate, its activation, up and their product (fused: without the activation); plain: by its activation."""
    f = block.feed_forward
    if f is None:
        return outer(0.0)
    c = rules.compute
    copies = 2 if rules.casts_each_input and f.gated and not shares_module(block, "gate_proj", "up_proj") else 1
    inputs = copies * c * block.hidden_size if rules.keeps_inputs else 0
    if block.parallel and not rules.casts_each_input and block.num_norms < 2:
        inputs = 0
    tensors = (3 if rules.fused_mlp else 4) if f.gated else plain_tensors(f.activation, rules)
    if not rules.keeps_inputs and f.activation != "relu":
        tensors -= 1
    dropped = (c + MASK_BYTES) * block.dropout * rules.drops_inner
    return outer(inputs) + inner((tensors * rules.inner + dropped) * f.intermediate_size)


def plain_tensors(activation: str, rules: Convention) -> int:
    """Inner tensors of a plain MLP, its output projection's input included."""
    if activation == "gelu_new" and not rules.python_gelu:
        return KERNEL_TENSORS
    if activation == "gelu_new" and rules.autocast:
        return AUTOCAST_GELU_NEW
    return PLAIN_TENSORS.get(activation, KERNEL_TENSORS)


def experts(block: Block, rules: Convention) -> Saved:
    """Router probabilities, the experts' outputs and permuted inputs (frozen: without these), inner tensors of top-k
    experts, and the shared expert's.
    """
    m = block.moe
    if m is None:
        return outer(0.0)
    c, h = rules.compute, block.hidden_size
    tensors = ((3 if rules.fused_mlp else 4) if m.gated else 2) - (not rules.keeps_inputs)
    hidden = 2 if rules.keeps_inputs else 1
    routed = m.top_k * (hidden * c * m.input_size + tensors * c * m.intermediate_size)
    shared = tensors * c * m.shared_intermediate_size
    beside = outer(2 * FULL * m.num_experts + c * h * rules.keeps_inputs)
    return replace(beside + inner(routed + shared), routed_per_token=routed)


def recurrent(block: Block, rules: Convention) -> Saved:
    """Projections in and out of the mixer, its convolution and gates; the chunked scan recomputes the rest."""
    r = block.recurrent
    if r is None:
        return outer(0.0)
    return outer(rules.compute * block.hidden_size) + inner(6 * rules.compute * r.inner_size)


def dropout(block: Block) -> Saved:
    """One-byte masks of the residual dropouts: after attention, after the MLP, after cross-attention."""
    places = 2 if block.cross_attention is None else 3
    return outer(places * MASK_BYTES * block.hidden_size * block.dropout)
