"""From a catalog entry back to the keys of a `config.json`, for replays that build the model itself.

A config is written in a family's words and read again: it counts only if it describes the very tensors of the entry.
What the entry does not hold, because it changes no size (rotary frequencies, epsilons), takes the library's defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from planner.architecture.build import build_model
from planner.architecture.huggingface import FAMILIES, entry_from_config
from planner.architecture.schema import ModelEntry
from planner.architecture.schema_media import VitArchitecture
from planner.architecture.schema_parts import AttentionShape, MlpShape
from planner.architecture.schema_text import BertArchitecture, DecoderArchitecture, EncoderDecoderArchitecture
from planner.errors import InputError

Keys = dict[str, Any]

KIND_NAMES = {"full": "full_attention", "sliding": "sliding_attention", "chunked": "chunked_attention"}
PADDING_ROWS = 2
"""Rows that OPT and BART keep before the first position."""
DROPOUT = 0.1
"""The rate of every family that publishes one (GPT-2, BERT, T5, OPT)."""
PLAIN_DTYPES = ("float32", "float16", "bfloat16")
"""What a config's `dtype` can say; formats of quantised weights stand elsewhere."""
COMMON_NAMES = ("falcon", "bloom")
"""Old files of these families have names of their own; the library reads the common ones."""
HEADLESS = {"llama": "LlamaModel", "mistral": "MistralModel", "qwen2": "Qwen2Model", "qwen3": "Qwen3Model"}
"""Classes that end before the vocabulary, for embedding models."""
LAST_RESORT = ("llama", "qwen2", "mistral")
"""Tried where no family of the entry's name writes its architecture: fine-tunes carry names of their own."""


def config_of(entry: ModelEntry) -> Keys | None:
    """Keys of a `config.json` that transformers builds the model from; None where no family here writes it."""
    named = tuple(kind for kind, family in FAMILIES.items() if family.name == entry.family and kind in WRITERS)
    shaped = tuple(kind for kind in SHAPE_ALONE if kind not in named)
    for kind in (*named, *LAST_RESORT, *shaped):
        keys = _written(kind, entry)
        if keys is not None and _describes(keys, entry):
            return keys
    return None


def _written(kind: str, entry: ModelEntry) -> Keys | None:
    keys = WRITERS[kind](entry)
    if keys is None:
        return None
    aliases = {} if kind in COMMON_NAMES else FAMILIES[kind].aliases
    a = entry.architecture
    if isinstance(a, DecoderArchitecture) and not a.lm_head:
        keys["architectures"] = [HEADLESS.get(kind)]
    names = {key: alias if isinstance(alias, str) else alias[0] for key, alias in aliases.items()}
    renamed = {names.get(key, key): value for key, value in keys.items() if value is not None}
    dtype = {"dtype": entry.native_dtype} if entry.native_dtype in PLAIN_DTYPES else {}
    return {"model_type": kind, **dtype, **renamed}


def _describes(keys: Keys, entry: ModelEntry) -> bool:
    try:
        found = entry_from_config(keys, id=entry.id, source=entry.source)
        own = entry.model_copy(update={"checkpoint": None})
        same = {
            "family": own.family,
            "task": own.task,
            "max_context": own.max_context,
            "native_dtype": own.native_dtype,
        }
        return build_model(found.model_copy(update=same)) == build_model(own)
    except InputError:
        return False


def _decoder(entry: ModelEntry) -> tuple[DecoderArchitecture, AttentionShape, Keys] | None:
    """The keys that all decoders with plain attention share."""
    a = entry.architecture
    if not isinstance(a, DecoderArchitecture) or a.attention is None or a.vision is not None:
        return None
    keys: Keys = {
        "vocab_size": a.vocab_size,
        "hidden_size": a.hidden_size,
        "num_hidden_layers": a.num_layers,
        "num_attention_heads": a.attention.num_heads,
        "max_position_embeddings": a.position_rows or entry.max_context,
        "tie_word_embeddings": a.tied_embeddings,
    }
    return a, a.attention, keys


def _inner(mlp: MlpShape | None) -> int | None:
    return mlp.intermediate_size if mlp else None


