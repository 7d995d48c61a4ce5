"""The optimiser's answer as it stands in files: `planner/solution/v1`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from planner.errors import InputError
from planner.plain_json import indented

Status = Literal["optimal", "feasible", "infeasible"]
PaymentKind = Literal["rent", "reserve", "buy", "opex"]


class SolutionModel(BaseModel):
    """Part of a solution: frozen; unknown keys are left alone, so that newer writers can be read."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class Payment(SolutionModel):
    """Money spent on one kind of node: rent and upkeep of one period, a whole contract, a purchase."""

    period: int
    """When it falls due: of a reservation the first, of a purchase that of the order."""
    node: str
    kind: PaymentKind
    nodes: int
    amount: int
    first: int | None = None
    """First period that what is reserved or bought serves; None for rent and upkeep."""
    last: int | None = None
    """Last period that what is reserved serves; a purchase stays."""


class Assignment(SolutionModel):
    """Replicas of one column; in mode `fluid` a share of GPUs."""

    column: str
    replicas: int | float
    period: int | None = None
    """None = in every period."""


class PackedItem(SolutionModel):
    """Replicas on one node."""

    workload: str
    column: str
    replicas: int


class CutGpus(SolutionModel):
    """GPUs whose slices hold the same replicas."""

    node: str
    period: int
    time: int = 0
    gpus: int
    items: tuple[PackedItem, ...]


class PackedNodes(SolutionModel):
    """Nodes that hold the same replicas. A replica that spans several nodes is listed once for all of them."""

    node: str
    period: int
    nodes: int
    time: int = 0
    """Time of day."""
    items: tuple[PackedItem, ...]
    """An item without a name is GPUs that are cut: `cut` says how."""


class Relaxation(SolutionModel):
    """The smallest new value of one limit that makes a plan exist when all others stay."""

    limit: str
    value: int
    cost: int
    """Least cost with that value."""
    together: bool = False
    """One limit alone is not enough: all relaxations with this mark are needed at once, for one and the same plan."""


class Solution(SolutionModel):
    """What to run where, and what was proven about it."""

    schema_: Literal["planner/solution/v1"] = Field(default="planner/solution/v1", alias="schema")
    status: Status
    objective: dict[str, int] = {}
    """Every measure of the answer; `power`, `nodes`, `gpus`, `rack_units` and `carbon` are the most over periods."""
    bound: float | None = None
    """No plan has less of the first objective than this."""
    gap: float | None = None
    wall_s: float = 0.0
    nodes: dict[str, tuple[int, ...]] = {}
    """Nodes present, per period, of every kind that occurs."""
    payments: tuple[Payment, ...] = ()
    assignments: dict[str, tuple[Assignment, ...]] = {}
    packing: tuple[PackedNodes, ...] = ()
    cut: tuple[CutGpus, ...] = ()
    conflict: tuple[str, ...] = ()
    """Requirements that cannot hold together, none of which can be left out: limit names, `stock.<node type>`
    and, where supply alone cannot carry them, `workload.<id>`."""
    relaxations: tuple[Relaxation, ...] = ()
    pareto: tuple[dict[str, int], ...] = ()
    rounding: str = ""
    """Where numbers had to be rounded, by how much at worst."""


def solution_json(solution: Solution) -> str:
    """The solution as text, stable but for `wall_s`."""
    raw = solution.model_dump(by_alias=True, mode="json")
    return indented(raw) + "\n"


def read_solution(path: Path) -> Solution:
    """The solution in a file. Raises InputError when it cannot be read or is wrong."""
    try:
        return Solution.model_validate_json(path.read_bytes())
    except OSError as err:
        raise InputError(f"{path}: cannot be read: {err.strerror}") from None
    except ValidationError as err:
        where = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in err.errors(include_url=False)[:5])
        raise InputError(f"{path.name}: not a planner/solution/v1 document: {where}") from None
