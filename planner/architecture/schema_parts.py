"""The pieces an architecture is described by in a catalog: shapes of attention, MLPs, mixers and towers.

Sizes are counts of values; nothing here is a byte or a parameter count. `build.py` derives those.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

PositiveInt = Annotated[int, Field(gt=0, strict=True)]
Count = Annotated[int, Field(ge=0, strict=True)]
Activation = Literal["gelu", "gelu_new", "quick_gelu", "gegelu", "relu", "relu2", "silu"]
NormKind = Literal["rmsnorm", "layernorm", "layernorm_nobias", "nonparametric"]
LinearBias = Literal["none", "qkv", "qkvo", "qvo", "o"]


class Strict(BaseModel):
    """Frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_serializer(mode="wrap")
    def _keep_kind(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """`kind` tells types apart on reading, so it is written even where it is the default."""
        kind = getattr(self, "kind", None)
        return {**({} if kind is None else {"kind": kind}), **write(self)}


class AttentionShape(Strict):
    """Multi-head, grouped-query or multi-query attention."""

    num_heads: PositiveInt
    num_kv_heads: PositiveInt
    head_dim: PositiveInt
    value_dim: PositiveInt | None = None
    """Width of a value head where it differs from `head_dim` (MiMo-V2)."""
    bias: LinearBias = "none"
    """Which of the four projections carry a bias."""
    qk_norm: Literal["none", "head", "full"] = "none"
    """`head`: one weight of `head_dim` for q and one for k; `full`: over all heads."""
    sinks: bool = False
    """One learned attention sink per head (gpt-oss)."""
    output_gate: bool = False
    """q_proj is twice as wide: the second half gates the output (Qwen3-Next)."""
    key_is_value: bool = False
    """No v_proj: values are the keys before their norm (Gemma 4)."""


class IndexerShape(Strict):
    """DeepSeek sparse attention: a small scorer picks the tokens to attend to."""

    num_heads: PositiveInt
    head_dim: PositiveInt
    top_k: PositiveInt


class LatentShape(Strict):
    """Multi-head latent attention (MLA): K and V are expanded from one cached latent."""

    num_heads: PositiveInt
    kv_lora_rank: PositiveInt
    q_lora_rank: PositiveInt | None = None
    rope_dim: PositiveInt
    nope_dim: PositiveInt
    value_dim: PositiveInt
    bias: bool = False
    """The two down-projections and o_proj carry biases."""
    indexer: IndexerShape | None = None


class MlpShape(Strict):
    """Dense feed-forward network."""

    intermediate_size: PositiveInt
    gated: bool
    activation: Activation
    bias: Literal["none", "all", "down"] = "none"


class MoeShape(Strict):
    """Routed experts, with what stands beside them."""

    num_experts: PositiveInt
    top_k: PositiveInt
    intermediate_size: PositiveInt
    gated: bool = True
    activation: Activation = "silu"
    shared_intermediate_size: Count = 0
    """Inner width of all shared experts together."""
    shared_gate: bool = False
    """One more row that weighs the shared expert (Qwen-MoE)."""
    router_bias: bool = False
    expert_bias: bool = False
    latent_size: PositiveInt | None = None
    """Width the experts work in where it is not the hidden size (Nemotron-3-Super)."""
    router_scales: bool = False
    """A scale per hidden value and one per expert (Gemma 4)."""
    own_norms: Count = 0
    """Further norms over the hidden size around the experts (Gemma 4: 3)."""


class Mamba1Shape(Strict):
    """Selective state space, first version."""

    kind: Literal["mamba1"] = "mamba1"
    inner_size: PositiveInt
    state_size: PositiveInt
    conv_width: PositiveInt
    dt_rank: PositiveInt
    conv_bias: bool = True
    proj_bias: bool = False
    inner_norms: bool = False
    """Norm weights on dt, B and C (Jamba)."""
    state_is_fp32: bool = False


class Mamba2Shape(Strict):
    """Selective state space, second version: heads share one decay."""

    kind: Literal["mamba2"] = "mamba2"
    num_heads: PositiveInt
    head_dim: PositiveInt
    num_groups: PositiveInt
    state_size: PositiveInt
    conv_width: PositiveInt
    conv_bias: bool = True
    proj_bias: bool = False
    gated_norm: bool = True
    state_is_fp32: bool = False


class GatedDeltaNetShape(Strict):
    """Linear attention with the gated delta rule (Qwen3-Next, Qwen3.5)."""

    kind: Literal["gated_deltanet"] = "gated_deltanet"
    num_key_heads: PositiveInt
    num_value_heads: PositiveInt
    key_dim: PositiveInt
    value_dim: PositiveInt
    conv_width: PositiveInt
    state_is_fp32: bool = False


class KdaShape(Strict):
    """Kimi delta attention: a decay per channel."""

    kind: Literal["kda"] = "kda"
    num_heads: PositiveInt
    head_dim: PositiveInt
    conv_width: PositiveInt
    state_is_fp32: bool = False


class LightningShape(Strict):
    """Lightning attention (MiniMax-Text-01): one decayed outer-product state a head."""

    kind: Literal["lightning"] = "lightning"
    num_heads: PositiveInt
    head_dim: PositiveInt
    state_is_fp32: bool = False


RecurrentShape = Annotated[
    Mamba1Shape | Mamba2Shape | GatedDeltaNetShape | KdaShape | LightningShape, Field(discriminator="kind")
]


class LocalAttention(Strict):
    """How `sliding` and `chunked` layers differ from the full ones."""

    window: PositiveInt
    """Tokens a query sees at most."""
    attention: AttentionShape | None = None
    """Their own geometry where they have one (Gemma 4, MiMo-V2)."""


class ImageSize(Strict):
    """A tower that takes square images of one size."""

    image_size: PositiveInt
    patch_size: PositiveInt

    @property
    def num_patches(self) -> int:
        """Patches of one image."""
        return (self.image_size // self.patch_size) ** 2


class TowerShape(Strict):
    """The encoder layers every vision tower has."""

    hidden_size: PositiveInt
    num_layers: PositiveInt
    intermediate_size: PositiveInt
    num_heads: PositiveInt


class ClipTower(TowerShape, ImageSize):
    """CLIP encoder and a two-layer projector (LLaVA)."""

    kind: Literal["clip"] = "clip"
    image_newline: bool = False
    """A learned vector ends each row of patches (LLaVA-NeXT)."""
    tokens_per_image: PositiveInt | None = None


class SiglipTower(TowerShape, ImageSize):
    """SigLIP encoder with one of three projectors."""

    kind: Literal["siglip"] = "siglip"
    projector: Literal["gemma3", "linear", "pixel_shuffle"]
    shuffle: PositiveInt = 1
    """Side of the square of patches merged into one token (`pixel_shuffle`)."""
    tokens_per_image: PositiveInt | None = None


class PixtralTower(TowerShape, ImageSize):
    """Pixtral encoder: rotary positions, gated MLP, any resolution up to `image_size`."""

    kind: Literal["pixtral"] = "pixtral"
    projector: Literal["mlp", "patch_merger"]
    merge: PositiveInt = 1


class QwenTower(TowerShape):
    """Qwen2-VL, Qwen2.5-VL and Qwen3-VL encoders with their patch merger."""

    kind: Literal["qwen2_vl", "qwen2_5_vl", "qwen3_vl"]
    patch_size: PositiveInt
    merge: PositiveInt
    temporal_patch: PositiveInt
    num_positions: Count = 0
    """Rows of learned positions (Qwen3-VL)."""
    num_deepstack: Count = 0
    """Further mergers that feed early decoder layers (Qwen3-VL)."""


class Llama4Tower(TowerShape, ImageSize):
    """Llama 4 encoder with its pixel-shuffle adapter."""

    kind: Literal["llama4"] = "llama4"
    projector_input_size: PositiveInt
    projector_output_size: PositiveInt
    tokens_per_tile: PositiveInt


class MllamaTower(TowerShape, ImageSize):
    """Llama 3.2 vision encoder: local and gated global layers over up to `num_tiles` tiles."""

    kind: Literal["mllama"] = "mllama"
    num_global_layers: PositiveInt
    num_tiles: PositiveInt
    num_aspect_ratios: PositiveInt = 8
    output_size: PositiveInt
    """Width of what cross attention reads: selected layers side by side."""


class Gemma4Tower(TowerShape):
    """Gemma 4 encoder: gated MLP, sandwich norms, two-dimensional position table."""

    kind: Literal["gemma4"] = "gemma4"
    patch_size: PositiveInt
    num_positions: PositiveInt
    tokens_per_image: PositiveInt


VisionTower = Annotated[
    ClipTower | SiglipTower | PixtralTower | QwenTower | Llama4Tower | MllamaTower | Gemma4Tower,
    Field(discriminator="kind"),
]
