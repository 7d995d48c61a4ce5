"""Judges a plan from its document alone: memory, demand, packing, limits and sums, counted again.

It shares no code with the candidates or the optimiser, so that it does not share their mistakes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from planner.plan.audit_periods import periods_agree
from planner.plan.audit_stage import (
    NO_LIMITS,
    TOLERANCE,
    UTILISATION_CAP,
    delivered,
    near,
    share_of_day,
    stage_problems,
    stages,
    within,
)
from planner.plan.io import body_sha256
from planner.plan.types import PeriodPlan, Plan, PurchaseLine, Totals, WorkloadPlan
from planner.units import HOURS_PER_MONTH, MICRO, MILLI

RATES = ("output_tokens_per_second", "tokens_per_second", "requests_per_second")

Check = Callable[[Plan], Iterator[str]]


def audit(plan: Plan) -> tuple[str, ...]:
    """Everything that is wrong with a plan; empty = it holds. An infeasible plan is checked for its reasons only."""
    if plan.status == "infeasible":
        checks: tuple[Check, ...] = (hash_agrees, reasons_are_given)
    else:
        checks = (
            hash_agrees,
            every_workload_is_planned_once,
            memory_fits,
            workloads_are_their_placements,
            hours_are_covered,
            pins_are_kept,
            targets_are_met,
            sums_agree,
            periods_agree,
            limits_are_kept,
            proof_agrees,
        )
    return tuple(message for check in checks for message in check(plan))


def asked(plan: Plan) -> dict[str, Mapping[str, Any]]:
    """The spec's workloads by name."""
    return {w["name"]: w for w in plan.inputs.spec.get("workloads", ())}


def fleet(plan: Plan) -> Mapping[str, Any]:
    """The spec's fleet."""
    found: Mapping[str, Any] = plan.inputs.spec.get("fleet", {})
    return found


def hash_agrees(plan: Plan) -> Iterator[str]:
    """The body is as it was written."""
    raw = plan.model_dump(mode="json", by_alias=True)
    if plan.body_sha256 and plan.body_sha256 != body_sha256(raw):
        yield "body_sha256: the plan was changed after it was written"


def reasons_are_given(plan: Plan) -> Iterator[str]:
    """An infeasible plan says why, and plans nothing."""
    if plan.infeasible is None or not (plan.infeasible.conflict or plan.infeasible.unplaceable):
        yield "infeasible: no reason is given"
    if plan.purchases or plan.workloads:
        yield "infeasible: but something is planned"


def every_workload_is_planned_once(plan: Plan) -> Iterator[str]:
    """The plan's workloads are the spec's."""
    planned = Counter(w.name for w in plan.workloads)
    for name in asked(plan):
        if planned[name] != 1:
            yield f"workloads.{name}: planned {planned[name]} times"
    for name in planned:
        if name not in asked(plan):
            yield f"workloads.{name}: not in the spec"


def memory_fits(plan: Plan) -> Iterator[str]:
    """Parts add up, and leave the headroom free."""
    headroom = float(fleet(plan).get("memory_headroom", 0.0))
    for w in plan.workloads:
        held = w.memory
        parts = sum(held.per_gpu_bytes.values())
        if parts != held.device_peak_bytes:
            yield f"workloads.{w.name}.memory: parts add up to {parts}, not {held.device_peak_bytes} bytes"
        room = held.usable_bytes * (1.0 - headroom)
        if held.device_peak_bytes > room + 1:
            yield f"workloads.{w.name}.memory: {held.device_peak_bytes} bytes do not fit {math.floor(room)}"
        if not w.fits:
            yield f"workloads.{w.name}: the estimate says that it does not fit"


def workloads_are_their_placements(plan: Plan) -> Iterator[str]:
    """GPUs, replicas and rates of a workload are those of its placements together."""
    for w in plan.workloads:
        gpus = sum(p.replicas * p.gpus_per_replica for p in w.placements)
        placed = sum(p.replicas for p in w.placements)
        if w.gpus != gpus:
            yield f"workloads.{w.name}: {w.gpus} GPUs, but the placements have {gpus}"
        if placed != w.replicas:
            yield f"workloads.{w.name}.placements: {placed} replicas placed, {w.replicas} planned"
        if w.placements and (w.gpu, w.config) != (w.placements[0].gpu, w.placements[0].config):
            yield f"workloads.{w.name}: described as on {w.gpu}, its first placement is another configuration"
        for key in RATES:
            said = getattr(w.performance, key)
            total = sum(p.replicas * p.figures.get(key, 0.0) for p in w.placements)
            if said is not None and not near(said, total):
                yield f"workloads.{w.name}.performance.{key}: {said:g}, the placements add up to {total:g}"
    yield from (message for stage in stages(plan) for message in stage_problems(plan, stage))


