"""One rank of many under FSDP2, on a process group that talks to nobody. Experimental.

`fully_shard` shards each decoder layer and the rest of the model; collectives have shapes and no partners. It needs
private modules of torch (a fake process group, meta kernels of collectives), so the minor version is checked.
Streams and events are stand-ins: on one thread the order in which FSDP asks for memory is the order of the program.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

import torch

from validation.simulate.case import CaseError
from validation.simulate.patching import replaced
from validation.simulate.tracker import Tracker

KNOWN_TORCH = "2.13"
"""The minor version whose private modules are as this file expects them."""
DEVICE = "meta"
GATHERS = ("unshard", "wait_for_unshard")
"""Methods of a group of parameters that bring it together."""


class Stream:
    """Work in the order of the program."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.device = torch.device(DEVICE)

    def wait_event(self, event: Any) -> None:
        """Nothing runs behind."""

    def wait_stream(self, stream: Any) -> None:
        """Nothing runs behind."""

    def record_event(self, event: Any = None) -> Any:
        """An event that has happened."""
        return event or Event()

    def synchronize(self) -> None:
        """Nothing to wait for."""


class Event:
    """A point that has been passed."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.passed = True

    def record(self, *_: Any) -> Event:
        """It happens now."""
        return self

    def wait(self, *_: Any) -> None:
        """It has happened."""

    def query(self) -> bool:
        """It has happened."""
        return True

    def synchronize(self) -> None:
        """It has happened."""


class Handle:
    """What torch asks a device's module for."""

    def __init__(self, tracker: Tracker, world_size: int) -> None:
        self.Stream, self.Event = Stream, Event
        self._streams = [Stream()]
        self._numbers = {id(self._streams[0]): 0}
        self._tracker = tracker
        self._world_size = world_size

    def current_stream(self, *_: Any) -> Stream:
        """The innermost one entered."""
        return self._streams[-1]

    @contextlib.contextmanager
    def stream(self, stream: Stream | None) -> Iterator[None]:
        """Memory taken inside comes from the stream's own blocks."""
        if stream is None:
            yield
            return
        self._streams.append(stream)
        before, self._tracker.stream = self._tracker.stream, self._numbers.setdefault(id(stream), len(self._numbers))
        try:
            yield
        finally:
            self._streams.pop()
            self._tracker.stream = before

    def is_initialized(self) -> bool:
        """There is no driver to start."""
        return True

    def device_count(self) -> int:
        """As many as ranks."""
        return self._world_size

    def current_device(self) -> int:
        """Rank 0."""
        return 0

    def set_device(self, *_: Any) -> None:
        """There is one."""


@contextlib.contextmanager
def ranks(tracker: Tracker, world_size: int) -> Iterator[Any]:
    """A mesh of `world_size` ranks of which this process is the first.

    Raises CaseError where the installed torch is not one this was written for.
    """
    release = ".".join(torch.__version__.split(".")[:2])
    if release != KNOWN_TORCH:
        raise CaseError(f"sharding is simulated with torch {KNOWN_TORCH}; {torch.__version__} is installed")
    from torch import distributed
    from torch.distributed.device_mesh import DeviceMesh

    importlib.import_module("torch.distributed._tools.fake_collectives")
    store = importlib.import_module("torch.testing._internal.distributed.fake_pg").FakeStore()
    init = importlib.import_module("torch.distributed.fsdp._fully_shard._fsdp_init")
    shard = importlib.import_module("torch.distributed.fsdp._fully_shard._fully_shard")
    group = importlib.import_module("torch.distributed.fsdp._fully_shard._fsdp_param_group")
    with contextlib.ExitStack() as patches:
        setattr(torch, DEVICE, Handle(tracker, world_size))
        patches.callback(delattr, torch, DEVICE)
        for module in (init, shard):
            patches.enter_context(replaced(module, "_get_device_from_mesh", lambda mesh: torch.device(DEVICE)))
        patches.enter_context(replaced(group.FSDPParamGroup, "_validate_no_meta_params", lambda self: None))
        patches.enter_context(_gathered_labelled(tracker, group.FSDPParamGroup))
        patches.enter_context(_propagation_muted(tracker))
        distributed.init_process_group("fake", rank=0, world_size=world_size, store=store)
        patches.callback(distributed.destroy_process_group)
        yield DeviceMesh(DEVICE, list(range(world_size)))


def shard_model(model: Any, mesh: Any, *, compute: torch.dtype | None) -> None:
    """Shard every decoder layer on its own and the rest as one; `compute` is the type weights are gathered in."""
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    policy = MixedPrecisionPolicy(param_dtype=compute, reduce_dtype=torch.float32 if compute else None)
    for layer in layers_of(model):
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)


def layers_of(model: torch.nn.Module) -> list[torch.nn.Module]:
    """The longest list of like modules: the decoder's layers."""
    lists = [list(m) for m in model.modules() if isinstance(m, torch.nn.ModuleList)]
    alike = [found for found in lists if len({type(layer) for layer in found}) == 1]
    return max(alike, key=len)


def local(tensor: torch.Tensor) -> torch.Tensor:
    """This rank's part of a tensor."""
    part: torch.Tensor = getattr(tensor, "_local_tensor", tensor)
    return part


@contextlib.contextmanager
def _gathered_labelled(tracker: Tracker, owner: Any) -> Iterator[None]:
    """Whole weights that are there for a while, and what they are gathered through, are `gathered`."""
    with contextlib.ExitStack() as patches:
        for name in GATHERS:
            inner = getattr(owner, name)

            def labelled(*args: Any, inner: Any = inner, **kwargs: Any) -> Any:
                before, tracker.label = tracker.label, "gathered"
                try:
                    return inner(*args, **kwargs)
                finally:
                    tracker.label = before

            patches.enter_context(replaced(owner, name, labelled))
        yield


@contextlib.contextmanager
def _propagation_muted(tracker: Tracker) -> Iterator[None]:
    """Sharded tensors learn their shapes by running operations on throw-away tensors of full size: no memory."""
    propagator = importlib.import_module("torch.distributed.tensor._sharding_prop").ShardingPropagator
    with contextlib.ExitStack() as patches:
        for name in [n for n in vars(propagator) if n.startswith("_propagate_tensor_meta")]:
            inner = vars(propagator)[name]
            if callable(inner):
                patches.enter_context(replaced(propagator, name, _muted(inner, tracker)))
        yield


def _muted(inner: Any, tracker: Tracker) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        before, tracker.muted = tracker.muted, True
        try:
            return inner(*args, **kwargs)
        finally:
            tracker.muted = before

    return call
