"""Run trials one after another: what is left to do, within a budget, each in its own child, each leaving a record.

    run_trials(trials, Settings(out=Path("out"), device="cuda"))

Records lie under `OUT/<gpu>/<trial>.json`. A trial whose record says how it ended (`ok` or `oom`, of the same
configuration) is passed over, so that a run can be stopped and taken up again; what broke is tried again after
everything that has no record yet. A trial is begun only where its time is left in the budget, and one that the budget
cut short leaves no record.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from validation import card as cards_module
from validation import engines
from validation.alone import held, stopped_by_signals
from validation.card import SETTLE_POLL_S, SETTLE_S, Card, Sampler, busy
from validation.compare import failures, is_planned_gpu, record_of_trial
from validation.duration import planned_s
from validation.record import Outcome, Record, RecordError, moment, read_records, write_record
from validation.supervise import Finished, supervise, worker_command
from validation.tiny import tiny
from validation.trial import Trial, slug
from validation.units import gib

WORK_FOLDER = ".work"
LEAST_S = 20.0
"""A trial is not begun with less time left than this."""
MOST_SHARE_OF_CARD = 0.98
FINAL = ("ok", "oom")
"""Outcomes that say something about the configuration; others are tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to run."""

    out: Path
    device: str = "auto"
    """auto, cuda or cpu."""
    force: bool = False
    """Start although others use the card."""
    emulate: bool = True
    """Make a larger card look like the planned one."""
    budget_s: float | None = None
    time_limit_s: float | None = None
    settle_s: float = SETTLE_S
    """How long a card may still be taken by what was ended on it before."""
    gguf: Path | None = None
    """A model file for llama.cpp; without one a file of random weights is made."""
    command: str = "python -m validation"
    say: Callable[[str], None] = lambda text: None
    again: bool = False
    """Run trials whose record is there already, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the trials run on."""

    kind: str
    """cuda or cpu."""
    name: str
    cards: tuple[Card, ...]

    @property
    def folder(self) -> str:
        """Where its records lie."""
        return slug(self.name)

    def used_by(self, trial: Trial) -> tuple[Card, ...]:
        """The cards that a trial takes: the first ones."""
        return self.cards[: max(1, trial.gpus)]


def machine_of(device: str) -> Machine:
    """The machine at hand. `auto` takes a GPU where the driver shows one.

    Raises RecordError where a GPU is asked for and there is none.
    """
    found = cards_module.cards() if device != "cpu" else ()
    if device == "cuda" and not found:
        raise RecordError("no GPU: the driver shows none (nvidia-smi); use --device cpu to try the harness")
    if found:
        return Machine(kind="cuda", name=found[0].title, cards=found)
    return Machine(kind="cpu", name="cpu", cards=())


def part_of(trials: Sequence[Trial], part: str | None) -> list[Trial]:
    """The I-th of N parts of about the same length, each beginning with the most informative.

    Raises RecordError for a part that is none.

    >>> part_of([], "2/3")
    []
    """
    if part is None:
        return list(trials)
    first, _, count = part.partition("/")
    if not (first.isdigit() and count.isdigit() and 1 <= int(first) <= int(count)):
        raise RecordError(f"--part {part}: give I/N with 1 <= I <= N, such as 1/3")
    parts: list[list[Trial]] = [[] for _ in range(int(count))]
    taken_s = [0.0] * len(parts)
    for trial in trials:
        least = taken_s.index(min(taken_s))
        parts[least].append(trial)
        taken_s[least] += planned_s(trial)
    return parts[int(first) - 1]


def run_trials(trials: Sequence[Trial], settings: Settings) -> list[Record]:
    """Run what is left of the trials; returns the records, those found included.

    Raises RecordError where there is no such device, and for a folder that cannot be written or that another run uses.
    """
    machine = machine_of(settings.device)
    with held(settings.out), stopped_by_signals():
        return _run(trials, settings, machine)


def _run(trials: Sequence[Trial], settings: Settings, machine: Machine) -> list[Record]:
    known = {} if settings.again else known_records(settings.out / machine.folder)
    todo = [prepared(trial, machine, settings) for trial in trials]
    records = [known[t.id] for t in todo if is_done(t, known)]
    left = [t for t in todo if not is_done(t, known)]
    left.sort(key=lambda t: t.id in known)  # what broke comes after what was never run
    begin, number = time.monotonic(), 0
    while left:
        spent = time.monotonic() - begin
        position = next_within(left, None if settings.budget_s is None else settings.budget_s - spent)
        if position is None:
            settings.say(f"stopped in time: {len(left)} of {len(todo)} trials are left; run again to go on")
            break
        trial = left.pop(position)
        settings.say(progress(number, number + 1 + len(left), spent, trial.id, rest_s=expected_s([trial, *left])))
        now = refreshed(machine, trial, settings, number)
        record = run_trial(limited(trial, settings, spent), now, settings, cut=is_cut(trial, settings, spent))
        number += 1
        if record is None:
            settings.say(f"{trial.id}: the budget ended before it did; it is left for the next run")
        else:
            records.append(record)
    return records


def next_within(left: Sequence[Trial], seconds: float | None) -> int | None:
    """The first trial that the time left is enough for, or None."""
    if seconds is None:
        return 0
    for position, trial in enumerate(left):
        if max(LEAST_S, planned_s(trial)) <= seconds:
            return position
    return None


def expected_s(trials: Sequence[Trial]) -> float:
    """Seconds that the trials should take; small ones on a CPU are expected to take none."""
    return sum(planned_s(t) for t in trials if not t.tiny)


def refreshed(machine: Machine, trial: Trial, settings: Settings, number: int) -> Machine:
    """The machine as it is now: others may have come, and what was just ended may not be gone yet."""
    if machine.kind == "cpu":
        return machine
    until = time.monotonic() + (settings.settle_s if number else 0.0)
    while True:
        now = replace(machine, cards=cards_module.cards() or machine.cards)
        if busy(now.used_by(trial)) is None or time.monotonic() >= until:
            return now
        time.sleep(SETTLE_POLL_S)


def known_records(folder: Path) -> dict[str, Record]:
    """Records of an earlier run, by trial."""
    return {r.id: r for r in read_records(folder)} if folder.is_dir() else {}


def is_done(trial: Trial, known: dict[str, Record]) -> bool:
    """There is a record of this very configuration that says how it ended."""
    record = known.get(trial.id)
    if record is None or record.outcome is None or record.outcome.state not in FINAL:
        return False
    return record.details.get("trial_sha256") == trial.digest


def prepared(trial: Trial, machine: Machine, settings: Settings) -> Trial:
    """The trial for this machine: tiny on a CPU; on a card with more memory than the planned one, emulating it."""
    if machine.kind == "cpu":
        return tiny(trial)
    usable, total = trial.usable_bytes, machine.cards[0].total_bytes
    if trial.emulate_bytes is not None or not settings.emulate or usable is None or total is None:
        return trial
    larger = usable < MOST_SHARE_OF_CARD * total and not is_planned(trial, machine)
    return trial.emulating(usable) if larger else trial


def is_planned(trial: Trial, machine: Machine) -> bool:
    """The planned GPU itself is here; a slice of it is not."""
    return machine.kind == "cuda" and not machine.cards[0].slice_profile and is_planned_gpu(trial.gpu, machine.name)


def limited(trial: Trial, settings: Settings, spent_s: float) -> Trial:
    """The trial with the time that is left for it."""
    own_s = settings.time_limit_s or trial.time_limit_s
    left_s = own_s if settings.budget_s is None else min(own_s, settings.budget_s - spent_s)
    return replace(trial, time_limit_s=max(1.0, left_s))


def is_cut(trial: Trial, settings: Settings, spent_s: float) -> bool:
    """The budget leaves it less than its own limit."""
    return settings.budget_s is not None and settings.budget_s - spent_s < (settings.time_limit_s or trial.time_limit_s)


def progress(done: int, total: int, spent_s: float, name: str, *, rest_s: float = 0.0) -> str:
    """A bar, and the time left: as expected, or at the pace so far where nothing is.

    >>> progress(2, 4, 60.0, "llama")
    '[##########----------] 2/4, about 1 min left: llama'
    >>> progress(0, 4, 0.0, "llama", rest_s=600.0)
    '[--------------------] 0/4, about 10 min left: llama'
    """
    bar = "#" * (20 * done // max(1, total))
    pace_s = spent_s / done * (total - done) if done else 0.0
    rest = rest_s or pace_s
    left = f", about {max(1, round(rest / 60))} min left" if rest else ""
    return f"[{bar:-<20}] {done}/{total}{left}: {name}"


def run_trial(trial: Trial, machine: Machine, settings: Settings, *, cut: bool = False) -> Record | None:
    """Run one trial in a child and write its record; nothing outside the output folder is touched.

    None where it was ended by a limit that is not its own but what the budget left (`cut`).
    """
    work = settings.out / WORK_FOLDER / trial.digest[:8]  # short: engines put sockets here, whose paths are limited
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        finished = refused(trial, machine, settings) or started(trial, machine, settings, work.resolve())
    finally:
        shutil.rmtree(work, ignore_errors=True)
        remove_if_empty(settings.out / WORK_FOLDER)
    if cut and finished.outcome.state == "timeout":
        return None
    known = environment(trial, machine, finished, settings)
    record = record_of_trial(trial, finished, known, same_gpu=is_planned(trial, machine))
    write_record(record, settings.out / machine.folder / f"{trial.id}.json")
    return record


def remove_if_empty(folder: Path) -> None:
    """Take the folder away unless something is in it."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def refused(trial: Trial, machine: Machine, settings: Settings) -> Finished | None:
    """The outcome of a trial that is not even begun: others use its cards, or one of them is too full."""
    used = machine.used_by(trial)
    in_use = None if settings.force else busy(used)
    if in_use is not None:
        return unstarted("busy", f"{in_use}; wait, or start with --force")
    needed = trial.expected.get("device")
    if needed is None or not trial.fits or trial.emulate_bytes is not None:
        return None
    for card in used:
        if card.total_bytes is not None and needed.predicted > card.total_bytes:
            return unstarted("no-memory", f"needs {gib(needed.predicted)}; the whole card has {gib(card.total_bytes)}")
        if card.free_bytes is not None and needed.predicted > card.free_bytes and not settings.force:
            return unstarted("no-memory", f"needs {gib(needed.predicted)}; {gib(card.free_bytes)} are free")
    return None