def hours_are_covered(plan: Plan) -> Iterator[str]:
    """The times of day are the whole day, each minute once, and every workload runs in its own hours."""
    hours = {w["name"]: w.get("hours") or () for w in plan.inputs.spec.get("workloads", ())}
    if not any(hours.values()):
        return
    told = sum(share_of_day(time.hours) for time in plan.times_of_day)
    if not near(told, 1.0):
        yield f"times_of_day: they add up to {24 * told:g} hours"
    for name, asked_hours in hours.items():
        runs = sum(share_of_day(time.hours) for time in plan.times_of_day if name in time.workloads)
        if not near(runs, share_of_day(asked_hours)):
            yield f"times_of_day: {name} runs {24 * runs:g} hours a day, asked are {24 * share_of_day(asked_hours):g}"


def pins_are_kept(plan: Plan) -> Iterator[str]:
    """What the user decided is what is planned, in every placement."""
    spec = asked(plan)
    for w in plan.workloads:
        pins = spec.get(w.name, {}).get("pin", {})
        for p in w.placements:
            yield from kept_pins(w.name, pins, {**p.config, "gpu": p.gpu, "replicas": w.replicas})
        for period in plan.periods:
            for other in (o for o in period.workloads if o.name == w.name and o.factor):
                for p in other.placements:
                    yield from kept_pins(w.name, pins, {**p.config, "gpu": p.gpu, "replicas": other.replicas})


def kept_pins(name: str, pins: Mapping[str, Any], got: Mapping[str, Any]) -> Iterator[str]:
    """One configuration against the pins."""
    for key, wanted in pins.items():
        if wanted is None or key not in got:
            continue
        have = got[key]
        if isinstance(wanted, str):
            same = str(have).casefold() == wanted.casefold()
        elif isinstance(wanted, dict):
            same = isinstance(have, Mapping) and all(near(v, float(wanted.get(k, 0.0))) for k, v in have.items())
        else:
            same = have == wanted
        if not same:
            yield f"workloads.{name}.config.{key}: {have}, pinned is {wanted}"


def targets_are_met(plan: Plan) -> Iterator[str]:
    """Every target of the spec (times the factor of the workload's largest period), against figures of the estimate."""
    spec = asked(plan)
    cap = next((float(a.value) for a in plan.inputs.assumptions if a.id == UTILISATION_CAP), 1.0)
    for w in plan.workloads:
        targets = spec.get(w.name, {}).get("targets", {})
        listed = {d.target: d for d in w.demand_met}
        factor = largest_factor(plan, w)
        for key, wanted in targets.items():
            if wanted is None or key in NO_LIMITS:
                continue
            got, at_least = promised(w, key, spec[w.name], factor, cap)
            if got is None:
                continue
            if at_least:
                wanted = math.ceil(wanted * factor) if key == "concurrency" else wanted * factor
            good = within(wanted, got) if at_least else within(got, wanted)
            if not good:
                yield f"workloads.{w.name}.targets.{key}: {got:g} is planned, {wanted:g} asked"
            entry = listed.get(key)
            if entry is None:
                yield f"workloads.{w.name}.demand_met: {key} is missing"
            elif not near(entry.asked, wanted) or not near(entry.got, got) or entry.met != good:
                said = f"{entry.got:g} of {entry.asked:g}"
                yield f"workloads.{w.name}.demand_met.{key}: says {said}, counted {got:g} of {wanted:g}"


def largest_factor(plan: Plan, w: WorkloadPlan) -> float:
    """Factor of the period that a workload's section describes."""
    if w.period is None or not 0 <= w.period < len(plan.periods):
        return 1.0
    return plan.periods[w.period].demand.get(w.name, 1.0)


def promised(
    w: WorkloadPlan, key: str, spec: Mapping[str, Any], factor: float, cap: float
) -> tuple[float | None, bool]:
    """What the estimate gives for a target, and whether more is better; None where it does not apply."""
    p = w.performance
    queue = p.open_loop
    if key in ("ttft_ms", "tpot_ms"):
        seconds = p.ttft_s if key == "ttft_ms" else p.tpot_s
        if queue is not None:
            under = queue.ttft_s if key == "ttft_ms" else queue.tpot_s
            seconds = None if under is None else under.at(spec.get("targets", {}).get("latency_percentile"))
        return (None if seconds is None else seconds / MILLI), False
    if key == "requests_per_second":
        if queue is not None and queue.sustained_requests_per_second is not None:
            return min(queue.sustained_requests_per_second, p.requests_per_second or 0.0), True
        return (p.requests_per_second or 0.0) * cap, True
    if key in ("concurrency", "deadline_hours"):
        return delivered(w.placements, key, spec, factor, cap), key == "concurrency"
    rate = p.output_tokens_per_second if key == "output_tokens_per_second" else p.tokens_per_second
    return rate or 0.0, True


