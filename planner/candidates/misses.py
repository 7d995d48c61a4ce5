"""The nearest miss of every GPU: why it cannot run a workload, and by how little."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from planner.candidates.types import Dropped
from planner.estimate.types import Floats
from planner.units import GIB, gib


class Stage(IntEnum):
    """How far a way came before it was dropped; further is nearer."""

    UNREACHABLE = 0
    UNSUPPORTED = 1
    DEVICE_MEMORY = 2
    HOST_MEMORY = 3
    TARGET = 4


@dataclass(slots=True)
class Misses:
    """Collects misses; keeps the nearest of each GPU."""

    nearest: dict[str, tuple[Stage, float, str]] = field(default_factory=dict)
    nearest_targets: dict[str, Mapping[str, float]] = field(default_factory=dict)
    """Of the nearest miss of each GPU: targets that it does not reach, with the values that it would."""

    def add(
        self, gpu: str, stage: Stage, excess: float, reason: str, targets: Mapping[str, float] | None = None
    ) -> None:
        """Note a miss. `excess` says by how much (needed / available): less is nearer."""
        if self.is_nearer(gpu, stage, excess):
            self.nearest[gpu] = (stage, excess, reason)
            self.nearest_targets[gpu] = targets or {}

    def is_nearer(self, gpu: str, stage: Stage, excess: float) -> bool:
        """Whether a miss would replace what is known; saves writing its reason."""
        known = self.nearest.get(gpu)
        return known is None or (stage, -excess) > (known[0], -known[1])

    def dropped(self, workload: str, able: frozenset[str]) -> Iterator[Dropped]:
        """The misses of GPUs that no way runs on, nearest first, then by name."""
        order = sorted(self.nearest.items(), key=lambda e: (-e[1][0], e[1][1], e[0]))
        for gpu, (_, _, reason) in order:
            if gpu not in able:
                yield Dropped(workload=workload, gpu=gpu, reason=reason, nearest_targets=self.nearest_targets[gpu])


def memory_reason(parts: Mapping[str, Floats], row: int, *, room: float, layout: str, precision: str) -> str:
    """Why a way does not fit the device: its weights alone, or the sum with its largest parts."""
    held = {name: float(column[row] if len(column) > 1 else column[0]) for name, column in parts.items()}
    if held["weights"] > room:
        return f"weights in {precision} need {gib(held['weights'])} on one GPU ({layout}), it has {gib_down(room)}"
    largest = sorted(held.items(), key=lambda e: -e[1])[:3]
    named = ", ".join(f"{name.replace('_', ' ')} {gib(n)}" for name, n in largest)
    return f"{precision} needs {gib(sum(held.values()))} on one GPU ({layout}: {named}), it has {gib_down(room)}"


def gib_down(n_bytes: float) -> str:
    """GiB text of a capacity, rounded down to one digit, so that what does not fit never prints as equal.

    >>> gib_down(79.99 * 2**30)
    '79.9 GiB'
    """
    return f"{int(n_bytes / GIB * 10) / 10:,.1f} GiB"


def layout_text(*, tensor: int, pipeline: int, data: int, context: int, nodes: int) -> str:
    """The splits in words.

    >>> layout_text(tensor=2, pipeline=1, data=4, context=1, nodes=1)
    'tensor parallel 2, data parallel 4'
    """
    named = (("tensor parallel", tensor), ("pipeline", pipeline), ("data parallel", data), ("context", context))
    parts = [f"{name} {degree}" for name, degree in named if degree > 1]
    if nodes > 1:
        parts.append(f"{nodes} nodes")
    return ", ".join(parts) or "one GPU"
