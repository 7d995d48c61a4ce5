"""Qwen, dense, routed and hybrid; and SmolLM3, which switches sliding on the same way."""

from __future__ import annotations

from typing import Any

from planner.architecture.hf.parts import (
    Family,
    all_or_none,
    decoder,
    every,
    experts,
    heads,
    layer_types,
    mlp,
    sizes,
)
from planner.architecture.hf.reader import Config
from planner.architecture.schema_parts import (
    GatedDeltaNetShape,
    LocalAttention,
    MlpShape,
    MoeShape,
)
from planner.architecture.schema_text import DecoderArchitecture, FeedForwardKind, Mixer


def qwen_layers(c: Config) -> dict[str, Any]:
    """Qwen2 and Qwen3 slide from `max_window_layers` on, if switched on."""
    used = c.flag("use_sliding_window")
    first = c.count("max_window_layers", 28)
    local = LocalAttention(window=c.size("sliding_window", 4096)) if used else None
    c.ignore("sliding_window")
    num_layers = c.size("num_hidden_layers")
    otherwise: tuple[Mixer, ...] = tuple("sliding" if used and i >= first else "full" for i in range(num_layers))
    return {"mixers": layer_types(c, otherwise), "local_attention": local}


def qwen2(c: Config) -> DecoderArchitecture:
    """Qwen2 and Qwen2.5: biases on q, k and v."""
    return decoder(c, attention=heads(c, bias="qkv"), feed_forward=mlp(c), **qwen_layers(c))


def qwen3(c: Config) -> DecoderArchitecture:
    """Qwen3: a norm on each query and key head."""
    bias = all_or_none(c.flag("attention_bias"))
    return decoder(c, attention=heads(c, bias=bias, qk_norm="head"), feed_forward=mlp(c), **qwen_layers(c))


def _smollm3(c: Config) -> DecoderArchitecture:
    c.ignore("no_rope_layers", "no_rope_layer_interval")
    layers = qwen_layers(c)
    return decoder(
        c,
        attention=heads(c, bias=all_or_none(c.flag("attention_bias"))),
        feed_forward=mlp(c, bias=c.flag("mlp_bias")),
        **layers,
    )


def _qwen_sparse(c: Config) -> tuple[FeedForwardKind, ...]:
    """Qwen: every `decoder_sparse_step`-th layer routes, but for those listed as dense."""
    step, dense = c.size("decoder_sparse_step", 1), c.sequence("mlp_only_layers") or ()
    return tuple("dense" if i in dense or (i + 1) % step else "moe" for i in range(c.size("num_hidden_layers")))


def _dense_beside(c: Config, kinds: tuple[FeedForwardKind, ...]) -> MlpShape | None:
    c.ignore("intermediate_size")
    return mlp(c) if "dense" in kinds else None


def _qwen2_moe(c: Config) -> DecoderArchitecture:
    kinds = _qwen_sparse(c)
    return decoder(
        c,
        attention=heads(c, bias="qkv" if c.flag("qkv_bias", True) else "none"),
        feed_forwards=kinds,
        feed_forward=_dense_beside(c, kinds),
        moe=experts(
            c,
            num="num_experts",
            width="moe_intermediate_size",
            shared_intermediate_size=c.size("shared_expert_intermediate_size"),
            shared_gate=True,
        ),
        **qwen_layers(c),
    )


def qwen3_moe(c: Config) -> DecoderArchitecture:
    """Qwen3-MoE: no shared expert."""
    kinds = _qwen_sparse(c)
    return decoder(
        c,
        attention=heads(c, bias=all_or_none(c.flag("attention_bias")), qk_norm="head"),
        feed_forwards=kinds,
        feed_forward=_dense_beside(c, kinds),
        moe=experts(c, num="num_local_experts", width="moe_intermediate_size"),
        **qwen_layers(c),
    )


def _qwen_hybrid(c: Config, *, fp32_state: bool) -> dict[str, Any]:
    """Gated full attention in every fourth layer, gated DeltaNet in the others."""
    period = c.size("full_attention_interval", 4)
    c.ignore("attn_output_gate", "mamba_ssm_dtype", "output_gate_type")
    return {
        "attention": heads(c, bias=all_or_none(c.flag("attention_bias")), qk_norm="head", output_gate=True),
        "mixers": layer_types(c, every(c, period, period - 1, "full", "recurrent")),
        "recurrent": GatedDeltaNetShape(
            num_key_heads=c.size("linear_num_key_heads"),
            num_value_heads=c.size("linear_num_value_heads"),
            key_dim=c.size("linear_key_head_dim"),
            value_dim=c.size("linear_value_head_dim"),
            conv_width=c.size("linear_conv_kernel_dim"),
            state_is_fp32=fp32_state,
        ),
    }


