"""From a log of births and deaths to peaks: by the allocator's rules, by phase, and by what held the memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from validation.simulate.allocator import CachingAllocator
from validation.simulate.tracker import Born, Mark, Step, Storage

STATIC = ("weights", "adapters", "buffers", "gradients", "optimizer")
"""What stays between steps."""
LOGITS_BYTES = 2
"""Least bytes of a logit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Peaks of one GPU, in bytes."""

    allocated: int
    reserved: int
    requested: int
    static: int
    """Weights, gradients and optimizer state after a step; the weights alone where nothing is trained."""
    phase: str
    """Of the peak."""
    op: str
    """The operation whose result set it."""
    phases: Mapping[str, int]
    """Most allocated in each phase."""
    parts: Mapping[str, int]
    """What was live at the peak, by what it holds; with `rounding` they add up to `allocated`."""


def memory_of(
    steps: Sequence[Step], *, vocab_size: int | None, sequences: int, expandable_segments: bool = False
) -> Memory:
    """Replay the log through the caching allocator."""
    allocator = CachingAllocator(expandable_segments=expandable_segments)
    phase, phases, at, peak, peak_phase = "setup", Counter[str](), -1, 0, "setup"
    static, live = 0, dict[int, Storage]()
    for i, step in enumerate(steps):
        if isinstance(step, Mark):
            phase = step.name.partition(":")[0]
            if phase == "held":
                static = sum(s.nbytes for s in live.values() if s.category in STATIC)
        elif isinstance(step, Born):
            storage = step.storage
            allocator.malloc(storage.key, storage.nbytes, storage.stream)
            live[storage.key] = storage
            phases[phase] = max(phases[phase], allocator.allocated_bytes)
            if allocator.allocated_bytes > peak:
                at, peak, peak_phase = i, allocator.allocated_bytes, phase
        else:
            allocator.free(step.storage.key)
            del live[step.storage.key]
    top = steps[at]
    parts = Counter[str]()
    for storage in live_at(steps, at):
        parts[category(storage, vocab_size, sequences)] += storage.nbytes
    parts["rounding"] = peak - sum(parts.values())
    return Memory(
        allocated=peak,
        reserved=allocator.peak_reserved_bytes,
        requested=allocator.peak_requested_bytes,
        static=static or sum(s.nbytes for s in initial(steps)),
        phase=peak_phase,
        op=top.storage.op if isinstance(top, Born) else "",
        phases=dict(phases),
        parts=dict(sorted(parts.items())),
    )


def live_at(steps: Sequence[Step], at: int) -> Iterable[Storage]:
    """Everything alive right after step `at`."""
    live: dict[int, Storage] = {}
    for step in steps[: at + 1]:
        if isinstance(step, Born):
            live[step.storage.key] = step.storage
        elif not isinstance(step, Mark):
            del live[step.storage.key]
    return live.values()


def initial(steps: Sequence[Step]) -> Iterable[Storage]:
    """The model, as it lies there before the loop."""
    for step in steps:
        if isinstance(step, Mark):
            return
        if isinstance(step, Born) and step.storage.category in STATIC:
            yield step.storage


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
