"""What stands outside the GPU: host memory of the busiest node, and disk."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from planner.estimate.derive.steps import bytes_text, exact, product, scalar, step
from planner.estimate.document import DerivationStep, MemoryDocument
from planner.estimate.memory.fixed import fixed_bytes
from planner.estimate.memory.train_activations import offloaded_activation_bytes
from planner.estimate.memory.train_states import states_of
from planner.estimate.types import Hardware, InferJob, InferWays, TrainJob, TrainWays

OFFLOAD_SOURCE = "the shares of the configuration's `offload`; each GPU of a node keeps its own part in the node's host"


def infer_host_steps(job: InferJob, ways: InferWays, hw: Hardware, memory: MemoryDocument) -> Iterator[DerivationStep]:
    """Weights, the cache and tables in host memory, and weights on disk."""
    gpus = scalar(np.minimum(ways.gpus, hw.node_gpus))
    fixed = fixed_bytes(job, ways, hw)
    offloaded = scalar(fixed.offloaded_host)
    if memory.host_bytes:
        away = scalar(fixed.experts_away) * gpus
        terms = [shared(offloaded - away, scalar(ways.weights_cpu), gpus, "layers")] if offloaded > away else []
        terms += [f"{exact(away)} [experts]"] if away else []
        rest = memory.host_bytes - offloaded
        if rest > 0.5:
            what = "KV cache of the replica" if scalar(ways.kv_cpu) else "token table"
            terms.append(f"{exact(rest)} [{what}]")
        yield step(
            "memory.host_bytes",
            "bytes of the layers on one GPU x share in host memory x GPUs of the node + what else lives there",
            " + ".join(terms),
            bytes_text(memory.host_bytes),
            OFFLOAD_SOURCE,
        )
    if memory.disk_bytes:
        yield step(
            "memory.disk_bytes",
            "bytes of the layers on one GPU x share on disk x GPUs of the node",
            shared(memory.disk_bytes, scalar(ways.weights_disk), gpus, "layers"),
            bytes_text(memory.disk_bytes),
            OFFLOAD_SOURCE,
        )


def train_host_steps(job: TrainJob, ways: TrainWays, hw: Hardware, memory: MemoryDocument) -> Iterator[DerivationStep]:
    """Optimizer states and parameters in host memory."""
    if not memory.host_bytes:
        return
    gpus = np.minimum(ways.gpus, hw.node_gpus)
    kept = states_of(job, ways, gpus)
    optimizer_share, params_share = scalar(ways.optimizer_cpu), scalar(ways.params_cpu)
    terms = []
    waiting = scalar(offloaded_activation_bytes(job, ways))
    in_host = memory.host_bytes / scalar(gpus) - waiting
    if params_share and job.method == "full" and optimizer_share < 1.0:
        states = scalar(kept.optimizer) / (1.0 - optimizer_share) * optimizer_share
        terms.append((states, optimizer_share, "optimizer states"))
        terms.append((in_host - states, params_share, "parameters"))
    elif params_share and not optimizer_share:
        terms.append((in_host, params_share, "parameters"))
    else:
        what = (
            "optimizer states, their gradients and parameters"
            if params_share
            else "optimizer states and their gradients"
        )
        terms.append((in_host, optimizer_share, what))
    shares = [f"{product(held / share, share)} [{what}]" for held, share, what in terms if held and share]
    offloaded = [f"{exact(waiting)} [layer inputs that wait for backward]"] if waiting else []
    yield step(
        "memory.host_bytes",
        "(bytes on one GPU without offload x share in host memory, of each kind) x GPUs of the node",
        f"({' + '.join([*shares, *offloaded])}) x {exact(gpus)}",
        bytes_text(memory.host_bytes),
        OFFLOAD_SOURCE,
    )


def shared(n_bytes: float, share: float, gpus: float, what: str) -> str:
    """`bytes x share x GPUs [what]` of bytes that are those of all GPUs of a node."""
    return f"{product(n_bytes / (share * gpus), share, gpus)} [{what}]"
