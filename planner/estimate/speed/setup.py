"""What one inference call knows before any length or batch: parameters, groups and products, one entry per way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np

from planner.architecture.types import Block
from planner.estimate.speed.collectives import Group, group_of
from planner.estimate.speed.columns import (
    AttentionColumns,
    GemmColumns,
    attention_columns,
    gemm_columns,
    kinds_of,
    launch_factors,
)
from planner.estimate.speed.kernels import EngineRow, FormatRow, Kernels, Shared, Width, serving_engine
from planner.estimate.types import Bools, Floats, Hardware, InferJob, InferWays
from planner.estimate.work import Product, layer_products
from planner.units import BITS_PER_BYTE

WIDTHS: Mapping[str, Width] = {
    "fp32": "32", "tf32": "32", "fp16": "16", "bf16": "16", "fp8": "8", "int8": "8", "fp4": "4",
}  # fmt: skip
"""Bits of the numbers multiplied, by what a precision format computes in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Everything about one call but lengths and batch."""

    job: InferJob
    hw: Hardware
    shared: Shared
    engine: EngineRow
    launch_factor: Floats
    """Of launches one by one, on the hosts these GPUs have."""
    format_row: FormatRow | None
    """Further costs of the format's own kernels; None = there are none."""
    narrow: GemmColumns
    """Products of quantised matrices: in the format's own width where the GPU computes it, else in 16 bit."""
    wide: GemmColumns
    """Products of what stays unquantised."""
    expands: Bools
    """Quantised weights are expanded to 16 bit before the product."""
    attention: AttentionColumns
    products: Mapping[str, tuple[Product, ...]]
    """By block name."""
    tensor_parallel: Floats
    attention_split: Floats
    """GPUs that share the heads: the tensor-parallel group, or one under attention data parallelism."""
    row_share: Floats
    """Share of a rank's tokens whose attention one GPU computes."""
    experts_here: Floats
    """Share of the routed experts that the GPU computes where the CPU computes its own; 1 where all pass the GPU."""
    expert_ranks: Floats
    expert_split: Floats
    token_ranks: Floats
    """Data-parallel ranks whose tokens meet in one expert-parallel group."""
    tensor_group: Group
    expert_group: Group
    pipeline_group: Group

    @property
    def value_bytes(self) -> float:
        """Bytes of one activation value."""
        return 4.0 if WIDTHS[self.job.weights.compute] == "32" else 2.0

    @property
    def quantised_peak_share(self) -> Floats:
        """Compute rate of quantised products against plain ones: expanded in the main loop or scaled by blocks."""
        fmt = self.job.weights
        by_block = fmt.compute == "fp8" and fmt.group_size is not None
        native = self.shared.block_scale_peak_share if by_block else 1.0
        return np.where(self.expands, self.shared.dequant_peak_share, native)

    def product_host_s(self, rows: Floats) -> Floats:
        """Launch time that each quantised product with so many rows adds to its layer's, on the CPU."""
        row = self.format_row
        if row is None:
            return np.zeros(1)
        one = row.product_host_s + row.double_quant_host_s * self.job.engine.flag("double_quant")
        return one + np.where(rows > 1.0, row.expansion_host_s, 0.0)

    @property
    def is_captured(self) -> bool:
        """Layers are launched by a captured or compiled graph."""
        options = self.job.engine
        return (self.engine.captures_graphs or options.flag("compile")) and not options.flag("enforce_eager")


def infer_setup(job: InferJob, ways: InferWays, hw: Hardware, kernels: Kernels) -> Setup:
    """Look every parameter of the call up once."""
    kinds = kinds_of(hw)
    engine = serving_engine(kernels, job.engine)
    fmt = job.weights
    format_row = kernels.formats.get(fmt.id)
    width = WIDTHS[fmt.compute]
    expands = (hw.weight_only | fmt.weight_only) & (fmt.bits < fmt.unquantised_bits)
    own_peak = np.where(expands, hw.peak16_flop_per_second, hw.peak_flop_per_second)
    own = gemm_columns(kernels, hw, kinds, width=width, peak=own_peak, engine=engine)
    half = gemm_columns(kernels, hw, kinds, width="16", peak=hw.peak16_flop_per_second, engine=engine)
    wide = own if fmt.unquantised_bits > 16 else half
    tp = ways.tensor_parallel.astype(np.float64)
    dp = ways.data_parallel.astype(np.float64)
    ep = ways.expert_parallel.astype(np.float64)
    shards = np.maximum(tp, ep)
    ranks = np.maximum(1.0, ep)
    apart = job.engine.flag("attention_data_parallel")
    gpus = ways.gpus
    return Setup(
        job=job,
        hw=hw,
        shared=kernels.shared,
        engine=engine,
        launch_factor=launch_factors(kernels, kinds),
        format_row=format_row,
        narrow=_unpacked(_mixed(own, half, expands) if width != "32" else own, format_row, fmt.bits),
        wide=wide,
        expands=expands,
        attention=_attention_of(kernels, hw, job, attention_columns(kernels, hw, kinds, engine)),
        products={b.name: layer_products(b, fmt, fused=engine.fused_projections) for b in job.model.blocks},
        tensor_parallel=tp,
        attention_split=np.ones(1) if apart else tp,
        row_share=1.0 / tp if apart else np.ones(1),
        experts_here=(1.0 - ways.weights_cpu) * (1.0 - ways.experts_cpu) if engine.cpu_layers else np.ones(1),
        expert_ranks=ranks,
        expert_split=shards / ranks,
        token_ranks=np.minimum(dp, np.maximum(1.0, ep / tp)),
        tensor_group=group_of(kernels, hw, kinds, size=tp),
        expert_group=group_of(kernels, hw, kinds, size=ranks),
        pipeline_group=group_of(kernels, hw, kinds, size=np.minimum(gpus, tp * ways.pipeline_parallel)),
    )


def _attention_of(kernels: Kernels, hw: Hardware, job: InferJob, params: AttentionColumns) -> AttentionColumns:
    """Attention in 32 bit runs at the 32-bit peak."""
    if WIDTHS[job.weights.compute] != "32":
        return params
    values = {f.name: getattr(params, f.name) for f in fields(params)}
    return AttentionColumns(**values | {"flop_per_second": hw.peak_flop_per_second})


def _unpacked(params: GemmColumns, row: FormatRow | None, bits: float) -> GemmColumns:
    """The parameters with weights read no faster than the format's kernels unpack them."""
    if row is None or row.unpacked_weights_per_sm_s is None:
        return params
    most = params.num_sms * row.unpacked_weights_per_sm_s * bits / BITS_PER_BYTE
    reached = params.reached_bytes_per_second
    return replace(params, reached_bytes_per_second=np.where(most > 0, np.minimum(reached, most), reached))


def _mixed(own: GemmColumns, half: GemmColumns, expands: Bools) -> GemmColumns:
    """The 16-bit parameters where weights are expanded, else those of the format's own width."""
    if not expands.any():
        return own
    if expands.all():
        return half
    return GemmColumns(
        **{f.name: np.where(expands, getattr(half, f.name), getattr(own, f.name)) for f in fields(GemmColumns)}
    )


def products_of(setup: Setup, block: Block) -> tuple[Product, ...]:
    """The matrix products of one layer of the block."""
    return setup.products[block.name]
