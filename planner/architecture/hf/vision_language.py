"""Vision-language models: a text config, a vision config, and what joins them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.architecture.hf import llama, llama_kin, moe, moe_local, qwen
from planner.architecture.hf.gemma import GEMMA4_TEXT, read_gemma4, read_gemma4_tower
from planner.architecture.hf.media import CLIP_VISION, SIGLIP_VISION, image_layers, image_sizes, square
from planner.architecture.hf.parts import Family, decoder, heads, mlp, sizes
from planner.architecture.hf.reader import Config
from planner.architecture.schema_parts import (
    ClipTower,
    Llama4Tower,
    MllamaTower,
    PixtralTower,
    QwenTower,
    SiglipTower,
    VisionTower,
)
from planner.architecture.schema_text import DecoderArchitecture, Mixer
from planner.errors import InputError, UnknownNameError

TEXT_FAMILIES: Mapping[str, Family] = llama.FAMILIES | llama_kin.FAMILIES | moe.FAMILIES | qwen.FAMILIES


def _joined(c: Config, text: DecoderArchitecture, tower: VisionTower, **more: Any) -> DecoderArchitecture:
    """The text model with its tower; whether embeddings are tied is the outer config's to say, if it does."""
    tied = c.flag("tie_word_embeddings", text.tied_embeddings)
    return text.model_copy(update={"vision": tower, "tied_embeddings": tied, **more})


def _text(c: Config, *, otherwise: str, ignored: tuple[str, ...] = ()) -> DecoderArchitecture:
    """The text config, read as the family it names."""
    given = c.raw("text_config") or {}
    kind = given.get("model_type", otherwise) if isinstance(given, Mapping) else otherwise
    family = TEXT_FAMILIES.get(kind)
    if family is None:
        raise UnknownNameError("text_config.model_type", str(kind), TEXT_FAMILIES)
    part = c.part("text_config", defaults=family.defaults, aliases=family.aliases, required=True)
    part.ignore(*ignored)
    found = family.read(part)
    assert isinstance(found, DecoderArchitecture), "text families of vision-language models are decoders"
    return found


def _text_part(c: Config, defaults: Mapping[str, Any], aliases: Mapping[str, str] | None = None) -> Config:
    """The text config; older configs hold its keys beside `vision_config` instead."""
    if c.has("text_config"):
        return c.part("text_config", defaults=defaults, aliases=aliases)
    c.ignore(*(c.given() - {"vision_config"}))
    inner = {k: v for k, v in c.values().items() if k != "vision_config"}
    return c.inline(inner, defaults=defaults, aliases=aliases)


def _llava(c: Config) -> DecoderArchitecture:
    """LLaVA 1.5 and NeXT over a CLIP tower, and Pixtral 12B."""
    return _llava_of(c, newline=False)


def _llava_next(c: Config) -> DecoderArchitecture:
    c.ignore("image_grid_pinpoints", "use_image_newline_parameter")
    return _llava_of(c, newline=True)


def _llava_of(c: Config, *, newline: bool) -> DecoderArchitecture:
    c.ignore("image_seq_length", "projector_hidden_act", "multimodal_projector_bias")
    given = c.raw("vision_config") or {}
    if isinstance(given, Mapping) and given.get("model_type") == "pixtral":
        return _joined(c, _text(c, otherwise="mistral"), _pixtral_tower(c, projector="mlp"))
    pixels = c.part("vision_config", defaults=CLIP_VISION, required=True)
    pixels.ignore("projection_dim", "vocab_size", "hidden_act")
    tower = ClipTower(**image_layers(pixels), **square(pixels), image_newline=newline)
    tokens = tower.num_patches
    return _joined(c, _text(c, otherwise="llama"), tower.model_copy(update={"tokens_per_image": tokens}))


