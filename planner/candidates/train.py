"""Ways to lay out one training run: every split, micro-batch and offload that fits and is done in time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from planner.candidates.layouts import Layouts, divisors, train_layouts
from planner.candidates.misses import Stage, gib_down
from planner.candidates.offload import least_share, open_places
from planner.candidates.search import (
    Outline,
    Search,
    TargetCheck,
    best_rows,
    device_fits,
    outlines,
    repeated,
    room_bytes,
    tightest_share,
)
from planner.candidates.types import Candidate
from planner.catalog.hosts import Host
from planner.estimate.memory import train_memory
from planner.estimate.speed import train_speed
from planner.estimate.types import Bools, Floats, Hardware, Ints, TrainJob, TrainSpeed, TrainWays
from planner.spec.types import TrainWorkload
from planner.units import HOURS_PER_MONTH, SECONDS_PER_HOUR, gib

OPTIMIZER_STEPS = 4
"""Shares of the optimizer state that may move to host memory: quarters."""
PREFERENCE_STEP = 10
OFFLOAD_PENALTY = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Rows of one job, ready to be estimated."""

    layouts: Layouts
    micro: Ints
    optimizer_cpu: Floats
    params_cpu: Floats

    def take(self, rows: Ints) -> Trial:
        """The rows named."""
        return Trial(
            layouts=self.layouts.take(rows),
            micro=self.micro[rows],
            optimizer_cpu=self.optimizer_cpu[rows],
            params_cpu=self.params_cpu[rows],
        )

    def ways(self) -> TrainWays:
        """As the physics wants it."""
        lay = self.layouts
        return TrainWays(
            tensor_parallel=lay.tensor,
            pipeline_parallel=lay.pipeline,
            data_parallel=lay.data,
            context_parallel=lay.context,
            expert_parallel=lay.expert,
            micro_batch=self.micro,
            optimizer_cpu=self.optimizer_cpu,
            params_cpu=self.params_cpu,
        )


def search_train(search: Search, *, horizon_months: int) -> list[Candidate]:
    """Candidates of a training workload; misses are noted in `search`."""
    workload = search.resolved.workload
    assert isinstance(workload, TrainWorkload)
    jobs = search.resolved.train_jobs()
    unsharded = any(job.sharding == "none" for job in jobs)
    precisions = list(dict.fromkeys(job.precision for job in jobs))
    found: list[Candidate] = []
    for several in (False, True):
        done = {c.kind for c in found}
        for job in jobs:
            kinds = [(k, h) for k, h in search.able(job, auto=search.resolved.precision_is_auto) if k not in done]
            if not kinds:
                continue
            layouts = train_layouts(
                job.model,
                search.splits,
                workload.pin,
                kinds,
                several=several,
                most_nodes=search.most_nodes,
                smallest_node=search.smallest_node,
                global_batch=job.global_batch,
                sequence_tokens=job.sequence_tokens,
                needs_ranks=unsharded and job.sharding != "none",
            )
            if not len(layouts):
                note_no_layout(search, kinds, several)
                continue
            preference = PREFERENCE_STEP * precisions.index(job.precision)
            found += list(search_job(search, workload, job, preference, kinds, layouts, horizon_months))
    return found


def note_no_layout(search: Search, kinds: list[tuple[int, Host]], several: bool) -> None:
    """Say that no split finds a place in a node."""
    if several:
        return
    for _, host in kinds:
        reason = f"no split of the run divides a node of {host.num_gpus} GPUs and the global batch"
        search.misses.add(host.gpu, Stage.UNSUPPORTED, 1.0, reason)


