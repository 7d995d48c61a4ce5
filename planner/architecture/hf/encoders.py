"""Encoder-only and encoder-decoder language models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.architecture.hf import modules
from planner.architecture.hf.parts import Family, all_or_none, dropouts, heads, layer_types, mlp, plain_mlp, sizes
from planner.architecture.hf.reader import Config
from planner.architecture.schema_parts import AttentionShape, MlpShape
from planner.architecture.schema_text import BertArchitecture, EncoderDecoderArchitecture
from planner.errors import InputError

BERT_DROPOUT: dict[str, Any] = {"residual": ("hidden_dropout_prob",), "attention": "attention_probs_dropout_prob"}


def encoder(c: Config, **parts: Any) -> BertArchitecture:
    """An encoder from its common keys and what the family puts in. Heads for a task are not counted."""
    for key in (
        "position_embedding_type",
        "use_cache",
        "classifier_dropout",
        "gradient_checkpointing",
        "directionality",
    ):
        c.ignore(key)
    c.ignore("tie_word_embeddings", "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers")
    c.ignore("pooler_size_per_head", "pooler_type", "max_position_embeddings", "embedding_size", "attention_type")
    common: dict[str, Any] = {
        "num_layers": c.size("num_hidden_layers"),
        "hidden_size": c.size("hidden_size"),
        "vocab_size": c.size("vocab_size"),
    }
    return BertArchitecture(**(common | parts))


def _bert_like(c: Config, *, names: Mapping[str, str] = modules.BERT, **parts: Any) -> BertArchitecture:
    c.refuse("add_cross_attention", "cross attention in an encoder is not modelled")
    common: dict[str, Any] = {
        "attention": heads(c, bias="qkvo"),
        "feed_forward": plain_mlp(c),
        "position_rows": c.size("max_position_embeddings"),
        "num_token_types": c.count("type_vocab_size"),
        "module_names": names,
        **dropouts(c, **BERT_DROPOUT),
    }
    return encoder(c, **(common | parts))


def _bert(c: Config) -> BertArchitecture:
    return _bert_like(c, pooler=True)


def _distilbert(c: Config) -> BertArchitecture:
    c.ignore("sinusoidal_pos_embds", "tie_weights_", "qa_dropout", "seq_classif_dropout", "output_past")
    rates = dropouts(c, residual=("dropout",), attention="attention_dropout")
    feed_forward = plain_mlp(c, act_key="activation")
    return _bert_like(c, names=modules.DISTILBERT, num_token_types=0, feed_forward=feed_forward, **rates)


def _albert(c: Config) -> BertArchitecture:
    for key in ("num_hidden_groups", "inner_group_num"):
        if c.size(key, 1) != 1:
            raise InputError(f"{c.where(key)}: only one group of shared layers is modelled")
    c.ignore("down_scale_factor", "gap_size", "net_structure_type", "num_memory_blocks", "layers_to_keep")
    width = c.size("embedding_size")
    return _bert_like(c, names=modules.ALBERT, pooler=True, embedding_size=width, share_layers=True)


def _electra(c: Config) -> BertArchitecture:
    width, hidden = c.size("embedding_size"), c.size("hidden_size")
    c.ignore("summary_use_proj")
    return _bert_like(c, embedding_size=width if width != hidden else None)


def _mpnet(c: Config) -> BertArchitecture:
    buckets = c.size("relative_attention_num_buckets")
    return _bert_like(c, names=modules.MPNET, pooler=True, num_token_types=0, num_relative_buckets=buckets)


def _deberta_v2(c: Config) -> BertArchitecture:
    """DeBERTa v2 and v3; one table of relative positions serves all layers."""
    if c.count("conv_kernel_size"):
        raise InputError(f"{c.where('conv_kernel_size')}: the convolution of DeBERTa-v2-xlarge is not modelled")
    relative = c.flag("relative_attention")
    shared = c.flag("share_att_key")
    kinds = c.raw("pos_att_type") or ()
    if relative and kinds and not shared:
        raise InputError(f"{c.where('share_att_key')}: position projections of their own are not modelled")
    buckets = c.raw("position_buckets", -1)
    farthest = c.raw("max_relative_positions", -1)
    context = c.size("max_position_embeddings")
    reach = buckets if buckets and buckets > 0 else farthest if farthest and farthest > 0 else context
    with_norm = "layer_norm" in c.word("norm_rel_ebd", "none")
    if relative and not with_norm:
        raise InputError(f"{c.where('norm_rel_ebd')}: relative positions without a norm are not modelled")
    biased_input = c.flag("position_biased_input", True)
    c.ignore("conv_act", "pooler_hidden_act", "pooler_hidden_size", "padding_idx", "legacy", "pooler_dropout")
    return _bert_like(
        c,
        names=modules.DEBERTA,
        position_rows=context if biased_input else 0,
        num_relative_rows=2 * reach if relative else 0,
    )


def _modernbert(c: Config) -> BertArchitecture:
    c.refuse("norm_bias", "norms with a bias are not modelled")
    period = c.size("global_attn_every_n_layers", 3)
    num_layers = c.size("num_hidden_layers")
    mixers = layer_types(c, tuple("sliding" if i % period else "full" for i in range(num_layers)))
    for key in ("classifier_activation", "classifier_bias", "classifier_pooling", "decoder_bias", "sparse_prediction"):
        c.ignore(key)
    c.ignore(
        "sparse_pred_ignore_index", "global_rope_theta", "local_rope_theta", "repad_logits_with_grad", "unpad_inputs"
    )
    c.ignore("reference_compile", "hidden_act", "embedding_dropout", "mlp_dropout", "compile")
    rates = dropouts(c, residual=("embedding_dropout", "mlp_dropout"), attention="attention_dropout")
    return encoder(
        c,
        attention=heads(c, bias=all_or_none(c.flag("attention_bias"))),
        feed_forward=mlp(c, bias=c.flag("mlp_bias"), act_key="hidden_activation", act="gelu"),
        mixers=mixers,
        window=c.size("local_attention"),
        norm="layernorm_nobias",
        final_norm=True,
        first_layer_unnormed=True,
        module_names=modules.MODERNBERT,
        **rates,
    )


def _nomic(c: Config) -> BertArchitecture:
    """Nomic BERT under its own name (remote code, GPT-2 keys) and the library's."""
    for key in (
        "attn_pdrop",
        "resid_pdrop",
        "embd_pdrop",
        "activation_function",
        "prenorm",
        "parallel_block",
        "use_xentropy",
    ):
        c.ignore(key)
    for key in (
        "fused_bias_fc",
        "fused_dropout_add_ln",
        "mlp_fc1_bias",
        "mlp_fc2_bias",
        "qkv_proj_bias",
        "use_rms_norm",
    ):
        c.ignore(key)
    c.ignore("pad_vocab_size_multiple", "last_layer_subset", "causal", "dense_seq_output", "max_trained_positions")
    c.ignore("parallel_block_tied_norm", "embd_pdrop", "head_dim", "hidden_act")
    return encoder(
        c,
        attention=heads(c),
        feed_forward=MlpShape(intermediate_size=c.size("intermediate_size"), gated=True, activation="silu"),
        num_token_types=c.count("type_vocab_size"),
        **dropouts(c, **BERT_DROPOUT),
    )


