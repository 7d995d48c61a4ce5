"""What weights and caches outside the GPU add to a pass.

Streaming engines copy the weights of offloaded layers over PCIe (from disk: over the slower of disk and PCIe) before
they can use them; llama.cpp computes those layers on the CPU at the speed of host memory, except for long prompts. The
same holds of routed experts kept in host memory (`--n-cpu-moe`), of which a token needs only those it is routed to. The
GPUs of one node share its memory and disks.
"""

from __future__ import annotations

import numpy as np

from planner.architecture.types import Block
from planner.estimate.speed.setup import Setup, products_of
from planner.estimate.speed.step import decoder_blocks
from planner.estimate.speed.times import Seconds
from planner.estimate.types import Floats, Hardware, InferWays
from planner.estimate.work import distinct_experts

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
    """Seconds that one pass of `rows` tokens spends on offloaded weights; `layer_bytes` are of all layers, whole model.

    Routed experts lie in host memory with their layers, or by themselves.
    """
    link, dram, disk = host_rates(setup, ways)
    experts_share = ways.weights_cpu + (1.0 - ways.weights_cpu - ways.weights_disk) * ways.experts_cpu
    experts = sum(block.num_layers * expert_bytes(setup, block) for block in decoder_blocks(setup.job))
    per_gpu = (layer_bytes - experts) / setup.tensor_parallel
    from_disk = layer_bytes / setup.tensor_parallel * ways.weights_disk / disk
    streamed = per_gpu * ways.weights_cpu / link
    away = experts_time(setup, ways, share=experts_share, rows=rows)
    if not setup.engine.cpu_layers:
        return Seconds(host_link=streamed + from_disk) + away
    computed = per_gpu * ways.weights_cpu / dram
    many = np.minimum(computed * rows, streamed)
    return Seconds(host_link=np.where(rows < CPU_PROMPT_TOKENS, computed, many) + from_disk) + away


def expert_bytes(setup: Setup, block: Block) -> float:
    """Bytes of the routed experts of one layer, whole model."""
    return sum(p.weights * p.bytes_per_weight for p in products_of(setup, block) if p.role == "expert")


def experts_time(setup: Setup, ways: InferWays, *, share: Floats, rows: Floats) -> Seconds:
    """Seconds that one pass of `rows` tokens spends on the share of routed experts that is in host memory.

    The CPU reads the experts that the tokens reach, each once where the tokens are few; long prompts either read
    theirs token by token, or send the experts to the GPU, whichever is sooner. Streaming engines send all of them.
    """
    link, dram, _ = host_rates(setup, ways)
    total = Seconds()
    for block in decoder_blocks(setup.job):
        if block.moe is None:
            continue
        held = expert_bytes(setup, block) * share / (setup.expert_ranks * setup.expert_split)
        seconds = held / link
        if setup.engine.cpu_layers:
            reached = distinct_experts(block.moe.num_experts, block.moe.top_k, rows) / block.moe.num_experts
            routed = rows * block.moe.top_k / block.moe.num_experts
            many = np.minimum(held * routed / dram, seconds * reached)
            handed = 2.0 * setup.shared.cpu_handover_s * ways.experts_cpu
            seconds = np.where(rows < CPU_PROMPT_TOKENS, held * reached / dram, many) + handed
        total = total + Seconds(host_link=block.num_layers * seconds)
    return total


def cache_time(setup: Setup, ways: InferWays, *, cache_bytes: Floats) -> Seconds:
    """Seconds that one decode step spends on the offloaded part of `cache_bytes` bytes of one GPU's cache."""
    link, _, _ = host_rates(setup, ways)
    return Seconds(host_link=cache_bytes * ways.kv_cpu / link)
