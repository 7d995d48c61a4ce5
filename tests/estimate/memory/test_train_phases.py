"""The phases of a training step: what each holds, and which binds."""

from __future__ import annotations

import pytest

from planner.estimate.memory import train_memory
from planner.estimate.memory.convention import convention
from planner.estimate.memory.saved import saved_of
from planner.estimate.memory.states import adapter_params
from planner.estimate.memory.train_activations import in_flight, layer_bytes
from planner.estimate.memory.train_buffers import head_cast_bytes, pipeline_buffer_bytes, sharding_buffers
from planner.estimate.memory.train_loss import loss_bytes
from planner.estimate.memory.train_states import flat_gradient_bytes, states_of
from planner.estimate.types import LoraJob, TrainJob
from tests.estimate.jobs import catalog, engine, hardware, lora_job, one, train_job, train_ways, whole

LLAMA_7B = "llama-2-7b"
QV = LoraJob(rank=8, targets=("q_proj", "v_proj"), bits=16.0, dropout=0.05)


def kept(job: TrainJob) -> float:
    saved = saved_of(job.model.blocks[0], convention(job), job.lora)
    return saved.outer_per_token + saved.inner_per_token


def test_litgpt_adapters_of_a_llama_block_keep_27_h_and_6_inner_tensors() -> None:
    """Two 32-bit norm copies (8h); the whole q, k, v projection and rotated q and k (10h); the output (2h); one dropped
    input with its mask (3h); q and v outputs of the adapters for the index copy (4h); gate, its activation and up (6I);
    besides the log-sum-exp, two norm statistics and the two rank-sized tensors. A published run keeps as much: batch 2
    over batch 1 of Llama-2-7B at 1,304 tokens is 7.77 GB, of which 32 layers of this block are 7.38.
    """
    job = lora_job(LLAMA_7B, QV, engine=engine("litgpt"))
    small = 4 * 32 + 2 * 4 + 2 * 2 * 8
    assert kept(job) == 27 * 4096 + 6 * 11_008 + small
    assert 32 * 1304 * kept(job) == pytest.approx(7.38e9, rel=0.001)


def test_litgpt_holds_8_bytes_of_every_logit_and_4_of_a_chunk_of_128() -> None:
    job = lora_job(LLAMA_7B, QV, engine=engine("litgpt"), sequence_tokens=1024)
    assert loss_bytes(job, train_ways())[0] == 1024 * 32_000 * 8 + 128 * 32_000 * 4


def test_a_flat_fsdp_unit_has_a_gradient_of_its_frozen_parameters() -> None:
    """LitGPT's Llama-2-13B on four GPUs needs 35.6 GB, more than its 26 GB of 16-bit weights."""
    job = lora_job("llama-2-13b", QV, engine=engine("litgpt"), sharding="zero3")
    ways = train_ways(data_parallel=whole(4))
    assert flat_gradient_bytes(job, ways)[0] == 2 * 13_015_864_320
    alone = lora_job("llama-2-13b", QV, engine=engine("torchtitan"), sharding="zero3")
    assert train_memory(alone, ways, hardware()).static_bytes[0] < 0.3 * 2 * 13_015_864_320


def test_frozen_32_bit_weights_are_cast_at_every_use_of_the_head() -> None:
    """Autocast caches leaves that require gradients alone: nine chunks of 128 for 1,034 tokens are nine copies."""
    job = lora_job(
        LLAMA_7B,
        QV,
        engine=engine("litgpt"),
        precision="bf16-mixed",
        base=catalog().precision("fp32"),
        sequence_tokens=1034,
    )
    assert head_cast_bytes(job, train_ways())[0] == 9 * 2 * 32_000 * 4096


def test_dropout_replaces_the_cast_input_of_an_adapter_by_a_dropped_one_and_its_mask() -> None:
    """Meta tensors of PEFT on Llama-2-7B: six 32-bit dropped copies of h with masks, one of I, no other cast."""
    every = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    plain, dropped = (
        kept(lora_job(LLAMA_7B, LoraJob(rank=16, targets=every, bits=32.0, dropout=p))) for p in (0.0, 0.05)
    )
    assert dropped - plain == 6 * 4096 + 11_008


