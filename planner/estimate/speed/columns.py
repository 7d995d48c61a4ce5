"""Parameters of the operation models spread over the ways of a call: one entry per way, or one for all.

Rows of `catalogs/kernels.yaml` are looked up once for every distinct GPU of the call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.estimate.speed.kernels import EngineRow, GemmRow, Kernels, TrainEngineRow, Width, launch_factor, row_for
from planner.estimate.types import Floats, Hardware, distinct_rows

MOST_BANDWIDTH = 0.95
"""Of the memory bandwidth; no kernel reaches more (copy kernels .90 to .93)."""


@dataclass(frozen=True, slots=True)
class Kinds:
    """The distinct (architecture, GPU) pairs of a call and which one each way has."""

    pairs: tuple[tuple[str, str], ...]
    index: NDArray[np.intp]

    def spread(self, values: Sequence[float]) -> Floats:
        """One value per pair -> one per way."""
        return np.asarray(values, dtype=np.float64)[self.index]


def kinds_of(hw: Hardware) -> Kinds:
    """Group the ways of a call by GPU."""
    first, index = distinct_rows(hw.arch, hw.gpu)
    archs, gpus = (np.broadcast_to(column, index.shape)[first].tolist() for column in (hw.arch, hw.gpu))
    return Kinds(tuple(zip(archs, gpus, strict=True)), index)


def launch_factors(kernels: Kernels, kinds: Kinds) -> Floats:
    """`launch_factor` of every way's GPU."""
    return kinds.spread([launch_factor(kernels, gpu) for _, gpu in kinds.pairs])


@dataclass(frozen=True, slots=True, kw_only=True)
class GemmColumns:
    """`GemmRow` spread over the ways, with the rates of the hardware."""

    flop_per_second: Floats
    """Peak of this width, without any share."""
    bytes_per_second: Floats
    reached_bytes_per_second: Floats
    """What reading a large matrix reaches."""
    num_sms: Floats
    peak_share: Floats
    """Of the peak, for a large product; above 1 only with 16-bit accumulation."""
    launch_s: Floats
    sharpness: Floats
    half_depth: Floats
    half_bytes: Floats
    few_rows_share: Floats
    operand_bytes: Floats
    """Bytes of one activation value read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionColumns:
    """`AttentionRow` spread over the ways, with the rates of the hardware."""

    flop_per_second: Floats
    bytes_per_second: Floats
    prefill_share: Floats
    half_length: Floats
    decode_share: Floats
    decode_half_bytes: Floats
    decode_launch_s: Floats


def gemm_columns(
    kernels: Kernels, hw: Hardware, kinds: Kinds, *, width: Width, peak: Floats, engine: EngineRow | TrainEngineRow
) -> GemmColumns:
    """Product parameters of one width as the engine's kernels reach them."""
    rows = [_gemm_row(kernels, arch, gpu, width) for arch, gpu in kinds.pairs]
    reached = hw.hbm_bytes_per_second * kinds.spread([r.bandwidth_share for r in rows])
    short_sums = False
    if isinstance(engine, EngineRow):
        short_sums = engine.short_sums
        reached = reached * engine.bandwidth_factor
        if engine.sm_bytes_per_second is not None:
            share = kinds.spread([engine.sm_share_by_arch.get(arch, 1.0) for arch, _ in kinds.pairs])
            most = np.where(hw.sm_count > 0, hw.sm_count * share * engine.sm_bytes_per_second, np.inf)
            reached = np.minimum(reached, most)
    factor = engine.peak_factor
    if isinstance(engine, TrainEngineRow) and width == "8":
        factor *= engine.fp8_factor
    shares = [r.peak_share * factor * (r.short_sum_factor if short_sums else 1.0) for r in rows]
    return GemmColumns(
        flop_per_second=peak,
        bytes_per_second=hw.hbm_bytes_per_second,
        reached_bytes_per_second=np.minimum(reached, MOST_BANDWIDTH * hw.hbm_bytes_per_second),
        num_sms=hw.sm_count,
        peak_share=kinds.spread(shares),
        launch_s=kinds.spread([r.launch_s for r in rows]),
        sharpness=kinds.spread([r.sharpness for r in rows]),
        half_depth=kinds.spread([r.half_depth for r in rows]),
        half_bytes=kinds.spread([r.half_bytes for r in rows]),
        few_rows_share=kinds.spread([r.few_rows_share for r in rows]),
        operand_bytes=np.full(1, {"32": 4.0, "16": 2.0, "8": 1.0, "4": 0.5625}[width]),
    )


def _gemm_row(kernels: Kernels, arch: str, gpu: str, width: Width) -> GemmRow:
    """The row of this width; where the architecture cannot multiply in it, the 16-bit row (weights are expanded)."""
    own = [r for r in kernels.gemm if r.width == width]
    if not any(r.arch == arch for r in own):
        own = [r for r in kernels.gemm if r.width == "16"]
    return row_for(own, arch=arch, gpu=gpu)


def attention_columns(
    kernels: Kernels, hw: Hardware, kinds: Kinds, engine: EngineRow | TrainEngineRow
) -> AttentionColumns:
    """Attention parameters of the hardware as the engine's kernels reach them."""
    rows = [row_for(kernels.attention, arch=arch, gpu=gpu) for arch, gpu in kinds.pairs]
    return AttentionColumns(
        flop_per_second=hw.peak16_flop_per_second,
        bytes_per_second=hw.hbm_bytes_per_second,
        prefill_share=np.minimum(1.0, kinds.spread([r.prefill_share * engine.attention_factor for r in rows])),
        half_length=kinds.spread([r.half_length for r in rows]),
        decode_share=kinds.spread([r.decode_share for r in rows]),
        decode_half_bytes=kinds.spread([r.decode_half_bytes for r in rows]),
        decode_launch_s=kinds.spread([r.decode_launch_s for r in rows]),
    )
