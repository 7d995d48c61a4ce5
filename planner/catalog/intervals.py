"""How far predictions have been off, by kind of workload: factors of 90 % intervals."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal

import yaml

from planner.catalog.types import Fact, PositiveFloat
from planner.resources import data_folder


class IntervalFact(Fact):
    """90 % of the measurements of a kind lay between `low` and `high` times the prediction."""

    figure: Literal["memory", "speed", "ttft"]
    kind: str
    """`infer`, `train`, or a prefix such as `train_lora`; the longest prefix of the workload's kind counts."""
    engines: tuple[str, ...] = ()
    """Engines it holds for; empty = all."""
    low: PositiveFloat
    high: PositiveFloat
    rows: int
    """Measurements behind it; 0 = judged."""


def load_intervals(path: Path) -> tuple[IntervalFact, ...]:
    """The entries of one file."""
    raw = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
    return tuple(IntervalFact.model_validate(entry) for entry in raw)


@functools.cache
def interval_facts() -> tuple[IntervalFact, ...]:
    """The shipped entries."""
    return load_intervals(data_folder("catalogs") / "intervals.yaml")


def interval_of(facts: tuple[IntervalFact, ...], *, figure: str, kind: str, engine: str) -> IntervalFact:
    """The entry for a figure: entries that name the engine first, then the longest matching kind.

    Raises LookupError where the catalog has none.
    """
    fitting = [f for f in facts if f.figure == figure and kind.startswith(f.kind)]
    fitting = [f for f in fitting if not f.engines or engine in f.engines]
    if not fitting:
        raise LookupError(f"no interval for {figure} of {kind}")
    return max(fitting, key=lambda f: (bool(f.engines), len(f.kind)))
