"""Several processes of one training run: joined by torchrun, sharded as planned, measured on the fullest.

`none` is DDP, `zero1` DDP with a sharded optimizer, `zero2` and `zero3` are FSDP2 (`fully_shard`) that keeps or drops
the gathered weights after the forward pass. On a GPU the ranks talk over NCCL, on a CPU over gloo.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from validation.caches import layers_in_host_memory
from validation.device import Cpu
from validation.formats import UnsupportedError
from validation.offload import layer_paths
from validation.optimizers import local
from validation.trial import Trial

if TYPE_CHECKING:
    import torch
    from torch import nn

DEVIATION = 0.02
"""Of random weights, as most families initialise theirs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """How many ranks there are, and which is this one."""

    rank: int
    size: int
    device: str

    def highest(self, value: float) -> float:
        """The highest value over all ranks."""
        if self.size == 1:
            return value
        import torch
        import torch.distributed as dist

        held = torch.tensor([float(value)], dtype=torch.float64, device=self.device)
        dist.all_reduce(held, op=dist.ReduceOp.MAX)
        return float(held.item())


def join(kind: str, *, alone_too: bool = False) -> World:
    """Join the group that torchrun described; alone, in a group of one where asked, where it described none."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    if size > 1 or alone_too:
        import torch.distributed as dist

        backend = "nccl" if kind == "cuda" else "gloo"
        if size > 1:
            dist.init_process_group(backend)
        else:
            store: Any = dist  # one process meets itself in memory and needs no address
            dist.init_process_group(backend, store=store.HashStore(), rank=0, world_size=1)
    return World(rank=rank, size=size, device=kind)


def leave() -> None:
    """Leave the group, if any."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def is_fully_sharded(trial: Trial) -> bool:
    """Whether `fully_shard` holds the model: shards of it on several ranks, or weights in host memory on one."""
    several = trial.text("sharding", "none") in ("zero2", "zero3") and trial.number("data_parallel") > 1
    return several or trial.share("params_cpu") > 0


def sharded(model: nn.Module, trial: Trial, world: World, device: Cpu) -> nn.Module:
    """The model as this rank holds it. Raises UnsupportedError for a number of ranks that is not the planned one."""
    planned = trial.number("data_parallel")
    if world.size != planned:
        raise UnsupportedError(f"the plan trains on {planned} data-parallel ranks; {world.size} were started")
    if is_fully_sharded(trial):
        return _fully_sharded(model, trial, device=device.kind, size=world.size)
    if world.size == 1:
        return model
    from torch.nn.parallel import DistributedDataParallel

    view = bool(trial.options.get("gradient_bucket_view", False))
    ids = [int(os.environ.get("LOCAL_RANK", "0"))] if device.kind == "cuda" else None
    return DistributedDataParallel(model, device_ids=ids, gradient_as_bucket_view=view)


def _fully_sharded(model: nn.Module, trial: Trial, *, device: str, size: int) -> nn.Module:
    """The model, built without memory, in shards that every rank fills with random weights for itself.

    A share of the layers, the last ones, lies in host memory; everything does where all of it is to. Raises
    UnsupportedError where torch is too old.
    """
    import torch
    from torch.distributed.device_mesh import init_device_mesh

    try:
        from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, OffloadPolicy, fully_shard
    except ImportError as err:
        raise UnsupportedError(f"FSDP2 needs torch 2.6 or later: {err}") from None

    share = trial.share("params_cpu")
    mixed = trial.text("precision", "bf16-mixed") == "bf16-mixed"
    low = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    shard = partial(
        fully_shard,
        mesh=init_device_mesh(device, (size,)),
        reshard_after_forward=trial.text("sharding", "none") != "zero2",
        mp_policy=low if mixed else MixedPrecisionPolicy(),
    )
    here, outside = OffloadPolicy(), CPUOffloadPolicy(pin_memory=device == "cuda")
    modules, paths = dict(model.named_modules()), layer_paths(model)
    distant = {paths[i] for i in layers_in_host_memory(len(paths), share)} if share else set()
    for path in paths:
        shard(modules[path], offload_policy=outside if path in distant else here)
    shard(model, offload_policy=outside if share == 1 else here)
    inside = [model] if share == 1 else [modules[path] for path in distant]
    materialise(model, device=device, in_host_memory={id(p) for m in inside for p in m.parameters()})
    return model


def materialise(model: nn.Module, *, device: str, in_host_memory: Collection[int]) -> None:
    """Give every parameter on `meta` memory and random values: matrices of small deviation, vectors of ones."""
    import torch

    def filled(tensor: torch.Tensor) -> torch.Tensor:
        if not tensor.is_meta:
            return tensor.to(device)
        return torch.empty_like(tensor, device="cpu" if id(tensor) in in_host_memory else device)

    model._apply(filled)
    with torch.no_grad():
        for parameter in model.parameters():
            own = local(parameter)
            if own.ndim > 1:
                own.normal_(0.0, DEVIATION)
            else:
                own.fill_(1.0)


def optimizer(
    model: nn.Module, trial: Trial, world: World, make: Callable[..., torch.optim.Optimizer]
) -> torch.optim.Optimizer:
    """The optimizer of this rank: of its own shard for ZeRO-1, of everything it holds else."""
    name = trial.text("optimizer", "adamw")
    if trial.text("sharding", "none") == "zero1" and world.size > 1:
        from torch.distributed.optim import ZeroRedundancyOptimizer

        if name != "adamw" or trial.share("optimizer_cpu"):
            raise UnsupportedError("ZeRO-1 is replayed with adamw on the GPU")
        import torch

        kept = [p for p in model.parameters() if p.requires_grad]
        made: torch.optim.Optimizer = ZeroRedundancyOptimizer(kept, optimizer_class=torch.optim.AdamW, lr=1e-4)
        return made
    return make(name, model.parameters())


def plain(model: Any) -> Any:
    """The model inside DDP's wrapper."""
    return getattr(model, "module", model) if type(model).__name__ == "DistributedDataParallel" else model


@contextlib.contextmanager
def last_only(model: Any, world: World, *, last: bool) -> Iterator[None]:
    """Let gradients travel only with the last micro-batch, as accumulation does."""
    if world.size > 1 and not last and hasattr(model, "no_sync"):
        with model.no_sync():
            yield
        return
    if hasattr(model, "set_requires_gradient_sync"):
        model.set_requires_gradient_sync(last)
    yield
