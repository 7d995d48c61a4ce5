"""The spec as a whole, and every type in it under one roof (contract §2)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from planner.spec.base import FolderName, Objective, Problem, SpecModel, as_list, no_repeats, refuse
from planner.spec.fleet import Fleet, Horizon, Limits, OwnedNode, Period, Report, Site
from planner.spec.parts import (
    Audio,
    Image,
    Images,
    InferTargets,
    Lora,
    OffloadPlaces,
    Sequence,
    Traffic,
    TrainBatch,
    TrainTargets,
)
from planner.spec.pin import Pin, PinOffload
from planner.spec.rules import name_problems, period_problems, place_problems, purchase_problems
from planner.spec.workloads import InferWorkload, TrainWorkload, default_name

__all__ = [
    "Audio",
    "Fleet",
    "Horizon",
    "Image",
    "Images",
    "InferTargets",
    "InferWorkload",
    "Limits",
    "Lora",
    "OffloadPlaces",
    "OwnedNode",
    "Period",
    "Pin",
    "PinOffload",
    "Report",
    "Sequence",
    "Site",
    "Spec",
    "SpecModel",
    "Traffic",
    "TrainBatch",
    "TrainTargets",
    "TrainWorkload",
    "Workload",
]

Workload = InferWorkload | TrainWorkload
UNNAMED = "plan"
"""Name of a plan whose spec has none and came from no file."""


class Spec(SpecModel):
    """What the user asks: workloads, and the fleet, limits and place they are planned for."""

    version: Literal[1] = 1
    """Version of this format."""
    name: FolderName = UNNAMED
    """Name of the plan, and of the folder it is written to; left out = the file's name without its ending, or, where
    that says nothing (workloads.yaml), its folder's."""
    objective: Annotated[
        tuple[Objective, ...],
        BeforeValidator(as_list, json_schema_input_type=Objective | list[Objective]),
        Field(strict=False, min_length=1, max_length=4),
        AfterValidator(no_repeats),
    ] = ("cost",)
    """What is minimised: cost, power, gpus or carbon, or a list in which each settles the ties of the one before."""
    horizon: Horizon = Horizon()
    """The time that costs are counted over."""
    site: Site = Site()
    """Where owned and bought nodes stand."""
    fleet: Fleet = Fleet()
    """What the optimiser may choose from."""
    workloads: Annotated[
        tuple[Annotated[InferWorkload | TrainWorkload, Field(discriminator="mode")], ...],
        Field(strict=False, min_length=1, max_length=10_000),
    ]
    """What is to run."""
    report: Report = Report()
    """What stands on the cover of the reports."""
    periods: Annotated[tuple[Period, ...], Field(strict=False, max_length=240)] = ()
    """Demand over time, one after another; purchases carry over."""

    @model_validator(mode="before")
    @classmethod
    def _names_for_the_unnamed(cls, data: Any) -> Any:
        return with_names(data)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        refuse(self._problems())
        return self

    def _problems(self) -> list[Problem]:
        names = enumerate(w.name for w in self.workloads)
        return [*name_problems(names), *place_problems(self), *period_problems(self), *purchase_problems(self)]

    def workload(self, name: str) -> Workload:
        """The workload of that name. Raises KeyError where there is none."""
        for workload in self.workloads:
            if workload.name == name:
                return workload
        raise KeyError(name)


def with_names(data: object) -> object:
    """The raw spec with a unique name for every workload that has none; the input is left as it is."""
    if not isinstance(data, dict) or not isinstance(data.get("workloads"), list | tuple):
        return data
    taken = {w["name"].casefold() for w in data["workloads"] if isinstance(w, dict) and isinstance(w.get("name"), str)}
    named: list[object] = []
    for workload in data["workloads"]:
        if isinstance(workload, dict) and "name" not in workload and "model" in workload and "mode" in workload:
            base = default_name(workload["model"], workload["mode"])
            name = next(n for n in numbered(base) if n.casefold() not in taken)
            taken.add(name.casefold())
            workload = {"name": name, **workload}
        named.append(workload)
    return {**data, "workloads": named}


def numbered(base: str) -> Iterator[str]:
    """`base`, then `base-2`, `base-3` ..."""
    yield base
    yield from (f"{base}-{n}" for n in count(2))
