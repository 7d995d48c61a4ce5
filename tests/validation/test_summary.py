"""Records as people read them, and raw measured lines as records."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from validation.compare import is_planned_gpu
from validation.measured_lines import import_lines
from validation.record import Outcome, Quantity, Record, RecordError, Source, read_records
from validation.summary import error_lines, errors, markdown

LINES = [
    {
        "trial": {
            "kind": "infer",
            "model": "llama-3.1-8b",
            "batch": 8,
            "seq": 2048,
            "gen": 32,
            "dtype": "bf16",
            "attention": "sdpa",
        },
        "torch": "2.13.0",
        "transformers": "5.23.0",
        "device": "Test Card",
        "params": 8030261248,
        "prefill_s": 0.5,
        "tpot_s": 0.02,
        "peak": {"allocated_peak_bytes": 100, "reserved_peak_bytes": 110, "device_peak_bytes": 120},
    },
    {
        "trial": {
            "kind": "train",
            "model": "llama-3.2-1b",
            "batch": 4,
            "seq": 2048,
            "precision": "bf16",
            "optimizer": "adamw_fused",
            "ckpt": True,
            "attention": "sdpa",
            "lora": 16,
        },
        "device": "Test Card",
        "step_s": 2.0,
        "static": 90,
        "peak": {},
    },
    {"trial": {"kind": "micro"}, "device": "Test Card", "micro": {"copy_bytes_per_s": 3.0e12}},
    {"trial": {"kind": "micro", "x": 1}, "error": "OutOfMemoryError", "message": "full", "oom": True},
]
"""Test data in the shape of a measuring script's output; nothing here was measured."""


def test_raw_lines_become_records_of_pinned_workloads(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in LINES))
    infer, train, micro, full = import_lines(path, tmp_path / "out")
    assert infer.workload["sequence"] == {"input": 2048, "output": 32}
    assert {q.rule: q.measured for q in infer.quantities} == {
        "allocated": 100,
        "reserved": 110,
        "device": 120,
        "ttft": 0.5,
        "tpot": 0.02,
    }
    assert (train.workload["method"], train.workload["engine_options"]) == ("lora", {"optimizer_step": "fused"})
    rate = train.quantity("token_rate")
    assert rate is not None
    assert rate.measured == 4 * 2048 / 2.0
    assert micro.details["micro"] == {"copy_bytes_per_s": 3.0e12}
    assert full.outcome == Outcome(state="oom", detail="OutOfMemoryError: full")
    assert len(list(read_records(tmp_path / "out"))) == 4


def test_a_line_that_is_no_trial_is_named(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps(LINES[0]) + '\n{"x": 1}\n')
    with pytest.raises(RecordError, match=r"records\.jsonl:2: not a measured trial"):
        import_lines(path, tmp_path / "out")


def record(name: str, predicted: float, verdict: str, **more: str) -> Record:
    figure = Quantity(
        rule="allocated", measured=100.0, unit="bytes", predicted=predicted, interval=(90, 110), verdict=verdict
    )
    return Record(
        id=name, origin="measured", source=Source(name="test data"), environment={"gpu": "Test Card"}, **more,
        quantities=(figure,), outcome=Outcome(state="ok"),
    )  # fmt: skip


def test_errors_are_relative_to_what_was_measured() -> None:
    found = errors([record("a", 102, "inside"), record("b", 95, "inside"), record("c", 110, "inside")])
    (line,) = error_lines(found)
    assert line == ["allocated", "3", "+2.0 %", "+5.0 %", "+10.0 %"]


def test_what_contradicts_is_listed_until_it_is_explained() -> None:
    text = markdown([record("open|one", 150, "outside"), record("known", 150, "outside", explained="a stray process")])
    assert "Not explained yet" in text
    assert "- open\\|one: allocated: measured 0.00 MiB, predicted 0.00 MiB" in text
    assert "- known" not in text


@pytest.mark.parametrize(
    ("planned", "found", "same"),
    [
        ("h200-sxm-141gb", "NVIDIA H200", True),
        ("h100-sxm-80gb", "NVIDIA H100 80GB HBM3", True),
        ("h100-pcie-80gb", "NVIDIA H100 PCIe", True),
        ("h100-sxm-80gb", "NVIDIA H200", False),
        ("a100-sxm-80gb", "NVIDIA A100-SXM4-80GB", True),
        ("a100-pcie-80gb", "NVIDIA A100-SXM4-80GB", False),
        ("a100-pcie-80gb", "NVIDIA A100 80GB PCIe", True),
        ("a100-sxm-40gb", "NVIDIA A100-SXM4-80GB", False),
        ("h200-nvl-141gb", "NVIDIA H200 NVL", True),
        ("h200-sxm-141gb", "NVIDIA H200 NVL", False),
        ("l4", "NVIDIA L40S", False),
        ("l40s", "NVIDIA L40S", True),
        ("rtx-4090", "NVIDIA GeForce RTX 4090", True),
        ("rtx-4090", "NVIDIA GeForce RTX 3090", False),
        ("a10", "NVIDIA A10G", False),
    ],
)
def test_a_card_is_known_by_its_own_name(planned: str, found: str, same: bool) -> None:
    assert is_planned_gpu(planned, found) is same
