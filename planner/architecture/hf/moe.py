"""Decoders with routed experts and ordinary attention."""

from __future__ import annotations

from typing import Any

from planner.architecture.hf import modules
from planner.architecture.hf.parts import (
    Family,
    all_or_none,
    decoder,
    expect_each_layer,
    experts,
    heads,
    layer_types,
    mlp,
    sizes,
    window,
)
from planner.architecture.hf.reader import Config
from planner.architecture.schema_parts import (
    LinearBias,
    LocalAttention,
    MoeShape,
)
from planner.architecture.schema_text import DecoderArchitecture, FeedForwardKind

SPARSITY: dict[str, FeedForwardKind] = {"dense": "dense", "sparse": "moe", "moe": "moe"}


def sparse_layers(c: Config) -> dict[str, Any]:
    """Which layers route: `mlp_layer_types`, or the first few dense and the others sparse."""
    listed = c.sequence("mlp_layer_types")
    first = c.count("first_k_dense_replace")
    step = c.size("moe_layer_freq", 1)
    num_layers = c.size("num_hidden_layers")
    if listed is not None:
        return {"feed_forwards": expect_each_layer(c, "mlp_layer_types", tuple(SPARSITY[str(x)] for x in listed))}
    if step == 1 and first < num_layers:
        return {"feed_forwards": ("moe",), "num_first_dense": first}
    kinds: tuple[FeedForwardKind, ...] = tuple(
        "moe" if i >= first and i % step == 0 else "dense" for i in range(num_layers)
    )
    return {"feed_forwards": kinds}


def _mixtral(c: Config) -> DecoderArchitecture:
    local = window(c)
    return decoder(
        c,
        attention=heads(c),
        local_attention=local,
        mixers=("sliding",) if local else ("full",),
        feed_forwards=("moe",),
        moe=experts(c, num="num_local_experts", width="intermediate_size"),
    )


def _phimoe(c: Config) -> DecoderArchitecture:
    c.ignore("input_jitter_noise")
    local = window(c)
    return decoder(
        c,
        attention=heads(c, bias=all_or_none(c.flag("attention_bias"))),
        local_attention=local,
        mixers=("sliding",) if local else ("full",),
        feed_forwards=("moe",),
        moe=experts(c, num="num_local_experts", width="intermediate_size"),
        norm="layernorm",
        lm_head_bias=c.flag("lm_head_bias"),
    )


def _olmoe(c: Config) -> DecoderArchitecture:
    return decoder(
        c,
        attention=heads(c, bias=all_or_none(c.flag("attention_bias")), qk_norm="full"),
        feed_forwards=("moe",),
        moe=experts(c, num="num_experts", width="intermediate_size"),
    )


def _granitemoe(c: Config) -> DecoderArchitecture:
    shared = c.count("shared_intermediate_size")
    return decoder(
        c,
        attention=heads(c, bias=all_or_none(c.flag("attention_bias"))),
        feed_forwards=("moe",),
        moe=experts(c, num="num_local_experts", width="intermediate_size", shared_intermediate_size=shared),
    )


def _gpt_oss(c: Config) -> DecoderArchitecture:
    c.ignore("experts_per_token", "initial_context_length")
    return decoder(
        c,
        attention=heads(c, bias=all_or_none(c.flag("attention_bias", True)), sinks=True),
        local_attention=LocalAttention(window=c.size("sliding_window")),
        mixers=layer_types(c, ("sliding", "full")),
        feed_forwards=("moe",),
        moe=experts(c, num="num_local_experts", width="intermediate_size", router_bias=True, expert_bias=True),
    )


def _glm4_moe(c: Config) -> DecoderArchitecture:
    bias: LinearBias = "qkv" if c.flag("attention_bias") else "none"
    return decoder(
        c,
        attention=heads(c, bias=bias, qk_norm="head" if c.flag("use_qk_norm") else "none"),
        feed_forward=mlp(c),
        moe=_shared_by_count(c),
        **sparse_layers(c),
    )


