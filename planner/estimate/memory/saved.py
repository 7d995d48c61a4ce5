"""Activations that forward keeps for backward: bytes per token and layer.

The inventory of design notes on Hugging Face, Megatron and FSDP code: every tensor a backward formula needs
is counted once. `inner` tensors are divided by tensor parallelism; `outer` ones (hidden-size tensors) only
with sequence parallelism (Korthikanti et al., arXiv 2205.05198).
"""

from __future__ import annotations

from dataclasses import dataclass

from planner.architecture.types import Block
from planner.estimate.memory.states import adapted
from planner.estimate.types import LoraJob, TrainJob
from planner.units import BITS_PER_BYTE

HALF = 2
FULL = 4
LSE_BYTES = 4
"""Log-sum-exp of every query head, 32-bit."""
RSTD_BYTES = 4
MASK_BYTES = 1
INPUT_OF = {
    "q_proj": "normed",
    "k_proj": "normed",
    "v_proj": "normed",
    "o_proj": "context",
    "gate_proj": "mlp_input",
    "up_proj": "mlp_input",
    "down_proj": "product",
}
"""Modules that read the same tensor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """Bytes of one layer."""

    outer_per_token: float
    inner_per_token: float
    scores_per_pair: float
    """Per query-key pair, all heads (eager attention): times tokens x length; divided by tensor parallelism."""

    def __add__(self, other: Saved) -> Saved:
        return Saved(
            outer_per_token=self.outer_per_token + other.outer_per_token,
            inner_per_token=self.inner_per_token + other.inner_per_token,
            scores_per_pair=self.scores_per_pair + other.scores_per_pair,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """How the run computes, as far as saved tensors feel it; sizes are bytes a value."""

    compute: int
    """Bytes of a matrix-product operand."""
    residual: int
    """Bytes of the residual stream."""
    casts_each_input: bool
    """Autocast casts the input of every linear on its own: q, k and v keep three copies."""
    fused_norm: bool
    fused_mlp: bool
    repeats_kv: bool
    eager_attention: bool
    trains_base: bool
    keeps_inputs: bool
    """Every linear keeps its input: trained ones for the weight's gradient, bitsandbytes ones in any case."""


def convention(job: TrainJob) -> Convention:
    """Read off the job and its engine."""
    full = job.precision in ("fp32", "tf32")
    shards_parameters = job.sharding == "zero3"
    autocast = job.precision.endswith("-mixed") and job.engine.options.get("autocast") != "none"
    wide_residual = autocast and not shards_parameters and job.method == "full"
    upcast = job.method == "qlora" and job.engine.flag("kbit_upcast")
    return Convention(
        compute=FULL if full else HALF,
        residual=FULL if full or wide_residual or upcast else HALF,
        casts_each_input=(wide_residual or upcast) and not full,
        fused_norm=job.engine.options.get("norm_kernel") == "fused" or job.engine.flag("compile"),
        fused_mlp=job.engine.options.get("mlp_kernel") == "fused" or job.engine.flag("compile"),
        repeats_kv=job.engine.flag("kv_repeat") and job.attention != "flash",
        eager_attention=job.attention == "eager",
        trains_base=job.method == "full",
        keeps_inputs=job.method == "full" or not job.base.fused_dequant,
    )


def saved_of(block: Block, rules: Convention, lora: LoraJob | None) -> Saved:
    """Everything one layer of the block keeps."""
    total = norms(block, rules) + attention(block, rules) + mlp(block, rules) + experts(block, rules)
    total = total + recurrent(block, rules) + dropout(block)
    return total if lora is None else total + adapters(block, lora)


def outer(amount: float) -> Saved:
    return Saved(outer_per_token=amount, inner_per_token=0.0, scores_per_pair=0.0)


def inner(amount: float) -> Saved:
    return Saved(outer_per_token=0.0, inner_per_token=amount, scores_per_pair=0.0)


def norms(block: Block, rules: Convention) -> Saved:
    """RMSNorm in eager code keeps a 32-bit copy and the normed 16-bit tensor; a fused norm its input alone."""
    h = block.hidden_size
    if block.norm == "rmsnorm" and not rules.fused_norm:
        copy = FULL
        normed = rules.residual if rules.trains_base else 0
        per_norm = (copy + normed) * h + RSTD_BYTES
    else:
        per_norm = rules.residual * h + 2 * RSTD_BYTES
    return outer(block.num_norms * per_norm)


