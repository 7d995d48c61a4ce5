"""What the planner itself assumes (`catalogs/planning.yaml`): margins, and how engines split and offload models."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from planner.catalog.types import Confidence
from planner.errors import InputError
from planner.plain_yaml import load_yaml
from planner.resources import data_folder

Dimension = Literal["data", "tensor", "pipeline", "context", "expert", "nodes"]
Place = Literal["weights_cpu", "weights_disk", "kv_cpu", "experts_cpu", "optimizer_cpu", "params_cpu"]


class Assumption(BaseModel):
    """One number the planner assumes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    what: str
    value: float
    source: str
    as_of: str
    confidence: Confidence


class Splits(BaseModel):
    """How one engine spreads a model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: str
    mode: Literal["infer", "train"]
    dimensions: tuple[Dimension, ...]
    offload: tuple[Place, ...]
    source: str
    as_of: str


class PlanningFacts(BaseModel):
    """The file `catalogs/planning.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    assumptions: tuple[Assumption, ...]
    splits: tuple[Splits, ...]

    def value(self, name: str) -> float:
        """An assumption's number. Raises KeyError for a name the file lacks."""
        for a in self.assumptions:
            if a.id == name:
                return a.value
        raise KeyError(name)

    def splits_of(self, engine: str, mode: str) -> Splits:
        """How an engine splits models in a mode. Raises InputError where the file does not say."""
        for s in self.splits:
            if s.engine == engine and s.mode == mode:
                return s
        raise InputError(f"catalogs/planning.yaml does not say how {engine} splits a model for mode {mode}")


def load_planning(path: Path) -> PlanningFacts:
    """The facts in one file."""
    return PlanningFacts.model_validate(load_yaml(path.read_bytes()))


@functools.cache
def planning_facts() -> PlanningFacts:
    """The shipped facts."""
    return load_planning(data_folder("catalogs") / "planning.yaml")
