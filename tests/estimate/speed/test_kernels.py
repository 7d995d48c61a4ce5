"""The parameter file: every architecture is served, every row says where it comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.errors import UnknownNameError
from planner.estimate.speed.kernels import load_kernels, row_for, serving_engine, shipped_kernels
from planner.resources import data_folder
from tests.estimate.jobs import catalog, engine

KERNELS = shipped_kernels()
ARCHS = sorted({gpu.arch for gpu in catalog().gpus.values()} | set(catalog().arch_support))


@pytest.mark.parametrize("arch", ARCHS)
def test_every_architecture_has_products_attention_and_links(arch: str) -> None:
    for width in ("16", "32"):
        assert any(r.arch == arch and not r.gpus for r in KERNELS.gemm if r.width == width)
    assert row_for(KERNELS.attention, arch=arch, gpu="")
    kinds = {r.kind for r in KERNELS.links if r.arch in (arch, "any")}
    assert kinds == {"nvlink", "pcie", "pcie_no_p2p", "network"}


@pytest.mark.parametrize("arch", [a for a in ARCHS if catalog().arch_support[a].fp8 == "native"])
def test_native_fp8_has_its_own_row_where_its_peak_differs(arch: str) -> None:
    rates = [g.peak_flop_per_second for g in catalog().gpus.values() if g.arch == arch]
    faster = [r for r in rates if r.fp8 and r.bf16 and r.fp8 > 1.5 * r.bf16]
    assert not faster or any(r.arch == arch for r in KERNELS.gemm if r.width == "8")


def test_a_pattern_that_names_the_gpu_wins_over_its_architecture() -> None:
    rows = [r for r in KERNELS.gemm if r.width == "16"]
    assert row_for(rows, arch="ampere", gpu="a100-sxm-80gb").gpus
    assert not row_for(rows, arch="ampere", gpu="a40").gpus


def test_patterns_name_gpus_of_the_catalog() -> None:
    ids = set(catalog().gpus)
    for row in (*KERNELS.gemm, *KERNELS.attention):
        for pattern in row.gpus:
            assert any(Path(name).match(pattern) for name in ids), pattern


def test_every_row_has_a_source_a_date_and_a_confidence() -> None:
    rows = (*KERNELS.gemm, *KERNELS.attention, *KERNELS.links, *KERNELS.serving.values(), *KERNELS.training.values())
    assert len(rows) > 100
    for row in rows:
        assert row.source
        assert row.as_of[:2] == "20"
        assert row.confidence in ("high", "medium", "low")


def test_every_engine_of_the_catalog_has_its_row() -> None:
    for profile in catalog().engines:
        assert "infer" not in profile.modes or profile.engine in KERNELS.serving
        assert "train" not in profile.modes or profile.engine in KERNELS.training


def test_an_engine_profile_overrides_single_factors() -> None:
    plain = engine("vllm")
    profile = plain.profile.model_copy(update={"efficiency": {"step_overhead_s": 0.5}})
    changed = serving_engine(KERNELS, type(plain)(profile=profile, options=plain.options))
    assert changed.step_overhead_s == 0.5
    assert changed.peak_factor == serving_engine(KERNELS, plain).peak_factor


def test_an_unknown_architecture_is_an_error_that_names_it() -> None:
    with pytest.raises(UnknownNameError, match="quantumcore"):
        row_for(KERNELS.attention, arch="quantumcore", gpu="q1")


def test_reading_the_file_twice_gives_the_same() -> None:
    assert load_kernels(data_folder("catalogs") / "kernels.yaml") == KERNELS
