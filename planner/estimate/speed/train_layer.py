"""Time of one layer of a training micro-batch: forward, backward and what checkpointing computes again.

The backward pass of a product is two products: one for the gradient of the input (as large as the forward), one for
the gradient of the weights (tokens are its inner dimension), which frozen weights do not need.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from planner.architecture.types import Block
from planner.estimate.memory.states import adapted
from planner.estimate.speed.attention import prefill_time, recurrent_prefill_time
from planner.estimate.speed.collectives import Group, all_reduce_s, all_to_all_s
from planner.estimate.speed.columns import AttentionColumns, GemmColumns
from planner.estimate.speed.gemm import expansion_time, product_time
from planner.estimate.speed.kernels import Kernels, Shared, TrainEngineRow
from planner.estimate.speed.layer import num_reductions
from planner.estimate.speed.moe import expert_time
from planner.estimate.speed.times import Seconds, add
from planner.estimate.types import Floats, Hardware, TrainJob, TrainWays
from planner.estimate.work import Product, attended_pairs
from planner.units import BITS_PER_BYTE

BACKWARD_PRODUCTS = 2.0
"""Elementwise and attention-free parts of the backward pass move about twice what the forward moves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSetup:
    """Everything about one training call that does not depend on the layer."""

    job: TrainJob
    hw: Hardware
    ways: TrainWays
    kernels: Kernels
    engine: TrainEngineRow
    launch_factor: Floats
    """Of launches, on the hosts these GPUs have."""
    linear: GemmColumns
    """Products of the layers, in the width trained in."""
    half: GemmColumns
    """Products that stay in 16 bit: the head, attention under FP8."""
    attention: AttentionColumns
    products: Mapping[str, tuple[Product, ...]]
    tensor_parallel: Floats
    expert_ranks: Floats
    expert_split: Floats
    tensor_group: Group
    expert_group: Group
    context_group: Group
    value_bytes: float

    @property
    def shared(self) -> Shared:
        return self.kernels.shared

    @property
    def tokens(self) -> Floats:
        """Tokens of one micro-batch on one GPU."""
        return self.ways.micro_batch * self.job.sequence_tokens / self.ways.context_parallel

    @property
    def is_frozen(self) -> bool:
        """The base weights take no gradient."""
        return self.job.method != "full"

    @property
    def expands(self) -> bool:
        """The frozen base is stored in fewer bits than it multiplies in."""
        return self.job.base.bits < 16.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTime:
    """Seconds of one layer and micro-batch by phase, per GPU, collectives apart."""

    forward: Seconds
    backward: Seconds
    again: Seconds
    """What checkpointing computes a second time."""
    communication_s: Floats
    """All collectives of the layer, exposed or not."""

    @property
    def total(self) -> Seconds:
        return add(self.forward, self.backward, self.again)


def train_layer(setup: TrainSetup, block: Block) -> LayerTime:
    """One layer of the block, one micro-batch, on one GPU."""
    job = setup.job
    forward_products, backward_products = Seconds(), Seconds()
    for product in setup.products[block.name]:
        ahead = forward_product(setup, block, product)
        forward_products += ahead
        backward_products += ahead
        if not setup.is_frozen:
            backward_products += weight_gradient(setup, block, product)
    adapters = adapter_time(setup, block)
    core = core_time(setup, block)
    light = elementwise(setup, block)
    forward = add(forward_products, adapters, core, light)
    backward = add(
        backward_products,
        adapters.times(2.0),
        core.times(setup.shared.backward_attention_ratio),
        light.times(BACKWARD_PRODUCTS),
    )
    again = {"none": Seconds(), "selective": core, "full": forward}[job.checkpointing]
    busy = add(forward, backward, again).total_s
    waiting = Seconds(overhead=np.maximum(0.0, host_floor_s(setup) - busy))
    return LayerTime(
        forward=forward, backward=backward + waiting, again=again, communication_s=communication_s(setup, block)
    )


def host_floor_s(setup: TrainSetup) -> Floats:
    """CPU seconds to launch one layer of one micro-batch; recomputing launches the forward once more."""
    passes = 4.0 / 3.0 if setup.job.checkpointing == "full" else 1.0
    adapters = setup.engine.adapter_host_factor if setup.job.lora is not None else 1.0
    return setup.engine.layer_host_s * passes * adapters * setup.launch_factor


def forward_product(setup: TrainSetup, block: Block, product: Product) -> Seconds:
    """Seconds of one product of the forward pass, and of expanding its frozen weights."""
    params = setup.linear
    stored = params.operand_bytes
    if product.role == "expert" and block.moe is not None:
        time = expert_time(
            params,
            setup.shared,
            product,
            block.moe,
            tokens=setup.tokens * setup.expert_ranks,
            expert_ranks=setup.expert_ranks,
            expert_split=setup.expert_split,
            peak_factor=1.0,
        )
        held = product.weights / (setup.expert_ranks * setup.expert_split)
    else:
        split = setup.tensor_parallel if product.split != "none" else np.ones(1)
        one = np.ones(1)
        time = product_time(
            params,
            rows=setup.tokens,
            columns=product.out_features / (split if product.split == "columns" else one),
            depth=product.in_features / (split if product.split == "rows" else one),
            weight_bytes=stored,
            groups=float(product.copies),
        )
        held = product.weights / split
    if not (setup.expands and product.quantised):
        return time
    return time + expansion_time(
        params,
        weights=held,
        stored_bytes=product.bytes_per_weight,
        bandwidth_share=setup.shared.dequant_bandwidth_share,
    )