def unstarted(state: str, detail: str) -> Finished:
    """The end of a trial that never began."""
    return Finished(outcome=Outcome(state=state, detail=detail), result={}, talk="", started=time.time())


def started(trial: Trial, machine: Machine, settings: Settings, work: Path) -> Finished:
    """Run the trial's child, or its engine's own programs, to the end."""
    if trial.engine in engines.SERVING and not trial.tiny:
        with Sampler(machine.used_by(trial)) as sampler:
            finished = engines.replay(trial, work, gguf=settings.gguf, cards=machine.used_by(trial))
        return with_clocks(finished, sampler)
    if trial.engine != "transformers" and not trial.tiny:
        return unstarted(
            "unsupported", f"engine {trial.engine} is not replayed here; export the plan for it and run that"
        )
    if importlib.util.find_spec("torch") is None:
        return unstarted("unsupported", "torch is not installed")
    if trial.nodes > 1 and not trial.tiny:
        return unstarted("unsupported", f"{trial.nodes} nodes: write a job with --emit slurm or kubernetes")
    trial_file, result_file = work / "trial.json", work / "result.json"
    trial_file.write_text(json.dumps(trial.as_dict()), encoding="utf-8")
    command = worker_command(trial_file, result_file, device=machine.kind, force=settings.force)
    num_ranks = num_processes(trial)
    if num_ranks > 1:
        if machine.kind == "cuda" and len(machine.cards) < num_ranks:
            return unstarted("unsupported", f"needs {num_ranks} GPUs; {len(machine.cards)} are visible")
        command = under_torchrun(command, num_ranks)
    with Sampler(machine.used_by(trial)) as sampler:
        finished = supervise(command, work=work, result_file=result_file, time_limit_s=trial.time_limit_s)
    return with_clocks(finished, sampler)


