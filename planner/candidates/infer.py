"""Ways to serve one inference workload: every layout, batch and offload split that fits and meets the targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner.candidates.arrivals import Carried, carried
from planner.candidates.layouts import Layouts, infer_layouts
from planner.candidates.misses import Stage, gib_down
from planner.candidates.offload import OffloadColumns, least_offload, none, open_places
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
from planner.estimate.memory import infer_memory
from planner.estimate.memory.budget import most_sequences
from planner.estimate.memory.fixed import has_budget
from planner.estimate.speed import infer_speed
from planner.estimate.types import Bools, Floats, Hardware, InferJob, InferSpeed, InferWays, Ints, Memory
from planner.spec.types import InferWorkload
from planner.units import MILLI, gib

LARGEST_BATCH = 4096
BATCHES = tuple(2**n for n in range(13))
OFFLOAD_BATCHES = (1, 2, 4, 8, 16, 32, 64)
"""Batches for which the least offload is sought."""
PREFERENCE_STEP = 10
"""Preference of the next number format; within one, offload counts as `OFFLOAD_PENALTY`."""
OFFLOAD_PENALTY = 5
PART_PENALTY = 1
"""Of a part of a GPU (MIG): where a whole one costs no more, it is taken."""
MOST_REPLICAS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Rows of one number format, ready to be estimated."""

    layouts: Layouts
    batch: Floats
    offload: OffloadColumns

    def take(self, rows: Ints) -> Trial:
        """The rows named."""
        return Trial(layouts=self.layouts.take(rows), batch=self.batch[rows], offload=self.offload.take(rows))

    def ways(self) -> InferWays:
        """As the physics wants it."""
        lay = self.layouts
        return InferWays(
            tensor_parallel=lay.tensor,
            pipeline_parallel=lay.pipeline,
            data_parallel=lay.data,
            expert_parallel=lay.expert,
            context_parallel=lay.context,
            batch=self.batch,
            weights_cpu=self.offload.weights_cpu,
            weights_disk=self.offload.weights_disk,
            kv_cpu=self.offload.kv_cpu,
            experts_cpu=self.offload.experts_cpu,
        )


def search_infer(search: Search) -> list[Candidate]:
    """Candidates of an inference workload; misses are noted in `search`."""
    workload = search.resolved.workload
    assert isinstance(workload, InferWorkload)
    found: list[Candidate] = []
    for number, job in enumerate(search.resolved.infer_jobs()):
        done = settled(found)
        kinds = [(k, h) for k, h in search.able(job, auto=search.resolved.precision_is_auto) if k not in done]
        for several in (False, True):
            reached = {c.kind for c in found} if several else set()
            rest = [(k, h) for k, h in kinds if k not in reached]
            if rest:
                found += list(search_job(search, workload, job, number, rest, several=several))
    return found


def settled(found: Sequence[Candidate]) -> set[int]:
    """Kinds with one replica on one GPU, nothing offloaded: no later (worse) number format can need less of them."""
    return {c.kind for c in found if c.gpus == 1 and c.preference % PREFERENCE_STEP in (0, PART_PENALTY)}


def search_job(
    search: Search, workload: InferWorkload, job: InferJob, number: int, kinds: list[tuple[int, Host]], *, several: bool
) -> Iterator[Candidate]:
    """Candidates of one number format within nodes, or over several nodes."""
    layouts = infer_layouts(
        job.model,
        search.splits,
        workload.pin,
        kinds,
        several=several,
        most_nodes=search.most_nodes,
        smallest_node=search.smallest_node,
    )
    if not len(layouts):
        note_no_layout(search, kinds, several)
        return
    hw = search.columns(job, kinds, layouts)
    room = room_bytes(hw, job.memory_headroom, memory_margin(search, job))
    first = first_trial(workload, layouts)
    memory = infer_memory(job, first.ways(), hw)
    search.evaluated += len(layouts)
    fits = device_fits(memory, room)
    search.note_memory(job.weights.id, layouts, memory, room, fits)
    rows = np.flatnonzero(fits)
    if len(rows):
        trial = with_batches(first.take(rows), asked_batches(workload, memory, rows, job, hw))
        yield from judged(search, workload, job, number, kinds, trial, penalty=0)
    places = open_places(workload, search.splits)
    if places and not several:
        batches = [float(b) for b in OFFLOAD_BATCHES] if workload.effective_batch == "auto" else [float(first.batch[0])]
        uncut = first.take(np.flatnonzero(~np.isin(layouts.kind, list(search.supply.holders))))
        if not len(uncut.layouts):
            return
        wide = with_batches(uncut, [np.array(batches)] * len(uncut.layouts))
        hosts = search.columns(job, kinds, wide.layouts)
        space = room_bytes(hosts, job.memory_headroom, memory_margin(search, job))
        for offload in least_offload(job, wide.ways(), hosts, space, places):
            kept = np.flatnonzero(offload.fits & ~offload.is_none)
            search.evaluated += len(wide.layouts)
            if len(kept):
                trial = Trial(layouts=wide.layouts, batch=wide.batch, offload=offload).take(kept)
                yield from judged(search, workload, job, number, kinds, trial, penalty=OFFLOAD_PENALTY)


