"""The smallest changes that make an inference workload fit where it does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from planner.advise.steps import Family, both, longer_pipeline, one_step, wider_tensor
from planner.advise.trial import tried
from planner.candidates.planning import Splits
from planner.estimate.hardware import unsupported
from planner.estimate.request_formats import adjusted, bits_of_kv, kv_bits
from planner.estimate.run import Placed
from planner.estimate.types import InferJob, InferWays
from planner.spec.types import InferWorkload

if TYPE_CHECKING:
    from planner.catalog.load import Catalog

POOLED_8_BIT = "fp8"
"""8-bit cache of engines with a paged pool (vLLM --kv-cache-dtype, SGLang, TensorRT-LLM)."""
OTHER_8_BIT = "int8"
"""8-bit cache of Transformers (QuantizedCache), llama.cpp (q8_0) and ExLlama."""
HALF_BITS = 16.0
NEXT_SIZE = 0.75
"""Formats are proposed one for each size: of at most this share of the bits of the one before."""
FULL_PRECISIONS = ("fp32", "tf32")


def infer_families(placed: Placed, splits: Splits, catalog: Catalog) -> Iterator[Family]:
    """Single changes, from what costs least (quality, speed, money) to what costs most."""
    row, workload = placed.row, placed.resolved.workload
    assert isinstance(row.job, InferJob)
    assert isinstance(row.ways, InferWays)
    assert isinstance(workload, InferWorkload)
    job, ways = row.job, row.ways
    if job.attention == "eager":
        yield one_step(replace(job, attention="flash"), ways, "attention: flash", attention="flash")
    yield from smaller_cache(job, ways)
    yield from smaller_batch(placed, job, ways)
    yield from smaller_weights(placed, job, ways, catalog)
    if "weights_cpu" in splits.offload:
        yield offloaded_layers(job, ways)
    yield from more_gpus(placed, job, ways, splits, catalog)


def joint_families(placed: Placed, splits: Splits, catalog: Catalog) -> Iterator[Family]:
    """Two changes at a time: the smallest weights, and then more GPUs or layers in host memory."""
    job, ways = placed.row.job, placed.row.ways
    assert isinstance(job, InferJob)
    assert isinstance(ways, InferWays)
    weights = list(smaller_weights(placed, job, ways, catalog))[-1:]
    for smallest in weights:
        yield from on_top(smallest, placed, splits, catalog)


def utmost_families(placed: Placed, splits: Splits, catalog: Catalog) -> Iterator[Family]:
    """Everything at once: the smallest weights, an 8-bit cache, then more GPUs or layers in host memory."""
    job, ways = placed.row.job, placed.row.ways
    assert isinstance(job, InferJob)
    assert isinstance(ways, InferWays)
    for smallest in list(smaller_weights(placed, job, ways, catalog))[-1:]:
        for cache in smaller_cache(inference(smallest.job), ways):
            joined = both(smallest, cache)
            yield joined
            yield from on_top(joined, placed, splits, catalog)


def on_top(step: Family, placed: Placed, splits: Splits, catalog: Catalog) -> Iterator[Family]:
    """A change and, on top of it, layers in host memory or more GPUs."""
    if "weights_cpu" in splits.offload:
        yield both(step, offloaded_layers(inference(step.job), serving(step.ways)))
    for wider in more_gpus(placed, inference(step.job), serving(step.ways), splits, catalog):
        yield both(step, wider)


def more_gpus(placed: Placed, job: InferJob, ways: InferWays, splits: Splits, catalog: Catalog) -> Iterator[Family]:
    """Tensor parallel where the engine has it, else stages of layers."""
    if "tensor" in splits.dimensions:
        yield from present(wider_tensor(placed, job, ways, catalog))
    elif "pipeline" in splits.dimensions:
        yield from present(longer_pipeline(placed, job, ways, catalog))


def present(family: Family | None) -> Iterator[Family]:
    """The family, if there is one."""
    if family is not None:
        yield family


def inference(job: object) -> InferJob:
    """The job, which is one of inference."""
    assert isinstance(job, InferJob)
    return job


def serving(ways: object) -> InferWays:
    """The ways, which are those of inference."""
    assert isinstance(ways, InferWays)
    return ways


def smaller_cache(job: InferJob, ways: InferWays) -> Iterator[Family]:
    """An 8-bit cache in place of a 16-bit one."""
    if not job.output_tokens or job.kv_bits < HALF_BITS:
        return
    pooled = job.engine.options.get("kv_layout") == "paged"
    kind = POOLED_8_BIT if pooled else OTHER_8_BIT
    changed = replace(job, kv_bits=bits_of_kv(kind, job.model))
    yield one_step(changed, ways, f"8-bit KV cache ({kind})", kv_precision=kind)


def smaller_batch(placed: Placed, job: InferJob, ways: InferWays) -> Iterator[Family]:
    """Fewer sequences in flight: as many as memory holds."""
    ranks = float(ways.data_parallel[0])
    most = float(np.floor(tried(placed, job, ways).max_batch[0] / ranks) * ranks)
    if not ranks <= most < float(ways.batch[0]):
        return
    number = int(most)
    yield one_step(job, replace(ways, batch=np.array([most])), f"batch {number}", batch=number)


def smaller_weights(placed: Placed, job: InferJob, ways: InferWays, catalog: Catalog) -> Iterator[Family]:
    """Formats of fewer bits that the engine and the GPU run, best quality first, one for each size."""
    workload = placed.resolved.workload
    assert isinstance(workload, InferWorkload)
    gpu, profile = catalog.gpu(placed.host.gpu), job.engine.profile
    known = [catalog.precision(p) for p in profile.precisions if p in catalog.precisions]
    fitted = [adjusted(f, job.engine, job.model) for f in known if f.id not in FULL_PRECISIONS]
    smaller = sorted((f for f in fitted if f.bits < job.weights.bits), key=lambda f: (-f.quality, f.bits))
    least = job.weights.bits
    for fmt in smaller:
        changed = replace(job, weights=fmt, kv_bits=min(job.kv_bits, kv_bits(workload, fmt, job.model)))
        if fmt.bits > least * NEXT_SIZE or unsupported(changed, gpu, catalog) is not None:
            continue
        least = fmt.bits
        yield one_step(changed, ways, f"precision {fmt.id}", precision=fmt.id)


def offloaded_layers(job: InferJob, ways: InferWays) -> Family:
    """The weights of n layers in host memory, streamed over the host link."""
    layers = max(1, job.model.num_layers)
    shares = np.arange(1, layers + 1) / layers
    return Family(
        job=job,
        ways=replace(ways, weights_cpu=np.maximum(ways.weights_cpu, shares)),
        words=lambda row: f"the weights of {row + 1} of {layers} layers in host memory (slower)",
        keys=lambda row: {"pin.offload.weights_cpu": float(shares[row])},
    )
