"""What CUDA kernels allocate for themselves: below the dispatcher, so no tensor shows it.

Read off PyTorch 2.13: flash_api.cpp (mha_bwd), attention_backward.cu, EmbeddingBackwardKernel.cu, CUDABlas
(getChosenWorkspaceSize). The memory is taken inside one operation and given back at its end, but for the workspace.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

aten = torch.ops.aten
FP32 = 4
INDEX = 8
FLASH_ROWS = 128
"""Flash attention pads query rows to its block."""
FEW_INDICES = 3072
"""Up to here the embedding's backward needs no sorting."""
SORT_BUFFERS = 8
"""Index-sized buffers of that sorting."""
CUBLAS_WORKSPACE: Mapping[int, int] = {8: 2 * 4096 * 1024 + 8 * 16 * 1024, 9: 8 * 4096 * 1024}
"""Bytes of the cuBLAS workspace by compute capability's first digit: `:4096:2:16:8`, and `:4096:8` on Hopper."""


def kernel_bytes(func: Any, args: tuple[Any, ...], out: Any) -> int:
    """Bytes that the operation's CUDA kernel takes beside its results; 0 for all others."""
    if func is aten._scaled_dot_product_flash_attention_backward.default:
        return flash_backward_bytes(args[1], args[2])
    if func is aten._scaled_dot_product_efficient_attention_backward.default:
        return efficient_backward_bytes(args[1])
    if func is aten.embedding_dense_backward.default:
        return embedding_backward_bytes(args[0], args[1].numel(), args[3])
    return 0


def flash_backward_bytes(query: torch.Tensor, key: torch.Tensor) -> int:
    """Row sums and the 32-bit accumulator of dQ; with grouped queries also dK and dV for every query head."""
    batch, heads, rows, width = query.shape
    padded_rows, padded_width = _up(rows, FLASH_ROWS), _up(width, 32 if width <= 128 else 64)
    accumulators = FP32 * batch * heads * padded_rows * (1 + padded_width)
    if key.shape[1] == heads:
        return accumulators
    return accumulators + 2 * batch * key.shape[2] * heads * width * query.element_size()


def efficient_backward_bytes(query: torch.Tensor) -> int:
    """Row sums; in 16 bit also the 32-bit accumulator of dQ."""
    batch, heads, rows, width = query.shape
    sums = FP32 * batch * heads * rows
    return sums if query.dtype == torch.float32 else sums + FP32 * batch * heads * _up(rows, 64) * width


def embedding_backward_bytes(gradient: torch.Tensor, indices: int, padding: int) -> int:
    """Sorted indices and 32-bit partial sums of the rows they hit."""
    if indices <= FEW_INDICES and padding < 0:
        return 0
    return FP32 * indices * gradient.shape[-1] + SORT_BUFFERS * INDEX * indices


def _up(value: int, step: int) -> int:
    return -(-value // step) * step
