"""Judges a plan from its document alone: memory, demand, packing, limits and sums, counted again.

It shares no code with the candidates or the optimiser, so that it does not share their mistakes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from planner.plan.io import body_sha256
from planner.plan.types import NodeLoad, Plan, Totals, WorkloadPlan
from planner.units import HOURS_PER_MONTH, MICRO, MILLI, SECONDS_PER_HOUR

TOLERANCE = 1e-6
"""Relative slack for sums of decimals, and for limits that the optimiser keeps in whole micro-units."""
UTILISATION_CAP = "utilisation-cap"
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
            replicas_use_their_gpus,
            pins_are_kept,
            targets_are_met,
            nodes_hold_what_is_placed,
            spares_stand_idle,
            sums_agree,
            limits_are_kept,
            proof_agrees,
        )
    return tuple(message for check in checks for message in check(plan))


def near(a: float, b: float) -> bool:
    """Equal but for the last digits of floating point."""
    return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-9)


def within(value: float, limit: float) -> bool:
    """At most the limit, but for the last digits of floating point."""
    return value <= limit * (1.0 + TOLERANCE) + 1e-9


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


def replicas_use_their_gpus(plan: Plan) -> Iterator[str]:
    """GPUs follow from replicas and splits, and every placement is on nodes of the bill."""
    lines = {(line.offer, line.procurement): line for line in plan.purchases}
    offers = {line.offer: line for line in lines.values()}
    for w in plan.workloads:
        per_replica = math.prod(degree(w, k) for k in ("tensor", "pipeline", "data", "context"))
        if w.gpus != w.replicas * per_replica:
            yield f"workloads.{w.name}: {w.gpus} GPUs, but {w.replicas} replicas of {per_replica}"
        placed = sum(p.replicas for p in w.placements)
        if placed != w.replicas:
            yield f"workloads.{w.name}.placements: {placed} replicas placed, {w.replicas} planned"
        if not near(sum(p.share_of_demand for p in w.placements), 1.0):
            yield f"workloads.{w.name}.placements: the shares of the demand do not add up to 1"
        for p in w.placements:
            if p.gpus_per_replica != per_replica:
                said = p.gpus_per_replica
                yield f"workloads.{w.name}.placements: {said} GPUs a replica, the splits say {per_replica}"
            if p.offer not in offers:
                yield f"workloads.{w.name}.placements: {p.offer} is not in purchases"
            elif offers[p.offer].gpu != p.gpu or p.gpu != w.gpu:
                yield f"workloads.{w.name}.placements: {p.offer} has {offers[p.offer].gpu}, planned for {w.gpu}"


def degree(w: WorkloadPlan, name: str) -> int:
    """One parallel degree of the configuration."""
    value = w.config.get(f"{name}_parallel", 1)
    return int(value) if isinstance(value, int | float) else 1


def pins_are_kept(plan: Plan) -> Iterator[str]:
    """What the user decided is what is planned."""
    spec = asked(plan)
    for w in plan.workloads:
        pins = spec.get(w.name, {}).get("pin", {})
        got = {**w.config, "gpu": w.gpu, "replicas": w.replicas}
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
                yield f"workloads.{w.name}.config.{key}: {have}, pinned is {wanted}"


def targets_are_met(plan: Plan) -> Iterator[str]:
    """Every target of the spec, against figures of the estimate."""
    spec = asked(plan)
    cap = next((float(a.value) for a in plan.inputs.assumptions if a.id == UTILISATION_CAP), 1.0)
    for w in plan.workloads:
        targets = spec.get(w.name, {}).get("targets", {})
        listed = {d.target: d for d in w.demand_met}
        for key, wanted in targets.items():
            if wanted is None or key in ("tokens", "steps"):
                continue
            got, at_least = delivered(w, key, targets, spec[w.name], cap)
            if got is None:
                continue
            good = within(wanted, got) if at_least else within(got, wanted)
            if not good:
                yield f"workloads.{w.name}.targets.{key}: {got:g} is planned, {wanted:g} asked"
            entry = listed.get(key)
            if entry is None:
                yield f"workloads.{w.name}.demand_met: {key} is missing"
            elif not near(entry.asked, wanted) or not near(entry.got, got) or entry.met != good:
                said = f"{entry.got:g} of {entry.asked:g}"
                yield f"workloads.{w.name}.demand_met.{key}: says {said}, counted {got:g} of {wanted:g}"


def delivered(
    w: WorkloadPlan, key: str, targets: Mapping[str, Any], spec: Mapping[str, Any], cap: float
) -> tuple[float | None, bool]:
    """What the estimate gives for a target, and whether more is better; None where it does not apply."""
    p = w.performance
    if key in ("ttft_ms", "tpot_ms"):
        seconds = p.ttft_s if key == "ttft_ms" else p.tpot_s
        return (None if seconds is None else seconds / MILLI), False
    if key == "requests_per_second":
        return (p.requests_per_second or 0.0) * cap, True
    if key == "concurrency":
        batch = w.config.get("batch", 1)
        return (float(batch) if isinstance(batch, int | float) else 1.0) * w.replicas, True
    if key == "deadline_hours":
        tokens = targets.get("tokens")
        if tokens is None and targets.get("steps") is not None:
            batch = w.config.get("batch", 0)
            tokens = targets["steps"] * (float(batch) if isinstance(batch, int | float) else 0.0) * spec["sequence"]
        if tokens is None or not p.tokens_per_second:
            return None, False
        return tokens / p.tokens_per_second / SECONDS_PER_HOUR, False
    rate = p.output_tokens_per_second if key == "output_tokens_per_second" else p.tokens_per_second
    return rate or 0.0, True


def nodes_hold_what_is_placed(plan: Plan) -> Iterator[str]:
    """Every piece of every replica has a place, no node holds more than it has, no node is counted twice."""
    workloads = {w.name: w for w in plan.workloads}
    pieces: Counter[tuple[str, str]] = Counter()
    counted: Counter[int] = Counter()
    for load in plan.nodes:
        if not 0 <= load.purchase < len(plan.purchases):
            yield f"nodes: purchase {load.purchase} does not exist"
            continue
        line = plan.purchases[load.purchase]
        counted[load.purchase] += load.nodes
        if load.gpus * line.nodes != line.gpus:
            yield f"nodes of {line.offer}: {load.gpus} GPUs each, the line has {line.gpus} in {line.nodes} nodes"
        if load.gpus_used > load.gpus or load.ram_bytes_used > load.ram_bytes:
            memory = f"{load.ram_bytes_used} of {load.ram_bytes} bytes"
            yield f"nodes of {line.offer}: {load.gpus_used} of {load.gpus} GPUs and {memory} used"
        yield from node_counts(load, workloads, line.offer)
        for name, number in load.replicas.items():
            pieces[name, line.offer] += number * load.nodes
    for index, line in enumerate(plan.purchases):
        if counted[index] != line.nodes:
            yield f"nodes of {line.offer}: {counted[index]} described, {line.nodes} on the bill"
    wanted: Counter[tuple[str, str]] = Counter()
    for w in plan.workloads:
        for p in w.placements:
            wanted[w.name, p.offer] += p.replicas * p.nodes_per_replica
    for key in sorted(set(wanted) | set(pieces)):
        if wanted[key] != pieces[key]:
            yield f"nodes of {key[1]}: hold {pieces[key]} parts of {key[0]}, {wanted[key]} are placed there"


def node_counts(load: NodeLoad, workloads: Mapping[str, WorkloadPlan], offer: str) -> Iterator[str]:
    """GPUs used on one node are those of the replicas on it, and so is the memory."""
    gpus = 0
    ram = 0
    for name, number in load.replicas.items():
        if name not in workloads:
            yield f"nodes of {offer}: hold {name}, which is not planned"
            return
        place = next((p for p in workloads[name].placements if p.offer == offer), None)
        if place is None:
            yield f"nodes of {offer}: hold {name}, which is placed elsewhere"
            return
        gpus += number * (place.gpus_per_replica // place.nodes_per_replica)
        ram += number * math.floor(workloads[name].memory.host_bytes / place.nodes_per_replica)
    if gpus != load.gpus_used:
        yield f"nodes of {offer}: {load.gpus_used} GPUs said to be used, the replicas take {gpus}"
    if ram > load.ram_bytes_used + len(load.replicas):
        yield f"nodes of {offer}: {load.ram_bytes_used} bytes of host memory said to be used, the replicas take {ram}"


def spares_stand_idle(plan: Plan) -> Iterator[str]:
    """Nodes of each kind in use that stand by."""
    spares = int(fleet(plan).get("spare_nodes", 0))
    for index, line in enumerate(plan.purchases):
        loads = [load for load in plan.nodes if load.purchase == index]
        idle = sum(load.nodes for load in loads if not load.replicas)
        if idle < spares and any(load.replicas for load in loads):
            yield f"nodes of {line.offer}: {idle} stand by, {spares} asked"


def sums_agree(plan: Plan) -> Iterator[str]:
    """Totals are the sums of their lines."""
    t = plan.totals
    if t is None:
        yield "totals: missing"
        return
    lines = plan.purchases
    months = float(plan.inputs.spec.get("horizon", {}).get("months", 0))
    hourly = sum(line.usd_per_hour or 0.0 for line in lines)
    expected: dict[str, float] = {
        "usd_per_hour": hourly,
        "usd_per_month": hourly * HOURS_PER_MONTH,
        "usd_horizon": hourly * HOURS_PER_MONTH * months,
        "capex_usd": sum(line.capex_usd or 0.0 for line in lines),
        "gpus": sum(line.gpus for line in lines),
        "nodes": sum(line.nodes for line in lines),
        "it_power_kw": sum(line.power_kw for line in lines),
    }
    if t.rack_units is not None:
        expected["rack_units"] = sum(line.rack_units or 0.0 for line in lines)
    for key, value in expected.items():
        said = getattr(t, key)
        if said is None or not near(said, value):
            yield f"totals.{key}: {said}, the lines add up to {value:g}"
    if t.power_kw < t.it_power_kw * (1.0 - TOLERANCE):
        yield f"totals.power_kw: {t.power_kw:g} is less than the machines' own {t.it_power_kw:g}"


def limits_are_kept(plan: Plan) -> Iterator[str]:
    """Nothing the spec bounds is exceeded; nothing comes from where it must not."""
    if plan.totals is None:
        return
    limits = fleet(plan).get("limits", {})
    for key, value in reached(plan.totals).items():
        limit = limits.get(key)
        if limit is not None and value is not None and not within(value, limit):
            yield f"fleet.limits.{key}: {value:g} is over {limit:g}"
    allowed = fleet(plan).get("procurement")
    owned: Counter[str] = Counter()
    for entry in fleet(plan).get("owned", ()):
        owned[entry["node"].casefold()] += entry["count"]
    for line in plan.purchases:
        if line.procurement == "owned":
            if line.nodes > owned[line.node.casefold()]:
                yield f"purchases.{line.offer}: {line.nodes} nodes, {owned[line.node.casefold()]} are owned"
        elif allowed is not None and line.procurement not in allowed:
            yield f"purchases.{line.offer}: {line.procurement} is not among the spec's procurement"


def reached(t: Totals) -> dict[str, float | None]:
    """The totals that limits bound, by key of `fleet.limits`; power is that of the machines."""
    return {
        "usd_per_hour": t.usd_per_hour,
        "capex_usd": t.capex_usd,
        "power_kw": t.it_power_kw,
        "rack_units": t.rack_units,
        "gpus": t.gpus,
        "nodes": t.nodes,
    }


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