def test_dora_keeps_the_outputs_of_the_base_and_of_the_adapter() -> None:
    """Meta tensors of PEFT: 2 bytes of the frozen product and 4 of the adapter's for every output of q and v."""
    qv = ("q_proj", "v_proj")
    plain, dora = (kept(lora_job(LLAMA_7B, LoraJob(rank=16, targets=qv, bits=32.0, dora=on))) for on in (False, True))
    assert dora - plain == 2 * (2 + 4) * 4096


def test_autocast_halves_what_32_bit_adapters_keep() -> None:
    every = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    lora = LoraJob(rank=16, targets=every, bits=32.0)
    wide, narrow = lora_job(LLAMA_7B, lora), lora_job(LLAMA_7B, lora, precision="bf16-mixed")
    assert kept(wide) - kept(narrow) == 2 * (6 * 4096 + 11_008) + 2 * 7 * 16


def test_python_gelu_keeps_five_inner_tensors_and_a_kernel_two() -> None:
    job = {python: train_job("openai-community/gpt2", engine=engine(python_gelu=python)) for python in (True, False)}
    assert kept(job[True]) - kept(job[False]) == 3 * 2 * 3072


def test_grouped_heads_in_32_bit_take_the_composite_sdpa_kernel() -> None:
    """It keeps the softmax of every head; 16-bit runs have a flash kernel."""
    wide = train_job("meta-llama/Llama-3.1-8B", precision="fp32", base=catalog().precision("fp32"))
    narrow = train_job("meta-llama/Llama-3.1-8B")
    pairs = [saved_of(j.model.blocks[0], convention(j), None).scores_per_pair for j in (wide, narrow)]
    assert pairs == [4 * 32, 0]


def test_a_tied_embedding_gets_two_gradients_and_their_sum_at_the_end_of_backward() -> None:
    """Meta tensors of Llama-3.2-1B: two more gradients of the table stand when they are added up."""
    job = train_job("meta-llama/Llama-3.2-1B", sequence_tokens=128, engine=engine(optimizer_step="fused"))
    memory = train_memory(job, train_ways(), hardware())
    table = 2 * 128_256 * 2048
    assert memory.phase[0] == "backward"
    assert memory.parts["gradients"][0] - 2 * job.model.params_total == 2 * table


def test_a_checkpointed_autocast_step_peaks_where_all_weight_copies_stand() -> None:
    """Gradients stand throughout where two micro-batches accumulate, so the copies decide."""
    job = train_job(LLAMA_7B, precision="bf16-mixed", checkpointing="full", optimizer="sgd", global_batch=2)
    memory = train_memory(job, train_ways(), hardware())
    assert memory.phase[0] == "forward"
    copies = 2 * (6_738_415_616 - 32_000 * 4096 - 65 * 4096)
    assert memory.parts["activations"][0] > copies


@pytest.mark.parametrize(("optimizer", "step", "gigabytes"), [("adamw", "fused", 0.0), ("adamw", "forloop", 0.524)])
def test_the_optimizer_step_of_one_tensor_at_a_time_copies_the_largest(
    optimizer: str, step: str, gigabytes: float
) -> None:
    """Llama-2-7B in 16 bit: root and quotient of the 32,000 x 4,096 table."""
    job = train_job(LLAMA_7B, optimizer=optimizer, sequence_tokens=16, engine=engine(optimizer_step=step))
    states = train_memory(job, train_ways(), hardware())
    held = float(states.parts["optimizer"][0]) - 4 * job.model.params_total
    assert held == pytest.approx(gigabytes * 1e9, abs=1e6)


def test_interleaved_stages_hold_more_micro_batches_than_one_a_stage() -> None:
    """Four stages of eight chunks: 4 x (1 + 3 / 32); GPipe holds all sixteen."""
    ways = train_ways(pipeline_parallel=whole(4))

    def held(**options: str | int) -> float:
        job = train_job(LLAMA_7B, global_batch=16, engine=engine("megatron", **options))
        return float(in_flight(job, ways)[0])

    assert held() == 4
    assert held(virtual_pipeline=8) == 4.375
    assert held(schedule="gpipe") == 16


def test_megatron_pipelines_keep_ten_boundaries() -> None:
    """gpt3 7b at 8,192 tokens: 705 MB beyond states and workspaces on A100 and GB200 alike."""
    job = train_job(LLAMA_7B, global_batch=8, sequence_tokens=8192, engine=engine("megatron"))
    assert pipeline_buffer_bytes(job, train_ways(pipeline_parallel=whole(4)))[0] == 10 * 8192 * 4096 * 2
    assert pipeline_buffer_bytes(job, train_ways())[0] == 0