def sums_agree(plan: Plan) -> Iterator[str]:
    """Totals are the sums of their lines; over periods money is that of all periods, the rest that of the fullest."""
    t = plan.totals
    if t is None:
        yield "totals: missing"
        return
    months = float(plan.inputs.spec.get("horizon", {}).get("months", 0))
    expected = {
        **(fullest(plan.periods) if plan.periods else at_once(plan.purchases, months)),
        "capex_usd": sum(line.capex_usd or 0.0 for line in plan.purchases),
    }
    if plan.periods:
        expected |= {"usd_horizon": sum(p.usd_total for p in plan.periods)}
        expected |= {"usd_per_hour": expected["usd_horizon"] / (months * HOURS_PER_MONTH)}
        expected |= {"usd_per_month": expected["usd_horizon"] / months}
    if t.rack_units is None:
        expected.pop("rack_units")
    for key, value in expected.items():
        said = getattr(t, key)
        if said is None or not near(said, value):
            yield f"totals.{key}: {said}, the lines add up to {value:g}"
    if t.power_kw < t.it_power_kw * (1.0 - TOLERANCE):
        yield f"totals.power_kw: {t.power_kw:g} is less than the machines' own {t.it_power_kw:g}"


def at_once(lines: Sequence[PurchaseLine], months: float) -> dict[str, float]:
    """What lines that are there together add up to."""
    hourly = sum(line.usd_per_hour or 0.0 for line in lines)
    return {
        "usd_per_hour": hourly,
        "usd_per_month": hourly * HOURS_PER_MONTH,
        "usd_horizon": hourly * HOURS_PER_MONTH * months,
        "gpus": sum(line.gpus for line in lines),
        "nodes": sum(line.nodes for line in lines),
        "it_power_kw": sum(line.power_kw for line in lines),
        "rack_units": sum(line.rack_units or 0.0 for line in lines),
    }


def fullest(periods: Sequence[PeriodPlan]) -> dict[str, float]:
    """Counts and power of the period with most."""
    return {key: max(getattr(p, key) or 0.0 for p in periods) for key in ("gpus", "nodes", "it_power_kw", "rack_units")}


def limits_are_kept(plan: Plan) -> Iterator[str]:
    """Nothing the spec bounds is exceeded at any time; nothing comes from where it must not."""
    if plan.totals is None:
        return
    limits = fleet(plan).get("limits", {})
    for where, figures in reached(plan, plan.totals):
        for key, value in figures.items():
            limit = limits.get(key)
            if limit is not None and value is not None and not within(value, limit):
                yield f"{where}fleet.limits.{key}: {value:g} is over {limit:g}"
    allowed = fleet(plan).get("procurement")
    owned: Counter[str] = Counter()
    for entry in fleet(plan).get("owned", ()):
        owned[entry["node"].casefold()] += entry["count"]
    for stage in stages(plan):
        here: Counter[str] = Counter()
        for line in stage.line_by_index.values():
            if line.procurement == "owned":
                here[line.node.casefold()] += line.nodes
            elif allowed is not None and line.procurement not in allowed:
                yield f"purchases.{line.offer}: {line.procurement} is not among the spec's procurement"
        for node, count in here.items():
            if count > owned[node]:
                yield f"{stage.where}purchases of {node}: {count} nodes, {owned[node]} are owned"


def reached(plan: Plan, t: Totals) -> Iterator[tuple[str, dict[str, float | None]]]:
    """What limits bound, by key of `fleet.limits`, at every time; power is that of the machines."""
    yield "", {"capex_usd": t.capex_usd}
    for at in plan.periods or (t,):
        where = f"periods[{at.index}]: " if isinstance(at, PeriodPlan) else ""
        yield (
            where,
            {
                "usd_per_hour": at.usd_per_hour,
                "capex_usd_per_period": at.capex_usd,
                "power_kw": at.it_power_kw,
                "rack_units": at.rack_units,
                "gpus": at.gpus,
                "nodes": at.nodes,
            },
        )


def proof_agrees(plan: Plan) -> Iterator[str]:
    """The solver's value is the plan's, and `optimal` means a bound that meets it."""
    s, t = plan.solver, plan.totals
    if s.objective is None or t is None:
        yield "solver.objective: missing"
        return
    value = {"cost": t.usd_per_hour, "power": t.it_power_kw, "gpus": float(t.gpus), "carbon": t.kg_co2_per_month}
    said = value.get(s.objective_name)
    rounding = {"cost": t.nodes * MICRO, "power": t.nodes * MILLI, "carbon": t.nodes * MILLI * HOURS_PER_MONTH}
    slack = rounding.get(s.objective_name, 0.0) + TOLERANCE * abs(s.objective)
    if said is not None and abs(said - s.objective) > slack:
        yield f"solver.objective: {s.objective:g}, the plan has {said:g}"
    if s.best_bound is not None and s.best_bound > s.objective + slack:
        yield f"solver.best_bound: {s.best_bound:g} is above the value {s.objective:g}"
    if plan.status == "optimal" and (s.best_bound is None or s.best_bound < s.objective - slack):
        yield f"status: optimal, but only {s.best_bound} of {s.objective:g} is proven"
