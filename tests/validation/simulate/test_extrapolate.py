"""Two shallow runs tell what the deep one needs."""

from __future__ import annotations

from typing import Any

import pytest

from validation.simulate.case import case_of
from validation.simulate.extrapolate import depths
from validation.simulate.run import run

pytestmark = pytest.mark.filterwarnings("ignore")  # the library warns of odd defaults and of things it deprecates

SHAPE = {"hidden_size": 1024, "num_attention_heads": 8, "num_hidden_layers": 12, "vocab_size": 2000}
LLAMA = {"model_type": "llama", "intermediate_size": 2816, "num_key_value_heads": 2, **SHAPE}
TRAIN = {"mode": "train", "sequence": 1024, "batch": {"global": 4, "micro": 4}, "precision": "bf16"}
CHECKPOINTED = TRAIN | {"checkpointing": "full"}
INFER = {"mode": "infer", "sequence": {"input": 256, "output": 3}, "batch": 4, "precision": "bf16"}
TOLERANCE = 0.01
"""What the allocator's rounding of blocks to segments may make of it."""


@pytest.mark.parametrize("workload", [TRAIN, CHECKPOINTED, TRAIN | {"sequence": 16, "precision": "fp32"}, INFER])
def test_the_deep_peak_lies_on_the_line_of_two_shallow_ones(workload: dict[str, Any]) -> None:
    case = case_of(workload, LLAMA)
    quick, full = run(case, full=False), run(case)
    assert quick.depths == (4, 6, 12)
    assert full.depths == ()
    assert quick.params == full.params
    assert quick.memory.static == full.memory.static
    assert quick.memory.allocated == pytest.approx(full.memory.allocated, rel=TOLERANCE)
    assert quick.memory.peak.phase == full.memory.peak.phase


def test_kinds_of_layers_are_cut_in_whole_periods() -> None:
    kinds = [*["sliding_attention"] * 5, "full_attention"] * 5
    gemma = {"model_type": "gemma3_text", **SHAPE, "num_hidden_layers": 26, "layer_types": kinds[:26]}
    found = depths(case_of(INFER, gemma))
    assert found is None  # 8 and 14 of 26 would save nothing
    deep = {**gemma, "num_hidden_layers": 62, "layer_types": [*kinds, *kinds, *kinds][:62]}
    assert depths(case_of(INFER, deep)) == (8, 14, 62)


@pytest.mark.parametrize("more", [{"engine_options": {"checkpoint_reentrant": True}}, {"sequence": 8}])
def test_a_shallow_model_or_one_whose_backward_cannot_be_followed_runs_whole(more: dict[str, Any]) -> None:
    keys = LLAMA if "engine_options" in more else {**LLAMA, "num_hidden_layers": 8}
    assert depths(case_of(CHECKPOINTED | more, keys)) is None
