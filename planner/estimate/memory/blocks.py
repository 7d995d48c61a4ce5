"""What stays unused in the blocks that hold the weights: torch's caching allocator splits off only more than 1 MiB.

`max_memory_allocated` counts whole blocks. A tensor of 10 MiB and more gets a segment of its own, rounded up to
2 MiB; what is left of it is split off if it is more than 1 MiB, else it stays with the tensor and is counted. So
a matrix of 135 MiB counts as 136: Qwen2.5-14B measures 150 MiB above two bytes a parameter, Qwen2.5-32B in vLLM on two
GPUs 192 MiB (128 matrices with 1 MiB left each, 30.71 GiB in its log). Tensors of 1 to 10 MiB share segments of 20 MiB.
Source: torch c10/cuda/CUDACachingAllocator (kSmallSize, kMinLargeAlloc, kRoundLarge, should_split).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from planner.architecture.types import Block, Model, Tensor
from planner.catalog.types import PrecisionFormat
from planner.estimate.formats import data_bits_of
from planner.estimate.types import Floats, Ints
from planner.units import BITS_PER_BYTE, MIB

SMALL_BYTES = MIB
"""Up to this size blocks come from small segments and are split to 512 bytes; no more than this is left unsplit."""
OWN_SEGMENT_BYTES = 10 * MIB
SHARED_SEGMENT_BYTES = 20 * MIB
ROUND_BYTES = 2 * MIB
FUSED: tuple[tuple[str, ...], ...] = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Serving engines store these as one matrix."""
REPLICATED = frozenset({"q_a_proj", "kv_a_proj", "kv_a_proj_with_mqa"})
FIXED_ROLES = frozenset({"norm", "router", "position", "state", "conv", "other"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Bytes of one tensor as an engine stores it, alike `copies` times."""

    copies: float
    parts: tuple[tuple[float, int], ...]
    """(bytes, ways it can be split at most; 0 = over experts) of what lies in it side by side."""

    def bytes_on(self, tensor_parallel: Ints, expert_parallel: Ints) -> Floats:
        """Bytes of one of them on one GPU."""
        total: Floats = np.zeros(1)
        for size, most in self.parts:
            ranks = np.maximum(tensor_parallel, expert_parallel) if most == 0 else np.minimum(tensor_parallel, most)
            total = total + size / ranks
        return total


def unsplit_bytes(sizes: Floats) -> Floats:
    """Bytes counted beyond tensors of these sizes, each in the block that a fresh allocator gives it.

    >>> (unsplit_bytes(np.array([135.0, 136.0, 129.5, 12.25, 9.75, 0.5]) * MIB) / MIB).tolist()
    [1.0, 0.0, 0.5, 0.0, 0.25, 0.0]
    """
    own = np.ceil(sizes / ROUND_BYTES) * ROUND_BYTES - sizes
    count = np.maximum(np.floor(SHARED_SEGMENT_BYTES / np.maximum(sizes, 1.0)), 1.0)
    shared = SHARED_SEGMENT_BYTES - count * sizes
    alone = np.where(own <= SMALL_BYTES, own, 0.0)
    together = np.where(shared <= SMALL_BYTES, shared / count, 0.0)
    result: Floats = np.where(sizes >= OWN_SEGMENT_BYTES, alone, np.where(sizes > SMALL_BYTES, together, 0.0))
    return result


def layer_gap_bytes(
    model: Model, fmt: PrecisionFormat, tensor_parallel: Ints, expert_parallel: Ints, *, fused: bool
) -> Floats:
    """Unsplit bytes of all layers on one GPU, as if it held every layer."""
    return gaps((p for b in model.blocks for p in pieces(b, fmt, fused=fused)), tensor_parallel, expert_parallel)


def outer_gap_bytes(model: Model, fmt: PrecisionFormat, tensor_parallel: Ints) -> Floats:
    """Unsplit bytes of the tensors outside the layers on one GPU."""
    split = {"embedding", "head"}
    outer = [
        Piece(copies=t.count, parts=((piece_bytes(t, fmt, None), max(1, t.out_features if t.role in split else 1)),))
        for t in model.outer
    ]
    return gaps(iter(outer), tensor_parallel, tensor_parallel)


def gaps(every: Iterator[Piece], tensor_parallel: Ints, expert_parallel: Ints) -> Floats:
    """Unsplit bytes of all the pieces on one GPU."""
    total: Floats = np.zeros(1)
    for piece in every:
        total = total + piece.copies * unsplit_bytes(piece.bytes_on(tensor_parallel, expert_parallel))
    return total


def pieces(block: Block, fmt: PrecisionFormat, *, fused: bool) -> Iterator[Piece]:
    """The tensors of all layers of a block as they are stored: one by one, or fused with all experts in one."""
    groups: dict[tuple[str, ...], list[Tensor]] = {}
    for tensor in block.tensors:
        if tensor.in_features == 1:
            continue
        group = next((g for g in FUSED if tensor.name in g), None) if fused else None
        key = (tensor.role, *group) if group else (tensor.role, tensor.module or tensor.name, tensor.name)
        if not fused and tensor.module and tensor.module != tensor.name:
            key = (tensor.role, tensor.module, str(tensor.in_features))
        groups.setdefault(key, []).append(tensor)
    for members in groups.values():
        together = fused and members[0].role == "expert"
        counted = 1 if together else members[0].count
        parts = tuple((piece_bytes(t, fmt, block) * (t.count if together else 1), ways(t, block)) for t in members)
        yield Piece(copies=block.num_weight_copies * counted, parts=parts)


def ways(tensor: Tensor, block: Block) -> int:
    """Into how many parts tensor parallelism can cut it; 0 = routed experts."""
    if tensor.role == "expert":
        return 0
    if tensor.name in REPLICATED or tensor.role in FIXED_ROLES:
        return 1
    if tensor.name in ("k_proj", "v_proj") and block.attention is not None:
        return max(1, block.attention.num_kv_heads)
    return tensor.out_features


def piece_bytes(tensor: Tensor, fmt: PrecisionFormat, block: Block | None) -> float:
    """Bytes of one copy's values; scales and zero points are small tensors of their own."""
    bits = data_bits_of(tensor, fmt, "decoder" if block is None else block.stack)
    return tensor.out_features * tensor.in_features * bits / BITS_PER_BYTE