def _layers(a: DecoderArchitecture) -> list[str]:
    return [KIND_NAMES.get(mixer, mixer) for mixer in a.layer_mixers]


def _llama_like(
    *,
    bias: str | None = None,
    mlp_bias: str | None = None,
    window: bool = False,
    listed: bool = False,
    head_dim: bool = True,
    **more: Any,
) -> Callable[[ModelEntry], Keys | None]:
    """A family with grouped-query attention and a gated MLP; the arguments name the keys it has beyond that."""

    def write(entry: ModelEntry) -> Keys | None:
        found = _decoder(entry)
        if found is None:
            return None
        a, attention, keys = found
        keys |= {"num_key_value_heads": attention.num_kv_heads, "intermediate_size": _inner(a.feed_forward)}
        if head_dim:
            keys["head_dim"] = attention.head_dim
        if bias:
            keys[bias] = attention.bias != "none"
        if mlp_bias and a.feed_forward:
            keys[mlp_bias] = a.feed_forward.bias == "all"
        if window and a.local_attention is not None:
            keys["sliding_window"] = a.local_attention.window
        elif window:
            keys["sliding_window"] = keys["max_position_embeddings"]
        if listed:
            keys["layer_types"] = _layers(a)
        return keys | more

    return write


def _routed(base: Callable[[ModelEntry], Keys | None], *, num: str, width: str) -> Callable[[ModelEntry], Keys | None]:
    """The family's dense keys and those of its experts."""

    def write(entry: ModelEntry) -> Keys | None:
        keys, a = base(entry), entry.architecture
        if keys is None or not isinstance(a, DecoderArchitecture) or a.moe is None:
            return None
        keys |= {num: a.moe.num_experts, "num_experts_per_tok": a.moe.top_k, width: a.moe.intermediate_size}
        if a.moe.shared_intermediate_size:
            keys["shared_expert_intermediate_size"] = a.moe.shared_intermediate_size
        return keys

    return write


def _qwen_window(base: Callable[[ModelEntry], Keys | None]) -> Callable[[ModelEntry], Keys | None]:
    """Qwen slides only where it is told to."""

    def write(entry: ModelEntry) -> Keys | None:
        keys, a = base(entry), entry.architecture
        if keys is not None and isinstance(a, DecoderArchitecture) and a.local_attention is not None:
            keys |= {"use_sliding_window": True, "sliding_window": a.local_attention.window, "layer_types": _layers(a)}
        return keys

    return write


def _older(*dropouts: str, attention_rate: str, **more: Any) -> Callable[[ModelEntry], Keys | None]:
    """A decoder before LLaMA; `dropouts` are its rates on residuals and embeddings."""

    def write(entry: ModelEntry) -> Keys | None:
        found = _decoder(entry)
        if found is None:
            return None
        a, attention, keys = found
        rates = dict.fromkeys(dropouts, DROPOUT if a.dropout else 0.0)
        rates[attention_rate] = DROPOUT if a.attention_dropout else 0.0
        inner = {"intermediate_size": _inner(a.feed_forward)}
        kv = {} if attention.num_kv_heads == attention.num_heads else {"num_key_value_heads": attention.num_kv_heads}
        return keys | inner | kv | rates | more

    return write


def _neox(entry: ModelEntry) -> Keys | None:
    keys, a = _older("hidden_dropout", attention_rate="attention_dropout")(entry), entry.architecture
    if keys is not None and isinstance(a, DecoderArchitecture):
        keys["use_parallel_residual"] = a.norm_placement == "parallel"
    return keys


def _opt(entry: ModelEntry) -> Keys | None:
    keys, a = _older("dropout", attention_rate="attention_dropout")(entry), entry.architecture
    if keys is not None and isinstance(a, DecoderArchitecture):
        keys["max_position_embeddings"] = a.position_rows - PADDING_ROWS
        keys["do_layer_norm_before"] = a.norm_placement == "pre"
        keys["word_embed_proj_dim"] = a.embedding_size or a.hidden_size
    return keys


def _bloom(entry: ModelEntry) -> Keys | None:
    keys = _older("hidden_dropout", attention_rate="attention_dropout")(entry)
    return None if keys is None else {k: v for k, v in keys.items() if k != "intermediate_size"}


