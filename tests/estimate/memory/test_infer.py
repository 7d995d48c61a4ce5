"""Inference peaks: published measurements, engines with a budget, offload, and the laws memory obeys."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.estimate.memory import infer_memory, usable_bytes
from planner.estimate.memory.growing import first_gpu_layers
from planner.estimate.types import PARTS
from planner.units import GIB, MIB
from tests.estimate.jobs import catalog, engine, hardware, infer_job, infer_ways, one, whole

MEASURED = "torch.cuda.max_memory_allocated, A100 80 GB, transformers 4.46, Qwen2.5 speed table (QwenLM/Qwen3 a912d23)"


@pytest.mark.parametrize(
    ("model", "tokens", "gib"),
    [
        ("Qwen/Qwen2.5-7B", 1, 14.38),
        ("Qwen/Qwen2.5-7B", 6144, 15.38),
        ("Qwen/Qwen2.5-7B", 14336, 16.91),
        ("Qwen/Qwen2.5-14B", 1, 28.08),
        ("Qwen/Qwen2.5-14B", 6144, 29.50),
        ("Qwen/Qwen2.5-14B", 14336, 31.95),
        ("Qwen/Qwen2.5-14B", 30720, 36.85),
    ],
)
def test_transformers_peaks_as_published(model: str, tokens: int, gib: float) -> None:
    job = infer_job(model, engine=engine("transformers@4.46.0"), input_tokens=tokens, output_tokens=2048)
    memory = infer_memory(job, infer_ways(), hardware())
    assert memory.allocated_peak_bytes[0] / GIB == pytest.approx(gib, rel=0.007), MEASURED


def test_parts_add_up_to_what_the_driver_shows() -> None:
    memory = infer_memory(infer_job("llama-2-7b"), infer_ways(4), hardware())
    assert sum(float(memory.parts[p][0]) for p in PARTS) == pytest.approx(float(memory.device_peak_bytes[0]))


def test_eager_attention_is_quadratic_in_the_length_and_flash_linear() -> None:
    def activations(kernel: str, tokens: int) -> float:
        job = infer_job("llama-2-7b", attention=kernel, input_tokens=tokens, output_tokens=1)
        return float(infer_memory(job, infer_ways(), hardware()).parts["activations"][0])

    assert activations("flash", 8192) == pytest.approx(2 * activations("flash", 4096))
    assert activations("eager", 8192) > 3.9 * activations("eager", 4096)
    assert activations("eager", 2048) == pytest.approx(2048 * 692_744, rel=1e-3), "model code run on meta tensors"


def test_a_budget_engine_turns_what_is_left_into_pages() -> None:
    """The budget less weights, profile run, context and workspace is the pool; 2 MiB a page of 16 tokens."""
    job = infer_job("meta-llama/Llama-3.1-8B", engine=engine("vllm@0.10.0", gpu_memory_utilization=0.9))
    hw = hardware()
    memory = infer_memory(job, infer_ways(), hw)
    spent = sum(float(memory.parts[p][0]) for p in ("weights", "activations", "workspace", "kv_cache"))
    assert spent <= 0.9 * float(usable_bytes(hw)[0])
    assert memory.kv_cache_tokens[0] * 131_072 == pytest.approx(float(memory.parts["kv_cache"][0]), rel=1e-3)
    assert memory.kv_cache_tokens[0] % 16 == 0


def test_a_model_that_leaves_no_room_for_one_sequence_does_not_fit_the_budget() -> None:
    job = infer_job("meta-llama/Llama-3.1-70B", engine=engine("vllm"))
    hw = hardware()
    memory = infer_memory(job, infer_ways(), hw)
    assert memory.max_batch[0] == 0
    assert memory.device_peak_bytes[0] > usable_bytes(hw)[0]


def test_headroom_shrinks_the_pool_and_never_the_weights() -> None:
    tight = infer_job("meta-llama/Llama-3.1-8B", engine=engine("vllm"), memory_headroom=0.3)
    loose = infer_job("meta-llama/Llama-3.1-8B", engine=engine("vllm"))
    hw = hardware()
    a, b = (infer_memory(job, infer_ways(), hw) for job in (tight, loose))
    assert a.parts["kv_cache"][0] < b.parts["kv_cache"][0]
    assert a.parts["weights"][0] == b.parts["weights"][0]
    assert a.device_peak_bytes[0] <= 0.7 * usable_bytes(hw)[0]


def test_offloaded_weights_move_to_the_host_but_for_a_streaming_buffer() -> None:
    job = infer_job("llama-2-7b")
    here = infer_memory(job, infer_ways(), hardware())
    away = infer_memory(job, infer_ways(weights_cpu=one(1.0)), hardware())
    layers = 2 * (6_738_415_616 - 2 * 32_000 * 4096 - 4096)
    assert away.host_bytes[0] == pytest.approx(layers)
    assert here.parts["weights"][0] - away.parts["weights"][0] == pytest.approx(layers)
    assert away.parts["workspace"][0] - here.parts["workspace"][0] == pytest.approx(2 * layers / 32)


def test_llama_cpp_lays_out_the_buffers_its_log_prints() -> None:
    """Meta-Llama-3-8B, context 512, n_ubatch 512: compute buffer 258.50 MiB, KV 64 MiB (public log)."""
    job = infer_job(
        "meta-llama/Meta-Llama-3-8B",
        engine=engine("llamacpp", ubatch=512, max_model_len=512),
        weights=catalog().precision("gguf-q4_k_m"),
        input_tokens=511,
        output_tokens=1,
    )
    memory = infer_memory(job, infer_ways(), hardware())
    assert memory.parts["workspace"][0] / MIB == pytest.approx(258.5, rel=0.002)
    assert memory.parts["kv_cache"][0] / MIB == 64


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 64),
    tp=st.sampled_from([1, 2, 4, 8]),
    pp=st.sampled_from([1, 2, 4]),
    fmt=st.sampled_from(["bf16", "fp8", "int4-awq"]),
)
def test_more_gpus_never_need_more_memory_each_and_more_sequences_never_less(
    batch: int, tp: int, pp: int, fmt: str
) -> None:
    job = infer_job("meta-llama/Llama-3.1-8B", weights=catalog().precision(fmt))
    split = {"tensor_parallel": whole(tp), "pipeline_parallel": whole(pp)}
    alone = infer_memory(job, infer_ways(batch), hardware()).allocated_peak_bytes[0]
    shared = infer_memory(job, infer_ways(batch, **split), hardware()).allocated_peak_bytes[0]
    fuller = infer_memory(job, infer_ways(batch + 1, **split), hardware()).allocated_peak_bytes[0]
    assert shared <= alone
    assert fuller >= shared


@settings(max_examples=30, deadline=None)
@given(model=st.sampled_from(["llama-2-7b", "Qwen/Qwen2.5-7B", "gpt2-xl"]), tokens=st.integers(16, 8192))
def test_the_largest_batch_fits_and_one_more_does_not(model: str, tokens: int) -> None:
    job = infer_job(model, input_tokens=tokens, output_tokens=16)
    hw = hardware()
    most = float(infer_memory(job, infer_ways(), hw).max_batch[0])
    assert infer_memory(job, infer_ways(most), hw).device_peak_bytes[0] <= usable_bytes(hw)[0] * 1.001
    assert infer_memory(job, infer_ways(most + 2), hw).device_peak_bytes[0] > usable_bytes(hw)[0] * 0.999


def test_columns_give_what_single_rows_give() -> None:
    job = infer_job("llama-2-7b")
    ways = replace(infer_ways(tensor_parallel=whole(1, 2, 4)), batch=np.array([1.0, 8.0, 64.0]))
    many = infer_memory(job, ways, hardware())
    for i, (tp, batch) in enumerate(((1, 1), (2, 8), (4, 64))):
        single = infer_memory(job, infer_ways(batch, tensor_parallel=whole(tp)), hardware())
        assert many.device_peak_bytes[i] == single.device_peak_bytes[0]


@pytest.mark.parametrize(("model", "gib"), [("qwen2.5-0.5b", 0.68), ("qwen2.5-1.5b", 1.51), ("qwen2.5-3b", 2.50)])
def test_awq_files_of_tied_models_peak_while_they_load(model: str, gib: float) -> None:
    """Qwen2.5 speed table, 1 + 2,048 tokens: the files hold the head twice."""
    job = infer_job(
        model,
        engine=engine("transformers@4.46.0"),
        weights=catalog().precision("int4-awq"),
        input_tokens=1,
        output_tokens=2048,
    )
    memory = infer_memory(job, infer_ways(), hardware())
    assert str(memory.phase[0]) == "load"
    assert float(memory.allocated_peak_bytes[0]) / GIB == pytest.approx(gib, rel=0.02)


@pytest.mark.parametrize(("model", "prompt", "gib"), [("qwen1.5-7b", 30720, 62.29), ("qwen1.5-14b", 14336, 57.05)])
def test_old_generation_loops_hold_two_caches_and_the_prompts_logits(model: str, prompt: int, gib: float) -> None:
    """Qwen1.5 speed table of March 2024."""
    old = engine("transformers@4.38.0")
    job = infer_job(model, engine=old, input_tokens=prompt, output_tokens=2048)
    memory = infer_memory(job, infer_ways(), hardware())
    assert float(memory.allocated_peak_bytes[0]) / GIB == pytest.approx(gib, rel=0.005)


@pytest.mark.parametrize(
    ("model", "prompt", "gpus", "gib"), [("qwen1.5-14b", 30720, 2, 101.65), ("qwen1.5-72b", 30720, 5, 344.17)]
)
def test_the_prompts_logits_go_back_to_the_gpu_that_holds_fewer_layers(
    model: str, prompt: int, gpus: int, gib: float
) -> None:
    """Qwen1.5 speed table of March 2024: sums over GPUs of peaks, `device_map="auto"`."""
    job = infer_job(model, engine=engine("transformers@4.38.0"), input_tokens=prompt, output_tokens=2048)
    memory = infer_memory(job, infer_ways(pipeline_parallel=whole(gpus)), hardware())
    assert gpus * float(memory.allocated_peak_bytes[0]) / GIB == pytest.approx(gib, rel=0.04)


@pytest.mark.parametrize(
    ("model", "gpus", "first", "layers"),
    [
        ("qwen1.5-72b", 5, 14, 80),
        ("qwen1.5-72b", 4, 19, 80),
        ("qwen1.5-72b", 3, 26, 80),
        ("qwen1.5-14b", 2, 18, 40),
        ("qwen1.5-14b", 1, 40, 40),
    ],
)
def test_the_first_gpu_gets_the_layers_that_accelerate_deals_it(model: str, gpus: int, first: int, layers: int) -> None:
    """`infer_auto_device_map` of accelerate on empty weights with balanced memory, the same shapes."""
    share = first_gpu_layers(infer_job(model), infer_ways(pipeline_parallel=whole(gpus)))
    assert share[0] * layers / gpus == pytest.approx(first)


def test_an_encoder_in_llama_cpp_keeps_its_tables_in_host_memory() -> None:
    """ggml-org CI log of bge-small: 40.73 MiB of weights, 9.00 of keys and values, 16.00 of compute buffer."""
    job = infer_job(
        "BAAI/bge-small-en-v1.5",
        engine=engine("llamacpp", ubatch=2048, max_model_len=512),
        weights=catalog().precision("gguf-f16"),
        attention="eager",
        input_tokens=511,
        output_tokens=1,
    )
    parts = infer_memory(job, infer_ways(), hardware()).parts
    found = [float(parts[p][0]) / MIB for p in ("weights", "kv_cache", "workspace")]
    assert found == pytest.approx([40.73, 9.00, 16.00], abs=0.01)


@pytest.mark.parametrize(
    ("model", "batch", "tokens", "act"),
    [
        ("llama-3-8b", 1, 2048, 119_304),
        ("mixtral-8x7b", 1, 4096, 279_136),
        ("phi-3-mini-128k", 1, 2048, 90_504),
        ("qwen3-30b-a3b", 1, 4096, 148_552),
    ],
)
def test_prefill_holds_what_the_model_code_holds_on_meta_tensors(
    model: str, batch: int, tokens: int, act: float
) -> None:
    """Bytes a token beside weights and cache at the peak, transformers 5.23 with SDPA."""
    job = infer_job(model, attention="sdpa", input_tokens=tokens, output_tokens=4)
    memory = infer_memory(job, infer_ways(batch=batch), hardware())
    library = 8_519_680
    held = float(memory.parts["activations"][0] + memory.parts["workspace"][0]) - library
    assert held / (batch * tokens) == pytest.approx(act, rel=0.006)


def test_a_vision_tower_works_on_the_patches_behind_each_images_tokens() -> None:
    """Qwen2.5-VL merges four patches to a token: a large image needs more than its tokens in the text stack."""

    def held(image_tokens: int) -> float:
        job = infer_job("qwen2.5-vl-7b", input_tokens=image_tokens + 16, image_tokens=image_tokens, num_images=1)
        return float(infer_memory(job, infer_ways(), hardware()).parts["activations"][0])

    assert held(4096) / held(1024) == pytest.approx(4.0, rel=0.02)


@given(tokens=st.integers(256, 40_000), batch=st.integers(1, 8))
@settings(max_examples=30, deadline=None)
def test_cached_blocks_never_push_a_run_off_a_gpu_that_holds_what_it_needs(tokens: int, batch: int) -> None:
    """The allocator gives cached blocks back before it fails."""
    memory = infer_memory(infer_job("Qwen/Qwen2.5-7B", input_tokens=tokens), infer_ways(batch), hardware())
    limit = float(usable_bytes(hardware())[0])
    assert memory.allocated_peak_bytes[0] < memory.needed_bytes[0] <= memory.device_peak_bytes[0]
    if memory.needed_bytes[0] <= limit:
        assert memory.device_peak_bytes[0] <= limit
