"""When no plan exists: the clash traced to spec lines, and the smallest way out of each limit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from planner.candidates.types import WorkloadCandidates
from planner.plan.fleet import FleetProblem
from planner.plan.types import Conflict, Infeasible, Rejected, Relaxation
from planner.solve.problem import MAX_AMOUNT
from planner.solve.scale import CENTI
from planner.solve.solution import Relaxation as Relaxed
from planner.solve.solution import Solution
from planner.spec.load import LoadedSpec
from planner.units import MEGA, WATTS_PER_KW, usd

Path = tuple[str | int, ...]
FLOORS = frozenset({"tokens_per_second"})
"""Targets of which more is asked, not less."""
SIGNIFICANT_DIGITS = 4


@dataclass(frozen=True, slots=True)
class LimitWords:
    """How a limit of the problem reads in the spec."""

    key: str
    unit: str
    scale: float
    """Units of the problem in one unit of the spec."""
    what: str


WORDS: Mapping[str, LimitWords] = {
    "cost": LimitWords("usd_per_hour", "USD per hour", MEGA, "what the fleet may cost"),
    "power": LimitWords("power_kw", "kW", WATTS_PER_KW, "power of all nodes"),
    "nodes": LimitWords("nodes", "nodes", 1, "nodes in the fleet"),
    "gpus": LimitWords("gpus", "GPUs", 1, "GPUs in the fleet"),
    "capex": LimitWords("capex_usd", "USD", 1, "money for purchases"),
    "cost_rate": LimitWords("usd_per_hour", "USD per hour", MEGA, "what the fleet may cost in any period"),
    "capex_per_period": LimitWords("capex_usd_per_period", "USD", 1, "money for purchases in one period"),
    "rack_units": LimitWords("rack_units", "rack units", CENTI, "space for nodes of our own"),
}


def words_of(name: str, fleet: FleetProblem) -> LimitWords:
    """How a limit reads; purchase money has another unit in problems over periods."""
    words = WORDS[name]
    return replace(words, scale=fleet.capex_unit) if name in ("capex", "capex_per_period") else words


def infeasible_report(
    loaded: LoadedSpec, fleet: FleetProblem | None, solution: Solution | None, lost: Sequence[WorkloadCandidates]
) -> Infeasible:
    """Conflicts and relaxations in the spec's words. `lost` are workloads that nothing in the fleet can run."""
    conflicts = [lost_conflict(loaded, entry) for entry in lost]
    relaxations = [way_out for entry in lost for way_out in nearest_targets(entry)]
    if solution is not None and fleet is not None:
        alone = len(solution.conflict) == 1
        conflicts += [conflict(loaded, fleet, name, alone=alone) for name in solution.conflict]
        conflicts += late_purchases(loaded, fleet, solution)
        for r in solution.relaxations:
            relaxations.append(relaxation(fleet, r))
    unplaceable = {entry.workload: tuple(Rejected(gpu=d.gpu, reason=d.reason) for d in entry.dropped) for entry in lost}
    return Infeasible(conflict=tuple(conflicts), relaxations=tuple(relaxations), unplaceable=unplaceable)


def lost_conflict(loaded: LoadedSpec, entry: WorkloadCandidates) -> Conflict:
    """A workload that no GPU of the fleet can run, with the nearest miss."""
    nearest = f"; nearest: {entry.dropped[0].gpu}: {entry.dropped[0].reason}" if entry.dropped else ""
    return Conflict(
        limit=f"workloads.{entry.workload}",
        where=loaded.where(("workloads", entry.workload)),
        value=None,
        text=f"no GPU of the fleet can run it as asked{nearest}",
    )


def conflict(loaded: LoadedSpec, fleet: FleetProblem, name: str, *, alone: bool) -> Conflict:
    """One requirement of the minimal conflict."""
    if name.startswith("workload."):
        workload = fleet.asked[name.removeprefix("workload.")].workload
        text = "the nodes that can be had do not carry it together with the others named"
        return Conflict(
            limit=f"workloads.{workload}", where=loaded.where(("workloads", workload)), value=None, text=text
        )
    if name.startswith("stock."):
        source = fleet.sources[name.removeprefix("stock.")]
        path = owned_path(loaded, source.node)
        text = f"only {source.stock} of {source.node} are there"
        return Conflict(limit=dotted(path), where=loaded.where(path), value=float(source.stock or 0), text=text)
    words = words_of(name, fleet)
    path = ("fleet", "limits", words.key)
    value = getattr(loaded.spec.fleet.limits, words.key)
    clash = "no fleet that meets the targets keeps it" if alone else "it clashes with the others named here"
    text = f"{words.what}: at most {amount(value, words)}; {clash}"
    return Conflict(limit=dotted(path), where=loaded.where(path), value=float(value), text=text)


