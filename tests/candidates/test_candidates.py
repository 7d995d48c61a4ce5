"""Candidates of whole workloads on the shipped catalogs."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from planner.candidates.margins import Margins, margins_of
from planner.candidates.offload import least_share
from planner.candidates.search import dominates, undominated
from planner.candidates.types import Candidate
from planner.catalog.intervals import IntervalFact
from planner.errors import ImpossibleError
from planner.estimate.hardware import hardware
from planner.estimate.memory import infer_memory, train_memory, usable_bytes
from planner.estimate.speed.arrivals import infer_open_loop
from planner.estimate.types import InferJob, InferWays, TrainWays
from tests.candidates.specs import catalog, found_for, supply_of

CHAT = """
fleet: {{gpus: [h100-sxm-80gb, l4, t4], procurement: [on_demand], providers: [aws], {fleet}}}
workloads:
  - name: chat
    model: meta-llama/Llama-3.1-8B
    mode: infer
    engine: vllm
    sequence: {{input: 1000, output: 250}}
    precision: {precision}
    targets: {{requests_per_second: {rps}, ttft_ms: {ttft}, tpot_ms: 60}}
    pin: {{{pin}}}
"""


def chat(*, rps: float = 5, ttft: float = 2000, precision: str = "bf16", pin: str = "", fleet: str = "") -> str:
    return CHAT.format(rps=rps, ttft=ttft, precision=precision, pin=pin, fleet=fleet)


def test_every_candidate_fits_and_meets_its_targets() -> None:
    found = found_for(chat())
    supply = supply_of(chat())
    assert found.candidates
    for c in found.candidates:
        assert isinstance(c.job, InferJob)
        assert isinstance(c.ways, InferWays)
        hw = hardware(c.job, [supply.kinds[c.kind]], catalog())
        memory = infer_memory(c.job, c.ways, hw)
        assert memory.device_peak_bytes[0] <= usable_bytes(hw)[0] * 0.95
        queue = infer_open_loop(c.job, c.ways, hw, kv_slots=memory.max_batch, requests_per_second=5 / c.replicas)
        assert queue is not None
        assert queue.ttft is not None
        assert queue.ttft.mean_s <= 2.0
        assert queue.tpot is not None
        assert queue.tpot.mean_s <= 0.060
        assert c.rate is not None
        assert c.replicas * c.rate >= 1 - 1e-9
        assert (c.replicas - 1) * c.rate < 1
        assert 5 * c.rate <= 0.9 * c.figures["requests_per_second"] * (1 + 1e-9)


def fewest_gpus(percentile: str) -> dict[str, int]:
    """By GPU, of one long-prompt workload whose first tokens are wanted within a second."""
    text = chat(rps=40, ttft=1000).replace("tpot_ms: 60", f"tpot_ms: 60{percentile}")
    found: dict[str, int] = {}
    for c in found_for(text).candidates:
        found[c.gpu] = min(found.get(c.gpu, c.gpus), c.gpus)
    return found


def test_a_higher_percentile_never_needs_fewer_gpus() -> None:
    counts = [fewest_gpus(p) for p in ("", ", latency_percentile: 90", ", latency_percentile: 99")]
    assert all(counts)
    for gpu, most in counts[2].items():
        assert counts[0][gpu] <= counts[1][gpu] <= most
    assert counts[0] != counts[2]


def test_without_latency_targets_requests_use_the_planning_share_of_the_closed_loop() -> None:
    text = chat(rps=40).replace(", ttft_ms: 2000, tpot_ms: 60", "")
    found = found_for(text).candidates
    assert found
    for c in found:
        assert c.rate == pytest.approx(0.8 * c.figures["requests_per_second"] / 40)


def test_double_the_demand_needs_at_most_double_the_replicas_and_not_fewer() -> None:
    def fewest(rps: float) -> dict[str, int]:
        return {c.id.rsplit("b", 1)[0]: c.replicas for c in found_for(chat(rps=rps)).candidates if c.gpu == "l4"}

    small, large = fewest(40), fewest(80)
    shared = small.keys() & large.keys()
    assert shared
    for name in shared:
        assert small[name] <= large[name] <= 2 * small[name]


def test_a_gpu_that_is_too_slow_says_by_how_little() -> None:
    found = found_for(chat(ttft=150))
    reasons = {d.gpu: d.reason for d in found.dropped}
    assert reasons["t4"].startswith(("best TTFT", "Tesla T4"))
    assert "asked 150 ms" in reasons["l4"]


def test_a_format_the_gpu_lacks_is_the_reason() -> None:
    reasons = {d.gpu: d.reason for d in found_for(chat(precision="bf16")).dropped}
    assert "bf16" in reasons["t4"]


def test_weights_too_big_for_every_split_are_named_with_both_figures() -> None:
    text = chat(precision="bf16", pin="tensor_parallel: 1, pipeline_parallel: 1").replace(
        "meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-70B"
    )
    found = found_for(text)
    assert not found.candidates
    reason = next(d.reason for d in found.dropped if d.gpu == "h100-sxm-80gb")
    assert reason.startswith("weights in bf16 need 131.4 GiB on one GPU")


def test_the_nearest_miss_comes_first() -> None:
    found = found_for(chat(ttft=1))
    assert found.dropped[0].reason.startswith("best TTFT")


def test_pinned_replicas_that_do_not_carry_the_demand_are_refused_with_the_number() -> None:
    found = found_for(chat(rps=500, pin="replicas: 1"))
    assert not found.candidates
    assert any("pinned are 1" in d.reason for d in found.dropped)


def test_a_pin_that_nothing_in_the_fleet_is_is_an_error() -> None:
    with pytest.raises(ImpossibleError, match="nothing in the fleet is the pinned gpu mi300x"):
        found_for(chat(pin="gpu: mi300x-192gb"))


def test_better_formats_are_preferred() -> None:
    found = found_for(chat(precision="[bf16, fp8]"))
    by_format = {c.job.weights.id: c.preference for c in found.candidates if isinstance(c.job, InferJob)}
    assert by_format["bf16"] < by_format.get("fp8", math.inf)


def test_a_safer_quantile_never_needs_less() -> None:
    def gpus(fleet: str) -> dict[int, int]:
        fewest: dict[int, int] = {}
        for c in found_for(chat(rps=100, fleet=fleet)).candidates:
            fewest[c.kind] = min(c.gpus, fewest.get(c.kind, c.gpus))
        return fewest

    median, safer = gpus("planning_quantile: 0.5"), gpus("planning_quantile: 0.8")
    assert safer
    assert all(safer[k] >= median[k] for k in safer)
    assert any(safer[k] > median[k] for k in safer)


def test_margins_reach_as_far_as_the_recorded_errors_of_the_quantile() -> None:
    given = {"kind": "infer", "low": 0.5, "high": 2.0, "rows": 9, "source": "test", "as_of": "2026"}
    facts = tuple(IntervalFact.model_validate({"figure": figure, **given}) for figure in ("memory", "speed"))

    def margins(quantile: float) -> Margins:
        return margins_of(facts, kind="infer", engine="vllm", quantile=quantile)

    assert margins(0.95) == Margins(memory=pytest.approx(2.0), seconds=pytest.approx(2.0), ttft=pytest.approx(2.0))
    assert margins(0.5) == Margins()
    assert 1.0 < margins(0.8).memory < margins(0.9).memory < 2.0


OFFLOAD = """
fleet: {gpus: [rtx-4090-24gb], procurement: [buy]}
workloads:
  - name: big
    model: meta-llama/Llama-3.1-70B
    mode: infer
    engine: llamacpp
    sequence: {input: 500, output: 200}
    precision: gguf-q4_k_m
    batch: 1
    offload: OFFLOAD
    pin: {pipeline_parallel: 1}
