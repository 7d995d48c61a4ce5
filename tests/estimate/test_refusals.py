"""Unknown keys, impossible shapes, absurd sizes and contradictions: each refused with what is wrong, at once."""

from __future__ import annotations

from typing import Any

import pytest

from planner.errors import InputError
from planner.estimate.document import FailedEstimate
from planner.estimate.run import estimate_spec
from planner.spec.load import spec_from_mapping
from tests.estimate.jobs import catalog

SMALL = {
    "model_type": "llama", "num_hidden_layers": 2, "hidden_size": 128, "intermediate_size": 256,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 1000,
}  # fmt: skip
SPLIT = {"model_type": "gpt2", "n_layer": 2, "n_embd": 128, "n_head": 5}
MIXTURE = {**SMALL, "model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 9}
CHAT = {"mode": "infer", "batch": 1, "sequence": 64, "pin": {"gpu": "a100-sxm-80gb"}}
TRAIN = {"mode": "train", "batch": 8, "sequence": 128, "pin": {"gpu": "a100-sxm-80gb"}}


def refusal(**workload: Any) -> str:
    spec = spec_from_mapping({"workloads": [{"name": "x", "model": SMALL, **workload}]})
    found = estimate_spec(spec, catalog()).workloads[0]
    assert isinstance(found, FailedEstimate), found
    return found.error


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({**SMALL, "hiden_size": 3}, "unknown key hiden_size; nearest: hidden_size"),
        ({**SMALL, "model_type": "llamma"}, "unknown model_type 'llamma'; nearest: llama"),
        ({**SMALL, "num_key_value_heads": 3}, "num_attention_heads 4 is not a multiple of num_key_value_heads 3"),
        (SPLIT, "128 is not a multiple of num_attention_heads 5"),
        ({**SMALL, "hidden_size": -128}, "hidden_size is -128, not a positive whole number"),
        ({**SMALL, "hidden_size": 10**12}, "hidden_size is 1,000,000,000,000; no model has more than 10,000,000"),
        ({**SMALL, "num_hidden_layers": 10**9}, "num_hidden_layers is 1,000,000,000; no model has more than 10,000"),
        ({**SMALL, "max_position_embeddings": -1}, "max_position_embeddings is -1"),
        ({**SMALL, "head_dim": 10**9}, "head_dim is 1,000,000,000"),
        (MIXTURE, "num_experts_per_tok 9 exceeds num_local_experts 8"),
    ],
)  # fmt: skip
def test_a_config_that_no_model_can_have_is_refused_by_its_key(config: dict[str, Any], words: str) -> None:
    assert words in refusal(**CHAT, model=config)


def test_fp8_training_on_ampere_is_refused_with_the_card_and_the_format() -> None:
    assert "A100 SXM4 80GB (ampere) cannot train in fp8-mixed" in refusal(**TRAIN, precision="fp8-mixed")


def test_adapters_of_a_full_fine_tuning_are_refused_with_the_way_out() -> None:
    with pytest.raises(InputError, match="given with method: full; write `method: lora`"):
        refusal(**TRAIN, method="full", lora={"rank": 4})
    assert "method is full" in refusal(**TRAIN, engine_options={"base_precision": "nf4"})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gpu_memory_utilization": 9}, "gpu_memory_utilization of vllm is 9: give a share above 0 and at most 1"),
        ({"gpu_memory_utilization": -1}, "give a share"),
        ({"gpu_memory_utilization": "a"}, "give a number"),
        ({"max_num_seqs": 0}, "max_num_seqs of vllm is 0: give at least 1"),
        ({"group_size": 0}, "give at least 1"),
        ({"kv_layout": "pagd"}, "one of dynamic, static, paged; nearest: paged"),
        ({"enforce_eager": "yes"}, "give true or false"),
        ({"max_num_seqs": -3, "logits": "some"}, "is -3: give at least 1; engine option logits"),
    ],
)
def test_option_values_that_no_engine_takes_are_refused_all_at_once(options: dict[str, Any], words: str) -> None:
    assert words in refusal(**CHAT, engine="vllm", engine_options=options)


def test_without_a_pinned_gpu_the_reason_that_all_gpus_share_is_the_message() -> None:
    asked = {"images": {"count": 1, "width": 64, "height": 64}, "pin": {}}
    assert "takes no images" in refusal(**{**CHAT, **asked})


def test_a_fleet_without_gpus_is_named_as_the_reason() -> None:
    spec = spec_from_mapping(
        {"fleet": {"exclude_gpus": ["*"]}, "workloads": [{"name": "x", "model": SMALL, **CHAT, "pin": {}}]}
    )
    found = estimate_spec(spec, catalog()).workloads[0]
    assert isinstance(found, FailedEstimate)
    assert "fleet.exclude_gpus" in found.error
