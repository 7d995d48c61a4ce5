"""KV caches in 8 bits and in host memory: what is where, while a small model answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.validation.conftest import LLAMA
from validation.caches import cache_of, partly_in_host_memory
from validation.formats import UnsupportedError
from validation.models import build, hf_config
from validation.tiny import tiny_keys

KEYS = {**tiny_keys(LLAMA), "num_hidden_layers": 4}


@pytest.fixture(scope="module")
def model() -> Any:
    """Four layers of two KV heads of 16 values."""
    torch.manual_seed(0)
    return build(hf_config(KEYS), dtype=torch.float32, device="cpu").eval()


def answer(model: Any, cache: Any) -> list[int]:
    """Five tokens after a prompt of 12; with no cache given, in the one the model makes for the prompt."""
    token = torch.arange(12).reshape(1, 12)
    found = []
    with torch.inference_mode():
        for _ in range(5):
            out = model(input_ids=token, past_key_values=cache, use_cache=True)
            token, cache = out.logits[:, -1].argmax(-1, keepdim=True), out.past_key_values
            found.append(int(token))
    return found


def made(model: Any, **config: Any) -> Any:
    asked = {"kv_precision": "bf16", "layout": "dynamic", "share": 0.0, "max_tokens": 20, "device": "cpu"}
    return cache_of(model.config, **{**asked, **config})


@pytest.mark.parametrize("layout", ["dynamic", "static"])
@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_a_cache_that_lies_partly_elsewhere_answers_the_same(model: Any, share: float, layout: str) -> None:
    moved: list[int] = []
    cache = made(model, share=share, layout=layout)
    for index, layer in enumerate(cache.layers):
        layer.offload = lambda index=index: moved.append(index)
    assert answer(model, cache) == answer(model, made(model, layout=layout))
    assert sorted(set(moved)) == list(range(4))[-round(4 * share) :]


def test_on_a_gpu_the_library_copies_the_next_layer_in_while_one_computes(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streams that do nothing stand for the GPU's: what is moved when is told by the library's own code."""

    class Stream:
        def wait_stream(self, other: Any) -> None:
            pass

        def __enter__(self) -> None:
            pass

        def __exit__(self, *_: object) -> None:
            pass

    @contextmanager
    def stream(_: Any) -> Iterator[None]:
        yield

    monkeypatch.setattr(torch, "Stream", Stream)
    fake = SimpleNamespace(default_stream=lambda device: Stream(), Stream=Stream, stream=stream)
    monkeypatch.setattr(torch, "cuda", fake)
    said: list[str] = []
    cache: Any = partly_in_host_memory(model.config, share=0.5, on_gpu=True)
    for index, layer in enumerate(cache.layers):
        layer.offload = lambda index=index: said.append(f"out {index}")
        layer.prefetch = lambda index=index: said.append(f"in {index}")
    key = torch.zeros(1, 2, 3, 16)
    for index in range(4):
        cache.update(key, key, index)
    assert said == ["in 1", "in 2", "in 3", "out 2", "in 0", "out 3"]


def test_a_cache_in_fp8_takes_half_the_bytes_of_one_in_16_bits(model: Any) -> None:
    cache = made(model, kv_precision="fp8")
    answer(model, cache)
    kept, scale = cache.layers[0]._quantized_keys
    assert (kept.dtype, kept.shape) == (torch.float8_e4m3fn, (1, 2, 16, 16))
    assert kept.element_size() == 1
    assert scale.numel() == 1


def test_a_cache_the_installed_library_does_not_make_is_said_to_be_missing(model: Any) -> None:
    sliding = hf_config({**KEYS, "model_type": "gemma2", "sliding_window": 16})
    with pytest.raises(UnsupportedError, match="makes no KV cache in fp8 here"):
        cache_of(sliding, kv_precision="fp8", layout="dynamic", share=0.0, max_tokens=20, device="cpu")
