"""A simulated run as a record: what it was, with which libraries, and every figure beside its rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from validation.record import Quantity, Record, Source
from validation.simulate.case import Case
from validation.simulate.peaks import Memory
from validation.simulate.run import Run

SOURCE = "simulated: the library's model code on storage-less tensors, replayed through PyTorch's caching allocator"
PART_OF: Mapping[str, str] = {
    "weights": "weights",
    "buffers": "weights",
    "adapters": "adapters",
    "gradients": "gradients",
    "optimizer": "optimizer",
    "step": "optimizer",
    "kv_cache": "kv_cache",
    "logits": "logits",
    "workspace": "workspace",
    "buckets": "workspace",
    "gathered": "workspace",
    "activations": "activations",
    "recompute": "activations",
    "backward": "activations",
    "weight_copies": "activations",
    "inputs": "activations",
    "kernel": "activations",
    "rounding": "activations",
}
"""Which part of an estimate a simulated category belongs to; whatever else there is counts as activations."""
LIBRARIES = ("torch", "transformers", "peft")


def record_of(run: Run, workload: Mapping[str, Any], *, name: str, command: str, as_of: str) -> Record:
    """The record of one run; `workload` is what it was made from, `as_of` the day."""
    return Record(
        id=name,
        origin="simulated",
        source=Source(name=SOURCE, as_of=as_of),
        environment={"gpu": run.case.gpu, "gpus": run.case.gpus, **versions(), "command": command},
        workload=workload,
        quantities=tuple(Quantity(rule=rule, measured=n, unit="bytes") for rule, n in figures(run.memory, run.case)),
        details={
            "phase": run.memory.peak.phase,
            "operation": run.memory.peak.op,
            "phases": run.memory.phases,
            "categories": dict(run.memory.peak.parts),
            "kernels": dict(run.kernels),
            "parameters": run.params,
            "trained": run.trained,
            **({"depths": list(run.depths)} if run.depths else {}),
        },
    )


def figures(memory: Memory, case: Case) -> list[tuple[str, int]]:
    """Every quantity by its rule: the peak as torch would show it, then what it is made of."""
    parts = Counter[str]()
    for category, nbytes in memory.peak.parts.items():
        parts[PART_OF.get(category, "activations")] += nbytes
    reserved = [] if memory.reserved is None else [("reserved", memory.reserved)]
    static = [("static", memory.static)] if case.mode == "train" else []
    return [("allocated", memory.allocated), *reserved, *static, *sorted(parts.items())]


def versions() -> dict[str, str]:
    """Installed releases of the libraries whose code ran."""
    from importlib.metadata import version

    return {name: version(name) for name in LIBRARIES}