def _falcon(entry: ModelEntry) -> Keys | None:
    keys, a = _older("hidden_dropout", attention_rate="attention_dropout")(entry), entry.architecture
    if keys is None or not isinstance(a, DecoderArchitecture) or a.attention is None:
        return None
    keys.pop("num_key_value_heads", None)
    inner = keys.pop("intermediate_size")
    keys |= {
        "ffn_hidden_size": inner,
        "bias": a.attention.bias != "none",
        "alibi": a.position == "alibi",
        "parallel_attn": a.norm_placement != "pre",
        "multi_query": a.attention.num_kv_heads == 1,
        "new_decoder_architecture": a.norm_placement == "parallel",
    }
    if a.norm_placement == "parallel":
        keys |= {"num_kv_heads": a.attention.num_kv_heads, "multi_query": None}
    return keys


def _starcoder2(entry: ModelEntry) -> Keys | None:
    keys = _older("residual_dropout", "embedding_dropout", attention_rate="attention_dropout")(entry)
    a = entry.architecture
    if keys is not None and isinstance(a, DecoderArchitecture) and a.local_attention is not None:
        keys["sliding_window"] = a.local_attention.window
    return keys


def _cohere(entry: ModelEntry) -> Keys | None:
    keys, a = _llama_like(bias="attention_bias", head_dim=False)(entry), entry.architecture
    if keys is not None and isinstance(a, DecoderArchitecture) and a.attention is not None:
        keys["use_qk_norm"] = a.attention.qk_norm == "full"
    return keys


def _stablelm(entry: ModelEntry) -> Keys | None:
    keys, a = _llama_like(head_dim=False)(entry), entry.architecture
    if keys is not None and isinstance(a, DecoderArchitecture) and a.attention is not None:
        keys |= {
            "use_qkv_bias": a.attention.bias == "qkv",
            "qk_layernorm": a.attention.qk_norm == "full",
            "use_parallel_residual": a.norm_placement == "shared",
            "hidden_dropout": DROPOUT if a.dropout else 0.0,
        }
    return keys


def _bert(entry: ModelEntry) -> Keys | None:
    a = entry.architecture
    if not isinstance(a, BertArchitecture):
        return None
    return {
        "vocab_size": a.vocab_size,
        "hidden_size": a.hidden_size,
        "num_hidden_layers": a.num_layers,
        "num_attention_heads": a.attention.num_heads,
        "intermediate_size": a.feed_forward.intermediate_size,
        "max_position_embeddings": a.position_rows,
        "type_vocab_size": a.num_token_types,
        "hidden_dropout_prob": DROPOUT if a.dropout else 0.0,
        "attention_probs_dropout_prob": DROPOUT if a.attention_dropout else 0.0,
    }


def _distilbert(entry: ModelEntry) -> Keys | None:
    keys = _bert(entry)
    if keys is None:
        return None
    for own, key in (("dropout", "hidden_dropout_prob"), ("attention_dropout", "attention_probs_dropout_prob")):
        keys[own] = keys.pop(key)
    return {k: v for k, v in keys.items() if k != "type_vocab_size"}


def _t5(entry: ModelEntry) -> Keys | None:
    a = entry.architecture
    if not isinstance(a, EncoderDecoderArchitecture) or a.kind != "t5":
        return None
    how = f"gated-{a.feed_forward.activation}" if a.feed_forward.gated else a.feed_forward.activation
    return {
        "vocab_size": a.vocab_size,
        "hidden_size": a.hidden_size,
        "d_kv": a.attention.head_dim,
        "intermediate_size": a.feed_forward.intermediate_size,
        "num_layers": a.num_encoder_layers,
        "num_decoder_layers": a.num_layers,
        "num_attention_heads": a.attention.num_heads,
        "relative_attention_num_buckets": a.num_relative_buckets,
        "feed_forward_proj": how,
        "tie_word_embeddings": a.tied_embeddings,
        "dropout_rate": DROPOUT if a.dropout else 0.0,
    }


