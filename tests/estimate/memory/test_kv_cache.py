"""KV cache bytes that anyone can check by hand or in a start-up log."""

from __future__ import annotations

import pytest

from planner.estimate.memory.kv_cache import cache_shape
from tests.estimate.jobs import engine, infer_job, one, whole


def bytes_at(model: str, tokens: float, tensor_parallel: int = 1, **changes: object) -> float:
    job = infer_job(model, **changes)
    return float(cache_shape(job).bytes_per_sequence(one(tokens), whole(tensor_parallel))[0])


def test_llama_7b_at_2048_tokens_is_one_gib_and_not_one_layers_33_mb() -> None:
    whole_model = bytes_at("huggyllama/llama-7b", 2048)
    assert whole_model == 2**30
    assert whole_model / 32 == 33_554_432


@pytest.mark.parametrize(
    ("model", "bytes_per_token"),
    [
        ("meta-llama/Llama-3.1-8B", 131_072),
        ("deepseek-ai/DeepSeek-V3", 70_272),
        ("deepseek-ai/DeepSeek-V2-Lite", 31_104),
        ("Qwen/Qwen2.5-7B", 57_344),
    ],
)
def test_bytes_of_one_token_over_all_layers(model: str, bytes_per_token: int) -> None:
    assert bytes_at(model, 1) == bytes_per_token


def test_a_latent_cache_is_whole_on_every_tensor_parallel_rank() -> None:
    assert bytes_at("deepseek-ai/DeepSeek-V3", 100, 8) == bytes_at("deepseek-ai/DeepSeek-V3", 100, 1)


def test_tensor_parallel_beyond_the_kv_heads_saves_nothing_more() -> None:
    at_8, at_16 = (bytes_at("meta-llama/Llama-3.1-70B", 100, tp) for tp in (8, 16))
    assert at_8 == at_16


def test_sliding_layers_stop_growing_at_their_window() -> None:
    """gpt-oss-20b: 12 sliding layers of 128 tokens and 12 full ones, 8 KV heads of 64."""
    long = bytes_at("openai/gpt-oss-20b", 10_000)
    assert long == 12 * 2 * 8 * 64 * 2 * (10_000 + 128)


def test_an_engine_without_window_support_keeps_every_token() -> None:
    disabled = engine("vllm@0.6.6", kv_block_tokens=1)
    assert bytes_at("openai/gpt-oss-20b", 10_000, engine=disabled) == 24 * 2 * 8 * 64 * 2 * 10_000


def test_pages_round_the_last_block_up() -> None:
    paged = engine("vllm@0.10.0")
    assert bytes_at("meta-llama/Llama-3.1-8B", 17, engine=paged) == 32 * 131_072


def test_linear_attention_layers_keep_a_state_that_does_not_grow() -> None:
    """Qwen3.5-27B: 48 of 64 layers hold 144 MiB of 32-bit state a sequence (design facts), 16 grow with the tokens."""
    short, long = (bytes_at("Qwen/Qwen3.5-27B", tokens) for tokens in (1, 1001))
    per_token = (long - short) / 1000
    state = short - per_token
    assert state / 2**20 == pytest.approx(144, rel=0.03)


def test_8_bit_caches_are_half_of_16_bit_ones() -> None:
    assert bytes_at("meta-llama/Llama-3.1-8B", 64, kv_bits=8.0) * 2 == bytes_at("meta-llama/Llama-3.1-8B", 64)


def test_encoders_cache_nothing() -> None:
    assert bytes_at("bert-base-uncased", 512) == 0


@pytest.mark.parametrize(("seconds", "windows"), [(0.0, 1), (5.0, 1), (30.0, 1), (31.0, 2), (90.0, 3)])
def test_whisper_keeps_the_keys_and_values_of_whole_30_second_windows(seconds: float, windows: int) -> None:
    """1500 positions x 32 layers x 2560 values x 2 bytes = 246 MB a window, beside one token of 163,840 bytes."""
    found = bytes_at("openai/whisper-large-v3", 1, audio_s=seconds)
    assert found == windows * 245_760_000 + 163_840


def test_a_t5_keeps_the_keys_and_values_of_its_prompt() -> None:
    """flan-t5-base: 12 layers x 2 x 12 heads x 64 values x 2 bytes for each of 100 prompt tokens and 10 of answer."""
    assert bytes_at("google/flan-t5-base", 10, input_tokens=100) == 36_864 * 110


def test_cross_attention_caches_nothing_for_text_that_has_no_image() -> None:
    """Llama 3.2 11B Vision: 32 self-attention layers of 8 KV heads of 128; its 8 cross layers read images alone."""
    assert bytes_at("meta-llama/Llama-3.2-11B-Vision-Instruct", 1) == 131_072
    # four tiles of 1601 patches, padded whatever the image
    one_image = bytes_at("meta-llama/Llama-3.2-11B-Vision-Instruct", 1, num_images=1)
    assert one_image == 131_072 + 8 * 4 * 1601 * 4096
