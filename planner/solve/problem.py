"""The optimiser's problem as it stands in files: `planner/problem/v1`.

Money, power, GPUs, memory and counts are whole numbers in units of the writer's choice (cents an hour and
watts, say); `rate` and `demand` may be decimals and are taken exactly as written.
"""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from planner.errors import InputError, near_matches
from planner.plain_json import indented

SCHEMA = "planner/problem/v1"
MAX_AMOUNT = 10**12
"""Largest whole number accepted: sums over a fleet then stay inside 64 bits."""
MAX_FILE_BYTES = 2**28
MAX_PROBLEMS_SHOWN = 20

Mode = Literal["one", "replicas", "fluid"]
Measure = Literal["cost", "power", "nodes", "gpus", "capex", "rack_units", "carbon", "preference", "moves"]
Limit = Literal["cost", "cost_rate", "power", "nodes", "gpus", "capex", "capex_per_period", "rack_units", "carbon"]
Amount = Annotated[int, Field(ge=0, le=MAX_AMOUNT, strict=True)]
Count = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]
Id = Annotated[str, Field(min_length=1, max_length=256)]


def exact(value: object) -> Fraction:
    """A number as written, as a fraction. Raises ValueError for anything else.

    >>> exact(0.1)
    Fraction(1, 10)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | Fraction):
        raise ValueError(f"{value!r} is not a number")
    if isinstance(value, float):
        value = Decimal(repr(value))
    if isinstance(value, Decimal) and not value.is_finite():
        raise ValueError(f"{value} is not a finite number")
    if isinstance(value, Decimal) and abs(value.adjusted()) > 30:
        raise ValueError(f"{value} is out of range")
    number = Fraction(value)
    if not 0 <= number <= MAX_AMOUNT:
        raise ValueError(f"{value} is not between 0 and {MAX_AMOUNT}")
    return number


def as_number(value: Fraction) -> int | float:
    """A whole number as such, else the nearest decimal: what was read as a decimal comes out the same."""
    return value.numerator if value.denominator == 1 else float(value)


Exact = Annotated[
    Fraction,
    BeforeValidator(exact),
    PlainSerializer(as_number),
    WithJsonSchema({"type": "number", "minimum": 0}),
]


Demand = Exact | list[Exact]


def as_demand(value: object) -> object:
    """One number stands for the same demand in every period."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


class ProblemModel(BaseModel):
    """Part of a problem: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, arbitrary_types_allowed=True)


class Reserve(ProblemModel):
    """Renting for a fixed term."""

    cost: Amount
    """Of one node for one unit of time, over the part of the term that lies inside the horizon."""
    term: Count
    """Units of time: periods, where these have no lengths."""
    whole: bool = False
    """The whole term is paid, also what lies past the horizon's end."""


class Buy(ProblemModel):
    """Buying for good."""

    cost: Amount
    """Of one node, paid when ordered."""
    lead: Annotated[int, Field(ge=0, le=1_000_000, strict=True)] = 0
    """Units of time from order to arrival: periods, where these have no lengths."""
    max_per_period: Amount | None = None
    """Nodes that can be ordered in one period."""


Slices = tuple[Count, Count]


class NodeType(ProblemModel):
    """One kind of node and the ways to get it."""

    gpus: Count
    """GPUs of one node."""
    ram: Amount | None = None
    """Memory of one node; None = no constraint."""
    power: Amount = 0
    """Of one node that is present."""
    rack_units: Amount = 0
    carbon: Amount = 0
    capex: Amount = 0
    """Purchase money bound by one rented node: for renting at a price that already pays a purchase off."""
    stock: Amount | None = None
    """Nodes that can be there at once; None = no bound."""
    cost: Amount | None = None
    """Of renting one node for one unit of time (a period, where these have no lengths); None = cannot be rented."""
    cost_max_nodes: Amount | None = None
    """Nodes that can be rented at once; None = no bound."""
    owned: Amount = 0
    """Nodes that are there from the start."""
    opex: Amount = 0
    """Of one bought or owned node, each unit of time."""
    reserve: Reserve | None = None
    buy: Buy | None = None
    slices: Slices | None = None
    """Compute and memory slices that one GPU can be cut into (MIG); None = its GPUs are used whole."""
    spares: Annotated[int, Field(ge=0, le=1_000_000, strict=True)] = 0
    """Nodes that must stand idle beside any that work."""

    @property
    def can_grow(self) -> bool:
        """True where nodes beyond the owned ones can be had."""
        return self.cost is not None or self.reserve is not None or self.buy is not None


