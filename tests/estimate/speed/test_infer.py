"""Laws of inference speed that hold for any parameters that make sense."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.catalog.hosts import default_host
from planner.estimate.hardware import hardware, unsupported
from planner.estimate.memory.fixed import cache_per_sequence
from planner.estimate.memory.kv_cache import cache_shape
from planner.estimate.speed import infer_speed
from planner.estimate.speed.layer import num_halves
from planner.estimate.types import Hardware, InferJob, InferSpeed
from planner.estimate.work import forward_work, layer_products
from tests.estimate.jobs import catalog, engine, infer_job, infer_ways, one, whole
from tests.estimate.speed.machines import AMPLE_SLOTS, figure, machine, speed

LLAMA = "llama-3.1-8b"
batches = st.integers(1, 512)
few = settings(max_examples=25, deadline=None)


def job(name: str = "vllm", model: str = LLAMA, precision: str = "bf16", **changes: object) -> InferJob:
    return infer_job(model, engine=engine(name), weights=catalog().precision(precision), **changes)


def weight_bytes(of: InferJob) -> float:
    return sum(
        b.num_layers * p.weights * p.bytes_per_weight
        for b in of.model.stack("decoder")
        for p in layer_products(b, of.weights)
    )


@few
@given(batches, st.sampled_from(["vllm", "sglang", "trtllm", "transformers", "llamacpp", "exllama"]))
def test_a_larger_batch_never_makes_a_token_come_sooner_nor_the_rate_smaller(batch: int, name: str) -> None:
    small, large = (speed(job(name), "h100-sxm-80gb", batch=b) for b in (batch, 2 * batch))
    assert figure(large, "tpot_s") >= figure(small, "tpot_s") * (1 - 1e-9)
    assert figure(large, "output_tokens_per_second") >= figure(small, "output_tokens_per_second") * (1 - 1e-9)


@few
@given(st.sampled_from([1, 2, 4, 8]), st.sampled_from(["bf16", "fp8", "int4-awq"]))
def test_a_token_takes_at_least_as_long_as_reading_the_weights(tp: int, precision: str) -> None:
    of = job(precision=precision)
    found = speed(of, "h100-sxm-80gb", tensor_parallel=tp)
    assert figure(found, "tpot_s") >= weight_bytes(of) / (tp * 3.35e12)


@few
@given(st.integers(1, 32_000), st.sampled_from([1, 2, 4, 8]))
def test_a_prompt_takes_at_least_its_flop_at_the_peak(tokens: int, tp: int) -> None:
    of = job("trtllm", input_tokens=tokens)
    found = speed(of, "h100-sxm-80gb", tensor_parallel=tp)
    floor = forward_work(of.model, tokens, logits="last").total_flop / (tp * 989.5e12)
    assert figure(found, "prefill_s") >= floor
    assert figure(found, "ttft_s") >= figure(found, "prefill_s")


@few
@given(batches, st.integers(1, 300), st.integers(2, 2000), st.integers(1, 600))
def test_requests_in_flight_are_rate_times_residence(batch: int, prompt: int, answer: int, slots: int) -> None:
    found = speed(job(input_tokens=prompt, output_tokens=answer), "a100-sxm-80gb", batch=batch, slots=slots)
    residence = figure(found, "ttft_s") + (answer - 1) * figure(found, "tpot_s")
    assert batch * answer / residence == pytest.approx(figure(found, "output_tokens_per_second"), rel=1e-6)


def test_every_gpu_of_the_catalog_computes_within_its_peak_and_bandwidth() -> None:
    of = job(input_tokens=2048, output_tokens=256)
    hosts = [machine(of, g.id) for g in catalog().gpus.values() if unsupported(of, g, catalog()) is None]
    assert len(hosts) > 60
    for hw in hosts:
        for batch in (1, 64):
            found = infer_speed(of, infer_ways(batch), hw, kv_slots=one(AMPLE_SLOTS))
            assert 0 < found.mfu[0] <= 0.9
            assert weight_bytes(of) / found.step_s[0] <= 0.95 * hw.hbm_bytes_per_second[0]
            assert np.isfinite(found.ttft_s[0])


@few
@given(batches, st.sampled_from([1, 2, 4]))
def test_data_parallel_ranks_change_no_latency_at_equal_load(batch: int, ranks: int) -> None:
    alone, many = (
        speed(job(), "h100-sxm-80gb", batch=batch),
        speed(job(), "h100-sxm-80gb", batch=batch * ranks, data_parallel=ranks),
    )
    assert figure(many, "tpot_s") == pytest.approx(figure(alone, "tpot_s"))
    rate = "output_tokens_per_second"
    assert figure(many, rate) == pytest.approx(ranks * figure(alone, rate))


@pytest.mark.parametrize("gpu", ["l40s", "rtx-4090-24gb", "rtx-3090-24gb", "a100-pcie-80gb"])
@pytest.mark.parametrize("tp", [2, 4, 8])
def test_tensor_parallel_over_pcie_never_speeds_up_by_the_number_of_gpus(gpu: str, tp: int) -> None:
    for batch in (1, 64):
        whole_model, split = (speed(job(), gpu, batch=batch, tensor_parallel=n) for n in (1, tp))
        assert figure(whole_model, "tpot_s") / figure(split, "tpot_s") < tp


def test_tensor_parallel_across_nodes_pays_the_network() -> None:
    inside, across = (speed(job(), "h100-sxm-80gb", batch=64, tensor_parallel=n) for n in (8, 16))
    assert across.shares["communication"][0] > 2 * inside.shares["communication"][0]


@pytest.mark.parametrize("name", ["vllm", "transformers", "llamacpp"])
def test_pipeline_stages_never_make_one_sequence_faster(name: str) -> None:
    one_gpu, two = (speed(job(name), "h100-sxm-80gb", pipeline_parallel=n) for n in (1, 2))
    assert figure(two, "tpot_s") >= figure(one_gpu, "tpot_s")


def test_device_map_stages_wait_for_each_other_and_vllm_stages_do_not() -> None:
    def gain(name: str) -> float:
        single, two = (
            figure(speed(job(name), "h100-sxm-80gb", batch=128, pipeline_parallel=n), "output_tokens_per_second")
            for n in (1, 2)
        )
        return two / single

    assert gain("transformers") <= 1.0
    assert gain("vllm") > 1.3


def test_one_sequence_reads_active_experts_and_a_large_batch_reads_all() -> None:
    of = job(model="Qwen/Qwen3-30B-A3B", input_tokens=64, output_tokens=64)
    stored = 2 * of.model.params_total
    single, many = (speed(of, "h200-sxm-141gb", batch=b) for b in (1, 512))
    assert figure(single, "step_s") < 0.6 * stored / 4.8e12
    assert figure(many, "step_s") > 0.9 * stored / 4.8e12


@few
@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from(["vllm", "transformers", "llamacpp"]))
def test_more_weights_in_host_memory_never_speed_anything_up(a: float, b: float, name: str) -> None:
    less, more = sorted((a, b))
    hw = machine(job(name), "rtx-4090-24gb")
    ways = infer_ways(1, weights_cpu=np.array([less, more]))
    found = infer_speed(job(name), ways, hw, kv_slots=one(AMPLE_SLOTS))
    assert found.tpot_s[1] >= found.tpot_s[0]
    assert found.ttft_s[1] >= found.ttft_s[0]


def test_streamed_weights_come_no_faster_than_the_host_link() -> None:
    of = job("transformers")
    hw = machine(of, "rtx-4090-24gb")
    found = infer_speed(of, infer_ways(1, weights_cpu=one(1.0)), hw, kv_slots=one(AMPLE_SLOTS))
    assert found.tpot_s[0] >= weight_bytes(of) / hw.pcie_bytes_per_second[0]
    assert found.bound_by[0] == "host_link"


def test_layers_on_the_cpu_run_no_faster_than_its_memory() -> None:
    of = job("llamacpp", precision="gguf-q4_k_m")
    hw = machine(of, "rtx-4090-24gb")
    found = infer_speed(of, infer_ways(1, weights_cpu=one(0.5)), hw, kv_slots=one(AMPLE_SLOTS))
    assert found.tpot_s[0] >= 0.5 * weight_bytes(of) / hw.ram_bytes_per_second[0]


def test_disks_are_slower_than_host_memory() -> None:
    of = job("transformers")
    hw = machine(of, "h100-sxm-80gb")
    memory, disk = (infer_ways(1, **{place: one(0.5)}) for place in ("weights_cpu", "weights_disk"))
    slots = one(AMPLE_SLOTS)
    tpot = [infer_speed(of, ways, hw, kv_slots=slots).tpot_s[0] for ways in (memory, disk)]
    assert tpot[1] > tpot[0]


@pytest.mark.parametrize("precision", ["fp8", "int8-w8a8", "int4-awq"])
def test_fewer_bits_decode_one_sequence_of_a_large_model_faster(precision: str) -> None:
    sixteen, fewer = (speed(job(model="llama-3.1-70b", precision=p), "h100-sxm-80gb") for p in ("bf16", precision))
    assert figure(fewer, "tpot_s") < figure(sixteen, "tpot_s")


def test_weight_only_fp8_slows_a_compute_bound_prompt_down() -> None:
    """FP8 on Ampere saves memory and no FLOP: GPUStack measured 1,887 tok/s in bf16 and 1,605 in FP8."""
    sixteen, eight = (speed(job(precision=p, input_tokens=8000), "a100-sxm-80gb") for p in ("bf16", "fp8"))
    assert figure(eight, "prefill_s") > figure(sixteen, "prefill_s")


def test_bitsandbytes_pays_a_pass_to_expand_what_awq_expands_in_the_product() -> None:
    awq, nf4 = (speed(job("transformers", precision=p), "a100-sxm-80gb", batch=8) for p in ("int4-awq", "nf4"))
    assert figure(nf4, "step_s") > 1.5 * figure(awq, "step_s")


def test_beyond_the_cache_requests_queue_instead_of_running() -> None:
    found = speed(job(), "h100-sxm-80gb", batch=100, slots=20)
    assert figure(found, "batch_running") == 20
    assert found.bound_by[0] == "kv_space"
    fits = speed(job(), "h100-sxm-80gb", batch=20, slots=20)
    assert figure(found, "output_tokens_per_second") == pytest.approx(figure(fits, "output_tokens_per_second"))
    assert figure(found, "ttft_s") > figure(fits, "ttft_s") + 10 * figure(fits, "step_s")


def test_the_engine_cap_holds_however_much_memory_there_is() -> None:
    capped = replace(job(), engine=engine("vllm", max_num_seqs=16, max_num_seqs_large_gpu=None))
    assert figure(speed(capped, "h100-sxm-80gb", batch=100), "batch_running") == 16


def test_launching_kernels_one_by_one_costs_time_that_graphs_save() -> None:
    eager = replace(job(), engine=engine("vllm", enforce_eager=True))
    assert figure(speed(eager, "h100-sxm-80gb"), "tpot_s") > 1.3 * figure(speed(job(), "h100-sxm-80gb"), "tpot_s")
    compiled = replace(job("transformers"), engine=engine("transformers", compile=True, kv_layout="static"))
    slow = figure(speed(job("transformers"), "h100-sxm-80gb"), "tpot_s")
    assert figure(speed(compiled, "h100-sxm-80gb"), "tpot_s") < 0.5 * slow


def test_unfused_attention_grows_with_the_square_of_the_prompt() -> None:
    def extra(tokens: int) -> float:
        fused, eager = (
            figure(speed(job("transformers", input_tokens=tokens, attention=a), "a100-sxm-80gb"), "prefill_s")
            for a in ("flash", "eager")
        )
        return eager - fused

    assert extra(8192) == pytest.approx(4 * extra(4096), rel=0.05)


def test_an_embedding_model_answers_with_its_forward_and_makes_no_tokens() -> None:
    found = speed(job("transformers", model="BAAI/bge-m3", output_tokens=0), "l4", batch=16)
    assert np.isnan(found.tpot_s[0])
    assert figure(found, "output_tokens_per_second") == 0
    assert figure(found, "ttft_s") == pytest.approx(16 * 1024 / figure(found, "tokens_per_second"), rel=1e-6)


def test_an_image_makes_the_vision_tower_work() -> None:
    of = job(model="Qwen/Qwen2.5-VL-7B-Instruct", input_tokens=100)
    seen = replace(of, input_tokens=100 + 1369, image_tokens=1369, num_images=1)
    text_only = replace(of, input_tokens=1469)
    assert figure(speed(seen, "a100-sxm-80gb"), "prefill_s") > 1.1 * figure(
        speed(text_only, "a100-sxm-80gb"), "prefill_s"
    )


def test_denoising_steps_cost_their_number() -> None:
    of = job("transformers", model="black-forest-labs/FLUX.1-dev", output_tokens=0)
    ten, twenty = (speed(replace(of, steps=n, image_width=1024, image_height=1024), "h100-sxm-80gb") for n in (10, 20))
    assert figure(twenty, "ttft_s") == pytest.approx(2 * figure(ten, "ttft_s"), rel=0.15)


def test_mixed_traffic_lies_between_its_parts() -> None:
    short, long = (200, 100), (8000, 500)
    mixed = replace(job(), traffic=((*short, 0.5), (*long, 0.5)), input_tokens=4100, output_tokens=300)
    rates = [
        figure(speed(of, "h100-sxm-80gb", batch=16), "requests_per_second")
        for of in (job(input_tokens=8000, output_tokens=500), mixed, job(input_tokens=200, output_tokens=100))
    ]
    assert rates == sorted(rates)


def test_many_ways_at_once_give_what_each_gives_alone() -> None:
    of = job("vllm", model="Qwen/Qwen3-30B-A3B", precision="fp8")
    gpus = ["h100-sxm-80gb", "a100-sxm-80gb", "l40s"]
    machines = [machine(of, g, 8) for g in gpus]
    together = hardware(of, [default_host(catalog(), g, 8) for g in gpus], catalog())
    ways = replace(infer_ways(1, tensor_parallel=whole(1, 2, 4)), batch=np.array([1.0, 16.0, 64.0]))
    slots = np.array([100.0, 10.0, 1000.0])
    found = infer_speed(of, ways, together, kv_slots=slots)
    for i, hw in enumerate(machines):
        alone = infer_speed(of, ways.take(np.array([i])), hw, kv_slots=slots[[i]])
        for name in ("ttft_s", "tpot_s", "output_tokens_per_second", "mfu", "batch_running"):
            assert getattr(found, name)[i] == pytest.approx(getattr(alone, name)[0], rel=1e-9)
        assert found.bound_by[i] == alone.bound_by[0]


@few
@given(st.sampled_from([16, 32]), st.sampled_from(["bf16", "fp8"]))
def test_splitting_beyond_the_kv_heads_makes_no_room_for_more_of_the_cache(ranks: int, kv: str) -> None:
    """Llama-3.1-8B has eight KV heads: sixteen GPUs hold each of them twice."""
    of = job(kv_bits=16.0 if kv == "bf16" else 8.0)
    eight, more = (infer_ways(1, tensor_parallel=whole(tp)) for tp in (8, ranks))
    cache = cache_shape(of)
    assert cache_per_sequence(of, cache, more, 2048.0)[0] == cache_per_sequence(of, cache, eight, 2048.0)[0]


def test_halves_of_a_hybrid_model_cost_half_a_layer() -> None:
    """Nemotron-3-Nano alternates mixers and MLPs: 52 entries are 26 layers' worth of launches."""
    hybrid = catalog().models.get("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16")
    assert sum(b.num_layers * num_halves(b) for b in hybrid.stack("decoder")) == hybrid.num_layers == 52
    assert all(num_halves(b) == 2 for b in catalog().models.get(LLAMA).stack("decoder"))


