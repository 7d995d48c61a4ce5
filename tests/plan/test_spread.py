"""Services that outlive the loss of a node, and workloads that share none."""

from __future__ import annotations

import pytest

from planner.errors import InputError
from planner.plan.audit import audit
from planner.plan.types import Plan
from planner.spec.load import load_spec_text
from tests.plan.plans import TWO, plan_of

SMALL = TWO.replace("requests_per_second: 6,", "requests_per_second: 1,")
SPREAD = SMALL.replace("    engine: vllm\n", "    engine: vllm\n    least_nodes: 2\n")
APART = SMALL.replace("    engine: vllm\n", "    engine: vllm\n    apart_from: [tune]\n")


def nodes_of(plan: Plan, name: str) -> int:
    return sum(load.nodes for load in plan.nodes if load.replicas.get(name))


def test_a_service_stands_on_as_many_nodes_as_asked() -> None:
    assert nodes_of(plan_of(SMALL), "chat") == 1
    plan = plan_of(SPREAD)
    assert plan.workloads[0].replicas >= 2
    assert nodes_of(plan, "chat") >= 2
    assert audit(plan) == ()


def test_workloads_apart_share_no_node() -> None:
    together, apart = plan_of(SMALL), plan_of(APART)
    assert any(len(load.replicas) == 2 for load in together.nodes)
    assert not any(len(load.replicas) == 2 for load in apart.nodes)
    assert audit(apart) == ()
    assert together.totals is not None
    assert apart.totals is not None
    assert apart.totals.usd_per_hour > together.totals.usd_per_hour


def test_the_audit_finds_a_service_on_one_node_only() -> None:
    loose, asked = plan_of(SMALL), plan_of(SPREAD)
    wrong = loose.model_copy(update={"inputs": asked.inputs, "body_sha256": ""})
    assert "workloads.chat.least_nodes: stands on 1, asked are 2" in audit(wrong)
    meeting = loose.model_copy(update={"inputs": plan_of(APART).inputs, "body_sha256": ""})
    assert "workloads.chat.apart_from: shares a node with tune" in audit(meeting)


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ("apart_from: [tun]", r"no workload is named 'tun'; .*tune"),
        ("apart_from: [chat]", "names the workload itself"),
        ("least_nodes: 3\n    pin: {replicas: 2}", "2 replicas, which do not stand on 3 nodes"),
    ],
)
def test_places_that_cannot_be_had_are_refused(keys: str, text: str) -> None:
    with pytest.raises(InputError, match=text):
        load_spec_text(SMALL.replace("    engine: vllm\n", f"    engine: vllm\n    {keys}\n"), "spec.yaml")


def test_spreading_needs_nodes_that_are_shared() -> None:
    text = SPREAD.replace("fleet:\n", "fleet:\n  share_gpus: false\n")
    with pytest.raises(InputError, match=r"2 needs fleet\.share_gpus: true"):
        load_spec_text(text, "spec.yaml")