def late_purchases(loaded: LoadedSpec, fleet: FleetProblem, solution: Solution) -> Iterator[Conflict]:
    """The lead of purchases, where nothing else can be had and workloads find no place."""
    lead = loaded.spec.fleet.lead_months
    bought = any(s.procurement == "buy" for s in fleet.sources.values())
    rented = any(s.procurement not in ("buy", "owned") for s in fleet.sources.values())
    if not lead or not bought or rented or not any(name.startswith("workload.") for name in solution.conflict):
        return
    path = ("fleet", "lead_months")
    text = (
        f"what is bought arrives {lead} months after its order at the soonest, so that only owned nodes are there "
        "until then; allow renting meanwhile, or shorten the lead"
    )
    yield Conflict(limit=dotted(path), where=loaded.where(path), value=float(lead), text=text)


def nearest_targets(entry: WorkloadCandidates) -> Iterator[Relaxation]:
    """The targets of a workload that runs nowhere as the nearest miss would meet them; nothing where it is no target
    that is missed. Prices and limits of the fleet are not looked at."""
    if not entry.dropped:
        return
    near = entry.dropped[0]
    together = len(near.nearest_targets) > 1
    for target, reached in near.nearest_targets.items():
        value = steady(reached, up=target not in FLOORS)
        limit = f"workloads.{entry.workload}.targets.{target}"
        also = ", together with the other targets named," if together else ""
        met = f"set {limit} to {value:,.10g}; {near.gpu}{also} then meets it"
        text = f"{met}; cost and the fleet's limits were not looked at"
        yield Relaxation(limit=limit, value=value, usd_per_hour=None, text=text, together=together)


def steady(value: float, *, up: bool) -> float:
    """A value with four significant digits, rounded so that what reached it still does.

    >>> steady(7.89812, up=True), steady(1234.9, up=False)
    (7.899, 1234.0)
    """
    exact = Decimal(repr(value))
    step = Decimal(1).scaleb(exact.adjusted() + 1 - SIGNIFICANT_DIGITS)
    return float(exact.quantize(step, rounding=ROUND_CEILING if up else ROUND_FLOOR))


def relaxation(fleet: FleetProblem, found: Relaxed) -> Relaxation:
    """The smallest new value of one limit, and what the fleet then costs."""
    name, value, spend = found.limit, found.value, found.cost / fleet.cost_unit
    also = " together with the other changes named here" if found.together else ""
    if name.startswith("stock."):
        source = fleet.sources[name.removeprefix("stock.")]
        text = f"with {value} of {source.node} instead of {source.stock}{also} a plan exists, for {usd(spend)} per hour"
        return Relaxation(
            limit="fleet.owned", value=float(value), usd_per_hour=spend, text=text, together=found.together
        )
    words = words_of(name, fleet)
    new = least_limit(value, words.scale)
    assert value <= MAX_AMOUNT, "what must be allowed is a sum of what exists"
    text = f"raise fleet.limits.{words.key} to {amount(new, words)}{also}; the fleet then costs {usd(spend)} per hour"
    return Relaxation(
        limit=f"fleet.limits.{words.key}", value=new, usd_per_hour=spend, text=text, together=found.together
    )


def least_limit(value: int, scale: float) -> float:
    """The least figure of the spec that allows a value of the problem; in whole USD where the units do not divide."""
    return value / scale if scale == int(scale) else float(math.ceil(value / scale))


def amount(value: float, words: LimitWords) -> str:
    """A limit with its unit, in full: a rounded one might not suffice.

    >>> amount(90.5, WORDS["cost"])
    '90.5 USD per hour'
    """
    return f"{value:,.10g} {words.unit}"


def owned_path(loaded: LoadedSpec, node: str) -> Path:
    """The spec's entry of an owned node."""
    names = [entry.node.casefold() for entry in loaded.spec.fleet.owned]
    index = names.index(node.casefold())
    return ("fleet", "owned", index)


def dotted(path: Path) -> str:
    """A path as text."""
    return ".".join(map(str, path))
