"""Speech and vision models of their own."""

from __future__ import annotations

from typing import Any

from planner.architecture.hf.parts import Family, dropouts, heads, plain_mlp
from planner.architecture.hf.reader import Config
from planner.architecture.schema_media import (
    ContrastiveArchitecture,
    ConvnextArchitecture,
    ImageTower,
    ResnetArchitecture,
    SwinArchitecture,
    TextTower,
    VitArchitecture,
    Wav2Vec2Architecture,
    WhisperArchitecture,
)
from planner.architecture.schema_parts import AttentionShape, MlpShape
from planner.errors import InputError

COLOURS = 3
SINGLE_LABEL = 2
"""Classes the library assumes where a config names none."""


def num_labels(c: Config) -> int:
    """Classes of the head: as many as `id2label` has."""
    labels = c.raw("id2label")
    c.ignore("label2id")
    return len(labels) if labels is not None else c.count("num_labels", SINGLE_LABEL)


def headless(c: Config) -> bool:
    """Whether the class the config was saved from ends before the task's head."""
    saved = c.sequence("architectures") or ("",)
    return str(saved[0]).endswith("Model")


def expect_colours(c: Config, key: str = "num_channels") -> None:
    """Raise InputError for images that are not RGB."""
    if c.size(key, COLOURS) != COLOURS:
        raise InputError(f"{c.where(key)}: only images of {COLOURS} channels are modelled")


def image_layers(c: Config) -> dict[str, int]:
    """The sizes of an image encoder in our words."""
    hidden, num_heads = c.size("hidden_size"), c.size("num_attention_heads")
    if hidden % num_heads:
        raise InputError(f"{c.where('hidden_size')} {hidden} is not a multiple of its heads, {num_heads}")
    expect_colours(c)
    return {
        "hidden_size": hidden,
        "num_layers": c.size("num_hidden_layers"),
        "intermediate_size": c.size("intermediate_size"),
        "num_heads": num_heads,
    }


def square(c: Config) -> dict[str, int]:
    """Image and patch sizes."""
    return {"image_size": c.size("image_size"), "patch_size": c.size("patch_size")}


