"""Runs: what is left to do, what is not begun, what the verdicts make of the whole."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from validation import run as run_module
from validation.card import Card
from validation.compare import failures
from validation.planfile import trials_of_plan
from validation.record import Record, RecordError, read_records
from validation.run import Machine, Settings, part_of, prepared, run_trials
from validation.trial import Trial

GIB = 2**30


@pytest.fixture
def trial(plan: dict[str, Any]) -> Trial:
    """The only trial of the plan."""
    return trials_of_plan(plan)[0]


def card(*, total: int = 24 * GIB, used: int = 0, name: str = "NVIDIA L4") -> Card:
    return Card(index=0, uuid="GPU-1", name=name, total_bytes=total, used_bytes=used, driver="575.1", mig="[N/A]")


class Fake:
    """Stands for the worker: a child that leaves a given result, and the card it ran on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, result: dict[str, Any] | str, cards: Sequence[Card]) -> None:
        self.calls: list[dict[str, Any]] = []
        self.result = result
        monkeypatch.setattr(run_module, "worker_command", self.command)
        monkeypatch.setattr(run_module.cards_module, "cards", lambda: tuple(cards))

    def command(self, trial_file: Path, result_file: Path, *, device: str, force: bool) -> list[str]:
        self.calls.append(json.loads(trial_file.read_text()))
        if isinstance(self.result, str):
            return [sys.executable, "-c", self.result]
        return [sys.executable, "-c", f"open({str(result_file)!r}, 'w').write({json.dumps(self.result)!r})"]


MEASURED = {"allocated": 3 * GIB, "output_rate": 220.0, "ttft": 0.09, "tpot": 0.017, "request_rate": 3.4}


