"""A 4-bit base: its bytes by hand, and what forward and backward take beside them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from validation.simulate.case import case_of
from validation.simulate.quantised import Nf4Linear, quantise
from validation.simulate.run import run
from validation.simulate.tracker import Born, Tracker

pytestmark = pytest.mark.filterwarnings("ignore")  # the library warns of odd defaults and of things it deprecates

KEYS = {"model_type": "llama", "hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 2}
KEYS |= {"num_attention_heads": 8, "num_key_value_heads": 8, "vocab_size": 1000, "tie_word_embeddings": False}
LINEAR = 2 * (4 * 512 * 512 + 3 * 512 * 1024)


def tensors(module: torch.nn.Module) -> Iterator[torch.Tensor]:
    yield from (*module.parameters(), *module.buffers())


def test_a_weight_takes_half_a_byte_its_scales_an_eighth_of_a_bit() -> None:
    layer = Nf4Linear(torch.nn.Linear(4096, 4096, bias=False, device="meta"), torch.bfloat16)
    nbytes = sum(t.nbytes for t in tensors(layer))
    scales, nested = 4096 * 4096 // 64, 4096 * 4096 // 64 // 256
    assert nbytes == 4096 * 4096 // 2 + scales + 4 * nested + 4 * (16 + 256 + 1)


def test_the_head_stays_and_all_that_is_not_quantised_is_32_bit() -> None:
    model = torch.nn.ModuleDict({"proj": torch.nn.Linear(64, 64), "lm_head": torch.nn.Linear(64, 10)}).bfloat16()
    quantise(model, torch.bfloat16)
    assert isinstance(model["proj"], Nf4Linear)
    assert model["lm_head"].weight.dtype == torch.float32
    assert not any(p.requires_grad for p in model.parameters())


def test_a_product_keeps_neither_its_input_nor_the_dequantised_weight() -> None:
    layer = Nf4Linear(torch.nn.Linear(512, 256, bias=False, device="meta"), torch.bfloat16)
    x = torch.empty(2048, 512, dtype=torch.bfloat16, device="meta", requires_grad=True)
    tracker = Tracker("meta")
    with tracker:
        out = layer(x)
    made = [step.storage for step in tracker.steps if isinstance(step, Born)]
    assert {s.nbytes for s in made} == {512 * 256 // 64 * 4, 512 * 256 * 2, 2048 * 256 * 2}
    alive = [s for s in made if s.nbytes == out.nbytes]
    dead = len(tracker.steps) - len(made)
    assert (len(alive), dead) == (1, len(made) - 1)


def test_a_4_bit_base_needs_an_eighth_of_the_weights_of_a_32_bit_one() -> None:
    lora = {"mode": "train", "sequence": 64, "batch": {"global": 1, "micro": 1}, "lora": {"rank": 4}}
    small = run(case_of(lora | {"method": "qlora", "precision": "bf16"}, KEYS))
    outside = 4 * (2 * 1000 * 512 + 5 * 512)  # embedding, head and norms in 32 bit
    assert LINEAR // 2 + outside == small.memory.peak.parts["weights"]
    assert small.trained == 2 * 4 * (4 * (512 + 512) + 3 * (512 + 1024))
