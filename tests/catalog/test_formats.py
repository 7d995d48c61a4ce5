"""Weight formats: bits, sizes of published files, and which GPU runs what."""

from __future__ import annotations

import pytest

from planner.catalog.load import Catalog
from planner.catalog.storage import checkpoint_bytes, stored_bits, without_double_quantisation

LLAMA_3_8B = "meta-llama/Meta-Llama-3-8B"
GB = 10**9


@pytest.mark.parametrize(
    ("precision", "bits"),
    [
        ("nf4", 4 + 1 / 8 + 1 / 512),
        ("int4-awq", 4 + 20 / 128),
        ("nvfp4", 4.5),
        ("mxfp4", 4.25),
        ("fp8-block", 8 + 1 / 512),
        ("int8-gptq", 8.1875),
        ("gguf-q8_0", 8.5),
        ("gguf-q6_k", 6.5625),
    ],
)
def test_bits_count_scales_and_zero_points(catalog: Catalog, precision: str, bits: float) -> None:
    assert catalog.precision(precision).bits == bits


@pytest.mark.parametrize(
    ("model", "precision", "bits_per_weight"),
    [
        # "model size ... (x BPW)" lines of llama.cpp
        (LLAMA_3_8B, "gguf-q4_k_m", 4.89),
        (LLAMA_3_8B, "gguf-q5_k_m", 5.70),
        (LLAMA_3_8B, "gguf-q6_k", 6.56),
        (LLAMA_3_8B, "gguf-q8_0", 8.50),
        (LLAMA_3_8B, "gguf-q3_k_m", 4.00),
        (LLAMA_3_8B, "gguf-q2_k", 3.16),
        ("meta-llama/Llama-2-7b-hf", "gguf-q4_k_m", 4.84),
        ("microsoft/Phi-3-mini-4k-instruct", "gguf-q4_k_m", 5.01),
        ("meta-llama/Meta-Llama-3-70B", "gguf-q4_0", 4.53),
    ],
)
def test_gguf_mixes_come_out_at_the_published_bits_per_weight(
    catalog: Catalog, model: str, precision: str, bits_per_weight: float
) -> None:
    shape = catalog.models.get(model)
    assert checkpoint_bytes(shape, catalog.precision(precision)) * 8 / shape.params_total == pytest.approx(
        bits_per_weight, abs=0.006
    )


def test_small_widths_fall_back_to_wider_types(catalog: Catalog) -> None:
    """Qwen2.5-0.5B is 896 wide, which blocks of 256 do not divide: its Q4_K_M file has 397,808,192 bytes."""
    size = checkpoint_bytes(catalog.models.get("Qwen/Qwen2.5-0.5B"), catalog.precision("gguf-q4_k_m"))
    assert size == pytest.approx(397_808_192, rel=0.02)  # the file also holds the tokenizer


def test_gpt_oss_has_its_published_size_to_the_byte(catalog: Catalog) -> None:
    model = catalog.models.get("openai/gpt-oss-120b")
    assert checkpoint_bytes(model, catalog.precision("mxfp4")) == 65_248_815_744


@pytest.mark.parametrize(
    ("model", "scales"),
    [
        ("Qwen/Qwen3-8B", 423_936),
        ("Qwen/Qwen3-32B", 1_904_640),
        ("Qwen/Qwen3-30B-A3B", 1_824_768),
        ("Qwen/Qwen3-235B-A22B", 14_269_952),
    ],
)
def test_block_fp8_stores_as_many_scales_as_the_repositories(catalog: Catalog, model: str, scales: int) -> None:
    shape = catalog.models.get(model)
    blocked = catalog.precision("fp8-block")
    without = blocked.model_copy(update={"bits": 8.0})
    assert checkpoint_bytes(shape, blocked) - checkpoint_bytes(shape, without) == 4 * scales


@pytest.mark.parametrize(("precision", "gigabytes"), [("int4-awq", 5.73), ("fp8", 9.08), ("bf16", 16.06)])
def test_llama_3_8b_repositories_have_their_published_size(catalog: Catalog, precision: str, gigabytes: float) -> None:
    size = checkpoint_bytes(catalog.models.get(LLAMA_3_8B), catalog.precision(precision))
    assert size / GB == pytest.approx(gigabytes, abs=0.006)


def test_single_quantisation_of_nf4_takes_four_and_a_half_bits(catalog: Catalog) -> None:
    assert without_double_quantisation(catalog.precision("nf4")).bits == 4.5
    awq = catalog.precision("int4-awq")
    assert without_double_quantisation(awq) is awq


def test_vision_towers_stay_in_16_bit(catalog: Catalog) -> None:
    model = catalog.models.get("Qwen/Qwen2.5-VL-7B-Instruct")
    awq = catalog.precision("int4-awq")
    bits = {stored_bits(t, awq, b.stack) for b in model.blocks if b.stack == "vision" for t in b.tensors if t.is_matrix}
    assert bits == {16.0}


@pytest.mark.parametrize(
    ("gpu", "precision", "support"),
    [
        ("h100-sxm-80gb", "fp8", "native"),
        ("a100-sxm-80gb", "fp8", "weight-only"),
        ("v100-sxm2-16gb", "fp8", "no"),
        ("t4", "bf16", "no"),
        ("t4", "fp16", "native"),
        ("t4", "int4-awq", "weight-only"),
        ("v100-sxm2-16gb", "int4-awq", "no"),
        ("v100-sxm2-16gb", "int4-gptq", "weight-only"),
        ("h100-sxm-80gb", "nvfp4", "weight-only"),
        ("b200-sxm-180gb", "nvfp4", "native"),
        ("mi355x-288gb", "mxfp4", "native"),
        ("mi355x-288gb", "nvfp4", "no"),
        ("mi300x-192gb", "nvfp4", "no"),
        ("b300-sxm-288gb", "int8", "weight-only"),
        ("a100-sxm-80gb", "int8", "native"),
        ("p40", "fp16", "weight-only"),
        ("rx-7900-xtx-24gb", "int4-awq", "no"),
        ("rx-7900-xtx-24gb", "gguf-q4_k_m", "weight-only"),
        ("h100-sxm-80gb", "gguf-q4_k_m", "weight-only"),
        ("tpu-v5p", "bf16", "native"),
    ],
)
def test_support_follows_the_architecture(catalog: Catalog, gpu: str, precision: str, support: str) -> None:
    assert catalog.support(catalog.gpu(gpu), catalog.precision(precision)) == support


def test_every_gpu_computes_some_16_bit_format(catalog: Catalog) -> None:
    halves = [catalog.precision("bf16"), catalog.precision("fp16")]
    stuck = [g.id for g in catalog.gpus.values() if all(catalog.support(g, p) == "no" for p in halves)]
    assert stuck == []


def test_wider_gguf_types_keep_more_quality(catalog: Catalog) -> None:
    names = ("q2_k", "q3_k_m", "q4_k_m", "q5_k_m", "q6_k", "q8_0")
    formats = [catalog.precision(f"gguf-{name}") for name in names]
    assert [f.quality for f in formats] == sorted(f.quality for f in formats)
    assert [f.bits for f in formats] == sorted(f.bits for f in formats)
