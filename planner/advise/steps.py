"""Families of changes, each from the smallest step to the largest, tried as one column of rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from planner.advise.trial import Job, Outcome, Ways, hosts_of, tried, whole
from planner.advise.types import Change
from planner.candidates.layouts import divisors, head_divisors
from planner.catalog.hosts import Host
from planner.estimate.hardware import hardware
from planner.estimate.run import Placed
from planner.estimate.types import Hardware, TrainWays

if TYPE_CHECKING:
    from planner.catalog.load import Catalog

Keys = Mapping[str, str | int | float]
MOST_GPUS = 64
"""Widest split that is proposed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Rows of one kind of change, smallest first."""

    job: Job
    ways: Ways
    words: Callable[[int], str]
    """The change of a row in words."""
    keys: Callable[[int], Keys]
    """Spec keys of a row."""
    hosts: Sequence[Host] = field(default=())
    """One machine a row; empty = the workload's own."""


def first_change(placed: Placed, family: Family, catalog: Catalog) -> Change | None:
    """The smallest step of the family that fits, if any does."""
    hw: Hardware | None = hardware(family.job, family.hosts, catalog) if family.hosts else None
    outcome = tried(placed, family.job, family.ways, hw)
    row = outcome.first()
    return None if row is None else change_of(family, outcome, row)


def change_of(family: Family, outcome: Outcome, row: int) -> Change:
    """One row of a family as advice."""
    gpus = np.broadcast_to(family.ways.gpus, outcome.fits.shape)
    peak = float(outcome.device_peak_bytes[row])
    return Change(
        change=family.words(row),
        keys=dict(family.keys(row)),
        gpus=int(gpus[row]),
        device_peak_bytes=round(peak),
        spare_bytes=int(outcome.limit_bytes[row] - float(outcome.needed_bytes[row])),
        max_batch=int(outcome.max_batch[row]),
    )


def one_step(job: Job, ways: Ways, words: str, **keys: str | int | float) -> Family:
    """A change with a single row."""
    return Family(job=job, ways=ways, words=lambda _: words, keys=lambda _: keys)


def both(first: Family, second: Family) -> Family:
    """One step and a family that was made on top of it."""
    words, keys = second.words, second.keys
    return replace(
        second,
        words=lambda row: f"{first.words(0)}, and {words(row)}",
        keys=lambda row: {**first.keys(0), **keys(row)},
    )


def wider_tensor(placed: Placed, job: Job, ways: Ways, catalog: Catalog) -> Family | None:
    """More GPUs share every layer, in one machine; whole attention heads each."""
    own = int(ways.tensor_parallel[0])
    others = int(ways.gpus[0]) // own
    wanted = [d for d in head_divisors(job.model) if d > own and d % own == 0 and d * others <= MOST_GPUS]
    found = hosts_of(placed, [d * others for d in wanted], catalog)
    degrees = [n // others for n, _ in found]
    if not degrees:
        return None
    return Family(
        job=job,
        ways=replace(ways, tensor_parallel=whole(degrees)),
        words=lambda row: f"tensor parallel {degrees[row]}: {degrees[row] * others} GPUs",
        keys=lambda row: {"pin.tensor_parallel": degrees[row]},
        hosts=[h for _, h in found],
    )


def longer_pipeline(placed: Placed, job: Job, ways: Ways, catalog: Catalog) -> Family | None:
    """More stages of layers, in one machine."""
    own = int(ways.pipeline_parallel[0])
    others = int(ways.gpus[0]) // own
    wanted = [n for n in range(own + 1, min(MOST_GPUS // others, job.model.num_layers) + 1)]
    found = hosts_of(placed, [n * others for n in wanted], catalog)
    stages = [n // others for n, _ in found]
    if not stages:
        return None
    return Family(
        job=job,
        ways=replace(ways, pipeline_parallel=whole(stages)),
        words=lambda row: f"pipeline parallel {stages[row]}: {stages[row] * others} GPUs",
        keys=lambda row: {"pin.pipeline_parallel": stages[row]},
        hosts=[h for _, h in found],
    )


def more_ranks(placed: Placed, job: Job, ways: TrainWays, catalog: Catalog, *, global_batch: int) -> Family | None:
    """More data-parallel ranks, over which the job's sharding deals states out, in one machine."""
    own = int(ways.data_parallel[0])
    others = int(ways.gpus[0]) // own
    micro = int(ways.micro_batch[0])
    share = max(1, global_batch // micro)
    wanted = [n for n in divisors(share) if n > own and n * others <= MOST_GPUS]
    found = hosts_of(placed, [n * others for n in wanted], catalog)
    ranks = [n // others for n, _ in found]
    if not ranks:
        return None
    return Family(
        job=job,
        ways=replace(ways, data_parallel=whole(ranks)),
        words=lambda row: f"data parallel {ranks[row]}: {ranks[row] * others} GPUs",
        keys=lambda row: {"pin.data_parallel": ranks[row]},
        hosts=[h for _, h in found],
    )
