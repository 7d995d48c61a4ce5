"""The figures of a plan derived step by step, from the steps that the plan itself holds."""

from __future__ import annotations

from dataclasses import dataclass

from planner.plan.types import Plan, WorkloadPlan
from planner.report.numbers import money, shown
from planner.report.view import view_of
from planner.report.workloads import UNKNOWN, config_phrase, one_line, signed

LONGEST_LINE = 2000
"""Characters of one formula or list of numbers printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One figure: formula, the numbers put in, the result, where the formula is from."""

    figure: str
    formula: str
    numbers: str
    result: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Steps about one thing: parameters, memory, performance, cost ..."""

    title: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerUp:
    """Another way to run the workload, and what it loses by."""

    what: str
    price: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Everything `plan explain` says about one workload."""

    workload: str
    runs_as: str
    why: str
    groups: tuple[Group, ...]
    runners_up: tuple[RunnerUp, ...]
    rejected: tuple[tuple[str, str], ...]
    note: str
    """Said in place of steps where the plan holds none."""


GROUP_TITLES = {
    "params": "Parameters",
    "kv": "Memory",
    "memory": "Memory",
    "performance": "Speed",
    "cost": "Cost",
    "power": "Power",
    "replicas": "Replicas",
    "kg": "Carbon",
}
"""First word of a figure's key -> title, in reading order; any other key goes under "Other figures"."""
OTHER = "Other figures"
NO_STEPS = "This plan was written without derivations; build it again to have them."


def explain_workload(workload: WorkloadPlan) -> Explanation:
    """The derivations of one workload, and why the other ways lost."""
    by_title: dict[str, list[Step]] = {title: [] for title in (*GROUP_TITLES.values(), OTHER)}
    for step in workload.derivation:
        by_title[group_title(step.figure)].append(
            Step(
                figure=shown(step.figure),
                formula=shown(step.formula, longest=LONGEST_LINE),
                numbers=shown(step.numbers, longest=LONGEST_LINE),
                result=shown(step.result, longest=LONGEST_LINE),
                source=shown(step.source, longest=LONGEST_LINE),
            )
        )
    return Explanation(
        workload=shown(workload.name),
        runs_as=f"{shown(workload.model)}: {one_line(workload)}",
        why=shown(workload.why, longest=LONGEST_LINE),
        groups=tuple(Group(title=title, steps=tuple(steps)) for title, steps in by_title.items() if steps),
        runners_up=runners_up(workload),
        rejected=tuple((shown(r.gpu), shown(r.reason, longest=LONGEST_LINE)) for r in workload.rejected),
        note="" if workload.derivation else NO_STEPS,
    )


def group_title(figure: str) -> str:
    """The group that a figure belongs to, by the first word of its key.

    >>> group_title("memory.per_gpu_bytes.kv_cache"), group_title("params_total"), group_title("spin")
    ('Memory', 'Parameters', 'Other figures')
    """
    head = figure.split(".")[0]
    return GROUP_TITLES.get(head) or GROUP_TITLES.get(head.split("_")[0], OTHER)


def runners_up(workload: WorkloadPlan) -> tuple[RunnerUp, ...]:
    """The alternatives in the plan's order: what each is, what it costs, what it loses by."""
    return tuple(
        RunnerUp(
            what=", ".join(x for x in (f"{a.gpus} × {shown(a.gpu)} on {shown(a.host)}", config_phrase(a.config)) if x),
            price=f"{money(a.usd_per_hour)} USD/h ({signed(a.usd_per_hour_more)})"
            if a.usd_per_hour is not None
            else f"price {UNKNOWN}",
            reason=shown(a.why_not, longest=LONGEST_LINE),
        )
        for a in workload.alternatives
    )


def proof_of(plan: Plan) -> str:
    """What the solver established, as in the reports."""
    return view_of(plan).proof
