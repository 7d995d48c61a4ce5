"""The least that must leave the GPU for a way to fit: steps of whole layers, host memory first, then disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from planner.candidates.planning import Place, Splits
from planner.candidates.search import device_fits
from planner.estimate.memory import infer_memory
from planner.estimate.types import Bools, Floats, Hardware, InferJob, InferWays, Ints
from planner.spec.types import InferWorkload, OffloadPlaces, PinOffload, TrainWorkload

KV_STEPS = 16
HOST_RAM_SHARE = 0.9
"""Of a node's memory that offloaded weights may fill before the rest goes to disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OffloadColumns:
    """Shares outside the GPU, one entry per row, and whether the row then fits the device."""

    weights_cpu: Floats
    weights_disk: Floats
    kv_cpu: Floats
    experts_cpu: Floats
    fits: Bools

    def take(self, rows: Ints) -> OffloadColumns:
        """The rows named."""
        return OffloadColumns(
            weights_cpu=self.weights_cpu[rows],
            weights_disk=self.weights_disk[rows],
            kv_cpu=self.kv_cpu[rows],
            experts_cpu=self.experts_cpu[rows],
            fits=self.fits[rows],
        )

    @property
    def is_none(self) -> Bools:
        """Rows with everything on the GPU."""
        result: Bools = (self.weights_cpu + self.weights_disk + self.kv_cpu + self.experts_cpu) == 0.0
        return result


def none(num_rows: int, pinned: PinOffload | None = None) -> OffloadColumns:
    """The pinned shares, or nothing, for every row."""
    at = pinned or PinOffload()
    return OffloadColumns(
        weights_cpu=np.full(num_rows, at.weights_cpu),
        weights_disk=np.full(num_rows, at.weights_disk),
        kv_cpu=np.full(num_rows, at.kv_cpu),
        experts_cpu=np.full(num_rows, at.experts_cpu),
        fits=np.ones(num_rows, dtype=bool),
    )


def open_places(workload: InferWorkload | TrainWorkload, splits: Splits) -> frozenset[Place]:
    """Where the spec and the engine let the planner put things; empty where offload is pinned or not wanted."""
    if workload.pin.offload is not None or workload.offload == "none":
        return frozenset()
    wanted = OffloadPlaces(cpu=True, disk=True) if isinstance(workload.offload, str) else workload.offload
    return frozenset(p for p in splits.offload if (wanted.disk if p.endswith("_disk") else wanted.cpu))


def least_offload(
    job: InferJob, ways: InferWays, hw: Hardware, room: Floats, places: frozenset[Place]
) -> Iterator[OffloadColumns]:
    """For every row the least share of experts that fits; apart from that of weights, and of the KV cache."""
    steps = max(1, job.model.num_layers)
    nothing = np.zeros(len(hw))
    if "experts_cpu" in places and any(b.moe is not None for b in job.model.blocks):
        share, fits = least_share(lambda s: moved(job, replace(ways, experts_cpu=s), hw, room), len(hw), steps)
        yield OffloadColumns(weights_cpu=nothing, weights_disk=nothing, kv_cpu=nothing, experts_cpu=share, fits=fits)
    if "weights_cpu" in places:
        share, fits = least_share(lambda s: moved(job, replace(ways, weights_cpu=s), hw, room), len(hw), steps)
        cpu, disk = share, np.zeros(len(hw))
        if "weights_disk" in places:
            cpu, disk = with_disk(job, ways, hw, share, steps)
        yield OffloadColumns(weights_cpu=cpu, weights_disk=disk, kv_cpu=nothing, experts_cpu=nothing, fits=fits)
    if "kv_cpu" in places and job.output_tokens > 0:
        share, fits = least_share(lambda s: moved(job, replace(ways, kv_cpu=s), hw, room), len(hw), KV_STEPS)
        yield OffloadColumns(weights_cpu=nothing, weights_disk=nothing, kv_cpu=share, experts_cpu=nothing, fits=fits)


def moved(job: InferJob, ways: InferWays, hw: Hardware, room: Floats) -> Bools:
    """Which rows fit the device and hold the batch that is asked of them."""
    memory = infer_memory(job, ways, hw)
    result: Bools = np.broadcast_to(device_fits(memory, room) & (memory.max_batch >= ways.batch), (len(hw),))
    return result


def least_share(fits_at: Callable[[Floats], Bools], num_rows: int, steps: int) -> tuple[Floats, Bools]:
    """By halving, the least of `steps` equal shares at which a row fits; fitting never ends as the share grows.

    >>> share, fits = least_share(lambda s: s >= np.array([0.3, 2.0]), 2, 4)
    >>> share.tolist(), fits.tolist()
    ([0.5, 1.0], [True, False])
    """
    low = np.full(num_rows, -1, dtype=np.int64)
    high = np.full(num_rows, steps, dtype=np.int64)
    fits = fits_at(np.ones(num_rows))
    for _ in range(int(np.ceil(np.log2(steps + 1))) + 1):
        middle = (low + high) // 2
        good = fits_at(np.maximum(middle, 0) / steps) & (middle >= 0)
        high = np.where(good & (middle < high), middle, high)
        low = np.where(~good & (middle > low), middle, low)
    share: Floats = high / steps
    return share, np.asarray(fits)


def with_disk(job: InferJob, ways: InferWays, hw: Hardware, share: Floats, steps: int) -> tuple[Floats, Floats]:
    """Split the share between host memory and disk: whole layers in memory while they fit it."""
    memory = infer_memory(job, replace(ways, weights_cpu=np.ones(len(hw))), hw)
    whole = np.maximum(np.broadcast_to(memory.host_bytes, (len(hw),)), 1.0)
    most = np.floor(np.clip(hw.ram_bytes * HOST_RAM_SHARE / whole, 0.0, 1.0) * steps) / steps
    has_disk = hw.nvme_bytes_per_second > 0
    cpu: Floats = np.where(has_disk, np.minimum(share, most), share)
    return cpu, share - cpu