class Column(ProblemModel):
    """One way to serve one workload on one kind of node."""

    id: Id
    node: Id
    gpus: Count = 1
    """GPUs of one replica."""
    ram: Amount = 0
    """Memory of one replica, on each node it uses."""
    slices: Slices | None = None
    """Compute and memory slices that one replica takes of one GPU, which it may share with others; `gpus` stays 1."""
    nodes: Count = 1
    """Whole nodes one replica spans; above 1 its `gpus` are all GPUs of that many nodes."""
    replicas: Count | None = None
    """Replicas, where the mode is `one`; left out = as many as the demand needs at `rate`."""
    rate: Exact | None = None
    """Demand one replica serves (`fluid`: one GPU)."""
    preference: Amount = 0
    """Settles ties: lower is better. In mode `replicas` it counts once where the column is used, and 1 for each of
    its replicas, so that few replicas in few ways are preferred."""
    moves: Amount = 0
    """What one replica (mode `one`: the whole choice) would change of what runs today, for the measure `moves`."""


TimeOfDay = Annotated[int, Field(ge=0, le=99, strict=True)]


class Workload(ProblemModel):
    """Something that must run."""

    id: Id
    mode: Mode = "one"
    demand: Annotated[tuple[Exact, ...], BeforeValidator(as_demand, json_schema_input_type=Demand)] | None = None
    """One figure, or one per period."""
    times: Annotated[tuple[TimeOfDay, ...], Field(min_length=1)] | None = None
    """Times of day in which it runs, numbered from 0: workloads with no time in common may use the same GPUs.
    Left out = at all times."""
    least_nodes: Count = 1
    """Nodes on which its replicas must sit at least, wherever it runs: with 2 it outlives the loss of any one."""
    apart_from: tuple[Id, ...] = ()
    """Workloads with which it shares no node."""
    columns: tuple[Column, ...]


class Limits(ProblemModel):
    """What the fleet may not exceed, in each period (`cost` and `capex`: all payments over the horizon)."""

    cost: Amount | None = None
    cost_rate: Amount | None = None
    """Payments for one unit of time; contracts and purchases are spread evenly over the periods they serve."""
    power: Amount | None = None
    nodes: Amount | None = None
    gpus: Amount | None = None
    capex: Amount | None = None
    capex_per_period: Amount | None = None
    rack_units: Amount | None = None
    carbon: Amount | None = None

    def given(self) -> dict[Limit, int]:
        """The limits that are set, in the order of the format."""
        found: dict[Limit, int] = {}
        for name in LIMITS:
            value = getattr(self, name)
            if value is not None:
                found[name] = value
        return found


LIMITS: tuple[Limit, ...] = (
    "cost",
    "cost_rate",
    "power",
    "nodes",
    "gpus",
    "capex",
    "capex_per_period",
    "rack_units",
    "carbon",
)


class Problem(ProblemModel):
    """All that is to be decided at once."""

    schema_: Literal["planner/problem/v1"] = Field(default="planner/problem/v1", alias="schema")
    name: str = ""
    objective: Annotated[tuple[Measure, ...], Field(min_length=1)] = ("cost", "power", "nodes")
    """What is made small, the most important first."""
    periods: Annotated[int, Field(ge=1, le=1000, strict=True)] = 1
    lengths: tuple[Count, ...] | None = None
    """How long each period is, in units of time (months, say); left out = each is one unit long."""
    node_types: dict[Id, NodeType]
    workloads: tuple[Workload, ...]
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        found = [
            *_twice(self),
            *_length_problems(self),
            *(p for w in self.workloads for p in _workload_problems(self, w)),
        ]
        if found:
            raise ValueError("\n".join(_first(found)))
        return self

    @property
    def times(self) -> range:
        """Times of day that workloads tell apart."""
        return range(1 + max((time for w in self.workloads for time in w.times or ()), default=0))

    def length(self, period: int) -> int:
        """Units of time in one period."""
        return 1 if self.lengths is None else self.lengths[period]

    def demand(self, workload: Workload, period: int) -> Fraction | None:
        """Demand of one workload in one period; None where none is given."""
        if workload.demand is None:
            return None
        return workload.demand[period] if len(workload.demand) > 1 else workload.demand[0]


def _twice(p: Problem) -> list[str]:
    found = []
    if len(set(p.objective)) < len(p.objective):
        found.append("objective: names a measure twice")
    seen: set[str] = set()
    for w in p.workloads:
        if w.id in seen:
            found.append(f"workloads.{w.id}: this id is used twice")
        seen.add(w.id)
        ids = [c.id for c in w.columns]
        if len(set(ids)) < len(ids):
            twice = sorted(i for i, count in Counter(ids).items() if count > 1)
            found += [f"workloads.{w.id}.columns.{i}: this id is used twice" for i in twice]
    return found


def _length_problems(p: Problem) -> list[str]:
    if p.lengths is None or len(p.lengths) == p.periods:
        return []
    return [f"lengths: {len(p.lengths)} figures for {p.periods} periods"]


