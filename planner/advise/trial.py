"""Columns of variants of one workload and whether each fits: the ground the advice stands on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

from planner.catalog.hosts import Host, default_host
from planner.estimate.memory import infer_memory, train_memory, usable_bytes
from planner.estimate.rows import fitting, infer_fitting
from planner.estimate.run import Placed
from planner.estimate.types import Bools, ColumnsT, Floats, Hardware, InferJob, InferWays, Ints, TrainJob, TrainWays

if TYPE_CHECKING:
    from planner.catalog.load import Catalog

Job = InferJob | TrainJob
Ways = InferWays | TrainWays


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Which rows of a trial fit, and what their fullest GPU holds; one entry per row."""

    fits: Bools
    holds_batch: Bools
    """The whole batch of the row finds room at once; an engine with a pool runs also where it does not."""
    device_peak_bytes: Floats
    needed_bytes: Floats
    """The peak without what the allocator would give back."""
    limit_bytes: Floats
    """Usable memory less what must stay free."""
    usable_bytes: Floats
    max_batch: Floats

    def first(self) -> int | None:
        """The first row that fits."""
        return int(np.argmax(self.fits)) if self.fits.any() else None


def tried(placed: Placed, job: Job, ways: Ways, hw: Hardware | None = None) -> Outcome:
    """Every row of one job in one pass, on the workload's own host where no hardware is given."""
    hw = placed.row.hw if hw is None else hw
    size = max(len(ways), len(hw))
    ways, hw = spread(ways, size), spread(hw, size)
    headroom = placed.resolved.memory_headroom
    if isinstance(job, InferJob):
        assert isinstance(ways, InferWays)
        memory = infer_memory(job, ways, hw)
        fits = infer_fitting(job, memory, hw, placed.resolved.memory_margin)
        holds = fits & (memory.max_batch >= ways.batch)
    else:
        assert isinstance(ways, TrainWays)
        memory = train_memory(job, ways, hw)
        fits = holds = fitting(memory, hw, headroom)
    usable = usable_bytes(hw)
    return Outcome(
        fits=np.broadcast_to(fits, (size,)),
        holds_batch=np.broadcast_to(holds, (size,)),
        device_peak_bytes=np.broadcast_to(memory.device_peak_bytes, (size,)),
        needed_bytes=np.broadcast_to(memory.needed_bytes, (size,)),
        limit_bytes=usable * (1.0 - placed.resolved.fleet_headroom),
        usable_bytes=usable,
        max_batch=np.broadcast_to(memory.max_batch, (size,)),
    )


def spread(columns: ColumnsT, size: int) -> ColumnsT:
    """Every column with all its rows: one of length 1 is repeated."""
    return type(columns)(**{f.name: np.broadcast_to(getattr(columns, f.name), (size,)) for f in fields(columns)})


def hosts_of(placed: Placed, counts: Sequence[int], catalog: Catalog) -> list[tuple[int, Host]]:
    """One machine for each number of GPUs of the same kind that one holds: the pinned one, else the default."""
    pin, own = placed.resolved.workload.pin, placed.host
    if pin.node is not None or pin.offer is not None:
        return [(n, own) for n in counts if n <= own.num_gpus]
    found = [(n, default_host(catalog, own.gpu, n)) for n in counts]
    return [(n, h) for n, h in found if n <= h.num_gpus]


def whole(values: Sequence[int]) -> Ints:
    """A column of whole numbers."""
    return np.array(values, dtype=np.int64)


def at_length(job: Job, total: int) -> Job:
    """The job with contexts of `total` tokens, split into prompt and answer as before."""
    if isinstance(job, TrainJob):
        return replace(job, sequence_tokens=total)
    made = 0
    if job.output_tokens:
        made = min(max(1, round(total * job.output_tokens / job.total_tokens)), total - 1)
    return replace(job, input_tokens=total - made, output_tokens=made)
