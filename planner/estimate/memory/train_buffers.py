"""What a training run holds beside states and activations: buckets, unsharded units, weight copies, workspaces."""

from __future__ import annotations

from typing import Literal

import numpy as np

from planner.catalog.runtime import runtime_facts
from planner.estimate.memory.convention import HALF, autocasts, upcasts_base
from planner.estimate.memory.device import library_workspace_bytes, per_arch
from planner.estimate.memory.states import keeps_masters
from planner.estimate.memory.train_loss import head_calls, tokens_of
from planner.estimate.memory.train_states import flat_gradients
from planner.estimate.memory.weights import Split, largest_matrix_params, parameter_split, weight_split
from planner.estimate.types import Bools, Floats, Hardware, TrainJob, TrainWays

FULL_BYTES = 4
PREFETCHED_UNITS = 1
"""FSDP gathers the next unit while the current one is at work."""
Moment = Literal["forward", "loss", "backward"]


def sharding_buffers(job: TrainJob, ways: TrainWays, gradients: Floats, *, moment: Moment) -> Floats:
    """What data parallelism holds beside the shards.

    DDP: one more copy of the gradients in buckets unless they are views. FSDP and ZeRO-3: the root unit; the current
    unit and, but at the loss, the prefetched one; in backward the reduce-scatter input. DeepSpeed: its configured
    buckets.
    """
    parallel = ways.data_parallel * ways.context_parallel > 1
    if job.sharding == "none":
        return bucket_bytes(job, ways, gradients)
    elements = job.engine.optional_number("zero_bucket_elements")
    fixed = 0.0 if elements is None else elements * HALF * (2 if job.engine.flag("overlap_comm") else 1)
    if job.sharding != "zero3":
        return np.where(parallel, fixed, 0.0) + np.zeros(1)
    split, unit_size = gathered(job)
    unit = split.layers_per_gpu(ways.tensor_parallel, np.maximum(ways.expert_parallel, ways.tensor_parallel))
    unit = unit / max(1, job.model.num_layers) * unit_size
    root = (split.embedding + split.head) / ways.tensor_parallel * unit_size
    reduce_input = unit * (2 if job.engine.options.get("gradient_dtype") == "fp32" else 1)
    reduces = moment == "backward" and (job.method == "full" or flat_gradients(job))
    units = (1 if moment == "loss" else 1 + PREFETCHED_UNITS) * unit + reduce_input * reduces
    offloaded = ways.params_cpu > 0
    return np.where(parallel | offloaded, units + root + fixed, 0.0)


def bucket_bytes(job: TrainJob, ways: TrainWays, gradients: Floats) -> Floats:
    """DDP's buckets, which stand from the start: as much as all gradients, or nothing where these are views of them."""
    doubled = job.sharding == "none" and job.engine.flag("ddp_buckets") and not job.engine.flag("gradient_bucket_view")
    result: Floats = np.where(ways.data_parallel * ways.context_parallel > 1, gradients * doubled, 0.0)
    return result


def gradients_are_views(job: TrainJob, ways: TrainWays) -> Bools:
    """Gradients are views of DDP's buckets, which nothing frees between steps."""
    views = job.sharding == "none" and job.engine.flag("ddp_buckets") and job.engine.flag("gradient_bucket_view")
    result: Bools = (ways.data_parallel * ways.context_parallel > 1) & views
    return result


def gathered(job: TrainJob) -> tuple[Split, int]:
    """What FSDP gathers, and the bytes of one: trained parameters in 16 or 32 bit, or a frozen base's own bytes."""
    if job.method != "full":
        return weight_split(job.model, job.base), 1
    return parameter_split(job.model), FULL_BYTES if job.precision == "fp32" else HALF


