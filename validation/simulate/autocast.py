"""`torch.autocast` for tensors without a device of their own: its lists of operations and its cache of cast weights.

After autocast_mode.h of PyTorch 2.13 (AutocastCUDA). A 32-bit leaf that needs gradients is cast once and the copy kept
until the outermost region ends; all else is cast anew by every operation.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

T = torch.Tensor
HALF = (torch.bfloat16, torch.float16)
LOWER = frozenset(
    {
        functional.linear,
        torch.matmul,
        T.matmul,
        T.__matmul__,
        T.__rmatmul__,
        torch.addmm,
        T.addmm,
        torch.mm,
        T.mm,
        torch.bmm,
        T.bmm,
        torch.baddbmm,
        T.baddbmm,
        torch.addbmm,
        torch.einsum,
        functional.conv1d,
        functional.conv2d,
        functional.scaled_dot_product_attention,
    }
)
"""Computed in the lower precision."""
WIDE = frozenset(
    {
        functional.layer_norm,
        torch.layer_norm,
        torch.pow,
        T.pow,
        T.__pow__,
        T.__rpow__,
        torch.rsqrt,
        T.rsqrt,
        torch.exp,
        T.exp,
        torch.log,
        T.log,
        torch.reciprocal,
        T.reciprocal,
        torch.norm,
        T.norm,
        functional.nll_loss,
        functional.mse_loss,
        torch.logsumexp,
        functional.rms_norm,
        torch.tan,
        torch.cosh,
        torch.sinh,
        torch.expm1,
        torch.log1p,
    }
)
"""Computed in 32 bit."""
SOFTMAX = frozenset({functional.softmax, T.softmax, torch.softmax, functional.log_softmax, T.log_softmax})
WIDE_RESULT = frozenset({torch.sum, T.sum, torch.cumsum, T.cumsum, torch.prod, T.prod})
"""Given a 32-bit result where the call names no type."""


class Autocast(TorchFunctionMode):
    """A region under autocast. `active` holds the types of the regions entered, outermost first."""

    def __init__(self, dtype: torch.dtype, active: list[torch.dtype]) -> None:
        TorchFunctionMode.__init__(self)
        self.dtype = dtype
        self._active = active
        self._copies: dict[int, T] = {}

    def __enter__(self) -> Autocast:
        self._active.append(self.dtype)
        TorchFunctionMode.__enter__(self)
        return self

    def __exit__(self, *exc: Any) -> None:
        self._active.pop()
        self._copies.clear()
        TorchFunctionMode.__exit__(self, *exc)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        if func is functional.cross_entropy and args and args[0].dtype in HALF:
            # log_softmax keeps the input's type; nll_loss then takes the log-probabilities in 32 bit
            options = {k: v for k, v in named.items() if k in ("weight", "ignore_index", "reduction")}
            return functional.nll_loss(functional.log_softmax(args[0], -1).float(), *args[1:], **options)
        if func in LOWER:
            return func(*map(self._low, args), **{k: self._low(v) for k, v in named.items()})
        if func in WIDE:
            return func(*map(_wide, args), **{k: _wide(v) for k, v in named.items()})
        if func in SOFTMAX and named.get("dtype") is None:
            return func(_wide(args[0]), *args[1:], **named)
        if func in WIDE_RESULT and named.get("dtype") is None and _is_half(args[0]):
            return func(*args, **named, dtype=torch.float32)
        if func in (torch.cat, torch.stack) and args and len({t.dtype for t in args[0]}) > 1:
            return func([t.float() if t.is_floating_point() else t for t in args[0]], *args[1:], **named)
        return func(*args, **named)

    def _low(self, value: Any) -> Any:
        if not isinstance(value, T) or value.dtype != torch.float32 or value.device.type == "cpu":
            return value
        if not (value.requires_grad and value.is_leaf and value._base is None):
            return value.to(self.dtype)
        if id(value) not in self._copies:
            self._copies[id(value)] = value.to(self.dtype)
        return self._copies[id(value)]


def _wide(value: Any) -> Any:
    return value.float() if _is_half(value) else value


def _is_half(value: Any) -> bool:
    return isinstance(value, T) and value.dtype in HALF
