"""What the fit may move: named factors on entries of `catalogs/kernels.yaml`, each with a prior.

A factor is exp(x), x normal around the prior with the stated spread, so a factor that no record speaks about stays at
its prior. An engine's field is the shared value of its field times the engine's own deviation: engines without records
fall back to what the others have in common.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from planner.estimate.rows import InferRow, TrainRow
from planner.estimate.speed.kernels import Kernels
from planner.estimate.types import Floats

Table = Literal["shared", "serving", "training", "gemm", "attention"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One factor and where it applies."""

    table: Table
    field: str
    where: Mapping[str, str]
    """`engine` (patterns); or `row`, the architecture and GPU patterns of a row, and the `width` it multiplies."""
    centre: float
    """Prior median of the field itself, or 1 for a deviation from a shared value."""
    spread: float
    """Standard deviation of the logarithm around the prior."""
    reason: str

    @property
    def name(self) -> str:
        return ".".join((self.table, *self.where.values(), self.field))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """The parameters of `priors.yaml` and the kernels they are laid over."""

    kernels: Kernels
    parameters: tuple[Parameter, ...]

    @property
    def spreads(self) -> Floats:
        return np.array([p.spread for p in self.parameters])

    def relevant(self, run: InferRow | TrainRow) -> tuple[int, ...]:
        """Which parameters can move this configuration's speed."""
        return tuple(i for i, p in enumerate(self.parameters) if touches(p, run))

    def kernels_for(self, run: InferRow | TrainRow, x: Floats) -> Kernels:
        """The kernel parameters as one configuration meets them; `x` has a line a parameter, a column a variant."""
        factors = np.exp(x)
        mine = [(p, factors[i]) for i, p in enumerate(self.parameters) if touches(p, run)]
        return laid_over(self.kernels, mine, engine=run.job.engine.name, training=isinstance(run, TrainRow))


def touches(parameter: Parameter, run: InferRow | TrainRow) -> bool:
    """The parameter applies to the configuration's engine, GPU and mode."""
    training = isinstance(run, TrainRow)
    if parameter.table in ("serving", "training"):
        right_mode = training is (parameter.table == "training")
        return right_mode and names_engine(parameter, run.job.engine.name)
    if parameter.table == "shared":
        return parameter.where.get("mode", "any") in ("any", "train" if training else "infer")
    arch, *patterns = parameter.where["row"].split()
    gpu = str(run.hw.gpu[0])
    return arch == run.hw.arch[0] and (not patterns or any(fnmatch.fnmatchcase(gpu, p) for p in patterns))


def names_engine(parameter: Parameter, engine: str) -> bool:
    """One of the patterns of a parameter's `engine` names the engine."""
    return any(fnmatch.fnmatchcase(engine, pattern) for pattern in parameter.where["engine"].split())


def laid_over(kernels: Kernels, factors: Sequence[tuple[Parameter, Floats]], *, engine: str, training: bool) -> Kernels:
    """Kernel parameters with the factors on them; fields become arrays with one entry a variant."""
    changed: dict[str, Any] = {}
    shared = {p.field: at_most_whole(p.field, p.centre * f) for p, f in factors if p.table == "shared"}
    if shared:
        changed["shared"] = kernels.shared.model_copy(update=shared)
    table = "training" if training else "serving"
    fields: dict[str, Any] = {}
    for p, f in factors:
        if p.table == table:
            fields[p.field] = fields.get(p.field, 1.0) * p.centre * f
    if fields:
        rows = dict(getattr(kernels, table))
        rows[engine] = rows[engine].model_copy(update=fields)
        changed[table] = rows
    for name in ("gemm", "attention"):
        own = [(p, f) for p, f in factors if p.table == name]
        if own:
            changed[name] = tuple(_row_with(row, own) for row in getattr(kernels, name))
    return kernels.model_copy(update=changed)


def _row_with(row: Any, factors: Iterable[tuple[Parameter, Floats]]) -> Any:
    """A row of a GPU table with the factors that name its architecture or GPUs."""
    update = {}
    for p, f in factors:
        if matches_row(p, row):
            update[p.field] = update.get(p.field, 1.0) * p.centre * f
    return row.model_copy(update={k: at_most_whole(k, v) for k, v in update.items()}) if update else row


def at_most_whole(field: str, value: Floats) -> Floats:
    """A share of something is 1 at most."""
    return np.minimum(value, 1.0) if field.endswith("_share") or field in ("expert_skew", "tensor_exposed") else value


def matches_row(parameter: Parameter, row: Any) -> bool:
    """The row is the one the parameter names: same architecture, GPU patterns and width."""
    width = parameter.where.get("width")
    if width is not None and row.width != width:
        return False
    return parameter.where["row"] == " ".join((row.arch, *row.gpus))


def load_parameters(path: Path, kernels: Kernels) -> Fit:
    """The priors in a YAML file."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    parameters = tuple(
        Parameter(
            table=entry["table"],
            field=entry["field"],
            where={k: str(v) for k, v in entry.items() if k in ("engine", "mode", "row", "width")},
            centre=float(entry.get("centre", 1.0)),
            spread=float(entry["spread"]),
            reason=entry["reason"],
        )
        for entry in document
    )
    return Fit(kernels=kernels, parameters=parameters)
