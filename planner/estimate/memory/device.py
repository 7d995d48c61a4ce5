"""From allocated bytes to what the driver shows: the caching allocator's reserve, context, NCCL, graphs."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from planner.catalog.runtime import runtime_facts
from planner.estimate.types import Floats, Hardware, Ints, distinct_rows
from planner.units import GIB, MIB

SEGMENT_BYTES = 20 * MIB
"""Blocks of 1 to 10 MiB come from segments of this size (torch CUDACachingAllocator)."""
BLOCK_BYTES = 2 * MIB
"""The allocator takes device memory in pieces of this size."""
STABLE_FRAGMENTATION = 0.25
FRAGMENTATION_OF_ONE_PASS = 0.5
"""Reserved above peak allocated, over what comes and goes beside the weights: the least squared relative error of
reserved over 99 simulated inference cases whose allocations were replayed through the allocator (1.02 to 1.10 in public
logs). Models that cache nothing hold attention's blocks beside those of the wider MLP: 0.25 to 0.66 of the pass."""
STEADY_SHARE = 0.03
"""Of what comes and goes, what no retry of the allocator gives back: most blocks of 10 MiB and more have segments of
their own, which it returns to the driver before it fails."""


def per_arch(arch: NDArray[np.str_], of: Callable[[str], int]) -> Floats:
    """A column of a fact that depends on the architecture alone."""
    first, index = distinct_rows(arch)
    return np.array([float(of(kind)) for kind in arch[first].tolist()])[index]


def usable_bytes(hw: Hardware) -> Floats:
    """Device memory a process can see: what the driver reports less its own reserve."""
    reserve = runtime_facts().driver_reserve_bytes
    first, index = distinct_rows(hw.arch, hw.gpu)
    archs, gpus = (np.broadcast_to(c, index.shape)[first].tolist() for c in (hw.arch, hw.gpu))
    each = np.array([float(reserve.of(arch, gpu)) for arch, gpu in zip(archs, gpus, strict=True)])
    result: Floats = hw.memory_bytes - each[index]
    return result


def context_bytes(hw: Hardware, gpus_in_group: Ints) -> Floats:
    """CUDA context, and NCCL's buffers where GPUs work together."""
    facts = runtime_facts()
    nccl = per_arch(hw.arch, facts.nccl_bytes.of) * (gpus_in_group > 1)
    result: Floats = per_arch(hw.arch, facts.context_bytes.of) + nccl
    return result


def outside_torch_bytes(hw: Hardware, gpus_in_group: Ints) -> Floats:
    """Growth outside torch while a serving engine starts, the CUDA context made before: kernels, communicators."""
    facts = runtime_facts()
    group = per_arch(hw.arch, facts.serving_group_bytes.of) * (gpus_in_group > 1)
    result: Floats = per_arch(hw.arch, facts.serving_outside_torch_bytes.of) + group
    return result


def free_before_loading_bytes(hw: Hardware, gpus_in_group: Ints) -> Floats:
    """What a process finds free once its CUDA context and its communicators stand, and nothing is loaded yet."""
    facts = runtime_facts()
    group = per_arch(hw.arch, facts.free_before_loading_group_bytes.of) * (gpus_in_group > 1)
    result: Floats = usable_bytes(hw) - per_arch(hw.arch, facts.context_bytes.of) - group
    return result


def library_workspace_bytes(hw: Hardware) -> Floats:
    """cuBLAS workspace, which torch counts as allocated."""
    return per_arch(hw.arch, runtime_facts().cublas_workspace_bytes.of)


def fragmentation_share(*, cached: bool) -> float:
    """Reserved above allocated over what comes and goes; `cached`: keys and values are kept."""
    return STABLE_FRAGMENTATION if cached else FRAGMENTATION_OF_ONE_PASS


def fragmentation_bytes(transient: Floats, *, cached: bool) -> Floats:
    """Reserved but not allocated at the peak: a share of what comes and goes, and one part-filled segment."""
    result: Floats = fragmentation_share(cached=cached) * transient + SEGMENT_BYTES
    return result


def steady_bytes(transient: Floats, growing_tensors: Floats) -> Floats:
    """Of that, what a retry does not give back: the rest of the last block of every tensor that grows as well.

    With the allocator's size bounded, replays of Llama-3.2-1B, Pythia-1.4B (two batches) and BERT ran in 77, 345, 271
    and 88 MiB above their peaks: 120, 150, 150 and 28 by this.
    """
    result: Floats = STEADY_SHARE * transient + SEGMENT_BYTES + BLOCK_BYTES * growing_tensors
    return result


def graph_bytes(hidden_size: int, num_layers: int) -> float:
    """CUDA graphs of a serving engine: 0.1 to 0.4 GiB for small models, 1 to 3 GiB for wide ones (start-up logs).

    Grows with the layers and the width; 32 layers of 4,096 give 0.35 GiB.
    """
    return 0.35 * GIB * (num_layers / 32) * math.sqrt(hidden_size / 4096)