def _shared_by_count(c: Config, **more: Any) -> MoeShape:
    """Experts whose shared part is so many times as wide as one (DeepSeek's way of writing it)."""
    shared = c.count("n_shared_experts") * c.size("moe_intermediate_size")
    return experts(c, num="n_routed_experts", width="moe_intermediate_size", shared_intermediate_size=shared, **more)


def _deepseek(c: Config) -> DecoderArchitecture:
    """DeepSeek-MoE, the first: ordinary attention."""
    return decoder(
        c,
        attention=heads(c, bias=all_or_none(c.flag("attention_bias"))),
        feed_forward=mlp(c),
        moe=_shared_by_count(c),
        **sparse_layers(c),
    )


def _minimax_m2(c: Config) -> DecoderArchitecture:
    c.ignore("attn_type_list", "layernorm_full_attention_beta", "layernorm_linear_attention_beta", "layernorm_mlp_beta")
    c.ignore(
        "mlp_intermediate_size", "qk_norm_type", "shared_moe_mode", "use_routing_bias", "max_model_len", "block_size"
    )
    full = c.flag("use_qk_norm", True)
    shared = c.count("shared_intermediate_size")
    return decoder(
        c,
        attention=heads(c, qk_norm="full" if full else "none"),
        feed_forwards=("moe",),
        moe=experts(c, num="num_local_experts", width="intermediate_size", shared_intermediate_size=shared),
    )


def _dbrx(c: Config) -> DecoderArchitecture:
    attention = c.part("attn_config", defaults={"kv_n_heads": 1})
    ffn = c.part("ffn_config", defaults={"ffn_hidden_size": 3584, "moe_num_experts": 4, "moe_top_k": 1})
    attention.ignore("clip_qkv", "model_type", "kv_cache_dtype")
    ffn.ignore(
        "ffn_act_fn", "moe_jitter_eps", "moe_loss_weight", "moe_normalize_expert_weights", "uniform_expert_assignment"
    )
    ffn.ignore("hidden_size", "model_type")
    c.ignore("num_key_value_heads", "resid_pdrop", "emb_pdrop")
    shape = heads(c, kv_key="num_attention_heads")
    return decoder(
        c,
        attention=shape.model_copy(update={"num_kv_heads": attention.size("kv_n_heads")}),
        feed_forwards=("moe",),
        moe=MoeShape(
            num_experts=ffn.size("moe_num_experts"),
            top_k=ffn.size("moe_top_k"),
            intermediate_size=ffn.size("ffn_hidden_size"),
        ),
        norm="layernorm_nobias",
        module_names=modules.DBRX,
    )


def _grok(c: Config) -> DecoderArchitecture:
    c.ignore("attn_output_multiplier", "output_multiplier_scale", "max_attn_value", "widening_factor")
    return decoder(
        c,
        attention=heads(c),
        feed_forwards=("moe",),
        moe=experts(c, num="num_experts", width="intermediate_size", activation="gelu"),
        norm_placement="sandwich",
    )


def _ernie_moe(c: Config) -> DecoderArchitecture:
    first, last = c.count("moe_layer_start_index", 1), c.raw("moe_layer_end_index", -1)
    step, num_layers = c.size("moe_layer_interval", 1), c.size("num_hidden_layers")
    end = num_layers - 1 if last in (None, -1) else last
    c.ignore("moe_norm_min", "moe_use_aux_free", "moe_capacity", "moe_gate", "num_nextn_predict_layers")
    bias = c.flag("use_bias")
    inner = c.size("moe_intermediate_size")
    kinds: tuple[FeedForwardKind, ...] = tuple(
        "moe" if first <= i <= end and (i + 1) % step == 0 else "dense" for i in range(num_layers)
    )
    return decoder(
        c,
        attention=heads(c, bias=all_or_none(bias)),
        feed_forwards=kinds,
        feed_forward=mlp(c, bias=bias),
        moe=experts(
            c,
            num="moe_num_experts",
            width="moe_intermediate_size",
            top_k="moe_k",
            # a correction of the scores, one value an expert
            router_bias=True,
            shared_intermediate_size=c.count("moe_num_shared_experts") * inner,
        ),
    )