def test_varying_lengths_leave_blocks_in_the_cache_but_never_more_than_is_free() -> None:
    lora = LoraJob(rank=8, targets=("q_proj", "k_proj", "v_proj"), bits=32.0)

    def reserve(tokens: int, **options: float) -> float:
        job = lora_job("Qwen/Qwen1.5-7B", lora, checkpointing="full", sequence_tokens=tokens, engine=engine(**options))
        memory = train_memory(job, train_ways(), hardware())
        return float(memory.reserved_peak_bytes[0] - memory.allocated_peak_bytes[0])

    logits = 12 * 2048 * 151_936
    at_equal_lengths = 0.2
    equal = reserve(2048, length_variation=0)
    assert equal == reserve(2048, length_variation=0, layer_variation=0)
    of_the_loss = reserve(2048, layer_variation=0) - equal
    assert of_the_loss == pytest.approx((1.8 - at_equal_lengths) * logits)
    assert of_the_loss < reserve(2048) - equal < 2 * of_the_loss
    job = lora_job("Qwen/Qwen1.5-7B", lora, checkpointing="full", sequence_tokens=16_384)
    assert train_memory(job, train_ways(), hardware()).device_peak_bytes[0] <= 80 * 2**30


def test_bitsandbytes_bases_are_cast_to_32_bit_and_gptq_ones_are_not() -> None:
    lora = LoraJob(rank=8, targets=("q_proj",), bits=32.0)
    cast, kept_as_is = (
        train_job("Qwen/Qwen1.5-7B", method="qlora", lora=lora, base=catalog().precision(p))
        for p in ("nf4", "int4-gptq")
    )
    assert convention(cast).residual == 4
    assert convention(kept_as_is).residual == 2


def test_the_trainer_keeps_32_bit_states_of_embeddings_under_8_bit_adam() -> None:
    """Two states of 1 + 4 / 256 bytes a value, eight bytes for the 32,000 x 4,096 table of Llama-2-7B."""
    job = train_job(LLAMA_7B, optimizer="adamw-8bit", precision="bf16-mixed")
    table, rest = 32_000 * 4096, 6_738_415_616 - 32_000 * 4096
    states = train_memory(job, train_ways(), hardware()).static_bytes[0] - 8 * 6_738_415_616
    assert states == pytest.approx(rest * 2 * (1 + 4 / 256) + 8 * table)


def test_late_optimizer_states_leave_holes_in_the_segments_of_activations() -> None:
    """15 % of two 32-bit moments, beside 3 % of what moves, one segment and a fifth of the logits."""
    early, late = (
        train_memory(
            train_job("openai-community/gpt2", precision="fp32", engine=engine(late_states=on, length_variation=0)),
            train_ways(),
            hardware(),
        )
        for on in (False, True)
    )
    assert late.reserved_peak_bytes[0] - early.reserved_peak_bytes[0] == pytest.approx(0.15 * 8 * 124_439_808)


def test_adapters_on_a_fused_projection_share_one_branch() -> None:
    """`query_key_value` of GPT-NeoX: rank x (h + 3h) parameters, and one cast input instead of three."""
    qkv = LoraJob(rank=16, targets=("q_proj", "k_proj", "v_proj"), bits=32.0)
    job = lora_job("EleutherAI/pythia-1.4b", qkv)
    assert adapter_params(job.model, qkv) == 24 * 16 * (2048 + 3 * 2048)
    bare = lora_job("EleutherAI/pythia-1.4b", LoraJob(rank=16, targets=("none",), bits=32.0))
    assert kept(job) - kept(bare) == 4 * 2048 + 4 * 16


def test_t5_drops_inside_its_mlp() -> None:
    """Meta tensors of T5-base in 32 bit: a dropped copy and its mask of every inner value, beside relu's result."""
    with_, without = (
        train_job("google-t5/t5-base", precision="fp32", engine=engine(inner_dropout_families=families))
        for families in ("T5", "")
    )
    assert kept(with_) - kept(without) == 5 * 3072