def memory_margin(search: Search, job: InferJob) -> float:
    """Factor on predicted bytes; an engine that takes a fixed budget stays within it whatever the model needs."""
    return 1.0 if has_budget(job) else search.margins.memory


def note_no_layout(search: Search, kinds: list[tuple[int, Host]], several: bool) -> None:
    """Say that the pinned splits find no place in a node."""
    if several:
        return
    for _, host in kinds:
        reason = f"the pinned splits do not divide a node of {host.num_gpus} GPUs"
        search.misses.add(host.gpu, Stage.UNSUPPORTED, 1.0, reason)


def first_trial(workload: InferWorkload, layouts: Layouts) -> Trial:
    """Every layout with the pinned batch, or one sequence on each rank, and the pinned offload."""
    asked = workload.effective_batch
    ranks = layouts.data.astype(np.float64)
    batch = ranks if asked == "auto" else np.full(len(layouts), float(asked))
    return Trial(layouts=layouts, batch=batch, offload=none(len(layouts), workload.pin.offload))


def asked_batches(workload: InferWorkload, memory: Memory, rows: Ints, job: InferJob, hw: Hardware) -> list[Floats]:
    """Batches to try on each row: the one asked for, or powers of two up to what memory and the engine hold,
    that limit itself, and even parts of the concurrency asked for."""
    if workload.effective_batch != "auto":
        return [np.array([float(workload.effective_batch)])] * len(rows)
    caps = np.broadcast_to(np.minimum(most_sequences(job, hw), LARGEST_BATCH), (len(hw),))
    held = np.broadcast_to(memory.max_batch, (len(hw),))
    concurrency = workload.targets.concurrency
    extra = [-(-concurrency // n) for n in range(1, 9)] if concurrency else []
    found = []
    for row in rows:
        most = int(max(1.0, min(held[row], caps[row])))
        batches = {b for b in (*BATCHES, *extra) if b <= most} | {most}
        if concurrency:
            batches = {b for b in batches if b <= concurrency} or {1}
        found.append(np.array(sorted(batches), dtype=np.float64))
    return found


def with_batches(trial: Trial, batches: list[Floats]) -> Trial:
    """Every row once for each of its batches."""
    rows = np.repeat(np.arange(len(trial.layouts)), [len(b) for b in batches])
    return replace(trial.take(rows), batch=np.concatenate(batches))


def judged(
    search: Search,
    workload: InferWorkload,
    job: InferJob,
    number: int,
    kinds: list[tuple[int, Host]],
    trial: Trial,
    *,
    penalty: int,
) -> Iterator[Candidate]:
    """Estimate the rows, drop what misses memory or targets, size the rest, keep the best batch of each layout."""
    hw = search.columns(job, kinds, trial.layouts)
    ways = trial.ways()
    memory = infer_memory(job, ways, hw)
    room = room_bytes(hw, job.memory_headroom, memory_margin(search, job))
    fits = np.broadcast_to(device_fits(memory, room), (len(trial.layouts),))
    host = np.broadcast_to(memory.host_bytes, fits.shape)
    in_ram = host <= hw.ram_bytes * trial.layouts.nodes * (1.0 - search.facts.value("host-ram-reserve"))
    note_host_memory(search, trial.layouts, host, hw, fits & ~in_ram)
    search.evaluated += len(trial.layouts)
    rows = np.flatnonzero(fits & in_ram)
    if not len(rows):
        return
    trial, hw, memory = trial.take(rows), repeated(hw, rows), taken(memory, rows)
    speed = infer_speed(job, trial.ways(), hw, kv_slots=memory.max_batch)
    under_arrivals = carried(search, workload, job, trial.ways(), hw, memory.max_batch, speed)
    per_second = search.facts.value("utilisation-cap") * speed.requests_per_second / search.margins.seconds
    if under_arrivals is not None:
        per_second = under_arrivals.per_second
    replicas, share = replicas_needed(workload, speed, trial.batch, per_second, search.margins.seconds)
    checks = target_checks(search, workload, speed, replicas, trial.layouts, under_arrivals)
    good = search.meets(trial.layouts, checks)
    used = np.maximum(tightest_share(checks, len(rows)), share / replicas)
    chosen = best_batches(workload, trial, replicas, good & (replicas <= MOST_REPLICAS), used)
    host_share = memory.host_bytes / trial.layouts.nodes
    counts = np.full(len(rows), workload.pin.replicas) if workload.pin.replicas else replicas.astype(np.int64)
    counts = np.maximum(counts, -(-workload.least_nodes // trial.layouts.nodes))
    preference = number * PREFERENCE_STEP + penalty
    found = outlines(
        chosen, trial.layouts, preference=preference, replicas=counts, host_bytes_per_node=host_share, used=used
    )
    for outline in search.worth_building(found):
        yield candidate(search, job, outline, trial, memory, speed, share)


def taken(memory: Memory, rows: Ints) -> Memory:
    """The rows of a memory estimate."""

    def pick(column: Floats) -> Floats:
        return column if len(column) == 1 else column[rows]

    return Memory(
        parts={name: pick(column) for name, column in memory.parts.items()},
        allocated_peak_bytes=pick(memory.allocated_peak_bytes),
        reserved_peak_bytes=pick(memory.reserved_peak_bytes),
        device_peak_bytes=pick(memory.device_peak_bytes),
        cached_bytes=pick(memory.cached_bytes),
        static_bytes=pick(memory.static_bytes),
        host_bytes=pick(memory.host_bytes),
        disk_bytes=pick(memory.disk_bytes),
        kv_cache_tokens=pick(memory.kv_cache_tokens),
        max_batch=pick(memory.max_batch),
        phase=memory.phase if len(memory.phase) == 1 else memory.phase[rows],
    )


def note_host_memory(search: Search, layouts: Layouts, host: Floats, hw: Hardware, missed: Bools) -> None:
    """Note what host memory lacks for the offload."""
    if not missed.any():
        return
    excess = host / np.maximum(hw.ram_bytes * layouts.nodes, 1.0)
    text = {
        r: f"offloaded parts need {gib(host[r])} of host memory, the node has {gib_down(hw.ram_bytes[r])}"
        for r in best_rows(layouts.kind, excess, missed)
    }
    search.note_rows(Stage.HOST_MEMORY, layouts, excess, text)


def target_checks(
    search: Search,
    workload: InferWorkload,
    speed: InferSpeed,
    replicas: Floats,
    layouts: Layouts,
    under_arrivals: Carried | None,
) -> list[TargetCheck]:
    """Time to first token, time per token and pinned replicas against what is needed.

    Latencies are those of the full batch in closed loop, or under random arrivals where a rate is asked.
    """
    targets, margins = workload.targets, search.margins
    checks = [] if under_arrivals is None else [*under_arrivals.checks]
    for name, column, limit_ms, target in (
        ("TTFT", speed.ttft_s * margins.ttft, targets.ttft_ms, "ttft_ms"),
        ("TPOT", speed.tpot_s * margins.seconds, targets.tpot_ms, "tpot_ms"),
    ):
        if limit_ms is not None and under_arrivals is None:
            taken_ms = np.nan_to_num(np.broadcast_to(column, (len(layouts),)), nan=0.0) / MILLI
            text = f"best {name} {{0:,.4g}} ms ({{1}}), asked {limit_ms:,.4g} ms"
            checks.append(TargetCheck(excess_ratio=taken_ms / limit_ms, values=taken_ms, text=text, target=target))
    most = workload.pin.replicas
    if most is not None:
        text = f"the demand needs {{0:,.0f}} replicas ({{1}}), pinned are {most}"
        checks.append(TargetCheck(excess_ratio=replicas / most, values=replicas, text=text))
    return checks


def replicas_needed(
    workload: InferWorkload, speed: InferSpeed, batch: Floats, per_second: Floats, margin: float
) -> tuple[Floats, Floats]:
    """Replicas that carry the demand, and the exact number before rounding up; 1 and 0 where none is asked.

    One replica carries `per_second` requests that arrive; rates of tokens count divided by `margin`.
    """
    targets = workload.targets
    need: Floats = np.zeros(len(batch))
    if targets.requests_per_second is not None:
        need = np.maximum(need, targets.requests_per_second / np.maximum(per_second, 1e-12))
    if targets.output_tokens_per_second is not None:
        wanted = margin * targets.output_tokens_per_second
        need = np.maximum(need, wanted / np.maximum(speed.output_tokens_per_second, 1e-12))
    if targets.concurrency is not None:
        need = np.maximum(need, targets.concurrency / np.maximum(speed.batch_running, 1e-12))
    whole: Floats = np.maximum(1.0, np.ceil(need * (1.0 - 1e-12)))
    return whole, need


def best_batches(workload: InferWorkload, trial: Trial, replicas: Floats, eligible: Bools, used: Floats) -> list[int]:
    """For each layout the batch with the fewest replicas. Of equals the one that uses least of its tightest target
    (`used`) where demand and latency are asked; the smallest (least latency) where only demand is; else the largest
    that memory and latency let."""
    lay = trial.layouts
    table = np.stack([lay.kind, lay.tensor, lay.pipeline, lay.data, lay.context, lay.expert, lay.nodes])
    _, group = np.unique(table, axis=1, return_inverse=True)
    asked = workload.targets
    has_demand = any(
        v is not None for v in (asked.requests_per_second, asked.output_tokens_per_second, asked.concurrency)
    )
    has_latency = asked.ttft_ms is not None or asked.tpot_ms is not None
    # Rows of one layout stand by rising batch, so of equals the smallest comes first.
    tie = -trial.batch if not has_demand else used if has_latency else trial.batch
    return best_rows(np.asarray(group, dtype=np.int64).reshape(-1), replicas, eligible, tie)


def candidate(
    search: Search, job: InferJob, outline: Outline, trial: Trial, memory: Memory, speed: InferSpeed, share: Floats
) -> Candidate:
    """One row as a candidate."""
    row = outline.row_index
    one = trial.take(np.array([row]))
    machine = search.supply.kinds[outline.kind]

    def at(column: Floats) -> float:
        return float(column[row] if len(column) > 1 else column[0])

    cut = "" if machine.part is None else f"/{machine.gpu}-{machine.part.profile}"
    return Candidate(
        id=f"{machine.id}{cut}/{job.weights.id}/{way_name(one)}",
        workload=search.name,
        kind=outline.kind,
        gpu=machine.gpu,
        job=job,
        ways=one.ways(),
        replicas=outline.replicas,
        gpus_per_replica=outline.gpus_per_replica,
        part=machine.part,
        nodes_per_replica=outline.nodes_per_replica,
        host_bytes_per_node=outline.host_bytes_per_node,
        rate=1.0 / float(share[row]) if share[row] > 0 else None,
        preference=outline.preference + (0 if machine.part is None else PART_PENALTY),
        tightest_share=outline.tightest_share,
        figures={
            "ttft_s": at(speed.ttft_s),
            "tpot_s": at(speed.tpot_s),
            "requests_per_second": at(speed.requests_per_second),
            "output_tokens_per_second": at(speed.output_tokens_per_second),
            "batch": float(one.batch[0]),
            "device_peak_bytes": at(memory.device_peak_bytes),
        },
    )


def way_name(one: Trial) -> str:
    """Splits, batch and offload of one row in a short, unique form."""
    lay = one.layouts
    degrees = f"tp{lay.tensor[0]}pp{lay.pipeline[0]}dp{lay.data[0]}cp{lay.context[0]}ep{lay.expert[0]}n{lay.nodes[0]}"
    off = one.offload
    shares = [("w", off.weights_cpu[0]), ("d", off.weights_disk[0]), ("k", off.kv_cpu[0]), ("e", off.experts_cpu[0])]
    moved = "".join(f"{name}{share:.4g}" for name, share in shares if share)
    return f"{degrees}b{one.batch[0]:.0f}" + (f"-{moved}" if moved else "")
