"""A machine slower or faster than the catalogs say is found out, and estimates of its GPU alone move."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from planner.accuracy.bounds import Cause
from planner.catalog.calibration import (
    Calibration,
    Factors,
    calibrated,
    calibrated_catalog,
    calibration_text,
    read_calibration,
)
from planner.catalog.load import Catalog
from planner.errors import InputError
from planner.estimate.document import WorkloadEstimate
from planner.estimate.run import place_workload
from planner.estimate.speed.kernels import row_for, shipped_kernels
from planner.replay.calibrate import attention_s, catalog_gpu, from_micro, from_records, gemm_row, product_s
from planner.spec.load import spec_from_mapping
from validation.record import Quantity, Record, Source

H200 = "h200-sxm-141gb"
DAY = "2026-11-22"
PRODUCTS = [
    {"dtype": "bf16", "rows": 1, "columns": 14336, "depth": 4096},
    {"dtype": "bf16", "rows": 16, "columns": 28672, "depth": 8192},
    {"dtype": "bf16", "rows": 4096, "columns": 4096, "depth": 14336},
    {"dtype": "bf16", "rows": 8192, "columns": 14336, "depth": 4096},
]
PROMPTS = [{"sequences": 4, "tokens": 2048, "heads": 32, "kv_heads": 8, "head_dim": 128}]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    """The shipped catalogs."""
    return Catalog.load()


def figures(catalog: Catalog, *, compute: float, memory: float) -> dict[str, Any]:
    """Test data: microbenchmarks of a machine that is so many times as fast as the catalogs say."""
    gpu, kernels = catalog.gpu(H200), shipped_kernels()
    row = gemm_row(kernels, gpu, "16")
    assert row is not None
    products = [
        {**one, "seconds": product_s(one, gpu, row) / (memory if one["rows"] <= 16 else compute)} for one in PRODUCTS
    ]
    prompt = attention_s(PROMPTS[0], gpu, row_for(kernels.attention, arch=gpu.arch, gpu=gpu.id))
    assert gpu.pcie_bytes_per_second is not None
    return {
        "products": products,
        "attention": [{**PROMPTS[0], "seconds": prompt}],
        "decode_attention": [],
        "copy_bytes_per_second": 4.0e12,
        "host_link_bytes_per_second": gpu.pcie_bytes_per_second * kernels.shared.pcie_share,
        "launch_s": row.launch_s,
    }


def estimate(catalog: Catalog, gpu: str, **more: Any) -> WorkloadEstimate:
    workload = {
        "name": "w",
        "model": "llama-3.1-8b",
        "mode": "infer",
        "engine": "vllm",
        "sequence": {"input": 1024, "output": 128},
        "batch": 1,
        "precision": ["bf16"],
        "pin": {"gpu": gpu},
        **more,
    }
    spec = spec_from_mapping({"version": 1, "name": "t", "workloads": [workload]})
    return place_workload(spec.workloads[0], spec, catalog).estimate


def test_microbenchmarks_give_back_how_fast_a_machine_is(catalog: Catalog) -> None:
    made = from_micro(figures(catalog, compute=0.8, memory=1.05), catalog.gpu(H200), source="test data", as_of=DAY)
    assert made.factors.compute_16 == pytest.approx(0.8, abs=1e-3)
    assert made.factors.bandwidth == pytest.approx(1.05, abs=1e-3)
    assert (made.factors.attention, made.factors.launch, made.factors.host_link) == (1.0, 1.0, 1.0)
    assert made.scores is not None
    assert made.scores.median_before > 0.01
    assert made.scores.median_after < 1e-3


def test_estimates_follow_the_calibration_and_only_those_of_its_gpu(catalog: Catalog) -> None:
    slow = Calibration(
        gpu=H200, arch="hopper", factors=Factors(bandwidth=0.5, compute_16=0.5), source="test data", as_of=DAY
    )
    before, other = estimate(catalog, H200), estimate(catalog, "h100-sxm-80gb")
    with calibrated(slow):
        after, untouched = estimate(catalog, H200), estimate(catalog, "h100-sxm-80gb")
    assert untouched.performance == other.performance
    assert before.performance.tpot_s is not None
    assert after.performance.tpot_s is not None
    assert 1.5 < after.performance.tpot_s / before.performance.tpot_s < 2.0  # overheads stay as they are
    assert after.memory == before.memory
    assert estimate(catalog, H200).performance == before.performance


def test_a_slow_host_link_slows_what_is_offloaded(catalog: Catalog) -> None:
    split = {"engine": "transformers", "pin": {"gpu": H200, "offload": {"weights_cpu": 0.5}}}
    slow = Calibration(gpu=H200, arch="hopper", factors=Factors(host_link=0.5), source="test data", as_of=DAY)
    before = estimate(catalog, H200, **split).performance
    with calibrated(slow):
        after = estimate(calibrated_catalog(catalog, slow), H200, **split).performance
    assert before.tpot_s is not None
    assert after.tpot_s is not None
    assert after.tpot_s > 1.5 * before.tpot_s


def record(catalog: Catalog, name: str, times: float, *, origin: str = "measured", **more: Any) -> Record:
    """Test data: a record whose time per token is so many times the prediction."""
    pinned = {"engine": "vllm", "sequence": {"input": 1024, "output": 128}, "precision": ["bf16"]}
    workload = {"model": "llama-3.1-8b", "mode": "infer", **pinned, "pin": {"gpu": H200}, "batch": 1, **more}
    predicted = estimate(catalog, H200, **{k: v for k, v in more.items() if k != "pin"}).performance.tpot_s
    assert predicted is not None
    figure = Quantity(rule="tpot", measured=times * predicted, unit="s")
    return Record(id=name, origin=origin, source=Source(name="test data"), workload=workload, quantities=(figure,))


def test_records_calibrate_the_speed_and_the_error_falls(catalog: Catalog) -> None:
    """A machine with four fifths of the bandwidth: the factor is found, short of what the prior holds back."""
    slow = Calibration(gpu=H200, arch="hopper", factors=Factors(bandwidth=0.8), source="test data", as_of=DAY)
    with calibrated(slow):
        records = [record(catalog, str(batch), 1.0, batch=batch) for batch in (1, 2, 4, 8, 16, 64)]
    made, contradicting = from_records(records, catalog.gpu(H200), catalog, as_of=DAY)
    assert made.factors.bandwidth == pytest.approx(0.8, abs=0.02)
    assert made.scores is not None
    assert made.scores.median_before > 0.1
    assert made.scores.median_after < 0.02
    assert not contradicting


def test_a_record_that_contradicts_the_others_is_listed_until_explained(catalog: Catalog) -> None:
    from dataclasses import replace

    records = [record(catalog, f"r{batch}", 1.0, batch=batch) for batch in (1, 2, 4, 8, 16, 32)]
    odd = record(catalog, "odd", 2.0, batch=8)
    _, contradicting = from_records([*records, odd], catalog.gpu(H200), catalog, as_of=DAY)
    assert any(line.startswith("odd: tpot") for line in contradicting)
    explained = replace(odd, explained="the card was throttled")
    _, contradicting = from_records([*records, explained], catalog.gpu(H200), catalog, as_of=DAY)
    assert not any(line.startswith("odd") for line in contradicting)
    causes = [Cause(records=("odd",), rules=("tpot",), why="the card was throttled")]
    _, contradicting = from_records([*records, odd], catalog.gpu(H200), catalog, as_of=DAY, causes=causes)
    assert not any(line.startswith("odd") for line in contradicting)


def test_published_and_emulated_records_calibrate_nothing(catalog: Catalog) -> None:
    from dataclasses import replace

    published = record(catalog, "p", 1.5, origin="published")
    emulated = replace(record(catalog, "e", 1.5), emulated={"gpu": "l4"})
    with pytest.raises(InputError, match="no record measured a time"):
        from_records([published, emulated], catalog.gpu(H200), catalog, as_of=DAY)


def test_a_calibration_survives_its_file_and_another_document_is_refused(tmp_path: Path) -> None:
    made = Calibration(gpu=H200, arch="hopper", factors=Factors(launch=1.3), source="test data", as_of=DAY)
    path = tmp_path / "c.json"
    path.write_text(calibration_text(made))
    assert read_calibration(path) == made
    assert made.text == "launch x 1.300"
    for text in ("", "[]", '{"schema": "planner/plan/v1"}', calibration_text(made).replace("1.3", "99.0")):
        path.write_text(text)
        with pytest.raises(InputError):
            read_calibration(path)


@pytest.mark.parametrize(
    ("name", "total", "found"),
    [
        ("NVIDIA H200", 150_754_820_096, "h200-sxm-141gb"),
        ("NVIDIA L4", 24_152_899_584, "l4"),
        ("NVIDIA A100-SXM4-40GB", 42_474_471_424, "a100-sxm-40gb"),
        ("NVIDIA A100-SXM4-80GB", 85_899_345_920, "a100-sxm-80gb"),
        ("NVIDIA GeForce RTX 4090", 25_757_220_864, "rtx-4090-24gb"),
    ],
)
def test_the_card_is_found_in_the_catalog_by_the_drivers_name(
    catalog: Catalog, name: str, total: int, found: str
) -> None:
    assert catalog_gpu(name, total, catalog).id == found


def test_the_microbenchmarks_run_on_a_cpu(tmp_path: Path) -> None:
    import yaml

    import validation
    from validation.device import Cpu
    from validation.micro import measure

    suite = yaml.safe_load((Path(validation.__file__).parent / "suites" / "calibration.yaml").read_text())["tiny"]
    seen = measure(suite, Cpu())
    assert [one["rows"] for one in seen["products"]] == [1, 64]
    assert all(one["seconds"] > 0 for kind in ("products", "attention", "decode_attention") for one in seen[kind])
    assert json.loads(json.dumps(seen)) == seen
