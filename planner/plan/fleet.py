"""What the optimiser is asked: candidates and sources as a problem in whole numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from planner.candidates.periods import Stretch, is_mixed
from planner.candidates.planning import PlanningFacts
from planner.candidates.types import Candidate, Source, WorkloadCandidates
from planner.errors import InputError
from planner.plan.day import TimeOfDay, times_of, times_of_day
from planner.solve import scale
from planner.solve.problem import LIMITS, MAX_AMOUNT, Column, Limits, Measure, NodeType, Problem, Workload
from planner.solve.scale import FLUID_GRID
from planner.spec.types import Spec
from planner.units import HOURS_PER_MONTH, MEGA, ceil_div

TIE_BREAKS: tuple[Measure, ...] = ("cost", "power", "nodes", "preference")
"""What settles ties of the spec's own objectives, in this order."""
PREFERENCE_STEPS = 1000
"""Steps of the room in the targets within one preference for a number format."""
DEMAND_UNITS = FLUID_GRID * 100
"""Parts of a workload's largest demand: equal shares of 1 to 16 replicas come out exact."""
DEMAND_SLACK = 1e-7
"""Share of a demand that rates rounded down may miss; far below what the audit of a plan lets pass."""


class NodeTypeOf(Protocol):
    """How a source becomes a node type."""

    def __call__(self, source: Source, spec: Spec, *, ram: int | None, slices: tuple[int, int] | None) -> NodeType: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A candidate on nodes of one source."""

    candidate: Candidate
    source: Source
    per_node: int
    """Replicas that one node holds when nothing else is on it; 1 where a replica spans nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a workload of the problem stands for."""

    workload: str
    """Of the spec."""
    period: int | None = None
    """The only period that it runs in; None = all, in numbers that the problem's periods say."""
    is_counted: bool = False
    """Its replicas follow the demand, in any number of ways (mode `replicas`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetProblem:
    """The problem, and what its names stand for."""

    problem: Problem
    asked: Mapping[str, Asked]
    """By workload of the problem."""
    choices: Mapping[tuple[str, str], Choice]
    """By workload of the problem and column."""
    sources: Mapping[str, Source]
    """By node type."""
    shared: bool
    """Workloads may share nodes; otherwise one piece of the problem is a whole node of one workload."""
    day: tuple[TimeOfDay, ...] = ()
    """The times of day that the workloads' hours tell apart; one where none has any."""
    calendar: tuple[Stretch, ...] = ()
    """The periods; empty where the spec has none."""

    @property
    def horizon_months(self) -> int:
        """Months of all periods; 0 without periods."""
        return sum(s.months for s in self.calendar)

    @property
    def cost_unit(self) -> float:
        """The problem's units of cost in one USD an hour, over periods in the mean."""
        return float(MEGA * (self.horizon_months or 1))

    @property
    def capex_unit(self) -> float:
        """The problem's units of purchase money in one USD."""
        return MEGA / HOURS_PER_MONTH if self.calendar else 1.0


def fleet_problem(spec: Spec, found: Sequence[WorkloadCandidates], facts: PlanningFacts) -> FleetProblem:
    """Every candidate on every source of its kind.

    Raises InputError for an objective that lacks its figures.
    """
    maker = Maker(spec, facts)
    for entry in found:
        if is_mixed(spec.workload(entry.workload)):
            maker.add_counted(entry, (1.0,))
        else:
            maker.add_whole(entry)
    problem = Problem(
        name=spec.name,
        objective=objectives(spec, tuple(maker.sources.values())),
        node_types=maker.node_types(node_type),
        workloads=maker.placed(),
        limits=limits_of(spec),
    )
    return maker.fleet(problem)


