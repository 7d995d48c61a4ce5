"""Decoders before LLaMA: LayerNorm, biases, plain MLPs, learned or ALiBi positions."""

from __future__ import annotations

from planner.architecture.hf import modules
from planner.architecture.hf.parts import (
    Family,
    all_or_none,
    decoder,
    dropouts,
    heads,
    layer_types,
    mlp,
    plain_mlp,
)
from planner.architecture.hf.reader import Config
from planner.architecture.schema_parts import LocalAttention, MlpShape
from planner.architecture.schema_text import DecoderArchitecture, NormPlacement
from planner.errors import InputError

GPT_ALIASES = {
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "num_key_value_heads": "n_head_kv",
    "intermediate_size": "n_inner",
    "max_position_embeddings": "n_positions",
}


def _gpt2(c: Config) -> DecoderArchitecture:
    """GPT-2; `num_key_value_heads` or `n_head_kv` makes it grouped-query, as some benchmarks do."""
    c.refuse("add_cross_attention", "cross attention in GPT-2 is not modelled")
    c.ignore("n_ctx")
    return decoder(
        c,
        attention=heads(c, bias="qkvo"),
        feed_forward=plain_mlp(c, act_key="activation_function", act="gelu_new"),
        norm="layernorm",
        position="learned",
        position_rows=c.size("max_position_embeddings"),
        module_names=modules.GPT2,
        **dropouts(c, residual=("resid_pdrop", "embd_pdrop"), attention="attn_pdrop"),
    )


def _gpt_bigcode(c: Config) -> DecoderArchitecture:
    c.refuse("add_cross_attention", "cross attention in GPT-BigCode is not modelled")
    c.ignore("inference_runner", "max_batch_size", "max_sequence_length", "pad_key_length", "pre_allocate_kv_cache")
    c.ignore("attention_head_type", "validate_runner_input", "n_ctx", "num_key_value_heads")
    multi_query = c.flag("multi_query", True)
    every_head = heads(c, bias="qkvo", kv_key="num_attention_heads")
    shape = every_head.model_copy(update={"num_kv_heads": 1}) if multi_query else every_head
    return decoder(
        c,
        attention=shape,
        feed_forward=plain_mlp(c, act_key="activation_function", act="gelu_pytorch_tanh"),
        norm="layernorm",
        position="learned",
        position_rows=c.size("max_position_embeddings"),
        module_names=modules.GPT2,
        **dropouts(c, residual=("resid_pdrop", "embd_pdrop"), attention="attn_pdrop"),
    )


def _gpt_neo(c: Config) -> DecoderArchitecture:
    types, pairs = c.sequence("attention_layers"), c.sequence("attention_types") or ()
    if types is None:
        types = tuple(kind for kinds, repeats in pairs for _ in range(repeats) for kind in kinds)
    mixers = tuple("sliding" if kind == "local" else "full" for kind in types) or ("full", "sliding")
    return decoder(
        c,
        attention=heads(c, bias="o"),
        local_attention=LocalAttention(window=c.size("window_size")),
        mixers=mixers,
        feed_forward=plain_mlp(c, act_key="activation_function", act="gelu_new"),
        norm="layernorm",
        position="learned",
        position_rows=c.size("max_position_embeddings"),
        module_names=modules.GPT_NEO,
        **dropouts(c, residual=("resid_dropout", "embed_dropout"), attention="attention_dropout"),
    )


def _gptj(c: Config) -> DecoderArchitecture:
    c.ignore("rotary_dim", "n_ctx", "rotary")
    return decoder(
        c,
        attention=heads(c),
        feed_forward=plain_mlp(c, act_key="activation_function", act="gelu_new"),
        norm="layernorm",
        norm_placement="shared",
        lm_head_bias=True,
        module_names=modules.GPTJ,
        **dropouts(c, residual=("resid_pdrop", "embd_pdrop"), attention="attn_pdrop"),
    )


def _gpt_neox(c: Config) -> DecoderArchitecture:
    parallel = c.flag("use_parallel_residual", True)
    return decoder(
        c,
        attention=heads(c, bias=all_or_none(c.flag("attention_bias", True))),
        feed_forward=mlp(c, gated=False, bias=True, act="gelu"),
        norm="layernorm",
        norm_placement="parallel" if parallel else "pre",
        module_names=modules.NEOX,
        **dropouts(c, residual=("hidden_dropout",), attention="attention_dropout"),
    )


def _opt(c: Config) -> DecoderArchitecture:
    hidden = c.size("hidden_size")
    width = c.optional_size("word_embed_proj_dim") or hidden
    before = c.flag("do_layer_norm_before", True)
    bias = c.flag("enable_bias", True)
    affine = c.flag("layer_norm_elementwise_affine", True)
    return decoder(
        c,
        attention=heads(c, bias=all_or_none(bias)),
        feed_forward=plain_mlp(c, act_key="activation_function", act="relu", bias=bias),
        norm="layernorm" if affine else "nonparametric",
        norm_placement="pre" if before else "post",
        final_norm=before and not c.flag("_remove_final_layer_norm"),
        position="learned",
        # the first two rows are kept for padding
        position_rows=c.size("max_position_embeddings") + 2,
        embedding_size=width if width != hidden else None,
        module_names=modules.OPT,
        **dropouts(c, residual=("dropout",), attention="attention_dropout"),
    )