def _bart(entry: ModelEntry) -> Keys | None:
    a = entry.architecture
    if not isinstance(a, EncoderDecoderArchitecture) or a.kind != "bart":
        return None
    return {
        "vocab_size": a.vocab_size,
        "hidden_size": a.hidden_size,
        "encoder_layers": a.num_encoder_layers,
        "decoder_layers": a.num_layers,
        "encoder_attention_heads": a.attention.num_heads,
        "decoder_attention_heads": a.attention.num_heads,
        "encoder_ffn_dim": a.encoder_intermediate_size or a.feed_forward.intermediate_size,
        "decoder_ffn_dim": a.feed_forward.intermediate_size,
        "max_position_embeddings": a.position_rows - PADDING_ROWS,
        "activation_function": a.feed_forward.activation,
        "tie_word_embeddings": a.tied_embeddings,
        "dropout": DROPOUT if a.dropout else 0.0,
        "attention_dropout": DROPOUT if a.attention_dropout else 0.0,
    }


def _vit(entry: ModelEntry) -> Keys | None:
    a = entry.architecture
    if not isinstance(a, VitArchitecture):
        return None
    return {
        "hidden_size": a.hidden_size,
        "num_hidden_layers": a.num_layers,
        "num_attention_heads": a.num_heads,
        "intermediate_size": a.intermediate_size,
        "image_size": a.image_size,
        "patch_size": a.patch_size,
        "id2label": {i: f"LABEL_{i}" for i in range(a.num_labels)} or None,
        "architectures": ["ViTModel" if a.pooler else "ViTForImageClassification"],
    }


_GPT_RATES = ("resid_pdrop", "embd_pdrop")
_QWEN = _qwen_window(_llama_like())
WRITERS: Mapping[str, Callable[[ModelEntry], Keys | None]] = {
    "llama": _llama_like(bias="attention_bias", mlp_bias="mlp_bias"),
    "granite": _llama_like(bias="attention_bias", mlp_bias="mlp_bias"),
    "mistral": _llama_like(window=True),
    "qwen2": _qwen_window(_llama_like(head_dim=False)),
    "qwen3": _QWEN,
    "phi3": _llama_like(window=True, head_dim=False),
    "gemma": _llama_like(bias="attention_bias"),
    "gemma2": _llama_like(bias="attention_bias", window=True, listed=True),
    "gemma3_text": _llama_like(bias="attention_bias", window=True, listed=True),
    "cohere": _cohere,
    "olmo": _llama_like(bias="attention_bias", head_dim=False),
    "olmo2": _llama_like(bias="attention_bias", head_dim=False),
    "smollm3": _llama_like(bias="attention_bias", mlp_bias="mlp_bias", head_dim=False),
    "stablelm": _stablelm,
    "mixtral": _routed(_llama_like(window=True), num="num_local_experts", width="intermediate_size"),
    "qwen2_moe": _routed(_llama_like(head_dim=False), num="num_experts", width="moe_intermediate_size"),
    "qwen3_moe": _routed(_QWEN, num="num_local_experts", width="moe_intermediate_size"),
    "gpt_oss": _routed(
        _llama_like(bias="attention_bias", window=True, listed=True),
        num="num_local_experts",
        width="intermediate_size",
    ),
    "gpt2": _older(*_GPT_RATES, attention_rate="attn_pdrop"),
    "gptj": _older(*_GPT_RATES, attention_rate="attn_pdrop"),
    "phi": _older(*_GPT_RATES, attention_rate="attention_dropout"),
    "gpt_neox": _neox,
    "opt": _opt,
    "bloom": _bloom,
    "falcon": _falcon,
    "starcoder2": _starcoder2,
    "bert": _bert,
    "roberta": _bert,
    "xlm-roberta": _bert,
    "distilbert": _distilbert,
    "t5": _t5,
    "mt5": _t5,
    "bart": _bart,
    "vit": _vit,
}
"""How each `model_type` writes an entry, in the common keys; a family's own names for them are put in afterwards."""
SHAPE_ALONE = ("qwen3", "gpt_neox", "phi3", "bert", "roberta", "t5", "gemma")
"""Families whose derivatives the catalog lists under other names (embedding models, Flan-T5, R1 distillates)."""
