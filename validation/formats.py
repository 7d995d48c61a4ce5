"""Number formats of weights in the child: which dtype a model is built in, and how it is quantised afterwards.

Quantising starts from random 16-bit weights, as loading a checkpoint of that format would end. A format whose library
is missing, or that the device cannot hold, raises UnsupportedError: a verdict, not a crash.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PretrainedConfig

INFER_DTYPES = {"fp32": "float32", "tf32": "float32", "fp16": "float16", "bf16": "bfloat16"}
TRAIN_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "bf16-mixed": "float32", "fp16-mixed": "float32"}
QUANTISED = ("fp8", "int8", "nf4", "int8-w8a8")
PACKED_BYTES = {"nf4": 0.5, "int8": 1.0, "fp8": 1.0, "int8-w8a8": 1.0}
"""Of one weight of a linear layer that was built in 16 bits."""
KEPT = ("lm_head", "embed_out", "cls", "classifier", "score")
"""Modules that stay in 16 bit, as transformers' own quantisers leave the head."""


class UnsupportedError(Exception):
    """This trial cannot be run here; the message says what would be needed."""


def needs(package: str, *, why: str) -> None:
    """Raise UnsupportedError where a package is not installed."""
    if importlib.util.find_spec(package) is None:
        raise UnsupportedError(f"{why} needs the package {package}, which is not installed")


def dtype_of(name: str) -> torch.dtype:
    """The torch dtype of that name."""
    import torch

    found = getattr(torch, name)
    assert isinstance(found, torch.dtype)
    return found


def weights_dtype(precision: str) -> torch.dtype:
    """What a model is built in for inference. Raises UnsupportedError for a format the replay has no kernels for."""
    if precision in INFER_DTYPES:
        return dtype_of(INFER_DTYPES[precision])
    if precision in QUANTISED:
        return dtype_of("bfloat16")
    raise UnsupportedError(f"the replay has no kernels for weights in {precision}")


def quantised(model: nn.Module, precision: str, device: str) -> nn.Module:
    """The model with its linear layers in that format, on the device. 16- and 32-bit formats are only moved."""
    match precision:
        case "nf4" | "int8":
            return _bitsandbytes(model, precision, device)
        case "fp8" | "int8-w8a8":
            return _torchao(model, precision, device)
        case _:
            return model.to(device)


def linear_layers(model: nn.Module) -> list[tuple[nn.Module, str, nn.Linear]]:
    """(parent, name, layer) of every linear layer but the heads."""
    from torch import nn

    found = []
    for path, module in model.named_modules():
        for name, child in module.named_children():
            full = f"{path}.{name}" if path else name
            if type(child) is nn.Linear and not any(part in KEPT for part in full.split(".")):
                found.append((module, name, child))
    return found


def _bitsandbytes(model: nn.Module, precision: str, device: str) -> nn.Module:
    """LLM.int8() or double-quantised NF4, layer by layer, so that the 16-bit model is never whole on the device."""
    needs("bitsandbytes", why=f"precision {precision}")
    import bitsandbytes as bnb

    for parent, name, old in linear_layers(model):
        new: Any
        bias = old.bias is not None
        if precision == "nf4":
            new = bnb.nn.Linear4bit(
                old.in_features,
                old.out_features,
                bias=bias,
                compute_dtype=old.weight.dtype,
                compress_statistics=True,
                quant_type="nf4",
                device="meta",
            )
            new.weight = bnb.nn.Params4bit(
                old.weight.data, requires_grad=False, compress_statistics=True, quant_type="nf4"
            )
        else:
            new = bnb.nn.Linear8bitLt(
                old.in_features, old.out_features, bias=bias, has_fp16_weights=False, threshold=6.0, device="meta"
            )
            new.weight = bnb.nn.Int8Params(old.weight.data, requires_grad=False, has_fp16_weights=False)
        if bias:
            new.bias = old.bias
        setattr(parent, name, new.to(device))
    return model.to(device)


def _torchao(model: nn.Module, precision: str, device: str) -> nn.Module:
    """FP8 or INT8 weights and activations, layer by layer, so that the 16-bit model is never whole on the device."""
    needs("torchao", why=f"precision {precision}")
    import torch
    from torchao.quantization import (
        Float8DynamicActivationFloat8WeightConfig,
        Int8DynamicActivationInt8WeightConfig,
        PerRow,
        quantize_,
    )

    chosen = {id(layer) for _, _, layer in linear_layers(model)}
    config: Any
    if precision == "fp8":
        config = Float8DynamicActivationFloat8WeightConfig(granularity=PerRow())
    else:
        config = Int8DynamicActivationInt8WeightConfig()
    try:
        quantize_(model, config, filter_fn=lambda module, _name: id(module) in chosen, device=device)
    except torch.OutOfMemoryError:
        raise
    except (AssertionError, NotImplementedError, RuntimeError) as err:
        raise UnsupportedError(f"torchao cannot make {precision} weights here: {err}") from None
    return model


def pooled_bytes(config: PretrainedConfig, precision: str) -> int:
    """Bytes of the one block that `from_pretrained` takes and gives back before it loads weights onto a device.

    The library sizes it by what the tensors will take (`caching_allocator_warmup`): linear layers as their format
    packs them, everything else in 16 or 32 bits.
    """
    from validation.models import build

    model = build(config, dtype=weights_dtype(precision), device="meta")
    whole = sum(p.numel() * p.element_size() for p in model.parameters())
    packed = sum(layer.weight.numel() for _, _, layer in linear_layers(model)) if precision in PACKED_BYTES else 0
    return int(whole - packed * (2 - PACKED_BYTES.get(precision, 2)))


def weight_bytes(model: nn.Module) -> int:
    """Bytes that parameters and buffers hold, tied ones once, scales and statistics of quantised layers included."""
    seen: dict[int, int] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        for part in parts_of(tensor):
            storage = part.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes()
    return sum(seen.values())


def parts_of(tensor: torch.Tensor) -> list[torch.Tensor]:
    """The plain tensors behind one, which may wrap several: values, scales, quantisation statistics."""
    import torch

    flatten = getattr(tensor, "__tensor_flatten__", None)
    if flatten is not None:
        inner, _ = flatten()
        return [part for name in inner for part in parts_of(getattr(tensor, name))]
    found = [tensor.data if isinstance(tensor, torch.nn.Parameter) else tensor]
    state = getattr(tensor, "quant_state", None)
    while state is not None:
        found += [v for v in (state.absmax, state.code, state.offset) if isinstance(v, torch.Tensor)]
        state = state.state2
    scales = getattr(tensor, "SCB", None)
    return found + ([scales] if isinstance(scales, torch.Tensor) else [])
