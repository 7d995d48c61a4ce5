"""Run trials one after another: what is left to do, within a budget, each in its own child, each leaving a record.

    run_trials(trials, Settings(out=Path("out"), device="cuda"))

Records lie under `OUT/<gpu>/<trial>.json`. A trial whose record is there already (the same configuration, and an
outcome that says something about it) is passed over, so that a run can be stopped and taken up again.
"""

from __future__ import annotations

import datetime
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
from validation.card import Card, Sampler, busy
from validation.compare import OUT_OF_TOUCH, failures, is_planned_gpu, record_of_trial
from validation.record import Outcome, Record, RecordError, read_records, write_record
from validation.supervise import Finished, supervise, worker_command
from validation.tiny import tiny
from validation.trial import Trial, slug
from validation.units import gib

WORK_FOLDER = ".work"
LEAST_S = 20.0
"""A trial is not begun with less time left than this."""
MOST_SHARE_OF_CARD = 0.98


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
    gguf: Path | None = None
    """A model file for llama.cpp, which has no dummy weights."""
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


def machine_of(device: str) -> Machine:
    """The machine at hand. `auto` takes a GPU where the driver shows one.

    Raises RecordError where a GPU is asked for and there is none.
    """
    found = cards_module.cards() if device != "cpu" else ()
    if device == "cuda" and not found:
        raise RecordError("no GPU: the driver shows none (nvidia-smi); use --device cpu to try the harness")
    if found:
        return Machine(kind="cuda", name=found[0].name, cards=found)
    return Machine(kind="cpu", name="cpu", cards=())


def part_of(trials: Sequence[Trial], part: str | None) -> list[Trial]:
    """The I-th of N parts, dealt out in turn so that every part begins with the most informative.

    Raises RecordError for a part that is none.

    >>> part_of([], "2/3")
    []
    """
    if part is None:
        return list(trials)
    first, _, count = part.partition("/")
    if not (first.isdigit() and count.isdigit() and 1 <= int(first) <= int(count)):
        raise RecordError(f"--part {part}: give I/N with 1 <= I <= N, such as 1/3")
    return [t for i, t in enumerate(trials) if i % int(count) == int(first) - 1]


def run_trials(trials: Sequence[Trial], settings: Settings) -> list[Record]:
    """Run what is left to do and return the records, those found included."""
    machine = machine_of(settings.device)
    folder = settings.out / machine.folder
    known = {} if settings.again else known_records(folder)
    records = []
    begin = time.monotonic()
    todo = [prepared(trial, machine, settings) for trial in trials]
    left = [t for t in todo if not is_done(t, known)]
    records += [known[t.id] for t in todo if is_done(t, known)]
    for number, trial in enumerate(left):
        spent = time.monotonic() - begin
        if settings.budget_s is not None and settings.budget_s - spent < LEAST_S:
            settings.say(f"stopped in time: {len(left) - number} of {len(todo)} trials are left; run again to go on")
            break
        settings.say(progress(number, len(left), spent, trial.id))
        records.append(run_trial(limited(trial, settings, spent), machine, settings))
    return records


def known_records(folder: Path) -> dict[str, Record]:
    """Records of an earlier run, by trial."""
    return {r.id: r for r in read_records(folder)} if folder.is_dir() else {}


def is_done(trial: Trial, known: dict[str, Record]) -> bool:
    """There is a record of this very configuration that says something about it."""
    record = known.get(trial.id)
    if record is None or record.outcome is None or record.outcome.state in OUT_OF_TOUCH:
        return False
    return record.details.get("trial_sha256") == trial.digest


def prepared(trial: Trial, machine: Machine, settings: Settings) -> Trial:
    """The trial for this machine: tiny on a CPU; on a card with more memory than the planned one, emulating it."""
    if machine.kind == "cpu":
        return tiny(trial)
    if trial.emulate_bytes is None and settings.emulate and trial.usable_bytes is not None:
        total = machine.cards[0].total_bytes
        if trial.usable_bytes < MOST_SHARE_OF_CARD * total and not is_planned_gpu(trial.gpu, machine.name):
            return trial.emulating(trial.usable_bytes)
    return trial


