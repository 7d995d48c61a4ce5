"""The LLaMA line: RMSNorm, rotary positions, gated MLP; with small differences from family to family."""

from __future__ import annotations

from planner.architecture.hf import modules
from planner.architecture.hf.parts import (
    Family,
    all_or_none,
    decoder,
    every,
    heads,
    layer_types,
    mlp,
    sizes,
    window,
)
from planner.architecture.hf.reader import Config
from planner.architecture.schema_parts import (
    LocalAttention,
    MlpShape,
)
from planner.architecture.schema_text import DecoderArchitecture


def llama(c: Config) -> DecoderArchitecture:
    """LLaMA and everything that kept its shape."""
    return decoder(
        c,
        attention=heads(c, bias=all_or_none(c.flag("attention_bias"))),
        feed_forward=mlp(c, bias=c.flag("mlp_bias")),
    )


def _mistral(c: Config) -> DecoderArchitecture:
    local = window(c)
    return decoder(
        c,
        attention=heads(c),
        feed_forward=mlp(c),
        local_attention=local,
        mixers=layer_types(c, ("sliding",) if local else ("full",)),
    )


def _phi3(c: Config) -> DecoderArchitecture:
    local = window(c)
    return decoder(
        c,
        attention=heads(c),
        feed_forward=mlp(c),
        local_attention=local,
        mixers=("sliding",) if local else ("full",),
        module_names=modules.PHI3,
    )


def _phi3_small(c: Config) -> DecoderArchitecture:
    c.ignore(
        "attention_bias", "blocksparse_block_size", "blocksparse_homo_head_pattern", "blocksparse_num_local_blocks"
    )
    c.ignore("blocksparse_triton_kernel_block_size", "blocksparse_vert_stride", "dense_attention_every_n_layers")
    c.ignore("dummy_token_indices", "ff_dim_multiplier", "gegelu_limit", "gegelu_pad_to_256", "mup_attn_multiplier")
    c.ignore(
        "intermediate_size",
        "mup_embedding_multiplier",
        "mup_use_scaling",
        "pad_sequence_to_multiple_of_64",
        "reorder",
        "hidden_act",
    )
    c.ignore("attention_dropout_prob", "embedding_dropout_prob", "ffn_dropout_prob")
    return decoder(
        c,
        attention=heads(c, bias="qkvo"),
        feed_forward=MlpShape(
            intermediate_size=c.size("ff_intermediate_size"), gated=True, activation="gegelu", bias="all"
        ),
        norm="layernorm",
        dropout=c.rate("embedding_dropout_prob", 0.1) > 0,
        module_names=modules.PHI3_SMALL,
    )


def _gemma(c: Config) -> DecoderArchitecture:
    c.ignore("hidden_activation", "use_bidirectional_attention")
    return decoder(
        c,
        attention=heads(c, bias=all_or_none(c.flag("attention_bias"))),
        feed_forward=mlp(c, act="gelu_pytorch_tanh"),
    )


def _gemma2(c: Config) -> DecoderArchitecture:
    c.ignore("hidden_act", "use_bidirectional_attention", "cache_implementation")
    return decoder(
        c,
        attention=heads(c, bias=all_or_none(c.flag("attention_bias"))),
        local_attention=LocalAttention(window=c.size("sliding_window")),
        mixers=layer_types(c, ("sliding", "full")),
        feed_forward=mlp(c, act_key="hidden_activation", act="gelu_pytorch_tanh"),
        norm_placement="sandwich",
        logit_softcap=c.rate("final_logit_softcapping", 0.0) > 0,
    )


def gemma3(c: Config) -> DecoderArchitecture:
    """Gemma 3 text: five sliding layers to one full, norms on queries and keys."""
    c.ignore("hidden_act", "cache_implementation", "_sliding_window_pattern")
    period = c.size("sliding_window_pattern", 6)
    bidirectional = c.flag("use_bidirectional_attention")
    return decoder(
        c,
        attention=heads(c, bias=all_or_none(c.flag("attention_bias")), qk_norm="head"),
        local_attention=LocalAttention(window=c.size("sliding_window")),
        mixers=layer_types(c, every(c, period, period - 1, "full", "sliding")),
        feed_forward=mlp(c, act_key="hidden_activation", act="gelu_pytorch_tanh"),
        norm_placement="sandwich",
        causal=not bidirectional,
        logit_softcap=c.rate("final_logit_softcapping") > 0,
    )


