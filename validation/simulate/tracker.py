"""Follows every storage of one device from the operation that makes it to its death.

A dispatch mode sees each operation after autograd has had its say: forward, backward, checkpoints run again, the
optimizer. A new storage is an allocation, the end of its last reference a release. No value is ever computed on `meta`
tensors, so a read of one (`.item()`, `if tensor:`) is answered as for unpadded, unpacked data.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode

from validation.simulate.patching import replaced

aten = torch.ops.aten


@dataclass(slots=True, eq=False)
class Storage:
    """One piece of memory."""

    key: int
    nbytes: int
    op: str
    """The operation that made it."""
    phase: str
    """What was going on: the loop's phase, or `recompute` and `backward` inside autograd."""
    shape: tuple[int, ...]
    category: str | None = None
    """What it holds, where the loop has said so."""
    casts_parameter: bool = False
    stream: int = 0


@dataclass(frozen=True, slots=True)
class Mark:
    """A phase of the loop begins, or a region of one."""

    name: str
    region: str = ""


@dataclass(frozen=True, slots=True)
class Born:
    """Memory is asked for."""

    storage: Storage


@dataclass(frozen=True, slots=True)
class Died:
    """Memory is given back."""

    storage: Storage


Step = Mark | Born | Died
KernelModel = Callable[[Any, tuple[Any, ...], Any], int]
"""(operation, arguments, result) -> bytes that its CUDA kernel takes and gives back, which no tensor shows."""


class DataDependentError(RuntimeError):
    """The model's shapes depend on values, and there are none."""