def _pixtral_tower(c: Config, *, projector: Any, merge: int = 1) -> PixtralTower:
    pixels = c.part("vision_config", defaults=image_sizes(1024, 4096, 24, 16, 1024, 16), required=True)
    pixels.ignore("head_dim", "hidden_act", "vocab_size", "projection_dim")
    return PixtralTower(**image_layers(pixels), **square(pixels), projector=projector, merge=merge)


def _mistral3(c: Config) -> DecoderArchitecture:
    c.ignore("projector_hidden_act", "multimodal_projector_bias")
    tower = _pixtral_tower(c, projector="patch_merger", merge=c.size("spatial_merge_size", 2))
    return _joined(c, _text(c, otherwise="mistral"), tower)


def _paligemma(c: Config) -> DecoderArchitecture:
    c.ignore("projection_dim", "hidden_size", "vocab_size", "num_image_tokens")
    pixels = c.part("vision_config", defaults=SIGLIP_VISION, required=True)
    pixels.ignore(
        "hidden_act", "num_image_tokens", "projection_dim", "projector_hidden_act", "vision_use_head", "vocab_size"
    )
    tower = SiglipTower(**image_layers(pixels), **square(pixels), projector="linear")
    given = c.raw("text_config") or {}
    text = _text(c, otherwise="gemma", ignored=("num_image_tokens",))
    vocab = given.get("vocab_size") or c.size("vocab_size", 257152)
    return _joined(c, text, tower, vocab_size=vocab)


def _gemma3(c: Config) -> DecoderArchitecture:
    defaults = llama.FAMILIES["gemma3_text"].defaults
    pixels = c.part("vision_config", defaults=SIGLIP_VISION, required=True)
    pixels.ignore("hidden_act", "vision_use_head")
    tower = SiglipTower(
        **image_layers(pixels),
        **square(pixels),
        projector="gemma3",
        tokens_per_image=c.size("mm_tokens_per_image", 256),
    )
    text = llama.gemma3(c.part("text_config", defaults=defaults, required=True))
    return _joined(c, text, tower)


def _gemma4(c: Config) -> DecoderArchitecture:
    text, tower = read_gemma4(c.part("text_config", defaults=GEMMA4_TEXT, required=True)), read_gemma4_tower(c)
    return _joined(c, text, tower) if tower else text


def _idefics3(c: Config) -> DecoderArchitecture:
    c.ignore("pixel_shuffle_factor", "use_resampler", "vocab_size", "image_seq_len")
    shuffle = c.size("scale_factor", 2)
    pixels = c.part("vision_config", defaults=image_sizes(1152, 3072, 12, 16, 224, 32), required=True)
    pixels.ignore("hidden_act", "max_image_size", "size", "tie_word_embeddings", "use_base_siglip")
    tower = SiglipTower(**image_layers(pixels), **square(pixels), projector="pixel_shuffle", shuffle=shuffle)
    return _joined(c, _text(c, otherwise="llama", ignored=IDEFICS_TEXT), tower)


IDEFICS_TEXT = ("neftune_noise_alpha", "perceiver_config", "pixel_shuffle_factor", "qk_layer_norms", "use_resampler")


def _qwen_tower(pixels: Config, *, kind: Any, hidden: int, inner: int, **more: Any) -> QwenTower:
    pixels.ignore(
        "in_chans", "in_channels", "hidden_act", "out_hidden_size", "spatial_patch_size", "fullatt_block_indexes"
    )
    pixels.ignore("window_size", "tokens_per_second", "mlp_ratio")
    num_heads = pixels.size("num_heads")
    if hidden % num_heads:
        raise InputError(f"{pixels.where('num_heads')} {num_heads} does not divide the width {hidden}")
    return QwenTower(
        kind=kind,
        hidden_size=hidden,
        num_layers=pixels.size("depth"),
        intermediate_size=inner,
        num_heads=num_heads,
        patch_size=pixels.size("patch_size"),
        merge=pixels.size("spatial_merge_size"),
        temporal_patch=pixels.size("temporal_patch_size"),
        **more,
    )


