"""Saved activations against exact counts of the model classes on fake tensors, bytes per token and layer."""

from __future__ import annotations

import pytest

from planner.estimate.memory.convention import convention
from planner.estimate.memory.saved import saved_of
from planner.estimate.types import LoraJob
from tests.estimate.jobs import catalog, engine, lora_job, train_job

LLAMA_8B = "meta-llama/Llama-3.1-8B"
ALL_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def test_full_fine_tuning_of_an_eager_llama_block() -> None:
    job = train_job(LLAMA_8B, engine=engine(kv_repeat=True))
    saved = saved_of(job.model.blocks[0], convention(job), None)
    assert saved.outer_per_token + saved.inner_per_token == 213_128


@pytest.mark.parametrize(
    ("targets", "bits", "kilobytes"),
    [
        (("q_proj", "v_proj"), 16.0, 159.9),
        (("q_proj", "v_proj"), 32.0, 184.6),
        (ALL_LINEAR, 16.0, 197.0),
        (ALL_LINEAR, 32.0, 307.8),
    ],
)
def test_adapters_on_a_frozen_base(targets: tuple[str, ...], bits: float, kilobytes: float) -> None:
    lora = LoraJob(rank=16, targets=targets, bits=bits)
    job = lora_job(LLAMA_8B, lora, engine=engine(kv_repeat=True))
    saved = saved_of(job.model.blocks[0], convention(job), lora)
    assert (saved.outer_per_token + saved.inner_per_token) / 1000 == pytest.approx(kilobytes, abs=0.06)


def test_eager_attention_keeps_six_bytes_a_score() -> None:
    job = train_job(LLAMA_8B, attention="eager")
    assert saved_of(job.model.blocks[0], convention(job), None).scores_per_pair == 6 * 32


def test_flash_attention_keeps_the_key_value_heads_unrepeated() -> None:
    repeats = engine(kv_repeat=True)
    sdpa, flash = train_job(LLAMA_8B, engine=repeats), train_job(LLAMA_8B, engine=repeats, attention="flash")
    difference = (
        saved_of(sdpa.model.blocks[0], convention(sdpa), None).inner_per_token
        - saved_of(flash.model.blocks[0], convention(flash), None).inner_per_token
    )
    assert difference == 2 * 2 * (32 - 8) * 128


def test_megatron_with_dropout_is_34_h_without_the_scores() -> None:
    """Korthikanti et al. 2022: 34 h of a GELU block with 4 h MLP; the log-sum-exp and norm statistics come on top."""
    job = train_job("openai-community/gpt2-xl", engine=engine("megatron"), precision="bf16-mixed", attention="flash")
    block = job.model.blocks[0]
    saved = saved_of(block, convention(job), None)
    statistics = 4 * 25 + 2 * 2 * 4  # log-sum-exp of 25 heads, mean and deviation of two norms
    assert saved.outer_per_token + saved.inner_per_token - statistics == 34 * block.hidden_size


def test_early_bitsandbytes_products_keep_their_inputs_though_the_base_is_frozen() -> None:
    """Two normed inputs of the hidden size and the product that down_proj reads, 2 bytes each."""
    lora = LoraJob(rank=8, targets=("q_proj",), bits=16.0)
    early = engine(bnb_keeps_inputs=True)
    plain = lora_job(LLAMA_8B, lora, engine=early)
    expanded = lora_job(LLAMA_8B, lora, engine=early, base=catalog().precision("nf4"))
    block = plain.model.blocks[0]
    kept = [saved_of(block, convention(job), None) for job in (expanded, plain)]
    more = sum(k.outer_per_token + k.inner_per_token for k in kept[:1]) - (
        kept[1].outer_per_token + kept[1].inner_per_token
    )
    assert more == 2 * (2 * 4096 + 14_336)


def test_softmax_of_old_torch_keeps_its_input_as_well() -> None:
    """pytorch issue 64000: 32-bit scores, softmax, one-byte mask and dropped scores of BERT-large's 16 heads."""
    old, new = (
        train_job("google-bert/bert-large-uncased", engine=engine(version), precision="fp32", attention="eager")
        for version in ("transformers@4.18", "transformers")
    )
    pairs = [saved_of(job.model.blocks[0], convention(job), None).scores_per_pair for job in (old, new)]
    assert pairs == [(4 + 4 + 1 + 4) * 16, (4 + 1 + 4) * 16]
