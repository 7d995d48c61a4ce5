"""The device a trial runs on, in the child: memory by phase, time by its own clock, and a card made to look smaller.

One class for each kind of device, same methods. On a GPU memory is what torch's allocator and the driver count; on a
CPU there is no such counter, so figures of memory are left out and only the parameters themselves are summed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from validation.formats import UnsupportedError
from validation.units import gib

if TYPE_CHECKING:
    import torch

BALLAST_STEP_BYTES = 2 * 2**20
"""The allocator hands large blocks out in whole steps of this size."""
LOAD = "load"
"""The phase in which the model is made."""
LEFT_FREE_BYTES = int(1.2 * 2**30)
"""`caching_allocator_warmup` of transformers leaves so much of a card alone."""
MOST_CONTEXT_BYTES = 2 * 2**30
"""A context of CUDA and its libraries takes less; more than this on a card before anything was allocated is others'."""


class BusyError(Exception):
    """Others hold memory of the card; the message says how much."""


class Cpu:
    """No GPU: the same path, without counters of device memory."""

    kind = "cpu"

    def __init__(self) -> None:
        self.phases: dict[str, dict[str, int]] = {}

    def refuse_company(self) -> None:
        """A CPU is always shared."""

    def prepare(self, *, emulate_bytes: int | None) -> dict[str, Any]:
        """Nothing to prepare: a CPU stands for no card."""
        return {}

    def hold_once(self, num_bytes: int) -> None:
        """A CPU's allocator keeps nothing back."""

    def synchronise(self) -> None:
        """Work on a CPU is done when the call returns."""

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """A named part of the trial; a CPU has no counters to read."""
        yield

    def timed(self, work: Callable[[], Any]) -> float:
        """Seconds that one call takes."""
        begin = time.perf_counter()
        work()
        return time.perf_counter() - begin

    def memory(self) -> dict[str, int]:
        """No figures: peaks of the trial by rule."""
        return {}

    def held(self) -> int | None:
        """Bytes held now, as the allocator counts; None where nothing counts."""
        return None

    def facts(self) -> dict[str, Any]:
        """What the device calls itself."""
        import platform

        return {"device": "cpu", "processor": platform.processor() or platform.machine()}


