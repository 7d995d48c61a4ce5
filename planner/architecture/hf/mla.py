"""Decoders with latent or compressed attention: DeepSeek, Kimi, the newer GLM."""

from __future__ import annotations

from typing import Any

from planner.architecture.hf import modules
from planner.architecture.hf.moe import sparse_layers
from planner.architecture.hf.parts import Family, decoder, expect_each_layer, experts, latent, layer_types, mlp, sizes
from planner.architecture.hf.reader import Config
from planner.architecture.schema_parts import IndexerShape, KdaShape, MoeShape
from planner.architecture.schema_text import DecoderArchitecture, DeepseekV4Architecture
from planner.errors import InputError


def _experts(c: Config) -> MoeShape:
    """Routed experts with shared ones counted in widths of one expert."""
    shared = c.count("n_shared_experts") * c.size("moe_intermediate_size")
    return experts(c, num="n_routed_experts", width="moe_intermediate_size", shared_intermediate_size=shared)


def _deepseek_v3(c: Config) -> DecoderArchitecture:
    c.ignore("mlp_bias", "kv_b_bias", "max_window_layers", "rope_interleave")
    return decoder(
        c,
        latent_attention=latent(c),
        feed_forward=mlp(c),
        moe=_experts(c),
        module_names=modules.MLA,
        **sparse_layers(c),
    )


def _indexer(c: Config) -> IndexerShape:
    c.ignore("indexer_types", "indexer_rope_interleave", "index_topk_freq", "layer_types", "rope_interleave")
    return IndexerShape(
        num_heads=c.size("index_n_heads"), head_dim=c.size("index_head_dim"), top_k=c.size("index_topk")
    )


def _deepseek_v32(c: Config) -> DecoderArchitecture:
    c.ignore("mlp_bias", "indexer_types")
    return decoder(
        c,
        latent_attention=latent(c, indexer=_indexer(c)),
        feed_forward=mlp(c),
        moe=_experts(c),
        module_names=modules.MLA,
        **sparse_layers(c),
    )


def _kimi_linear(c: Config) -> DecoderArchitecture:
    """Kimi Linear: delta attention in most layers, latent attention in the rest (numbered from 1 in the config)."""
    linear = c.part("linear_attn_config")
    listed = linear.sequence("full_attn_layers")
    linear.ignore("kda_layers")
    num_layers = c.size("num_hidden_layers")
    if listed is not None:
        mixers = tuple("full" if i + 1 in listed else "recurrent" for i in range(num_layers))
    else:
        mixers = layer_types(c, tuple("full" if i and i % 4 == 0 else "recurrent" for i in range(num_layers)))
    shape = KdaShape(
        num_heads=linear.size("num_heads", c.size("linear_num_heads", 32)),
        head_dim=linear.size("head_dim", c.size("linear_head_dim", 128)),
        conv_width=linear.size("short_conv_kernel_size", c.size("linear_conv_kernel_dim", 4)),
    )
    c.ignore("mla_use_nope", "moe_layer_freq")
    shared = c.count("num_shared_experts") * c.size("moe_intermediate_size")
    return decoder(
        c,
        latent_attention=latent(c),
        recurrent=shape,
        mixers=mixers,
        feed_forward=mlp(c),
        moe=experts(
            c,
            num="num_experts",
            width="moe_intermediate_size",
            top_k="num_experts_per_token",
            shared_intermediate_size=shared,
        ),
        module_names=modules.MLA,
        **sparse_layers(c),
    )


COMPRESSION = {"sliding_attention": 0, "compressed_sparse_attention": 4, "heavily_compressed_attention": 128}


def _deepseek_v4(c: Config) -> DeepseekV4Architecture:
    num_layers = c.size("num_hidden_layers")
    ratios = c.sequence("compress_ratios")
    types = c.sequence("layer_types")
    rates = {k: v for k, v in dict(c.raw("compress_rates") or {}).items()}
    if ratios is not None:
        # the list may end with the entries of multi-token prediction layers
        ratios = ratios[:num_layers]
    elif types is not None:
        known = COMPRESSION | rates
        unknown = sorted({str(t) for t in types} - set(known))
        if unknown:
            raise InputError(f"{c.where('layer_types')}: unknown kind of layer {unknown[0]!r}")
        ratios = expect_each_layer(c, "layer_types", tuple(known[t] for t in types))
    else:
        ratios = tuple(128 if i < 3 or i % 2 == 0 else 4 for i in range(num_layers))
    c.ignore("head_dim", "num_key_value_heads", "qk_rope_head_dim", "num_hash_layers", "hash_routed_layers")
    c.ignore("mlp_layer_types", "hc_eps", "hc_sinkhorn_iters", "attention_bias", "compress_rope_theta", "mlp_bias")
    c.ignore("compress_rope_parameters", "o_bias", "max_position_embeddings", "tie_word_embeddings", "n_hash_layers")
    width = c.size("moe_intermediate_size")
    return DeepseekV4Architecture(
        num_layers=num_layers,
        hidden_size=c.size("hidden_size"),
        vocab_size=c.size("vocab_size"),
        num_heads=c.size("num_attention_heads"),
        head_dim=c.size("head_dim"),
        q_lora_rank=c.size("q_lora_rank"),
        o_groups=c.size("o_groups"),
        o_lora_rank=c.size("o_lora_rank"),
        window=c.size("sliding_window"),
        compress_ratios=ratios,
        indexer=IndexerShape(
            num_heads=c.size("index_n_heads"), head_dim=c.size("index_head_dim"), top_k=c.size("index_topk")
        ),
        hyper_connections=c.size("hc_mult"),
        moe=experts(
            c,
            num="n_routed_experts",
            width="moe_intermediate_size",
            shared_intermediate_size=c.count("n_shared_experts") * width,
        ),
    )


