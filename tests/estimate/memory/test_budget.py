"""Start-up logs of serving engines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from planner.catalog.storage import fitted_to
from planner.estimate.memory import infer_memory, usable_bytes
from planner.estimate.memory.kv_cache import unified_bytes_per_token
from planner.estimate.types import Hardware, Memory
from planner.units import GIB, MIB
from tests.estimate.jobs import catalog, engine, hardware, infer_job, infer_ways, one, whole


def gpu(name: str, arch: str, mebibytes: int) -> Hardware:
    return Hardware(
        **{
            **{f: getattr(hardware(), f) for f in Hardware.__dataclass_fields__},
            "gpu": np.array([name]),
            "arch": np.array([arch]),
            "memory_bytes": one(mebibytes * MIB),
        }
    )


H100 = gpu("h100-sxm-80gb", "hopper", 81559)


def started(model: str, version: str, hw: Hardware = H100, tp: int = 1, **options: Any) -> Memory:
    job = infer_job(model, engine=engine(version, **options))
    return infer_memory(job, infer_ways(tensor_parallel=whole(tp)), hw)


def gib(memory: Memory, *parts: str) -> float:
    return sum(float(memory.parts[p][0]) for p in parts) / GIB


@pytest.mark.parametrize(("tp", "weights"), [(1, 14.96), (2, 7.48)])
def test_llama_3_8b_peaks_at_1_26_gib_in_its_sampler_on_one_gpu_and_on_two(tp: int, weights: float) -> None:
    """vLLM pull request 10511, `vllm serve meta-llama/Meta-Llama-3-8B` on H100, 256 sequences, 8,192 tokens."""
    memory = started("meta-llama/Meta-Llama-3-8B", "vllm@0.6.6", tp=tp, max_model_len=8192)
    assert gib(memory, "weights") == pytest.approx(weights, abs=0.02)
    assert gib(memory, "activations", "workspace") == pytest.approx(1.26, abs=0.01)


def test_llama_3_2_vision_profiles_an_image_for_every_sequence() -> None:
    """vLLM pull request 12126: 19.86 GiB of weights, 36.63 GiB peak, 14.65 GiB of cache in 6,001 blocks."""
    options = {"max_model_len": 65536, "max_num_seqs": 128, "enforce_eager": True}
    memory = started("meta-llama/Llama-3.2-11B-Vision-Instruct", "vllm@0.6.6", **options)
    assert gib(memory, "weights") == pytest.approx(19.86, rel=0.005)
    assert gib(memory, "activations", "workspace") == pytest.approx(36.63, rel=0.02)
    assert float(memory.kv_cache_tokens[0]) / 16 == pytest.approx(6001, rel=0.04)


def test_newer_samplers_sort_nothing() -> None:
    """kvcached pull request 448, A100 40 GB, 256 sequences: 0.93 GiB weights, 0.59 GiB peak, 34.70 GiB of cache."""
    small = gpu("a100-sxm-40gb", "ampere", 40536)
    memory = started("qwen2.5-0.5b", "vllm@0.33.0", small, gpu_memory_utilization=0.92, enforce_eager=True)
    assert gib(memory, "weights") == pytest.approx(0.93, abs=0.01)
    assert gib(memory, "activations", "workspace") == pytest.approx(0.59, abs=0.01)
    assert gib(memory, "kv_cache") == pytest.approx(34.70, rel=0.005)


def test_qwen2_5_vl_72b_takes_34_43_gib_on_each_of_four_gpus() -> None:
    """vLLM issue 16570."""
    memory = started("qwen2.5-vl-72b", "vllm@0.8.3", tp=4, max_model_len=2048)
    assert gib(memory, "weights") == pytest.approx(34.43, abs=0.01)


@pytest.mark.parametrize(
    ("model", "tp", "tokens", "gib"),
    [
        ("meta-llama/Meta-Llama-3-8B", 1, 20000, 2.07),
        ("meta-llama/Meta-Llama-3-8B", 1, 29000, 2.99),
        ("qwen2.5-32b", 2, 10000, 1.26),
    ],
)
def test_profile_runs_of_long_prompts(model: str, tp: int, tokens: int, gib: float) -> None:
    """vLLM start-up logs of V0 without chunked prefill (issue 15815 and others), a small sampler."""
    memory = started(model, "vllm@0.7.3", gpu("any", "ampere", 81920), tp=tp, max_model_len=tokens, max_num_seqs=16)
    held = float(memory.parts["activations"][0] + memory.parts["workspace"][0]) / GIB
    assert held == pytest.approx(gib, abs=0.012)


@pytest.mark.parametrize(("model", "layers"), [("gpt-oss-120b", 36), ("gemma-3-27b-it", 70), ("llama-3.1-8b", 32)])
def test_pools_of_hybrid_models_charge_padded_groups_of_layers(model: str, layers: int) -> None:
    """18 + 18 layers are two groups of 18; 10 full and 52 sliding ones seven of 10; one kind is itself."""
    job = infer_job(model, engine=engine("vllm"))
    a = next(b.attention for b in job.model.stack("decoder") if b.attention is not None)
    assert float(unified_bytes_per_token(job, whole(1))[0]) == layers * a.kv_values_per_token * 2


@pytest.mark.parametrize(("arch", "loaded"), [("hopper", 64.4), ("ampere", 66.0)])
def test_gpt_oss_120b_loads_with_the_padding_of_its_kernels(arch: str, loaded: float) -> None:
    """60.77 GiB of files; hf-mem issue 60 and vLLM logs."""
    job = infer_job("gpt-oss-120b", engine=engine("vllm@0.10.2"), weights=catalog().precision("mxfp4"))
    memory = infer_memory(replace(job, weights=fitted_to(job.weights, job.model)), infer_ways(), hardware(arch))
    assert gib(memory, "weights") == pytest.approx(loaded, rel=0.005)


def test_sglang_takes_its_share_of_what_is_free_before_loading() -> None:
    """mem_fraction_static counts weights and pool; what the CUDA context took before is not in it."""
    memory = started("llama-3.1-8b", "sglang", mem_fraction_static=0.8)
    free = float(usable_bytes(H100)[0])
    assert gib(memory, "weights", "kv_cache") < 0.8 * free / GIB
    assert gib(memory, "weights", "kv_cache") == pytest.approx(0.8 * (free / GIB - 0.55), abs=0.01)
