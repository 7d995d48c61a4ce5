"""What weights and caches outside the GPU add to a pass.

Streaming engines copy the weights of offloaded layers over PCIe (from disk: over the slower of disk and PCIe) before
they can use them; llama.cpp computes those layers on the CPU at the speed of host memory, except for long prompts. The
GPUs of one node share its memory and disks.
"""

from __future__ import annotations

import numpy as np

from planner.estimate.speed.setup import Setup
from planner.estimate.speed.times import Seconds
from planner.estimate.types import Floats, Hardware, InferWays

CPU_PROMPT_TOKENS = 32
"""llama.cpp sends weights to the GPU for passes of at least this many tokens (GGML_OP_OFFLOAD_MIN_BATCH)."""


def host_rates(setup: Setup, ways: InferWays) -> tuple[Floats, Floats, Floats]:
    """Bytes per second of one GPU: over the host link, from host memory by the CPU, from disk."""
    hw, shared = setup.hw, setup.shared
    together = np.minimum(ways.gpus, hw.node_gpus)
    dram = hw.ram_bytes_per_second * shared.dram_share / together
    link = np.minimum(hw.pcie_bytes_per_second * shared.pcie_share, dram)
    disk = np.minimum(disk_rate(hw) * shared.disk_share / together, link)
    return link, dram, disk


def disk_rate(hw: Hardware) -> Floats:
    """Bytes per second of the node's disks; one byte per second where it has none, so nothing is planned there."""
    return np.maximum(hw.nvme_bytes_per_second, 1.0)


def weights_time(setup: Setup, ways: InferWays, *, layer_bytes: float, rows: Floats) -> Seconds:
    """Seconds that one pass spends on offloaded weights; `layer_bytes` are of all layers, whole model."""
    per_gpu = layer_bytes / setup.tensor_parallel
    link, dram, disk = host_rates(setup, ways)
    from_disk = per_gpu * ways.weights_disk / disk
    streamed = per_gpu * ways.weights_cpu / link
    if not setup.engine.cpu_layers:
        return Seconds(host_link=streamed + from_disk)
    computed = per_gpu * ways.weights_cpu / dram
    many = np.minimum(computed * rows, streamed)
    return Seconds(host_link=np.where(rows < CPU_PROMPT_TOKENS, computed, many) + from_disk)


def cache_time(setup: Setup, ways: InferWays, *, cache_bytes: Floats) -> Seconds:
    """Seconds that one decode step spends on the offloaded part of `cache_bytes` bytes of one GPU's cache."""
    link, _, _ = host_rates(setup, ways)
    return Seconds(host_link=cache_bytes * ways.kv_cpu / link)
