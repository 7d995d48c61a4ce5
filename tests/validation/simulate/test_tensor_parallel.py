"""One rank of several that split every layer by the library's own plan."""

from __future__ import annotations

from typing import Any

import pytest

from validation.simulate.case import CaseError, case_of
from validation.simulate.run import Run, run

pytestmark = pytest.mark.filterwarnings("ignore")  # the library warns of odd defaults and of things it deprecates

KEYS = {"model_type": "llama", "hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 4}
KEYS |= {"num_attention_heads": 8, "num_key_value_heads": 8, "vocab_size": 4096}
TABLE = 4096 * 512
LAYERS = 4 * (4 * 512 * 512 + 3 * 512 * 1024)
NORMS = 9 * 512
ROTARY = 2 * 4 * 32  # a buffer, which every rank keeps whole


def split(ranks: int, mode: str = "train", **keys: Any) -> Run:
    lengths: Any = 128 if mode == "train" else {"input": 128, "output": 2}
    batch: Any = {"global": 2, "micro": 2} if mode == "train" else 2
    workload = {"mode": mode, "sequence": lengths, "batch": batch, "precision": "bf16"}
    return run(case_of({**workload, "pin": {"tensor_parallel": ranks}}, KEYS | keys))


def parts(found: Run) -> dict[str, int]:
    return dict(found.memory.peak.parts)


def test_matrices_are_split_and_norms_are_not() -> None:
    for ranks in (2, 4):
        assert parts(split(ranks, "infer"))["weights"] == 2 * ((2 * TABLE + LAYERS) // ranks + NORMS)


def test_the_gradient_of_a_split_table_is_whole_on_every_rank() -> None:
    shared = (2 * TABLE + LAYERS) // 2 + NORMS
    assert split(2).memory.static - ROTARY == 2 * shared + 2 * (shared + TABLE // 2) + 2 * 2 * shared


def test_heads_that_do_not_divide_and_models_without_a_plan_are_refused() -> None:
    with pytest.raises(CaseError, match="8 key-value heads"):
        split(3)
    with pytest.raises(CaseError, match="no tensor-parallel plan for gpt2"):
        run(case_of({"mode": "infer", "sequence": {"input": 8, "output": 1}, "batch": 1, "pin": {"tensor_parallel": 2}},
                    {"model_type": "gpt2", "n_embd": 64, "n_head": 4, "n_layer": 2, "vocab_size": 128}))  # fmt: skip
