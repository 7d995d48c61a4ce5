"""The smallest changes that make a training workload fit where it does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from planner.advise.infer import present
from planner.advise.steps import Family, both, more_ranks, one_step, wider_tensor
from planner.advise.trial import Job, Ways, tried, whole
from planner.candidates.planning import Splits
from planner.errors import ImpossibleError, InputError
from planner.estimate.request import resolve_workload
from planner.estimate.request_training import ALL_SHARDINGS, SHARDED_ENGINES
from planner.estimate.run import Placed
from planner.estimate.types import Engine, TrainJob, TrainWays
from planner.spec.parts import Lora
from planner.spec.types import Spec, TrainWorkload

if TYPE_CHECKING:
    from planner.catalog.load import Catalog

OFFLOAD_PARTS = 16
"""Steps in which the optimizer's states move to host memory."""
LIGHTER_OPTIMIZERS = {"adamw": "adamw-8bit"}
LIGHTER_METHODS = {"full": ("lora", "qlora"), "lora": ("qlora",), "qlora": ()}
LIGHTER_LOSSES = ("chunked", "fused")
DEEPEST_SHARDING = ("zero3", "zero2", "zero1")


def train_families(placed: Placed, spec: Spec, splits: Splits, catalog: Catalog) -> Iterator[Family]:
    """Single changes, from what costs least (time, money) to what changes the result."""
    job, ways = training(placed.row.job), laid_out(placed.row.ways)
    yield from smaller_micro_batch(placed, job, ways)
    yield from lighter_loss(job, ways)
    yield from more_checkpointing(job, ways)
    yield from present(sharded_ranks(placed, job, ways, catalog))
    if "tensor" in splits.dimensions:
        yield from present(wider_tensor(placed, job, ways, catalog))
    if "optimizer_cpu" in splits.offload and job.method == "full":
        yield optimizer_in_host(job, ways)
    yield from lighter_optimizer(job, ways)
    yield from lighter_methods(placed, spec, job, ways, catalog)


def joint_families(placed: Placed, spec: Spec, splits: Splits, catalog: Catalog) -> Iterator[Family]:
    """Two changes at a time: a lighter step or lighter states, and then what is left."""
    for first in lighter_steps(placed, spec, training(placed.row.job), laid_out(placed.row.ways), catalog):
        for step in first:
            yield from on_top(step, placed, splits, catalog)


def utmost_families(placed: Placed, spec: Spec, splits: Splits, catalog: Catalog) -> Iterator[Family]:
    """Everything at once: adapters, all checkpointed, the lightest loss, one sequence a pass, then more ranks."""
    job, ways = training(placed.row.job), laid_out(placed.row.ways)
    every: Family | None = None
    for number in range(len(lighter_steps(placed, spec, job, ways, catalog))):
        at_job, at_ways = (job, ways) if every is None else (training(every.job), laid_out(every.ways))
        step = next(iter(lighter_steps(placed, spec, at_job, at_ways, catalog)[number][-1:]), None)
        if step is not None:
            every = step if every is None else both(every, step)
    if every is not None:
        yield every
        yield from on_top(every, placed, splits, catalog)


def lighter_steps(
    placed: Placed, spec: Spec, job: TrainJob, ways: TrainWays, catalog: Catalog
) -> tuple[tuple[Family, ...], ...]:
    """What makes a step or its states lighter on the same GPUs, one group for each kind, the lightest last."""
    return (
        tuple(lighter_methods(placed, spec, job, ways, catalog)),
        tuple(more_checkpointing(job, ways)),
        tuple(lighter_loss(job, ways)),
        tuple(one_sequence(job, ways)),
    )


def one_sequence(job: TrainJob, ways: TrainWays) -> Iterator[Family]:
    """A single sequence in one forward pass."""
    if ways.micro_batch[0] > 1:
        yield one_step(job, replace(ways, micro_batch=whole([1])), "micro-batch 1", **{"batch.micro": 1})


def on_top(step: Family, placed: Placed, splits: Splits, catalog: Catalog) -> Iterator[Family]:
    """A change and, on top of it, checkpointing, more ranks or states in host memory."""
    job, ways = training(step.job), laid_out(step.ways)
    yield from (both(step, lighter) for lighter in more_checkpointing(job, ways))
    yield from (both(step, ranks) for ranks in present(sharded_ranks(placed, job, ways, catalog)))
    if "optimizer_cpu" in splits.offload and job.method == "full":
        yield both(step, optimizer_in_host(job, ways))


