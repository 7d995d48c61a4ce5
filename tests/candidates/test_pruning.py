"""Rows that go before they become candidates are those that would have gone anyway."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.candidates.generate import candidates_of
from planner.candidates.search import Outline, dominates, promising, undominated
from planner.candidates.supply import build_supply
from tests.candidates.specs import catalog, spec_of

SPECS = {
    "every precision, offload allowed": """
        workloads:
          - name: chat
            model: meta-llama/Llama-3.1-8B
            mode: infer
            engine: vllm
            sequence: {input: 1000, output: 250}
            targets: {requests_per_second: 20, ttft_ms: 2000, tpot_ms: 60}
        """,
    "batch asked for, no targets": """
        fleet: {gpus: ["h100-*", l4, "a100-*"]}
        workloads:
          - {name: big, model: meta-llama/Llama-3.1-70B, mode: infer, engine: vllm, sequence: 4096, batch: 16}
        """,
    "training": """
        fleet: {gpus: ["h100-*", "a100-*", l40s]}
        workloads:
          - name: tune
            model: meta-llama/Llama-3.1-8B
            mode: train
            engine: transformers
            method: lora
            sequence: 2048
            batch: {global: 32}
            targets: {tokens: 1.0e8, deadline_hours: 200}
        """,
}
small = st.integers(1, 4)


@st.composite
def rows(draw: st.DrawFn) -> list[Outline]:
    sizes = draw(st.lists(st.tuples(small, small, small, small, st.integers(0, 6), st.integers(0, 3)), max_size=12))
    return [
        Outline(
            row_index=n,
            kind=kind % 2,
            preference=0,
            replicas=replicas,
            gpus_per_replica=pieces * nodes,
            nodes_per_replica=nodes,
            host_bytes_per_node=host,
            tightest_share=tight / 3,
        )
        for n, (kind, replicas, pieces, nodes, host, tight) in enumerate(sizes)
    ]


def is_first(a: Outline, b: Outline) -> bool:
    """Ranked before, whatever their names."""
    one, other = ((o.preference, o.gpus, o.host_bytes_per_node, o.tightest_share) for o in (a, b))
    return one < other


@given(rows())
def test_what_stays_is_what_no_row_at_all_makes_useless(found: list[Outline]) -> None:
    expected = [o for o in found if not any(dominates(r, o) and is_first(r, o) for r in found)]
    assert promising(found) == expected


@pytest.mark.parametrize("name", SPECS)
def test_pruning_early_keeps_the_same_candidates_and_reasons(name: str) -> None:
    spec = spec_of(SPECS[name]).spec
    (workload,) = spec.workloads
    supply = build_supply(spec, catalog())
    early = candidates_of(workload, spec, supply, catalog())
    every = candidates_of(workload, spec, supply, catalog(), prune=False)
    assert len(every.candidates) > 1.5 * len(early.candidates) > 0
    assert [c.id for c in undominated(every.candidates)] == [c.id for c in early.candidates]
    assert early.dropped == every.dropped
    assert early.evaluated == every.evaluated