def _gte(c: Config) -> BertArchitecture:
    """GTE's own encoder, as remote code (`new`) and in the library."""
    for key in ("layer_norm_type", "logn_attention_clip1", "logn_attention_scale", "pack_qkv", "unpad_inputs"):
        c.ignore(key)
    c.ignore("use_memory_efficient_attention", "position_embedding_type")
    width = c.size("intermediate_size")
    return encoder(
        c,
        attention=heads(c, bias="qkvo"),
        feed_forward=MlpShape(
            intermediate_size=width, gated=True, activation=c.activation(default="gelu"), bias="down"
        ),
        num_token_types=c.count("type_vocab_size"),
        module_names=modules.GTE,
        **dropouts(c, **BERT_DROPOUT),
    )


def _t5(c: Config) -> EncoderDecoderArchitecture:
    """T5, mT5, UL2. `gated-gelu` is the MLP of version 1.1."""
    how = c.word("feed_forward_proj", "relu")
    gated = how.startswith("gated-")
    c.ignore("dense_act_fn", "is_gated_act", "relative_attention_max_distance", "n_positions", "scale_decoder_outputs")
    num_heads = c.size("num_attention_heads")
    layers = c.size("num_layers")
    rate = c.rate("dropout_rate") > 0
    inner = "gelu" if "gelu" in how else "silu" if "silu" in how else "relu"
    return EncoderDecoderArchitecture(
        kind="t5",
        num_layers=c.size("num_decoder_layers", layers),
        num_encoder_layers=layers,
        hidden_size=c.size("hidden_size"),
        vocab_size=c.size("vocab_size"),
        tied_embeddings=c.flag("tie_word_embeddings", True),
        attention=AttentionShape(num_heads=num_heads, num_kv_heads=num_heads, head_dim=c.size("d_kv")),
        feed_forward=MlpShape(intermediate_size=c.size("intermediate_size"), gated=gated, activation=inner),
        num_relative_buckets=c.size("relative_attention_num_buckets"),
        dropout=rate,
        attention_dropout=rate,
        module_names=modules.T5_GATED if gated else modules.T5,
    )