class Cuda(Cpu):
    """One NVIDIA (or AMD) GPU through torch.cuda; with several visible, the fullest one decides."""

    kind = "cuda"

    def __init__(self, *, index: int = 0, count: int = 1) -> None:
        import torch

        super().__init__()
        self._gpus = range(index, index + count)  # asking of others would put a context on them
        self._cuda = torch.cuda
        self._own = index
        self._ballast: dict[int, torch.Tensor] = {}
        self._ballast_bytes: dict[int, int] = {}
        torch.cuda.set_device(index)
        torch.zeros(1, device="cuda")  # the context exists from here on
        self._before = {gpu: self._taken(gpu) for gpu in self._gpus}

    def _taken(self, gpu: int) -> int:
        """Bytes that the driver shows as taken, by whomever."""
        free, total = self._cuda.mem_get_info(gpu)
        return int(total - free)

    def refuse_company(self) -> None:
        """Raise BusyError where others hold memory of a card: the driver's own tool does not tell it of slices."""
        for gpu, taken in self._before.items():
            if taken > MOST_CONTEXT_BYTES:
                raise BusyError(f"GPU {gpu} is in use: {gib(taken)} are taken before the trial begins")

    def prepare(self, *, emulate_bytes: int | None) -> dict[str, Any]:
        """Make the card look as if it had `emulate_bytes` of usable memory, where asked; starts the counting.

        A ballast takes what the smaller card does not have, so that free memory as the driver shows it is right, and
        the allocator is capped besides. Raises UnsupportedError where the card is smaller than that itself.
        """
        said: dict[str, Any] = {}
        if emulate_bytes is not None:
            for gpu in self._gpus:
                self._fill(gpu, emulate_bytes)
            said = {"usable_bytes": emulate_bytes, "ballast_bytes": self._ballast_bytes.get(self._own, 0)}
        for gpu in self._gpus:
            self._cuda.reset_peak_memory_stats(gpu)
        return said

    def _fill(self, gpu: int, emulate_bytes: int) -> None:
        """Put the ballast on one card, and let the allocator hold it and what is free beside it, no more."""
        import torch

        _, total = self._cuda.mem_get_info(gpu)
        surplus = (total - emulate_bytes) // BALLAST_STEP_BYTES * BALLAST_STEP_BYTES
        if surplus < 0:
            raise UnsupportedError(f"the card has {gib(total)}, less than the {gib(emulate_bytes)} it should look like")
        if surplus:
            before = int(self._cuda.memory_allocated(gpu))
            self._ballast[gpu] = torch.empty(surplus, dtype=torch.uint8, device=f"cuda:{gpu}")
            self._ballast_bytes[gpu] = int(self._cuda.memory_allocated(gpu)) - before
        free, _ = self._cuda.mem_get_info(gpu)
        share = min(1.0, (self._cuda.memory_reserved(gpu) + free) / total)
        self._cuda.set_per_process_memory_fraction(share, gpu)

    def hold_once(self, num_bytes: int) -> None:
        """Take one block and give it back: the allocator keeps it, and what comes next is cut out of it."""
        import torch

        free, _ = self._cuda.mem_get_info(self._own)
        block = torch.empty(
            max(0, min(num_bytes, free - LEFT_FREE_BYTES)), dtype=torch.uint8, device=f"cuda:{self._own}"
        )
        del block

    def synchronise(self) -> None:
        """Wait until every queued kernel is done."""
        for gpu in self._gpus:
            self._cuda.synchronize(gpu)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Peaks of a named part of the trial; the highest of all parts is the trial's."""
        for gpu in self._gpus:
            self._cuda.reset_peak_memory_stats(gpu)
        try:
            yield
        finally:
            self.synchronise()
            seen = self._read()
            known = self.phases.get(name, {})
            self.phases[name] = {rule: max(value, known.get(rule, 0)) for rule, value in seen.items()}

    def timed(self, work: Callable[[], Any]) -> float:
        """Seconds that one call takes on the device, by its own events."""
        import torch

        event: Any = torch.cuda.Event
        begin, end = event(enable_timing=True), event(enable_timing=True)
        self.synchronise()
        begin.record()
        work()
        end.record()
        self.synchronise()
        return float(begin.elapsed_time(end)) / 1e3

    def _read(self) -> dict[str, int]:
        """Peaks since the last reset on the fullest GPU, and what the driver says is taken there now."""
        found: list[dict[str, int]] = []
        for gpu in self._gpus:
            ballast = self._ballast_bytes.get(gpu, 0)
            found.append(
                {
                    "allocated": int(self._cuda.max_memory_allocated(gpu)) - ballast,
                    "reserved": int(self._cuda.max_memory_reserved(gpu)) - ballast,
                    "device": self._taken(gpu) - ballast,
                }
            )
        return {rule: max(seen[rule] for seen in found) for rule in found[0]}

    def memory(self) -> dict[str, int]:
        """The highest of all phases once the model stands, by rule: packing weights takes what no step does."""
        phases = [seen for name, seen in self.phases.items() if name != LOAD]
        rules = {rule for seen in phases for rule in seen}
        return {rule: max(seen.get(rule, 0) for seen in phases) for rule in sorted(rules)}

    def held(self) -> int | None:
        """Bytes allocated now on the fullest GPU."""
        return max(int(self._cuda.memory_allocated(g)) - self._ballast_bytes.get(g, 0) for g in self._gpus)

    def facts(self) -> dict[str, Any]:
        """What the device calls itself."""
        import torch

        traits = torch.cuda.get_device_properties(self._own)
        return {
            "device": traits.name,
            "total_bytes": traits.total_memory,
            "capability": f"{traits.major}.{traits.minor}",
            "cuda": torch.version.cuda,
            "visible": self._cuda.device_count(),
            "taken_before_bytes": max(self._before.values()),
        }


def device_of(kind: str, *, index: int = 0, count: int = 1) -> Cpu:
    """The device of that kind: `count` GPUs from `index` on.

    Raises ValueError for a kind not known, RuntimeError where torch sees too few GPUs.
    """
    if kind == "cpu":
        return Cpu()
    if kind == "cuda":
        import torch

        seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if seen < index + count:
            raise RuntimeError(f"torch sees {seen} GPUs; {index + count} are needed")
        return Cuda(index=index, count=count)
    raise ValueError(f"no device of kind {kind!r}")


def repeated(device: Cpu, work: Callable[[], Any], *, times: int) -> list[float]:
    """Seconds of each of several calls."""
    return [device.timed(work) for _ in range(times)]


def median_s(seconds: list[float]) -> float:
    """The middle one: a stray pause of the machine does not count.

    >>> median_s([1.0, 9.0, 2.0])
    2.0
    """
    return statistics.median(seconds)
