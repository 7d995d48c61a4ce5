"""From a log of births and deaths to peaks: by the allocator's rules, by phase, and by what held the memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from validation.simulate.allocator import CachingAllocator
from validation.simulate.tracker import Died, Mark, Step, Storage

STATIC = ("weights", "adapters", "buffers", "gradients", "optimizer")
"""What stays between steps."""
LOGITS_BYTES = 2
"""Least bytes of a logit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """The peak within one phase, or one part of the model in it."""

    phase: str
    name: str
    allocated: int
    op: str
    """The operation whose result set the peak."""
    parts: Mapping[str, int]
    """What was live, by what it holds; with `rounding` they add up to `allocated`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Peaks of one GPU, in bytes."""

    reserved: int | None
    """None where it cannot be told: how segments fragment is no straight line in the layers."""
    requested: int
    static: int
    """Weights, gradients and optimizer state after a step; the weights alone where nothing is trained."""
    regions: tuple[Region, ...]

    @property
    def peak(self) -> Region:
        """The region that needs most; of equal ones the first."""
        return max(self.regions, key=lambda region: region.allocated)

    @property
    def allocated(self) -> int:
        """The peak as `max_memory_allocated` shows it."""
        return self.peak.allocated

    @property
    def phases(self) -> dict[str, int]:
        """Most allocated in each phase."""
        most: dict[str, int] = {}
        for region in self.regions:
            most[region.phase] = max(most.get(region.phase, 0), region.allocated)
        return most


def memory_of(
    steps: Sequence[Step], *, vocab_size: int | None, sequences: int, expandable_segments: bool = False
) -> Memory:
    """Replay the log through the caching allocator."""
    allocator = CachingAllocator(expandable_segments=expandable_segments)
    place, regions, live, static = ("setup", ""), dict[tuple[str, str], Region](), Counter[str](), 0
    for step in steps:
        if isinstance(step, Mark):
            place = (step.name.partition(":")[0], step.region)
            if place[0] == "setup" or (place[0] == "inputs" and not static) or place[0] == "held":
                static = sum(live[part] for part in STATIC)
            continue
        storage = step.storage
        part = category(storage, vocab_size, sequences)
        if isinstance(step, Died):
            allocator.free(storage.key)
            live[part] -= storage.nbytes
            continue
        allocator.malloc(storage.key, storage.nbytes, storage.stream)
        live[part] += storage.nbytes
        if place not in regions or allocator.allocated_bytes > regions[place].allocated:
            regions[place] = _region(place, allocator, storage.op, live)
    return Memory(
        reserved=allocator.peak_reserved_bytes,
        requested=allocator.peak_requested_bytes,
        static=static,
        regions=tuple(regions.values()),
    )


def _region(place: tuple[str, str], allocator: CachingAllocator, op: str, live: Counter[str]) -> Region:
    parts = {part: nbytes for part, nbytes in sorted(live.items()) if nbytes}
    parts["rounding"] = allocator.allocated_bytes - sum(parts.values())
    return Region(phase=place[0], name=place[1], allocated=allocator.allocated_bytes, op=op, parts=parts)


def category(storage: Storage, vocab_size: int | None, sequences: int) -> str:
    """What a storage holds: as the loop said, else by its shape and the phase it was made in."""
    if storage.category is not None:
        return storage.category
    if storage.casts_parameter:
        return "weight_copies"
    phase = storage.phase.partition(":")[0]
    wide = bool(vocab_size and storage.shape and storage.shape[-1] == vocab_size)
    if wide and phase != "step" and storage.nbytes >= LOGITS_BYTES * sequences * (vocab_size or 0):
        return "logits"
    names = {"forward": "activations", "prefill": "activations", "decode": "activations", "step": "step"}
    return names.get(phase, phase)
