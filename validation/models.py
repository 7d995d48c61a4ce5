"""Models from the keys of a `config.json`: the library's own classes, random weights, nothing downloaded.

    config = hf_config({"model_type": "llama", "hidden_size": 4096, ...})
    model = build(config, dtype=torch.bfloat16, device="cuda")        # or device="meta": shapes without memory

plan.json holds these keys under `inputs.models`. Only classes that transformers itself ships are built: a config
that asks for remote code is refused. torch and transformers are imported when a function is called.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel

AUTO_CLASSES = (
    "AutoModelForSeq2SeqLM",
    "AutoModelForMaskedLM",
    "AutoModelForCausalLM",
    "AutoModelForImageClassification",
    "AutoModel",
)
"""Where a config names no class: the first of these that knows its type."""
RANDOM_BLOCK = 2**22
"""Values drawn for a tensor in host memory before they repeat: more than any row or tile of a kernel."""
RANDOM_OPS = ("aten.normal_.default", "aten.uniform_.default")
LAYER_KEYS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers")
"""What the families call the number of layers; the first one a config has counts."""
ENCODER_LAYER_KEYS = ("encoder_layers", "num_layers")
"""The encoder's layers, where a config counts the decoder's by another key."""


class ModelError(ValueError):
    """A model that cannot be built here: an unknown type or class, or keys that contradict each other."""


def hf_config(keys: Mapping[str, Any]) -> PretrainedConfig:
    """The transformers configuration that the keys of a `config.json` describe.

    Raises ModelError where `model_type` is missing or is none that the installed transformers knows.
    """
    from transformers import CONFIG_MAPPING, AutoConfig

    kind = keys.get("model_type")
    if not kind:
        raise ModelError("the model's keys have no model_type")
    if kind not in CONFIG_MAPPING:
        raise ModelError(f"the installed transformers has no model_type {kind!r}")
    rest = {k: v for k, v in keys.items() if k not in ("model_type", "auto_map", "quantization_config")}
    config = AutoConfig.for_model(kind, **rest)
    if config.is_encoder_decoder and getattr(config, "decoder_start_token_id", None) is None:
        config.decoder_start_token_id = getattr(config, "pad_token_id", None) or 0
    return config


def model_class(config: PretrainedConfig) -> type[PreTrainedModel]:
    """The class named under `architectures`, else the usual one of the model's type.

    Raises ModelError where the installed transformers has none.
    """
    import transformers

    for name in config.architectures or ():
        named: type[PreTrainedModel] | None = getattr(transformers, name, None)
        if named is not None:
            return named
    for auto in AUTO_CLASSES:
        mapping = getattr(transformers, auto)._model_mapping
        if type(config) in mapping:
            found: type[PreTrainedModel] | tuple[type[PreTrainedModel], ...] = mapping[type(config)]
            return found[0] if isinstance(found, tuple) else found
    raise ModelError(f"the installed transformers has no model class for {config.model_type!r}")


def for_task(config: PretrainedConfig, *, trains: bool) -> PretrainedConfig:
    """An encoder that names no class: bare where it embeds, with a classifier where it learns; others as they are."""
    import copy

    import transformers

    masked, seq2seq = (
        getattr(transformers, auto)._model_mapping for auto in ("AutoModelForMaskedLM", "AutoModelForSeq2SeqLM")
    )
    if config.architectures or type(config) not in masked or type(config) in seq2seq:
        return config
    auto = "AutoModelForSequenceClassification" if trains else "AutoModel"
    own = copy.deepcopy(config)
    own.architectures = [getattr(transformers, auto)._model_mapping[type(config)].__name__]
    return own


def build(
    config: PretrainedConfig,
    *,
    dtype: torch.dtype,
    device: str | torch.device,
    attention: str = "sdpa",
    experts: str | None = None,
) -> PreTrainedModel:
    """The model with random weights of `dtype` on `device`; on `meta` it has shapes and no memory.

    `attention` is the library's name of an implementation (`eager`, `sdpa`, `flash_attention_2`), `experts`
    likewise for routed experts; a class without SDPA gets eager attention, as the library itself would choose.
    The config is left as it was.
    """
    import copy

    import torch

    own, found = copy.deepcopy(config), model_class(config)
    from_config: Callable[..., PreTrainedModel] = found._from_config
    chosen = "eager" if attention == "sdpa" and not found._supports_sdpa else attention
    options = {"attn_implementation": chosen} | ({"experts_implementation": experts} if experts else {})
    with torch.device(device), quick_random() if torch.device(device).type == "cpu" else contextlib.nullcontext():
        return from_config(own, dtype=dtype, **options)


@contextlib.contextmanager
def parameters_without_memory() -> Iterator[None]:
    """Models built inside have parameters on `meta`, tied ones once, and buffers with their values in host memory."""
    from torch import nn

    register = nn.Module.register_parameter

    def on_meta(module: nn.Module, name: str, param: nn.Parameter | None) -> None:
        register(module, name, param)
        if param is not None and not param.is_meta:
            module._parameters[name] = nn.Parameter(param.to("meta"), requires_grad=param.requires_grad)

    owner: Any = nn.Module
    owner.register_parameter = on_meta
    try:
        yield
    finally:
        owner.register_parameter = register


def quick_random() -> contextlib.AbstractContextManager[object]:
    """Random numbers of large tensors repeat a block of `RANDOM_BLOCK`: one core draws 10^8 a second, copies 10^10."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Quick(TorchDispatchMode):
        """Draws the first block of a tensor and copies it into the rest."""

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            drawn = args[0] if str(func) in RANDOM_OPS else None
            if drawn is None or drawn.numel() <= RANDOM_BLOCK or not drawn.is_contiguous():
                return func(*args, **(kwargs or {}))
            flat, filled = drawn.view(-1), RANDOM_BLOCK
            func(flat[:filled], *args[1:], **(kwargs or {}))
            while filled < flat.numel():
                more = min(filled, flat.numel() - filled)
                flat[filled : filled + more].copy_(flat[:more])
                filled += more
            return drawn

    made: Callable[[], contextlib.AbstractContextManager[object]] = Quick
    return made()


def num_layers(config: PretrainedConfig) -> int:
    """Layers of the decoder, or of the only stack there is.

    Raises ModelError where the config counts its layers by a key not known here.
    """
    return int(getattr(config, _layer_key(config)))


def with_layers(config: PretrainedConfig, layers: int) -> PretrainedConfig:
    """The same model with another number of layers; an encoder beside the decoder follows in proportion.

    Lists that give every layer its kind are cut after `layers`. Raises ModelError like `num_layers`, and for more
    layers than such a list has.
    """
    key, keys = _layer_key(config), config.to_dict()
    before = int(keys[key])
    changed: dict[str, Any] = {key: layers}
    for other in ENCODER_LAYER_KEYS:
        if other != key and isinstance(keys.get(other), int):
            changed[other] = max(1, keys[other] * layers // before)
    if keys.get("num_decoder_layers"):
        changed["num_decoder_layers"] = layers
    for name, value in keys.items():
        if isinstance(value, list) and len(value) == before and name.endswith(("_types", "_layers")):
            if layers > before:
                raise ModelError(f"{name} lists {before} layers, not {layers}")
            changed[name] = value[:layers]
    return hf_config(keys | changed)


def _layer_key(config: PretrainedConfig) -> str:
    attributes = getattr(config, "attribute_map", {})
    for key in LAYER_KEYS:
        if hasattr(config, key):
            return str(attributes.get(key, key))
    raise ModelError(f"no number of layers in the config of {config.model_type!r}")