def standing_root_bytes(job: TrainJob, ways: TrainWays) -> Floats:
    """Gathered parameters outside the layers, where nothing lets go of them after a step.

    Megatron-FSDP shards again what its units hold, the transformer layers: its post-forward and post-backward hooks
    are registered on units alone (megatron_fsdp.py, mcore_fsdp_adapter.py). Token table, final norm and head stay.
    """
    if job.sharding != "zero3" or not job.engine.flag("root_stays_gathered"):
        return np.zeros(1)
    split, size = gathered(job)
    root = size * ((split.embedding + split.head) / ways.tensor_parallel + split.outer)
    result: Floats = np.where(ways.data_parallel * ways.context_parallel > 1, root, 0.0)
    return result


def caches_casts(job: TrainJob) -> bool:
    """Autocast makes 16-bit copies of 32-bit weights, unless FSDP or a master copy holds 16-bit ones already."""
    if not autocasts(job) or keeps_masters(job) or job.sharding == "zero3":
        return False
    return job.method == "full" or job.base.bits >= FULL_BYTES * 8


def cast_bytes(job: TrainJob, ways: TrainWays) -> Floats:
    """16-bit copies of all 32-bit weights that forward makes and backward needs.

    Copies of trained weights are cached, one each. Frozen weights are cast at every use (torch caches leaves that
    require a gradient alone): the head once for every chunk it runs on.
    """
    if not caches_casts(job):
        return head_cast_bytes(job, ways)
    return layer_cast_bytes(job, ways) * job.model.num_layers / ways.pipeline_parallel + head_cast_bytes(job, ways)


def layer_cast_bytes(job: TrainJob, ways: TrainWays) -> Floats:
    """Copies of one layer's weights: what a recomputed layer casts anew."""
    if not caches_casts(job):
        return np.zeros(1)
    split = parameter_split(job.model)
    result: Floats = HALF * split.layers / max(1, job.model.num_layers) / ways.tensor_parallel.astype(np.float64)
    return result


def head_cast_bytes(job: TrainJob, ways: TrainWays) -> Floats:
    """Copies of the output head, which backward needs first; PEFT's 32-bit head under autocast has one as well."""
    wide = caches_casts(job) or (upcasts_base(job) and autocasts(job))
    if not wide or not job.model.has_head:
        return np.zeros(1)
    calls = 1.0 if job.method == "full" else head_calls(job)
    result: Floats = HALF * calls * head_params(job) / ways.tensor_parallel.astype(np.float64)
    return result


def head_params(job: TrainJob) -> float:
    """Parameters of the output head; of the embedding where they are one."""
    split = parameter_split(job.model)
    return split.embedding if job.model.tied_embeddings else split.head


def dequant_bytes(job: TrainJob, ways: TrainWays) -> Floats:
    """A 16-bit copy of the largest quantised matrix while its layer runs, in as many types as the kernel makes."""
    if job.method != "qlora" or job.base.bits >= 16:
        return np.zeros(1)
    copies = job.engine.optional_number("dequant_copies") or 1.0
    params = largest_matrix_params(job.model, with_head=job.engine.flag("quantised_head"))
    result: Floats = copies * params * HALF / ways.tensor_parallel.astype(np.float64)
    return result


def standing_workspace_bytes(job: TrainJob, hw: Hardware) -> Floats:
    """Library workspaces that stay allocated after a step: cuBLAS's per stream, and the kernel library's own."""
    fixed = job.engine.optional_number("cublas_workspace_bytes")
    cublas = library_workspace_bytes(hw) if fixed is None else np.full(1, fixed)
    if not job.engine.flag("transformer_engine"):
        return cublas
    return cublas + per_arch(hw.arch, runtime_facts().transformer_engine_workspace_bytes.of)


def pipeline_buffer_bytes(job: TrainJob, ways: TrainWays) -> Floats:
    """Boundary tensors that the schedule keeps between stages, micro-batch in and micro-batch out."""
    kept = job.engine.optional_number("pipeline_boundaries") or 0.0
    shared = ways.tensor_parallel if job.engine.flag("sequence_parallel") else np.ones(1)
    boundary = tokens_of(job, ways) * job.model.blocks[0].hidden_size * HALF / shared
    result: Floats = np.where(ways.pipeline_parallel > 1, kept * boundary, 0.0)
    return result
