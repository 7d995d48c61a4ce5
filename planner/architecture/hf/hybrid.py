"""State-space models and hybrids of them with attention."""

from __future__ import annotations

from planner.architecture.hf.parts import (
    Family,
    all_or_none,
    decoder,
    every,
    experts,
    heads,
    layer_types,
    mlp,
    sizes,
)
from planner.architecture.hf.reader import Config
from planner.architecture.schema_parts import LightningShape, Mamba1Shape, Mamba2Shape, MlpShape, MoeShape
from planner.architecture.schema_text import DecoderArchitecture, FeedForwardKind, Mixer
from planner.errors import InputError
from planner.units import ceil_div

PATTERN: dict[str, tuple[Mixer, FeedForwardKind]] = {
    "M": ("recurrent", "none"),
    "*": ("full", "none"),
    "-": ("none", "dense"),
    "E": ("none", "moe"),
}
"""Letters of Nemotron-H's `hybrid_override_pattern`: each layer is a mixer or an MLP."""
BLOCK_TYPES = {
    "mamba": "M",
    "linear_attention": "M",
    "attention": "*",
    "full_attention": "*",
    "mlp": "-",
    "moe": "E",
}


def _dt_rank(c: Config, key: str) -> int:
    """Rank of the time-step projection; `auto` is a sixteenth of the hidden size."""
    given = c.raw(key, "auto")
    return ceil_div(c.size("hidden_size"), 16) if given in ("auto", None) else c.size(key)


def _mamba(c: Config) -> DecoderArchitecture:
    hidden = c.size("hidden_size")
    c.ignore("use_mambapy", "mixer_rms_eps", "d_inner", "d_model", "n_layer", "fused_add_norm", "rms_norm", "ssm_cfg")
    c.ignore("hidden_act", "expand", "pad_vocab_size_multiple", "rescale_prenorm_residual", "use_falcon_mambapy")
    inner = c.optional_size("intermediate_size") or c.size("expand") * hidden
    return decoder(
        c,
        mixers=("recurrent",),
        feed_forwards=("none",),
        recurrent=Mamba1Shape(
            inner_size=inner,
            state_size=c.size("state_size"),
            conv_width=c.size("conv_kernel"),
            dt_rank=_dt_rank(c, "time_step_rank"),
            conv_bias=c.flag("use_conv_bias", True),
            proj_bias=c.flag("use_bias"),
        ),
        position="none",
    )


def _mamba2(c: Config) -> DecoderArchitecture:
    hidden, num_heads, head = c.size("hidden_size"), c.size("num_heads"), c.size("head_dim")
    expand = c.size("expand", 2)
    if expand * hidden != num_heads * head:
        raise InputError(f"num_heads {num_heads} x head_dim {head} is not expand {expand} x hidden_size {hidden}")
    c.ignore("hidden_act", "rms_norm", "norm_before_gate", "rescale_prenorm_residual", "use_mambapy")
    c.ignore("time_step_rank", "intermediate_size")
    return decoder(
        c,
        mixers=("recurrent",),
        feed_forwards=("none",),
        recurrent=Mamba2Shape(
            num_heads=num_heads,
            head_dim=head,
            num_groups=c.size("n_groups"),
            state_size=c.size("state_size"),
            conv_width=c.size("conv_kernel"),
            conv_bias=c.flag("use_conv_bias", True),
            proj_bias=c.flag("use_bias"),
        ),
        position="none",
    )


def _mamba2_part(c: Config, *, inner: int | None = None, gated_norm: bool = True) -> Mamba2Shape:
    """Mamba-2 as Bamba, Granite 4 and Falcon-H1 write it; a head width of `auto` fills the inner size."""
    num_heads = c.size("mamba_n_heads")
    width = inner or c.size("mamba_expand", 2) * c.size("hidden_size")
    given = c.raw("mamba_d_head")
    head = width // num_heads if given in (None, "auto") else c.size("mamba_d_head")
    if num_heads * head != width:
        raise InputError(f"mamba_n_heads {num_heads} x mamba_d_head {head} is not the inner size {width}")
    return Mamba2Shape(
        num_heads=num_heads,
        head_dim=head,
        num_groups=c.size("mamba_n_groups"),
        state_size=c.size("mamba_d_state"),
        conv_width=c.size("mamba_d_conv"),
        conv_bias=c.flag("mamba_conv_bias", True),
        proj_bias=c.flag("mamba_proj_bias"),
        gated_norm=gated_norm,
    )


