"""Attention as a CUDA build would run it, on tensors of any device.

`F.scaled_dot_product_attention` on `meta` takes the plain formula; a GPU chooses among kernels by rules of
sdp_utils.cpp, which save different tensors for backward. `flash` stands for the flash-attention package, which takes
windows and causality as arguments instead of a mask.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

aten = torch.ops.aten
FLASH_WIDTH = 256
"""Largest head dimension of PyTorch's flash kernels."""
ALIGNMENT = 8
"""Flash kernels pad heads to a multiple of this."""
BIAS_ALIGNMENT = 16
"""The memory-efficient kernel wants rows of its bias aligned to this many values."""
PACKAGE = "packaged_kernel"
"""The name under which the flash-attention package is imitated."""

Kernel = Callable[..., torch.Tensor]
plain: Kernel = functional.scaled_dot_product_attention


def chosen(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, causal: bool, grouped: bool
) -> str:
    """`flash`, `efficient` or `math`: what compute capability 8 and newer takes, cuDNN attention off."""
    half = query.dtype in (torch.float16, torch.bfloat16)
    same_width = query.shape[-1] == key.shape[-1] == value.shape[-1]
    square = not causal or query.shape[-2] == key.shape[-2]
    if half and mask is None and same_width and query.shape[-1] <= FLASH_WIDTH and square:
        return "flash"
    return "math" if grouped and query.shape[1] != key.shape[1] else "efficient"


def scaled_dot_product_attention(used: Counter[str], compute_dtype: Callable[[], torch.dtype | None]) -> Kernel:
    """A stand-in for torch's function of this name; counts the kernels it takes in `used`."""

    def attend(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> torch.Tensor:
        dtype = compute_dtype()
        if dtype is not None:
            query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
            if attn_mask is not None and attn_mask.is_floating_point():
                attn_mask = attn_mask.to(dtype)
        kind = chosen(query, key, value, attn_mask, is_causal, enable_gqa)
        used[kind] += 1
        factor = query.shape[-1] ** -0.5 if scale is None else scale
        if kind == "flash":
            return flash(query, key, value, dropout_p, is_causal, factor)
        if kind == "efficient":
            return efficient(query, key, value, attn_mask, dropout_p, is_causal, factor)
        return plain(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)

    return attend


def flash(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, dropout: float, causal: bool, scale: float
) -> torch.Tensor:
    """The flash kernel: saves q, k, v, its output and a 32-bit log-sum-exp per row."""
    width = query.shape[-1]
    parts = (_padded(t, ALIGNMENT) for t in (query, key, value))
    out: torch.Tensor = aten._scaled_dot_product_flash_attention(*parts, dropout, causal, False, scale=scale)[0]
    return out if out.shape[-1] == width else out[..., :width]


def efficient(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    dropout: float,
    causal: bool,
    scale: float,
) -> torch.Tensor:
    """The memory-efficient kernel: a mask becomes a bias of the computing type, saved beside what flash saves."""
    bias = None if mask is None else _bias(mask, query, key)
    learns = torch.is_grad_enabled() and any(t.requires_grad for t in (query, key, value))
    out: torch.Tensor = aten._scaled_dot_product_efficient_attention(
        query, key, value, bias, learns, dropout, causal, scale=scale
    )[0]
    return out


def flash_package(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """The flash-attention package as transformers calls it: 16 bit, grouped heads as they are, no mask."""
    if query.dtype == torch.float32:
        query, key, value = (t.to(torch.bfloat16) for t in (query, key, value))
    causal = bool(getattr(module, "is_causal", True)) and query.shape[2] == key.shape[2]
    factor = query.shape[-1] ** -0.5 if scaling is None else scaling
    out = flash(query, key, value, dropout if module.training else 0.0, causal, factor)
    return out.transpose(1, 2), None


def _bias(mask: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    bias = mask
    if bias.dtype == torch.bool:
        bias = torch.zeros_like(bias, dtype=query.dtype).masked_fill_(bias.logical_not(), float("-inf"))
    bias = _padded(bias, BIAS_ALIGNMENT)[..., : mask.shape[-1]]
    return bias.expand(query.shape[0], query.shape[1], query.shape[2], key.shape[2])


def _padded(tensor: torch.Tensor, step: int) -> torch.Tensor:
    missing = -tensor.shape[-1] % step
    return functional.pad(tensor, (0, missing)) if missing else tensor