def num_processes(trial: Trial) -> int:
    """Processes of one replica: data-parallel training ranks; pipeline stages of `device_map` are one process."""
    return trial.number("data_parallel") if trial.mode == "train" else 1


def under_torchrun(command: Sequence[str], num_ranks: int) -> list[str]:
    """The same child as several ranks on this machine."""
    head = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={num_ranks}"]
    return [*head, *command[1:]]


def with_clocks(finished: Finished, sampler: Sampler) -> Finished:
    """The outcome with power and clocks of the timed part, where the driver tells."""
    timed = (finished.result.get("details") or {}).get("timed")
    begin, end = timed if timed else (finished.started, time.time())
    clocks = sampler.between(begin, end)
    return replace(finished, result={**finished.result, "clocks": clocks}) if clocks else finished


def environment(trial: Trial, machine: Machine, finished: Finished, settings: Settings) -> dict[str, Any]:
    """What the trial ran on and with."""
    found: dict[str, Any] = {
        "gpu": machine.name,
        "gpus": trial.gpus if machine.kind == "cuda" else 0,
        "planned_gpu": trial.gpu,
        **(finished.result.get("versions") or {}),
        **{f"device_{k}" if k == "device" else k: v for k, v in (finished.result.get("device") or {}).items()},
        "command": settings.command,
        "date": moment(time.time()),
    }
    if machine.cards:
        card = machine.cards[0]
        told = {"driver": card.driver, "total_bytes": card.total_bytes, "mig": card.slice_profile or card.mig}
        found |= {key: value for key, value in told.items() if value}
    return found


def failed(records: Iterable[Record]) -> dict[str, list[str]]:
    """Trials that make the run fail, with the reasons."""
    return {r.id: why for r in records if (why := failures(r))}
