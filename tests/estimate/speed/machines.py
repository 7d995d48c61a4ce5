"""Machines of the catalog as columns, for the tests of speed."""

from __future__ import annotations

from typing import Any

import numpy as np

from planner.catalog.hosts import default_host
from planner.estimate.hardware import hardware
from planner.estimate.speed import infer_speed, train_speed
from planner.estimate.types import Hardware, InferJob, InferSpeed, TrainJob, TrainSpeed
from tests.estimate.jobs import catalog, infer_ways, train_ways, whole

AMPLE_SLOTS = 1e6


def machine(job: InferJob | TrainJob, gpu: str, gpus: int = 1) -> Hardware:
    """The catalog's default host for the GPU."""
    return hardware(job, [default_host(catalog(), gpu, gpus)], catalog())


def speed(job: InferJob, gpu: str, *, batch: float = 1, slots: float = AMPLE_SLOTS, **splits: int) -> InferSpeed:
    """One replica on the default host of a GPU."""
    ways = infer_ways(batch, **{name: whole(number) for name, number in splits.items()})
    return infer_speed(job, ways, machine(job, gpu, int(ways.gpus[0])), kv_slots=np.array([slots]))


def training(job: TrainJob, gpu: str, *, micro_batch: int = 1, **splits: int) -> TrainSpeed:
    """One run on the default host of a GPU."""
    ways = train_ways(micro_batch, **{name: whole(number) for name, number in splits.items()})
    return train_speed(job, ways, machine(job, gpu, int(ways.gpus[0])))


def figure(speed: InferSpeed | TrainSpeed, name: str) -> float:
    """One figure of a speed of one way."""
    value: Any = getattr(speed, name)
    return float(value[0])