def limited(trial: Trial, settings: Settings, spent_s: float) -> Trial:
    """The trial with the time that is left for it."""
    limits = [settings.time_limit_s or trial.time_limit_s]
    if settings.budget_s is not None:
        limits.append(settings.budget_s - spent_s)
    return replace(trial, time_limit_s=max(1.0, min(limits)))


def progress(done: int, total: int, spent_s: float, name: str) -> str:
    """A bar, and the time left at the pace so far.

    >>> progress(2, 4, 60.0, "llama")
    '[##########----------] 2/4, about 1 min left: llama'
    """
    bar = "#" * (20 * done // max(1, total))
    left = f", about {max(1, round(spent_s / done * (total - done) / 60))} min left" if done else ""
    return f"[{bar:-<20}] {done}/{total}{left}: {name}"


def run_trial(trial: Trial, machine: Machine, settings: Settings) -> Record:
    """Run one trial in a child and write its record; nothing outside the output folder is touched."""
    work = settings.out / WORK_FOLDER / trial.id
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        finished = refused(trial, machine, settings) or started(trial, machine, settings, work.resolve())
    finally:
        shutil.rmtree(work, ignore_errors=True)
        remove_if_empty(settings.out / WORK_FOLDER)
    same = machine.kind == "cuda" and is_planned_gpu(trial.gpu, machine.name)
    record = record_of_trial(trial, finished, environment(trial, machine, finished, settings), same_gpu=same)
    write_record(record, settings.out / machine.folder / f"{trial.id}.json")
    return record


def remove_if_empty(folder: Path) -> None:
    """Take the folder away unless something is in it."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def refused(trial: Trial, machine: Machine, settings: Settings) -> Finished | None:
    """The outcome of a trial that is not even begun: others use the card, or it is too full."""
    in_use = None if settings.force else busy(machine.cards)
    if in_use is not None:
        return unstarted("busy", f"{in_use}; wait, or start with --force")
    needed = trial.expected.get("device")
    if machine.cards and needed is not None and trial.fits and trial.emulate_bytes is None:
        free = machine.cards[0].free_bytes
        if needed.predicted > machine.cards[0].total_bytes:
            return unstarted("no-memory", f"needs {gib(needed.predicted)}; the whole card has less")
        if needed.predicted > free and not settings.force:
            return unstarted("no-memory", f"needs {gib(needed.predicted)}; {gib(free)} are free")
    return None


def unstarted(state: str, detail: str) -> Finished:
    """The end of a trial that never began."""
    return Finished(outcome=Outcome(state=state, detail=detail), result={}, talk="", started=time.time())


def started(trial: Trial, machine: Machine, settings: Settings, work: Path) -> Finished:
    """Run the trial's child, or its engine's own programs, to the end."""
    if trial.engine in engines.SERVING and not trial.tiny:
        with Sampler() as sampler:
            finished = engines.replay(trial, work, gguf=settings.gguf, cards=machine.cards)
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
    command = worker_command(trial_file, result_file, device=machine.kind)
    num_ranks = num_processes(trial)
    if num_ranks > 1:
        if machine.kind == "cuda" and len(machine.cards) < num_ranks:
            return unstarted("unsupported", f"needs {num_ranks} GPUs; {len(machine.cards)} are visible")
        command = under_torchrun(command, num_ranks)
    with Sampler() as sampler:
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
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    if machine.cards:
        card = machine.cards[0]
        found |= {"driver": card.driver, "total_bytes": card.total_bytes, "mig": card.mig}
    return found


def failed(records: Iterable[Record]) -> dict[str, list[str]]:
    """Trials that make the run fail, with the reasons."""
    return {r.id: why for r in records if (why := failures(r))}
