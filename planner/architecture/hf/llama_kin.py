"""Cousins of LLaMA: GLM, ChatGLM, EXAONE, InternLM, StableLM, ERNIE and others."""

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
)
from planner.architecture.hf.reader import Config
from planner.architecture.schema_parts import (
    LinearBias,
    LocalAttention,
    MlpShape,
)
from planner.architecture.schema_text import DecoderArchitecture, Mixer


def _exaone4(c: Config) -> DecoderArchitecture:
    """EXAONE 4: the pattern is a period or a word such as LLLG."""
    pattern = c.raw("sliding_window_pattern")
    size = c.count("sliding_window")
    otherwise: tuple[Mixer, ...] = ("full",)
    if size and isinstance(pattern, str):
        otherwise = tuple("full" if letter == "G" else "sliding" for letter in pattern)
    elif size:
        period = c.size("sliding_window_pattern", 4)
        otherwise = every(c, period, period - 1, "full", "sliding")
    mixers = layer_types(c, otherwise)
    return decoder(
        c,
        attention=heads(c, qk_norm="head"),
        local_attention=LocalAttention(window=size) if size else None,
        mixers=mixers,
        feed_forward=mlp(c),
        norm_placement="post",
    )


def _exaone(c: Config) -> DecoderArchitecture:
    return decoder(c, attention=heads(c), feed_forward=mlp(c, act_key="activation_function"))


def _stablelm(c: Config) -> DecoderArchitecture:
    qk_norm = "full" if c.flag("qk_layernorm") else "none"
    return decoder(
        c,
        attention=heads(c, bias="qkv" if c.flag("use_qkv_bias") else "none", qk_norm=qk_norm),
        feed_forward=mlp(c),
        norm="layernorm",
        norm_placement="shared" if c.flag("use_parallel_residual") else "pre",
        dropout=c.rate("hidden_dropout") > 0,
    )


def _glm(c: Config) -> DecoderArchitecture:
    bias: LinearBias = "qkv" if c.flag("attention_bias", True) else "none"
    return decoder(c, attention=heads(c, bias=bias), feed_forward=mlp(c), module_names=modules.FUSED_GATE)


def _glm4(c: Config) -> DecoderArchitecture:
    bias: LinearBias = "qkv" if c.flag("attention_bias", True) else "none"
    return decoder(
        c,
        attention=heads(c, bias=bias),
        feed_forward=mlp(c),
        norm_placement="sandwich",
        module_names=modules.FUSED_GATE,
    )


def _chatglm(c: Config) -> DecoderArchitecture:
    """ChatGLM2/3 and the first GLM-4: one fused matrix for q, k, v and one for gate and up."""
    grouped = c.flag("multi_query_attention")
    groups = c.optional_size("multi_query_group_num")
    shape = heads(c, bias="qkv" if c.flag("add_qkv_bias") or c.flag("add_bias_linear") else "none")
    c.ignore("apply_query_key_layer_scaling", "apply_residual_connection_post_layernorm", "attention_softmax_in_fp32")
    c.ignore("bias_dropout_fusion", "fp32_residual_connection", "interleaved_qkv", "original_rope", "pre_seq_len")
    c.ignore("post_layer_norm", "prefix_projection", "quantization_bit", "rmsnorm", "classifier_dropout")
    return decoder(
        c,
        attention=shape.model_copy(update={"num_kv_heads": groups}) if grouped and groups else shape,
        feed_forward=MlpShape(
            intermediate_size=c.size("intermediate_size"),
            gated=True,
            activation="silu",
            bias="all" if c.flag("add_bias_linear") else "none",
        ),
        module_names=modules.CHATGLM,
    )


def _baichuan(c: Config) -> DecoderArchitecture:
    """Baichuan: LLaMA with one fused matrix for q, k and v; the 13B models use ALiBi."""
    c.ignore("z_loss_weight")
    alibi = "max_position_embeddings" not in c.given()
    return decoder(
        c,
        attention=heads(c),
        feed_forward=mlp(c),
        position="alibi" if alibi else "rope",
        module_names=modules.BAICHUAN,
    )


def _internlm(c: Config) -> DecoderArchitecture:
    return decoder(c, attention=heads(c, bias=all_or_none(c.flag("bias"))), feed_forward=mlp(c))


def _internlm2(c: Config) -> DecoderArchitecture:
    bias = all_or_none(c.flag("bias"))
    return decoder(c, attention=heads(c, bias=bias), feed_forward=mlp(c), module_names=modules.INTERNLM2)


def _internlm3(c: Config) -> DecoderArchitecture:
    qkv, out = c.flag("qkv_bias") or c.flag("attention_bias"), c.flag("bias") or c.flag("attention_bias")
    bias: LinearBias = "qkvo" if qkv and out else "qkv" if qkv else "o" if out else "none"
    return decoder(c, attention=heads(c, bias=bias), feed_forward=mlp(c, bias=c.flag("mlp_bias") or c.flag("bias")))


