"""Demand that changes over time: what each period asks of a workload, and every way to meet it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, TypeGuard

from planner.candidates.generate import candidates_of
from planner.candidates.together import useful_together
from planner.candidates.types import Candidate, Supply, WorkloadCandidates
from planner.spec.types import Horizon, InferTargets, InferWorkload, Spec, TrainWorkload, Workload
from planner.units import HOURS_PER_MONTH

if TYPE_CHECKING:
    from planner.catalog.load import Catalog


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """One period on the calendar."""

    index: int
    first_month: int
    """Months from the start of the plan."""
    months: int
    """The last period lasts to the horizon's end."""

    @property
    def hours(self) -> float:
        return float(self.months * HOURS_PER_MONTH)


def stretches(spec: Spec) -> tuple[Stretch, ...]:
    """The spec's periods; empty where it has none."""
    months = [p.months for p in spec.periods]
    if months:
        months[-1] += spec.horizon.months - sum(months)
    first = accumulate(months, initial=0)
    return tuple(
        Stretch(index=n, first_month=at, months=m) for n, (at, m) in enumerate(zip(first, months, strict=False))
    )


def factors(spec: Spec, workload: str) -> tuple[float, ...]:
    """What the targets of a workload are multiplied by in each period."""
    return tuple(p.demand.get(workload, 1.0) for p in spec.periods)


def largest_period(spec: Spec, workload: str) -> int:
    """The first period in which a workload asks for most."""
    asked = factors(spec, workload)
    return asked.index(max(asked))


def scaled(workload: Workload, factor: float) -> Workload:
    """The workload with its demand multiplied: rates and concurrency of a service, the work or rate of a training.

    Times stay as they are: to the first token, for one token, to the deadline.
    """
    if isinstance(workload, InferWorkload):
        t = workload.targets
        return workload.model_copy(
            update={
                "targets": t.model_copy(
                    update={
                        "requests_per_second": times(t.requests_per_second, factor),
                        "output_tokens_per_second": times(t.output_tokens_per_second, factor),
                        "concurrency": None if t.concurrency is None else math.ceil(t.concurrency * factor),
                    }
                )
            }
        )
    work = workload.targets
    return workload.model_copy(
        update={
            "targets": work.model_copy(
                update={
                    "tokens": times(work.tokens, factor),
                    "steps": None if work.steps is None else math.ceil(work.steps * factor),
                    "tokens_per_second": times(work.tokens_per_second, factor),
                }
            )
        }
    )


def times(value: float | None, factor: float) -> float | None:
    """A target multiplied; None where it is not asked."""
    return None if value is None else value * factor


def has_demand(workload: Workload) -> bool:
    """Something that a factor can be put on."""
    t = workload.targets
    if isinstance(t, InferTargets):
        return any(v is not None for v in (t.requests_per_second, t.output_tokens_per_second, t.concurrency))
    return any(v is not None for v in (t.tokens, t.steps, t.tokens_per_second))


def has_rate(workload: Workload) -> bool:
    """Replicas follow the demand: a service with targets on rates whose replicas are not pinned."""
    return workload.mode == "infer" and workload.pin.replicas is None and has_demand(workload)


def candidates_over(
    workload: Workload, spec: Spec, supply: Supply, catalog: Catalog, calendar: Sequence[Stretch]
) -> WorkloadCandidates:
    """The candidates of every period. Those of a service with a rate serve any of them, in such numbers as the demand
    needs; their `rate` is the factor that one replica serves. A run is done within each period that it runs in.

    Raises as `candidates_of`.
    """
    asked = factors(spec, workload.name)
    found: dict[tuple[float, int], WorkloadCandidates] = {}
    for stretch, factor in zip(calendar, asked, strict=True):
        key = search_key(workload, factor, stretch)
        if factor and key not in found:
            within = spec.model_copy(update={"horizon": Horizon(months=stretch.months)})
            wanted = ends_within(scaled(workload, factor), stretch)
            found[key] = candidates_of(wanted, within, supply, catalog, together=has_rate(workload))
    peak = found[search_key(workload, max(asked), calendar[asked.index(max(asked))])]
    if has_rate(workload):
        return serving(peak, {factor: entry.candidates for (factor, _), entry in found.items()}, asked)
    by_period = tuple(
        found[search_key(workload, factor, stretch)].candidates if factor else ()
        for stretch, factor in zip(calendar, asked, strict=True)
    )
    lost = [
        found[search_key(workload, factor, stretch)]
        for stretch, factor, ways in zip(calendar, asked, by_period, strict=True)
        if factor and not ways
    ]
    whole = replace(peak, by_period=by_period, evaluated=sum(entry.evaluated for entry in found.values()))
    return replace(whole, candidates=(), dropped=lost[0].dropped) if lost else whole


def candidates_together(workload: InferWorkload, spec: Spec, supply: Supply, catalog: Catalog) -> WorkloadCandidates:
    """The candidates of a service that several ways may serve together. Raises as `candidates_of`."""
    return candidates_of(workload, spec, supply, catalog, together=True)


def is_mixed(workload: Workload) -> TypeGuard[InferWorkload]:
    """Several configurations may serve it together in a plan without periods."""
    return isinstance(workload, InferWorkload) and workload.mixed


def search_key(workload: Workload, factor: float, stretch: Stretch) -> tuple[float, int]:
    """What a search depends on: the demand, and for a run the time there is."""
    return (factor, stretch.months if isinstance(workload, TrainWorkload) else 0)


def ends_within(workload: Workload, stretch: Stretch) -> Workload:
    """A run whose deadline is no later than the end of its period."""
    if isinstance(workload, InferWorkload) or workload.targets.deadline_hours is None:
        return workload
    deadline = min(workload.targets.deadline_hours, stretch.hours)
    return workload.model_copy(update={"targets": workload.targets.model_copy(update={"deadline_hours": deadline})})


def serving(
    peak: WorkloadCandidates, found: dict[float, tuple[Candidate, ...]], asked: tuple[float, ...]
) -> WorkloadCandidates:
    """The ways of all periods together: each once, its rate in units of the spec's own demand."""
    top = max(asked)
    ways: dict[str, Candidate] = {}
    for factor, candidates in sorted(found.items(), reverse=True):
        for c in candidates:
            assert c.rate is not None, "a service with a rate has one"
            rate = c.rate * factor
            ways.setdefault(c.id, replace(c, rate=rate, replicas=math.ceil(top / rate * (1.0 - 1e-12))))
    kept = tuple(useful_together(ways.values()))
    return replace(peak, candidates=kept, by_period=tuple(kept if factor else () for factor in asked))
