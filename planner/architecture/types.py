"""What a model is made of: the inventory of tensors and layers that all physics reads.

`Model` is the one view of an architecture that the rest of the project sees. It is built from a catalog
entry or a Hugging Face `config.json` and holds every parameter tensor with its place and shape, so that
parameter counts, bytes under a quantisation format, shares under tensor parallelism, LoRA targets and
FLOPs all follow from one table instead of one formula each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from planner.units import ceil_div

Role = Literal[
    "embedding",  # token table; a look-up, no matrix product
    "position",  # learned position rows, relative biases
    "head",  # output projection onto the vocabulary (or classes)
    "attention",  # q, k, v, o and MLA projections, cross attention
    "mlp",  # dense feed-forward matrices
    "expert",  # routed experts (count = number of experts)
    "shared_expert",
    "router",
    "norm",
    "bias",  # bias vector of any matrix
    "mixer",  # linear attention and state-space matrices
    "state",  # A_log, D, dt_bias, conv1d, sinks: small tensors kept in 16 or 32 bit by every format
    "conv",  # convolutions of vision, speech and diffusion models
    "projector",  # vision or audio features into the text width
    "other",
]
LINEAR_ROLES: frozenset[Role] = frozenset(
    {"attention", "mlp", "expert", "shared_expert", "router", "mixer", "projector", "head"}
)
"""Roles whose two-dimensional tensors are matrix products."""
AttentionKind = Literal["full", "sliding", "chunked", "latent", "cross", "compressed"]
NormName = Literal["rmsnorm", "layernorm", "layernorm_nobias", "nonparametric", "batchnorm", "none"]
Stack = Literal["decoder", "encoder", "vision", "audio", "text", "denoiser", "vae"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One kind of parameter tensor; `count` equal copies of it stand in one layer (or outside the layers)."""

    name: str
    """As in the model class: `q_proj`, `down_proj`, `embed_tokens`, `lm_head`, `input_layernorm` ..."""
    role: Role
    out_features: int
    """Rows of a matrix, or the length of a vector."""
    in_features: int = 1
    """Columns of a matrix; 1 for vectors; for convolutions the product of the other dimensions."""
    count: int = 1
    """Copies in one layer: the number of experts for `expert` tensors, else usually 1."""
    module: str = ""
    """Name of the model class's module where it is not `name` (`c_attn`, `qkv_proj`); tensors of one role
    with the same module in one layer are rows of one fused matrix."""

    @property
    def num_params(self) -> int:
        """Parameters of all copies in one layer."""
        return self.out_features * self.in_features * self.count

    @property
    def is_matrix(self) -> bool:
        """True where the tensor enters a matrix product."""
        return self.in_features > 1 and self.role in LINEAR_ROLES


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """Softmax attention of one layer."""

    kind: AttentionKind
    num_heads: int
    num_kv_heads: int
    """Key/value heads that are cached; 1 for latent (MLA) attention, whose cache holds one latent."""
    head_dim: int
    """Width of a query or key head (no-position + rotary part for MLA)."""
    value_dim: int
    """Width of a value head."""
    window: int | None = None
    """Tokens a query sees at most (sliding and chunked)."""
    kv_values_per_token: int
    """Values this layer caches for one token: 2 x kv heads x head_dim for MHA/GQA/MQA,
    kv_lora_rank + rope dim for MLA, 0 where the layer reuses another layer's cache."""
    window_values_per_token: int = 0
    """Values kept only for the last `window` tokens, beside what `kv_values_per_token` keeps for all (DeepSeek-V4)."""
    index_values_per_token: int = 0
    """Further cached values of a sparse-attention indexer (one byte each)."""
    kv_lora_rank: int | None = None
    q_lora_rank: int | None = None
    rope_dim: int | None = None
    causal: bool = True
    qk_norm: Literal["none", "head", "full"] = "none"
    has_bias: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedForward:
    """Dense MLP of one layer."""

    intermediate_size: int
    gated: bool
    activation: str
    has_bias: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Moe:
    """Routed experts of one layer."""

    num_experts: int
    top_k: int
    intermediate_size: int
    """Inner width of one routed expert."""
    gated: bool
    activation: str
    shared_intermediate_size: int = 0
    """Inner width of all shared experts together; 0 = none."""
    input_size: int
    """Width of what an expert reads (the hidden size, or a latent width)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrent:
    """Linear attention or state-space mixer of one layer: a state per sequence instead of a KV cache."""

    kind: Literal["mamba1", "mamba2", "gated_deltanet", "kda", "lightning"]
    state_values: int
    """Values of the recurrent state of one sequence."""
    conv_values: int
    """Values of the convolution state of one sequence."""
    inner_size: int
    flop_per_token: int
    """FLOP of the recurrence itself (without its projections), forward, one token."""
    state_is_fp32: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A run of equal layers (they need not be adjacent: `Model.layer_order` says where each stands)."""

    name: str
    stack: Stack
    num_layers: int
    hidden_size: int
    tensors: tuple[Tensor, ...]
    """All parameters of ONE layer of the block."""
    attention: Attention | None = None
    cross_attention: Attention | None = None
    feed_forward: FeedForward | None = None
    moe: Moe | None = None
    recurrent: Recurrent | None = None
    norm: NormName = "rmsnorm"
    num_norms: int = 2
    """Norms over the hidden size in one layer."""
    parallel: bool = False
    """Attention and MLP read the same normed input (GPT-J, Falcon, Cohere)."""
    dropout: bool = False
    """The published configuration trains with dropout in this block (GPT-2, BERT, OPT ...)."""
    attention_dropout: bool = False
    """... and on the attention probabilities."""
    tokens_fixed: int | None = None
    """Tokens this stack always sees (vision patches, audio frames); None = the workload's sequence."""
    shared: bool = False
    """All layers use one set of weights (ALBERT): stored once, computed `num_layers` times."""

    @property
    def num_weight_copies(self) -> int:
        """How many of its layers have weights of their own."""
        return 1 if self.shared else self.num_layers

    @property
    def num_params_per_layer(self) -> int:
        return sum(t.num_params for t in self.tensors)

    @property
    def num_params(self) -> int:
        """Parameters of all layers of the block."""
        return self.num_weight_copies * self.num_params_per_layer

    @property
    def num_active_params(self) -> int:
        """Parameters one token passes through: routed experts count top_k of num_experts."""
        idle = 0
        if self.moe is not None:
            per_expert = sum(t.num_params for t in self.tensors if t.role == "expert") // self.moe.num_experts
            idle = (self.moe.num_experts - self.moe.top_k) * per_expert
        return self.num_weight_copies * (self.num_params_per_layer - idle)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTokens:
    """Text-stack tokens and tower patches of one image."""

    kind: Literal["fixed", "grid", "tiles"]
    """`fixed`: every image gives `tokens`; `grid`: one token per square of `side` pixels;
    `tiles`: `tokens` per tile of `side` pixels, and one more tile for the whole image."""
    patches_per_token: int
    """Tower positions behind one token (the merger's square)."""
    tokens: int = 0
    """Per image or tile; 0 for `grid`, and where the text stack reads the image by cross attention."""
    side: int = 0
    """Pixels along one side of a tile or of a token's square."""
    patches: int = 0
    """Tower positions of one image or tile; for `grid` they follow from the tokens."""
    max_tiles: int = 0
    """Most tiles an image is cut into (without the overview)."""

    def num_tiles(self, *, width: int, height: int) -> int:
        """Tiles of one image of `width` x `height` pixels; an image within one tile needs no overview."""
        if self.kind != "tiles":
            return 1
        tiles = min(ceil_div(width, self.side) * ceil_div(height, self.side), self.max_tiles)
        return tiles if tiles == 1 else tiles + 1

    def num_tokens(self, *, width: int, height: int) -> int:
        """Positions one image of `width` x `height` pixels takes in the text stack.

        >>> ImageTokens(kind="grid", side=28, patches_per_token=4).num_tokens(width=1024, height=1024)
        1369
        """
        if self.kind == "grid":
            return ceil_div(width, self.side) * ceil_div(height, self.side)
        return self.tokens * self.num_tiles(width=width, height=height)

    def num_patches(self, *, width: int, height: int) -> int:
        """Positions the vision tower works on for one image."""
        if self.kind == "grid":
            return self.patches_per_token * self.num_tokens(width=width, height=height)
        return self.patches * self.num_tiles(width=width, height=height)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model as physics sees it. Parameters are those of the class one serves, tied weights once."""

    id: str
    family: str
    task: Literal[
        "text-generation", "vision-language", "embedding", "encoder", "seq2seq", "speech", "vision", "diffusion"
    ]
    hidden_size: int
    """Width of the main (text or denoiser) stack."""
    vocab_size: int
    """Rows of the embedding table (padded as in the checkpoint); 0 where there is none."""
    tied_embeddings: bool
    max_context: int | None
    native_dtype: str
    """What the main repository ships, as in the catalog (`bfloat16`, `float32`, `fp8_e4m3 ...`)."""
    blocks: tuple[Block, ...]
    outer: tuple[Tensor, ...]
    """Parameters outside the layers of the main stack: embedding, positions, final norm, head, projector ..."""
    layer_order: tuple[int, ...] = field(default=())
    """For the main stack: index into `blocks` of each layer from first to last."""
    has_head: bool = True
    """A vocabulary projection is computed (false for encoders and embedding models)."""
    logit_softcap: bool = False
    alibi: bool = False
    """Positions are biases on the attention scores."""
    eager_only: bool = False
    """The model class has no fused attention: score biases, sinks, capped scores (BLOOM, gpt-oss, Gemma-2)."""
    activations_modelled: bool = True
    """False for kinds whose activations are an estimate with a wider interval (vision, diffusion ...)."""
    image_tokens: ImageTokens | None = None
    """How images become positions of the text stack; None for models without a vision tower."""
    image_size: int | None = None
    audio_positions: int | None = None
    """Encoder positions of a speech model."""

    @property
    def params_total(self) -> int:
        return sum(b.num_params for b in self.blocks) + sum(t.num_params for t in self.outer)

    @property
    def params_active(self) -> int:
        return sum(b.num_active_params for b in self.blocks) + sum(t.num_params for t in self.outer)

    @property
    def num_layers(self) -> int:
        """Layers of the main stack."""
        return len(self.layer_order)

    def stack(self, *stacks: Stack) -> Iterator[Block]:
        """The blocks of the stacks named."""
        return (b for b in self.blocks if b.stack in stacks)

    @property
    def kv_values_per_token(self) -> int:
        """Values all layers together cache for one token while no window is full."""
        return sum(
            b.num_layers * b.attention.kv_values_per_token
            for b in self.stack("decoder")
            if b.attention is not None and b.attention.causal
        )