def _mla_sizes(base: dict[str, Any], **more: Any) -> dict[str, Any]:
    return base | {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "num_experts_per_tok": 8, **more}


_V3 = _mla_sizes(
    sizes(129280, 7168, 18432, 61, 128, 4096),
    q_lora_rank=1536,
    qk_nope_head_dim=128,
    v_head_dim=128,
    moe_intermediate_size=2048,
    n_shared_experts=1,
    n_routed_experts=256,
    first_k_dense_replace=3,
)
_INDEX = {"index_n_heads": 64, "index_head_dim": 128, "index_topk": 2048}
_V2 = sizes(
    102400,
    4096,
    11008,
    32,
    32,
    2048,
    kv_lora_rank=512,
    q_lora_rank=1536,
    qk_rope_head_dim=64,
    qk_nope_head_dim=128,
    v_head_dim=128,
    moe_intermediate_size=1407,
    n_shared_experts=2,
    n_routed_experts=64,
)

FAMILIES = {
    "deepseek_v2": Family(name="DeepSeek-V2", read=_deepseek_v3, defaults=_V2),
    "deepseek_v3": Family(name="DeepSeek-V3", read=_deepseek_v3, defaults=_V3),
    "kimi_k2": Family(name="Kimi", read=_deepseek_v3, defaults=_V3),
    "deepseek_v32": Family(
        name="DeepSeek-V3.2", read=_deepseek_v32, defaults=_V3 | _INDEX | {"max_position_embeddings": 163840}
    ),
    "glm4_moe_lite": Family(
        name="GLM-4.7",
        read=_deepseek_v3,
        defaults=_mla_sizes(
            sizes(154880, 2048, 10240, 47, 20, 202752),
            q_lora_rank=768,
            qk_nope_head_dim=192,
            v_head_dim=256,
            moe_intermediate_size=1536,
            n_shared_experts=1,
            n_routed_experts=64,
            num_experts_per_tok=4,
            first_k_dense_replace=1,
        ),
    ),
    "glm_moe_dsa": Family(
        name="GLM-5",
        read=_deepseek_v32,
        defaults=_mla_sizes(
            sizes(154880, 6144, 12288, 78, 64, 202752),
            q_lora_rank=2048,
            qk_nope_head_dim=192,
            v_head_dim=256,
            moe_intermediate_size=2048,
            n_shared_experts=1,
            n_routed_experts=256,
            first_k_dense_replace=3,
            index_n_heads=32,
            index_head_dim=128,
            index_topk=2048,
        ),
    ),
    "kimi_linear": Family(
        name="Kimi",
        read=_kimi_linear,
        defaults=sizes(
            163840,
            2304,
            9216,
            27,
            32,
            1048576,
            kv_lora_rank=512,
            qk_rope_head_dim=64,
            qk_nope_head_dim=128,
            v_head_dim=128,
            moe_intermediate_size=1024,
            num_shared_experts=1,
            num_experts=256,
            num_experts_per_token=8,
            first_k_dense_replace=1,
        ),
        context_key="model_max_length",
    ),
    "deepseek_v4": Family(
        name="DeepSeek-V4",
        read=_deepseek_v4,
        defaults={
            "vocab_size": 129280,
            "hidden_size": 4096,
            "moe_intermediate_size": 2048,
            "num_hidden_layers": 43,
            "num_attention_heads": 64,
            "head_dim": 512,
            "q_lora_rank": 1024,
            "num_experts_per_tok": 6,
            "n_routed_experts": 256,
            "n_shared_experts": 1,
            "max_position_embeddings": 1048576,
            "o_groups": 8,
            "o_lora_rank": 1024,
            "sliding_window": 128,
            "hc_mult": 4,
            "index_n_heads": 64,
            "index_head_dim": 128,
            "index_topk": 512,
        },
    ),
}