def _falcon_h1(c: Config) -> DecoderArchitecture:
    """Falcon-H1: attention and Mamba-2 side by side in every layer."""
    for multiplier in ("attention_in", "attention_out", "key", "lm_head", "ssm_in", "ssm_out"):
        c.ignore(f"{multiplier}_multiplier")
    c.ignore("mlp_multipliers", "ssm_multipliers", "mamba_norm_before_gate", "mamba_use_mlp", "projectors_bias")
    c.ignore(
        "mamba_expand",
        "attn_layer_indices",
        "num_logits_to_keep",
        "mlp_expansion_factor",
        "mamba_rms_norm",
        "sliding_window",
    )
    inner = c.optional_size("mamba_d_ssm")
    return decoder(
        c,
        mixers=("parallel",),
        attention=heads(c, bias=all_or_none(c.flag("attention_bias"))),
        recurrent=_mamba2_part(c, inner=inner, gated_norm=c.flag("mamba_rms_norm")),
        feed_forward=mlp(c, bias=c.flag("mlp_bias")),
    )


def _bamba(c: Config) -> DecoderArchitecture:
    listed = c.sequence("attn_layer_indices") or ()
    num_layers = c.size("num_hidden_layers")
    mixers: tuple[Mixer, ...] = tuple("full" if i in listed else "recurrent" for i in range(num_layers))
    c.ignore("num_logits_to_keep", "attn_rotary_emb", "mamba_norm_before_gate")
    return decoder(
        c,
        mixers=layer_types(c, mixers),
        attention=heads(c, bias=all_or_none(c.flag("attention_bias"))),
        recurrent=_mamba2_part(c),
        feed_forward=mlp(c, bias=c.flag("mlp_bias")),
    )


def _granite_hybrid(c: Config) -> DecoderArchitecture:
    """Granite 4: Mamba-2 with a few attention layers; experts, or a shared MLP alone where there are none."""
    c.ignore("position_embedding_type", "normalization_function", "init_method", "layers_block_type", "mlp_bias")
    shared = c.size("shared_intermediate_size")
    routed = c.count("num_local_experts")
    width = c.size("intermediate_size")
    top_k = c.count("num_experts_per_tok")
    activation = c.activation()
    moe = (
        MoeShape(
            num_experts=routed,
            top_k=top_k,
            intermediate_size=width,
            activation=activation,
            shared_intermediate_size=shared,
        )
        if routed
        else None
    )
    return decoder(
        c,
        mixers=layer_types(c, ("recurrent",)),
        attention=heads(c, bias=all_or_none(c.flag("attention_bias"))),
        recurrent=_mamba2_part(c),
        feed_forwards=("moe",) if moe else ("dense",),
        feed_forward=None if moe else MlpShape(intermediate_size=shared, gated=True, activation=activation),
        moe=moe,
    )


def _jamba(c: Config) -> DecoderArchitecture:
    """Jamba: Mamba with an attention layer in every eight, experts in every other layer."""
    hidden, num_layers = c.size("hidden_size"), c.size("num_hidden_layers")
    attention_period, attention_offset = c.size("attn_layer_period"), c.count("attn_layer_offset")
    expert_period, expert_offset = c.size("expert_layer_period"), c.count("expert_layer_offset")
    num_experts = c.size("num_experts")
    kinds: tuple[FeedForwardKind, ...] = tuple(
        "moe" if num_experts > 1 and i % expert_period == expert_offset else "dense" for i in range(num_layers)
    )
    c.ignore("num_logits_to_keep", "sliding_window", "calc_logits_for_entire_prompt", "mamba_inner_layernorms")
    c.ignore("layers_block_type", "layers_num_experts", "use_mamba_kernels")
    mixers = layer_types(c, every(c, attention_period, attention_offset, "full", "recurrent"))
    return decoder(
        c,
        mixers=mixers,
        attention=heads(c),
        recurrent=Mamba1Shape(
            inner_size=c.size("mamba_expand") * hidden,
            state_size=c.size("mamba_d_state"),
            conv_width=c.size("mamba_d_conv"),
            dt_rank=_dt_rank(c, "mamba_dt_rank"),
            conv_bias=c.flag("mamba_conv_bias", True),
            proj_bias=c.flag("mamba_proj_bias"),
            inner_norms=True,
        ),
        feed_forwards=kinds,
        feed_forward=mlp(c),
        moe=experts(c, num="num_experts", width="intermediate_size") if "moe" in kinds else None,
        position="none",
    )


