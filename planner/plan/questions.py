"""What a buyer asks next of a fleet: other choices, one more node, a price that rises, less power."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from planner.plan.fleet import FleetProblem
from planner.plan.others import MOST_ALTERNATIVES, other_ways
from planner.plan.pick import Pick, format_of
from planner.plan.types import OneGpuType
from planner.solve.problem import Problem
from planner.solve.solution import Solution
from planner.units import HOURS_PER_MONTH, MEGA, WATTS_PER_KW, usd

if TYPE_CHECKING:
    from planner.solve.alternatives import Forced
    from planner.solve.sensitivity import Flip, OneMoreNode

MOST_COLUMNS_AGAIN = 1500
"""Columns that fleets solved again may have in all, unless they are asked for: about a second of work. A count, so
that every machine solves the same ones."""
MOST_NEARBY = 20
"""Alternatives beyond those for which the fleet is solved again near the best one only: a quarter of a second."""
WORK_EACH = 2.0
"""Deterministic effort (about seconds) for each fleet solved again."""
SECONDS_FOR_SENSITIVITY = 60.0
SECONDS_FOR_PARETO = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """What is asked beside the best fleet."""

    alternatives: bool = False
    """Every alternative, and every GPU type alone, instead of as many as are quick."""
    sensitivity: bool = False
    pareto: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Insights:
    """The answers. Empty where the first objective is not cost, for they are told in money."""

    again: Mapping[tuple[str, str, str], Forced] = field(default_factory=dict)
    """By workload, GPU and number format: the fleet with that choice forced."""
    one_gpu_type: tuple[OneGpuType, ...] = ()
    sensitivity: tuple[Mapping[str, Any], ...] = ()
    pareto: tuple[Mapping[str, float], ...] = ()
    warnings: tuple[str, ...] = ()


def insights(fleet: FleetProblem, best: Solution, picked: Sequence[Pick], asked: Questions) -> Insights:
    """The answers to the questions, and to as many about alternatives as are quick."""
    if fleet.calendar:
        told = "alternatives, sensitivity and the Pareto front are not solved over periods"
        return Insights(warnings=(told,) if asked != Questions() else ())
    if fleet.problem.objective[0] != "cost":
        told = "alternatives, sensitivity and the Pareto front are solved for objective cost only"
        return Insights(warnings=(told,) if asked != Questions() else ())
    left = None if asked.alternatives else MOST_COLUMNS_AGAIN // max(1, len(fleet.choices))
    pairs = pairs_to_force(picked)[:left]
    again = {key: _forced(fleet, best, *key) for key in pairs}
    if left is not None:
        again |= {key: _nearby(fleet, best, *key) for key in pairs_to_force(picked)[left : left + MOST_NEARBY]}
    alone: tuple[OneGpuType, ...] = ()
    if left is None or left - len(pairs) >= len(gpus_that_run_all(fleet.problem, fleet)):
        alone = one_gpu_type(fleet, best)
    front, warnings = pareto(fleet.problem) if asked.pareto else ((), ())
    return Insights(
        again=again,
        one_gpu_type=alone,
        sensitivity=tuple(sensitivity(fleet, best)) if asked.sensitivity else (),
        pareto=front,
        warnings=warnings,
    )


def pairs_to_force(picked: Sequence[Pick]) -> list[tuple[str, str, str]]:
    """Workload, GPU and format of every alternative: the first of each workload, then the second of each, ..."""
    ways = [other_ways(p) for p in picked]
    return [
        (p.workload.name, found[n].candidate.gpu, format_of(found[n].candidate))
        for n in range(MOST_ALTERNATIVES)
        for p, found in zip(picked, ways, strict=True)
        if n < len(found)
    ]


def _nearby(fleet: FleetProblem, best: Solution, workload: str, gpu: str, number_format: str) -> Forced:
    from planner.solve.alternatives import forced_nearby

    columns = _columns(fleet, workload, gpu, number_format)
    return forced_nearby(fleet.problem, best, workload, columns, name=gpu, deterministic_limit=WORK_EACH)


def _columns(fleet: FleetProblem, workload: str, gpu: str, number_format: str) -> list[str]:
    """The columns of a workload on a GPU in a number format."""
    return [
        column
        for (name, column), choice in fleet.choices.items()
        if name == workload and choice.candidate.gpu == gpu and format_of(choice.candidate) == number_format
    ]


def _forced(fleet: FleetProblem, best: Solution, workload: str, gpu: str, number_format: str) -> Forced:
    from planner.solve.alternatives import forced_choices

    columns = _columns(fleet, workload, gpu, number_format)
    (found,) = forced_choices(
        fleet.problem, best, workload, {gpu: columns}, time_limit_s=None, deterministic_limit=WORK_EACH
    )
    return found


def gpus_that_run_all(problem: Problem, fleet: FleetProblem) -> dict[str, set[str]]:
    """GPU types on which every workload has a way to run, with their node types."""
    types: dict[str, set[str]] = {}
    for name, source in fleet.sources.items():
        types.setdefault(source.gpu, set()).add(name)
    return {
        gpu: names
        for gpu, names in sorted(types.items())
        if all(any(c.node in names for c in w.columns) for w in problem.workloads)
    }


def one_gpu_type(fleet: FleetProblem, best: Solution) -> tuple[OneGpuType, ...]:
    """What the fleet costs on one GPU type alone, the cheapest first."""
    from planner.solve.alternatives import all_on

    groups = gpus_that_run_all(fleet.problem, fleet)
    found = all_on(fleet.problem, best, groups, time_limit_s=None, deterministic_limit=WORK_EACH)
    return tuple(
        OneGpuType(
            gpu=f.name,
            usd_per_hour=None if f.solution is None else f.solution.objective["cost"] / MEGA,
            usd_per_hour_more=None if f.more is None else f.more / MEGA,
            is_proven=f.is_proven,
            why_not="" if f.solution else "limits and stock leave no fleet of it alone",
        )
        for f in found
        if f.in_time
    )


def sensitivity(fleet: FleetProblem, best: Solution) -> Iterator[Mapping[str, Any]]:
    """What one more node of a kind that is used up would save, then the prices at which the choice flips."""
    from planner.solve.sensitivity import one_more_node, price_flip

    for more in one_more_node(fleet.problem, best, time_limit_s=SECONDS_FOR_SENSITIVITY):
        yield one_more_entry(fleet, more)
    for name in sorted(best.nodes):
        source = fleet.sources.get(name)
        if source is None or source.procurement == "owned":
            continue
        flip = price_flip(fleet.problem, best, name, time_limit_s=SECONDS_FOR_SENSITIVITY)
        if flip is not None:
            yield flip_entry(fleet, best, flip)


def one_more_entry(fleet: FleetProblem, more: OneMoreNode) -> dict[str, Any]:
    """One more node as the document tells it."""
    source = fleet.sources[more.node]
    hourly = more.saves / MEGA
    monthly = hourly * HOURS_PER_MONTH
    text = f"one more node {source.node} ({source.procurement.replace('_', ' ')}) would save "
    return {
        "kind": "one_more_node",
        "offer": source.offer,
        "node": source.node,
        "gpu": source.gpu,
        "saves_usd_per_hour": hourly,
        "saves_usd_per_month": monthly,
        "is_proven": more.is_proven,
        "text": text + (f"{usd(monthly)} a month" if more.saves else "nothing"),
    }


def flip_entry(fleet: FleetProblem, best: Solution, flip: Flip) -> dict[str, Any]:
    """A price at which the choice changes, as the document tells it."""
    source = fleet.sources[flip.node]
    moved = {
        name: fleet.choices[name, flip.to.assignments[name][0].column].source.gpu
        for name, now in best.assignments.items()
        if flip.to.assignments[name][0].column != now[0].column
    }
    to = sorted(set(moved.values()))
    said = ", ".join(f"{name} to {gpu}" for name, gpu in sorted(moved.items()))
    share = float(flip.share)
    rise = f"costs {share:.1%} more ({usd(flip.price / MEGA)} a node and hour)" if share else "costs any more"
    return {
        "kind": "price_flip",
        "offer": source.offer,
        "node": source.node,
        "gpu": source.gpu,
        "usd_per_hour_now": (fleet.problem.node_types[flip.node].cost or 0) / MEGA,
        "usd_per_hour_flip": flip.price / MEGA,
        "share": share,
        "to_gpus": to,
        "workloads": moved,
        "is_proven": flip.is_proven,
        "text": f"if {source.offer} {rise}, the choice flips: {said or 'fewer of its nodes are taken'}",
    }


def pareto(problem: Problem) -> tuple[tuple[Mapping[str, float], ...], tuple[str, ...]]:
    """The front of cost and power, cheapest first; and a warning where it is not whole."""
    from planner.errors import NoPlanInTimeError
    from planner.solve.pareto import front

    try:
        found = front(problem, "cost", "power", time_limit_s=SECONDS_FOR_PARETO)
    except NoPlanInTimeError:
        return (), ("the front of cost and power was not found in the time for it",)
    points = tuple(
        {
            "usd_per_hour": s.objective["cost"] / MEGA,
            "it_power_kw": s.objective["power"] / WATTS_PER_KW,
            "gpus": float(s.objective["gpus"]),
            "nodes": float(s.objective["nodes"]),
        }
        for s in found.points
    )
    told = "the front of cost and power may lack points: not every step of it was proven in the time for it"
    return points, (() if found.is_complete else (told,))
