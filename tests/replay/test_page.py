"""The page of a run: one printed page, however much was run, with what is off on it."""

from __future__ import annotations

from pathlib import Path

import pypdf
import pytest

from planner.replay.page import MOST_TRIALS, page_view, render_page, write_page
from validation.evidence import Evidence, Near
from validation.record import UNIT_OF_RULE, Outcome, Quantity, Record, Source

RULES = {"allocated": 17e9, "device": 18e9, "ttft": 0.13, "tpot": 0.012, "output_rate": 612.0, "reserved": 17.5e9}


def record(name: str, *, off: float = 1.0, state: str = "ok", **emulated: str) -> Record:
    """Test data: every figure predicted so many times too high."""
    quantities = tuple(
        Quantity(
            rule=rule,
            measured=value,
            unit=UNIT_OF_RULE[rule],
            predicted=off * value,
            interval=(0.95 * off * value, 1.05 * off * value),
            verdict="inside" if 0.95 * off <= 1 <= 1.05 * off else "outside",
        )
        for rule, value in RULES.items()
    )
    return Record(
        id=name,
        origin="measured",
        source=Source(name="test data"),
        environment={"gpu": "NVIDIA H200", "driver": "580.159", "torch": "2.11.0", "transformers": "5.17.0"},
        quantities=quantities if state == "ok" else (),
        outcome=Outcome(state=state, detail="CUDA out of memory. Tried to allocate 2.00 GiB"),
        emulated=emulated or None,
    )


MANY = [record(f"infer-llama-3.1-8b-batch{i}-sequence2048", off=1.0 + i / 100) for i in range(80)]


def test_of_many_trials_those_furthest_off_are_shown_and_the_rest_counted() -> None:
    view = page_view([*MANY, record("broken", state="crashed")])
    assert len(view.lines) == MOST_TRIALS
    assert view.lines[0].trial == "infer-llama-3.1-8b-batch79-sequence2048"
    assert "broken" in {line.trial for line in page_view([*MANY[:6], record("broken", state="crashed")]).lines}
    assert view.more == f"{81 - MOST_TRIALS} more trials in SUMMARY.md."


def test_a_line_says_what_was_measured_beside_what_was_predicted() -> None:
    (line,) = page_view([record("a", off=1.02, gpu="l4", memory="a ballast")]).lines
    memory, _, first, each, rate = line.cells
    assert (memory.measured, memory.beside, memory.verdict) == ("15.83 GiB", "16.15 GiB, +2.0 %", "inside")
    assert (first.measured, each.beside, rate.measured) == ("130 ms", "12.2 ms, +2.0 %", "612.0/s")
    assert line.emulated == "l4"


def test_every_workload_has_a_row_of_evidence_before_any_has_two() -> None:
    near = Near(record=MANY[0], distance=1.0, differs=(), figures=MANY[0].quantities)
    view = page_view([], [Evidence(workload=name, near=(near,), unproven=()) for name in ("chat", "tune")])
    assert [row[0] for row in view.near] == ["chat", "tune", "chat", "tune"]
    assert {row[2] for row in view.near} == {"nothing"}


@pytest.mark.parametrize("count", [1, 80])
def test_the_page_is_one_page(count: int, tmp_path: Path) -> None:
    differs = ("model opt-6.7b for llama-7b", "batch 2 for 1")
    near = Near(record=MANY[0], distance=1.0, differs=differs, figures=MANY[0].quantities)
    evidence = [Evidence(workload=f"chat-{i}", near=(near,), unproven=("memory", "speed")) for i in range(5)]
    records = [*MANY[:count], record("full", state="oom", gpu="l4", memory="a ballast and a cap make it look smaller")]
    path = write_page(records, tmp_path, "pdf", evidence=evidence)
    assert len(pypdf.PdfReader(path).pages) == 1
    assert "<script" not in render_page(records, evidence)