def _qwen2_vl(c: Config) -> DecoderArchitecture:
    pixels = c.part("vision_config", defaults=_QWEN_VISION | {"embed_dim": 1280, "mlp_ratio": 4}, required=True)
    hidden = pixels.size("embed_dim")
    pixels.ignore("hidden_size")
    inner = int(hidden * pixels.rate("mlp_ratio"))
    tower = _qwen_tower(pixels, kind="qwen2_vl", hidden=hidden, inner=inner)
    return _joined(c, qwen.qwen2(_text_part(c, _QWEN2_VL_TEXT)), tower)


def _qwen2_5_vl(c: Config) -> DecoderArchitecture:
    pixels = c.part(
        "vision_config", defaults=_QWEN_VISION | {"hidden_size": 3584, "intermediate_size": 3420}, required=True
    )
    hidden, inner = pixels.size("hidden_size"), pixels.size("intermediate_size")
    tower = _qwen_tower(pixels, kind="qwen2_5_vl", hidden=hidden, inner=inner)
    return _joined(c, qwen.qwen2(_text_part(c, _QWEN2_VL_TEXT)), tower)


def _qwen3_tower(c: Config, *, deepstack: tuple[int, ...] = ()) -> QwenTower:
    """Qwen3-VL's tower; `deepstack` are the layers it taps where the config names none."""
    pixels = c.part("vision_config", defaults=_QWEN3_VISION, required=True)
    listed = pixels.sequence("deepstack_visual_indexes")
    return _qwen_tower(
        pixels,
        kind="qwen3_vl",
        hidden=pixels.size("hidden_size"),
        inner=pixels.size("intermediate_size"),
        num_positions=pixels.size("num_position_embeddings"),
        num_deepstack=len(deepstack if listed is None else listed),
    )


def _qwen3_vl(c: Config) -> DecoderArchitecture:
    text = c.part("text_config", defaults=_QWEN3_VL_TEXT, required=True)
    return _joined(c, qwen.qwen3(text), _qwen3_tower(c, deepstack=(8, 16, 24)))


def _qwen3_vl_moe(c: Config) -> DecoderArchitecture:
    part = c.part(
        "text_config", defaults=_QWEN3_VL_MOE_TEXT, aliases={"num_local_experts": "num_experts"}, required=True
    )
    return _joined(c, qwen.qwen3_moe(part), _qwen3_tower(c, deepstack=(8, 16, 24)))


def _qwen3_5(c: Config) -> DecoderArchitecture:
    return _joined(
        c, qwen.qwen3_5(c.part("text_config", defaults=qwen.QWEN3_5_DEFAULTS, required=True)), _qwen3_tower(c)
    )


def _qwen3_5_moe(c: Config) -> DecoderArchitecture:
    text = qwen.qwen3_5_moe(c.part("text_config", defaults=qwen.QWEN3_5_MOE_DEFAULTS, required=True))
    return _joined(c, text, _qwen3_tower(c))


