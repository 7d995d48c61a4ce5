"""What a driver says, from a driver that is a shell script: who uses the card, what it draws, which card is meant."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from validation.card import Sampler, busy, cards, visible

H200 = "0, GPU-aaaa, NVIDIA H200, 143771, {used}, 575.57.08, Disabled"
Driver = Callable[..., None]


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    """Put a driver on the path that shows these rows."""

    def install(*, gpus: str, apps: str = "", samples: str = "[N/A], 345, 2619, 30", listing: str = "") -> None:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        program = folder / "nvidia-smi"
        program.write_text(
            "#!/bin/sh\n"
            f'echo "$*" >> {tmp_path}/asked\n'
            'case "$*" in\n'
            f"  *compute-apps*) printf '%s' '{apps}' ;;\n"
            f"  *power.draw*) printf '%s\\n' '{samples}' ;;\n"
            f"  -L) printf '%s' '{listing}' ;;\n"
            f"  *) printf '%s\\n' '{gpus}' ;;\n"
            "esac\n"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    return install


def test_an_idle_card_is_free_though_the_driver_holds_a_little(driver: Driver) -> None:
    driver(gpus=H200.format(used=4))
    (card,) = cards()
    assert (card.name, card.total_bytes, card.driver) == ("NVIDIA H200", 143771 * 2**20, "575.57.08")
    assert busy([card]) is None


def test_another_process_on_the_card_is_noticed_and_named(driver: Driver) -> None:
    driver(gpus=H200.format(used=20480), apps="GPU-aaaa, 4242, 20000\n")
    assert busy(cards()) == "GPU 0 (NVIDIA H200) is in use: process 4242 holds 19.53 GiB"


def test_memory_taken_by_processes_a_container_cannot_see_is_noticed(driver: Driver) -> None:
    driver(gpus=H200.format(used=20480))
    said = busy(cards())
    assert said is not None
    assert "20.00 GiB are taken by processes not shown" in said


def test_only_the_visible_cards_count(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    driver(gpus=H200.format(used=4) + "\n1, GPU-bbbb, NVIDIA H200, 143771, 90000, 575.57.08, Disabled")
    assert busy(cards()) is not None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert [c.uuid for c in cards()] == ["GPU-aaaa"]
    assert busy(cards()) is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-bb")
    assert [c.index for c in cards()] == [1]


def test_no_driver_means_no_cards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cards() == ()


SLICED = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-7f57f032)
  MIG 2g.20gb     Device  0: (UUID: MIG-377e0049)
  MIG 1g.10gb     Device  1: (UUID: MIG-f39aa248)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-8c7c9c30)
"""
"""Wording of `nvidia-smi -L` (vllm-project/vllm pull request 41850)."""
TWO_H100 = (
    "0, GPU-7f57f032, NVIDIA H100 80GB HBM3, 81559, 20480, 580.105.08, Enabled\n"
    "1, GPU-8c7c9c30, NVIDIA H100 80GB HBM3, 81559, 4, 580.105.08, Disabled"
)


def test_of_a_slice_the_cards_memory_and_users_say_nothing(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    driver(gpus=TWO_H100, listing=SLICED, apps="GPU-7f57f032, 4242, 20000\n")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-f39")
    (card,) = cards()
    assert (card.title, card.total_bytes, card.free_bytes) == ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None, None)
    assert busy([card]) is None


@pytest.mark.parametrize(
    ("wanted", "seen"),
    [
        (None, ["MIG-377e0049"]),  # of all slices a process sees the first, and no card beside it
        ("0", ["MIG-377e0049"]),
        ("1", [""]),
        ("GPU-7f57", ["MIG-377e0049"]),
        ("MIG-377e0049,MIG-f39aa248", ["MIG-377e0049"]),
        ("GPU-8c7c9c30", [""]),
    ],
)
def test_what_a_process_sees_of_cards_cut_into_slices(
    wanted: str | None, seen: list[str], driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver(gpus=TWO_H100, listing=SLICED)
    if wanted is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", wanted)
    assert [c.slice_uuid for c in cards()] == seen


@pytest.mark.parametrize(
    ("wanted", "seen"), [("1,0", [1, 0]), ("", []), ("-1", []), ("0,9,1", [0]), ("GPU-", []), ("GPU-b, 0", [1, 0])]
)
def test_the_list_of_visible_cards_ends_at_the_first_that_is_none(
    wanted: str, seen: list[int], driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver(gpus=H200.format(used=4) + "\n1, GPU-bbbb, NVIDIA H200, 143771, 4, 575.57.08, Disabled")
    assert [c.index for c in visible(cards(), wanted)] == seen


def test_what_the_driver_does_not_tell_is_unknown(driver: Driver) -> None:
    driver(gpus="0, GPU-aaaa, NVIDIA GB10, [N/A], [N/A], 580.95.05, [N/A]", apps="GPU-aaaa, 4242, [N/A]\n")
    (card,) = cards()
    assert (card.total_bytes, card.used_bytes, card.free_bytes, card.mig) == (None, None, None, "")
    assert busy([card]) == "GPU 0 (NVIDIA GB10) is in use: process 4242 holds memory that the driver does not tell"


def test_power_and_clocks_are_read_over_the_timed_part_of_the_cards_in_use(driver: Driver, tmp_path: Path) -> None:
    driver(gpus=H200.format(used=4), samples="612.50, 1980, 3201, 55")
    begin = time.time()
    with Sampler(cards(), period_s=0.05) as sampler:
        time.sleep(0.4)
    seen = sampler.between(begin, time.time())
    assert (seen["power_w"], seen["sm_hz"], seen["temperature_c"]) == (612.5, 1.98e9, 55.0)
    assert sampler.between(begin - 20, begin - 10) == {}
    asked = [line for line in (tmp_path / "asked").read_text().splitlines() if "power.draw" in line]
    assert asked
    assert all(line.startswith("-i GPU-aaaa ") for line in asked)


def test_a_clock_or_power_that_is_not_told_is_left_out(driver: Driver) -> None:
    driver(gpus=H200.format(used=4), samples="[N/A], 345, [N/A], 30")
    begin = time.time()
    with Sampler(cards(), period_s=0.05) as sampler:
        time.sleep(0.3)
    seen = sampler.between(begin, time.time())
    assert {"power_w", "memory_hz"}.isdisjoint(seen)
    assert seen["sm_hz"] == 3.45e8
