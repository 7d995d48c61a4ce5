"""Figures copied by hand from vendors' sheets and logs, against the shipped catalogs."""

from __future__ import annotations

from collections import Counter

import pytest
import yaml

from planner.catalog.load import Catalog
from planner.resources import data_folder

MIB = 1048576
SHEETS = {
    # id: bytes/s of memory, dense bf16 or fp16, dense fp8 or None, link one direction, W  (product data sheets)
    "h100-sxm-80gb": (3.35e12, 1979e12 / 2, 3958e12 / 2, 450e9, 700),
    "a100-sxm-80gb": (2039e9, 312e12, None, 300e9, 400),
    "h200-sxm-141gb": (4.8e12, 1979e12 / 2, 3958e12 / 2, 450e9, 700),
    "l4": (300e9, 242e12 / 2, 485e12 / 2, 0, 72),
    "l40s": (864e9, 362e12, 1466e12 / 2, 0, 350),
    "v100-sxm2-16gb": (900e9, 125e12, None, 150e9, 300),
    "t4": (320e9, 65e12, None, 0, 70),
    "rtx-4090-24gb": (1008e9, 165.2e12, 330.3e12, 0, 450),
    "rtx-3090-24gb": (936e9, 71e12, None, 56.25e9, 350),
    "mi300x-192gb": (5.3e12, 1307.4e12, 2614.9e12, 448e9, 750),
    "b200-sxm-180gb": (8e12, 2250e12, 4500e12, 900e9, 1000),
}


def test_catalogs_hold_everything_that_was_collected(catalog: Catalog) -> None:
    assert len(catalog.gpus) == 108  # 106 accelerators and two announced ones
    assert sum(g.announced_only for g in catalog.gpus.values()) == 2
    assert len(catalog.arch_support) == 22 + 5  # five derived from their accelerators' rates
    assert len(catalog.nodes) == 45
    assert len(catalog.offers) == 558
    assert len({o.provider for o in catalog.offers}) == 18
    assert len(catalog.purchases) + len(catalog.purchase_rules) == 87 + 1  # one derived: a workstation without GPUs
    assert len(catalog.energy) == 63
    assert len(catalog.efficiency) == 47
    assert len(catalog.precisions) == 22


@pytest.mark.parametrize("gpu_id", SHEETS)
def test_rates_are_those_of_the_vendors_sheet(catalog: Catalog, gpu_id: str) -> None:
    hbm, half, eight, link, watts = SHEETS[gpu_id]
    gpu = catalog.gpu(gpu_id)
    rates = gpu.peak_flop_per_second
    assert gpu.hbm_bytes_per_second == pytest.approx(hbm, rel=0.005)
    assert (rates.bf16 or rates.fp16) == pytest.approx(half, rel=0.005)
    assert rates.fp8 == (None if eight is None else pytest.approx(eight, rel=0.005))
    assert gpu.nvlink_bytes_per_second == pytest.approx(link)
    assert gpu.tdp_kw == pytest.approx(watts / 1000)


@pytest.mark.parametrize(
    ("gpu_id", "mib"),
    [
        ("h200-sxm-141gb", 143771),
        ("h100-sxm-80gb", 81559),
        ("l4", 23034),
        ("t4", 15360),
        ("a100-sxm-80gb", 81920),
        ("rtx-4090-24gb", 24564),
        ("rtx-5090-32gb", 32607),
        ("b200-sxm-180gb", 183359),
        ("l40s", 46068),
    ],
)
def test_memory_is_what_nvidia_smi_shows(catalog: Catalog, gpu_id: str, mib: int) -> None:
    gpu = catalog.gpu(gpu_id)
    assert gpu.memory_bytes == mib * MIB
    assert not gpu.memory_is_marketing


def test_memory_without_a_driver_reading_says_so(catalog: Catalog) -> None:
    gpu = catalog.gpu("p40")
    assert gpu.memory_is_marketing
    assert gpu.memory_bytes == 24 * 1024 * MIB


def test_a_card_of_two_devices_is_listed_as_the_driver_shows_it(catalog: Catalog) -> None:
    half = catalog.gpu("mi250x-128gb")
    assert half.devices_per_board == 2
    assert half.memory_bytes == 64 * 1024 * MIB
    assert half.peak_flop_per_second.bf16 == pytest.approx(191.5e12)
    assert half.tdp_kw == pytest.approx(0.28)