def test_traffic_of_many_lengths_waits_less_than_traffic_in_step() -> None:
    """One mean, 200 tokens in and out: all alike, or answers of 20 and 380 tokens that soon fall out of step."""
    alike = job("trtllm", input_tokens=200, output_tokens=200)
    mixed = replace(alike, traffic=((200, 20, 0.5), (200, 380, 0.5)))
    together, apart = (speed(of, "h100-sxm-80gb", batch=100) for of in (alike, mixed))
    assert figure(apart, "ttft_s") < 0.7 * figure(together, "ttft_s")
    assert figure(apart, "output_tokens_per_second") == pytest.approx(
        figure(together, "output_tokens_per_second"), rel=0.05
    )


def with_experts_away(share: float, *, prompt: int = 128) -> tuple[InferJob, Hardware, InferSpeed]:
    """DeepSeek-V3 in four bits on one H100 whose host has eight channels of DDR5-4800, routed experts in its memory."""
    of = job("llamacpp", model="deepseek-ai/DeepSeek-V3", precision="gguf-q4_k_m", input_tokens=prompt)
    hw = replace(machine(of, "h100-pcie-80gb"), ram_bytes_per_second=one(307e9), node_gpus=whole(1))
    return of, hw, infer_speed(of, infer_ways(1, experts_cpu=one(share)), hw, kv_slots=one(AMPLE_SLOTS))


