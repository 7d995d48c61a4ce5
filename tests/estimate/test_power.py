"""Power and carbon: bounds, and values checked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.estimate.power import carbon_kg, electricity_usd, facility_kw, host_share_kw, it_power_kw, tdp_share
from planner.estimate.speed.kernels import shipped_kernels
from planner.estimate.speed.times import CAUSES

POWER = shipped_kernels().power


def column(*values: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array(values)


@given(st.lists(st.floats(0.0, 10.0), min_size=len(CAUSES), max_size=len(CAUSES)))
def test_a_gpu_draws_between_idle_and_its_tdp(seconds: list[float]) -> None:
    share = tdp_share({c: column(s) for c, s in zip(CAUSES, seconds, strict=True)}, POWER)[0]
    assert POWER.idle <= share <= 1.0


def test_computing_draws_more_than_reading_memory_and_that_more_than_waiting() -> None:
    by_cause = POWER.by_cause
    assert by_cause["compute"] > by_cause["memory_bandwidth"] > by_cause["overhead"] > POWER.idle


def test_a_dgx_h100_at_full_load_stays_within_its_nameplate() -> None:
    """8 x 0.7 kW of GPUs in a node of 10.2 kW: the host's part is 0.575 kW a GPU at most."""
    full = {"compute": column(1.0)}
    drawn = it_power_kw(
        gpus=np.array([8]), tdp_kw=column(0.7), tdp_share=tdp_share(full, POWER), node_power_kw=column(10.2),
        node_gpus=np.array([8]), power=POWER,
    )  # fmt: skip
    assert 5.6 * 0.9 < drawn[0] < 10.2
    host = host_share_kw(node_power_kw=column(10.2), tdp_kw=column(0.7), node_gpus=np.array([8]), load=1.0)
    assert host == pytest.approx([0.575])


def test_an_unknown_host_adds_nothing() -> None:
    assert host_share_kw(node_power_kw=column(0.0), tdp_kw=column(0.7), node_gpus=np.array([8]), load=0.7) == [0.0]


def test_the_building_multiplies_power_energy_and_carbon_alike() -> None:
    """10 kW for 730 h at PUE 1.3: 9,490 kWh, 1,423.5 USD at 0.15, 3,321.5 kg at 350 g."""
    ten = column(10.0)
    assert facility_kw(it_kw=ten, pue=1.3) == pytest.approx([13.0])
    assert electricity_usd(it_kw=ten, pue=1.3, hours=730, usd_per_kwh=0.15) == pytest.approx([1423.5])
    assert carbon_kg(it_kw=ten, pue=1.3, hours=730, grams_per_kwh=350) == pytest.approx([3321.5])
