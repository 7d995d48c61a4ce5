"""Parts of a GPU (NVIDIA MIG): which a GPU can be cut into, and what each is (`catalogs/mig.yaml`)."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from planner.catalog.types import Fact, Gpu, PositiveInt
from planner.errors import ImpossibleError, UnknownNameError
from planner.plain_yaml import load_yaml
from planner.resources import data_folder


class Profile(BaseModel):
    """One size of part."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    compute_slices: PositiveInt
    """Compute slices of the GPU that one takes."""
    memory_slices: PositiveInt
    """Memory slices of the GPU that one takes."""
    sm_count: PositiveInt
    memory_bytes: PositiveInt
    """What the driver reports as the part's memory."""


class CuttableGpu(Fact):
    """GPUs that can be cut alike."""

    gpus: tuple[str, ...]
    compute_slices: PositiveInt
    """Of one whole GPU."""
    memory_slices: PositiveInt
    """Of one whole GPU."""
    profiles: Mapping[str, Profile]


class MigEngines(Fact):
    """Engines that run on a part of a GPU as on a whole one."""

    names: tuple[str, ...]


class MigFacts(BaseModel):
    """The file `catalogs/mig.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    engines: MigEngines
    gpus: tuple[CuttableGpu, ...]

    def of(self, gpu: str) -> CuttableGpu | None:
        """How a GPU can be cut; None where it cannot, or nobody published the sizes."""
        return next((g for g in self.gpus if gpu in g.gpus), None)

    def profile_names(self) -> tuple[str, ...]:
        """Every profile of any GPU, once each, by name."""
        return tuple(sorted({name for g in self.gpus for name in g.profiles}))


@dataclass(frozen=True, slots=True, kw_only=True)
class MigPart:
    """One part of a GPU as a job sees it: a device of its own."""

    profile: str
    slices: tuple[int, int]
    """Compute and memory slices that it takes."""
    whole_slices: tuple[int, int]
    """Those of the whole GPU."""
    memory_bytes: int
    sm_count: int
    compute_share: float
    """Of the GPU's multiprocessors."""
    bandwidth_share: float
    """Of the GPU's memory bandwidth: its memory slices."""

    @property
    def gpu_share(self) -> float:
        """Of the whole GPU: the larger of its shares of compute and memory slices."""
        return max(part / whole for part, whole in zip(self.slices, self.whole_slices, strict=True))


def part_of(gpu: Gpu, name: str) -> MigPart:
    """A part of a GPU by its profile's name, without regard to case.

    Raises UnknownNameError for a profile that the GPU does not have, ImpossibleError for a GPU that has none.
    """
    cut = mig_facts().of(gpu.id)
    if cut is None:
        able = ", ".join(g for c in mig_facts().gpus for g in c.gpus)
        raise ImpossibleError(f"{gpu.id} cannot be cut by MIG, or its parts are not in the catalog; {able} are")
    known = {k.casefold(): k for k in cut.profiles}
    if name.casefold() not in known:
        raise UnknownNameError(f"MIG profile of {gpu.id}", name, tuple(known.values()))
    found = cut.profiles[known[name.casefold()]]
    assert gpu.sm_count is not None, "a GPU that can be cut has its multiprocessors in the catalog"
    return MigPart(
        profile=known[name.casefold()],
        slices=(found.compute_slices, found.memory_slices),
        whole_slices=(cut.compute_slices, cut.memory_slices),
        memory_bytes=found.memory_bytes,
        sm_count=found.sm_count,
        compute_share=found.sm_count / gpu.sm_count,
        bandwidth_share=found.memory_slices / cut.memory_slices,
    )


def parts_of_gpu(gpu: Gpu) -> tuple[MigPart, ...]:
    """Every part that a GPU can be cut into, the smallest first; none where it cannot be cut."""
    cut = mig_facts().of(gpu.id)
    found = () if cut is None else tuple(part_of(gpu, name) for name in cut.profiles)
    return tuple(sorted(found, key=lambda p: (p.memory_bytes, p.sm_count, p.profile)))


def load_mig(path: Path) -> MigFacts:
    """The facts in one file."""
    return MigFacts.model_validate(load_yaml(path.read_bytes()))


@functools.cache
def mig_facts() -> MigFacts:
    """The shipped facts."""
    return load_mig(data_folder("catalogs") / "mig.yaml")