def _bloom(c: Config) -> DecoderArchitecture:
    c.ignore(
        "apply_residual_connection_post_layernorm", "seq_length", "offset_alibi", "masked_softmax_fusion", "n_inner"
    )
    c.ignore("attention_softmax_in_fp32", "bias_dropout_fusion", "unk_token_id", "skip_bias_add", "skip_bias_add_qkv")
    hidden = c.size("hidden_size")
    return decoder(
        c,
        attention=heads(c, bias="qkvo"),
        feed_forward=MlpShape(intermediate_size=4 * hidden, gated=False, activation="gelu", bias="all"),
        norm="layernorm",
        position="alibi",
        embedding_norm=True,
        module_names=modules.NEOX,
        **dropouts(c, residual=("hidden_dropout",), attention="attention_dropout"),
    )


def _falcon(c: Config) -> DecoderArchitecture:
    """Falcon: multi-query (7B) or grouped-query (40B, 180B), one or two norms before parallel branches."""
    new = c.flag("new_decoder_architecture")
    bias = c.flag("bias")
    alibi = c.flag("alibi")
    multi_query = c.flag("multi_query", True)
    parallel = c.flag("parallel_attn", True)
    num_norms = c.optional_size("num_ln_in_parallel_attn")
    num_heads, hidden = c.size("num_attention_heads"), c.size("hidden_size")
    kv_heads = c.optional_size("num_key_value_heads")
    every_head = heads(c, bias=all_or_none(bias), kv_key="num_attention_heads")
    old_kv = 1 if multi_query else num_heads
    kv = kv_heads or num_heads if new else old_kv
    if num_heads % kv:
        raise InputError(f"{c.where('num_attention_heads')} {num_heads} is not a multiple of num_kv_heads {kv}")
    placement: NormPlacement = "pre"
    if new:
        placement = "shared" if num_norms == 1 else "parallel"
    elif parallel:
        placement = "shared"
    c.ignore("seq_length", "n_inner", "apply_residual_connection_post_layernorm")
    return decoder(
        c,
        attention=every_head.model_copy(update={"num_kv_heads": kv}),
        feed_forward=MlpShape(
            intermediate_size=c.optional_size("ffn_hidden_size") or 4 * hidden,
            gated=False,
            activation=c.activation("activation", "gelu"),
            bias="all" if bias else "none",
        ),
        norm="layernorm",
        norm_placement=placement,
        position="alibi" if alibi else "rope",
        module_names=modules.NEOX,
        **dropouts(c, residual=("hidden_dropout",), attention="attention_dropout"),
    )


def _mpt(c: Config) -> DecoderArchitecture:
    attention = c.part("attn_config", aliases={"num_key_value_heads": "kv_n_heads"})
    attention.ignore("attn_impl", "attn_type", "attn_uses_sequence_id", "softmax_scale", "prefix_lm", "alibi_bias_max")
    attention.ignore("clip_qkv", "rope", "rope_impl", "sliding_window_size", "model_type")
    attention.refuse("qk_ln", "norms on queries and keys of MPT are not modelled")
    attention.flag("alibi", True)
    c.ignore("emb_init_std", "embedding_fraction", "emb_dropout", "no_bias", "norm_type", "verbose", "learned_pos_emb")
    c.ignore(
        "init_config", "init_device", "resid_pdrop", "emb_pdrop", "use_cache", "fc_type", "ffn_config", "param_init_fn"
    )
    ratio, hidden = c.size("expansion_ratio", 4), c.size("hidden_size")
    every_head = heads(c, kv_key="num_attention_heads")
    kv = attention.optional_size("num_key_value_heads") or every_head.num_heads
    return decoder(
        c,
        attention=every_head.model_copy(update={"num_kv_heads": kv}),
        feed_forward=MlpShape(intermediate_size=ratio * hidden, gated=False, activation="gelu"),
        norm="layernorm_nobias",
        position="alibi",
        module_names=modules.MPT,
    )


def _phi(c: Config) -> DecoderArchitecture:
    c.refuse("qk_layernorm", "norms on queries and keys of Phi are not modelled")
    return decoder(
        c,
        attention=heads(c, bias="qkvo"),
        feed_forward=mlp(c, gated=False, bias=True, act="gelu_new"),
        norm="layernorm",
        norm_placement="shared",
        lm_head_bias=True,
        module_names=modules.PHI,
        **dropouts(c, residual=("resid_pdrop", "embd_pdrop"), attention="attention_dropout"),
    )