def weight_gradient(setup: TrainSetup, block: Block, product: Product) -> Seconds:
    """Seconds of the gradient of one weight matrix: tokens are the inner dimension."""
    split = setup.tensor_parallel if product.split != "none" else np.ones(1)
    groups, depth = float(product.copies), setup.tokens
    peak_factor = 1.0
    if product.role == "expert" and block.moe is not None:
        groups = float(product.copies)
        depth = setup.tokens * setup.expert_ranks * block.moe.top_k / product.copies
        split = setup.expert_ranks * setup.expert_split
        peak_factor = setup.shared.expert_peak_share
    return product_time(
        setup.linear,
        rows=np.full(1, float(product.out_features)),
        columns=product.in_features / split,
        depth=np.maximum(depth, 1.0),
        weight_bytes=setup.linear.operand_bytes,
        groups=groups,
        peak_factor=peak_factor,
    )


def adapter_time(setup: TrainSetup, block: Block) -> Seconds:
    """Seconds of the forward through all adapters of one layer: two thin products for each adapted matrix."""
    lora = setup.job.lora
    if lora is None:
        return Seconds()
    rank = np.full(1, float(lora.rank))
    parts = []
    for tensor in adapted(block, lora):
        for width in (tensor.in_features, tensor.out_features):
            parts.append(
                product_time(
                    setup.half,
                    rows=setup.tokens,
                    columns=rank,
                    depth=width / setup.tensor_parallel,
                    weight_bytes=lora.bits / BITS_PER_BYTE,
                ).times(float(tensor.count))
            )
    return add(*parts)


def core_time(setup: TrainSetup, block: Block) -> Seconds:
    """Seconds of attention or recurrence of one layer, forward."""
    job, ways = setup.job, setup.ways
    parts = []
    length = np.full(1, float(job.sequence_tokens))
    for attention in (block.attention, block.cross_attention):
        if attention is None:
            continue
        parts.append(
            prefill_time(
                setup.attention,
                setup.shared,
                attention,
                pairs=np.asarray(attended_pairs(attention, length)),
                length=length / ways.context_parallel,
                sequences=ways.micro_batch / ways.context_parallel,
                heads_split=setup.tensor_parallel,
                kernel=job.attention,
                value_bytes=setup.value_bytes,
            )
        )
    if block.recurrent is not None:
        parts.append(
            recurrent_prefill_time(
                setup.attention, setup.shared, block.recurrent, tokens=setup.tokens, heads_split=setup.tensor_parallel
            )
        )
    return add(*parts)


def elementwise(setup: TrainSetup, block: Block) -> Seconds:
    """Seconds of norms, residuals, dropout, activations and casts of one layer, forward."""
    shared = setup.shared
    inner = 0.0
    if block.feed_forward is not None:
        inner += block.feed_forward.intermediate_size
    if block.moe is not None:
        inner += block.moe.top_k * block.moe.intermediate_size + block.moe.shared_intermediate_size
    if block.recurrent is not None:
        inner += block.recurrent.inner_size
    outside = setup.tensor_parallel if setup.job.engine.flag("sequence_parallel") else np.ones(1)
    values = shared.elementwise_hidden_tensors * block.hidden_size / outside
    values = values + shared.elementwise_inner_tensors * inner / setup.tensor_parallel
    compiled = setup.job.engine.flag("compile")
    passes = 1.0 if compiled else setup.engine.elementwise_passes
    n_bytes = passes * setup.tokens * values * setup.value_bytes
    return Seconds(memory_bandwidth=n_bytes / (setup.hw.hbm_bytes_per_second * shared.elementwise_bandwidth_share))


def communication_s(setup: TrainSetup, block: Block) -> Floats:
    """Seconds of one layer's collectives for one micro-batch: forward, backward, and again under full checkpointing."""
    n_bytes = setup.tokens * block.hidden_size * setup.value_bytes
    passes = 3.0 if setup.job.checkpointing == "full" else 2.0
    total = passes * num_reductions(block) * all_reduce_s(setup.tensor_group, n_bytes)
    if block.moe is not None:
        sent = setup.tokens * block.moe.top_k * block.moe.input_size * setup.value_bytes / setup.tensor_parallel
        total = total + 2.0 * passes * all_to_all_s(setup.expert_group, sent)
    if block.attention is not None:
        total = total + passes * ring_s(setup, block)
    return total


def ring_s(setup: TrainSetup, block: Block) -> Floats:
    """Seconds to pass every GPU's keys and values once around the context-parallel ring."""
    assert block.attention is not None
    width = block.attention.num_kv_heads * (block.attention.head_dim + block.attention.value_dim)
    own = setup.tokens * width * setup.value_bytes / setup.tensor_parallel
    rounds = setup.ways.context_parallel - 1.0
    per_round = setup.context_group.latency_s + own / setup.context_group.bytes_per_second
    return rounds * per_round