def _qwen_shared_experts(c: Config) -> MoeShape:
    return experts(
        c,
        num="num_experts",
        width="moe_intermediate_size",
        shared_intermediate_size=c.size("shared_expert_intermediate_size"),
        shared_gate=True,
    )


def _qwen3_next(c: Config) -> DecoderArchitecture:
    kinds = _qwen_sparse(c)
    return decoder(
        c,
        feed_forwards=kinds,
        feed_forward=_dense_beside(c, kinds),
        moe=_qwen_shared_experts(c),
        **_qwen_hybrid(c, fp32_state=False),
    )


def qwen3_5(c: Config) -> DecoderArchitecture:
    """Qwen3.5 and 3.6, dense."""
    return decoder(c, feed_forward=mlp(c), **_qwen_hybrid(c, fp32_state=True))


def qwen3_5_moe(c: Config) -> DecoderArchitecture:
    """Qwen3.5 and 3.6 with routed experts in every layer."""
    c.ignore("intermediate_size", "mlp_only_layers", "decoder_sparse_step")
    return decoder(c, feed_forwards=("moe",), moe=_qwen_shared_experts(c), **_qwen_hybrid(c, fp32_state=True))


_QWEN2 = sizes(151936, 4096, 22016, 32, 32, 32768, num_key_value_heads=32)


_QWEN_MOE_ALIASES = {"num_local_experts": "num_experts"}


_LINEAR = {
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
}


_QWEN2_MOE = sizes(
    151936,
    2048,
    5632,
    24,
    16,
    32768,
    num_key_value_heads=16,
    moe_intermediate_size=1408,
    shared_expert_intermediate_size=5632,
    num_experts_per_tok=4,
    num_experts=60,
)


QWEN3_MOE_DEFAULTS = sizes(
    151936,
    2048,
    6144,
    24,
    32,
    32768,
    num_key_value_heads=4,
    moe_intermediate_size=768,
    num_experts_per_tok=8,
    num_local_experts=128,
)


QWEN3_5_DEFAULTS = sizes(248320, 4096, 12288, 32, 16, 32768, num_key_value_heads=4, head_dim=256) | _LINEAR


QWEN3_5_MOE_DEFAULTS = (
    sizes(
        248320,
        2048,
        512,
        40,
        16,
        32768,
        num_key_value_heads=2,
        head_dim=256,
        moe_intermediate_size=512,
        shared_expert_intermediate_size=512,
        num_experts_per_tok=8,
        num_experts=256,
    )
    | _LINEAR
)


FAMILIES = {
    "qwen2": Family(name="Qwen2", read=qwen2, defaults=_QWEN2),
    "qwen3": Family(name="Qwen3", read=qwen3, defaults=_QWEN2 | {"head_dim": 128}),
    "smollm3": Family(
        name="SmolLM3",
        read=_smollm3,
        defaults=sizes(128256, 2048, 11008, 36, 16, 32768, num_key_value_heads=4, tie_word_embeddings=True),
    ),
    "qwen2_moe": Family(name="Qwen2", read=_qwen2_moe, defaults=_QWEN2_MOE),
    "qwen3_moe": Family(name="Qwen3", read=qwen3_moe, aliases=_QWEN_MOE_ALIASES, defaults=QWEN3_MOE_DEFAULTS),
    "qwen3_next": Family(
        name="Qwen3-Next",
        read=_qwen3_next,
        defaults=sizes(
            151936,
            2048,
            5632,
            48,
            16,
            32768,
            num_key_value_heads=2,
            head_dim=256,
            moe_intermediate_size=512,
            shared_expert_intermediate_size=512,
            num_experts_per_tok=10,
            num_experts=512,
        )
        | _LINEAR,
    ),
    "qwen3_5_text": Family(name="Qwen3.5", read=qwen3_5, defaults=QWEN3_5_DEFAULTS),
    "qwen3_5_moe_text": Family(name="Qwen3.5", read=qwen3_5_moe, defaults=QWEN3_5_MOE_DEFAULTS),
}
