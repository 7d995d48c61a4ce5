"""Catalog descriptions of text models: decoders, encoders and encoder-decoders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import model_validator

from planner.architecture.schema_parts import (
    AttentionShape,
    Count,
    IndexerShape,
    LatentShape,
    LocalAttention,
    MlpShape,
    MoeShape,
    NormKind,
    PositiveInt,
    RecurrentShape,
    Strict,
    VisionTower,
)

Mixer = Literal["full", "sliding", "chunked", "recurrent", "parallel", "cross", "none"]
"""What mixes tokens in a layer; `parallel` = attention and a recurrent mixer side by side (Falcon-H1)."""
FeedForwardKind = Literal["dense", "moe", "both", "none"]
NormPlacement = Literal["pre", "post", "sandwich", "shared", "parallel"]
"""`pre`/`post`: one norm a sublayer; `sandwich`: two; `shared`: attention and MLP side by side read one
norm; `parallel`: side by side with a norm each."""


class DecoderArchitecture(Strict):
    """Decoder-only language models, with attention, recurrent mixers or both, dense or routed MLPs."""

    kind: Literal["decoder"] = "decoder"
    num_layers: PositiveInt
    hidden_size: PositiveInt
    vocab_size: PositiveInt
    tied_embeddings: bool
    mixers: tuple[Mixer, ...] = ("full",)
    """Kind of each layer's mixer; a list shorter than the model repeats."""
    feed_forwards: tuple[FeedForwardKind, ...] = ("dense",)
    """Kind of each layer's MLP; a list shorter than the model repeats."""
    num_first_dense: Count = 0
    """Layers at the start whose MLP is dense whatever `feed_forwards` says."""
    attention: AttentionShape | None = None
    latent_attention: LatentShape | None = None
    local_attention: LocalAttention | None = None
    recurrent: RecurrentShape | None = None
    feed_forward: MlpShape | None = None
    intermediate_sizes: tuple[PositiveInt, ...] = ()
    """Width of each layer's dense MLP where they differ."""
    moe: MoeShape | None = None
    norm: NormKind = "rmsnorm"
    norm_placement: NormPlacement = "pre"
    final_norm: bool = True
    position: Literal["rope", "alibi", "learned", "none"] = "rope"
    position_rows: Count = 0
    embedding_size: PositiveInt | None = None
    """Width of the embedding where it is projected to the hidden size (OPT-350m)."""
    embedding_norm: bool = False
    extra_embedding_rows: Count = 0
    """Rows of the embedding that the head lacks (Llama 3.2 Vision)."""
    lm_head: bool = True
    lm_head_bias: bool = False
    logit_softcap: bool = False
    causal: bool = True
    dropout: bool = False
    """The published configuration trains with dropout on embeddings or residuals."""
    attention_dropout: bool = False
    module_names: Mapping[str, str] = {}
    """Names of the model class's modules where they differ; tensors of one role with the same module are
    rows of one fused matrix."""
    vision: VisionTower | None = None

    @model_validator(mode="after")
    def _parts_are_there(self) -> Self:
        for what, pattern in (("mixers", self.mixers), ("feed_forwards", self.feed_forwards)):
            if len(pattern) > self.num_layers or not pattern:
                raise ValueError(f"{what} lists {len(pattern)} layers, the model has {self.num_layers}")
        if self.intermediate_sizes and len(self.intermediate_sizes) != self.num_layers:
            raise ValueError(f"intermediate_sizes lists {len(self.intermediate_sizes)} of {self.num_layers} layers")
        if self.attention is not None and self.latent_attention is not None:
            raise ValueError("attention and latent_attention exclude each other")
        for what, needed in self._needs().items():
            if needed and getattr(self, what) is None:
                raise ValueError(f"{what} is missing, yet a layer needs it")
        return self

    def _needs(self) -> dict[str, bool]:
        attends = any(m not in ("recurrent", "none") for m in self.layer_mixers)
        local = any(m in ("sliding", "chunked") for m in self.layer_mixers)
        recurs = any(m in ("recurrent", "parallel") for m in self.layer_mixers)
        dense = any(f in ("dense", "both") for f in self.layer_feed_forwards)
        routed = any(f in ("moe", "both") for f in self.layer_feed_forwards)
        return {
            "attention": attends and self.latent_attention is None,
            "local_attention": local,
            "recurrent": recurs,
            "feed_forward": dense,
            "moe": routed,
        }

    @property
    def layer_mixers(self) -> tuple[Mixer, ...]:
        """The mixer of each layer, first to last."""
        return tuple(self.mixers[i % len(self.mixers)] for i in range(self.num_layers))

    @property
    def layer_feed_forwards(self) -> tuple[FeedForwardKind, ...]:
        """The MLP kind of each layer, first to last."""
        later = (self.feed_forwards[i % len(self.feed_forwards)] for i in range(self.num_layers))
        return tuple("dense" if i < self.num_first_dense else kind for i, kind in enumerate(later))


