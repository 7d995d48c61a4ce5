"""Splits of a model over the GPUs of a machine."""

from __future__ import annotations

import pytest

from planner.candidates.layouts import Layouts, infer_layouts, train_layouts
from planner.candidates.planning import planning_facts
from planner.catalog.hosts import Host, host_of_node
from planner.spec.types import Pin
from tests.candidates.specs import catalog

DGX = host_of_node(catalog(), catalog().nodes["dgx-h100"])
EDGE = host_of_node(catalog(), catalog().nodes["l4-2x-edge"])


def serving(model: str, engine: str, *, host: Host = DGX, several: bool = False, pin: Pin | None = None) -> Layouts:
    return infer_layouts(
        catalog().models.get(model),
        planning_facts().splits_of(engine, "infer"),
        pin or Pin(),
        [(0, host)],
        several=several,
        most_nodes=4,
        smallest_node=4,
    )


def training(engine: str, *, global_batch: int, several: bool = False, tokens: int = 4096) -> Layouts:
    return train_layouts(
        catalog().models.get("meta-llama/Llama-3.1-8B"),
        planning_facts().splits_of(engine, "train"),
        Pin(),
        [(0, DGX)],
        several=several,
        most_nodes=4,
        smallest_node=4,
        global_batch=global_batch,
        sequence_tokens=tokens,
        needs_ranks=False,
    )


def test_tensor_parallel_deals_out_whole_heads_within_the_node() -> None:
    """Llama-3.1-8B has 32 heads, GPT-2 XL 25: eight GPUs take 1, 2, 4 or 8 ways of the one, only 1 of the other."""
    assert set(serving("meta-llama/Llama-3.1-8B", "vllm").tensor.tolist()) == {1, 2, 4, 8}
    assert set(serving("gpt2-xl", "vllm").tensor.tolist()) == {1}


def test_replicas_divide_a_node() -> None:
    layouts = serving("meta-llama/Llama-3.1-8B", "vllm")
    assert all(8 % g == 0 for g in layouts.gpus.tolist())


def test_engines_without_tensor_parallel_go_stage_by_stage() -> None:
    layouts = serving("meta-llama/Llama-3.1-8B", "transformers")
    assert set(layouts.tensor.tolist()) == {1}
    assert set(layouts.pipeline.tolist()) == {1, 2, 4, 8}


def test_several_nodes_are_taken_whole() -> None:
    layouts = serving("meta-llama/Llama-3.1-70B", "vllm", several=True)
    assert len(layouts)
    assert (layouts.gpus == layouts.nodes * 8).all()
    assert layouts.tensor.max() <= 8


def test_small_nodes_are_not_joined() -> None:
    assert len(serving("meta-llama/Llama-3.1-8B", "vllm", host=EDGE, several=True)) == 0


def test_a_pinned_degree_is_the_only_one() -> None:
    layouts = serving("meta-llama/Llama-3.1-8B", "vllm", pin=Pin(tensor_parallel=2, pipeline_parallel=1))
    assert [layouts.tensor.tolist(), layouts.gpus.tolist()] == [[2], [2]]


def test_experts_are_dealt_out_only_where_there_are_some() -> None:
    assert set(serving("meta-llama/Llama-3.1-8B", "vllm").expert.tolist()) == {1}
    assert set(serving("Qwen/Qwen3-30B-A3B", "vllm").expert.tolist()) > {1}


@pytest.mark.parametrize(("batch", "ranks"), [(8, {1, 2, 4, 8}), (6, {1, 2}), (1, {1})])
def test_ranks_divide_the_global_batch(batch: int, ranks: set[int]) -> None:
    assert set(training("deepspeed", global_batch=batch).data.tolist()) == ranks


def test_sequences_are_split_only_where_they_are_long() -> None:
    assert training("megatron", global_batch=8).context.max() == 1
    assert training("megatron", global_batch=8, tokens=131_072).context.max() == 8


def test_runs_over_several_nodes_take_them_whole() -> None:
    layouts = training("deepspeed", global_batch=64, several=True)
    assert set(layouts.nodes.tolist()) == {2, 4}
    assert (layouts.gpus == layouts.nodes * 8).all()
