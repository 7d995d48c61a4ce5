"""Time of matrix products: a roofline whose two sides know the shape of the product.

    t = launch + (t_compute^p + t_memory^p)^(1/p)
    t_compute = 2 M N K / (peak share_c u(M, N) K / (K + K_half))
    t_memory  = S / (bandwidth share_b S / (S + S_half)),   S = weights + activations read and written

u is wave quantisation: the tiles of the output rarely fill the last round of multiprocessors. Constants are fitted to
measured kernels (`catalogs/kernels.yaml`); median error 6 to 17 % per product.
"""

from __future__ import annotations

import numpy as np

from planner.estimate.speed.columns import GemmColumns
from planner.estimate.speed.times import Seconds, larger_cause
from planner.estimate.types import Floats

TILES = (
    (1.0, 128.0, 0.10),
    (8.0, 128.0, 0.50),
    (16.0, 128.0, 0.55),
    (32.0, 128.0, 0.65),
    (64.0, 64.0, 0.70),
    (64.0, 128.0, 0.85),
    (128.0, 128.0, 1.0),
    (128.0, 256.0, 1.0),
)
"""Output tiles of common kernels (rows, columns) and the compute rate of each against the largest.

The four from 64 rows on are those of the fit; the narrow ones stand for the kernels that engines use for few rows
(tensor cores work on 8 rows at least; one row is a matrix-vector kernel), where reading the weights takes longer.
"""
OUTPUT_BYTES = 2.0
"""Products write 16-bit results (32-bit ones four bytes: `operand_bytes` tells them apart)."""


def wave_share(
    rows: Floats, columns: Floats, num_sms: Floats, groups: Floats | float = 1.0, least: Floats | float = 0.0
) -> Floats:
    """Share of the multiprocessors' tiles that hold useful output, for the best tile shape.

    `groups` equal products run as one grouped kernel, so only their sum leaves a partial round. Where the number of
    multiprocessors is unknown (0) only the tiles' own edges count. No tile's rate is below `least`.

    >>> float(wave_share(np.array([128.0]), np.array([128.0 * 132]), np.array([132.0]))[0])
    1.0
    """
    best = np.zeros(1)
    sms = np.maximum(num_sms, 1.0)
    is_known = num_sms > 0
    all_known = bool(is_known.all())
    single = isinstance(groups, float) and groups == 1.0
    down = {size: np.ceil(rows / size) for size in {tile[0] for tile in TILES}}
    across = {size: np.ceil(columns / size) for size in {tile[1] for tile in TILES}}
    for tile_rows, tile_columns, rate in TILES:
        tiles = down[tile_rows] * across[tile_columns]
        useful = np.maximum(rate, least) * rows * columns
        if not single:
            tiles, useful = tiles * groups, useful * groups
        slots = np.ceil(tiles / sms) * sms
        if not all_known:
            slots = np.where(is_known, slots, tiles)
        best = np.maximum(best, useful / (slots * (tile_rows * tile_columns)))
    return np.minimum(best, 1.0)


def product_time(
    params: GemmColumns,
    *,
    rows: Floats,
    columns: Floats,
    depth: Floats,
    weight_bytes: Floats | float,
    groups: Floats | float = 1.0,
    peak_factor: Floats | float = 1.0,
) -> Seconds:
    """Seconds of `groups` products of (rows x depth) by (depth x columns) in one kernel, per GPU.

    `weight_bytes` is the stored size of one weight; `rows` are per group. Never below the roofline of its own
    constants: both sides of the soft maximum count in full.
    """
    rows = np.maximum(rows, 1e-9)
    flop = 2.0 * rows * columns * depth * groups
    rate = params.flop_per_second * params.peak_share * peak_factor * depth / (depth + params.half_depth)
    compute_s = flop / (
        rate * wave_share(np.maximum(rows, 1.0), columns, params.num_sms, groups, params.few_rows_share)
    )
    output_bytes = np.maximum(OUTPUT_BYTES, np.where(params.operand_bytes > 2.0, params.operand_bytes, 0.0))
    read = weight_bytes * columns * depth + params.operand_bytes * rows * depth
    moved = groups * (read + output_bytes * rows * columns)
    memory_s = (moved + params.half_bytes) / params.reached_bytes_per_second
    busy_s = soft_max(compute_s, memory_s, params.sharpness)
    return larger_cause(compute_s, memory_s, busy_s) + Seconds(overhead=params.launch_s)


def soft_max(a: Floats, b: Floats, sharpness: Floats) -> Floats:
    """(a^p + b^p)^(1/p), written so that no power overflows.

    >>> float(soft_max(np.array([3.0]), np.array([4.0]), np.array([2.0]))[0])
    5.0
    """
    high = np.maximum(a, b)
    low = np.minimum(a, b)
    return high * (1.0 + (low / high) ** sharpness) ** (1.0 / sharpness)


def expansion_time(params: GemmColumns, *, weights: Floats, stored_bytes: float, bandwidth_share: float) -> Seconds:
    """Seconds to expand weights to 16 bit in a pass of its own: read, write, and read again by the product."""
    moved = weights * (stored_bytes + 2.0 + 2.0)
    return Seconds(memory_bandwidth=moved / (params.bytes_per_second * bandwidth_share))