def _whisper(c: Config) -> WhisperArchitecture:
    hidden, num_heads = c.size("hidden_size"), c.size("encoder_attention_heads")
    if c.size("decoder_attention_heads") != num_heads or hidden % num_heads:
        raise InputError(f"encoder and decoder heads must be equal and divide d_model {hidden}")
    for key in (
        "classifier_proj_size",
        "median_filter_width",
        "use_weighted_layer_sum",
        "num_hidden_layers",
        "tie_word_embeddings",
    ):
        c.ignore(key)
    c.ignore("apply_spec_augment", "activation_dropout", "lang_ids", "suppress_ids", "alignment_heads")
    width = c.size("decoder_ffn_dim")
    if c.size("encoder_ffn_dim") != width:
        raise InputError("encoder_ffn_dim and decoder_ffn_dim differ, which is not modelled")
    return WhisperArchitecture(
        num_layers=c.size("decoder_layers"),
        num_encoder_layers=c.size("encoder_layers"),
        hidden_size=hidden,
        vocab_size=c.size("vocab_size"),
        attention=AttentionShape(num_heads=num_heads, num_kv_heads=num_heads, head_dim=hidden // num_heads, bias="qvo"),
        feed_forward=MlpShape(
            intermediate_size=width, gated=False, activation=c.activation("activation_function", "gelu"), bias="all"
        ),
        num_mel_bins=c.size("num_mel_bins"),
        encoder_positions=c.size("max_source_positions"),
        position_rows=c.size("max_target_positions"),
        **dropouts(c, residual=("dropout",), attention="attention_dropout"),
    )


def _wav2vec2(c: Config) -> Wav2Vec2Architecture:
    if c.word("feat_extract_norm", "group") != "group" or c.flag("conv_bias"):
        raise InputError(f"{c.where('feat_extract_norm')}: only group norm without biases is modelled")
    c.refuse("add_adapter", "adapters on top of wav2vec 2.0 are not modelled")
    c.ignore("do_stable_layer_norm", "adapter_attn_dim", "adapter_kernel_size", "adapter_stride", "num_adapter_layers")
    for key in ("codevector_dim", "contrastive_logits_temperature", "ctc_loss_reduction", "ctc_zero_infinity"):
        c.ignore(key)
    for key in ("diversity_loss_weight", "feat_extract_activation", "feat_extract_dropout", "feat_proj_dropout"):
        c.ignore(key)
    for key in (
        "feat_quantizer_dropout",
        "gradient_checkpointing",
        "num_codevector_groups",
        "num_codevectors_per_group",
    ):
        c.ignore(key)
    for key in (
        "num_feat_extract_layers",
        "num_negatives",
        "output_hidden_size",
        "proj_codevector_dim",
        "tdnn_dilation",
    ):
        c.ignore(key)
    for key in ("tdnn_dim", "tdnn_kernel", "use_weighted_layer_sum", "xvector_output_dim", "classifier_proj_size"):
        c.ignore(key)
    c.ignore("apply_spec_augment", "num_ctc_classes", "gradient_checkpointing")
    return Wav2Vec2Architecture(
        num_layers=c.size("num_hidden_layers"),
        hidden_size=c.size("hidden_size"),
        vocab_size=c.size("vocab_size"),
        attention=heads(c, bias="qkvo"),
        feed_forward=plain_mlp(c),
        conv_channels=c.sizes("conv_dim"),
        conv_kernels=c.sizes("conv_kernel"),
        conv_strides=c.sizes("conv_stride"),
        position_conv_kernel=c.size("num_conv_pos_embeddings"),
        position_conv_groups=c.size("num_conv_pos_embedding_groups"),
        **dropouts(c, residual=("hidden_dropout",), attention="attention_dropout"),
    )


def _vit(c: Config) -> VitArchitecture:
    if not c.flag("qkv_bias", True):
        raise InputError(f"{c.where('qkv_bias')}: ViT without biases is not modelled")
    c.ignore("encoder_stride", "pooler_act", "pooler_output_size", "hidden_act", "num_labels")
    bare = headless(c)
    return VitArchitecture(**image_layers(c), **square(c), pooler=bare, num_labels=0 if bare else num_labels(c))


def _dinov2(c: Config) -> VitArchitecture:
    c.refuse("use_swiglu_ffn", "the gated MLP of DINOv2-giant is not modelled")
    c.ignore("apply_layernorm", "drop_path_rate", "layerscale_value", "qkv_bias", "reshape_hidden_states", "hidden_act")
    width = c.size("mlp_ratio", 4) * c.size("hidden_size")
    layers = image_layers(c) | {"intermediate_size": width}
    return VitArchitecture(**layers, **square(c), layer_scale=True, mask_token=c.flag("use_mask_token", True))


def _contrastive(c: Config, kind: Any, text: dict[str, Any], image: dict[str, Any]) -> ContrastiveArchitecture:
    words = c.part("text_config", defaults=text)
    pixels = c.part("vision_config", defaults=image)
    for part in (words, pixels):
        part.ignore("projection_dim", "initializer_factor", "projection_size", "vision_use_head")
    c.ignore("text_config_dict", "vision_config_dict", "logit_scale_init_value", "initializer_factor")
    pixels.ignore("hidden_act")
    expect_colours(pixels)
    towers = {
        "text": TextTower(
            hidden_size=words.size("hidden_size"),
            num_layers=words.size("num_hidden_layers"),
            intermediate_size=words.size("intermediate_size"),
            num_heads=words.size("num_attention_heads"),
            vocab_size=words.size("vocab_size"),
            position_rows=words.size("max_position_embeddings"),
            activation=words.activation(default="quick_gelu"),
        ),
        "vision": ImageTower(**image_layers(pixels), **square(pixels)),
    }
    projection = c.count("projection_dim", 512) if kind == "clip" else 0
    return ContrastiveArchitecture(kind=kind, projection_size=projection, **towers)


def _clip(c: Config) -> ContrastiveArchitecture:
    return _contrastive(c, "clip", CLIP_TEXT, CLIP_VISION)


def _siglip(c: Config) -> ContrastiveArchitecture:
    return _contrastive(c, "siglip", SIGLIP_TEXT, SIGLIP_VISION)


def _resnet(c: Config) -> ResnetArchitecture:
    expect_colours(c)
    c.refuse("downsample_in_first_stage", "this variant of ResNet is not modelled")
    c.refuse("downsample_in_bottleneck", "this variant of ResNet is not modelled")
    c.ignore("hidden_act", "num_labels")
    kind = c.word("layer_type", "bottleneck")
    if kind not in ("basic", "bottleneck"):
        raise InputError(f"{c.where('layer_type')} is {kind!r}; known: basic, bottleneck")
    return ResnetArchitecture(
        block="basic" if kind == "basic" else "bottleneck",
        depths=c.sizes("depths"),
        hidden_sizes=c.sizes("hidden_sizes"),
        embedding_size=c.size("embedding_size"),
        num_labels=num_labels(c),
        image_size=c.size("image_size", 224),
    )


def _swin(c: Config) -> SwinArchitecture:
    expect_colours(c)
    c.refuse("use_absolute_embeddings", "absolute positions in Swin are not modelled")
    for key in ("encoder_stride", "hidden_act", "num_labels", "num_layers", "hidden_size", "path_norm", "qkv_bias"):
        c.ignore(key)
    if c.rate("mlp_ratio", 4.0) != 4:
        raise InputError(f"{c.where('mlp_ratio')}: only a ratio of 4 is modelled")
    return SwinArchitecture(
        **square(c),
        embedding_size=c.size("embed_dim"),
        depths=c.sizes("depths"),
        num_heads=c.sizes("num_heads"),
        window=c.size("window_size"),
        num_labels=num_labels(c),
    )


def _convnext(c: Config) -> ConvnextArchitecture:
    expect_colours(c)
    c.ignore("num_stages", "hidden_act", "layer_scale_init_value", "num_labels")
    return ConvnextArchitecture(
        depths=c.sizes("depths"),
        hidden_sizes=c.sizes("hidden_sizes"),
        patch_size=c.size("patch_size"),
        num_labels=num_labels(c),
        image_size=c.size("image_size"),
    )


def image_sizes(hidden: int, inner: int, layers: int, num_heads: int, image: int, patch: int) -> dict[str, int]:
    """Defaults of an image encoder in one line."""
    return {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": num_heads,
        "image_size": image,
        "patch_size": patch,
    }


def _text_sizes(vocab: int, hidden: int, inner: int, num_heads: int, context: int) -> dict[str, int]:
    return {
        "vocab_size": vocab,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": 12,
        "num_attention_heads": num_heads,
        "max_position_embeddings": context,
    }


CLIP_TEXT = _text_sizes(49408, 512, 2048, 8, 77)
CLIP_VISION = image_sizes(768, 3072, 12, 12, 224, 32)
SIGLIP_TEXT: dict[str, Any] = _text_sizes(32000, 768, 3072, 12, 64) | {"hidden_act": "gelu_pytorch_tanh"}
SIGLIP_VISION = image_sizes(768, 3072, 12, 12, 224, 16)
_CONV = {"conv_dim": (512,) * 7, "conv_kernel": (10, 3, 3, 3, 3, 2, 2), "conv_stride": (5, 2, 2, 2, 2, 2, 2)}

FAMILIES = {
    "whisper": Family(
        name="Whisper",
        read=_whisper,
        task="speech",
        aliases={"hidden_size": "d_model"},
        defaults={
            "vocab_size": 51865,
            "num_mel_bins": 80,
            "encoder_layers": 4,
            "encoder_attention_heads": 6,
            "decoder_layers": 4,
            "decoder_attention_heads": 6,
            "decoder_ffn_dim": 1536,
            "encoder_ffn_dim": 1536,
            "hidden_size": 384,
            "max_source_positions": 1500,
            "max_target_positions": 448,
        },
        context_key="max_target_positions",
    ),
    "wav2vec2": Family(
        name="Wav2Vec2",
        read=_wav2vec2,
        task="speech",
        defaults=_CONV
        | {
            "vocab_size": 32,
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "intermediate_size": 3072,
            "hidden_dropout": 0.1,
            "attention_dropout": 0.1,
            "num_conv_pos_embeddings": 128,
            "num_conv_pos_embedding_groups": 16,
        },
    ),
    "vit": Family(name="ViT", read=_vit, task="vision", defaults=image_sizes(768, 3072, 12, 12, 224, 16)),
    "dinov2": Family(name="DINOv2", read=_dinov2, task="vision", defaults=image_sizes(768, 3072, 12, 12, 224, 14)),
    "clip": Family(name="CLIP", read=_clip, task="vision"),
    "siglip": Family(name="SigLIP", read=_siglip, task="vision"),
    "resnet": Family(
        name="ResNet",
        read=_resnet,
        task="vision",
        defaults={"embedding_size": 64, "hidden_sizes": (256, 512, 1024, 2048), "depths": (3, 4, 6, 3)},
    ),
    "swin": Family(
        name="Swin",
        read=_swin,
        task="vision",
        defaults={
            "image_size": 224,
            "patch_size": 4,
            "embed_dim": 96,
            "depths": (2, 2, 6, 2),
            "num_heads": (3, 6, 12, 24),
            "window_size": 7,
        },
    ),
    "convnext": Family(
        name="ConvNeXt",
        read=_convnext,
        task="vision",
        defaults={
            "patch_size": 4,
            "hidden_sizes": (96, 192, 384, 768),
            "depths": (3, 3, 9, 3),
            "image_size": 224,
        },
    ),
}