class Maker:
    """Collects the workloads of the problem, with what their names stand for."""

    def __init__(self, spec: Spec, facts: PlanningFacts) -> None:
        self.spec = spec
        self.steps = int(facts.value("host-ram-steps"))
        self.usable = 1.0 - facts.value("host-ram-reserve")
        self.shared = spec.fleet.share_gpus
        self.day = times_of_day(spec.workloads)
        self.workloads: list[Workload] = []
        self.asked: dict[str, Asked] = {}
        self.choices: dict[tuple[str, str], Choice] = {}
        self.sources: dict[str, Source] = {}

    def add_whole(self, entry: WorkloadCandidates) -> None:
        """A workload that runs one way."""
        columns = tuple(column for column, _ in self.columns(entry, entry.workload, entry.candidates))
        times = times_of(entry.workload, self.day)
        self.workloads.append(Workload(id=entry.workload, mode="one", times=times, columns=columns))
        self.asked[entry.workload] = Asked(workload=entry.workload)

    def add_counted(self, entry: WorkloadCandidates, wanted: Sequence[float]) -> None:
        """A service that runs in any number of ways at once; `wanted` = factors on its demand, by period.

        A replica counts as more than its preference, so that of equally cheap ways the one with fewest is taken.
        """
        top = max(wanted)
        columns = []
        for column, choice in self.columns(entry, entry.workload, entry.candidates):
            each = min((choice.candidate.rate or 0.0) / top * self.replicas_of(choice), 1.0)
            rate = math.floor(each * DEMAND_UNITS * (1.0 + 1e-12))
            if rate:
                again = {"replicas": None, "rate": Fraction(rate), "preference": column.preference + 1}
                columns.append(column.model_copy(update=again))
        demand = tuple(Fraction(math.ceil(f / top * DEMAND_UNITS * (1.0 - DEMAND_SLACK))) for f in wanted)
        times = times_of(entry.workload, self.day)
        made = Workload(id=entry.workload, mode="replicas", demand=demand, times=times, columns=tuple(columns))
        self.workloads.append(made)
        self.asked[entry.workload] = Asked(workload=entry.workload, is_counted=True)

    def columns(
        self, entry: WorkloadCandidates, name: str, candidates: Sequence[Candidate]
    ) -> Iterator[tuple[Column, Choice]]:
        """Every candidate on every source of its kind, under the workload's name in the problem."""
        usable = [s for s in entry.sources if has_figures(s, self.spec)]
        able: dict[tuple[int, bool], list[Source]] = {}
        for candidate in candidates:
            machine = candidate.kind, candidate.part is None
            if machine not in able:
                able[machine] = [s for s in usable if candidate.runs_on(s)]
            for source in able[machine]:
                column = column_of(candidate, source, steps=self.steps, usable=self.usable, shared=self.shared)
                if column is None:
                    continue
                per_node = replicas_per_node(candidate, source, self.usable)
                choice = Choice(candidate=candidate, source=source, per_node=per_node)
                self.choices[name, column.id] = choice
                self.sources[source.id] = source
                yield column, choice

    def replicas_of(self, choice: Choice) -> int:
        """Replicas in one piece of the problem: where nodes are not shared, a whole node of them."""
        return 1 if self.shared or choice.candidate.nodes_per_replica > 1 else choice.per_node

    def node_types(self, node_type_of: NodeTypeOf) -> dict[str, NodeType]:
        """The sources in use as node types, with memory and slices where a candidate takes some."""
        choices = self.choices.values()
        uses_ram = {c.source.id for c in choices if c.candidate.host_bytes_per_node} if self.shared else set()
        cuts = slices_of_sources(choices)
        return {
            name: node_type_of(source, self.spec, ram=self.steps if name in uses_ram else None, slices=cuts.get(name))
            for name, source in sorted(self.sources.items())
        }

    def placed(self) -> tuple[Workload, ...]:
        """The workloads with what is asked of their places."""
        return tuple(w.model_copy(update=self._places(self.asked[w.id])) for w in self.workloads)

    def _places(self, one: Asked) -> dict[str, object]:
        workload = self.spec.workload(one.workload)
        apart = tuple(
            name
            for name, other in self.asked.items()
            if other.workload in workload.apart_from and (one.period is None or other.period in (None, one.period))
        )
        least = workload.least_nodes if workload.mode == "infer" else 1
        return {"least_nodes": least, "apart_from": apart}

    def fleet(self, problem: Problem, calendar: tuple[Stretch, ...] = ()) -> FleetProblem:
        """The problem with what its names stand for."""
        return FleetProblem(
            problem=problem,
            asked=self.asked,
            choices=self.choices,
            sources=self.sources,
            shared=self.shared,
            day=self.day,
            calendar=calendar,
        )


def slices_of_sources(choices: Iterable[Choice]) -> dict[str, tuple[int, int]]:
    """Slices of one GPU of the sources on which something runs on a part of a GPU."""
    return {c.source.id: c.candidate.part.whole_slices for c in choices if c.candidate.part is not None}


def has_figures(source: Source, spec: Spec) -> bool:
    """A node of our own whose space nobody publishes cannot be counted against a limit on space."""
    needs_space = source.procurement in ("buy", "owned") and spec.fleet.limits.rack_units is not None
    return not needs_space or source.rack_units is not None


