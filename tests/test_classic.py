"""The worked example: the page is what the command prints, and what it claims is so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from planner.catalog.load import Catalog
from planner.cli.main import run
from planner.estimate.document import WorkloadEstimate
from planner.estimate.run import estimate_spec
from planner.spec.load import load_spec

ROOT = Path(__file__).parent.parent


def test_the_classic_page_is_what_the_command_prints(
    golden: Callable[[Path, str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(["explain", "--classic"])
    assert stopped.value.code == 0
    golden(ROOT / "plans/classic/classic.md", capsys.readouterr().out)


def test_the_persian_page_is_what_the_command_prints(
    golden: Callable[[Path, str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(["explain", "--classic", "--language", "fa", "--html"])
    assert stopped.value.code == 0
    page = capsys.readouterr().out
    assert '<html lang="fa" dir="rtl">' in page
    assert "1,073,741,824" in page
    golden(ROOT / "plans/classic/classic.fa.html", page)


@pytest.fixture(scope="module")
def classic() -> dict[str, WorkloadEstimate]:
    spec = load_spec(ROOT / "plans/classic/estimates.yaml").spec
    found = {w.name: w for w in estimate_spec(spec, Catalog.load()).workloads if isinstance(w, WorkloadEstimate)}
    assert len(found) == len(spec.workloads)
    return found


def test_the_classic_cache_is_that_of_32_layers_and_not_of_one(classic: dict[str, WorkloadEstimate]) -> None:
    example = classic["fits / T4 fp16"]
    assert example.params_total == 6_738_415_616
    assert example.memory.per_gpu_bytes["kv_cache"] == 2**30 == 32 * 33_554_432


def test_16_bits_fit_16_gb_and_8_gb_needs_4_bits(classic: dict[str, WorkloadEstimate]) -> None:
    fits = {name.removeprefix("fits / "): w.fits for name, w in classic.items() if name.startswith("fits / ")}
    assert fits == {
        "T4 fp16": True,
        "RTX A4000 fp16": True,
        "RTX 4080 fp16": True,
        "8 GB card int8": False,
        "8 GB card nf4": True,
    }


def activations(classic: dict[str, WorkloadEstimate], attention: str, tokens: int) -> int:
    name = f"Llama-2-7B learning at twice the length with {attention} attention / {tokens} tokens"
    return classic[name].memory.per_gpu_bytes["activations"]


def test_activations_grow_with_the_square_of_the_length_only_in_eager_attention(
    classic: dict[str, WorkloadEstimate],
) -> None:
    steps = [activations(classic, "flash", n) for n in (512, 1024, 2048)]
    assert steps[2] - steps[1] == pytest.approx(2 * (steps[1] - steps[0]), rel=0.02)
    squares = [activations(classic, "eager", n) - activations(classic, "flash", n) for n in (512, 1024, 2048)]
    assert squares[1] == pytest.approx(4 * squares[0], rel=0.05)
    assert squares[2] == pytest.approx(4 * squares[1], rel=0.05)


def test_twice_the_batch_is_twice_the_cache_and_the_same_weights(classic: dict[str, WorkloadEstimate]) -> None:
    parts = [classic[f"Llama-2-7B with twice the batch / batch {b}"].memory.per_gpu_bytes for b in (1, 2, 4, 8)]
    assert [p["kv_cache"] for p in parts] == [2**30, 2**31, 2**32, 2**33]
    assert len({p["weights"] for p in parts}) == 1


def test_training_takes_more_than_four_times_the_memory_of_inference(classic: dict[str, WorkloadEstimate]) -> None:
    group = "Llama-2-7B answers and learns"
    inference = classic[f"{group} / inference fp16"].memory.device_peak_bytes
    assert classic[f"{group} / full training"].memory.device_peak_bytes > 4 * inference
    assert classic[f"{group} / QLoRA"].memory.device_peak_bytes < inference