@pytest.mark.parametrize(
    ("node", "link", "one_way", "reach", "pair"),
    [
        ("dgx-h100", "nvswitch-900", 450e9, 8, None),
        ("dgx-a100-80gb", "nvswitch-600", 300e9, 8, None),
        ("hgx-a100-80gb-4x", "nvlink-mesh-600", 300e9, 4, 100e9),
        ("mi300x-8x", "xgmi-mesh-896", 448e9, 8, 64e9),
        ("gb200-tray-4x", "nvlink-nvl72-1800", 900e9, 72, None),
        ("h100-nvl-8x-pcie", "pcie-gen5+nvlink-pairs-600", 300e9, 2, None),
        ("h200-nvl-8x-pcie", "pcie-gen5+nvlink-quads-900", 450e9, 4, None),
        ("ws-2x-3090-nvlink", "nvlink-bridge-112", 56e9, 2, None),
        ("l40s-8x-pcie", "pcie-gen4", 31.5e9, 8, None),
        ("t4-4x-pcie", "pcie-gen3", 15.8e9, 4, None),
        ("ws-1x-4090", "none", None, 1, None),
    ],
)
def test_links_are_per_gpu_and_one_direction(
    catalog: Catalog, node: str, link: str, one_way: float | None, reach: int, pair: float | None
) -> None:
    entry = catalog.node(node)
    assert (entry.link, entry.link_bytes_per_second, entry.link_num_gpus) == (link, one_way, reach)
    assert entry.link_peer_bytes_per_second == (None if pair is None else pytest.approx(pair))


def test_two_4090_bounce_through_host_memory(catalog: Catalog) -> None:
    assert not catalog.node("ws-2x-4090").link_is_p2p
    assert catalog.node("ws-2x-3090-nvlink").link_is_p2p


def test_network_is_in_bytes_though_sheets_print_bits(catalog: Catalog) -> None:
    assert catalog.node("dgx-h100").network_bytes_per_second_per_gpu == 50e9  # 400 Gb/s
    assert catalog.node("dgx-b300").network_bytes_per_second_per_gpu == 100e9  # 800 Gb/s


@pytest.mark.parametrize(
    ("offer", "usd_per_hour", "gpu", "gpus"),
    [
        ("aws/g4dn.xlarge/us-east-1", 0.526, "t4", 1),
        ("aws/g5.xlarge/us-east-1", 1.006, "a10g", 1),
        ("aws/p3.16xlarge/us-east-1", 24.48, "v100-sxm2-16gb", 8),
        ("aws/g6f.large/us-east-1", 0.202, "l4", 0.125),
    ],
)
def test_offers_carry_the_list_price_of_the_whole_instance(
    catalog: Catalog, offer: str, usd_per_hour: float, gpu: str, gpus: float
) -> None:
    entry = catalog.offer(offer)
    assert (entry.on_demand_usd_per_hour, entry.gpu, entry.num_gpus) == (usd_per_hour, gpu, gpus)


def test_region_carbon_wins_over_the_country_average(catalog: Catalog) -> None:
    quebec = catalog.region("ca-qc")
    assert quebec.carbon_g_per_kwh == 5.48
    assert quebec.carbon_country_g_per_kwh == 170.0
    assert catalog.region("no").carbon_g_per_kwh == 30.1  # no regional figure


def test_every_entry_says_where_and_when_it_was_read() -> None:
    files = sorted(data_folder("catalogs").rglob("*.yaml"))
    assert len(files) > 30
    entries = [
        (path.name, e)
        for path in files
        for e in yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
        if isinstance(e, dict)
    ]
    assert len(entries) > 1000
    silent = [(name, e) for name, e in entries if not e.get("source") or not str(e.get("as_of", ""))]
    assert silent == []


def test_confidence_is_stated_where_it_is_not_high(catalog: Catalog) -> None:
    assert Counter(p.confidence for p in catalog.purchases)["low"] > 40
    assert catalog.gpu("trainium3").confidence == "low"
    assert catalog.offer("aws/g5.xlarge/us-east-1").confidence == "high"