"""


def test_without_offload_the_model_does_not_fit() -> None:
    found = found_for(OFFLOAD.replace("OFFLOAD", "none"))
    assert not found.candidates


def test_the_least_offload_is_used_and_one_layer_less_would_not_fit() -> None:
    text = OFFLOAD.replace("OFFLOAD", "auto")
    found, supply = found_for(text), supply_of(text)
    assert found.candidates
    for c in found.candidates:
        assert isinstance(c.job, InferJob)
        assert isinstance(c.ways, InferWays)
        share = float(c.ways.weights_cpu[0])
        assert share > 0
        hw = hardware(c.job, [supply.kinds[c.kind]], catalog())
        room = usable_bytes(hw)[0] * 0.95
        less = dataclasses.replace(c.ways, weights_cpu=np.array([share - 1 / c.job.model.num_layers]))
        assert infer_memory(c.job, c.ways, hw).device_peak_bytes[0] <= room
        assert infer_memory(c.job, less, hw).device_peak_bytes[0] > room
        assert c.host_bytes_per_node > 0


@pytest.mark.parametrize("threshold", [0.0, 0.01, 0.25, 0.3, 0.99, 1.0])
def test_the_least_share_is_the_first_step_that_fits(threshold: float) -> None:
    share, fits = least_share(lambda s: s >= threshold, 1, 20)
    assert fits[0]
    assert share[0] >= threshold
    assert share[0] - 1 / 20 < threshold


TRAIN = """
fleet: {gpus: [h100-sxm-80gb], procurement: [on_demand], providers: [aws, lambda]}
workloads:
  - name: tune
    model: meta-llama/Llama-3.1-8B
    mode: train
    engine: torchtitan
    method: full
    precision: bf16-mixed
    sequence: 4096
    batch: {global: 32}
    targets: {tokens: 1.0e9, deadline_hours: HOURS}
