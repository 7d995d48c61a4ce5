"""Advice against estimates: what is advised is estimated anew, as a user would who follows it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from planner.advise.advise import advised
from planner.advise.types import Advice, AdvisedEstimate, Change
from planner.estimate.document import WorkloadEstimate
from planner.estimate.request import resolve_workload
from planner.estimate.run import estimate_spec, everywhere, placed_or_failed
from planner.spec.load import spec_from_mapping
from tests.estimate.jobs import catalog

LLAMA_ON_T4 = {
    "model": "llama-2-7b", "mode": "infer", "precision": "fp16", "batch": 4,
    "sequence": {"input": 1792, "output": 256}, "pin": {"gpu": "t4"},
}  # fmt: skip
BIG_ON_VLLM = {
    "model": "llama-3.1-70b", "mode": "infer", "engine": "vllm", "precision": "bf16", "batch": 8,
    "sequence": {"input": 3000, "output": 500}, "pin": {"gpu": "h100-sxm-80gb"},
}  # fmt: skip
EAGER = {
    "model": "gpt2-xl", "mode": "infer", "precision": "fp16", "batch": 24, "attention": "eager",
    "sequence": {"input": 1000, "output": 20}, "pin": {"gpu": "rtx-3060-12gb"},
}  # fmt: skip
FULL_TUNE = {"model": "qwen2.5-7b", "mode": "train", "batch": 16, "sequence": 2048, "pin": {"gpu": "a100-sxm-80gb"}}
DECIDED_TUNE = {**FULL_TUNE, "batch": {"global": 16, "micro": 2}, "checkpointing": "none", "sharding": "none"}
TIGHT_TUNE = {
    "model": "qwen2.5-1.5b", "mode": "train", "batch": {"global": 16, "micro": 8}, "sequence": 4096,
    "checkpointing": "none", "sharding": "none", "pin": {"gpu": "a100-sxm-80gb"},
}  # fmt: skip
QLORA_70B = {
    "model": "llama-3.1-70b", "mode": "train", "method": "qlora", "batch": {"global": 8, "micro": 4}, "sequence": 1024,
    "checkpointing": "full", "sharding": "none", "pin": {"gpu": "l40s"},
}  # fmt: skip
TOO_BIG = {"llama on a t4": LLAMA_ON_T4, "70b on vllm": BIG_ON_VLLM, "eager": EAGER, "full": DECIDED_TUNE}
TOO_BIG |= {"tight": TIGHT_TUNE, "qlora": QLORA_70B}


def estimated(workload: dict[str, Any], confidence: float | None = None) -> WorkloadEstimate:
    spec = spec_from_mapping({"workloads": [workload]})
    found = estimate_spec(spec, catalog(), confidence=confidence).workloads[0]
    assert isinstance(found, WorkloadEstimate), found
    return found


def advice_on(workload: dict[str, Any], confidence: float | None = None) -> Advice:
    spec = spec_from_mapping({"workloads": [workload]})
    found = tuple(placed_or_failed(spec, catalog(), confidence=confidence))
    document = advised(found, spec, catalog(), confidence=confidence, advise=True)
    assert isinstance(document.workloads[0], AdvisedEstimate)
    assert document.workloads[0].advice is not None
    return document.workloads[0].advice


def followed(workload: dict[str, Any], change: Change) -> dict[str, Any]:
    """The workload with the keys of a change written into it."""
    result = copy.deepcopy(workload)
    for path, value in change.keys.items():
        *folders, key = path.split(".")
        place = result
        for folder in folders:
            inner = place.setdefault(folder, {})
            place[folder] = inner = {"global": inner} if isinstance(inner, int) else inner
            place = inner
        place[key] = value
    return result


@pytest.mark.parametrize("name", TOO_BIG)
def test_every_change_advised_makes_it_fit_with_the_bytes_it_says(name: str) -> None:
    workload = TOO_BIG[name]
    assert not estimated(workload).fits
    changes = advice_on(workload).changes
    assert changes
    for change in changes:
        found = estimated(followed(workload, change))
        assert found.fits, change.change
        assert found.memory.device_peak_bytes == pytest.approx(change.device_peak_bytes, abs=2), change.change
        assert found.gpus == change.gpus
        limit = found.memory.usable_bytes * 0.95
        assert change.spare_bytes == pytest.approx(limit - found.memory.needed_bytes, abs=2)


def test_changes_to_a_spec_with_open_choices_make_it_fit() -> None:
    changes = advice_on(FULL_TUNE).changes
    assert {key for c in changes for key in c.keys} >= {"method", "sharding", "pin.data_parallel"}
    assert all(estimated(followed(FULL_TUNE, c)).fits for c in changes)


def test_one_layer_less_in_host_memory_would_not_do() -> None:
    (change,) = (c for c in advice_on(LLAMA_ON_T4).changes if "in host memory" in c.change)
    share = change.keys["pin.offload.weights_cpu"]
    assert isinstance(share, float)
    less = {**LLAMA_ON_T4, "pin": {"gpu": "t4", "offload": {"weights_cpu": share - 1 / 32}}}
    assert not estimated(less).fits


def test_what_the_issue_names_is_among_the_changes() -> None:
    keys = {key for c in advice_on({**LLAMA_ON_T4, "engine": "vllm"}).changes for key in c.keys}
    assert {"precision", "pin.offload.weights_cpu", "pin.tensor_parallel"} <= keys
    assert "kv_precision" in {key for c in advice_on({**LLAMA_ON_T4, "batch": 1}).changes for key in c.keys}
    trained = {key for c in advice_on(QLORA_70B).changes for key in c.keys}
    assert {"batch.micro", "engine_options.cross_entropy"} <= trained
    long = {**QLORA_70B, "model": "llama-2-7b", "sequence": 4096, "checkpointing": "none"}
    assert "checkpointing" in {key for c in advice_on(long).changes for key in c.keys}


def test_tensor_parallel_two_is_advised_where_two_gpus_do() -> None:
    """65.7 GiB of weights on each of two cards of 94 GiB, 131.4 on one."""
    small = {**BIG_ON_VLLM, "pin": {"gpu": "h100-nvl-94gb"}}
    (change,) = (c for c in advice_on(small).changes if "pin.tensor_parallel" in c.keys)
    assert change.keys == {"pin.tensor_parallel": 2}
    assert change.gpus == 2


def test_where_no_single_change_does_several_together_are_advised() -> None:
    small = {**LLAMA_ON_T4, "model": "llama-3.1-70b", "precision": "bf16", "pin": {"gpu": "rtx-3060-12gb"}}
    changes = advice_on(small).changes
    assert changes
    assert all(len(c.keys) > 1 for c in changes)
    assert all(estimated(followed(small, c)).fits for c in changes)


@pytest.mark.parametrize("engine", ["transformers", "vllm", "llamacpp"])
def test_the_longest_context_fits_and_one_token_more_does_not(engine: str) -> None:
    precision = "gguf-q8_0" if engine == "llamacpp" else "fp16"
    workload = {**LLAMA_ON_T4, "model": "llama-3.1-8b", "engine": engine, "precision": precision, "batch": 2}
    workload["pin"] = {"gpu": "l4"}
    longest = advice_on(workload).longest_context
    assert longest is not None
    assert longest.num_tokens == longest.input_tokens + longest.output_tokens
    assert longest.input_tokens / longest.output_tokens == pytest.approx(7, rel=0.05)
    exact = {"input": longest.input_tokens, "output": longest.output_tokens}
    found = estimated({**workload, "sequence": exact})
    assert found.fits
    assert found.memory.max_batch >= 2
    step = 256 if engine == "llamacpp" else 16 if engine == "vllm" else 1
    more = estimated({**workload, "sequence": {**exact, "input": exact["input"] + step}})
    assert not (more.fits and more.memory.max_batch >= 2)


def test_a_context_that_memory_does_not_end_ends_at_the_models_own() -> None:
    longest = advice_on(
        {"model": "gpt2", "mode": "infer", "batch": 1, "sequence": 64, "pin": {"gpu": "l4"}}
    ).longest_context
    assert longest is not None
    assert (longest.num_tokens, longest.is_models_maximum) == (1024, True)


def test_the_largest_batch_fits_and_one_more_does_not() -> None:
    workload = {**LLAMA_ON_T4, "batch": 1, "pin": {"gpu": "l4"}}
    most = advice_on(workload).max_batch
    assert estimated({**workload, "batch": most}).fits
    assert not estimated({**workload, "batch": most + 1}).fits


@pytest.mark.parametrize("workload", [LLAMA_ON_T4, {**FULL_TUNE, "model": "qwen2.5-1.5b"}], ids=["infer", "train"])
def test_the_gpus_listed_are_those_that_an_estimate_on_each_finds(workload: dict[str, Any]) -> None:
    advice = advice_on(workload)
    free = {**workload, "pin": {}}
    spec = spec_from_mapping({"workloads": [free]})
    on_each = everywhere(resolve_workload(spec.workloads[0], spec, catalog()), spec, catalog())
    assert {g.gpu for g in advice.fits_on} == {p.estimate.gpu for p in on_each if p.estimate.fits}
    assert advice.too_small == sum(not p.estimate.fits for p in on_each)
    prices = [g.usd_per_hour for g in advice.fits_on if g.usd_per_hour is not None]
    assert prices == sorted(prices)
    assert [g.usd_per_hour is None for g in advice.fits_on] == sorted(g.usd_per_hour is None for g in advice.fits_on)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("batch", [1, 2, 3, 4])
def test_asked_at_a_confidence_what_fits_does_so_at_the_upper_end_of_the_interval(
    confidence: float, batch: int
) -> None:
    workload = {**LLAMA_ON_T4, "batch": batch, "pin": {"gpu": "l4"}}
    found = estimated(workload, confidence)
    interval = found.intervals["device_peak_bytes"]
    assert interval is not None
    assert found.fits == (interval[1] <= found.memory.usable_bytes * 0.95)
    advice = advice_on(workload, confidence)
    assert found.fits == (advice.spare_bytes >= advice.plus_minus_bytes)


def test_surer_means_wider_intervals_and_never_more_that_fits() -> None:
    widths, fits = [], []
    for confidence in (0.3, 0.6, 0.9, 0.99):
        found = estimated({**LLAMA_ON_T4, "batch": 4, "pin": {"gpu": "rtx-4000-ada-20gb"}}, confidence)
        interval = found.intervals["device_peak_bytes"]
        assert interval is not None
        widths.append(interval[1] - interval[0])
        fits.append(len(advice_on(LLAMA_ON_T4, confidence).fits_on))
    assert widths == sorted(widths)
    assert fits == sorted(fits, reverse=True)
