"""Small services on parts of a GPU (MIG) of our own machines."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from planner.errors import InputError
from planner.plan.audit import audit
from planner.plan.io import plan_json
from planner.plan.types import Plan
from planner.report.view import view_of
from tests.plan.plans import built, plan_of

Raw = dict[str, Any]
SMALL = """
version: 1
name: small
site: {electricity_usd_per_kwh: 0.12, pue: 1.3, carbon_g_per_kwh: 300}
fleet:
  gpus: [h100-sxm-80gb]
  procurement: [on_demand]
  providers: [lambda]
  owned: [{node: hgx-h100-4x-oem, count: 1}]
  limits: {gpus: 4}
workloads:
  - {name: big, model: meta-llama/Llama-3.1-70B, mode: infer, engine: vllm, precision: fp8,
     sequence: {input: 1000, output: 200}, targets: {requests_per_second: 0.5}, pin: {tensor_parallel: 2}}
"""


def embedding(name: str, more: str = "") -> str:
    return (
        f"  - {{name: {name}, model: BAAI/bge-large-en-v1.5, mode: infer, engine: transformers, precision: fp16,\n"
        f"     sequence: {{input: 256, output: 0}}, targets: {{requests_per_second: 20}}{more}}}\n"
    )


CROWDED = SMALL + "".join(embedding(f"e{n}") for n in range(5))
"""Two GPUs are left for five services that need a fraction of one each."""


def test_five_small_services_share_two_gpus() -> None:
    plan = plan_of(CROWDED)
    assert plan.status == "optimal"
    assert audit(plan) == ()
    assert plan.totals is not None
    assert plan.totals.gpus == 4
    cut = [c for load in plan.nodes for c in load.cut]
    assert 1 <= sum(c.gpus for c in cut) <= 2
    on_parts = [w for w in plan.workloads if w.config.get("mig")]
    assert len(on_parts) >= 4
    assert any("parts of GPUs (MIG)" in w for w in plan.warnings)


def test_without_sharing_gpus_they_do_not_fit() -> None:
    assert plan_of(CROWDED.replace("  limits:", "  share_gpus: false\n  limits:")).status == "infeasible"


def test_a_part_costs_its_share_of_the_gpu() -> None:
    plan = plan_of(CROWDED)
    line = plan.purchases[0]
    assert line.usd_per_hour is not None
    for w in plan.workloads:
        (place,) = w.placements
        if place.slices is not None and place.slices_of_gpu is not None:
            share = max(place.slices[n] / place.slices_of_gpu[n] for n in (0, 1))
            assert w.cost.usd_per_hour == pytest.approx(place.replicas * share * line.usd_per_hour / line.gpus)


def test_where_whole_gpus_are_free_nothing_is_cut() -> None:
    plan = plan_of(SMALL + embedding("e0") + embedding("e1"))
    assert not [c for load in plan.nodes for c in load.cut]


def test_a_pinned_part_is_kept() -> None:
    plan = plan_of(SMALL + embedding("e0", ", pin: {mig: 2G.20GB}"))
    found = next(w for w in plan.workloads if w.name == "e0")
    assert found.config["mig"] == "2g.20gb"
    assert found.memory.usable_bytes < 20 * 2**30
    assert audit(plan) == ()


def test_a_pin_that_only_rented_machines_could_keep_is_refused() -> None:
    rented = SMALL.replace("  owned: [{node: hgx-h100-4x-oem, count: 1}]\n", "")
    with pytest.raises(InputError, match=r"pin\.mig: no machine of our own"):
        built(rented + embedding("e0", ", pin: {mig: 1g.10gb}"))


def test_periods_know_parts_too() -> None:
    grown = CROWDED + "periods:\n- {months: 12, demand: {}}\n- {months: 12, demand: {e0: 3, e1: 0}}\n"
    plan = plan_of(grown)
    assert audit(plan) == ()
    assert any(load.cut for p in plan.periods for load in p.loads)


def test_the_fleet_map_shows_the_parts() -> None:
    (node,) = view_of(plan_of(CROWDED)).fleet
    assert len(node.cells) == 4
    assert any("MIG" in text for text in node.holds)


def tampered(change: Callable[[Raw], object]) -> tuple[str, ...]:
    raw = json.loads(plan_json(plan_of(CROWDED)))
    change(raw)
    raw["body_sha256"] = ""
    return audit(Plan.model_validate(raw))


def cut(raw: Raw) -> Raw:
    return next(load for load in raw["nodes"] if load["cut"])


def on_part(raw: Raw) -> Raw:
    return next(w for w in raw["workloads"] if w["config"].get("mig"))


def rented(raw: Raw) -> None:
    raw["purchases"][0].update(procurement="on_demand")
    for w in raw["workloads"]:
        w["placements"][0].update(procurement="on_demand")


CHANGES: dict[str, Callable[[Raw], object]] = {
    "compute slices, the parts on it take": lambda r: on_part(r)["placements"][0].update(slices=[8, 1]),
    "parts of e": lambda r: cut(r)["cut"][0]["held"].pop(),
    "said to be used": lambda r: cut(r).update(gpus_used=1),
    "rented machine are cut": rented,
}


@pytest.mark.parametrize("words", CHANGES)
def test_tampering_with_parts_is_found(words: str) -> None:
    found = tampered(CHANGES[words])
    assert any(words in message for message in found), found


def test_alternatives_say_their_own_part_and_no_other() -> None:
    plan = plan_of(CROWDED.replace("gpus: [h100-sxm-80gb]", "gpus: [h100-sxm-80gb, a10]"))
    others = [a for w in plan.workloads for a in w.alternatives]
    assert any(a.gpu == "a10" for a in others)
    assert not [a for a in others if a.gpu == "a10" and a.config.get("mig")]
