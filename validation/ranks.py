"""Several processes of one training run: joined by torchrun, sharded as planned, measured on the fullest.

`none` is DDP, `zero1` DDP with a sharded optimizer, `zero2` and `zero3` are FSDP2 (`fully_shard`) that keeps or drops
the gathered weights after the forward pass. On a GPU the ranks talk over NCCL, on a CPU over gloo.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from validation.device import Cpu
from validation.formats import UnsupportedError
from validation.offload import layer_paths
from validation.trial import Trial

if TYPE_CHECKING:
    import torch
    from torch import nn


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


def join(kind: str) -> World:
    """Join the group that torchrun described; alone where it described none."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    if size > 1:
        import torch.distributed as dist

        dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    return World(rank=rank, size=size, device=kind)


def leave(world: World) -> None:
    """Leave the group."""
    if world.size > 1:
        import torch.distributed as dist

        dist.destroy_process_group()


def is_fully_sharded(trial: Trial) -> bool:
    """Whether no rank may hold the whole model: `fully_shard` moves it to the device module by module."""
    return trial.text("sharding", "none") in ("zero2", "zero3") and trial.number("data_parallel") > 1


def sharded(model: nn.Module, trial: Trial, world: World, device: Cpu) -> nn.Module:
    """The model as this rank holds it. Raises UnsupportedError for a number of ranks that is not the planned one."""
    planned = trial.number("data_parallel")
    if world.size != planned:
        raise UnsupportedError(f"the plan trains on {planned} data-parallel ranks; {world.size} were started")
    kind = trial.text("sharding", "none")
    if is_fully_sharded(trial):
        return _fully_sharded(model, trial, keep=kind == "zero2", device=device.kind, size=world.size)
    if world.size == 1:
        return model
    from torch.nn.parallel import DistributedDataParallel

    view = bool(trial.options.get("gradient_bucket_view", False))
    ids = [int(os.environ.get("LOCAL_RANK", "0"))] if device.kind == "cuda" else None
    return DistributedDataParallel(model, device_ids=ids, gradient_as_bucket_view=view)


def _fully_sharded(model: nn.Module, trial: Trial, *, keep: bool, device: str, size: int) -> nn.Module:
    import torch
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, OffloadPolicy, fully_shard

    mesh = init_device_mesh(device, (size,))
    mixed = trial.text("precision", "bf16-mixed") == "bf16-mixed"
    low = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    policy = low if mixed else MixedPrecisionPolicy()
    outside = trial.share("params_cpu") > 0
    place: OffloadPolicy = CPUOffloadPolicy() if outside else OffloadPolicy()
    modules = dict(model.named_modules())
    for path in layer_paths(model):
        fully_shard(modules[path], mesh=mesh, reshard_after_forward=not keep, mp_policy=policy, offload_policy=place)
    fully_shard(model, mesh=mesh, reshard_after_forward=not keep, mp_policy=policy, offload_policy=place)
    return model


def optimizer(
    model: nn.Module, trial: Trial, world: World, make: Callable[..., torch.optim.Optimizer]
) -> torch.optim.Optimizer:
    """The optimizer of this rank: of its own shard for ZeRO-1, of everything it holds else."""
    name = trial.text("optimizer", "adamw")
    if trial.text("sharding", "none") == "zero1" and world.size > 1:
        from torch.distributed.optim import ZeroRedundancyOptimizer

        if name != "adamw":
            raise UnsupportedError(f"ZeRO-1 is replayed with adamw, not {name}")
        import torch

        kept = [p for p in model.parameters() if p.requires_grad]
        made: torch.optim.Optimizer = ZeroRedundancyOptimizer(kept, optimizer_class=torch.optim.AdamW, lr=1e-4)
        return made
    return make(name, model.parameters())


def plain(model: Any) -> Any:
    """The model inside DDP's wrapper."""
    return getattr(model, "module", model) if type(model).__name__ == "DistributedDataParallel" else model


def local(tensor: Any) -> Any:
    """This rank's part of a sharded tensor."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


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
