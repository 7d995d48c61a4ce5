"""How many configurations one core estimates in a second: `python benchmarks/configurations.py`.

Columns of ways (tensor parallel, batch or micro-batch, GPU) of one job, as the search for a plan asks for them. CPU
time of this process counts, so other programs on the machine do not. Exit code 1 when a rate is missed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from planner.catalog.hosts import default_host
from planner.catalog.load import Catalog
from planner.estimate.hardware import hardware
from planner.estimate.memory import infer_memory, train_memory
from planner.estimate.request import resolve_workload
from planner.estimate.rows import InferRow, TrainRow
from planner.estimate.run import row_on
from planner.estimate.speed import infer_speed, train_speed
from planner.estimate.types import stacked
from planner.spec.types import Spec

NUM_WAYS = 20_000
SECONDS = 1.0
"""CPU time each rate is measured over, at least."""
GPUS = ("a100-sxm-80gb", "h100-sxm-80gb", "h200-sxm-141gb", "l40s")
LEAST = {"memory": 100_000, "speed": 50_000}
"""Configurations per second and core that are promised."""
WORKLOADS: dict[str, dict[str, Any]] = {
    "serving Llama 3.1 8B with vLLM": {
        "mode": "infer",
        "model": "meta-llama/Llama-3.1-8B",
        "engine": "vllm",
        "sequence": {"input": 1024, "output": 256},
        "batch": 8,
        "precision": "bf16",
        "kv_precision": "bf16",
        "offload": "none",
    },
    "full training of Llama 3.1 8B": {
        "mode": "train",
        "model": "meta-llama/Llama-3.1-8B",
        "engine": "transformers",
        "method": "full",
        "precision": "bf16-mixed",
        "sequence": 2048,
        "batch": {"global": 1024, "micro": 1},
        "checkpointing": "full",
        "sharding": "zero3",
        "offload": "none",
    },
}


def row_of(workload: dict[str, Any], catalog: Catalog) -> InferRow | TrainRow:
    """The job, with columns of `NUM_WAYS` ways over the GPUs."""
    spec = Spec.model_validate({"version": 1, "name": "rate", "workloads": [workload]})
    resolved = resolve_workload(spec.workloads[0], spec, catalog)
    hosts = [default_host(catalog, gpu, 1) for gpu in GPUS]
    row = row_on(resolved, hosts[1], catalog)
    picked = np.arange(NUM_WAYS)
    hw = stacked([hardware(row.job, (host,), catalog) for host in hosts]).take(picked % len(GPUS))
    split = 2 ** (picked // 4 % 4)
    if isinstance(row, InferRow):
        batch = 1.0 + picked % 251
        return replace(row, ways=replace(row.ways, tensor_parallel=split, batch=batch), hw=hw)
    ways = replace(row.ways, data_parallel=2 * split, micro_batch=2 ** (picked // 16 % 6))
    return replace(row, ways=ways, hw=hw)


def rate(work: Callable[[], object]) -> float:
    """Ways per second of CPU time, over at least `SECONDS`."""
    work()
    start, runs = time.process_time(), 0
    while (taken := time.process_time() - start) < SECONDS:
        work()
        runs += 1
    return runs * NUM_WAYS / taken


def main() -> None:
    """Measure memory and speed of each workload."""
    catalog = Catalog.load()
    missed = False
    for title, workload in WORKLOADS.items():
        row = row_of(workload, catalog)
        if isinstance(row, InferRow):
            job, ways, hw, slots = row.job, row.ways, row.hw, infer_memory(row.job, row.ways, row.hw).max_batch
            works = {
                "memory": lambda j=job, w=ways, h=hw: infer_memory(j, w, h),
                "speed": lambda j=job, w=ways, h=hw, s=slots: infer_speed(j, w, h, kv_slots=s),
            }
        else:
            works = {
                "memory": lambda r=row: train_memory(r.job, r.ways, r.hw),
                "speed": lambda r=row: train_speed(r.job, r.ways, r.hw),
            }
        for what, work in works.items():
            found = rate(work)
            missed |= found < LEAST[what]
            print(f"{found:12,.0f} of {LEAST[what]:8,} a second  {what}, {title}", flush=True)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
