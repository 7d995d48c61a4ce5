"""Bits of every tensor under a precision format."""

from __future__ import annotations

from planner.architecture.types import Stack, Tensor
from planner.catalog.storage import stored_bits
from planner.catalog.types import PrecisionFormat
from planner.units import BITS_PER_BYTE


def bits_of(tensor: Tensor, fmt: PrecisionFormat, stack: Stack = "decoder") -> float:
    """Stored bits of one value of the tensor, scales included; see `stored_bits`."""
    return stored_bits(tensor, fmt, stack)


def tensor_bytes(tensor: Tensor, fmt: PrecisionFormat, stack: Stack = "decoder") -> float:
    """Bytes of all copies of the tensor in one layer of the stack."""
    return tensor.num_params * bits_of(tensor, fmt, stack) / BITS_PER_BYTE


def data_bits_of(tensor: Tensor, fmt: PrecisionFormat, stack: Stack = "decoder") -> float:
    """Stored bits of one value of the tensor without its share of scales, which lie in tensors of their own."""
    bits = stored_bits(tensor, fmt, stack)
    if fmt.group_size is None or bits >= fmt.unquantised_bits:
        return bits
    return bits - fmt.scale_bits_per_group / fmt.group_size


def with_group_size(fmt: PrecisionFormat, group_size: int) -> PrecisionFormat:
    """The format with another number of weights per quantisation scale.

    Raises ValueError where the format has no groups.
    """
    if fmt.group_size is None:
        raise ValueError(f"{fmt.id} has no quantisation groups, so group_size {group_size} means nothing for it")
    per_weight = fmt.scale_bits_per_group / fmt.group_size
    return fmt.model_copy(
        update={"group_size": group_size, "bits": fmt.bits - per_weight + fmt.scale_bits_per_group / group_size}
    )