def _bart(c: Config) -> EncoderDecoderArchitecture:
    for half in ("encoder", "decoder"):
        if c.size(f"{half}_attention_heads") != c.size("encoder_attention_heads"):
            raise InputError(f"{c.where(f'{half}_attention_heads')}: both halves must have the same heads")
    hidden, num_heads = c.size("hidden_size"), c.size("encoder_attention_heads")
    if hidden % num_heads:
        raise InputError(f"{c.where('d_model')} {hidden} is not a multiple of encoder_attention_heads {num_heads}")
    c.ignore(
        "num_hidden_layers", "add_bias_logits", "add_final_layer_norm", "classif_dropout", "static_position_embeddings"
    )
    c.ignore("extra_pos_embeddings", "force_bos_token_to_be_generated", "save_step", "gradient_checkpointing")
    return EncoderDecoderArchitecture(
        kind="bart",
        num_layers=c.size("decoder_layers"),
        num_encoder_layers=c.size("encoder_layers"),
        hidden_size=hidden,
        vocab_size=c.size("vocab_size"),
        tied_embeddings=c.flag("tie_word_embeddings", True),
        attention=AttentionShape(
            num_heads=num_heads, num_kv_heads=num_heads, head_dim=hidden // num_heads, bias="qkvo"
        ),
        feed_forward=MlpShape(
            intermediate_size=c.size("decoder_ffn_dim"),
            gated=False,
            activation=c.activation("activation_function", "gelu"),
            bias="all",
        ),
        encoder_intermediate_size=c.size("encoder_ffn_dim"),
        # two rows are kept for padding
        position_rows=c.size("max_position_embeddings") + 2,
        module_names=modules.BART,
        **dropouts(c, residual=("dropout",), attention="attention_dropout"),
    )


_BERT = sizes(
    30522,
    768,
    3072,
    12,
    12,
    512,
    type_vocab_size=2,
    hidden_dropout_prob=0.1,
    attention_probs_dropout_prob=0.1,
)
_NOMIC_ALIASES = {
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "intermediate_size": "n_inner",
    "max_position_embeddings": "n_positions",
}
_T5_ALIASES = {"hidden_size": "d_model", "num_attention_heads": "num_heads", "intermediate_size": "d_ff"}
_T5 = {
    "vocab_size": 32128,
    "hidden_size": 512,
    "d_kv": 64,
    "intermediate_size": 2048,
    "num_layers": 6,
    "num_attention_heads": 8,
    "relative_attention_num_buckets": 32,
    "dropout_rate": 0.1,
}