def _llama4(c: Config) -> DecoderArchitecture:
    pixels = c.part("vision_config", defaults=image_sizes(768, 5632, 34, 16, 448, 14), required=True)
    ratio = pixels.rate("pixel_shuffle_ratio", 0.5)
    pixels.ignore("multi_modal_projector_bias", "hidden_act", "rope_theta")
    if pixels.size("vision_output_dim", 7680) != pixels.size("projector_output_dim", 4096):
        raise InputError(f"{pixels.where('vision_output_dim')} and projector_output_dim differ")
    common = {**image_layers(pixels), **square(pixels)}
    patches = (common["image_size"] // common["patch_size"]) ** 2
    tower = Llama4Tower(
        **common,
        projector_input_size=pixels.size("projector_input_dim", 4096),
        projector_output_size=pixels.size("projector_output_dim", 4096),
        tokens_per_tile=round(patches * ratio * ratio),
    )
    return _joined(c, moe_local.llama4(c.part("text_config", defaults=moe_local.LLAMA4_DEFAULTS, required=True)), tower)


def _mllama(c: Config) -> DecoderArchitecture:
    """Llama 3.2 Vision: cross-attention layers stand between the text model's own."""
    text = c.part("text_config", defaults=_MLLAMA_TEXT, required=True)
    crossing = text.sequence("cross_attention_layers") or (3, 8, 13, 18, 23, 28, 33, 38)
    num_layers = text.size("num_hidden_layers")
    mixers: tuple[Mixer, ...] = tuple("cross" if i in crossing else "full" for i in range(num_layers))
    pixels = c.part(
        "vision_config",
        defaults=image_sizes(1280, 5120, 32, 16, 448, 14),
        aliases={"num_attention_heads": "attention_heads"},
        required=True,
    )
    layers = pixels.sequence("intermediate_layers_indices") or (3, 7, 15, 23, 30)
    ratios = pixels.sequence("supported_aspect_ratios") or ((),) * 8
    pixels.ignore("vision_output_dim", "hidden_act", "max_aspect_ratio_id")
    shape = image_layers(pixels)
    tower = MllamaTower(
        **shape,
        **square(pixels),
        num_global_layers=pixels.size("num_global_layers", 8),
        num_tiles=pixels.size("max_num_tiles", 4),
        num_aspect_ratios=len(ratios),
        output_size=shape["hidden_size"] * (len(layers) + 1),
    )
    found = decoder(text, attention=heads(text), mixers=mixers, feed_forward=mlp(text), extra_embedding_rows=8)
    return _joined(c, found, tower)


_QWEN_VISION = {
    "depth": 32,
    "num_heads": 16,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}
_QWEN3_VISION = {
    "depth": 27,
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_heads": 16,
    "patch_size": 16,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "num_position_embeddings": 2304,
}
_QWEN2_VL_TEXT = sizes(152064, 8192, 29568, 80, 64, 32768, num_key_value_heads=8, max_window_layers=80)
_QWEN3_VL_TEXT = sizes(151936, 4096, 22016, 32, 32, 128000, num_key_value_heads=32, head_dim=128)
_QWEN3_VL_MOE_TEXT = sizes(
    151936,
    2048,
    5632,
    24,
    16,
    128000,
    num_key_value_heads=16,
    head_dim=128,
    moe_intermediate_size=1408,
    num_experts_per_tok=4,
    num_local_experts=60,
)
_MLLAMA_TEXT = sizes(128256, 4096, 14336, 40, 32, 131072, num_key_value_heads=8)


def _family(name: str, read: Any) -> Family:
    return Family(name=name, read=read, task="vision-language", context_key="text_config.max_position_embeddings")


FAMILIES = {
    "llava": _family("LLaVA", _llava),
    "llava_next": _family("LLaVA", _llava_next),
    "mistral3": _family("Mistral", _mistral3),
    "paligemma": _family("PaliGemma", _paligemma),
    "gemma3": _family("Gemma-3", _gemma3),
    "gemma4": _family("Gemma-4", _gemma4),
    "idefics3": _family("SmolVLM", _idefics3),
    "smolvlm": _family("SmolVLM", _idefics3),
    "qwen2_vl": _family("Qwen2-VL", _qwen2_vl),
    "qwen2_5_vl": _family("Qwen2.5-VL", _qwen2_5_vl),
    "qwen3_vl": _family("Qwen3-VL", _qwen3_vl),
    "qwen3_vl_moe": _family("Qwen3-VL", _qwen3_vl_moe),
    "qwen3_5": _family("Qwen3.5", _qwen3_5),
    "qwen3_5_moe": _family("Qwen3.5", _qwen3_5_moe),
    "llama4": _family("Llama-4", _llama4),
    "mllama": _family("Llama-3.2-Vision", _mllama),
}
