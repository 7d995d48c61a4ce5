"""Bytes of weights on the fullest GPU.

Column- and row-parallel matrices are dealt over the tensor-parallel ranks; k and v cannot be split finer
than their heads; norms, routers and the down-projections of latent attention are replicated; routed experts
are dealt over the wider of the tensor- and expert-parallel groups. Pipeline stages take whole layers: the
first also holds the embedding, the last the final norm and the head.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from planner.architecture.types import Block, Model, Stack, Tensor
from planner.catalog.types import PrecisionFormat
from planner.estimate.formats import tensor_bytes
from planner.estimate.types import Bools, Floats, Ints
from planner.units import BITS_PER_BYTE

REPLICATED_NAMES = frozenset({"q_a_proj", "kv_a_proj", "kv_a_proj_with_mqa"})
"""MLA's down-projections: their outputs are needed whole on every rank."""
REPLICATED_ROLES = frozenset({"norm", "router", "position", "state", "conv", "other"})
KV_NAMES = frozenset({"k_proj", "v_proj"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Amounts (bytes or parameters) of one model by how they are dealt over GPUs."""

    kv_groups: tuple[tuple[int, float], ...]
    """(kv heads, amount) of the k and v projections of all layers."""
    parallel: float
    """Dealt over the tensor-parallel ranks, all layers."""
    replicated: float
    expert: float
    embedding: float
    head: float
    outer: float
    """Final norm and the rest outside the layers: on the last stage, replicated."""

    @property
    def layers(self) -> float:
        """Of all layers, undivided."""
        return sum(amount for _, amount in self.kv_groups) + self.parallel + self.replicated + self.expert

    @property
    def total(self) -> float:
        return self.layers + self.embedding + self.head + self.outer

    def layers_per_gpu(self, tensor_parallel: Ints, expert_parallel: Ints) -> Floats:
        """Of all layers, on one rank."""
        kv = sum(
            (amount / np.minimum(tensor_parallel, heads) for heads, amount in self.kv_groups),
            start=np.zeros(1),
        )
        experts = self.expert / np.maximum(tensor_parallel, expert_parallel)
        result: Floats = self.parallel / tensor_parallel + self.replicated + kv + experts
        return result

    def fullest_stage(
        self, tensor_parallel: Ints, expert_parallel: Ints, stage_share: Floats, single_stage: Bools
    ) -> Floats:
        """On a GPU of the fullest pipeline stage; `stage_share` is the share of layers that stage holds."""
        layers = self.layers_per_gpu(tensor_parallel, expert_parallel) * stage_share
        embedding = self.embedding / tensor_parallel
        head = self.head / tensor_parallel + self.outer
        result: Floats = layers + np.where(single_stage, embedding + head, np.maximum(embedding, head))
        return result


def split_of(model: Model, amount: Callable[[Tensor, Stack], float]) -> Split:
    """Sum `amount(tensor, stack)` (of one layer) over a model by the way the tensors are dealt over GPUs."""
    kv: dict[int, float] = {}
    parallel = replicated = expert = 0.0
    for block in model.blocks:
        for tensor in block.tensors:
            value = block.num_weight_copies * amount(tensor, block.stack)
            if tensor.role == "expert" or (tensor.role == "bias" and tensor.count > 1):
                expert += value
            elif tensor.name in REPLICATED_NAMES or tensor.role in REPLICATED_ROLES:
                replicated += value
            elif tensor.name in KV_NAMES and block.attention is not None:
                heads = kv_heads_split(block)
                kv[heads] = kv.get(heads, 0.0) + value
            else:
                parallel += value
    embedding = sum(amount(t, "decoder") for t in model.outer if t.role == "embedding")
    head = sum(amount(t, "decoder") for t in model.outer if t.role == "head")
    outer = sum(amount(t, "decoder") for t in model.outer if t.role not in ("embedding", "head"))
    return Split(
        kv_groups=tuple(sorted(kv.items())),
        parallel=parallel,
        replicated=replicated,
        expert=expert,
        embedding=embedding,
        head=head,
        outer=outer,
    )


def kv_heads_split(block: Block) -> int:
    """How many ways the k and v projections of the block can be split."""
    assert block.attention is not None
    return max(1, block.attention.num_kv_heads)


def weight_split(model: Model, fmt: PrecisionFormat) -> Split:
    """Bytes of the weights in a format, by how they are dealt."""
    return split_of(model, lambda tensor, stack: tensor_bytes(tensor, fmt, stack))


def parameter_split(model: Model) -> Split:
    """Parameters, by how they are dealt."""
    return split_of(model, lambda tensor, _: float(tensor.num_params))


def head_copy_bytes(model: Model, fmt: PrecisionFormat) -> float:
    """Bytes of the separate output head that serving engines load for tied models in FP8.

    Measured: Qwen3-0.6B and 1.7B in FP8 are 297 and 594 MiB above their tied size (Qwen3 speed tables).
    """
    if not (model.tied_embeddings and model.has_head and fmt.id in ("fp8", "fp8-block")):
        return 0.0
    rows = next((t for t in model.outer if t.role == "embedding"), None)
    return 0.0 if rows is None else rows.num_params * fmt.unquantised_bits / BITS_PER_BYTE


def stage_share(num_layers: int, pipeline_parallel: Ints) -> Floats:
    """Share of the layers on the stage that holds most: whole layers, dealt evenly."""
    per_stage = np.ceil(num_layers / pipeline_parallel)
    result: Floats = np.minimum(per_stage / max(1, num_layers), 1.0)
    return result


def largest_matrix_params(model: Model, *, with_head: bool = False) -> int:
    """Parameters of the largest single matrix of the layers: the size of a dequantisation temporary."""
    sizes = [t.out_features * t.in_features for b in model.blocks for t in b.tensors if t.is_matrix]
    if with_head:
        sizes += [t.num_params for t in model.outer if t.role == "head"]
    return max(sizes, default=0)