"""


def test_training_runs_fit_and_are_done_in_time() -> None:
    text = TRAIN.replace("HOURS", "48")
    found, supply = found_for(text), supply_of(text)
    assert found.candidates
    for c in found.candidates:
        assert isinstance(c.ways, TrainWays)
        assert not isinstance(c.job, InferJob)
        assert 1e9 / c.figures["tokens_per_second"] / 3600 <= 48
        hw = hardware(c.job, [supply.kinds[c.kind]], catalog())
        assert train_memory(c.job, c.ways, hw).device_peak_bytes[0] <= usable_bytes(hw)[0] * 0.95
        assert 32 % int(c.ways.data_parallel[0] * c.ways.micro_batch[0]) == 0


def test_a_deadline_that_cannot_be_met_says_what_is_nearest() -> None:
    found = found_for(TRAIN.replace("HOURS", "0.001"))
    assert not found.candidates
    assert found.dropped[0].reason.startswith("done in")
    assert "asked 0.001 h" in found.dropped[0].reason


def sized(gpus: int, replicas: int, ram: int = 0, preference: int = 0, kind: int = 0) -> Candidate:
    (some, *_) = found_for(chat()).candidates
    return dataclasses.replace(
        some,
        id=f"{gpus}x{replicas}r{ram}p{preference}",
        kind=kind,
        gpus_per_replica=gpus,
        replicas=replicas,
        nodes_per_replica=1,
        host_bytes_per_node=ram,
        preference=preference,
    )


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((1, 2), (1, 3), True),
        ((1, 3), (1, 2), False),
        ((1, 4), (4, 1), True),
        ((1, 5), (4, 1), False),
        ((2, 1), (3, 1), True),
        ((2, 2), (3, 1), False),
        ((1, 1, 50), (1, 1, 40), False),
        ((1, 2, 20), (2, 1, 40), True),
        ((1, 2, 30), (2, 1, 40), False),
        ((1, 1, 0, 10), (2, 1, 0, 0), False),
        ((1, 1, 0, 0), (2, 1, 0, 10), True),
    ],
)
def test_dominance_is_exact(a: tuple[int, ...], b: tuple[int, ...], expected: bool) -> None:
    assert dominates(sized(*a), sized(*b)) is expected


def test_machines_of_another_kind_are_never_pruned() -> None:
    assert not dominates(sized(1, 1, kind=0), sized(8, 8, kind=1))


def test_of_equals_one_stays() -> None:
    assert len(undominated([sized(2, 2), sized(2, 2)])) == 1


def test_of_as_many_gpus_the_way_with_more_room_in_its_targets_stays() -> None:
    slow = dataclasses.replace(sized(4, 1), id="a-slow", tightest_share=0.9)
    quick = dataclasses.replace(sized(4, 1), id="z-quick", tightest_share=0.5)
    assert [c.id for c in undominated([slow, quick])] == ["z-quick"]
    assert not dominates(slow, quick)