def attention(block: Block, rules: Convention) -> Saved:
    a = block.attention
    if a is None:
        return outer(0.0)
    c, h = rules.compute, block.hidden_size
    inputs = (3 if rules.casts_each_input else 1) * c * h if rules.keeps_inputs else 0
    heads_kv = a.num_heads if rules.repeats_kv or a.kind == "latent" else a.num_kv_heads
    tensors = c * (a.num_heads * a.head_dim + heads_kv * (a.head_dim + a.value_dim) + a.num_heads * a.value_dim)
    if a.kind == "latent":
        inputs += c * ((a.kv_lora_rank or 0) + (a.q_lora_rank or 0) + (a.rope_dim or 0))
    if a.qk_norm != "none":
        normed = a.head_dim * (a.num_heads + a.num_kv_heads)
        tensors += (FULL + HALF) * normed + RSTD_BYTES * (a.num_heads + a.num_kv_heads)
    softmax = 0.0
    if rules.eager_attention:
        fused = rules.fused_mlp
        kept = c if fused else FULL + (c if c == HALF else 0)
        softmax = a.num_heads * (kept + (MASK_BYTES + c) * block.attention_dropout)
    else:
        tensors += LSE_BYTES * a.num_heads
    return outer(inputs) + inner(tensors) + Saved(outer_per_token=0.0, inner_per_token=0.0, scores_per_pair=softmax)


def mlp(block: Block, rules: Convention) -> Saved:
    """Gated: gate, its activation, up and their product (fused: without the activation); plain: two tensors."""
    f = block.feed_forward
    if f is None:
        return outer(0.0)
    c = rules.compute
    copies = (2 if f.gated else 1) if rules.casts_each_input else 1
    inputs = copies * c * block.hidden_size if rules.keeps_inputs else 0
    if block.parallel and not rules.casts_each_input:
        inputs = 0
    plain = 1 if f.activation == "relu" else 2
    gated = 3 if rules.fused_mlp else 4
    tensors = gated if f.gated else plain
    if not rules.keeps_inputs:
        tensors -= 1
    return outer(inputs) + inner(tensors * c * f.intermediate_size)


def experts(block: Block, rules: Convention) -> Saved:
    """Router probabilities, permuted inputs, inner tensors of top-k experts, and the shared expert's."""
    m = block.moe
    if m is None:
        return outer(0.0)
    c, h = rules.compute, block.hidden_size
    tensors = (3 if rules.fused_mlp else 4) if m.gated else 2
    routed = m.top_k * (2 * c * m.input_size + tensors * c * m.intermediate_size)
    shared = tensors * c * m.shared_intermediate_size
    return outer(2 * FULL * m.num_experts + c * h) + inner(routed + shared)


def recurrent(block: Block, rules: Convention) -> Saved:
    """Projections in and out of the mixer, its convolution and gates; the chunked scan recomputes the rest."""
    r = block.recurrent
    if r is None:
        return outer(0.0)
    return outer(rules.compute * block.hidden_size) + inner(6 * rules.compute * r.inner_size)


def dropout(block: Block) -> Saved:
    """One-byte masks of the two residual dropouts."""
    return outer(2 * MASK_BYTES * block.hidden_size * block.dropout)


def adapters(block: Block, lora: LoraJob) -> Saved:
    """What LoRA branches keep: their input (a 32-bit cast each, or the 16-bit tensor once) and the rank-sized one.

    Exact on fake tensors: 4m + 4r bytes a module of input width m in 32 bit, 2m once per distinct input and
    2r in 16 bit; dropout adds the dropped copy and its mask. All-linear 32-bit adapters therefore keep more than
    full fine-tuning does.
    """
    size = lora.bits / BITS_PER_BYTE
    total = 0.0
    shared_inputs: set[str] = set()
    for tensor in adapted(block, lora):
        m, copies = tensor.in_features, tensor.count
        if lora.bits > 16:
            kept = size * m
        else:
            source = INPUT_OF.get(tensor.name, tensor.name)
            already = source == "context" or source in shared_inputs
            kept = 0.0 if already else size * m
            shared_inputs.add(source)
        total += copies * (kept + size * lora.rank)
        if lora.dropout > 0:
            total += copies * (size * m + MASK_BYTES * m)
    return inner(total)
