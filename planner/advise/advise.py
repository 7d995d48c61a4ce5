"""Advice for a workload that has been placed: what fits around it, and what would make it fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from planner.advise import infer, train
from planner.advise.steps import Family, first_change
from planner.advise.trial import Job, Ways, at_length, spread, tried
from planner.advise.types import Advice, AdvisedDocument, AdvisedEstimate, Change, FittingGpu, LongestContext
from planner.candidates.planning import Splits, planning_facts
from planner.catalog.hosts import Host, default_host
from planner.catalog.intervals import SHIPPED_CONFIDENCE
from planner.catalog.prices import PriceBook
from planner.errors import InputError
from planner.estimate.document import FailedEstimate
from planner.estimate.hardware import hardware, unsupported
from planner.estimate.run import Placed, allowed_gpus
from planner.estimate.types import InferJob, InferWays, TrainJob, TrainWays
from planner.spec.types import InferWorkload, Spec

if TYPE_CHECKING:
    from planner.catalog.load import Catalog

LONGEST_TOKENS = 1 << 20
"""Longest context that is tried where the model names no maximum."""
OFFLOAD_SHARES = 9
"""Shares of weights in host memory that other GPUs are tried with where offload is open."""


@dataclass(slots=True, kw_only=True)
class Advisor:
    """One spec over one catalog; prices and machines are looked up once."""

    spec: Spec
    catalog: Catalog
    usd_by_gpus: dict[tuple[str, int], float | None] = field(default_factory=dict)
    hosts_by_gpus: dict[int, tuple[Host, ...]] = field(default_factory=dict)

    def advice(self, placed: Placed) -> Advice:
        """What fits around a placed workload."""
        row, memory = placed.row, placed.estimate.memory
        limit = int(memory.usable_bytes * (1.0 - placed.resolved.fleet_headroom))
        bounds = placed.estimate.intervals["device_peak_bytes"]
        assert bounds is not None
        fits_on, too_small = self.gpus_that_fit(placed)
        return Advice(
            spare_bytes=limit - memory.needed_bytes,
            plus_minus_bytes=round(bounds[1] - memory.device_peak_bytes),
            max_batch=int(tried(placed, row.job, row.ways).max_batch[0]),
            longest_context=longest_context(placed),
            fits_on=fits_on,
            too_small=too_small,
            changes=() if row.fits else tuple(self.changes(placed)),
        )

    def changes(self, placed: Placed) -> Iterator[Change]:
        """The smallest step of each kind of change that makes it fit; pairs of changes where no single one does, and
        all together where no pair does."""
        splits, catalog = splits_of(placed), self.catalog
        tiers: tuple[Iterator[Family], ...]
        if isinstance(placed.row.job, InferJob):
            tiers = (
                infer.infer_families(placed, splits, catalog),
                infer.joint_families(placed, splits, catalog),
                infer.utmost_families(placed, splits, catalog),
            )
        else:
            tiers = (
                train.train_families(placed, self.spec, splits, catalog),
                train.joint_families(placed, self.spec, splits, catalog),
                train.utmost_families(placed, self.spec, splits, catalog),
            )
        for families in tiers:
            found = [c for f in families if (c := first_change(placed, f, self.catalog)) is not None]
            if found:
                yield from found
                return

    def gpus_that_fit(self, placed: Placed) -> tuple[tuple[FittingGpu, ...], int]:
        """GPUs on which it fits split as pinned, cheapest first, and how many that could run it are too small."""
        resolved = placed.resolved
        workload = resolved.workload
        num_gpus, replicas = workload.pin.gpus_per_replica, workload.pin.replicas or 1
        waiting = {h.gpu: h for h in self.default_hosts(num_gpus)}
        able: set[str] = set()
        found: list[FittingGpu] = []
        for job in resolved.jobs:
            hosts = [h for h in waiting.values() if self.runs(placed, job, h)]
            able |= {h.gpu for h in hosts}
            if not hosts:
                continue
            for host, peak, usable in fitting_hosts(placed, job, hosts, self.catalog):
                del waiting[host.gpu]
                price = self.usd_per_hour(host.gpu, num_gpus)
                found.append(
                    FittingGpu(
                        gpu=host.gpu,
                        precision=job.weights.id if isinstance(job, InferJob) else job.precision,
                        gpus=num_gpus * replicas,
                        device_peak_bytes=round(peak),
                        usable_bytes=int(usable),
                        usd_per_hour=None if price is None else price * replicas,
                    )
                )
        found.sort(key=lambda g: (g.usd_per_hour is None, g.usd_per_hour or 0.0, g.usable_bytes, g.gpu))
        return tuple(found), len(able) - len(found)

    def runs(self, placed: Placed, job: Job, host: Host) -> bool:
        """The GPU runs the engine and the format, and one machine or a network holds the split."""
        if placed.resolved.workload.pin.gpus_per_replica > host.num_gpus and not host.network_bytes_per_second_per_gpu:
            return False
        gpu = self.catalog.gpu(host.gpu)
        return unsupported(job, gpu, self.catalog, auto=placed.resolved.precision_is_auto) is None

    def default_hosts(self, num_gpus: int) -> tuple[Host, ...]:
        """The default machine of every GPU that the spec allows."""
        if num_gpus not in self.hosts_by_gpus:
            names = allowed_gpus(self.spec, self.catalog)
            self.hosts_by_gpus[num_gpus] = tuple(default_host(self.catalog, gpu, num_gpus) for gpu in names)
        return self.hosts_by_gpus[num_gpus]

    def usd_per_hour(self, gpu: str, num_gpus: int) -> float | None:
        """What the GPUs of one replica cost on demand, as a share of the instances that hold them."""
        key = (gpu, num_gpus)
        if key not in self.usd_by_gpus:
            rental = PriceBook(self.catalog).cheapest_rental(gpu, num_gpus)
            share = 1.0 if rental is None else min(1.0, num_gpus / (rental.num_instances * rental.offer.num_gpus))
            self.usd_by_gpus[key] = None if rental is None else rental.usd_per_hour * share
        return self.usd_by_gpus[key]


def advised(
    found: Sequence[Placed | FailedEstimate], spec: Spec, catalog: Catalog, *, confidence: float | None, advise: bool
) -> AdvisedDocument:
    """The document of all workloads, each with its advice where that is wanted."""
    advisor = Advisor(spec=spec, catalog=catalog)
    workloads: list[AdvisedEstimate | FailedEstimate] = []
    for entry in found:
        if isinstance(entry, FailedEstimate):
            workloads.append(entry)
            continue
        fields = {name: getattr(entry.estimate, name) for name in type(entry.estimate).model_fields}
        workloads.append(AdvisedEstimate(**fields, advice=advisor.advice(entry) if advise else None))
    return AdvisedDocument(
        confidence=SHIPPED_CONFIDENCE if confidence is None else confidence,
        fits_at_confidence=confidence,
        workloads=tuple(workloads),
    )


def splits_of(placed: Placed) -> Splits:
    """How the engine can spread and offload the model; in no way where the catalog does not say."""
    engine, mode = placed.resolved.engine.name, placed.resolved.workload.mode
    try:
        return planning_facts().splits_of(engine, mode)
    except InputError:
        return Splits(engine=engine, mode=mode, dimensions=(), offload=(), source="", as_of="")


def fitting_hosts(
    placed: Placed, job: Job, hosts: Sequence[Host], catalog: Catalog
) -> Iterator[tuple[Host, float, float]]:
    """Machines on which the job fits, with the peak and the usable bytes of their fullest GPU; all in one pass.

    Where the offload is open, a machine fits with any share of the weights in host memory.
    """
    workload = placed.resolved.workload
    hw = hardware(job, hosts, catalog)
    shares = np.zeros(1)
    if isinstance(job, InferJob) and workload.pin.offload is None and workload.offload != "none":
        shares = np.linspace(0.0, 1.0, OFFLOAD_SHARES)
    size = len(hosts) * len(shares)
    table = spread(hw, len(hosts)).take(np.repeat(np.arange(len(hosts)), len(shares))) if len(hosts) > 1 else hw
    ways = smallest_ways(placed)
    if len(shares) > 1:
        assert isinstance(ways, InferWays)
        ways = replace(ways, weights_cpu=np.tile(shares, len(hosts)))
    outcome = tried(placed, job, ways, table)
    assert len(outcome.fits) == size
    fits, peaks, usable = (
        c.reshape(len(hosts), -1) for c in (outcome.fits, outcome.device_peak_bytes, outcome.usable_bytes)
    )
    for number, host in enumerate(hosts):
        if fits[number].any():
            first = int(np.argmax(fits[number]))
            yield host, float(peaks[number, first]), float(usable[number, first])


def smallest_ways(placed: Placed) -> Ways:
    """The placed configuration with an open batch at its least and nothing offloaded that was not pinned."""
    workload, ways = placed.resolved.workload, placed.row.ways
    if isinstance(ways, TrainWays):
        asked = getattr(workload, "effective_micro_batch", "auto")
        return replace(ways, micro_batch=np.ones(1, dtype=np.int64)) if asked == "auto" else ways
    assert isinstance(workload, InferWorkload)
    if workload.effective_batch == "auto":
        ways = replace(ways, batch=ways.data_parallel.astype(np.float64))
    if workload.pin.offload is None:
        ways = replace(ways, weights_cpu=np.zeros(1))
    return ways


def longest_context(placed: Placed) -> LongestContext | None:
    """By halving, the longest context that fits at the batch asked, or at the least where that is open."""
    job, workload = placed.row.job, placed.resolved.workload
    if not has_lengths(job, workload):
        return None
    ways = smallest_ways(placed)
    maximum = job.model.max_context or LONGEST_TOKENS
    low, high = 0, max(maximum, least_tokens(job))
    if fits_at(placed, ways, high):
        low = high
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (middle, high) if fits_at(placed, ways, middle) else (low, middle)
    batch = int(ways.batch[0]) if isinstance(ways, InferWays) else int(ways.micro_batch[0])
    if low < least_tokens(job):
        return LongestContext(input_tokens=0, output_tokens=0, num_tokens=0, batch=batch, is_models_maximum=False)
    found = at_length(job, low)
    made = found.output_tokens if isinstance(found, InferJob) else 0
    return LongestContext(
        input_tokens=low - made,
        output_tokens=made,
        num_tokens=low,
        batch=batch,
        is_models_maximum=low == job.model.max_context,
    )


def fits_at(placed: Placed, ways: Ways, total: int) -> bool:
    """Contexts of this many tokens fit."""
    job = placed.row.job
    if total < least_tokens(job):
        return True
    return bool(tried(placed, at_length(job, total), ways).holds_batch[0])


def least_tokens(job: Job) -> int:
    """Fewest tokens a request can have: its images, one more of prompt, one of answer where it has one."""
    if isinstance(job, TrainJob):
        return 1
    return job.image_tokens * job.num_images + 1 + bool(job.output_tokens)


def has_lengths(job: Job, workload: object) -> bool:
    """Requests are text of one length: a mix has many, media have none."""
    if job.model.task in ("vision", "diffusion", "speech"):
        return False
    return not (isinstance(workload, InferWorkload) and workload.traffic)