def test_experts_on_the_cpu_cost_reading_those_a_token_is_routed_to() -> None:
    """58 layers of 8 experts of 3 x 7168 x 2048 weights; measured with this split: 8.7 tokens/s on one socket
    (kvcache-ai/ktransformers, DeepSeek-V3 tutorial)."""
    of, hw, found = with_experts_away(1.0)
    stored = of.weights.bits / 8
    routed = 58 * 8 * 3 * 7168 * 2048 * stored
    assert found.tpot_s[0] >= routed / hw.ram_bytes_per_second[0]
    assert 1 / found.tpot_s[0] == pytest.approx(8.7, rel=0.3)
    assert found.bound_by[0] == "host_link"


@few
@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from([8, 2000]))
def test_more_experts_in_host_memory_never_speed_anything_up(a: float, b: float, prompt: int) -> None:
    less, more = (with_experts_away(share, prompt=prompt)[2] for share in sorted((a, b)))
    assert more.tpot_s[0] >= less.tpot_s[0] * (1 - 1e-9)
    assert more.ttft_s[0] >= less.ttft_s[0] * (1 - 1e-9)


@pytest.mark.parametrize(
    ("gpu", "precision", "tokens_per_second"),
    [
        ("rtx-4090-24gb", "bf16", 47.46),
        ("rtx-4090-24gb", "nf4", 57.08),
        ("rtx-4090-24gb", "int8", 22.26),
        ("h100-sxm-80gb", "bf16", 40.99),
        ("h100-sxm-80gb", "nf4", 24.34),
        ("h100-sxm-80gb", "int8", 12.24),
    ],
)
def test_one_sequence_in_bitsandbytes_waits_for_the_launches_of_its_host(
    gpu: str, precision: str, tokens_per_second: float
) -> None:
    """Llama 8B, 64 tokens in and out (bitsandbytes benchmarking/README.md, v0.45): four bits beat sixteen on a desktop
    and lose to them on a server, for a desktop's CPU launches kernels in half the time."""
    of = job("transformers", precision=precision, input_tokens=64, output_tokens=64)
    assert 1 / figure(speed(of, gpu), "tpot_s") == pytest.approx(tokens_per_second, rel=0.3)


def test_more_than_one_row_expands_four_bit_weights_first() -> None:
    of = job("transformers", precision="nf4")
    one_row, two_rows = (figure(speed(of, "rtx-4090-24gb", batch=n), "tpot_s") for n in (1, 2))
    assert two_rows > 1.5 * one_row
    in_loop = job("vllm", precision="int4-awq")
    one_row, two_rows = (figure(speed(in_loop, "rtx-4090-24gb", batch=n), "tpot_s") for n in (1, 2))
    assert two_rows < 1.1 * one_row


def test_a_card_without_tensor_cores_reads_its_memory_for_one_row() -> None:
    """Llama-2-7B Q4_0 at 56.8 tokens/s on P40: 0.6 of its bandwidth (ggml-org/llama.cpp pull 4766)."""
    of = job("llamacpp", model="meta-llama/Llama-2-7b-hf", precision="gguf-q4_0", input_tokens=1, output_tokens=128)
    assert 1 / figure(speed(of, "p40"), "tpot_s") == pytest.approx(56.8, rel=0.2)