def search_job(
    search: Search,
    workload: TrainWorkload,
    job: TrainJob,
    preference: int,
    kinds: list[tuple[int, Host]],
    layouts: Layouts,
    horizon_months: int,
) -> Iterator[Candidate]:
    """Candidates of one combination of categorical choices."""
    hw = search.columns(job, kinds, layouts)
    headroom = search.resolved.memory_headroom
    room = room_bytes(hw, headroom, search.margins.memory)
    pinned = workload.pin.offload
    asked = workload.effective_micro_batch
    first = Trial(
        layouts=layouts,
        micro=np.full(len(layouts), 1 if asked == "auto" else asked, dtype=np.int64),
        optimizer_cpu=np.full(len(layouts), pinned.optimizer_cpu if pinned else 0.0),
        params_cpu=np.full(len(layouts), pinned.params_cpu if pinned else 0.0),
    )
    memory = train_memory(job, first.ways(), hw)
    search.evaluated += len(layouts)
    fits = np.broadcast_to(device_fits(memory, room), (len(layouts),))
    search.note_memory(job_name(job), layouts, memory, room, fits)
    most = np.broadcast_to(memory.max_batch, (len(layouts),))
    rows = np.flatnonzero(fits)
    if len(rows):
        trial = with_micros(first.take(rows), most[rows], job, asked)
        yield from judged(search, workload, job, preference, kinds, trial, horizon_months)
    places = open_places(workload, search.splits)
    if places:
        for trial in offloaded(job, first, hw, room, ~fits, places):
            yield from judged(search, workload, job, preference + OFFLOAD_PENALTY, kinds, trial, horizon_months)


def job_name(job: TrainJob) -> str:
    """The categorical choices in words."""
    return f"{job.precision}, sharding {job.sharding}, checkpointing {job.checkpointing}"


