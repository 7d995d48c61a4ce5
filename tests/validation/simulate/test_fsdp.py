"""One rank of a sharded run: its share of the states, and what the other ranks' parts cost while they are here."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from validation.simulate import fsdp
from validation.simulate.case import CaseError, case_of
from validation.simulate.run import Run, run

pytestmark = pytest.mark.filterwarnings("ignore")  # the library warns of odd defaults and of things it deprecates

KEYS = {"model_type": "llama", "hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 4}
KEYS |= {"num_attention_heads": 8, "num_key_value_heads": 8, "vocab_size": 4096}
EMBEDDINGS = 2 * 4096 * 512
PARAMS = EMBEDDINGS + 4 * (4 * 512 * 512 + 3 * 512 * 1024 + 2 * 512) + 512


def sharded(ranks: int, **more: Any) -> Run:
    workload = {"mode": "train", "sequence": 128, "batch": {"global": 2 * ranks, "micro": 2}, "sharding": "zero3"}
    pin = {"data_parallel": ranks}
    return run(case_of({**workload, "precision": "bf16-mixed", "checkpointing": "full", "pin": pin, **more}, KEYS))


def test_weights_gradients_and_states_are_shared_out_evenly() -> None:
    found = sharded(4)
    rotary = 2 * 4 * 32  # a buffer, which every rank keeps whole
    assert found.memory.static - rotary == 4 * (4 * PARAMS // 4)


def test_a_rank_gathers_one_layer_at_a_time_beside_the_embeddings() -> None:
    few, many = sharded(2), sharded(64)
    gathered = 2 * EMBEDDINGS  # in 16 bit; with ever more ranks hardly more than that remains
    assert gathered < many.memory.allocated < few.memory.allocated
    assert few.memory.static > 30 * many.memory.static


def test_what_is_gathered_counts_as_workspace_and_not_as_activations() -> None:
    """At the loss the embeddings and head are there in 16 bit, with a layer or two; never the whole model."""
    parts = sharded(64).memory.peak.parts
    assert 2 * EMBEDDINGS <= parts["gathered"] < 2 * PARAMS


def test_another_torch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "9.9.0")
    with pytest.raises(CaseError, match=r"torch 2.13; 9.9.0"):
        sharded(2)


def test_the_decoders_layers_are_what_is_sharded_one_by_one() -> None:
    layers = torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(3))
    other = torch.nn.ModuleList([torch.nn.Linear(2, 2), torch.nn.ReLU(), torch.nn.ReLU(), torch.nn.ReLU()])
    assert fsdp.layers_of(torch.nn.ModuleDict({"a": layers, "b": other})) == list(layers)
