"""`plan estimate`: open choices, prices and warnings of one workload as a user meets them."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from planner.estimate.document import FailedEstimate, WorkloadEstimate
from planner.estimate.run import estimate_spec
from planner.spec.load import spec_from_mapping
from tests.estimate.jobs import catalog

CHAT: dict[str, Any] = {
    "model": "meta-llama/Llama-3.1-8B",
    "mode": "infer",
    "engine": "vllm",
    "sequence": {"input": 1024, "output": 256},
    "precision": "bf16",
    "pin": {"gpu": "h100-sxm-80gb"},
}


def estimated(**changes: Any) -> WorkloadEstimate:
    found = answer({**CHAT, **changes})
    assert isinstance(found, WorkloadEstimate), found
    return found


def answer(workload: dict[str, Any]) -> WorkloadEstimate | FailedEstimate:
    spec = spec_from_mapping({"workloads": [{"name": "it", **workload}]})
    return estimate_spec(spec, catalog()).workloads[0]


def batch_of(found: WorkloadEstimate, key: str = "batch") -> int:
    value = found.config[key]
    assert isinstance(value, int)
    return value


@functools.cache
def unbounded() -> WorkloadEstimate:
    return estimated(batch="auto")


def test_latency_targets_bound_an_open_batch() -> None:
    bounded = estimated(batch="auto", targets={"tpot_ms": 15, "ttft_ms": 300})
    assert bounded.performance.tpot_s is not None
    assert bounded.performance.tpot_s <= 0.015
    assert bounded.performance.ttft_s is not None
    assert bounded.performance.ttft_s <= 0.3
    assert 1 < batch_of(bounded) < batch_of(unbounded())


def test_a_latency_no_batch_meets_leaves_one_sequence() -> None:
    assert estimated(batch="auto", targets={"tpot_ms": 0.1}).config["batch"] == 1


@pytest.mark.parametrize("engine", ["vllm", "transformers"])
def test_the_batch_chosen_fits_with_its_headroom(engine: str) -> None:
    found = estimated(batch="auto", engine=engine)
    assert found.fits
    assert found.config["batch"] == found.memory.max_batch


def test_the_largest_micro_batch_is_not_below_one_that_fits() -> None:
    found = estimated(
        model="gpt2-xl", mode="train", engine="transformers", batch=8, sequence=1024, precision="bf16-mixed"
    )
    assert found.fits
    assert found.memory.max_batch >= batch_of(found, "micro_batch")


def test_a_quantised_checkpoint_runs_in_the_format_it_is_published_in() -> None:
    assert estimated(model="openai/gpt-oss-20b", precision="auto").config["precision"] == "mxfp4"
    eight = {"gpu": "h200-sxm-141gb", "tensor_parallel": 8}
    assert estimated(model="deepseek-ai/DeepSeek-V3", precision="auto", pin=eight).config["precision"] == "fp8-block"


def test_a_part_of_an_instance_is_a_share_of_its_price_and_says_so() -> None:
    three = estimated(pin={"gpu": "h100-sxm-80gb", "data_parallel": 3})
    assert any("3 of the 4 GPUs" in w for w in three.warnings)


def test_replicas_are_rented_one_by_one() -> None:
    one, four = estimated(), estimated(pin={"gpu": "h100-sxm-80gb", "replicas": 4})
    assert one.cost.usd_per_hour is not None
    assert four.cost.usd_per_hour == pytest.approx(4 * one.cost.usd_per_hour)


def test_a_pinned_engine_version_names_its_profile() -> None:
    warnings = estimated(engine="vllm@0.34.1").warnings
    assert any("profile of versions from 0.33 up to, not including, 1.0 (as of 2026-11-22)" in w for w in warnings)
    assert isinstance(answer({**CHAT, "engine": "vllm@0.0.1"}), FailedEstimate)


def test_a_version_newer_than_every_profile_is_that_workloads_error() -> None:
    found = answer({**CHAT, "engine": "vllm@99.0"})
    assert isinstance(found, FailedEstimate)
    assert "newer than every profile" in found.error
    assert "nearest: vllm@0.33, vllm@0.21" in found.error


def test_memory_intervals_are_whole_bytes_and_end_at_the_gpu_of_an_engine_with_a_budget() -> None:
    bounds = unbounded().intervals["device_peak_bytes"]
    assert bounds is not None
    assert all(isinstance(b, int) for b in bounds)
    assert bounds[1] <= unbounded().memory.usable_bytes


def test_an_unknown_name_is_the_error_of_its_workload_alone() -> None:
    spec = spec_from_mapping({"workloads": [{"name": "good", **CHAT}, {**CHAT, "name": "bad", "model": "llama-9-7b"}]})
    good, bad = estimate_spec(spec, catalog()).workloads
    assert isinstance(good, WorkloadEstimate)
    assert isinstance(bad, FailedEstimate)
    assert "llama-9-7b" in bad.error


@pytest.mark.parametrize(
    ("pin", "says"),
    [
        ({"tensor_parallel": 3}, "nearest that does: 2"),
        ({"pipeline_parallel": 64}, "at most 32"),
        ({"expert_parallel": 2}, "has no experts"),
    ],
)
def test_an_impossible_split_says_which_would_do(pin: dict[str, int], says: str) -> None:
    found = answer({**CHAT, "pin": {"gpu": "h100-sxm-80gb", **pin}})
    assert isinstance(found, FailedEstimate)
    assert says in found.error
