"""The lines that only a GPU reaches, run on a stand-in: `cuda` means the CPU, and its memory is counted by a few lines.

This says nothing of a GPU's figures. It shows that every phase, counter, event and stream is asked for by names that
torch has, in an order that makes sense, and that what is measured reaches the record.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from tests.validation.test_worker import infer, train
from validation.trial import Trial
from validation.worker import attempt

pytestmark = pytest.mark.filterwarnings("ignore")  # torch warns that there is no CUDA for autocast and scalers

GIB = 2**30
TOTAL = 80 * GIB


def here(value: Any) -> Any:
    """The CPU for every GPU."""
    if isinstance(value, torch.device) and value.type == "cuda":
        return torch.device("cpu")
    return "cpu" if isinstance(value, str) and value.partition(":")[0] == "cuda" else value


class OnTheCpu(TorchFunctionMode):
    """Every tensor asked for on a GPU is made in host memory, and nothing there is page-locked."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = {key: here(value) for key, value in (kwargs or {}).items() if key != "pin_memory"}
        return func(*(here(a) for a in args), **named)


class Stream:
    """Work in the order of the program."""

    def wait_stream(self, other: Any) -> None:
        pass

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


class Event:
    """A point in time."""

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing
        self.at = 0.0

    def record(self) -> None:
        self.at = time.perf_counter()

    def elapsed_time(self, end: Event) -> float:
        return (end.at - self.at) * 1e3


class Memory:
    """Counts what the driver and the allocator are asked for; every phase peaks a GiB higher than the one before."""

    def __init__(self) -> None:
        self.resets = 0
        self.cap = 1.0

    def peak(self, gpu: int = 0) -> int:
        return self.resets * GIB

    def reset(self, gpu: int = 0) -> None:
        self.resets += 1

    def limit(self, share: float, gpu: int) -> None:
        self.cap = share


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Memory]:
    """torch.cuda with one card of 80 GiB, half a GiB of it for the context."""
    importlib.import_module("peft")  # with bitsandbytes, which looks for real kernels where torch says there is a GPU
    memory = Memory()
    stands = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "set_device": lambda index: None,
        "synchronize": lambda gpu=None: None,
        "mem_get_info": lambda gpu=0: (TOTAL - GIB // 2, TOTAL),
        "memory_allocated": lambda gpu=0: 3 * GIB,
        "memory_reserved": lambda gpu=0: 4 * GIB,
        "max_memory_allocated": memory.peak,
        "max_memory_reserved": memory.peak,
        "reset_peak_memory_stats": memory.reset,
        "set_per_process_memory_fraction": memory.limit,
        "get_device_properties": lambda gpu: SimpleNamespace(name="NVIDIA X", total_memory=TOTAL, major=9, minor=0),
        "get_device_capability": lambda gpu=None: (9, 0),
        "default_stream": lambda device=None: Stream(),
        "Event": Event,
        "is_bf16_supported": lambda *_: True,
    }
    for name, stand in stands.items():
        assert hasattr(torch.cuda, name), name  # torch has it, so the replay asks for something that is there
        monkeypatch.setattr(torch.cuda, name, stand)
    monkeypatch.setattr(torch, "Stream", Stream)
    with OnTheCpu():
        yield memory


def done(trial: Trial, tmp_path: Path) -> dict[str, Any]:
    """The result of a trial that must succeed."""
    result = attempt(replace(trial, tiny=False), kind="cuda", work=tmp_path)
    assert result["state"] == "ok", result.get("detail")
    return result


@contextmanager
def sizes_of_empty(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Blocks of bytes that are taken from the card are counted and not made."""
    taken: list[int] = []
    empty = torch.empty

    def counted(*size: Any, **kind: Any) -> Any:
        if kind.get("dtype") is torch.uint8 and isinstance(size[0], int):
            taken.append(size[0])
            return empty(0, **kind)
        return empty(*size, **kind)

    monkeypatch.setattr(torch, "empty", counted)
    yield taken


@pytest.mark.parametrize(
    ("options", "config"),
    [
        ({}, {}),
        ({"kv_layout": "static"}, {}),
        ({}, {"precision": "fp16", "kv_precision": "fp8"}),
        ({}, {"offload": {"kv_cpu": 0.5}}),
        ({}, {"offload": {"kv_cpu": 1.0}}),
        ({}, {"precision": "nf4"}),
        ({}, {"precision": "int8-w8a8"}),
    ],
)
def test_inference_on_a_gpu(options: dict[str, Any], config: dict[str, Any], gpu: Memory, tmp_path: Path) -> None:
    result = done(infer(options=options, **config), tmp_path)
    assert set(result["phases"]) == {"load", "prefill", "decode"}
    after = [seen["allocated"] for name, seen in result["phases"].items() if name != "load"]
    assert result["measured"]["allocated"] == max(after)
    assert result["measured"]["device"] == GIB // 2
    assert result["device"]["taken_before_bytes"] == GIB // 2
    assert result["measured"]["ttft"] > 0


@pytest.mark.parametrize(
    ("options", "config"),
    [
        ({"optimizer_step": "fused"}, {"checkpointing": "full"}),
        ({"length_variation": 2.6}, {"precision": "bf16-mixed", "accumulation": 2}),
        ({}, {"precision": "fp16-mixed"}),
        ({}, {"offload": {"optimizer_cpu": 0.5}}),
        ({}, {"method": "lora", "checkpointing": "full", "lora": {"rank": 4}}),
        ({}, {"method": "qlora", "checkpointing": "full", "lora": {"rank": 4}}),
    ],
)
def test_training_on_a_gpu(options: dict[str, Any], config: dict[str, Any], gpu: Memory, tmp_path: Path) -> None:
    result = done(train(options=options, **config), tmp_path)
    assert {"load", "warm-up", "steps"} <= set(result["phases"])
    assert result["measured"]["static"] == 3 * GIB  # what the allocator says after a step
    assert len(result["details"]["step_s"]) == 5


def test_a_smaller_card_is_made_before_the_model(gpu: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sizes_of_empty(monkeypatch) as taken:
        result = done(infer().emulating(22 * GIB), tmp_path)
    assert taken[0] == 58 * GIB
    assert result["emulated"]["usable_bytes"] == 22 * GIB
    assert gpu.cap == min(1.0, (4 * GIB + TOTAL - GIB // 2) / TOTAL)


def test_out_of_memory_keeps_what_each_phase_held(gpu: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import validation.infer

    def full(self: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(validation.infer.Answer, "prefill", full)
    result = attempt(replace(infer(), tiny=False), kind="cuda", work=tmp_path)
    assert (result["state"], set(result["phases"])) == ("oom", {"load", "prefill"})
    assert result["device"]["device"] == "NVIDIA X"


def test_company_on_the_card_is_noticed_by_the_child_and_passed_over_when_forced(
    gpu: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda gpu=0: (TOTAL - 9 * GIB, TOTAL))
    alone = attempt(infer(), kind="cuda", work=tmp_path)
    assert (alone["state"], alone["detail"][:38]) == ("busy", "GPU 0 is in use: 9.00 GiB are taken be")
    assert attempt(infer(), kind="cuda", work=tmp_path, force=True)["state"] == "ok"