def replicas_per_node(candidate: Candidate, source: Source, usable: float) -> int:
    """Replicas that one node holds when nothing else is on it."""
    if candidate.nodes_per_replica > 1:
        return 1
    by_gpus = source.host.num_gpus // candidate.gpus_per_replica
    if not candidate.host_bytes_per_node:
        return by_gpus
    return min(by_gpus, math.floor(source.host.ram_bytes * usable) // candidate.host_bytes_per_node)


def column_of(candidate: Candidate, source: Source, *, steps: int, usable: float, shared: bool) -> Column | None:
    """The candidate as a column; None where the node lacks the host memory.

    Host memory is dealt out in `steps` equal parts of what is usable, each replica's need rounded up. Where nodes
    are not shared, a piece is a whole node with as many replicas as it holds.
    """
    if candidate.part is not None:
        return Column(
            id=f"{candidate.id}@{source.id}",
            node=source.id,
            slices=candidate.part.slices,
            replicas=candidate.replicas,
            preference=preference_of(candidate),
        )
    room = math.floor(source.host.ram_bytes * usable)
    if candidate.host_bytes_per_node > room:
        return None
    ram = ceil_div(candidate.host_bytes_per_node * steps, room) if candidate.host_bytes_per_node else 0
    name = f"{candidate.id}@{source.id}"
    if candidate.nodes_per_replica > 1 or shared:
        return Column(
            id=name,
            node=source.id,
            gpus=candidate.gpus_per_replica,
            ram=ram,
            nodes=candidate.nodes_per_replica,
            replicas=candidate.replicas,
            preference=preference_of(candidate),
        )
    pieces = ceil_div(candidate.replicas, replicas_per_node(candidate, source, usable))
    return Column(
        id=name, node=source.id, gpus=source.host.num_gpus, replicas=pieces, preference=preference_of(candidate)
    )


def preference_of(candidate: Candidate) -> int:
    """Number format and offload first, then the share of the tightest target that is used, in thousandths."""
    return candidate.preference * PREFERENCE_STEPS + min(
        math.ceil(candidate.tightest_share * PREFERENCE_STEPS), PREFERENCE_STEPS - 1
    )


def node_type(source: Source, spec: Spec, *, ram: int | None, slices: tuple[int, int] | None = None) -> NodeType:
    """One source as a node type. Prices already pay purchases off, so that all of them are rented here."""
    return NodeType(
        gpus=source.host.num_gpus,
        ram=ram,
        power=scale.watts(source.power_kw),
        rack_units=scale.hundredths(source.rack_units or 0.0) if source.procurement in ("buy", "owned") else 0,
        carbon=scale.grams(source.kg_co2_per_hour or 0.0),
        capex=scale.usd_up(source.price.capex_usd),
        stock=source.stock,
        cost=scale.micro_usd(source.price.usd_per_hour),
        spares=spec.fleet.spare_nodes,
        slices=slices,
    )


def objectives(spec: Spec, sources: Sequence[Source]) -> tuple[Measure, ...]:
    """The spec's objectives, then what settles ties. Raises InputError where carbon has no figure."""
    if "carbon" in spec.objective and any(s.kg_co2_per_hour is None for s in sources):
        unknown = sorted({s.place or f"site.region {spec.site.region}" for s in sources if s.kg_co2_per_hour is None})
        raise InputError(
            f"objective carbon: {', '.join(unknown)} has no figure; give site.carbon_g_per_kwh, or leave the region out"
        )
    return tuple(dict.fromkeys((*spec.objective, *TIE_BREAKS)))


def limits_of(spec: Spec) -> Limits:
    """The fleet's limits in the optimiser's units, rounded down."""
    asked = spec.fleet.limits
    values = {
        "cost": None if asked.usd_per_hour is None else scale.micro_usd_limit(asked.usd_per_hour),
        "power": None if asked.power_kw is None else scale.watts_limit(asked.power_kw),
        "nodes": asked.nodes,
        "gpus": asked.gpus,
        "capex": None if asked.capex_usd is None else scale.usd_limit(asked.capex_usd),
        "rack_units": None if asked.rack_units is None else scale.hundredths_limit(asked.rack_units),
    }
    return Limits(**{name: min(v, MAX_AMOUNT) for name in LIMITS if (v := values.get(name)) is not None})