def _workload_problems(p: Problem, w: Workload) -> list[str]:
    at = f"workloads.{w.id}"
    found = []
    if w.demand is not None and len(w.demand) not in (1, p.periods):
        found.append(f"{at}.demand: {len(w.demand)} figures for {p.periods} periods")
    if w.mode != "one" and w.demand is None:
        found.append(f"{at}.demand: mode {w.mode} needs one")
    found += [f"{at}.{text}" for text in _place_problems(p, w)]
    for c in w.columns:
        found += [f"{at}.columns.{c.id}.{text}" for text in _column_problems(p, w, c)]
    return found


def _place_problems(p: Problem, w: Workload) -> list[str]:
    """What is asked of the places of replicas must be known, and replicas must have places."""
    others = {other.id: other for other in p.workloads}
    found = [f"apart_from: unknown workload {name!r}" for name in w.apart_from if name not in others]
    if w.id in w.apart_from:
        found.append("apart_from: names itself; for replicas of one workload say least_nodes")
    pools = [name for name in (w.id, *w.apart_from) if name in others and others[name].mode == "fluid"]
    if pools and (w.apart_from or w.least_nodes > 1):
        found.append(f"mode: least_nodes and apart_from need replicas with places; {pools[0]} is fluid")
    placed = [w, *(others[name] for name in w.apart_from if name in others)]
    if (w.apart_from or w.least_nodes > 1) and any(c.slices for o in placed for c in o.columns):
        found.append("slices: least_nodes and apart_from need replicas on whole GPUs")
    return found


def _column_problems(p: Problem, w: Workload, c: Column) -> list[str]:
    node = p.node_types.get(c.node)
    if node is None:
        near = near_matches(c.node, tuple(p.node_types))
        return [f"node: unknown node type {c.node!r}" + (f"; nearest: {', '.join(near)}" if near else "")]
    found = []
    if w.mode == "one" and c.replicas is None and (w.demand is None or not c.rate):
        found.append("replicas: needed, since the workload has no demand or the column no rate")
    if w.mode != "one" and not c.rate:
        found.append(f"rate: mode {w.mode} needs a rate above 0")
    if w.mode == "fluid" and (c.nodes > 1 or c.gpus > 1):
        found.append("gpus: a fluid column is counted by the GPU; leave gpus and nodes at 1")
    if c.nodes > 1 and c.gpus != c.nodes * node.gpus:
        found.append(f"gpus: {c.nodes} whole nodes of {c.node} have {c.nodes * node.gpus} GPUs, not {c.gpus}")
    return [*found, *_slice_problems(w, c, node)]


def _slice_problems(w: Workload, c: Column, node: NodeType) -> list[str]:
    if c.slices is None:
        return []
    if node.slices is None:
        return [f"slices: the GPUs of {c.node} cannot be cut; its node type has no slices"]
    found = []
    if w.mode == "fluid":
        found.append("slices: a fluid column shares GPUs at will; leave slices out")
    if c.gpus > 1 or c.nodes > 1:
        found.append("slices: they are of one GPU; leave gpus and nodes at 1")
    if c.ram:
        found.append("ram: a replica on slices of a GPU is not given memory of the node; leave ram out")
    return found


def parse_problem(text: str, *, name: str = "problem") -> Problem:
    """The problem in a JSON text. Raises InputError that names every mistake."""
    try:
        raw: Any = json.loads(text, parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_no_repeats)
    except (ValueError, RecursionError) as err:
        raise InputError(f"{name}: not a JSON document: {err}") from None
    try:
        return Problem.model_validate(raw)
    except ValidationError as err:
        raise InputError(*_messages(err, name)) from None


def read_problem(path: Path) -> Problem:
    """The problem in a file. Raises InputError when it cannot be read or is wrong."""
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise InputError(f"{path}: {size} bytes; a problem file has at most {MAX_FILE_BYTES}")
        text = path.read_text(encoding="utf-8")
    except OSError as err:
        raise InputError(f"{path}: cannot be read: {err.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text") from None
    return parse_problem(text, name=path.name)


def problem_json(problem: Problem) -> str:
    """The problem as text: readable, stable, numbers exact where they have a finite decimal form."""
    raw = problem.model_dump(by_alias=True, exclude_defaults=True)
    raw = {"schema": SCHEMA, **raw}
    return indented(raw) + "\n"


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is not a number")


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [k for k, _ in pairs]
        raise ValueError(f"key {next(k for k in keys if keys.count(k) > 1)!r} stands twice in one object")
    return found


def _messages(err: ValidationError, name: str) -> list[str]:
    found = []
    for e in err.errors(include_url=False):
        at = ".".join(str(part) for part in e["loc"])
        for line in e["msg"].removeprefix("Value error, ").splitlines():
            found.append(f"{name}: {at}: {line}" if at else f"{name}: {line}")
    return _first(found)


def _first(messages: list[str]) -> list[str]:
    """As many messages as a person reads, and how many there are beyond."""
    beyond = len(messages) - MAX_PROBLEMS_SHOWN
    return [*messages[:MAX_PROBLEMS_SHOWN], *([f"and {beyond} more"] if beyond > 0 else [])]