class DeepseekV4Architecture(Strict):
    """DeepSeek-V4: one shared K=V latent of `head_dim`, compressed blocks beyond a window, hyper-connections."""

    kind: Literal["deepseek_v4"] = "deepseek_v4"
    num_layers: PositiveInt
    hidden_size: PositiveInt
    vocab_size: PositiveInt
    num_heads: PositiveInt
    head_dim: PositiveInt
    q_lora_rank: PositiveInt
    o_groups: PositiveInt
    o_lora_rank: PositiveInt
    window: PositiveInt
    compress_ratios: tuple[Count, ...]
    """Tokens one compressed entry stands for in each layer: 0 (window only), 4 (with an indexer) or 128."""
    indexer: IndexerShape
    hyper_connections: PositiveInt
    """Parallel residual streams."""
    moe: MoeShape

    @model_validator(mode="after")
    def _one_ratio_a_layer(self) -> Self:
        if len(self.compress_ratios) != self.num_layers:
            raise ValueError(f"compress_ratios lists {len(self.compress_ratios)} of {self.num_layers} layers")
        return self


class AudioConformer(Strict):
    """The audio encoder of Gemma 3n."""

    hidden_size: PositiveInt
    num_layers: PositiveInt
    num_heads: PositiveInt
    conv_width: PositiveInt
    input_features: PositiveInt
    conv_channels: tuple[PositiveInt, ...]
    vocab_size: PositiveInt


class MobilenetTower(Strict):
    """The MobileNet-v5 tower: sizes only, no formula."""

    hidden_size: PositiveInt
    vocab_size: PositiveInt
    backbone_values: PositiveInt
    """Parameters of the convolutional backbone."""
    tokens_per_image: PositiveInt


class Gemma3nArchitecture(Strict):
    """Gemma 3n: alternating updates (AltUp), per-layer embeddings, K/V shared by the last layers."""

    kind: Literal["gemma3n"] = "gemma3n"
    num_layers: PositiveInt
    hidden_size: PositiveInt
    vocab_size: PositiveInt
    mixers: tuple[Literal["full", "sliding"], ...]
    window: PositiveInt
    attention: AttentionShape
    feed_forward: MlpShape
    altup_inputs: PositiveInt
    laurel_rank: PositiveInt
    per_layer_vocab_size: PositiveInt
    per_layer_size: PositiveInt
    num_kv_shared_layers: Count
    audio: AudioConformer | None = None
    vision: MobilenetTower | None = None


class BertArchitecture(Strict):
    """Encoder-only models of the BERT kind."""

    kind: Literal["bert"] = "bert"
    num_layers: PositiveInt
    hidden_size: PositiveInt
    vocab_size: PositiveInt
    attention: AttentionShape
    feed_forward: MlpShape
    mixers: tuple[Literal["full", "sliding"], ...] = ("full",)
    window: PositiveInt | None = None
    norm: NormKind = "layernorm"
    position_rows: Count = 0
    num_token_types: Count = 0
    embedding_size: PositiveInt | None = None
    embedding_norm: bool = True
    num_relative_rows: Count = 0
    """Rows of relative positions of the hidden size, with a norm (DeBERTa)."""
    num_relative_buckets: Count = 0
    """Relative position biases, one a head (MPNet)."""
    share_layers: bool = False
    """All layers use one set of weights (ALBERT)."""
    final_norm: bool = False
    first_layer_unnormed: bool = False
    """The first layer's attention has no norm of its own (ModernBERT)."""
    pooler: bool = False
    num_labels: Count = 0
    """Classes of a two-layer classification head."""
    dropout: bool = True
    attention_dropout: bool = True
    module_names: Mapping[str, str] = {}


class EncoderDecoderArchitecture(Strict):
    """T5 (relative biases, RMSNorm) and BART (learned positions, LayerNorm)."""

    kind: Literal["t5", "bart"]
    num_layers: PositiveInt
    """Decoder layers."""
    num_encoder_layers: PositiveInt
    hidden_size: PositiveInt
    vocab_size: PositiveInt
    tied_embeddings: bool
    attention: AttentionShape
    feed_forward: MlpShape
    encoder_intermediate_size: PositiveInt | None = None
    num_relative_buckets: Count = 0
    position_rows: Count = 0
    dropout: bool = True
    attention_dropout: bool = True
    module_names: Mapping[str, str] = {}
