"""What the best fleet costs at other traffic: targets of every service scaled, and everything solved again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from planner.errors import ImpossibleError, InputError, NoPlanInTimeError
from planner.solve.solution import Solution
from planner.spec.load import LoadedSpec
from planner.spec.types import InferWorkload, Spec, Workload
from planner.units import MEGA, usd

SWING_SHARE = 0.2
"""How far traffic is taken to be off, up and down: a question, not a forecast."""
GROWING = ("requests_per_second", "output_tokens_per_second", "concurrency")
"""Targets that follow traffic."""


def traffic_swings(loaded: LoadedSpec, solve: Callable[[LoadedSpec], Solution | None]) -> Iterator[Mapping[str, Any]]:
    """An entry of `sensitivity` for less and for more traffic; none where no service has a demand, or demand has
    periods, or the first objective is not cost.

    `solve` gives the best fleet of a spec, None where a workload can run nowhere.
    """
    spec = loaded.spec
    if spec.periods or spec.objective[0] != "cost" or not any(has_demand(w) for w in spec.workloads):
        return
    for share in (-SWING_SHARE, SWING_SHARE):
        try:
            found = solve(replace(loaded, spec=at_traffic(spec, 1.0 + share)))
        except (InputError, ImpossibleError, NoPlanInTimeError):
            found = None
        yield entry(share, None if found is None or found.status == "infeasible" else found)


def entry(share: float, found: Solution | None) -> dict[str, Any]:
    """One answer as the document tells it."""
    cost = None if found is None else found.objective["cost"] / MEGA
    more = f"with {abs(share):.0%} {'more' if share > 0 else 'less'} traffic of all services"
    text = f"{more} no fleet keeps the limits" if cost is None else f"{more} the best fleet costs {usd(cost)} per hour"
    return {
        "kind": "traffic",
        "share": share,
        "usd_per_hour": cost,
        "is_proven": found is None or found.status == "optimal",
        "text": text,
    }


def has_demand(workload: Workload) -> bool:
    """A service that is asked for a rate."""
    return isinstance(workload, InferWorkload) and any(getattr(workload.targets, k) is not None for k in GROWING)


def at_traffic(spec: Spec, factor: float) -> Spec:
    """The spec with the rates of every service scaled; requests in flight are whole, rounded up."""
    return spec.model_copy(update={"workloads": tuple(_scaled(w, factor) for w in spec.workloads)})


def _scaled(workload: Workload, factor: float) -> Workload:
    if not isinstance(workload, InferWorkload):
        return workload
    asked = {k: v for k in GROWING if (v := getattr(workload.targets, k)) is not None}
    grown = {k: -int(-v * factor // 1) if k == "concurrency" else v * factor for k, v in asked.items()}
    return workload.model_copy(update={"targets": workload.targets.model_copy(update=grown)})
