"""What would change the answer, in sentences: one more node, other prices, less power, one GPU type alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from planner.plan.types import OneGpuType, Plan
from planner.report.numbers import figure, money, shown

MOST_TYPES = 5
"""GPU types named; plan.json holds all."""
LONGEST = 400


def outlook_lines(plan: Plan) -> Iterator[str]:
    """A line an answer; none where nothing was asked."""
    for entry in plan.sensitivity:
        text = shown(str(entry.get("text", "")), longest=LONGEST)
        yield f"{text[:1].upper()}{text[1:]}{'' if entry.get('is_proven') else ' (not proven)'}."
    if plan.pareto:
        yield f"Cost against power: {'; '.join(_point(p) for p in plan.pareto)}."
    if plan.one_gpu_type:
        yield from _one_type_lines(plan.one_gpu_type)


def _point(point: Mapping[str, float]) -> str:
    return f"{money(point['usd_per_hour'])} USD/h at {figure(point['it_power_kw'])} kW"


def _one_type_lines(types: tuple[OneGpuType, ...]) -> Iterator[str]:
    can = [t for t in types if t.usd_per_hour is not None]
    if not can:
        yield "No GPU type alone can run everything within the limits."
        return
    named = "; ".join(_one_type(t) for t in can[:MOST_TYPES])
    hidden = len(can) - MOST_TYPES
    yield f"All on one GPU type: {named}{f'; {hidden} more in plan.json' if hidden > 0 else ''}."


def _one_type(t: OneGpuType) -> str:
    at_most = "" if t.is_proven else "at most "
    return (
        f"{shown(t.gpu)} {at_most}{money(t.usd_per_hour or 0.0)} USD/h (+{money(max(0.0, t.usd_per_hour_more or 0.0))})"
    )
