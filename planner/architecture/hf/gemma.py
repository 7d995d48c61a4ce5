"""Gemma 3n and Gemma 4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.architecture.hf.parts import Family, all_or_none, decoder, every, experts, heads, layer_types, mlp, sizes
from planner.architecture.hf.reader import Config
from planner.architecture.schema_parts import Gemma4Tower, LocalAttention, MlpShape
from planner.architecture.schema_text import (
    AudioConformer,
    DecoderArchitecture,
    Gemma3nArchitecture,
    MobilenetTower,
)
from planner.errors import InputError

MOBILENET_V5_VALUES = 294_126_912
"""Parameters of the backbone `mobilenetv5_300m_enc`: the published Gemma 3n E4B total less its text, audio
and embedder tensors."""
POOLED_SOFT_TOKENS = 280
"""Positions of one image in Gemma 4 unless the config says otherwise."""


def read_gemma4(c: Config) -> DecoderArchitecture:
    """Gemma 4 text: global layers with wider heads, fewer of them for K, and K serving as V."""
    for key, what in (("hidden_size_per_layer_input", "per-layer embeddings"), ("num_kv_shared_layers", "shared K/V")):
        if c.count(key):
            raise InputError(
                f"{c.where(key)}: {what} of the small Gemma 4 models are not modelled; 0 switches them off"
            )
    c.ignore("use_double_wide_mlp", "vocab_size_per_layer_input", "global_head_dim", "hidden_act")
    c.ignore("num_experts", "top_k_experts", "moe_intermediate_size", "use_bidirectional_attention")
    local = heads(c, bias=all_or_none(c.flag("attention_bias")), qk_norm="head")
    shared = c.flag("attention_k_eq_v")
    global_kv = c.optional_size("num_global_key_value_heads")
    # newer files list the global layers' geometry layer by layer; they are all alike
    each = c.raw("per_layer_config") or {}
    listed: Mapping[str, int] = next(iter(each.values()), {})
    kv = listed.get("num_key_value_heads") or (global_kv if shared else None)
    wide = {
        "head_dim": listed.get("head_dim") or c.size("global_head_dim", 512),
        "num_kv_heads": kv or local.num_kv_heads,
        "key_is_value": shared,
    }
    return decoder(
        c,
        attention=local.model_copy(update=wide),
        local_attention=LocalAttention(window=c.size("sliding_window"), attention=local),
        mixers=layer_types(c, every(c, 6, 5, "full", "sliding")),
        feed_forward=mlp(c, act_key="hidden_activation", act="gelu_pytorch_tanh"),
        norm_placement="sandwich",
        logit_softcap=c.rate("final_logit_softcapping") > 0,
        **_gemma4_experts(c),
    )


def _gemma4_experts(c: Config) -> dict[str, Any]:
    """Experts beside the dense MLP of each layer, where the config has them."""
    if not c.flag("enable_moe_block"):
        return {}
    routed = experts(
        c,
        num="num_experts",
        width="moe_intermediate_size",
        top_k="top_k_experts",
        activation="gelu",
        router_scales=True,
        own_norms=3,
    )
    return {"feed_forwards": ("both",), "moe": routed}


def read_gemma4_tower(c: Config) -> Gemma4Tower | None:
    """The vision tower of Gemma 4, where the config has one."""
    if c.raw("audio_config"):
        raise InputError(f"{c.where('audio_config')}: the audio tower of the small Gemma 4 models is not modelled")
    tokens = c.size("vision_soft_tokens_per_image", POOLED_SOFT_TOKENS)
    if not c.has("vision_config"):
        return None
    pixels = c.part("vision_config", defaults=_VISION)
    num_heads = pixels.size("num_attention_heads")
    if pixels.size("num_key_value_heads", num_heads) != num_heads:
        raise InputError(f"{pixels.where('num_key_value_heads')}: grouped heads in the tower are not modelled")
    pixels.ignore("head_dim", "global_head_dim", "hidden_activation", "max_position_embeddings")
    pixels.ignore(
        "attention_bias", "pooling_kernel_size", "use_clipped_linears", "standardize", "default_output_length"
    )
    return Gemma4Tower(
        hidden_size=pixels.size("hidden_size"),
        num_layers=pixels.size("num_hidden_layers"),
        intermediate_size=pixels.size("intermediate_size"),
        num_heads=num_heads,
        patch_size=pixels.size("patch_size"),
        num_positions=pixels.size("position_embedding_size"),
        tokens_per_image=tokens,
    )


def _gemma3n_text(c: Config) -> Gemma3nArchitecture:
    width = c.raw("intermediate_size")
    widths = set(width) if isinstance(width, list | tuple) else {width}
    if len(widths) != 1:
        raise InputError(f"{c.where('intermediate_size')}: MLPs of different widths are not modelled")
    c.ignore("activation_sparsity_pattern", "altup_active_idx", "altup_coef_clip", "altup_correct_scale", "hidden_act")
    c.ignore("attention_bias", "attn_logit_softcapping", "final_logit_softcapping", "max_position_embeddings")
    c.ignore("query_pre_attn_scalar", "altup_lr_multiplier", "tie_word_embeddings", "vocab_size_per_layer_input")
    listed = layer_types(c, every(c, 5, 4, "full", "sliding"))
    return Gemma3nArchitecture(
        num_layers=c.size("num_hidden_layers"),
        hidden_size=c.size("hidden_size"),
        vocab_size=c.size("vocab_size"),
        mixers=tuple("sliding" if mixer == "sliding" else "full" for mixer in listed),
        window=c.size("sliding_window"),
        attention=heads(c, qk_norm="head"),
        feed_forward=MlpShape(
            intermediate_size=widths.pop(),
            gated=True,
            activation=c.activation("hidden_activation", "gelu_pytorch_tanh"),
        ),
        altup_inputs=c.size("altup_num_inputs"),
        laurel_rank=c.size("laurel_rank"),
        per_layer_vocab_size=c.size("vocab_size_per_layer_input"),
        per_layer_size=c.size("hidden_size_per_layer_input"),
        num_kv_shared_layers=c.count("num_kv_shared_layers", 15),
    )


def _gemma3n(c: Config) -> Gemma3nArchitecture:
    text = _gemma3n_text(c.part("text_config", defaults=_GEMMA3N))
    sound = c.part("audio_config", defaults=_AUDIO)
    for key in ("chunk_size", "context_left", "context_right", "logit_cap"):
        sound.ignore(f"conf_attention_{key}")
    sound.ignore("conf_reduction_factor", "conf_residual_weight", "gradient_clipping", "sscp_conv_group_norm_eps")
    sound.ignore("sscp_conv_eps", "sscp_conv_kernel_size", "sscp_conv_stride_size", "vocab_offset")
    pixels = c.part("vision_config", defaults={"hidden_size": 2048, "vocab_size": 128})
    backbone = pixels.word("architecture", "mobilenetv5_300m_enc")
    if backbone != "mobilenetv5_300m_enc":
        raise InputError(f"{pixels.where('architecture')}: unknown backbone {backbone!r}")
    pixels.ignore("do_pooling", "model_args", "num_classes", "vocab_offset", "label_names")
    c.ignore("audio_soft_tokens_per_image", "tie_word_embeddings")
    return text.model_copy(
        update={
            "audio": AudioConformer(
                hidden_size=sound.size("hidden_size"),
                num_layers=sound.size("conf_num_hidden_layers"),
                num_heads=sound.size("conf_num_attention_heads"),
                conv_width=sound.size("conf_conv_kernel_size"),
                input_features=sound.size("input_feat_size"),
                conv_channels=sound.sizes("sscp_conv_channel_size"),
                vocab_size=sound.size("vocab_size"),
            ),
            "vision": MobilenetTower(
                hidden_size=pixels.size("hidden_size"),
                vocab_size=pixels.size("vocab_size"),
                backbone_values=MOBILENET_V5_VALUES,
                tokens_per_image=c.size("vision_soft_tokens_per_image", 256),
            ),
        }
    )


GEMMA4_TEXT = sizes(
    262144,
    2304,
    9216,
    30,
    8,
    131072,
    num_key_value_heads=4,
    head_dim=256,
    tie_word_embeddings=True,
    sliding_window=512,
    hidden_size_per_layer_input=256,
    num_kv_shared_layers=0,
)
_VISION = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 16,
    "num_attention_heads": 12,
    "num_key_value_heads": 12,
    "patch_size": 16,
    "position_embedding_size": 10240,
}
_GEMMA3N = sizes(
    262400,
    2048,
    16384,
    35,
    8,
    32768,
    num_key_value_heads=2,
    head_dim=256,
    sliding_window=512,
    altup_num_inputs=4,
    laurel_rank=64,
    vocab_size_per_layer_input=262144,
    hidden_size_per_layer_input=256,
)
_AUDIO = {
    "hidden_size": 1536,
    "conf_num_hidden_layers": 12,
    "conf_num_attention_heads": 8,
    "conf_conv_kernel_size": 5,
    "input_feat_size": 128,
    "sscp_conv_channel_size": (128, 32),
    "vocab_size": 128,
}

FAMILIES = {
    "gemma3n_text": Family(name="Gemma-3n", read=_gemma3n_text, defaults=_GEMMA3N),
    "gemma3n": Family(name="Gemma-3n", read=_gemma3n, task="vision-language"),
    "gemma4_text": Family(name="Gemma-4", read=read_gemma4, defaults=GEMMA4_TEXT),
}