def _starcoder2(c: Config) -> DecoderArchitecture:
    bias = c.flag("use_bias", True)
    c.ignore("norm_type", "mlp_type")
    size = c.count("sliding_window")
    return decoder(
        c,
        attention=heads(c, bias=all_or_none(bias)),
        mixers=layer_types(c, ("sliding",) if size else ("full",)),
        local_attention=LocalAttention(window=size) if size else None,
        feed_forward=mlp(c, gated=False, bias=bias, act="gelu_pytorch_tanh"),
        norm="layernorm",
        module_names=modules.STARCODER2,
        **dropouts(c, residual=("residual_dropout", "embedding_dropout"), attention="attention_dropout"),
    )


def _nemotron(c: Config) -> DecoderArchitecture:
    return decoder(
        c,
        attention=heads(c, bias=all_or_none(c.flag("attention_bias"))),
        feed_forward=mlp(c, gated=False, bias=c.flag("mlp_bias"), act="relu2"),
        norm="layernorm",
    )


_GPT = {"vocab_size": 50257, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
_GPT_DROPOUT = {"resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1}
_TIED = {"tie_word_embeddings": True}

FAMILIES = {
    "gpt2": Family(
        name="GPT-2",
        read=_gpt2,
        aliases=GPT_ALIASES,
        defaults=_GPT | _GPT_DROPOUT | _TIED | {"max_position_embeddings": 1024},
    ),
    "gpt_bigcode": Family(
        name="StarCoder",
        read=_gpt_bigcode,
        aliases=GPT_ALIASES,
        defaults=_GPT | _GPT_DROPOUT | _TIED | {"max_position_embeddings": 1024},
    ),
    "gpt_neo": Family(
        name="GPT-Neo",
        read=_gpt_neo,
        aliases={"num_hidden_layers": "num_layers", "num_attention_heads": "num_heads"},
        defaults=_TIED
        | {
            "vocab_size": 50257,
            "max_position_embeddings": 2048,
            "hidden_size": 2048,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "window_size": 256,
        },
    ),
    "gptj": Family(
        name="GPT-J",
        read=_gptj,
        aliases=GPT_ALIASES,
        defaults={
            "vocab_size": 50400,
            "max_position_embeddings": 2048,
            "hidden_size": 4096,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
        },
    ),
    "gpt_neox": Family(
        name="GPT-NeoX",
        read=_gpt_neox,
        defaults={
            "vocab_size": 50432,
            "hidden_size": 6144,
            "num_hidden_layers": 44,
            "num_attention_heads": 64,
            "intermediate_size": 24576,
            "max_position_embeddings": 2048,
        },
    ),
    "opt": Family(
        name="OPT",
        read=_opt,
        aliases={"intermediate_size": "ffn_dim"},
        defaults=_TIED
        | {
            "vocab_size": 50272,
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "intermediate_size": 3072,
            "max_position_embeddings": 2048,
            "num_attention_heads": 12,
            "dropout": 0.1,
        },
    ),
    "bloom": Family(
        name="BLOOM",
        read=_bloom,
        aliases={**GPT_ALIASES, "hidden_size": ("n_embed", "n_embd"), "max_position_embeddings": "seq_length"},
        defaults=_TIED | {"vocab_size": 250880, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 8},
        context_key="seq_length",
    ),
    "falcon": Family(
        name="Falcon",
        read=_falcon,
        aliases={**GPT_ALIASES, "num_key_value_heads": "num_kv_heads"},
        defaults=_TIED
        | {
            "vocab_size": 65024,
            "hidden_size": 4544,
            "num_hidden_layers": 32,
            "num_attention_heads": 71,
            "max_position_embeddings": 2048,
        },
    ),
    "mpt": Family(
        name="MPT",
        read=_mpt,
        aliases={
            "hidden_size": "d_model",
            "num_hidden_layers": "n_layers",
            "num_attention_heads": "n_heads",
            "max_position_embeddings": "max_seq_len",
        },
        defaults=_TIED
        | {
            "vocab_size": 50368,
            "hidden_size": 2048,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "max_position_embeddings": 2048,
        },
    ),
    "phi": Family(
        name="Phi",
        read=_phi,
        defaults={
            "vocab_size": 51200,
            "hidden_size": 2048,
            "intermediate_size": 8192,
            "num_hidden_layers": 24,
            "num_attention_heads": 32,
            "max_position_embeddings": 2048,
        },
    ),
    "starcoder2": Family(
        name="StarCoder2",
        read=_starcoder2,
        defaults=_TIED
        | {
            "vocab_size": 49152,
            "hidden_size": 3072,
            "intermediate_size": 12288,
            "num_hidden_layers": 30,
            "num_attention_heads": 24,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
        },
    ),
    "nemotron": Family(
        name="Nemotron",
        read=_nemotron,
        defaults={
            "vocab_size": 256000,
            "hidden_size": 6144,
            "intermediate_size": 24576,
            "num_hidden_layers": 32,
            "num_attention_heads": 48,
            "max_position_embeddings": 4096,
        },
    ),
}