def _cohere(c: Config) -> DecoderArchitecture:
    bias = all_or_none(c.flag("attention_bias"))
    return decoder(
        c,
        attention=heads(c, bias=bias, qk_norm="full" if c.flag("use_qk_norm") else "none"),
        feed_forward=mlp(c),
        norm="layernorm_nobias",
        norm_placement="shared",
    )


def _cohere2(c: Config) -> DecoderArchitecture:
    period = c.size("sliding_window_pattern", 4)
    c.ignore("use_qk_norm", "order_of_interleaved_layers", "position_embedding_type", "use_gated_activation")
    c.ignore(
        "use_embedding_sharing", "use_parallel_block", "use_parallel_embedding", "layer_switch", "cache_implementation"
    )
    return decoder(
        c,
        attention=heads(c, bias=all_or_none(c.flag("attention_bias"))),
        local_attention=LocalAttention(window=c.size("sliding_window")),
        mixers=layer_types(c, every(c, period, period - 1, "full", "sliding")),
        feed_forward=mlp(c),
        norm="layernorm_nobias",
        norm_placement="shared",
    )


def _olmo(c: Config) -> DecoderArchitecture:
    bias = all_or_none(c.flag("attention_bias"))
    return decoder(c, attention=heads(c, bias=bias), feed_forward=mlp(c), norm="nonparametric")


def _olmo2(c: Config) -> DecoderArchitecture:
    bias = all_or_none(c.flag("attention_bias"))
    return decoder(c, attention=heads(c, bias=bias, qk_norm="full"), feed_forward=mlp(c), norm_placement="post")


def _olmo3(c: Config) -> DecoderArchitecture:
    bias = all_or_none(c.flag("attention_bias"))
    return decoder(
        c,
        attention=heads(c, bias=bias, qk_norm="full"),
        local_attention=LocalAttention(window=c.size("sliding_window")),
        mixers=layer_types(c, every(c, 4, 3, "full", "sliding")),
        feed_forward=mlp(c),
        norm_placement="post",
    )


_LLAMA = sizes(32000, 4096, 11008, 32, 32, 2048)


_COHERE = sizes(256000, 8192, 22528, 40, 64, 8192, tie_word_embeddings=True)


FAMILIES = {
    "llama": Family(name="Llama", read=llama, defaults=_LLAMA),
    "yi": Family(name="Yi", read=llama, defaults=_LLAMA),
    "granite": Family(name="Granite", read=llama, defaults=_LLAMA),
    "mistral": Family(
        name="Mistral",
        read=_mistral,
        defaults=sizes(32000, 4096, 14336, 32, 32, 131072, num_key_value_heads=8, sliding_window=4096),
    ),
    "phi3": Family(name="Phi-3", read=_phi3, defaults=sizes(32064, 3072, 8192, 32, 32, 4096)),
    "phi3small": Family(
        name="Phi-3",
        read=_phi3_small,
        defaults=sizes(100352, 4096, 14336, 32, 32, 8192, tie_word_embeddings=True, ff_intermediate_size=14336),
    ),
    "gemma": Family(
        name="Gemma",
        read=_gemma,
        defaults=sizes(
            256000, 3072, 24576, 28, 16, 8192, num_key_value_heads=16, head_dim=256, tie_word_embeddings=True
        ),
    ),
    "gemma2": Family(
        name="Gemma-2",
        read=_gemma2,
        defaults=sizes(
            256000,
            2304,
            9216,
            26,
            8,
            8192,
            num_key_value_heads=4,
            head_dim=256,
            tie_word_embeddings=True,
            sliding_window=4096,
            final_logit_softcapping=30.0,
        ),
    ),
    "gemma3_text": Family(
        name="Gemma-3",
        read=gemma3,
        defaults=sizes(
            262208,
            2304,
            9216,
            26,
            8,
            131072,
            num_key_value_heads=4,
            head_dim=256,
            tie_word_embeddings=True,
            sliding_window=4096,
        ),
    ),
    "cohere": Family(name="Command-R", read=_cohere, defaults=_COHERE),
    "cohere2": Family(name="Command-R", read=_cohere2, defaults=_COHERE | {"sliding_window": 4096}),
    "olmo": Family(name="OLMo", read=_olmo, defaults=sizes(50304, 4096, 11008, 32, 32, 2048)),
    "olmo2": Family(name="OLMo-2", read=_olmo2, defaults=sizes(50304, 4096, 11008, 32, 32, 2048)),
    "olmo3": Family(name="OLMo-3", read=_olmo3, defaults=sizes(50304, 4096, 11008, 32, 32, 2048, sliding_window=4096)),
}
