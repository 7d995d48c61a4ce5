"""A plan's workloads simulated beside its predictions, each in a process of its own."""

from __future__ import annotations

from typing import Any

import pytest

from validation.record import checked
from validation.simulate.plan import simulate_plan
from validation.trial import TrialError

KEYS = {"model_type": "llama", "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2}
KEYS |= {"num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 1000, "tie_word_embeddings": True}
WEIGHTS = 2 * (1000 * 256 + 2 * (4 * 256 * 256 + 3 * 256 * 512 + 2 * 256) + 256)
"""Bytes in 16 bit: embedding, two layers of attention, MLP and norms, last norm."""
INV_FREQ = 2 * 4 * 32
"""The rotary buffer, twice: 32 frequencies in 32 bit."""


def with_small_model(plan: dict[str, Any]) -> dict[str, Any]:
    (workload,) = (w for w in plan["workloads"] if w["name"] == "chat")
    workload["memory"]["per_gpu_bytes"]["workspace"] = 8_519_680
    plan["inputs"]["models"]["chat"] = KEYS
    return plan


def test_a_workload_is_simulated_beside_its_prediction(plan: dict[str, Any]) -> None:
    (record,) = simulate_plan(with_small_model(plan), only="chat")
    assert checked(record).origin == "simulated"
    assert record.outcome is not None
    assert record.outcome.state == "ok", record.outcome.detail
    weights, allocated = record.quantity("weights"), record.quantity("allocated")
    assert weights is not None
    assert allocated is not None
    assert weights.measured == WEIGHTS + INV_FREQ
    assert (weights.predicted, allocated.predicted) == (2_471_628_800, 3 * 2**30)
    workspace = record.quantity("workspace")
    assert workspace is not None
    assert workspace.measured == 8_519_680
    assert {"torch", "transformers", "peft"} <= record.environment.keys()


def test_what_cannot_be_simulated_leaves_a_record_that_says_why(plan: dict[str, Any]) -> None:
    changed = with_small_model(plan)
    changed["workloads"][0]["config"]["pipeline_parallel"] = 2
    (record,) = simulate_plan(changed, only=changed["workloads"][0]["name"])
    assert record.outcome is not None
    assert (record.outcome.state, record.quantities) == ("unsupported", ())
    assert "pipeline_parallel 2" in record.outcome.detail


def test_a_workload_the_plan_does_not_have_is_an_error(plan: dict[str, Any]) -> None:
    with pytest.raises(TrialError, match="no-such"):
        simulate_plan(plan, only="no-such")
