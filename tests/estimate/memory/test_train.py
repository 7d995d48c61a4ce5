"""Training peaks: state bytes, phases, sharding, and published totals."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.estimate.memory import train_memory, usable_bytes
from planner.estimate.memory.states import adapter_params, state_bytes
from planner.estimate.memory.train_states import states_of
from planner.estimate.types import PARTS, LoraJob
from planner.units import GIB, MIB
from tests.estimate.jobs import catalog, engine, hardware, lora_job, one, train_job, train_ways, whole

PARAMS = 6_738_415_616


@pytest.mark.parametrize(
    ("name", "precision", "total"),
    [
        ("transformers", "fp32", 16),
        ("transformers", "bf16-mixed", 16),
        ("transformers", "bf16", 8),
        ("megatron", "bf16-mixed", 18),
        ("torchtitan", "bf16-mixed", 16),
    ],
)
def test_adamw_states_in_bytes_a_parameter(name: str, precision: str, total: float) -> None:
    job = train_job("llama-2-7b", engine=engine(name), precision=precision)
    assert state_bytes(job).total == total


def test_the_foreach_step_of_llama_2_7b_in_bf16_peaks_at_37_65_gib_of_optimizer_memory() -> None:
    memory = train_memory(train_job("llama-2-7b", sequence_tokens=128), train_ways(), hardware())
    assert memory.phase[0] == "optimizer"
    assert memory.parts["optimizer"][0] / GIB == pytest.approx(37.65, abs=0.01)


def test_static_bytes_are_weights_gradients_and_optimizer_after_a_step() -> None:
    memory = train_memory(train_job("llama-2-7b"), train_ways(), hardware())
    assert memory.static_bytes[0] == 8 * PARAMS


def test_rank_64_over_rank_32_costs_0_137_gib_of_states() -> None:
    """9.175 M more parameters of 16 bytes each (measured difference of two LoRA runs)."""
    job = {r: LoraJob(rank=r, targets=("q_proj", "k_proj", "v_proj"), bits=32.0) for r in (32, 64)}
    model = catalog().models.get("Qwen/Qwen1.5-7B")
    more = adapter_params(model, job[64]) - adapter_params(model, job[32])
    assert more == 32 * 32 * 3 * (4096 + 4096)


def test_the_loss_of_a_large_vocabulary_is_12_bytes_a_logit() -> None:
    """Llama-3 at 8,192 tokens: 12.6 GB."""
    lora = LoraJob(rank=8, targets=("q_proj",), bits=16.0)
    job = lora_job("meta-llama/Llama-3.1-8B", lora, sequence_tokens=8192, checkpointing="full")
    memory = train_memory(job, train_ways(), hardware())
    assert memory.phase[0] == "loss"
    assert memory.parts["logits"][0] == pytest.approx(12.6e9, rel=0.01)


def test_zero_3_deals_all_states_over_the_data_parallel_ranks() -> None:
    job = train_job("llama-2-7b", sharding="zero3", precision="bf16-mixed")
    memory = train_memory(job, train_ways(data_parallel=whole(8)), hardware())
    assert memory.static_bytes[0] == pytest.approx(16 * PARAMS / 8)


def test_zero_1_keeps_weights_and_gradients_whole() -> None:
    job = train_job("llama-2-7b", sharding="zero1", precision="bf16-mixed", engine=engine("megatron"))
    memory = train_memory(job, train_ways(data_parallel=whole(8)), hardware())
    workspaces = 2 * 32 * MIB + 4 * MIB  # cuBLAS on two streams, Transformer Engine; Megatron's report counts them
    assert memory.static_bytes[0] - workspaces == pytest.approx((6 + 12 / 8) * PARAMS)


def test_optimizer_offload_moves_its_states_to_the_host() -> None:
    job = train_job("llama-2-7b", precision="bf16-mixed")
    here = train_memory(job, train_ways(), hardware())
    away = train_memory(job, train_ways(optimizer_cpu=one(1.0)), hardware())
    assert away.host_bytes[0] == pytest.approx(8 * PARAMS)
    assert here.static_bytes[0] - away.static_bytes[0] == pytest.approx(8 * PARAMS)


def test_full_checkpointing_keeps_one_boundary_a_layer_until_the_loss() -> None:
    job = train_job(
        "meta-llama/Llama-3.1-8B", checkpointing="full", sequence_tokens=8192, global_batch=4, optimizer="sgd"
    )
    memory = train_memory(job, train_ways(), hardware())
    assert memory.phase[0] == "loss"
    final_norm_and_head = 8192 * 4096 * (4 + 2 + 2)  # 32-bit copy, normed tensor, the head's input
    assert memory.parts["activations"][0] == 8192 * 32 * 2 * 4096 + final_norm_and_head


def test_the_first_pipeline_stage_holds_a_micro_batch_for_every_stage() -> None:
    def activations(stages: int) -> float:
        job = train_job("llama-2-7b", global_batch=64, engine=engine("megatron"), precision="bf16-mixed")
        return float(train_memory(job, train_ways(pipeline_parallel=whole(stages)), hardware()).parts["activations"][0])

    assert activations(4) == pytest.approx(activations(1), rel=0.02)


def test_parts_add_up_to_what_the_driver_shows() -> None:
    memory = train_memory(train_job("gpt2-xl", precision="bf16-mixed"), train_ways(8), hardware())
    assert sum(float(memory.parts[p][0]) for p in PARTS) == pytest.approx(float(memory.device_peak_bytes[0]))


def test_all_linear_32_bit_adapters_need_more_activations_than_full_fine_tuning() -> None:
    lora = LoraJob(
        rank=16,
        targets=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        bits=32.0,
    )
    adapters = train_memory(lora_job("llama-2-7b", lora), train_ways(4), hardware())
    full = train_memory(train_job("llama-2-7b", optimizer="sgd"), train_ways(4), hardware())
    assert adapters.parts["activations"][0] > full.parts["activations"][0]


@settings(max_examples=40, deadline=None)
@given(
    micro=st.sampled_from([1, 2, 4, 8]),
    dp=st.sampled_from([1, 2, 8, 64]),
    level=st.sampled_from(["none", "selective", "full"]),
    sharding=st.sampled_from(["none", "zero1", "zero2", "zero3"]),
)
def test_bigger_micro_batches_never_need_less_and_finer_sharding_never_holds_more_states(
    micro: int, dp: int, level: str, sharding: str
) -> None:
    job = train_job("llama-2-7b", checkpointing=level, sharding=sharding, global_batch=4096, precision="bf16-mixed")
    ways = train_ways(micro, data_parallel=whole(dp))
    memory = train_memory(job, ways, hardware())
    bigger = train_memory(job, train_ways(2 * micro, data_parallel=whole(dp)), hardware())
    whole_states = train_memory(train_job("llama-2-7b", precision="bf16-mixed"), train_ways(), hardware())
    assert bigger.allocated_peak_bytes[0] >= memory.allocated_peak_bytes[0]
    assert memory.static_bytes[0] <= whole_states.static_bytes[0] * (1 + 1e-9)


def test_a_run_whose_states_alone_are_too_much_has_no_micro_batch() -> None:
    memory = train_memory(train_job("meta-llama/Llama-3.1-70B"), train_ways(), hardware())
    assert memory.max_batch[0] == 0
    assert memory.device_peak_bytes[0] > usable_bytes(hardware())[0]


def test_megatron_fsdp_keeps_the_token_table_gathered_after_a_step() -> None:
    """Llama-3.1-8B over 8 ranks: 128,256 x 4,096 values in 16 bit, its head as large, and the final norm."""
    states = 18 * 8_030_261_248 / 8
    job = train_job("meta-llama/Llama-3.1-8B", engine=engine("megatron"), precision="bf16-mixed", sharding="zero3")
    memory = train_memory(job, train_ways(data_parallel=whole(8)), hardware())
    workspaces = 64 * MIB + 4 * MIB
    kept = float(memory.static_bytes[0]) - states - workspaces
    assert kept == pytest.approx(2 * (2 * 128_256 * 4096 + 4096), rel=1e-6)


def test_a_trained_token_table_and_head_are_eight_bytes_a_value_beside_the_frozen_ones() -> None:
    """PEFT's modules_to_save: a copy, its gradient and two moments in 16 bit; in 32 bit over a bitsandbytes base."""
    plain = LoraJob(rank=8, targets=("q_proj",), bits=32.0)
    both, head = (replace(plain, saved=names) for names in (("embed_tokens", "lm_head"), ("lm_head",)))

    def states(lora: LoraJob, base: str = "bf16") -> float:
        method = "lora" if base == "bf16" else "qlora"
        job = train_job("llama-2-7b", method=method, lora=lora, base=catalog().precision(base))
        found = states_of(job, train_ways(), whole(1))
        return float((found.adapters + found.gradients + found.optimizer)[0])

    table = 32_000 * 4096
    assert states(both) - states(plain) == 8 * 2 * table
    assert states(head) - states(plain) == 8 * table
    assert states(head, "nf4") - states(plain, "nf4") == 16 * table


@pytest.mark.parametrize(("model", "whole_tables"), [("llama-2-7b", 1), ("meta-llama/Llama-3.2-1B", 0)])
def test_the_gradient_of_a_split_table_is_whole_unless_the_head_is_the_same_matrix(
    model: str, whole_tables: int
) -> None:
    """torch's DTensor, as simulated: a table split by rows gets its whole gradient on every rank."""
    job = train_job(model, precision="bf16")
    table = next(t.num_params for t in job.model.outer if t.role == "embedding")
    one, split = (states_of(job, train_ways(tensor_parallel=whole(tp)), whole(1)) for tp in (1, 2))
    norms = sum(t.num_params * b.num_layers for b in job.model.blocks for t in b.tensors if t.role == "norm")
    norms += sum(t.num_params for t in job.model.outer if t.role == "norm")
    expected = one.gradients[0] / 2 + norms + whole_tables * table
    assert split.gradients[0] == expected
