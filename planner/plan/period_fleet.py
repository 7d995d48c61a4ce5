"""What the optimiser is asked where demand changes over time: one problem over all periods.

A service with a rate runs in any number of ways at once, counted anew in each period. A training, and a service
whose replicas are fixed, is a workload of the problem for each period that it runs in. Money counts in micro-USD an
hour times months.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction

from planner.candidates.periods import Stretch, factors, has_rate
from planner.candidates.planning import PlanningFacts
from planner.candidates.supply import TERM_MONTHS
from planner.candidates.types import Candidate, Source, WorkloadCandidates
from planner.plan.day import times_of, times_of_day
from planner.plan.fleet import (
    Asked,
    Choice,
    FleetProblem,
    column_of,
    has_figures,
    limits_of,
    node_type,
    objectives,
    replicas_per_node,
    slices_of_sources,
)
from planner.solve import scale
from planner.solve.problem import MAX_AMOUNT, Buy, Column, Limits, NodeType, Problem, Reserve, Workload
from planner.solve.scale import FLUID_GRID
from planner.spec.types import Spec

DEMAND_UNITS = FLUID_GRID * 100
"""Parts of a workload's largest demand: equal shares of 1 to 16 replicas come out exact."""
DEMAND_SLACK = 1e-7
"""Share of a demand that rates rounded down may miss; far below what the audit of a plan lets pass."""


def period_fleet_problem(
    spec: Spec, found: Sequence[WorkloadCandidates], facts: PlanningFacts, calendar: tuple[Stretch, ...]
) -> FleetProblem:
    """Every candidate on every source of its kind, in every period it is wanted.

    Raises InputError for an objective that lacks its figures.
    """
    maker = _Maker(spec, facts, calendar)
    for entry in found:
        maker.add(entry)
    uses_ram = {c.source.id for c in maker.choices.values() if c.candidate.host_bytes_per_node}
    cuts = slices_of_sources(maker.choices.values())
    node_types = {
        name: period_node_type(
            source, spec, ram=maker.steps if name in uses_ram and maker.shared else None, slices=cuts.get(name)
        )
        for name, source in sorted(maker.sources.items())
    }
    problem = Problem(
        name=spec.name,
        objective=objectives(spec, tuple(maker.sources.values())),
        periods=len(calendar),
        lengths=tuple(s.months for s in calendar),
        node_types=node_types,
        workloads=tuple(maker.workloads),
        limits=period_limits(spec),
    )
    return FleetProblem(
        problem=problem,
        asked=maker.asked,
        choices=maker.choices,
        sources=maker.sources,
        shared=maker.shared,
        day=maker.day,
        calendar=calendar,
    )


class _Maker:
    """Collects the workloads of the problem, with what their names stand for."""

    def __init__(self, spec: Spec, facts: PlanningFacts, calendar: tuple[Stretch, ...]) -> None:
        self.spec = spec
        self.calendar = calendar
        self.day = times_of_day(spec.workloads)
        self.steps = int(facts.value("host-ram-steps"))
        self.usable = 1.0 - facts.value("host-ram-reserve")
        self.shared = spec.fleet.share_gpus
        self.workloads: list[Workload] = []
        self.asked: dict[str, Asked] = {}
        self.choices: dict[tuple[str, str], Choice] = {}
        self.sources: dict[str, Source] = {}

    def add(self, entry: WorkloadCandidates) -> None:
        """The workload as the problem has it."""
        if has_rate(self.spec.workload(entry.workload)):
            self._add_counted(entry)
            return
        for stretch, candidates in zip(self.calendar, entry.by_period, strict=True):
            if candidates:
                self._add_whole(entry, stretch.index, candidates)

    def _add_counted(self, entry: WorkloadCandidates) -> None:
        wanted = factors(self.spec, entry.workload)
        top = max(wanted)
        columns = []
        for column, choice in self._columns(entry, entry.workload, entry.candidates):
            each = min((choice.candidate.rate or 0.0) / top * self._replicas_of(choice), 1.0)
            rate = math.floor(each * DEMAND_UNITS * (1.0 + 1e-12))
            if rate:
                again = {"replicas": None, "rate": Fraction(rate), "preference": column.preference + 1}
                columns.append(column.model_copy(update=again))
        demand = tuple(Fraction(math.ceil(f / top * DEMAND_UNITS * (1.0 - DEMAND_SLACK))) for f in wanted)
        times = times_of(entry.workload, self.day)
        made = Workload(id=entry.workload, mode="replicas", demand=demand, times=times, columns=tuple(columns))
        self.workloads.append(made)
        self.asked[entry.workload] = Asked(workload=entry.workload, is_counted=True)

    def _add_whole(self, entry: WorkloadCandidates, period: int, candidates: Sequence[Candidate]) -> None:
        name = f"{entry.workload} in period {period + 1}"
        replicas = candidates[0].replicas
        assert all(c.replicas == replicas for c in candidates), "they are pinned, or one"
        columns = tuple(
            column.model_copy(update={"replicas": None, "rate": Fraction(self._replicas_of(choice))})
            for column, choice in self._columns(entry, name, candidates)
        )
        demand = tuple(Fraction(replicas if s.index == period else 0) for s in self.calendar)
        times = times_of(entry.workload, self.day)
        self.workloads.append(Workload(id=name, mode="one", demand=demand, times=times, columns=columns))
        self.asked[name] = Asked(workload=entry.workload, period=period)

    def _columns(
        self, entry: WorkloadCandidates, name: str, candidates: Sequence[Candidate]
    ) -> Iterator[tuple[Column, Choice]]:
        for candidate in candidates:
            for source in entry.sources:
                if not candidate.runs_on(source) or not has_figures(source, self.spec):
                    continue
                column = column_of(candidate, source, steps=self.steps, usable=self.usable, shared=self.shared)
                if column is None:
                    continue
                per_node = replicas_per_node(candidate, source, self.usable)
                choice = Choice(candidate=candidate, source=source, per_node=per_node)
                self.choices[name, column.id] = choice
                self.sources[source.id] = source
                yield column, choice

    def _replicas_of(self, choice: Choice) -> int:
        """Replicas in one piece of the problem: where nodes are not shared, a whole node of them."""
        return 1 if self.shared or choice.candidate.nodes_per_replica > 1 else choice.per_node


def period_node_type(source: Source, spec: Spec, *, ram: int | None, slices: tuple[int, int] | None) -> NodeType:
    """One source as a node type: rented by the month, for a term, or bought once and run from then on."""
    running = scale.micro_usd(source.price.running_usd_per_hour)
    how: dict[str, object] = {"cost": running}
    term = TERM_MONTHS.get(source.procurement)
    if term is not None:
        how = {"cost": None, "reserve": Reserve(cost=running, term=term, whole=True)}
    elif source.procurement == "buy":
        price = scale.micro_usd_months(source.price.capex_usd)
        how = {"cost": None, "opex": running, "buy": Buy(cost=price, lead=spec.fleet.lead_months)}
    return node_type(source, spec, ram=ram, slices=slices).model_copy(update={"capex": 0, **how})


def period_limits(spec: Spec) -> Limits:
    """The fleet's limits; those on money as what is spent in any hour, and as what is bought."""
    asked, limits = spec.fleet.limits, limits_of(spec)
    budgets = {"capex": asked.capex_usd, "capex_per_period": asked.capex_usd_per_period}
    money = {
        name: None if usd is None else min(scale.micro_usd_months_limit(usd), MAX_AMOUNT)
        for name, usd in budgets.items()
    }
    return limits.model_copy(update={"cost": None, "cost_rate": limits.cost, **money})
