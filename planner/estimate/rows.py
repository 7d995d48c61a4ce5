"""Columns for the configuration a workload pins, and the choice among rows for what it leaves open."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from planner.estimate.memory import infer_memory, train_memory, usable_bytes
from planner.estimate.memory.budget import most_sequences
from planner.estimate.memory.fixed import has_budget
from planner.estimate.speed import infer_speed
from planner.estimate.types import Floats, Hardware, InferJob, InferWays, Memory, TrainJob, TrainWays
from planner.spec.types import InferWorkload, TrainWorkload
from planner.units import MILLI

OFFLOAD_STEPS = 33
"""Offload shares tried from none to all where the spec leaves the split open."""
LARGEST_BATCH = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class InferRow:
    """One inference configuration on one host."""

    job: InferJob
    ways: InferWays
    hw: Hardware
    memory: Memory
    margin: float = 1.0
    """Factor on what stands beside the pool of an engine with a budget."""

    @property
    def fits(self) -> bool:
        return bool(infer_fitting(self.job, self.memory, self.hw, self.margin)[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRow:
    """One training configuration on one host."""

    job: TrainJob
    ways: TrainWays
    hw: Hardware
    memory: Memory
    headroom: float

    @property
    def fits(self) -> bool:
        return bool(fitting(self.memory, self.hw, self.headroom)[0])


def fitting(memory: Memory, hw: Hardware, headroom: float) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Device bytes within what is usable less the headroom, host bytes within one node's memory, some batch left."""
    device = memory.needed_bytes <= usable_bytes(hw) * (1.0 - headroom)
    host = memory.host_bytes <= hw.ram_bytes
    return np.asarray(device & host & (memory.max_batch >= 1))


