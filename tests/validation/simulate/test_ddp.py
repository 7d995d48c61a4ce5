"""One rank of several that hold the whole model and exchange gradients in buckets."""

from __future__ import annotations

from typing import Any

import pytest

from validation.simulate.case import case_of
from validation.simulate.run import Run, run

pytestmark = pytest.mark.filterwarnings("ignore")  # the library warns of odd defaults and of things it deprecates

KEYS = {"model_type": "llama", "hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 2}
KEYS |= {"num_attention_heads": 8, "num_key_value_heads": 8, "vocab_size": 4096}
PARAMS = 2 * 4096 * 512 + 2 * (4 * 512 * 512 + 3 * 512 * 1024) + 5 * 512
WORKLOAD = {"mode": "train", "sequence": 128, "precision": "bf16"}


def replicated(ranks: int, *, passes: int = 1, **options: Any) -> Run:
    batch = {"global": 2 * ranks * passes, "micro": 2}
    pin = {"data_parallel": ranks}
    return run(case_of({**WORKLOAD, "batch": batch, "pin": pin, "engine_options": options}, KEYS))


def parts(found: Run) -> dict[str, int]:
    return dict(found.memory.peak.parts)


def test_buckets_hold_every_gradient_once_more_whatever_the_number_of_ranks() -> None:
    for ranks in (2, 16):
        assert parts(replicated(ranks))["buckets"] == 2 * PARAMS
    assert replicated(1).case.gpus == 1
    assert "buckets" not in parts(replicated(1))


def test_gradients_that_are_views_of_the_buckets_stand_in_forward_too() -> None:
    alone, views = replicated(1), replicated(4, gradient_bucket_view=True)
    assert views.memory.phases["forward"] - alone.memory.phases["forward"] == pytest.approx(2 * PARAMS, rel=0.01)


def test_micro_batches_but_the_last_exchange_nothing_and_change_no_peak_of_the_buckets() -> None:
    once, often = replicated(4), replicated(4, passes=3)
    assert parts(often)["buckets"] == parts(once)["buckets"]
    assert often.memory.static == once.memory.static
