"""Properties of derived models, and small facts of single families."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from planner.architecture.build import build_model
from planner.architecture.catalog import ModelCatalog
from planner.architecture.huggingface import entry_from_config
from planner.architecture.types import ImageTokens, Model


def llama(**keys: object) -> Model:
    config = {
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 100,
        "max_position_embeddings": 32,
    }
    return build_model(entry_from_config(config | keys, id="test", source="test"))


@given(layers=st.integers(1, 40), vocab=st.integers(1, 5000))
def test_layers_and_vocabulary_add_linearly(layers: int, vocab: int) -> None:
    one, many = llama(vocab_size=vocab), llama(vocab_size=vocab, num_hidden_layers=layers)
    per_layer = one.blocks[0].num_params_per_layer
    assert many.params_total - one.params_total == (layers - 2) * per_layer
    assert llama(vocab_size=vocab + 1).params_total - one.params_total == 2 * 64


@given(heads=st.sampled_from([1, 2, 4]))
def test_fewer_kv_heads_shrink_cache_and_projections_alike(heads: int) -> None:
    model = llama(num_key_value_heads=heads)
    # four heads of 16 values, two layers, K and V
    assert model.kv_values_per_token == 2 * 2 * heads * 16
    assert llama(num_key_value_heads=4).params_total - model.params_total == 2 * 2 * (4 - heads) * 16 * 64


@given(width=st.integers(1, 8000), height=st.integers(1, 8000))
def test_larger_images_never_take_fewer_tokens(width: int, height: int) -> None:
    for tokens in (
        ImageTokens(kind="grid", side=28, patches_per_token=4),
        ImageTokens(kind="tiles", side=336, patches_per_token=4, tokens=144, patches=577, max_tiles=16),
        ImageTokens(kind="fixed", patches_per_token=1, tokens=256, patches=256),
    ):
        smaller = tokens.num_tokens(width=width, height=height)
        assert smaller <= tokens.num_tokens(width=width + 100, height=height)
        assert tokens.num_patches(width=width, height=height) >= smaller


def test_qwen2_vl_reads_one_token_per_28_pixels_square(catalog: ModelCatalog) -> None:
    tokens = catalog.get("Qwen/Qwen2-VL-7B-Instruct").image_tokens
    assert tokens
    assert tokens.num_tokens(width=1024, height=1024) == 37 * 37
    assert tokens.num_patches(width=1024, height=1024) == 4 * 37 * 37


def test_llava_reads_576_tokens_whatever_the_image(catalog: ModelCatalog) -> None:
    tokens = catalog.get("llava-hf/llava-1.5-7b-hf").image_tokens
    assert tokens
    assert tokens.num_tokens(width=100, height=2000) == 576


def test_fused_projections_say_which_module_they_are_rows_of(catalog: ModelCatalog) -> None:
    (block,) = catalog.get("gpt2").blocks
    fused = [t for t in block.tensors if t.role == "attention" and t.module == "c_attn"]
    assert [t.name for t in fused] == ["q_proj", "k_proj", "v_proj"]
    # GPT-2's c_attn is one matrix of 768 x 2304
    assert sum(t.out_features for t in fused) == 2304


def test_dropout_follows_the_published_configurations(catalog: ModelCatalog) -> None:
    def flags(name: str) -> tuple[bool, bool]:
        block = catalog.get(name).blocks[0]
        return block.dropout, block.attention_dropout

    assert flags("gpt2") == flags("bert-base") == flags("t5-small") == flags("bart-base") == (True, True)
    assert flags("facebook/opt-125m") == (True, False)
    assert flags("llama-2-7b") == flags("EleutherAI/pythia-1b") == flags("albert-base-v2") == (False, False)


def test_stacks_of_a_pipeline_are_apart(catalog: ModelCatalog) -> None:
    model = catalog.get("stabilityai/stable-diffusion-3-medium-diffusers")
    denoiser = sum(b.num_params for b in model.stack("denoiser"))
    text = sum(b.num_params for b in model.stack("text"))
    # the text encoders outweigh the denoiser: 5.6 B against 2.0 B
    assert 1.9e9 < denoiser < 2.1e9 < 5e9 < text < 5.7e9
    assert {b.stack for b in model.blocks} == {"denoiser", "text", "vae"}


def test_vision_and_audio_towers_stand_in_stacks_of_their_own(catalog: ModelCatalog) -> None:
    assert {b.stack for b in catalog.get("Qwen/Qwen3.5-9B").blocks} == {"decoder", "vision"}
    assert {b.stack for b in catalog.get("google/gemma-3n-E4B-it").blocks} == {"decoder", "audio"}
    assert {b.stack for b in catalog.get("openai/whisper-base").blocks} == {"decoder", "encoder"}


def test_active_experts_are_those_chosen(catalog: ModelCatalog) -> None:
    model = catalog.get("mistralai/Mixtral-8x7B-v0.1")
    (block,) = model.blocks
    assert block.moe
    # six of eight experts idle, each 3 x 4096 x 14336
    assert model.params_total - model.params_active == 32 * 6 * 3 * 4096 * 14336
