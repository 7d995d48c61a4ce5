"""What a driver says, from a driver that is a shell script: who uses the card, what it draws, which card is meant."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from validation.card import Sampler, busy, cards

H200 = "0, GPU-aaaa, NVIDIA H200, 143771, {used}, 575.57.08, Disabled"
Driver = Callable[..., None]


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    """Put a driver on the path that shows these rows."""

    def install(*, gpus: str, apps: str = "", samples: str = "[N/A], 345, 2619, 30, 0") -> None:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        program = folder / "nvidia-smi"
        program.write_text(
            "#!/bin/sh\n"
            'case "$1" in\n'
            f"  *compute-apps*) printf '%s' '{apps}' ;;\n"
            f"  *power.draw*) printf '%s\\n' '{samples}' ;;\n"
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


def test_power_and_clocks_are_read_over_the_timed_part(driver: Driver) -> None:
    driver(gpus=H200.format(used=4), samples="612.50, 1980, 3201, 55, 100")
    begin = time.time()
    with Sampler(period_s=0.05) as sampler:
        time.sleep(0.4)
    seen = sampler.between(begin, time.time())
    assert (seen["power_w"], seen["sm_hz"], seen["temperature_c"]) == (612.5, 1.98e9, 55.0)
    assert sampler.between(begin - 20, begin - 10) == {}
