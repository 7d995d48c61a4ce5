"""Operation models: limits of the hardware, limits of shape, and check values of the measurements behind them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.estimate.speed.collectives import (
    Group,
    all_gather_s,
    all_reduce_s,
    all_to_all_s,
    group_of,
    point_to_point_s,
)
from planner.estimate.speed.columns import GemmColumns, gemm_columns, kinds_of
from planner.estimate.speed.gemm import product_time, soft_max, wave_share
from planner.estimate.speed.kernels import serving_engine, shipped_kernels
from planner.estimate.speed.moe import imbalance
from planner.estimate.types import Floats, Hardware
from tests.estimate.jobs import engine, infer_job, one, whole
from tests.estimate.speed.machines import machine

KERNELS = shipped_kernels()


def a100() -> Hardware:
    return machine(infer_job("gpt2"), "a100-sxm-80gb", 8)


def params(hw: Hardware) -> GemmColumns:
    row = serving_engine(KERNELS, engine("trtllm"))
    return gemm_columns(KERNELS, hw, kinds_of(hw), width="16", peak=hw.peak16_flop_per_second, engine=row)


def product_s(rows: float, columns: float, depth: float) -> float:
    time = product_time(params(a100()), rows=one(rows), columns=one(columns), depth=one(depth), weight_bytes=2.0)
    return float(time.total_s[0])


def test_a_large_product_on_an_a100_reaches_what_was_measured() -> None:
    """Best product of the MAMF table: 271 of 312 TFLOP/s (.87); shape (8192, 8192, 8192)."""
    reached = 2 * 8192**3 / product_s(8192, 8192, 8192) / 312e12
    assert 0.80 < reached < 0.95


def test_one_row_takes_as_long_as_reading_the_weights() -> None:
    """(1, 14336, 4096): 117 MB at 2.039 TB/s are 57.6 us; kernels reach .6 to .8 of that rate."""
    ideal = 2 * 14336 * 4096 / 2.039e12
    assert 0.6 < ideal / product_s(1, 14336, 4096) < 0.8


@given(st.integers(1, 20_000), st.integers(64, 30_000), st.integers(64, 30_000))
def test_no_product_beats_the_roofline(rows: int, columns: int, depth: int) -> None:
    compute = 2 * rows * columns * depth / 312e12
    memory = 2 * columns * depth / 2.039e12
    assert product_s(rows, columns, depth) > max(compute, memory)


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_more_rows_never_take_less_time(rows: int, more: int) -> None:
    assert product_s(rows + more, 4096, 4096) >= product_s(rows, 4096, 4096) * (1 - 1e-9)


@given(st.integers(1, 4096), st.integers(1, 20_000), st.sampled_from([0, 72, 108, 132, 148]))
def test_waves_fill_at_most_everything(rows: int, columns: int, sms: int) -> None:
    share = wave_share(one(rows), one(columns), one(sms))[0]
    assert 0 < share <= 1


@given(st.floats(1e-9, 1e9), st.floats(1e-9, 1e9), st.floats(0.7, 10))
def test_a_soft_maximum_lies_between_the_larger_and_the_power_sum(a: float, b: float, p: float) -> None:
    value = soft_max(one(a), one(b), one(p))[0]
    assert max(a, b) * (1 - 1e-9) <= value <= max(a, b) * 2 ** (1 / p) * (1 + 1e-9)


def group(hw: Hardware, size: int) -> Group:
    return group_of(KERNELS, hw, kinds_of(hw), size=whole(size))


@pytest.mark.parametrize(("gpu", "bus_bytes_per_second"), [("a100-sxm-80gb", 222e9), ("h100-sxm-80gb", 445e9)])
def test_all_reduce_over_eight_gpus_reaches_the_measured_bus_rate(gpu: str, bus_bytes_per_second: float) -> None:
    """NCCL at 512 MB (AIConfigurator tables); the fit favours smaller messages and stays within a third."""
    n_bytes = 512e6
    seconds = all_reduce_s(group(machine(infer_job("gpt2"), gpu, 8), 8), one(n_bytes))[0]
    assert 2 * 7 / 8 * n_bytes / seconds == pytest.approx(bus_bytes_per_second, rel=0.33)


@pytest.mark.parametrize(("kib", "low_us", "high_us"), [(16, 3.6, 6.0), (128, 6, 11), (512, 12, 19)])
def test_small_all_reduces_take_what_one_shot_kernels_take(kib: int, low_us: float, high_us: float) -> None:
    """H100, eight GPUs (AIConfigurator tables, TensorRT-LLM kernels)."""
    seconds = all_reduce_s(group(machine(infer_job("gpt2"), "h100-sxm-80gb", 8), 8), one(kib * 1024))[0]
    assert low_us * 0.9 < seconds * 1e6 < high_us * 1.1


def test_one_gpu_needs_no_communication() -> None:
    alone = group(a100(), 1)
    for collective in (all_reduce_s, all_gather_s, all_to_all_s, point_to_point_s):
        assert collective(alone, one(1e9))[0] == 0


@given(st.sampled_from([2, 4, 8, 16, 64]), st.floats(1e3, 1e9))
def test_a_gather_is_cheaper_than_a_reduction_and_a_node_cheaper_than_two(size: int, n_bytes: float) -> None:
    hw = a100()
    here, there = group(hw, size), group(hw, size * 8)
    assert all_reduce_s(there, one(n_bytes))[0] > all_reduce_s(here, one(n_bytes))[0]
    ring = replace(here, one_shot_s=one(np.inf))
    assert all_gather_s(here, one(n_bytes))[0] <= all_reduce_s(ring, one(n_bytes))[0]


def test_a_group_wider_than_the_bridge_crosses_pcie() -> None:
    pair = replace(a100(), link_num_gpus=whole(2))
    assert all_reduce_s(group(pair, 4), one(1e8))[0] > 3 * all_reduce_s(group(a100(), 4), one(1e8))[0]


@given(st.floats(0.01, 1e4), st.integers(1, 64))
def test_imbalance_lies_between_even_and_double(tokens: float, ranks: int) -> None:
    factor: Floats = imbalance(one(tokens), one(ranks))
    assert 1.0 <= factor[0] <= 2.0
    assert imbalance(one(tokens), one(1))[0] == 1.0
