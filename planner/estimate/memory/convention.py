"""How a training run computes, as far as the tensors it keeps feel it: read off the job and its engine profile."""

from __future__ import annotations

from dataclasses import dataclass

from planner.estimate.types import InferJob, TrainJob
from planner.units import BITS_PER_BYTE

HALF = 2
FULL = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """Sizes are bytes a value."""

    compute: int
    """Bytes of a matrix-product operand."""
    inner: int
    """Bytes of the MLP's inner values: 4-bit products give back the type they were given."""
    residual: int
    """Bytes of the residual stream."""
    autocast: bool
    """Forward runs under autocast: softmax and norms in 32 bit, operands cast to 16."""
    casts_each_input: bool
    """Autocast casts the input of every linear on its own: q, k and v keep three copies."""
    fused_norm: bool
    fused_mlp: bool
    drops_inner: bool
    """Dropout between the MLP's activation and its output projection (T5)."""
    python_gelu: bool
    """`gelu_new` is written out in Python (Hugging Face), not one kernel."""
    wide_norm_product: bool
    """An eager RMSNorm multiplies its weight in 32 bit (LitGPT) and keeps that operand, not a 16-bit one."""
    whole_qkv: bool
    """q, k and v are views of one projection: v keeps the whole of it alive beside the rotated copies of q and k."""
    scatters_adapters: bool
    """Adapter outputs of the fused projection are scattered into it by an index copy, which keeps its source."""
    rotates_views: bool
    """Rotary positions make new q and k beside a fused projection, which v, a view of it, keeps alive."""
    repeats_kv: bool
    eager_attention: bool
    keeps_softmax_input: bool
    """Backward of softmax holds its input beside its result (torch before 1.11: pytorch issue 64000)."""
    capped_scores: bool
    """Scores pass a tanh before the softmax (Gemma 2), which keeps its 16-bit result."""
    sdpa: bool
    whole_attention: bool
    """Tensor parallelism gathers q, k and v: every rank computes all heads."""
    whole_mlp: bool
    """... and gate and up."""
    trains_base: bool
    keeps_inputs: bool
    """Every linear keeps its input: trained ones for the weight's gradient, bitsandbytes of 2023 in any case."""


def autocasts(job: TrainJob) -> bool:
    """Forward runs under torch autocast."""
    return job.precision.endswith("-mixed") and job.engine.options.get("autocast") != "none"


def listed(job: TrainJob | InferJob, option: str) -> bool:
    """The model's family is in a comma-separated option of the engine: a fact of the library's model classes."""
    families = str(job.engine.options.get(option) or "").split(", ")
    return job.model.family in families


def upcasts_base(job: TrainJob) -> bool:
    """PEFT's prepare_model_for_kbit_training casts what bitsandbytes leaves in 16 bit to 32; not so GPTQ and AWQ."""
    return job.method == "qlora" and job.engine.flag("kbit_upcast") and not job.base.fused_dequant


def convention(job: TrainJob) -> Convention:
    """Read off the job and its engine."""
    full = job.precision in ("fp32", "tf32")
    autocast = autocasts(job)
    wide_base = job.method == "full" or job.base.bits >= FULL * BITS_PER_BYTE
    wide_residual = autocast and job.sharding != "zero3" and wide_base
    upcast = upcasts_base(job)
    fused = job.engine.flag("compile")
    eager_class = listed(job, "eager_only_families")
    eager = job.attention == "eager" or (eager_class and job.attention == "sdpa")
    wide = full or (upcast and not autocast)
    return Convention(
        compute=FULL if wide else HALF,
        inner=FULL if full or upcast else HALF,
        residual=FULL if full or wide_residual or upcast else HALF,
        autocast=autocast,
        casts_each_input=(wide_residual or upcast) and not wide,
        fused_norm=job.engine.options.get("norm_kernel") == "fused" or fused,
        fused_mlp=job.engine.options.get("mlp_kernel") == "fused" or fused,
        drops_inner=listed(job, "inner_dropout_families"),
        python_gelu=job.engine.flag("python_gelu") and not fused,
        wide_norm_product=job.engine.flag("wide_norm_product") or listed(job, "wide_norm_families"),
        whole_qkv=job.engine.flag("fused_qkv"),
        scatters_adapters=job.engine.flag("adapter_scatter"),
        rotates_views=not any(t.role == "position" for t in job.model.outer) and not eager,
        repeats_kv=(job.engine.flag("kv_repeat") and job.attention != "flash") or eager,
        eager_attention=eager,
        keeps_softmax_input=job.engine.flag("softmax_keeps_input"),
        capped_scores=eager_class and job.model.logit_softcap,
        sdpa=job.attention == "sdpa" and not eager,
        whole_attention=listed(job, "whole_attention_families"),
        whole_mlp=listed(job, "whole_mlp_families"),
        trains_base=job.method == "full",
        keeps_inputs=job.method == "full" or (not job.base.fused_dequant and job.engine.flag("bnb_keeps_inputs")),
    )
