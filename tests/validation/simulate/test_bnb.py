"""The optimizers of bitsandbytes on tensors without storage."""

from __future__ import annotations

import pytest

from validation.simulate.case import CaseError, case_of
from validation.simulate.run import run

pytestmark = pytest.mark.filterwarnings("ignore")  # the library warns of odd defaults and of things it deprecates

KEYS = {"model_type": "llama", "hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 2}
KEYS |= {"num_attention_heads": 8, "num_key_value_heads": 8, "vocab_size": 4096}
TABLE = 4096 * 512
MATRICES = TABLE + 2 * (4 * 512 * 512 + 3 * 512 * 1024)  # the head's among them
NORMS = 5 * 512  # too small for 8-bit states
WORKLOAD = {"mode": "train", "sequence": 128, "batch": {"global": 2, "micro": 2}, "precision": "bf16"}


def states(optimizer: str) -> int:
    return dict(run(case_of(WORKLOAD | {"optimizer": optimizer}, KEYS)).memory.peak.parts)["optimizer"]


def test_eight_bit_states_are_two_bytes_and_a_scale_for_256_but_of_the_embedding() -> None:
    maps = 2 * 256 * 4
    assert states("adamw-8bit") == 2 * MATRICES + 2 * 4 * MATRICES // 256 + 2 * 4 * (TABLE + NORMS) + maps


def test_lion_keeps_one_32_bit_state_whatever_the_type_of_the_weights() -> None:
    assert states("lion") == 4 * (MATRICES + TABLE + NORMS)


def test_without_bitsandbytes_the_case_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("validation.simulate.bnb.find_spec", lambda name: None)
    with pytest.raises(CaseError, match="bitsandbytes, which is not installed"):
        states("adamw-8bit")
