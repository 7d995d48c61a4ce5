"""What has been measured near a workload: the nearest first, what differs said, what is missing unproven."""

from __future__ import annotations

import copy
from typing import Any

from validation.evidence import evidence_of
from validation.record import Quantity, Record, Source


def record(name: str, *, origin: str = "measured", rule: str = "allocated", gpu: str = "l4", **entry: Any) -> Record:
    """Test data: a record of the plan's workload, but for what is given."""
    base = {
        "model": "test/llama-1b",
        "mode": "infer",
        "engine": "transformers",
        "batch": 4,
        "sequence": {"input": 512, "output": 64},
        "precision": ["bf16"],
        "pin": {"gpu": gpu},
    }
    unit = {"allocated": "bytes"}.get(rule, "s")
    figure = Quantity(rule=rule, measured=1.0, unit=unit)
    return Record(
        id=name, origin=origin, source=Source(name="test data"), workload={**base, **entry}, quantities=(figure,)
    )


def whole(plan: dict[str, Any]) -> dict[str, Any]:
    """The plan with what every shipped plan has."""
    made = copy.deepcopy(plan)
    made["workloads"][0]["gpus"] = 2
    return made


def test_the_nearest_record_comes_first_and_says_what_differs(plan: dict[str, Any]) -> None:
    records = [record("far", gpu="h200-sxm-141gb", batch=64), record("same"), record("other", model="test/gpt")]
    (found,) = evidence_of(whole(plan), records)
    assert [n.record.id for n in found.near] == ["same", "far"]
    assert found.near[0].differs == ()
    assert found.near[1].differs == ("gpu h200-sxm-141gb for l4", "batch 64 for 4")


def test_what_was_not_measured_is_unproven(plan: dict[str, Any]) -> None:
    assert evidence_of(whole(plan), [record("m")])[0].unproven == ("speed",)
    assert evidence_of(whole(plan), [record("m"), record("t", rule="tpot")])[0].unproven == ()
    assert evidence_of(whole(plan), [])[0].unproven == ("memory", "speed")


def test_only_this_configuration_measured_on_a_device_proves_it(plan: dict[str, Any]) -> None:
    elsewhere = [record("published", origin="published"), record("other card", gpu="h200-sxm-141gb")]
    (found,) = evidence_of(whole(plan), elsewhere)
    assert len(found.near) == 2
    assert found.unproven == ("memory", "speed")


def test_memory_and_speed_each_show_their_nearest(plan: dict[str, Any]) -> None:
    memory = [record(f"m{i}") for i in range(5)]
    (found,) = evidence_of(whole(plan), [*memory, record("far speed", rule="tpot", gpu="t4")])
    assert [n.record.id for n in found.near] == ["m0", "m1", "far speed"]


def test_other_engines_simulations_and_tiny_models_are_no_evidence(plan: dict[str, Any]) -> None:
    tiny = record("tiny")
    records = [
        record("vllm", engine="vllm"),
        record("simulated", origin="simulated"),
        record("train", mode="train"),
        Record(
            id="tiny",
            origin="measured",
            source=tiny.source,
            workload=tiny.workload,
            quantities=tiny.quantities,
            emulated={"model": "a tiny one"},
        ),
    ]
    assert evidence_of(whole(plan), records)[0].near == ()