def infer_fitting(
    job: InferJob, memory: Memory, hw: Hardware, margin: float = 1.0
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """What fits; of an engine with a budget also whether its pool would hold a sequence still if everything else
    took `margin` times as much.
    """
    fits = fitting(memory, hw, job.memory_headroom)
    if margin == 1.0 or not has_budget(job):
        return fits
    pool = memory.parts["kv_cache"]
    rest = memory.device_peak_bytes - pool
    left = memory.max_batch * (1.0 - rest * (margin - 1.0) / np.maximum(pool, 1.0))
    without_pool = rest * margin <= usable_bytes(hw) * (1.0 - job.memory_headroom)
    return np.asarray(fits & np.where(pool > 0, left >= 1.0, without_pool))


def ints(value: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array([value], dtype=np.int64)


def floats(value: float) -> Floats:
    return np.array([float(value)])


def infer_ways(workload: InferWorkload, *, batch: float, weights_cpu: Floats | None = None) -> InferWays:
    """The pinned splits; 1 for what is left open."""
    pin = workload.pin
    offload = pin.offload
    return InferWays(
        tensor_parallel=ints(pin.tensor_parallel or 1),
        pipeline_parallel=ints(pin.pipeline_parallel or 1),
        data_parallel=ints(pin.data_parallel or 1),
        expert_parallel=ints(pin.expert_parallel or 1),
        context_parallel=ints(pin.context_parallel or 1),
        batch=floats(batch),
        weights_cpu=weights_cpu if weights_cpu is not None else floats(offload.weights_cpu if offload else 0.0),
        weights_disk=floats(offload.weights_disk if offload else 0.0),
        kv_cpu=floats(offload.kv_cpu if offload else 0.0),
        experts_cpu=floats(offload.experts_cpu if offload else 0.0),
    )


def infer_row(workload: InferWorkload, job: InferJob, hw: Hardware, *, margin: float = 1.0) -> InferRow:
    """The pinned configuration with the open batch and offload chosen: the least offload that fits, then the most
    sequences that memory, the engine's cap and the asked concurrency let.
    """
    asked = workload.effective_batch
    batch = float(asked) if asked != "auto" else float(workload.pin.data_parallel or 1)
    ways = infer_ways(workload, batch=batch)
    memory = infer_memory(job, ways, hw)
    if offload_is_open(workload) and not fitting(memory, hw, job.memory_headroom)[0]:
        ways, memory = least_offload(workload, job, hw, batch)
    if asked == "auto":
        ways, memory = largest_batch(workload, job, hw, ways, memory)
    return InferRow(job=job, ways=ways, hw=hw, memory=memory, margin=margin)


def largest_batch(
    workload: InferWorkload, job: InferJob, hw: Hardware, ways: InferWays, memory: Memory
) -> tuple[InferWays, Memory]:
    """The most sequences that memory, the engine's cap, the asked concurrency and the latency targets let.

    One sequence a rank where no batch meets them.
    """
    ranks = float(ways.data_parallel[0])
    cap = float(np.max(most_sequences(job, hw))) * ranks
    concurrency = workload.targets.concurrency
    limit = min(float(memory.max_batch[0]), cap, LARGEST_BATCH if concurrency is None else concurrency)
    batches = batches_up_to(limit, ranks)
    columns = replace(ways, batch=batches)
    held = infer_memory(job, columns, hw)
    good = fitting(held, hw, job.memory_headroom) & meets_latency(workload, job, hw, columns, held)
    best = batches[good].max() if good.any() else ranks
    chosen = replace(ways, batch=floats(best))
    return chosen, infer_memory(job, chosen, hw)


def batches_up_to(limit: float, ranks: float) -> Floats:
    """Batches worth trying, rising: powers of two of the ranks, and the last tenths below the limit."""
    powers = [ranks * 2**k for k in range(17) if ranks * 2**k <= limit]
    shares = [float(np.floor(limit * share / ranks) * ranks) for share in np.linspace(0.5, 1.0, 26)]
    return np.array(sorted({ranks, *powers, *(b for b in shares if b >= ranks)}))


def meets_latency(
    workload: InferWorkload, job: InferJob, hw: Hardware, ways: InferWays, memory: Memory
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Mean time to first token and per output token within the targets, where there are any."""
    targets = workload.targets
    good = np.ones(len(ways), dtype=np.bool_)
    if targets.ttft_ms is None and targets.tpot_ms is None:
        return good
    speed = infer_speed(job, ways, hw, kv_slots=memory.max_batch)
    if targets.ttft_ms is not None:
        good &= speed.ttft_s <= targets.ttft_ms * MILLI
    if targets.tpot_ms is not None:
        good &= np.isnan(speed.tpot_s) | (speed.tpot_s <= targets.tpot_ms * MILLI)
    return good


def offload_is_open(workload: InferWorkload | TrainWorkload) -> bool:
    """The spec lets the planner choose how much to offload."""
    return workload.pin.offload is None and workload.offload != "none"


def least_offload(workload: InferWorkload, job: InferJob, hw: Hardware, batch: float) -> tuple[InferWays, Memory]:
    """The smallest share of weights in host memory that fits; all of it where none does."""
    shares = np.linspace(0.0, 1.0, OFFLOAD_STEPS)
    columns = infer_ways(workload, batch=batch, weights_cpu=shares)
    fit = fitting(infer_memory(job, columns, hw), hw, job.memory_headroom)
    share = shares[int(np.argmax(fit))] if fit.any() else 1.0
    ways = infer_ways(workload, batch=batch, weights_cpu=floats(share))
    return ways, infer_memory(job, ways, hw)


def train_ways(workload: TrainWorkload, *, micro_batch: np.ndarray[tuple[int], np.dtype[np.int64]]) -> TrainWays:
    """The pinned splits; 1 for what is left open."""
    pin = workload.pin
    return TrainWays(
        tensor_parallel=ints(pin.tensor_parallel or 1),
        pipeline_parallel=ints(pin.pipeline_parallel or 1),
        data_parallel=ints(pin.data_parallel or 1),
        context_parallel=ints(pin.context_parallel or 1),
        expert_parallel=ints(pin.expert_parallel or 1),
        micro_batch=micro_batch,
        optimizer_cpu=floats(pin.offload.optimizer_cpu if pin.offload else 0.0),
        params_cpu=floats(pin.offload.params_cpu if pin.offload else 0.0),
    )


def train_row(workload: TrainWorkload, job: TrainJob, hw: Hardware, headroom: float) -> TrainRow:
    """The pinned configuration; an open micro-batch becomes the largest divisor of a rank's share that fits."""
    asked = workload.effective_micro_batch
    if asked != "auto":
        chosen = int(asked)
    else:
        share = max(1, job.global_batch // (workload.pin.data_parallel or 1))
        divisors = np.array([d for d in range(1, share + 1) if share % d == 0], dtype=np.int64)
        columns = train_ways(workload, micro_batch=divisors)
        fit = fitting(train_memory(job, columns, hw), hw, headroom)
        chosen = int(divisors[fit].max()) if fit.any() else 1
    ways = train_ways(workload, micro_batch=ints(chosen))
    return TrainRow(job=job, ways=ways, hw=hw, memory=train_memory(job, ways, hw), headroom=headroom)
