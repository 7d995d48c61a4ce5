"""Plans built from small specs on the shipped catalogs."""

from __future__ import annotations

import functools

from planner.catalog.load import Catalog
from planner.plan.build import Built, build
from planner.plan.io import parse_plan, plan_json
from planner.plan.types import Plan
from planner.spec.load import load_spec_text

CREATED = "2026-11-22T12:00:00+00:00"
TWO = """
version: 1
name: two
site: {electricity_usd_per_kwh: 0.12, pue: 1.3, carbon_g_per_kwh: 300}
fleet:
  gpus: ["h100-sxm-80gb", l4, l40s]
  procurement: [on_demand, buy]
  providers: [aws, lambda, runpod]
  owned: [{node: l4-8x-pcie, count: 1}]
  limits: {usd_per_hour: 60, power_kw: 40, nodes: 10}
workloads:
  - name: chat
    model: meta-llama/Llama-3.1-8B
    mode: infer
    engine: vllm
    sequence: {input: 1000, output: 250}
    precision: [bf16, fp8]
    targets: {requests_per_second: 6, ttft_ms: 1500, tpot_ms: 60}
  - name: tune
    model: meta-llama/Llama-3.1-8B
    mode: train
    engine: transformers
    method: qlora
    sequence: 2048
    batch: {global: 16}
    targets: {tokens: 2.0e7, deadline_hours: 24}
"""


@functools.cache
def catalog() -> Catalog:
    """The shipped catalogs, read once."""
    return Catalog.load()


@functools.cache
def built(text: str = TWO) -> Built:
    """The plan of a spec and the problem behind it."""
    return build(load_spec_text(text, "spec.yaml"), catalog(), created=CREATED)


def plan_of(text: str = TWO) -> Plan:
    """The plan as it is read back from its file."""
    return parse_plan(plan_json(built(text).plan))


def with_fleet(extra: str, text: str = TWO) -> str:
    """The spec with further keys in `fleet`."""
    return text.replace("fleet:\n", f"fleet:\n  {extra}\n")
