"""What LoRA branches keep for backward: their input, in their own type, and the rank-sized tensor."""

from __future__ import annotations

from planner.architecture.types import Block, Tensor
from planner.estimate.memory.convention import HALF, Convention
from planner.estimate.memory.states import branches
from planner.estimate.types import LoraJob
from planner.units import BITS_PER_BYTE

MASK_BYTES = 1
INPUT_OF = {
    "q_proj": "normed",
    "k_proj": "normed",
    "v_proj": "normed",
    "o_proj": "context",
    "gate_proj": "mlp_input",
    "up_proj": "mlp_input",
    "down_proj": "product",
}
"""Modules that read the same tensor."""
ALREADY_KEPT = frozenset({"context"})
"""The attention output is kept by the attention core."""


def adapter_bytes(block: Block, lora: LoraJob, rules: Convention) -> float:
    """Per token of one layer.

    32-bit adapters on a 16-bit base cast their input module by module: 4m bytes for an input of width m, or 2m where
    autocast casts it back. 16-bit ones keep each distinct input once. Dropout replaces the input by a dropped copy
    and its mask, module by module; one fused q, k, v projection has one branch input for all three. DoRA scales the
    base's and the adapter's output by a trained magnitude and keeps both.
    """
    size = lora.bits / BITS_PER_BYTE
    casts = size > rules.compute
    operand = HALF if casts and rules.autocast else size
    total, seen = 0.0, set[str]()
    for tensor, leads in branches(block, lora):
        source = INPUT_OF.get(tensor.name, tensor.name)
        first = source not in seen
        kept_already = source in ALREADY_KEPT and not copied_output(block, rules)
        seen.add(source)
        apart = first if rules.whole_qkv else leads
        if lora.dropout > 0:
            kept = (operand + MASK_BYTES) * tensor.in_features * apart
        elif casts:
            kept = operand * tensor.in_features * apart
        else:
            kept = operand * tensor.in_features * (first and not kept_already and not rules.keeps_inputs)
        kept += operand * lora.rank * (leads or rules.whole_qkv) + scattered(tensor, source, rules)
        total += tensor.count * (kept + (rules.compute + operand) * tensor.out_features * lora.dora)
    return total


def scattered(tensor: Tensor, source: str, rules: Convention) -> float:
    """The adapter's output that an index copy into the fused projection keeps."""
    return rules.compute * tensor.out_features if rules.scatters_adapters and source == "normed" else 0.0


def copied_output(block: Block, rules: Convention) -> bool:
    """The attention output is copied on its way to the projection, so its adapter keeps the copy."""
    return rules.whole_qkv or (rules.rotates_views and fused_qkv(block))


def fused_qkv(block: Block) -> bool:
    """q, k and v are rows of one matrix in the model class."""
    return shares_module(block, "q_proj", "k_proj", "v_proj")


def shares_module(block: Block, *names: str) -> bool:
    """The tensors are rows of one matrix, which reads one input."""
    modules = {t.module for t in block.tensors if t.name in names}
    return len(modules) == 1 and "" not in modules