def _ernie(c: Config) -> DecoderArchitecture:
    bias = c.flag("use_bias")
    return decoder(c, attention=heads(c, bias=all_or_none(bias)), feed_forward=mlp(c, bias=bias))


def _seed_oss(c: Config) -> DecoderArchitecture:
    qkv, out = c.flag("attention_bias", True), c.flag("attention_out_bias")
    bias: LinearBias = "qkvo" if qkv and out else "qkv" if qkv else "o" if out else "none"
    return decoder(
        c,
        attention=heads(c, bias=bias),
        feed_forward=mlp(c, bias=c.flag("mlp_bias")),
        dropout=c.rate("residual_dropout") > 0,
        attention_dropout=c.rate("attention_dropout") > 0,
    )


def _nemotron_nas(c: Config) -> DecoderArchitecture:
    """Llama-Nemotron found by architecture search: some layers lose attention, MLP widths vary."""
    blocks = c.sequence("block_configs") or ()
    hidden = c.size("hidden_size")
    groups = {b["attention"]["n_heads_in_group"] for b in blocks if not b["attention"].get("no_op")}
    shape = heads(c, kv_key="num_attention_heads")
    kv = shape.num_heads // groups.pop() if len(groups) == 1 else shape.num_heads
    widths = tuple(256 * -(-int(2 * b["ffn"]["ffn_mult"] * hidden / 3) // 256) for b in blocks)
    return decoder(
        c,
        attention=shape.model_copy(update={"num_kv_heads": kv}),
        mixers=tuple("none" if b["attention"].get("no_op") else "full" for b in blocks),
        feed_forward=MlpShape(intermediate_size=max(widths), gated=True, activation=c.activation()),
        intermediate_sizes=widths,
    )


_GLM = sizes(151552, 4096, 13696, 40, 32, 131072, num_key_value_heads=2, head_dim=128)


_EXAONE_ALIASES = {"num_hidden_layers": "num_layers", "layer_norm_eps": "layer_norm_epsilon"}


_CHATGLM_ALIASES = {
    "num_hidden_layers": "num_layers",
    "intermediate_size": "ffn_hidden_size",
    "head_dim": "kv_channels",
    "vocab_size": "padded_vocab_size",
    "max_position_embeddings": "seq_length",
}


FAMILIES = {
    "exaone": Family(
        name="EXAONE", read=_exaone, aliases=_EXAONE_ALIASES, defaults=sizes(102400, 2048, 8192, 32, 32, 2048)
    ),
    "exaone4": Family(
        name="EXAONE",
        read=_exaone4,
        defaults=sizes(102400, 4096, 16384, 32, 32, 2048, num_key_value_heads=32, sliding_window=4096),
    ),
    "stablelm": Family(
        name="StableLM",
        read=_stablelm,
        defaults=sizes(50304, 2560, 6912, 32, 32, 4096, num_key_value_heads=32),
    ),
    "glm": Family(name="GLM-4", read=_glm, defaults=_GLM),
    "glm4": Family(name="GLM-4", read=_glm4, defaults=_GLM),
    "chatglm": Family(
        name="ChatGLM", read=_chatglm, aliases=_CHATGLM_ALIASES, defaults=sizes(65024, 4096, 13696, 28, 32, 2048)
    ),
    "baichuan": Family(name="Baichuan", read=_baichuan, defaults=sizes(125696, 4096, 11008, 32, 32, 4096)),
    "internlm": Family(name="InternLM", read=_internlm, defaults=sizes(103168, 4096, 11008, 32, 32, 2048, bias=True)),
    "internlm2": Family(name="InternLM", read=_internlm2, defaults=sizes(103168, 4096, 11008, 32, 32, 2048)),
    "internlm3": Family(
        name="InternLM",
        read=_internlm3,
        defaults=sizes(128512, 4096, 10240, 48, 32, 32768, num_key_value_heads=2, head_dim=128),
    ),
    "ernie4_5": Family(
        name="ERNIE-4.5",
        read=_ernie,
        defaults=sizes(
            103424, 1024, 3072, 18, 16, 131072, num_key_value_heads=2, head_dim=128, tie_word_embeddings=True
        ),
    ),
    "seed_oss": Family(
        name="Seed-OSS",
        read=_seed_oss,
        defaults=sizes(
            155136,
            4096,
            27648,
            64,
            80,
            524288,
            num_key_value_heads=8,
            head_dim=128,
            attention_dropout=0.1,
            residual_dropout=0.1,
        ),
    ),
    "nemotron-nas": Family(
        name="Llama-Nemotron", read=_nemotron_nas, defaults=sizes(128256, 8192, 28672, 80, 64, 131072)
    ),
}
