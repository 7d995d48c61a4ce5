"""What would change the answer, in sentences: one more node, other prices, less power, one GPU type alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from planner.plan.types import OneGpuType, Plan
from planner.report.bill import hourly_unit
from planner.report.language import _
from planner.report.numbers import figure, money, shown, whole
from planner.report.phrases import foreign
from planner.report.words import semicolon_separated

MOST_TYPES = 5
"""GPU types named; plan.json holds all."""
LONGEST = 400


def outlook_lines(plan: Plan) -> Iterator[str]:
    """A line an answer; none where nothing was asked."""
    for entry in plan.sensitivity:
        text = foreign(str(entry.get("text", "")), longest=LONGEST)
        sentence = _("{text}.") if entry.get("is_proven") else _("{text} (not proven).")
        yield sentence.format(text=f"{text[:1].upper()}{text[1:]}")
    if plan.pareto:
        yield _("Cost against power: {points}.").format(points=semicolon_separated(_point(p) for p in plan.pareto))
    if plan.one_gpu_type:
        yield from _one_type_lines(plan.one_gpu_type)


def _point(point: Mapping[str, float]) -> str:
    return _("{cost} at {power} kW").format(
        cost=hourly_unit(money(point["usd_per_hour"])), power=figure(point["it_power_kw"])
    )


def _one_type_lines(types: tuple[OneGpuType, ...]) -> Iterator[str]:
    can = [t for t in types if t.usd_per_hour is not None]
    if not can:
        yield _("No GPU type alone can run everything within the limits.")
        return
    named = semicolon_separated(_one_type(t) for t in can[:MOST_TYPES])
    hidden = len(can) - MOST_TYPES
    if hidden <= 0:
        yield _("All on one GPU type: {types}.").format(types=named)
        return
    yield _("All on one GPU type: {types}; {n} more in plan.json.").format(types=named, n=whole(hidden))


def _one_type(t: OneGpuType) -> str:
    text = _("{gpu} {cost} (+{more})") if t.is_proven else _("{gpu} at most {cost} (+{more})")
    return text.format(
        gpu=shown(t.gpu),
        cost=hourly_unit(money(t.usd_per_hour or 0.0)),
        more=money(max(0.0, t.usd_per_hour_more or 0.0)),
    )