def _nemotron_h(c: Config) -> DecoderArchitecture:
    """Nemotron-H and Nemotron-3: every layer is one of Mamba-2, attention, MLP, experts."""
    kinds = _nemotron_pattern(c)
    num_heads, head = c.size("mamba_num_heads"), c.size("mamba_head_dim")
    bias = c.flag("use_bias") or c.flag("mamba_proj_bias")
    mlp_bias = c.flag("mlp_bias")
    routed = any(mlp_kind == "moe" for _, mlp_kind in kinds)
    activation = c.activation("mlp_hidden_act", "relu2")
    shared = c.count("moe_shared_expert_intermediate_size") * c.count("n_shared_experts", 1)
    c.ignore(
        "expand", "hybrid_override_pattern", "mamba_hidden_act", "mamba_ssm_cache_dtype", "moe_shared_expert_overlap"
    )
    c.ignore("mtp_layers_block_type", "mtp_hybrid_override_pattern", "rescale_prenorm_residual", "num_logits_to_keep")
    c.ignore("sliding_window", "attention_head_dim", "num_hidden_layers", "layers_block_type", "use_mamba_kernels")
    c.ignore("n_routed_experts", "num_experts_per_tok", "moe_intermediate_size", "moe_latent_size", "intermediate_size")
    mixers: tuple[Mixer, ...] = tuple(mixer for mixer, _ in kinds)
    return decoder(
        c,
        num_layers=len(kinds),
        mixers=mixers,
        feed_forwards=tuple(mlp_kind for _, mlp_kind in kinds),
        attention=heads(c, bias=all_or_none(c.flag("attention_bias"))),
        recurrent=Mamba2Shape(
            num_heads=num_heads,
            head_dim=head,
            num_groups=c.size("n_groups"),
            state_size=c.size("ssm_state_size"),
            conv_width=c.size("conv_kernel"),
            conv_bias=c.flag("use_conv_bias", True),
            proj_bias=bias,
            state_is_fp32=c.word("mamba_ssm_cache_dtype", "float32") == "float32",
        ),
        feed_forward=MlpShape(
            intermediate_size=c.size("intermediate_size"),
            gated=False,
            activation=activation,
            bias="all" if mlp_bias else "none",
        ),
        moe=MoeShape(
            num_experts=c.size("n_routed_experts"),
            top_k=c.size("num_experts_per_tok"),
            intermediate_size=c.size("moe_intermediate_size"),
            gated=False,
            activation=activation,
            shared_intermediate_size=shared,
            latent_size=c.optional_size("moe_latent_size"),
        )
        if routed
        else None,
        position="none",
    )


def _nemotron_pattern(c: Config) -> tuple[tuple[Mixer, FeedForwardKind], ...]:
    letters = c.word("hybrid_override_pattern")
    listed = c.sequence("layers_block_type") or ()
    if not letters:
        letters = "".join(BLOCK_TYPES.get(str(kind), "?") for kind in listed)
    unknown = sorted(set(letters) - set(PATTERN))
    if unknown or not letters:
        raise InputError(f"hybrid_override_pattern {letters!r} is not made of {' '.join(PATTERN)}")
    return tuple(PATTERN[letter] for letter in letters)