_MIXTRAL = sizes(32000, 4096, 14336, 32, 32, 131072, num_key_value_heads=8, num_local_experts=8, num_experts_per_tok=2)


_DEEPSEEK = sizes(
    102400, 4096, 11008, 30, 32, 2048, num_key_value_heads=32, moe_intermediate_size=1407, moe_layer_freq=1
)


FAMILIES = {
    "mixtral": Family(name="Mixtral", read=_mixtral, defaults=_MIXTRAL),
    "phimoe": Family(
        name="Phi-3",
        read=_phimoe,
        defaults=sizes(
            32064, 4096, 6400, 32, 32, 131072, num_key_value_heads=8, num_local_experts=16, num_experts_per_tok=2
        ),
    ),
    "olmoe": Family(
        name="OLMo",
        read=_olmoe,
        defaults=sizes(50304, 2048, 2048, 16, 16, 4096, num_experts=64, num_experts_per_tok=8),
    ),
    "granitemoe": Family(
        name="Granite",
        read=_granitemoe,
        defaults=sizes(32000, 4096, 11008, 32, 32, 2048, num_local_experts=8, num_experts_per_tok=2),
    ),
    "granitemoeshared": Family(
        name="Granite",
        read=_granitemoe,
        defaults=sizes(32000, 4096, 11008, 32, 32, 2048, num_local_experts=8, num_experts_per_tok=2),
    ),
    "gpt_oss": Family(
        name="gpt-oss",
        read=_gpt_oss,
        defaults=sizes(
            201088,
            2880,
            2880,
            36,
            64,
            131072,
            num_key_value_heads=8,
            head_dim=64,
            sliding_window=128,
            num_local_experts=128,
            num_experts_per_tok=4,
        ),
    ),
    "glm4_moe": Family(
        name="GLM-4.5",
        read=_glm4_moe,
        defaults=sizes(
            151552,
            4096,
            10944,
            46,
            96,
            131072,
            num_key_value_heads=8,
            moe_intermediate_size=1408,
            num_experts_per_tok=8,
            n_shared_experts=1,
            n_routed_experts=128,
            first_k_dense_replace=1,
        ),
    ),
    "deepseek": Family(name="DeepSeek-MoE", read=_deepseek, defaults=_DEEPSEEK),
    "minimax_m2": Family(
        name="MiniMax",
        read=_minimax_m2,
        defaults=sizes(
            200064,
            3072,
            1536,
            62,
            48,
            196608,
            num_key_value_heads=8,
            head_dim=128,
            num_local_experts=256,
            num_experts_per_tok=8,
        ),
    ),
    "dbrx": Family(
        name="DBRX",
        read=_dbrx,
        aliases={
            "hidden_size": "d_model",
            "num_hidden_layers": "n_layers",
            "num_attention_heads": "n_heads",
            "max_position_embeddings": "max_seq_len",
        },
        defaults=sizes(32000, 2048, 0, 24, 16, 2048),
    ),
    "grok-1": Family(
        name="Grok",
        read=_grok,
        aliases={"num_experts": "num_local_experts"},
        defaults=sizes(131072, 6144, 32768, 64, 48, 8192, num_key_value_heads=8, tie_word_embeddings=True)
        | {"num_experts": 8, "num_experts_per_tok": 2},
    ),
    "ernie4_5_moe": Family(
        name="ERNIE-4.5",
        read=_ernie_moe,
        defaults=sizes(
            103424,
            2560,
            12288,
            28,
            20,
            131072,
            num_key_value_heads=4,
            tie_word_embeddings=True,
            moe_intermediate_size=1536,
            moe_k=6,
            moe_num_experts=64,
            moe_num_shared_experts=2,
        ),
    ),
}