def training(job: Job) -> TrainJob:
    """The job, which is one of training."""
    assert isinstance(job, TrainJob)
    return job


def laid_out(ways: Ways) -> TrainWays:
    """The ways, which are those of training."""
    assert isinstance(ways, TrainWays)
    return ways


def smaller_micro_batch(placed: Placed, job: TrainJob, ways: TrainWays) -> Iterator[Family]:
    """Fewer sequences in one forward pass, more passes a step."""
    own = int(ways.micro_batch[0])
    most = int(tried(placed, job, ways).max_batch[0])
    fitting = [n for n in range(1, own) if own % n == 0 and n <= most]
    if fitting:
        number = max(fitting)
        yield one_step(
            job, replace(ways, micro_batch=whole([number])), f"micro-batch {number}", **{"batch.micro": number}
        )


def lighter_loss(job: TrainJob, ways: TrainWays) -> Iterator[Family]:
    """Logits a piece at a time."""
    if job.engine.options.get("cross_entropy") != "standard":
        return
    for kind in LIGHTER_LOSSES:
        engine = Engine(profile=job.engine.profile, options={**job.engine.options, "cross_entropy": kind})
        keys = {"engine_options.cross_entropy": kind}
        yield one_step(replace(job, engine=engine), ways, f"{kind} cross-entropy", **keys)


def more_checkpointing(job: TrainJob, ways: TrainWays) -> Iterator[Family]:
    """All activations computed again."""
    if job.checkpointing != "full":
        yield one_step(replace(job, checkpointing="full"), ways, "checkpointing full", checkpointing="full")


def sharded_ranks(placed: Placed, job: TrainJob, ways: TrainWays, catalog: Catalog) -> Family | None:
    """More ranks with states dealt out over them, as deep as the engine shards."""
    able = SHARDED_ENGINES.get(job.engine.name, ALL_SHARDINGS)
    deepest = next((s for s in DEEPEST_SHARDING if s in able), None)
    if deepest is None:
        return None
    changed = replace(job, sharding=deepest)
    found = more_ranks(placed, changed, ways, catalog, global_batch=job.global_batch)
    if found is None:
        return None
    words, keys = found.words, found.keys
    return replace(
        found,
        words=lambda row: f"sharding {deepest} over {words(row)}",
        keys=lambda row: {"sharding": deepest, **keys(row)},
    )


def optimizer_in_host(job: TrainJob, ways: TrainWays) -> Family:
    """A share of the optimizer's states in host memory."""
    shares = np.arange(1, OFFLOAD_PARTS + 1) / OFFLOAD_PARTS
    return Family(
        job=job,
        ways=replace(ways, optimizer_cpu=np.maximum(ways.optimizer_cpu, shares)),
        words=lambda row: f"{shares[row]:.0%} of the optimizer states in host memory (slower)",
        keys=lambda row: {"pin.offload.optimizer_cpu": float(shares[row])},
    )


def lighter_optimizer(job: TrainJob, ways: TrainWays) -> Iterator[Family]:
    """The same optimizer with 8-bit states."""
    lighter = LIGHTER_OPTIMIZERS.get(job.optimizer)
    if lighter is not None:
        yield one_step(replace(job, optimizer=lighter), ways, f"optimizer {lighter}", optimizer=lighter)


def lighter_methods(placed: Placed, spec: Spec, job: TrainJob, ways: TrainWays, catalog: Catalog) -> Iterator[Family]:
    """Adapters in place of the whole model, then on a 4-bit base."""
    workload = placed.resolved.workload
    assert isinstance(workload, TrainWorkload)
    adapters = workload.lora or Lora()
    for method in LIGHTER_METHODS[job.method]:
        asked = workload.model_copy(update={"method": method, "lora": adapters})
        try:
            jobs = resolve_workload(asked, spec, catalog).train_jobs()
        except (ImpossibleError, InputError):
            continue  # the engine has no such method
        alike = [
            j
            for j in jobs
            if (j.precision, j.checkpointing, j.sharding) == (job.precision, job.checkpointing, job.sharding)
        ]
        for changed in alike[:1]:
            same = replace(changed, memory_headroom=job.memory_headroom)
            yield one_step(same, ways, f"method {method} (adapters of rank {adapters.rank})", method=method)
