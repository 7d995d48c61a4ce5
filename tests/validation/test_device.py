"""The counting on a GPU, against a driver and an allocator that are a few lines of Python."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from validation.device import BusyError, Cpu, Cuda, device_of
from validation.formats import UnsupportedError

GIB = 2**30
CONTEXT = GIB // 2


class Card:
    """One card: what is allocated on it, the peaks since the last reset, the cap."""

    def __init__(self, total: int) -> None:
        self.total, self.used, self.peak, self.cap, self.touched = total, 0, 0, 1.0, set[int]()

    def allocate(self, size: int) -> None:
        if self.used + size > min(self.cap * self.total, self.total - CONTEXT):
            raise torch.OutOfMemoryError("CUDA out of memory.")
        self.used += size
        self.peak = max(self.peak, self.used)

    def touch(self, gpu: int) -> None:
        self.touched.add(gpu)

    def cuda(self) -> SimpleNamespace:
        """The part of torch.cuda that the device uses."""

        def reset(gpu: int) -> None:
            self.peak = self.used

        def cap(share: float, gpu: int) -> None:
            self.cap = share

        return SimpleNamespace(
            set_device=self.touch,
            synchronize=self.touch,
            device_count=lambda: 8,
            is_available=lambda: True,
            mem_get_info=lambda gpu: (self.total - self.used - CONTEXT, self.total),
            memory_allocated=lambda gpu: self.used,
            memory_reserved=lambda gpu: self.used,
            max_memory_allocated=lambda gpu: self.peak,
            max_memory_reserved=lambda gpu: self.peak,
            reset_peak_memory_stats=reset,
            set_per_process_memory_fraction=cap,
        )


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    """A card of 140 GiB under torch's names."""
    made = Card(140 * GIB)

    def empty(size: int, **_: Any) -> SimpleNamespace:
        made.allocate(size)
        return SimpleNamespace()

    monkeypatch.setattr(torch, "cuda", made.cuda())
    monkeypatch.setattr(torch, "zeros", lambda *a, **k: None)
    monkeypatch.setattr(torch, "empty", empty)
    return made


def test_the_trials_peak_is_the_highest_of_its_phases(card: Card) -> None:
    device = Cuda()
    device.prepare(emulate_bytes=None)
    with device.phase("load"):
        card.allocate(10 * GIB)
    with device.phase("prefill"):
        card.allocate(5 * GIB)
        card.used -= 5 * GIB
    with device.phase("decode"):
        card.allocate(1 * GIB)
    assert {name: seen["allocated"] // GIB for name, seen in device.phases.items()} == {
        "load": 10,
        "prefill": 15,
        "decode": 11,
    }
    with device.phase("load"):  # packing the weights takes more for a moment; no step does
        card.allocate(60 * GIB)
        card.used -= 60 * GIB
    assert device.memory() == {"allocated": 15 * GIB, "device": 11 * GIB + CONTEXT, "reserved": 15 * GIB}


def test_a_ballast_makes_a_smaller_card_and_is_counted_nowhere(card: Card) -> None:
    device = Cuda()
    said = device.prepare(emulate_bytes=22 * GIB)
    assert said == {"usable_bytes": 22 * GIB, "ballast_bytes": 118 * GIB}
    free, _ = torch.cuda.mem_get_info(0)
    assert free == 22 * GIB - CONTEXT
    with device.phase("prefill"):
        card.allocate(20 * GIB)
    assert device.memory() == {"allocated": 20 * GIB, "device": 20 * GIB + CONTEXT, "reserved": 20 * GIB}
    assert device.held() == 20 * GIB
    with pytest.raises(torch.OutOfMemoryError):
        card.allocate(2 * GIB)


def test_memory_that_others_hold_of_a_slice_is_noticed_before_anything_is_done(card: Card) -> None:
    Cuda().refuse_company()
    card.used = 10 * GIB
    with pytest.raises(BusyError, match=r"GPU 0 is in use: 10\.50 GiB are taken before"):
        Cuda().refuse_company()


def test_weights_are_cut_out_of_one_block_that_leaves_a_little_free(card: Card) -> None:
    device = Cuda()
    sizes: list[int] = []
    torch.empty, whole = lambda size, **_: sizes.append(size), torch.empty
    try:
        device.hold_once(16 * GIB)
        device.hold_once(500 * GIB)
    finally:
        torch.empty = whole
    assert sizes == [16 * GIB, 140 * GIB - CONTEXT - int(1.2 * GIB)]


def test_every_stage_gets_its_ballast(card: Card) -> None:
    device = Cuda(count=2)
    device.prepare(emulate_bytes=100 * GIB)
    assert card.used == 80 * GIB  # of two stages, which one card stands for here


def test_no_card_is_made_larger_than_it_is(card: Card) -> None:
    with pytest.raises(UnsupportedError, match=r"less than the 180\.00 GiB it should look like"):
        Cuda().prepare(emulate_bytes=180 * GIB)


def test_other_gpus_are_left_alone(card: Card) -> None:
    device = device_of("cuda", index=3, count=2)
    device.prepare(emulate_bytes=None)
    device.synchronise()
    assert card.touched == {3, 4}


def test_too_few_gpus_are_said_to_be(card: Card) -> None:
    with pytest.raises(RuntimeError, match="torch sees 8 GPUs; 9 are needed"):
        device_of("cuda", index=7, count=2)


def test_a_cpu_counts_no_memory() -> None:
    device = Cpu()
    with device.phase("load"):
        pass
    assert (device.memory(), device.held()) == ({}, None)
    assert device.timed(lambda: None) >= 0
