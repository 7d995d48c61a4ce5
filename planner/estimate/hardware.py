"""Columns of hardware facts for a job, and why a GPU cannot run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from planner.catalog.types import Gpu, PeakRates
from planner.errors import InputError
from planner.estimate.types import Hardware, InferJob, TrainJob

if TYPE_CHECKING:
    from planner.catalog.hosts import Host
    from planner.catalog.load import Catalog

BF16_SERVES = "bf16 is native and serves"
NO_LINK = 1.0
"""Bytes per second of a link that nobody publishes: so slow that nothing is planned over it."""


def unsupported(job: InferJob | TrainJob, gpu: Gpu, catalog: Catalog, *, auto: bool = False) -> str | None:
    """Why the GPU cannot run the job's number format at all; None = it can (natively or weight-only)."""
    if gpu.vendor not in job.engine.profile.vendors:
        return f"engine {job.engine.name} does not run on {gpu.vendor} accelerators ({gpu.name})"
    if isinstance(job, TrainJob):
        needed = "fp16" if job.precision == "fp16-mixed" else job.precision.removesuffix("-mixed")
        needed = "fp32" if needed == "tf32" else needed
        if catalog.support(gpu, catalog.precision(needed)) != "native":
            half = needed == "bf16" and catalog.support(gpu, catalog.precision("fp16")) == "native"
            way_out = "; precision: fp16-mixed would run" if half else ""
            return f"{gpu.name} ({gpu.arch}) cannot train in {job.precision}: no native {needed}{way_out}"
        if auto and job.precision == "fp16-mixed" and catalog.support(gpu, catalog.precision("bf16")) == "native":
            return BF16_SERVES
        fmt = job.base
        if job.method == "full":
            return None
    else:
        fmt = job.weights
    support = catalog.support(gpu, fmt)
    if support == "no":
        return f"{gpu.name} ({gpu.arch}) has no {fmt.id}"
    if auto and fmt.id == "fp16" and catalog.support(gpu, catalog.precision("bf16")) == "native":
        return BF16_SERVES
    return None


def hardware(job: InferJob | TrainJob, hosts: Sequence[Host], catalog: Catalog) -> Hardware:
    """One row per host, in order. Missing figures of a GPU stand in by the spec of its kind, never silently:
    the host's assumptions name them.
    """
    gpus = [catalog.gpu(h.gpu) for h in hosts]
    weight_only = [expands(job, g, catalog) for g in gpus]
    pairs = tuple(zip(gpus, hosts, strict=True))
    compute = job.weights.compute if isinstance(job, InferJob) else train_compute(job)
    peaks = [peak(g.peak_flop_per_second, "bf16" if w else compute) for g, w in zip(gpus, weight_only, strict=True)]

    def column(values: Sequence[float | int | None]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array([float(v or 0.0) for v in values])

    return Hardware(
        arch=np.array([g.arch for g in gpus]),
        gpu=np.array([g.id for g in gpus]),
        memory_bytes=column(
            [g.memory_bytes * h.gpu_share if h.part is None else h.part.memory_bytes for g, h in pairs]
        ),
        hbm_bytes_per_second=column([g.hbm_bytes_per_second * bandwidth_share(h) for g, h in pairs]),
        peak_flop_per_second=column([p * compute_share(h) for p, h in zip(peaks, hosts, strict=True)]),
        peak16_flop_per_second=column([peak(g.peak_flop_per_second, "bf16") * compute_share(h) for g, h in pairs]),
        peak32_flop_per_second=column([peak(g.peak_flop_per_second, "fp32") * compute_share(h) for g, h in pairs]),
        sm_count=column([g.sm_count if h.part is None else h.part.sm_count for g, h in pairs]),
        weight_only=np.array(weight_only),
        tdp_kw=column([g.tdp_kw for g in gpus]),
        pcie_bytes_per_second=column([h.pcie_bytes_per_second or NO_LINK for h in hosts]),
        link_bytes_per_second=column([h.link_bytes_per_second or h.pcie_bytes_per_second or NO_LINK for h in hosts]),
        link_num_gpus=np.array([h.link_num_gpus for h in hosts]),
        p2p=np.array([h.link_is_p2p for h in hosts]),
        network_bytes_per_second=column([h.network_bytes_per_second_per_gpu for h in hosts]),
        node_gpus=np.array([h.num_gpus for h in hosts]),
        ram_bytes=column([h.ram_bytes for h in hosts]),
        ram_bytes_per_second=column([h.ram_bytes_per_second for h in hosts]),
        nvme_bytes_per_second=column([h.nvme_bytes_per_second for h in hosts]),
        node_power_kw=column([h.power_kw for h in hosts]),
    )


def bandwidth_share(host: Host) -> float:
    """Of one GPU's memory bandwidth, what a job on the host gets."""
    return host.gpu_share if host.part is None else host.part.bandwidth_share


def compute_share(host: Host) -> float:
    """Of one GPU's arithmetic, what a job on the host gets."""
    return host.gpu_share if host.part is None else host.part.compute_share


def expands(job: InferJob | TrainJob, gpu: Gpu, catalog: Catalog) -> bool:
    """Weights are expanded to 16 bit before every product."""
    fmt = job.weights if isinstance(job, InferJob) else job.base
    if isinstance(job, TrainJob) and job.method == "full":
        return False
    return fmt.weight_only or catalog.support(gpu, fmt) == "weight-only"


def train_compute(job: TrainJob) -> str:
    """The number format of the matrix products of training."""
    return {"fp16-mixed": "fp16", "fp8-mixed": "fp8"}.get(job.precision, job.precision.removesuffix("-mixed"))


FALLBACKS: Mapping[str, tuple[str, ...]] = {
    "tf32": ("tf32", "fp32"),
    "fp16": ("fp16", "bf16", "fp32"),
    "bf16": ("bf16", "fp16", "fp32"),
    "fp8": ("fp8", "bf16", "fp16", "fp32"),
    "int8": ("int8", "bf16", "fp16", "fp32"),
    "fp4": ("fp4", "fp8", "bf16", "fp16", "fp32"),
    "fp32": ("fp32", "tf32", "bf16", "fp16"),
}
"""Formats whose units do the work where a GPU has no unit of its own for a format."""


def peak(rates: PeakRates, compute: str) -> float:
    """Dense FLOP per second of the units that do the work. Raises InputError for a GPU without any rate.

    16-bit numbers are widened where the GPU multiplies 32-bit ones faster (P40).
    """
    for name in FALLBACKS[compute]:
        rate: float | None = getattr(rates, name)
        if rate is not None:
            return max(rate, rates.fp32 or 0.0) if name in ("fp16", "bf16") else rate
    raise InputError(f"the catalog has no compute rate for {compute}")