FAMILIES = {
    "bert": Family(name="BERT", read=_bert, task="encoder", defaults=_BERT),
    "roberta": Family(name="RoBERTa", read=_bert, task="encoder", defaults=_BERT | {"vocab_size": 50265}),
    "camembert": Family(name="RoBERTa", read=_bert, task="encoder", defaults=_BERT),
    "xlm-roberta": Family(name="XLM-RoBERTa", read=_bert, task="encoder", defaults=_BERT),
    "distilbert": Family(
        name="DistilBERT",
        read=_distilbert,
        task="encoder",
        aliases={
            "hidden_size": "dim",
            "num_hidden_layers": "n_layers",
            "num_attention_heads": "n_heads",
            "intermediate_size": "hidden_dim",
        },
        defaults=_BERT | {"num_hidden_layers": 6, "dropout": 0.1, "attention_dropout": 0.1, "type_vocab_size": 0},
    ),
    "albert": Family(
        name="ALBERT",
        read=_albert,
        task="encoder",
        defaults=sizes(30000, 4096, 16384, 12, 64, 512, embedding_size=128, type_vocab_size=2),
    ),
    "electra": Family(
        name="ELECTRA",
        read=_electra,
        task="encoder",
        defaults=_BERT
        | {"embedding_size": 128, "hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024},
    ),
    "mpnet": Family(
        name="MPNet",
        read=_mpnet,
        task="encoder",
        defaults=_BERT | {"vocab_size": 30527, "relative_attention_num_buckets": 32},
    ),
    "deberta-v2": Family(
        name="DeBERTa-v3",
        read=_deberta_v2,
        task="encoder",
        defaults=_BERT
        | {
            "vocab_size": 128100,
            "hidden_size": 1536,
            "num_hidden_layers": 24,
            "num_attention_heads": 24,
            "intermediate_size": 6144,
            "type_vocab_size": 0,
        },
    ),
    "modernbert": Family(
        name="ModernBERT",
        read=_modernbert,
        task="encoder",
        defaults=sizes(50368, 768, 1152, 22, 12, 8192, local_attention=128),
    ),
    "nomic_bert": Family(
        name="Nomic",
        read=_nomic,
        task="encoder",
        aliases=_NOMIC_ALIASES,
        defaults=sizes(30528, 768, 3072, 12, 12, 2048, type_vocab_size=2),
    ),
    "gte": Family(
        name="GTE",
        read=_gte,
        task="encoder",
        defaults=sizes(250048, 768, 3072, 12, 12, 8192, type_vocab_size=1, hidden_dropout_prob=0.1),
    ),
    "new": Family(
        name="GTE",
        read=_gte,
        task="encoder",
        defaults=sizes(30528, 768, 3072, 12, 12, 2048, type_vocab_size=1, hidden_dropout_prob=0.1),
    ),
    "t5": Family(name="T5", read=_t5, task="seq2seq", aliases=_T5_ALIASES, defaults=_T5, context_key="n_positions"),
    "mt5": Family(
        name="mT5",
        read=_t5,
        task="seq2seq",
        aliases=_T5_ALIASES,
        defaults=_T5
        | {
            "vocab_size": 250112,
            "intermediate_size": 1024,
            "num_layers": 8,
            "num_attention_heads": 6,
            "feed_forward_proj": "gated-gelu",
        },
        context_key="n_positions",
    ),
    "bart": Family(
        name="BART",
        read=_bart,
        task="seq2seq",
        aliases={"hidden_size": "d_model"},
        defaults={
            "vocab_size": 50265,
            "max_position_embeddings": 1024,
            "encoder_layers": 12,
            "encoder_ffn_dim": 4096,
            "encoder_attention_heads": 16,
            "decoder_layers": 12,
            "decoder_ffn_dim": 4096,
            "decoder_attention_heads": 16,
            "hidden_size": 1024,
            "dropout": 0.1,
        },
    ),
}