def test_figures_are_judged_by_their_intervals(trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Fake(monkeypatch, {"state": "ok", "measured": MEASURED | {"output_rate": 149.0}}, [card()])
    (record,) = run_trials([trial], Settings(out=tmp_path))
    verdicts = {q.rule: q.verdict for q in record.quantities}
    assert verdicts["allocated"] == "inside"
    assert verdicts["output_rate"] == "outside"
    assert verdicts["ttft"] == "unproven"  # no interval was published for it
    assert failures(record) == ["output_rate: measured 149.0/s, predicted 200.0/s, interval 150.0/s to 250.0/s"]
    assert record == next(read_records(tmp_path / "nvidia-l4" / "test-plan-chat.json"))


def test_mfu_follows_from_the_plans_own_count_of_work(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Predicted 0.2 at 3.125 requests a second (6.25 over two replicas); 6.25 measured on one make it 0.4."""
    Fake(monkeypatch, {"state": "ok", "measured": MEASURED | {"request_rate": 6.25}}, [card()])
    (record,) = run_trials([trial], Settings(out=tmp_path))
    mfu = record.quantity("mfu")
    assert mfu is not None
    assert mfu.measured == pytest.approx(0.4)


def test_a_fits_that_ran_out_of_memory_is_a_mismatch(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Fake(monkeypatch, {"state": "oom", "detail": "CUDA out of memory"}, [card()])
    (record,) = run_trials([trial], Settings(out=tmp_path))
    assert failures(record) == ["fits: measured 0, predicted 1, interval 1 to 1"]


def test_a_does_not_fit_that_runs_out_of_memory_is_as_predicted(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Fake(monkeypatch, {"state": "oom", "detail": "CUDA out of memory"}, [card()])
    (record,) = run_trials([replace(trial, fits=False)], Settings(out=tmp_path))
    assert failures(record) == []


@pytest.mark.parametrize(
    ("code", "state"),
    [("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed"), ("print('?')", "garbage")],
)
def test_one_broken_trial_does_not_end_the_run(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, state: str
) -> None:
    Fake(monkeypatch, code, [card()])
    records = run_trials([trial, replace(trial, id="second")], Settings(out=tmp_path))
    assert [r.outcome.state for r in records if r.outcome] == [state, state]
    assert all(failures(r) for r in records)


def test_a_busy_card_is_left_alone_and_asked_again_later(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = Fake(monkeypatch, {"state": "ok", "measured": MEASURED}, [card(used=10 * GIB)])
    (record,) = run_trials([trial], Settings(out=tmp_path))
    assert record.outcome is not None
    assert record.outcome.state == "busy"
    assert not fake.calls
    assert failures(record) == []
    monkeypatch.setattr(run_module.cards_module, "cards", lambda: (card(),))
    (record,) = run_trials([trial], Settings(out=tmp_path))
    assert record.outcome is not None
    assert record.outcome.state == "ok"
    Fake(monkeypatch, {"state": "ok", "measured": MEASURED}, [card(used=10 * GIB)])
    (record,) = run_trials([replace(trial, id="forced")], Settings(out=tmp_path, force=True))
    assert record.outcome is not None
    assert record.outcome.state == "ok"


def test_a_card_too_small_for_the_plan_is_not_begun(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = Fake(monkeypatch, {"state": "ok"}, [card(total=3 * GIB)])
    (record,) = run_trials([trial], Settings(out=tmp_path))
    assert record.outcome is not None
    assert (record.outcome.state, fake.calls) == ("no-memory", [])


def test_a_run_is_taken_up_where_it_stopped(trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(monkeypatch, {"state": "ok", "measured": MEASURED}, [card()])
    trials = [trial, replace(trial, id="second")]
    run_trials(trials[:1], Settings(out=tmp_path))
    assert len(run_trials(trials, Settings(out=tmp_path))) == 2
    assert [call["id"] for call in fake.calls] == ["test-plan-chat", "second"]
    changed = replace(trial, config={**trial.config, "batch": 8})
    run_trials([changed], Settings(out=tmp_path))
    assert len(fake.calls) == 3  # another configuration under the same name is measured anew


@pytest.mark.parametrize("state", ["unsupported", "no-memory", "busy", "error", "timeout", "garbage"])
def test_what_did_not_come_to_an_end_is_tried_again_later(
    state: str, trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Fake(monkeypatch, {"state": state, "detail": "needs the package peft"}, [card()])
    run_trials([trial], Settings(out=tmp_path))
    Fake(monkeypatch, {"state": "ok", "measured": MEASURED}, [card()])
    (record,) = run_trials([trial], Settings(out=tmp_path))
    assert record.outcome is not None
    assert record.outcome.state == "ok"


def test_what_broke_is_tried_again_after_what_was_never_run(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = [replace(trial, id=name) for name in ("first", "second", "third")]
    Fake(monkeypatch, "import sys; sys.exit('broken')", [card()])
    run_trials(trials[:1], Settings(out=tmp_path))
    fake = Fake(monkeypatch, {"state": "ok", "measured": MEASURED}, [card()])
    run_trials(trials, Settings(out=tmp_path))
    assert [call["id"] for call in fake.calls] == ["second", "third", "first"]


def test_others_who_come_between_two_trials_are_noticed(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Fake(monkeypatch, {"state": "ok", "measured": MEASURED}, [card()])
    shown = [card(), card(), card(used=10 * GIB)]
    monkeypatch.setattr(run_module.cards_module, "cards", lambda: (shown.pop(0) if len(shown) > 1 else shown[0],))
    records = run_trials([trial, replace(trial, id="second")], Settings(out=tmp_path, settle_s=0.0))
    assert [r.outcome.state for r in records if r.outcome] == ["ok", "busy"]


def test_memory_that_an_ended_trial_gives_back_late_is_nobody_elses(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Fake(monkeypatch, {"state": "ok", "measured": MEASURED}, [card()])
    shown = [card(), card(), card(used=10 * GIB), card()]
    monkeypatch.setattr(run_module.cards_module, "cards", lambda: (shown.pop(0) if len(shown) > 1 else shown[0],))
    monkeypatch.setattr(run_module, "SETTLE_POLL_S", 0.01)
    records = run_trials([trial, replace(trial, id="second")], Settings(out=tmp_path))
    assert [r.outcome.state for r in records if r.outcome] == ["ok", "ok"]


def test_a_busy_card_that_the_trial_does_not_take_is_no_hindrance(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Fake(monkeypatch, {"state": "ok", "measured": MEASURED}, [card(), replace(card(used=20 * GIB), index=1)])
    (record,) = run_trials([trial], Settings(out=tmp_path))
    assert record.outcome is not None
    assert record.outcome.state == "ok"


def test_what_the_budget_cut_short_leaves_no_record(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    Fake(monkeypatch, "import time; time.sleep(60)", [card()])
    monkeypatch.setattr(run_module, "LEAST_S", 0.5)
    hurried = replace(trial, seconds=0.5)
    assert run_trials([hurried], Settings(out=tmp_path, budget_s=1.5, say=said.append)) == []
    assert not list(tmp_path.rglob("*.json"))
    assert "left for the next run" in said[-1]
    (record,) = run_trials([hurried], Settings(out=tmp_path, time_limit_s=1.0))
    assert record.outcome is not None
    assert record.outcome.state == "timeout"


def test_a_trial_that_takes_longer_than_is_left_makes_room_for_a_shorter_one(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = Fake(monkeypatch, {"state": "ok", "measured": MEASURED}, [card()])
    trials = [replace(trial, id="long", seconds=200.0), replace(trial, id="short", seconds=25.0)]
    run_trials(trials, Settings(out=tmp_path, budget_s=100.0))
    assert [call["id"] for call in fake.calls] == ["short"]


def test_a_budget_leaves_the_rest_for_later(trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    fake = Fake(monkeypatch, {"state": "ok", "measured": MEASURED}, [card()])
    assert run_trials([trial], Settings(out=tmp_path, budget_s=5.0, say=said.append)) == []
    assert not fake.calls
    assert "1 of 1 trials are left" in said[-1]


def test_parts_are_about_equally_long(trial: Trial) -> None:
    trials = [replace(trial, id=str(i), seconds=s) for i, s in enumerate((60.0, 20.0, 20.0, 20.0, 20.0, 20.0, 20.0))]
    parts = [part_of(trials, f"{i}/2") for i in (1, 2)]
    assert [sum(t.seconds or 0.0 for t in part) for part in parts] == [100.0, 80.0]


def test_parts_share_out_everything_once(trial: Trial) -> None:
    trials = [replace(trial, id=str(i)) for i in range(7)]
    parts = [part_of(trials, f"{i}/3") for i in (1, 2, 3)]
    assert sorted(t.id for part in parts for t in part) == [str(i) for i in range(7)]
    assert [part[0].id for part in parts] == ["0", "1", "2"]
    for wrong in ("0/3", "4/3", "a/b", "3"):
        with pytest.raises(RecordError, match="give I/N"):
            part_of(trials, wrong)


def test_a_larger_card_is_made_to_look_like_the_planned_one(trial: Trial, tmp_path: Path) -> None:
    large = Machine(kind="cuda", name="NVIDIA H200", cards=(card(total=140 * GIB, name="NVIDIA H200"),))
    assert prepared(trial, large, Settings(out=tmp_path)).emulate_bytes == 22 * GIB
    assert prepared(trial, large, Settings(out=tmp_path, emulate=False)).emulate_bytes is None
    own = Machine(kind="cuda", name="NVIDIA L4", cards=(card(),))
    assert prepared(trial, own, Settings(out=tmp_path)).emulate_bytes is None


def test_an_emulated_card_is_labelled_and_its_speed_not_compared(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {"state": "ok", "measured": MEASURED | {"output_rate": 9999.0}, "emulated": {"ballast_bytes": 118 * GIB}}
    Fake(monkeypatch, seen, [card(total=140 * GIB, name="NVIDIA H200")])
    (record,) = run_trials([trial], Settings(out=tmp_path))
    assert record.emulated is not None
    assert (record.emulated["gpu"], record.emulated["ballast_bytes"]) == ("l4", 118 * GIB)
    memory = record.quantity("allocated")
    assert memory is not None
    assert memory.verdict == "inside"
    assert record.quantity("output_rate") is None
    assert record.details["not_compared"]["output_rate"] == 9999.0


def test_no_gpu_where_one_is_asked_for_is_an_error(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Fake(monkeypatch, {"state": "ok"}, [])
    with pytest.raises(RecordError, match="the driver shows none"):
        run_trials([trial], Settings(out=tmp_path, device="cuda"))


def test_nothing_is_left_in_the_output_folder_but_records(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Fake(monkeypatch, "open('left-behind', 'w').write('x')", [card()])
    run_trials([trial], Settings(out=tmp_path / "out"))
    assert [p.relative_to(tmp_path).as_posix() for p in sorted(tmp_path.rglob("*")) if p.is_file()] == [
        "out/nvidia-l4/test-plan-chat.json"
    ]


def test_engines_that_are_not_here_are_said_to_be_unproven(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Fake(monkeypatch, {"state": "ok"}, [card()])
    records: list[Record] = []
    for engine in ("vllm", "sglang", "llamacpp", "megatron"):
        records += run_trials([replace(trial, id=engine, engine=engine)], Settings(out=tmp_path))
    assert [r.outcome.state for r in records if r.outcome] == ["unsupported"] * 4
    assert all(not failures(r) for r in records)
