"""Jobs, ways and hardware of one row for the tests of the physics."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from planner.catalog.load import Catalog
from planner.estimate.types import (
    Engine,
    Hardware,
    InferJob,
    InferWays,
    LoraJob,
    OptionValue,
    TrainJob,
    TrainWays,
)
from planner.units import GIB


@functools.cache
def catalog() -> Catalog:
    return Catalog.load()


def engine(name: str = "transformers", **options: OptionValue) -> Engine:
    profile = catalog().engine(name)
    return Engine(profile=profile, options={**profile.options, **options})


def one(value: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([float(value)])


def whole(*values: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array(values, dtype=np.int64)


def hardware(arch: str = "ampere", memory_bytes: int = 80 * GIB, *, weight_only: bool = False) -> Hardware:
    """An A100-like GPU in a node of eight."""
    return Hardware(
        arch=np.array([arch]),
        gpu=np.array(["a100-sxm-80gb"]),
        memory_bytes=one(memory_bytes),
        hbm_bytes_per_second=one(2.039e12),
        peak_flop_per_second=one(312e12),
        peak16_flop_per_second=one(312e12),
        peak32_flop_per_second=one(19.5e12),
        sm_count=one(108),
        weight_only=np.array([weight_only]),
        tdp_kw=one(0.4),
        pcie_bytes_per_second=one(31.5e9),
        link_bytes_per_second=one(300e9),
        link_num_gpus=whole(8),
        p2p=np.array([True]),
        network_bytes_per_second=one(25e9),
        node_gpus=whole(8),
        ram_bytes=one(2048 * GIB),
        ram_bytes_per_second=one(410e9),
        nvme_bytes_per_second=one(25e9),
        node_power_kw=one(6.5),
    )


def infer_job(model: str, **changes: Any) -> InferJob:
    fields: dict[str, Any] = {
        "engine": engine(),
        "weights": catalog().precision("bf16"),
        "kv_bits": 16.0,
        "attention": "flash",
        "input_tokens": 1024,
        "output_tokens": 128,
    }
    return InferJob(model=catalog().models.get(model), **{**fields, **changes})


def infer_ways(batch: float = 1, **splits: Any) -> InferWays:
    fields: dict[str, Any] = dict.fromkeys(
        ("tensor_parallel", "pipeline_parallel", "data_parallel", "expert_parallel", "context_parallel"), whole(1)
    )
    fields |= {"weights_cpu": one(0), "weights_disk": one(0), "kv_cpu": one(0), "batch": one(batch)}
    return InferWays(**{**fields, **splits})


def train_job(model: str, **changes: Any) -> TrainJob:
    fields: dict[str, Any] = {
        "engine": engine(),
        "method": "full",
        "precision": "bf16",
        "base": catalog().precision("bf16"),
        "lora": None,
        "optimizer": "adamw",
        "sequence_tokens": 2048,
        "global_batch": 1,
        "checkpointing": "none",
        "sharding": "none",
        "attention": "sdpa",
    }
    return TrainJob(model=catalog().models.get(model), **{**fields, **changes})


def lora_job(model: str, lora: LoraJob, **changes: Any) -> TrainJob:
    return train_job(model, method="lora", lora=lora, **changes)


def train_ways(micro_batch: int = 1, **splits: Any) -> TrainWays:
    fields: dict[str, Any] = dict.fromkeys(
        ("tensor_parallel", "pipeline_parallel", "data_parallel", "expert_parallel", "context_parallel"), whole(1)
    )
    fields |= {"micro_batch": whole(micro_batch), "optimizer_cpu": one(0), "params_cpu": one(0)}
    return TrainWays(**{**fields, **splits})
