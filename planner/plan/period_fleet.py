"""What the optimiser is asked where demand changes over time: one problem over all periods.

A service with a rate runs in any number of ways at once, counted anew in each period. A training, and a service
whose replicas are fixed, is a workload of the problem for each period that it runs in. Money counts in micro-USD an
hour times months.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from planner.candidates.periods import Stretch, factors, has_rate
from planner.candidates.planning import PlanningFacts
from planner.candidates.supply import TERM_MONTHS
from planner.candidates.types import Candidate, Source, WorkloadCandidates
from planner.plan.day import times_of
from planner.plan.fleet import Asked, FleetProblem, Maker, limits_of, node_type, objectives
from planner.solve import scale
from planner.solve.problem import MAX_AMOUNT, Buy, Limits, NodeType, Problem, Reserve, Workload
from planner.spec.types import Spec


def period_fleet_problem(
    spec: Spec, found: Sequence[WorkloadCandidates], facts: PlanningFacts, calendar: tuple[Stretch, ...]
) -> FleetProblem:
    """Every candidate on every source of its kind, in every period it is wanted.

    Raises InputError for an objective that lacks its figures.
    """
    maker = PeriodMaker(spec, facts, calendar)
    for entry in found:
        maker.add(entry)
    problem = Problem(
        name=spec.name,
        objective=objectives(spec, tuple(maker.sources.values())),
        periods=len(calendar),
        lengths=tuple(s.months for s in calendar),
        node_types=maker.node_types(period_node_type),
        workloads=maker.placed(),
        limits=period_limits(spec),
    )
    return maker.fleet(problem, calendar)


class PeriodMaker(Maker):
    """The same where demand changes over time."""

    def __init__(self, spec: Spec, facts: PlanningFacts, calendar: tuple[Stretch, ...]) -> None:
        super().__init__(spec, facts)
        self.calendar = calendar

    def add(self, entry: WorkloadCandidates) -> None:
        """The workload as the problem has it."""
        if has_rate(self.spec.workload(entry.workload)):
            self.add_counted(entry, factors(self.spec, entry.workload))
            return
        for stretch, candidates in zip(self.calendar, entry.by_period, strict=True):
            if candidates:
                self.add_in_period(entry, stretch.index, candidates)

    def add_in_period(self, entry: WorkloadCandidates, period: int, candidates: Sequence[Candidate]) -> None:
        """A workload that runs one way in one period."""
        name = f"{entry.workload} in period {period + 1}"
        replicas = candidates[0].replicas
        assert all(c.replicas == replicas for c in candidates), "they are pinned, or one"
        columns = tuple(
            column.model_copy(update={"replicas": None, "rate": Fraction(self.replicas_of(choice))})
            for column, choice in self.columns(entry, name, candidates)
        )
        demand = tuple(Fraction(replicas if s.index == period else 0) for s in self.calendar)
        times = times_of(entry.workload, self.day)
        self.workloads.append(Workload(id=name, mode="one", demand=demand, times=times, columns=columns))
        self.asked[name] = Asked(workload=entry.workload, period=period)


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