class Tracker(TorchDispatchMode):
    """Logs births and deaths on `device_type` as `steps` while it is entered.

    `answers` replies to reads of `meta` values; off for real tensors, which know their own.
    """

    def __init__(self, device_type: str, *, kernels: KernelModel | None = None, answers: bool = True) -> None:
        TorchDispatchMode.__init__(self)
        self.device_type = device_type
        self.steps: list[Step] = []
        self.phase = "setup"
        self.num_ops = 0
        self.muted = False
        self.stream = 0
        self.label: str | None = None
        """Category of what is born from here on, where nobody says another."""
        self._kernels = kernels
        self._answers = answers
        self._live: dict[int, Storage] = {}
        self._refs: dict[int, weakref.KeyedRef[int, torch.UntypedStorage]] = {}
        self._num_storages = 0

    def begin(self, phase: str) -> None:
        """Everything from here on belongs to `phase`."""
        self.phase = phase
        self.steps.append(Mark(phase))

    def enter_region(self, region: str) -> None:
        """The loop goes on in another part of the model."""
        self.steps.append(Mark(self.phase, region))

    def register(self, tensor: torch.Tensor, category: str | None = None) -> None:
        """Follow a tensor that was there before, or say what one holds."""
        if tensor.device.type == self.device_type:
            self._see(tensor, "", category)
            known = self._live.get(tensor.untyped_storage()._cdata)
            if known is not None and category is not None:
                known.category = category

    def reserve(self, nbytes: int, category: str) -> None:
        """Memory that a library holds from here on."""
        self.steps.append(Born(self._storage(nbytes, "library", (), category)))

    def touch(self, nbytes: int, what: str) -> None:
        """Memory that is asked for and given back at once: it stays with the allocator."""
        storage = self._storage(nbytes, what, (), "kernel")
        self.steps += [Born(storage), Died(storage)]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if DTensor in types:
            return NotImplemented  # it takes itself apart into local operations first
        if self._answers and func is aten._local_scalar_dense.default:
            return _answer(args[0])
        if self._answers and func is aten.copy_.default and args[1].is_meta and not args[0].is_meta:
            return args[0]  # what comes back from the device is what was sent there (a reducer's order of buckets)
        out = func(*args, **(kwargs or {}))
        if self.muted:
            return out
        self.num_ops += 1
        for tensor in _tensors(out):
            if tensor.device.type == self.device_type:
                made = self._see(tensor, str(func), None)
                if made is not None and func is aten._to_copy.default:
                    source = self._live.get(args[0].untyped_storage()._cdata)
                    made.casts_parameter = source is not None and source.category in ("weights", "adapters")
        self._inside_kernel(func, args, out)
        return out

    def _inside_kernel(self, func: Any, args: tuple[Any, ...], out: Any) -> None:
        """What a kernel's own temporaries add while its results are already there."""
        nbytes = self._kernels(func, args, out) if self._kernels is not None else 0
        if nbytes:
            self.touch(nbytes, str(func))

    def _storage(self, nbytes: int, op: str, shape: tuple[int, ...], category: str | None) -> Storage:
        self._num_storages += 1
        phase = _inside_autograd() or self.phase
        return Storage(self._num_storages, nbytes, op, phase, shape, category or self.label, stream=self.stream)

    def _see(self, tensor: torch.Tensor, op: str, category: str | None) -> Storage | None:
        """Follow the tensor's storage; what was new about it."""
        memory = tensor.untyped_storage()
        key, nbytes = memory._cdata, memory.nbytes()
        known = self._live.get(key)
        if known is not None:
            if known.nbytes != nbytes:
                self.resized(memory)
            return None
        if nbytes == 0:
            return None
        made = self._storage(nbytes, op, tuple(tensor.shape), category)
        self._live[key] = made
        self._refs[key] = weakref.KeyedRef(memory, self._died, key)
        self.steps.append(Born(made))
        return made

    def resized(self, memory: torch.UntypedStorage) -> None:
        """`resize_` takes a new block before it gives the old one back; FSDP frees and refills its buffers so."""
        key, nbytes = memory._cdata, memory.nbytes()
        known = self._live.pop(key, None)
        if nbytes:
            made = self._storage(nbytes, "resize_", (), known.category if known else None)
            self._live[key] = made
            self._refs[key] = weakref.KeyedRef(memory, self._died, key)
            self.steps.append(Born(made))
        if known is not None:
            self.steps.append(Died(known))

    def _died(self, ref: weakref.KeyedRef[int, torch.UntypedStorage]) -> None:
        if self._refs.get(ref.key) is not ref:
            return
        del self._refs[ref.key]
        storage = self._live.pop(ref.key, None)
        if storage is not None:
            self.steps.append(Died(storage))


@contextlib.contextmanager
def resizes_followed(tracker: Tracker) -> Iterator[None]:
    """`UntypedStorage.resize_` bypasses dispatch, so it is wrapped."""
    original = torch.UntypedStorage.resize_

    def resize_(memory: torch.UntypedStorage, nbytes: int) -> Any:
        before = memory.nbytes()
        out = original(memory, nbytes)
        if memory.device.type == tracker.device_type and before != nbytes:
            tracker.resized(memory)
        return out

    with replaced(torch.UntypedStorage, "resize_", resize_):
        yield


def _inside_autograd() -> str | None:
    """Checkpoints replay their forward with gradients on, backward formulas run with them off."""
    if torch._C._current_graph_task_id() == -1:
        return None
    return "recompute" if torch.is_grad_enabled() else "backward"


def _tensors(out: Any) -> Iterator[torch.Tensor]:
    if isinstance(out, torch.Tensor):
        yield out
    elif isinstance(out, (tuple, list)):
        for part in out:
            yield from _tensors(part)


def _answer(tensor: torch.Tensor) -> bool | float:
    """No position is padded, no sequence packed; norms that an optimizer scales by, and its counters, are 1.

    Raises DataDependentError for a whole number, which could be a shape.
    """
    if tensor.dtype == torch.bool:
        return True
    if tensor.is_floating_point():
        return 1.0
    raise DataDependentError(f"the model reads a {tensor.dtype} value, which does not exist without a GPU")