def _minimax(c: Config) -> DecoderArchitecture:
    """MiniMax-Text-01: lightning attention with a softmax layer in every eight."""
    for kind in (
        "full_attn",
        "linear_attn",
        "mlp",
        "layernorm_full_attention",
        "layernorm_linear_attention",
        "layernorm_mlp",
    ):
        c.ignore(f"{kind}_alpha", f"{kind}_beta", f"{kind}_alpha_factor", f"{kind}_beta_factor")
    c.ignore(
        "block_size", "postnorm", "shared_moe_mode", "shared_intermediate_size", "sliding_window", "attention_type"
    )
    shape = heads(c)
    codes = c.sequence("attn_type_list")
    num_layers = c.size("num_hidden_layers")
    mixers: tuple[Mixer, ...]
    if codes is None:
        mixers = layer_types(c, tuple("recurrent" if i % 2 else "full" for i in range(num_layers)))
    else:
        mixers = tuple("full" if code else "recurrent" for code in codes)
    return decoder(
        c,
        mixers=mixers,
        attention=shape,
        recurrent=LightningShape(num_heads=shape.num_heads, head_dim=shape.head_dim),
        feed_forwards=("moe",),
        moe=experts(c, num="num_local_experts", width="intermediate_size"),
    )


_MAMBA = {
    "vocab_size": 50280,
    "hidden_size": 768,
    "state_size": 16,
    "num_hidden_layers": 32,
    "expand": 2,
    "conv_kernel": 4,
    "tie_word_embeddings": True,
}
_MAMBA_PART = {"mamba_n_heads": 128, "mamba_n_groups": 1, "mamba_d_state": 256, "mamba_d_conv": 4, "mamba_expand": 2}
_MINIMAX = sizes(32000, 4096, 14336, 32, 32, 131072, num_key_value_heads=8, num_local_experts=8, num_experts_per_tok=2)

FAMILIES = {
    "mamba": Family(name="Mamba", read=_mamba, defaults=_MAMBA, aliases={"hidden_size": "d_model"}),
    "falcon_mamba": Family(name="Falcon-Mamba", read=_mamba, defaults=_MAMBA),
    "mamba2": Family(
        name="Mamba-2",
        read=_mamba2,
        defaults={
            "num_heads": 128,
            "head_dim": 64,
            "vocab_size": 32768,
            "hidden_size": 4096,
            "state_size": 128,
            "num_hidden_layers": 64,
            "expand": 2,
            "conv_kernel": 4,
            "n_groups": 8,
        },
    ),
    "falcon_h1": Family(
        name="Falcon-H1",
        read=_falcon_h1,
        defaults=sizes(128000, 4096, 14336, 32, 32, 8192, num_key_value_heads=8, mamba_d_ssm=1024) | _MAMBA_PART,
    ),
    "bamba": Family(
        name="Bamba",
        read=_bamba,
        defaults=sizes(128000, 4096, 14336, 32, 32, 262144, num_key_value_heads=8) | _MAMBA_PART,
    ),
    "granitemoehybrid": Family(
        name="Granite-4",
        read=_granite_hybrid,
        defaults=sizes(32000, 4096, 11008, 32, 32, 2048)
        | {"num_local_experts": 8, "num_experts_per_tok": 2, "shared_intermediate_size": 1024}
        | _MAMBA_PART,
    ),
    "jamba": Family(
        name="Jamba",
        read=_jamba,
        defaults=sizes(65536, 4096, 14336, 32, 32, 262144, num_key_value_heads=8)
        | {
            "num_experts": 16,
            "num_experts_per_tok": 2,
            "expert_layer_period": 2,
            "expert_layer_offset": 1,
            "attn_layer_period": 8,
            "attn_layer_offset": 4,
            "mamba_d_state": 16,
            "mamba_d_conv": 4,
            "mamba_expand": 2,
        },
    ),
    "nemotron_h": Family(
        name="Nemotron-H",
        read=_nemotron_h,
        aliases={"head_dim": "attention_head_dim"},
        defaults={
            "vocab_size": 131072,
            "hidden_size": 4096,
            "layers_block_type": ("mamba", "moe", "attention", "mlp"),
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "max_position_embeddings": 4096,
            "intermediate_size": 21504,
            "mamba_num_heads": 128,
            "mamba_head_dim": 64,
            "ssm_state_size": 128,
            "n_groups": 8,
            "conv_kernel": 4,
            "n_routed_experts": 8,
            "n_shared_experts": 1,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 7688,
            "moe_shared_expert_intermediate_size": 7688,
        },
    ),
    "minimax": Family(name="MiniMax", read=_minimax, defaults=_MINIMAX),
    "minimax_text_01": Family(name="MiniMax", read=_minimax, defaults=_MINIMAX),
}
