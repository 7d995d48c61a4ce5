"""How many bits a tensor takes in a weight format: scales, exceptions and mixes included."""

from __future__ import annotations

from planner.architecture.types import Model, Stack, Tensor
from planner.catalog.types import PrecisionFormat
from planner.units import BITS_PER_BYTE

PLAIN_BITS = 16.0
"""What a stack keeps that the format is not applied to."""


def fitted_to(precision: PrecisionFormat, model: Model) -> PrecisionFormat:
    """The format as it is applied to one model: what a mixture of experts or a tied embedding changes."""
    change: dict[str, object] = {}
    if precision.moe_unquantised_roles and any(block.moe is not None for block in model.blocks):
        change["unquantised_roles"] = (*precision.unquantised_roles, *precision.moe_unquantised_roles)
    if precision.tied_embedding_bits is not None and model.tied_embeddings:
        change["role_bits"] = {**precision.role_bits, "embedding": precision.tied_embedding_bits}
    return precision.model_copy(update=change) if change else precision


def without_double_quantisation(precision: PrecisionFormat) -> PrecisionFormat:
    """The format with whole scales (bitsandbytes `double_quant: false`); unchanged where it has none to double."""
    single = precision.single_quant_scale_bits_per_group
    if single is None or precision.group_size is None:
        return precision
    extra = (single - precision.scale_bits_per_group) / precision.group_size
    return precision.model_copy(update={"bits": precision.bits + extra, "scale_bits_per_group": single})


def stored_bits(tensor: Tensor, precision: PrecisionFormat, stack: Stack | None = None) -> float:
    """Bits of one value of a tensor, its share of scales included. `stack` None = the main one.

    `role_bits` names single modules, tensors or roles (the GGUF mixes); vectors and unquantised roles keep
    `unquantised_bits`; rows that a file format's block does not divide fall back as it says.
    """
    if stack is not None and precision.quantised_stacks is not None and stack not in precision.quantised_stacks:
        return PLAIN_BITS
    for key in (tensor.module, tensor.name, tensor.role):
        if key in precision.role_bits:
            return aligned_bits(tensor, precision, precision.role_bits[key])
    if tensor.in_features == 1 or tensor.role in precision.unquantised_roles:
        return precision.unquantised_bits
    return aligned_bits(tensor, precision, precision.bits) + precision.scale_bits_per_row / tensor.in_features


def aligned_bits(tensor: Tensor, precision: PrecisionFormat, bits: float) -> float:
    """`bits`, or those of the type a file format falls back to where its block does not divide the rows."""
    if precision.block_size is None or tensor.in_features % precision.block_size == 0:
        return bits
    return precision.misaligned_bits.get(bits, bits)


def checkpoint_bytes(model: Model, precision: PrecisionFormat) -> float:
    """Bytes of all weights of a model as stored."""
    fitted = fitted_to(precision, model)
    bits = sum(t.num_params * stored_bits(t, fitted) for t in model.outer)
    for block in model.blocks:
        bits += block.num_layers * sum(t.num_params * stored_bits(t, fitted, block.stack) for t in block.tensors)
    return bits / BITS_PER_BYTE