def test_a_tower_without_text_trains_on_its_patches() -> None:
    """ViT-B/16 in 32 bit: norms 2 x 4h + 4h inputs twice, q, k, v and the output 16h, the MLP 2 x 4 x 4h."""
    job = train_job("google/vit-base-patch16-224", precision="fp32", sequence_tokens=197)
    memory = train_memory(job, train_ways(64), hardware())
    assert memory.parts["activations"][0] > 64 * 197 * 12 * (8 + 8 + 16 + 32) * 768


def test_hybrid_sharding_deals_states_over_a_node_only() -> None:
    """Sixteen ranks in groups of eight: each GPU holds an eighth of 16 bytes a parameter."""
    job = train_job(LLAMA_7B, precision="bf16-mixed", sharding="zero3", engine=engine(hybrid_shard_gpus=8))
    memory = train_memory(job, train_ways(data_parallel=whole(16)), hardware())
    assert memory.static_bytes[0] == pytest.approx(16 * 6_738_415_616 / 8)


def test_the_busiest_expert_rank_keeps_a_fifth_more_of_what_is_routed() -> None:
    job = train_job("mistralai/Mixtral-8x7B-v0.1", engine=engine("megatron"), precision="bf16-mixed")
    block = job.model.blocks[0]
    saved = saved_of(block, convention(job), None)
    even, spread = (layer_bytes(saved, job, train_ways(expert_parallel=whole(ep)))[0] for ep in (1, 8))
    routed = 2 * (2 * 2 * 4096 + 3 * 2 * 14_336)  # top 2: input and output, gate, up and their product in 16 bit
    assert saved.routed_per_token == routed
    assert spread - even == pytest.approx(0.2 * 2048 * routed)


def test_offloaded_activations_wait_in_the_host_memory_of_the_node() -> None:
    """32 layer inputs of 2,048 x 4,096 values in 16 bit."""
    job = train_job(LLAMA_7B, checkpointing="full", engine=engine(activation_offloading=True))
    assert train_memory(job, train_ways(), hardware()).host_bytes[0] == 32 * 2048 * 4096 * 2


def test_deepspeed_pins_32_bit_gradients_beside_offloaded_states() -> None:
    """Masters and two moments, 12 bytes, and 4 of gradients a parameter (ZeRO-Offload)."""
    job = train_job(LLAMA_7B, precision="bf16-mixed", sharding="zero2", engine=engine("deepspeed"))
    memory = train_memory(job, train_ways(optimizer_cpu=one(1.0)), hardware())
    assert memory.host_bytes[0] == pytest.approx(16 * 6_738_415_616)


def test_a_bitsandbytes_base_gives_its_mlp_32_bit_values_under_autocast() -> None:
    """Meta tensors of QLoRA on Llama-3.2-1B: gate, its activation and up of 8,192 values in 32 bit."""
    lora = LoraJob(rank=16, targets=("q_proj",), bits=32.0)
    narrow, wide = (
        train_job(
            "meta-llama/Llama-3.2-1B", method="qlora", precision="bf16-mixed", lora=lora, base=catalog().precision(p)
        )
        for p in ("int4-gptq", "nf4")
    )
    assert kept(wide) - kept(narrow) == 3 * 2 * 8192


def test_fsdp_holds_the_root_and_one_unit_at_the_loss_and_prefetches_and_reduces_in_backward() -> None:
    """Torch's FSDP2 on meta tensors, Llama-3.2-1B in 16 bit: 0.60 GiB unsharded at the loss (table and one layer)."""
    job = train_job("meta-llama/Llama-3.2-1B", sharding="zero3")
    ways = train_ways(data_parallel=whole(8))
    loss, backward = (float(sharding_buffers(job, ways, one(0), moment=m)[0]) for m in ("loss", "backward"))
    layer, table = 2 * 60_821_504, 2 * 128_256 * 2048
    assert loss == pytest.approx(table + layer)
    assert backward == pytest.approx(table + 3 * layer)


def test_an_optimizer_that_steps_within_backward_holds_the_gradient_of_one_tensor() -> None:
    def gradients(**options: str) -> float:
        job = train_job(LLAMA_7B, checkpointing="full", precision="bf16", engine=engine("torchtune", **options))
        return float(states_of(job, train_ways(), whole(1)).gradients[0])

    assert gradients(optimizer_step="in-backward") == 2 * 32_000 * 4096  # the token table
    assert gradients(optimizer_step="fused") == 2 * 6_738_415_616
