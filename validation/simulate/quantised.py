"""Linear layers of a 4-bit base, as bitsandbytes 0.50 and peft run them, without bitsandbytes.

NF4 with doubly quantised scales: half a byte a weight, an 8-bit scale for 64 weights, a 32-bit scale for 256 of those.
Past 1,536 rows (`_gemm_4bit_custom_max_m`) a product dequantises the weight and multiplies; backward dequantises it
again. Neither the copy nor the layer's input is kept. What a layer library does not quantise (embeddings, head, norms)
is cast to 32 bit, as peft's `prepare_model_for_kbit_training` does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

BLOCK = 64
"""Weights that share a scale."""
BLOCK_OF_SCALES = 256
"""Scales that share a scale."""
CODES = (16, 256)
"""Entries of the two code books."""
KEPT = "lm_head"
"""Left as it is, as the library leaves the head."""


class _Product(torch.autograd.Function):
    """MatMul4Bit: the weight is there twice, packed and, for a moment, not."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, packed: torch.Tensor, bias: torch.Tensor | None, rows: int) -> torch.Tensor:
        ctx.packed, ctx.rows = packed, rows
        return functional.linear(x, _dequantised(packed, rows, x.dtype), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (gradient,) = gradients
        weight = _dequantised(ctx.packed, ctx.rows, gradient.dtype)
        return torch.matmul(gradient, weight), None, None, None


class Nf4Linear(torch.nn.Linear):
    """A frozen linear layer in 4 bit that computes in 16."""

    def __init__(self, source: torch.nn.Linear, compute: torch.dtype) -> None:
        torch.nn.Module.__init__(self)
        self.in_features, self.out_features, self.compute = source.in_features, source.out_features, compute
        num, device = source.in_features * source.out_features, source.weight.device
        scales = -(-num // BLOCK)
        packed = torch.empty((num + 1) // 2, 1, dtype=torch.uint8, device=device)
        self.weight = torch.nn.Parameter(packed, requires_grad=False)
        self.bias = source.bias
        self.register_buffer("absmax", torch.empty(scales, dtype=torch.uint8, device=device))
        wide = {"nested_absmax": -(-scales // BLOCK_OF_SCALES), "code": CODES[0], "nested_code": CODES[1], "offset": 1}
        for name, size in wide.items():
            self.register_buffer(name, torch.empty(size, dtype=torch.float32, device=device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The product in the computing type, given back in the input's."""
        apply: Callable[..., torch.Tensor] = _Product.apply
        bias = None if self.bias is None else self.bias.to(self.compute)
        return apply(x.to(self.compute), self.weight, bias, self.out_features).to(x.dtype)


def quantise(model: torch.nn.Module, compute: torch.dtype) -> None:
    """Put every linear layer but the head into 4 bit, and everything else into 32."""
    for name, module in list(model.named_modules()):
        if type(module) is torch.nn.Linear and KEPT not in name:
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, Nf4Linear(module, compute))
    for p in model.parameters():
        p.requires_grad_(False)
        if p.is_floating_point():
            p.data = p.data.to(torch.float32)


def adapter_layers() -> dict[type, type]:
    """The class peft is to put around a 4-bit layer: its own for bitsandbytes in all that takes memory."""
    from peft.tuners.lora import layer

    return {Nf4Linear: type("Nf4Adapter", (layer.Linear,), {"forward": _adapted_product})}


def _adapted_product(self: Any, x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    """The base's output is cloned; without autocast the adapter's is cast before it is added."""
    result: torch.Tensor = self.base_layer(x).clone()
    for name in self.active_adapters:
        first, second = self.lora_A[name], self.lora_B[name]
        casts = not torch.is_autocast_enabled()
        x = x.to(first.weight.dtype) if casts else x
        added = second(first(self.lora_dropout[name](x))) * self.scaling[name]
        result = result + (added.to(result.dtype) if casts else added)
    return result


def _dequantised(packed: torch.Tensor, rows: int, dtype: torch.dtype) -> torch.Tensor:
    """The weight in the computing type; its scales stand there in 32 bit while it is made."""
    num = 2 * packed.numel()
    scales = torch.empty(-(-num // BLOCK), dtype=torch.float32, device=packed.device)
    weight = torch.empty(rows, num // rows, dtype=dtype, device=packed.device)
    del scales
    return weight
