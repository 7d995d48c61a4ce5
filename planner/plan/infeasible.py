"""When no plan exists: the clash traced to spec lines, and the smallest way out of each limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from planner.candidates.types import WorkloadCandidates
from planner.plan.fleet import FleetProblem
from planner.plan.types import Conflict, Infeasible, Rejected, Relaxation
from planner.solve.problem import MAX_AMOUNT
from planner.solve.scale import CENTI
from planner.solve.solution import Solution
from planner.spec.load import LoadedSpec
from planner.units import MEGA, WATTS_PER_KW, usd

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class LimitWords:
    """How a limit of the problem reads in the spec."""

    key: str
    unit: str
    scale: int
    """Units of the problem in one unit of the spec."""
    what: str


WORDS: Mapping[str, LimitWords] = {
    "cost": LimitWords("usd_per_hour", "USD per hour", MEGA, "what the fleet may cost"),
    "power": LimitWords("power_kw", "kW", WATTS_PER_KW, "power of all nodes"),
    "nodes": LimitWords("nodes", "nodes", 1, "nodes in the fleet"),
    "gpus": LimitWords("gpus", "GPUs", 1, "GPUs in the fleet"),
    "capex": LimitWords("capex_usd", "USD", 1, "money for purchases"),
    "rack_units": LimitWords("rack_units", "rack units", CENTI, "space for nodes of our own"),
}


def infeasible_report(
    loaded: LoadedSpec, fleet: FleetProblem | None, solution: Solution | None, lost: Sequence[WorkloadCandidates]
) -> Infeasible:
    """Conflicts and relaxations in the spec's words. `lost` are workloads that nothing in the fleet can run."""
    conflicts = [lost_conflict(loaded, entry) for entry in lost]
    relaxations: list[Relaxation] = []
    if solution is not None and fleet is not None:
        alone = len(solution.conflict) == 1
        conflicts += [conflict(loaded, fleet, name, alone=alone) for name in solution.conflict]
        for r in solution.relaxations:
            relaxations.append(relaxation(fleet, r.limit, r.value, r.cost))
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
        workload = name.removeprefix("workload.")
        text = "the nodes that can be had do not carry it together with the others named"
        return Conflict(
            limit=f"workloads.{workload}", where=loaded.where(("workloads", workload)), value=None, text=text
        )
    if name.startswith("stock."):
        source = fleet.sources[name.removeprefix("stock.")]
        path = owned_path(loaded, source.node)
        text = f"only {source.stock} of {source.node} are there"
        return Conflict(limit=dotted(path), where=loaded.where(path), value=float(source.stock or 0), text=text)
    words = WORDS[name]
    path = ("fleet", "limits", words.key)
    value = getattr(loaded.spec.fleet.limits, words.key)
    clash = "no fleet that meets the targets keeps it" if alone else "it clashes with the others named here"
    text = f"{words.what}: at most {amount(value, words)}; {clash}"
    return Conflict(limit=dotted(path), where=loaded.where(path), value=float(value), text=text)


def relaxation(fleet: FleetProblem, name: str, value: int, cost: int) -> Relaxation:
    """The smallest new value of one limit, and what the fleet then costs."""
    spend = cost / MEGA
    if name.startswith("stock."):
        source = fleet.sources[name.removeprefix("stock.")]
        text = f"with {value} of {source.node} instead of {source.stock} a plan exists, for {usd(spend)} per hour"
        return Relaxation(limit="fleet.owned", value=float(value), usd_per_hour=spend, text=text)
    words = WORDS[name]
    new = value / words.scale
    assert value <= MAX_AMOUNT, "what must be allowed is a sum of what exists"
    text = f"raise fleet.limits.{words.key} to {amount(new, words)}; the fleet then costs {usd(spend)} per hour"
    return Relaxation(limit=f"fleet.limits.{words.key}", value=new, usd_per_hour=spend, text=text)


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
