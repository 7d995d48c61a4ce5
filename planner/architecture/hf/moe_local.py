"""Routed decoders that mix full layers with sliding or chunked ones: MiMo-V2, Llama 4."""

from __future__ import annotations

from planner.architecture.hf.moe import sparse_layers
from planner.architecture.hf.parts import (
    Family,
    decoder,
    experts,
    heads,
    layer_types,
    mlp,
    sizes,
)
from planner.architecture.hf.reader import Config
from planner.architecture.schema_parts import (
    AttentionShape,
    LinearBias,
    LocalAttention,
    MlpShape,
)
from planner.architecture.schema_text import DecoderArchitecture, FeedForwardKind, Mixer


def _mimo_layers(c: Config) -> tuple[Mixer, ...]:
    """The library's order: full attention first and in every sixth layer."""
    return tuple("full" if i == 0 or (i + 1) % 6 == 0 else "sliding" for i in range(c.size("num_hidden_layers")))


def _mimo(c: Config) -> DecoderArchitecture:
    """MiMo-V2: full and sliding layers with K/V heads of their own; wider keys than values."""
    num_heads, kv = c.size("num_attention_heads"), c.size("num_key_value_heads")
    key_dim, value_dim = c.size("head_dim"), c.size("v_head_dim")
    pattern = c.sequence("hybrid_layer_pattern")
    mixers = tuple("sliding" if x else "full" for x in pattern) if pattern else layer_types(c, _mimo_layers(c))
    freq = c.sequence("moe_layer_freq")
    listed = {"feed_forwards": tuple("moe" if x else "dense" for x in freq or ())}
    layers = sparse_layers(c) if freq is None else listed
    sink_local, sink_full = c.flag("add_swa_attention_sink_bias", True), c.flag("add_full_attention_sink_bias")
    bias: LinearBias = "qkv" if c.flag("attention_bias") else "none"
    local = AttentionShape(
        num_heads=c.size("swa_num_attention_heads", num_heads),
        num_kv_heads=c.size("swa_num_key_value_heads", kv),
        head_dim=c.size("swa_head_dim", key_dim),
        value_dim=c.size("swa_v_head_dim", value_dim),
        bias=bias,
        sinks=sink_local,
    )
    c.ignore(
        "swa_rope_theta", "sliding_window_size", "attention_value_scale", "attention_chunk_size", "n_shared_experts"
    )
    return decoder(
        c,
        attention=AttentionShape(
            num_heads=num_heads, num_kv_heads=kv, head_dim=key_dim, value_dim=value_dim, bias=bias, sinks=sink_full
        ),
        local_attention=LocalAttention(window=c.size("sliding_window"), attention=local),
        mixers=mixers,
        feed_forward=mlp(c),
        moe=experts(c, num="n_routed_experts", width="moe_intermediate_size"),
        **layers,
    )


def llama4(c: Config) -> DecoderArchitecture:
    """Llama 4: three chunked layers to one without positions; experts in every or every other layer."""
    step = c.size("interleave_moe_layer_step", 1)
    num_layers = c.size("num_hidden_layers")
    routed = c.sequence("moe_layers") or tuple(range(step - 1, num_layers, step))
    kinds: tuple[FeedForwardKind, ...] = tuple("moe" if i in routed else "dense" for i in range(num_layers))
    no_rope = c.sequence("no_rope_layers") or tuple(0 if (i + 1) % 4 == 0 else 1 for i in range(num_layers))
    c.ignore(
        "no_rope_layer_interval",
        "use_qk_norm",
        "attn_scale",
        "attn_temperature_tuning",
        "floor_scale",
        "for_llm_compressor",
    )
    c.ignore("attention_bias")
    width = c.size("intermediate_size")
    dense = MlpShape(intermediate_size=c.size("intermediate_size_mlp"), gated=True, activation=c.activation())
    mixers = layer_types(c, tuple("chunked" if rope else "full" for rope in no_rope))
    return decoder(
        c,
        attention=heads(c),
        local_attention=LocalAttention(window=c.size("attention_chunk_size")),
        mixers=mixers,
        feed_forwards=kinds,
        feed_forward=dense if "dense" in kinds else None,
        moe=experts(c, num="num_local_experts", width="intermediate_size", shared_intermediate_size=width),
    )


LLAMA4_DEFAULTS = sizes(
    202048,
    5120,
    8192,
    48,
    40,
    131072,
    intermediate_size_mlp=16384,
    num_key_value_heads=8,
    head_dim=128,
    num_experts_per_tok=1,
    num_local_experts=16,
    attention_chunk_size=8192,
)


FAMILIES = {
    "mimo_v2_flash": Family(
        name="MiMo",
        read=_mimo,
        defaults=sizes(
            152576,
            4096,
            16384,
            48,
            64,
            131072,
            num_key_value_heads=4,
            head_dim=192,
            v_head_dim=128,
            swa_num_key_value_heads=8,
            sliding_window=128,
            moe_intermediate_size=2048,
            n_routed_experts=256,
            num_experts_per_tok=8,
            first_k_dense_replace=1,
        ),
    ),
    "llama4_text": Family(name="Llama-4", read=llama4, defaults=LLAMA4_DEFAULTS),
}
