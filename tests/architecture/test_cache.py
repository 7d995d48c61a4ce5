"""What a token and a sequence leave behind, against figures worked out by hand or published."""

from __future__ import annotations

import pytest

from planner.architecture.catalog import ModelCatalog
from planner.units import MIB


@pytest.mark.parametrize(
    ("name", "bytes_per_token"),
    [
        ("gpt2", 36_864),  # 2 x 12 layers x 768 x 2
        ("llama-2-7b", 524_288),  # 2 x 32 x 4096 x 2
        ("meta-llama/Meta-Llama-3-8B", 131_072),  # 2 x 32 x 8 x 128 x 2
        ("meta-llama/Llama-3.1-70B", 327_680),  # 2 x 80 x 8 x 128 x 2
        ("tiiuae/falcon-7b", 8_192),  # multi-query: 2 x 32 x 64 x 2
        ("deepseek-ai/DeepSeek-V3", 70_272),  # 61 x 576 x 2, as in its report
        ("deepseek-ai/DeepSeek-V2-Lite", 31_104),  # 27 x 576 x 2
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", 24_576),  # 12 of 48 layers: 2 x 12 x 2 x 256 x 2
        ("nvidia/Llama-3_3-Nemotron-Super-49B-v1", 200_704),  # 49 of 80 layers: 2 x 49 x 8 x 128 x 2
        ("google/gemma-3n-E4B-it", 40_960),  # 20 of 35 layers: 2 x 20 x 2 x 256 x 2
        ("state-spaces/mamba-2.8b-hf", 0),
        ("google-bert/bert-base-uncased", 0),
    ],
)
def test_cached_bytes_of_a_token_at_16_bit(catalog: ModelCatalog, name: str, bytes_per_token: int) -> None:
    assert 2 * catalog.get(name).kv_values_per_token == bytes_per_token


@pytest.mark.parametrize(
    ("name", "mib_fp32"),
    [
        ("Qwen/Qwen3.5-27B", 144),
        ("nvidia/NVIDIA-Nemotron-Nano-9B-v2", 135),
        ("MiniMaxAI/MiniMax-Text-01", 280),
        ("moonshotai/Kimi-Linear-48B-A3B-Instruct", 40),
        ("ai21labs/Jamba-v0.1", 14),
    ],
)
def test_recurrent_state_of_a_sequence(catalog: ModelCatalog, name: str, mib_fp32: int) -> None:
    blocks = (b for b in catalog.get(name).blocks if b.recurrent)
    values = sum(b.num_layers * b.recurrent.state_values for b in blocks if b.recurrent)
    assert 4 * values == mib_fp32 * MIB


def test_convolution_state_keeps_one_column_less_than_its_width(catalog: ModelCatalog) -> None:
    (block,) = catalog.get("state-spaces/mamba-130m-hf").blocks
    assert block.recurrent
    assert block.recurrent.conv_values == 1536 * 3
    assert block.recurrent.state_values == 1536 * 16


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("google/gemma-3-27b-it", {"full": 10, "sliding": 52}),
        ("openai/gpt-oss-120b", {"full": 18, "sliding": 18}),
        ("mistralai/Mistral-7B-v0.1", {"sliding": 32}),
        ("mistralai/Mistral-7B-v0.3", {"full": 32}),
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", {"chunked": 36, "full": 12}),
        ("XiaomiMiMo/MiMo-V2-Flash", {"full": 9, "sliding": 39}),
        ("CohereLabs/c4ai-command-a-03-2025", {"full": 16, "sliding": 48}),
        ("moonshotai/Kimi-Linear-48B-A3B-Instruct", {"latent": 7}),
        ("deepseek-ai/DeepSeek-V4-Flash", {"sliding": 2, "compressed": 41}),
    ],
)
def test_layers_of_each_kind_of_attention(catalog: ModelCatalog, name: str, kinds: dict[str, int]) -> None:
    found: dict[str, int] = {}
    for block in catalog.get(name).stack("decoder"):
        if block.attention:
            found[block.attention.kind] = found.get(block.attention.kind, 0) + block.num_layers
    assert found == kinds


def test_local_and_global_layers_interleave(catalog: ModelCatalog) -> None:
    model = catalog.get("google/gemma-3-1b-it")
    attentions = (model.blocks[i].attention for i in model.layer_order)
    kinds = [a.kind for a in attentions if a]
    assert kinds[:6] == ["sliding"] * 5 + ["full"]
    assert kinds[6:12] == kinds[:6]


def test_deepseek_v4_keeps_a_window_and_compressed_entries(catalog: ModelCatalog) -> None:
    kept = {
        block.name: (a.kv_values_per_token, a.window_values_per_token, a.index_values_per_token)
        for block in catalog.get("deepseek-ai/DeepSeek-V4-Flash").blocks
        if (a := block.attention)
    }
    assert kept == {"window": (512, 0, 0), "compressed 4:1": (128, 512, 32), "compressed 128:1": (4, 512, 0)}


def test_sparse_attention_caches_an_index_key_beside_the_latent(catalog: ModelCatalog) -> None:
    for block in catalog.get("deepseek-ai/DeepSeek-V3.2").blocks:
        assert block.attention
        assert (block.attention.kv_values_per_token, block.attention.index_values_per_token) == (576, 128)


def test_cross_attention_to_an_image_caches_no_text(catalog: ModelCatalog) -> None:
    model = catalog.get("meta-llama/Llama-3.2-11B-Vision-Instruct")
    crossing = [b for b in model.blocks if b.cross_attention]
    assert [b.num_layers for b in crossing] == [8]
    assert model.kv_values_per_token == 2 * 32 * 8 * 128