def with_micros(trial: Trial, most: Floats, job: TrainJob, asked: int | str) -> Trial:
    """Every row once for each micro-batch to try: the one asked for, or divisors of a rank's share that fit."""
    if asked != "auto":
        return trial
    choices = []
    for row in range(len(trial.layouts)):
        share = max(1, job.global_batch // int(trial.layouts.data[row]))
        fitting = [d for d in divisors(share) if d <= max(1.0, most[row])]
        choices.append(np.array(sorted({*fitting[-4:], 1}), dtype=np.int64))
    rows = np.repeat(np.arange(len(trial.layouts)), [len(c) for c in choices])
    return replace(trial.take(rows), micro=np.concatenate(choices))


def offloaded(
    job: TrainJob, first: Trial, hw: Hardware, room: Floats, missed: Bools, places: frozenset[str]
) -> Iterator[Trial]:
    """Rows that fit only with the optimizer (then also the parameters) in host memory."""
    rows = np.flatnonzero(missed)
    if not len(rows) or "optimizer_cpu" not in places:
        return
    trial, table, space = first.take(rows), repeated(hw, rows), room[rows]

    def fits_at(share: Floats, params: float) -> Bools:
        ways = replace(trial.ways(), optimizer_cpu=share, params_cpu=np.full(len(rows), params))
        found: Bools = np.broadcast_to(device_fits(train_memory(job, ways, table), space), (len(rows),))
        return found

    share, fits = least_share(lambda s: fits_at(s, 0.0), len(rows), OPTIMIZER_STEPS)
    kept = np.flatnonzero(fits)
    if len(kept):
        yield replace(trial, optimizer_cpu=share).take(kept)
    if "params_cpu" in places:
        both = np.flatnonzero(~fits & fits_at(np.ones(len(rows)), 1.0))
        if len(both):
            ones = np.ones(len(rows))
            yield replace(trial, optimizer_cpu=ones, params_cpu=ones).take(both)


def judged(
    search: Search,
    workload: TrainWorkload,
    job: TrainJob,
    preference: int,
    kinds: list[tuple[int, Host]],
    trial: Trial,
    horizon_months: int,
) -> Iterator[Candidate]:
    """Estimate the rows, drop what misses memory or time, keep the fastest micro-batch of each layout."""
    hw = search.columns(job, kinds, trial.layouts)
    memory = train_memory(job, trial.ways(), hw)
    size = (len(trial.layouts),)
    search.evaluated += len(trial.layouts)
    room = room_bytes(hw, search.resolved.memory_headroom, search.margins.memory)
    fits = np.broadcast_to(device_fits(memory, room), size)
    host = np.broadcast_to(memory.host_bytes, size)
    in_ram = host <= hw.ram_bytes * (1.0 - search.facts.value("host-ram-reserve"))
    excess = host / np.maximum(hw.ram_bytes, 1.0)
    text = {
        r: f"offloaded parts need {gib(host[r])} of host memory a node, it has {gib_down(hw.ram_bytes[r])}"
        for r in best_rows(trial.layouts.kind, excess, fits & ~in_ram)
    }
    search.note_rows(Stage.HOST_MEMORY, trial.layouts, excess, text)
    rows = np.flatnonzero(fits & in_ram)
    if not len(rows):
        return
    trial, hw = trial.take(rows), repeated(hw, rows)
    speed = train_speed(job, trial.ways(), hw)
    rate = np.broadcast_to(speed.tokens_per_second, (len(rows),)) * (workload.pin.replicas or 1)
    checks = target_checks(workload, rate / search.margins.seconds, horizon_months)
    quick = search.meets(trial.layouts, checks)
    used = tightest_share(checks, len(rows))
    lay = trial.layouts
    table = np.stack([lay.kind, lay.tensor, lay.pipeline, lay.data, lay.context, lay.expert, lay.nodes])
    _, group = np.unique(table, axis=1, return_inverse=True)
    peak, held = np.broadcast_to(memory.device_peak_bytes, size)[rows], host[rows]
    chosen = best_rows(np.asarray(group, dtype=np.int64).reshape(-1), -rate, quick)
    counts = np.full(len(rows), workload.pin.replicas or 1)
    found = outlines(chosen, lay, preference=preference, replicas=counts, host_bytes_per_node=held, used=used)
    for outline in search.worth_building(found):
        yield candidate(search, job, outline, trial, speed, float(peak[outline.row_index]))


def target_checks(workload: TrainWorkload, rate: Floats, horizon_months: int) -> list[TargetCheck]:
    """Tokens per second, and the end before the deadline (or the horizon), of every row."""
    targets = workload.targets
    checks = []
    if targets.tokens_per_second is not None:
        wanted = targets.tokens_per_second
        text = f"best {{0:,.4g}} tokens/s ({{1}}), asked {wanted:,.4g}"
        checks.append(TargetCheck(excess_ratio=wanted / rate, values=rate, text=text, target="tokens_per_second"))
    tokens = tokens_asked(workload)
    if tokens is not None:
        hours: Floats = tokens / rate / SECONDS_PER_HOUR / workload.day_share
        limit, target = targets.deadline_hours, "deadline_hours"
        limit = float(horizon_months * HOURS_PER_MONTH) if limit is None else limit
        text = f"done in {{0:,.4g}} h at best ({{1}}), asked {limit:,.4g} h"
        checks.append(TargetCheck(excess_ratio=hours / limit, values=hours, text=text, target=target))
    return checks


def tokens_asked(workload: TrainWorkload) -> float | None:
    """Tokens to be trained on; None where neither tokens nor steps are given."""
    targets = workload.targets
    if targets.tokens is not None:
        return targets.tokens
    if targets.steps is not None:
        return float(targets.steps * workload.effective_global_batch * workload.sequence)
    return None


def candidate(
    search: Search, job: TrainJob, outline: Outline, trial: Trial, speed: TrainSpeed, peak: float
) -> Candidate:
    """One row as a candidate."""
    row, nodes = outline.row_index, outline.nodes_per_replica
    one = trial.take(np.array([row]))
    lay = one.layouts
    machine = search.supply.kinds[outline.kind]
    moved = f"-o{one.optimizer_cpu[0]:.4g}p{one.params_cpu[0]:.4g}" if one.optimizer_cpu[0] else ""
    splits = f"tp{lay.tensor[0]}pp{lay.pipeline[0]}dp{lay.data[0]}cp{lay.context[0]}ep{lay.expert[0]}n{nodes}"
    name = f"{job.precision}-{job.sharding}-{job.checkpointing}/{splits}m{one.micro[0]}{moved}"
    return Candidate(
        id=f"{machine.id}/{name}",
        workload=search.name,
        kind=outline.kind,
        gpu=machine.gpu,
        job=job,
        ways=one.ways(),
        replicas=outline.replicas,
        gpus_per_replica=outline.gpus_per_replica,
        nodes_per_replica=nodes,
        host_bytes_per_node=outline.host_bytes_per_node,
        rate=None,
        preference=outline.preference,
        tightest_share=outline.tightest_share,
        figures={
            "tokens_per_second": float(speed.tokens_per_second[row]),
            "step_s": float(speed.step_s[row]),
            "device_peak_bytes": peak,
            "micro_batch": float(one.micro[0]),
        },
    )
