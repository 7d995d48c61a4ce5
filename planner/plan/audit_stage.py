"""Judges what runs at one time: the fleet of a plan, or that of one of its periods."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from planner.plan.types import CutGpu, Held, NodeLoad, Placement, Plan, PurchaseLine
from planner.units import MILLI, SECONDS_PER_HOUR

TOLERANCE = 1e-6
"""Relative slack for sums of decimals, and for limits that the optimiser keeps in whole micro-units."""
UTILISATION_CAP = "utilisation-cap"
NO_LIMITS = ("tokens", "steps", "latency_percentile", "burst")
"""Keys of `targets` that ask for nothing by themselves."""


def near(a: float, b: float) -> bool:
    """Equal but for the last digits of floating point."""
    return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-9)


def within(value: float, limit: float) -> bool:
    """At most the limit, but for the last digits of floating point."""
    return value <= limit * (1.0 + TOLERANCE) + 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What is there, what runs on it and what is asked, at one time."""

    where: str
    """Stands before messages: empty, or `periods[0].`."""
    line_by_index: Mapping[int, PurchaseLine]
    """What is there, by index of the bill."""
    loads: Sequence[NodeLoad]
    placements: Mapping[str, Sequence[Placement]]
    """By workload."""
    demand: Mapping[str, float]
    """On the targets of the spec; 1 where none is named."""


def stages(plan: Plan) -> tuple[Stage, ...]:
    """One for each period; without periods one for the whole plan."""
    found = [
        Stage(
            where="",
            line_by_index=dict(enumerate(plan.purchases)),
            loads=plan.nodes,
            placements={w.name: w.placements for w in plan.workloads},
            demand={},
        )
    ]
    if plan.periods:
        found = [
            Stage(
                where=f"periods[{p.index}].",
                line_by_index={
                    n: row for n, row in enumerate(plan.purchases) if row.period <= p.index <= row.last_period
                },
                loads=p.loads,
                placements={w.name: w.placements for w in p.workloads if w.factor},
                demand=p.demand,
            )
            for p in plan.periods
        ]
    hours = {w["name"]: w.get("hours") or () for w in plan.inputs.spec.get("workloads", ())}
    return tuple(part for stage in found for part in by_time(plan, stage, hours))


def by_time(plan: Plan, stage: Stage, hours: Mapping[str, Sequence[str]]) -> Iterator[Stage]:
    """A stage at every time of day: what runs then, counted from the spec's own hours."""
    if not any(hours.values()):
        yield stage
        return
    for n, time in enumerate(plan.times_of_day):
        at = minutes(time.hours[:1])[0][0]
        running = {name for name, found in hours.items() if not found or any(a <= at < b for a, b in minutes(found))}
        yield replace(
            stage,
            where=f"{stage.where}times_of_day[{n}].",
            loads=[load for load in stage.loads if load.time_index == n],
            placements={name: found for name, found in stage.placements.items() if name in running},
        )


def minutes(hours: Sequence[str]) -> list[tuple[int, int]]:
    """Ranges `HH:MM-HH:MM` as minutes from midnight; one past midnight in two."""
    found = []
    for text in hours:
        start, end = (60 * int(t[:2]) + int(t[3:]) for t in text.split("-"))
        found += [(start, end)] if start < end else [(start, 24 * 60), (0, end)]
    return found


def share_of_day(hours: Sequence[str]) -> float:
    """Share of the day in ranges; 1 where there are none."""
    return sum(end - start for start, end in minutes(hours)) / (24 * 60) if hours else 1.0


def stage_problems(plan: Plan, stage: Stage) -> Iterator[str]:
    """Everything that is wrong at one time."""
    for check in (placements_hang_together, memory_of_placements_fits, nodes_hold_what_is_placed):
        for message in check(plan, stage):
            yield f"{stage.where}{message}"
    found = (*spares_stand_idle(plan, stage), *placements_deliver(plan, stage), *replicas_stand_apart(plan, stage))
    for message in found:
        yield f"{stage.where}{message}"


def placements_hang_together(plan: Plan, stage: Stage) -> Iterator[str]:
    """GPUs follow from the splits, shares add up, and every placement is on nodes of the bill."""
    offers = {row.offer: row.gpu for row in stage.line_by_index.values()}
    for name, placements in stage.placements.items():
        if not near(sum(p.share_of_demand for p in placements), 1.0):
            yield f"workloads.{name}.placements: the shares of the demand do not add up to 1"
        for p in placements:
            split = math.prod(degree(p.config, k) for k in ("tensor", "pipeline", "data", "context"))
            if p.gpus_per_replica != split:
                yield f"workloads.{name}.placements: {p.gpus_per_replica} GPUs a replica, the splits say {split}"
            if p.offer not in offers:
                yield f"workloads.{name}.placements: {p.offer} is not in purchases"
            elif offers[p.offer] != p.gpu:
                yield f"workloads.{name}.placements: {p.offer} has {offers[p.offer]}, planned for {p.gpu}"


def degree(config: Mapping[str, Any], name: str) -> int:
    """One parallel degree of a configuration."""
    value = config.get(f"{name}_parallel", 1)
    return int(value) if isinstance(value, int | float) else 1


def memory_of_placements_fits(plan: Plan, stage: Stage) -> Iterator[str]:
    """Every configuration leaves the headroom of its device free."""
    headroom = float(plan.inputs.spec.get("fleet", {}).get("memory_headroom", 0.0))
    for name, placements in stage.placements.items():
        for p in placements:
            peak, usable = p.figures.get("device_peak_bytes"), p.figures.get("usable_bytes")
            if peak is None or usable is None:
                yield f"workloads.{name}.placements: {p.offer} says nothing of memory"
            elif peak > usable * (1.0 - headroom) + 1:
                yield f"workloads.{name}.placements: {peak:.0f} bytes do not fit {p.gpu} of {p.offer}"


def nodes_hold_what_is_placed(plan: Plan, stage: Stage) -> Iterator[str]:
    """Every piece of every replica has a place, no node holds more than it has, no node is counted twice."""
    pieces: Counter[tuple[str, int]] = Counter()
    counted: Counter[int] = Counter()
    for load in stage.loads:
        line = stage.line_by_index.get(load.purchase)
        if line is None:
            yield f"nodes: purchase {load.purchase} does not exist"
            continue
        counted[load.purchase] += load.nodes
        if load.gpus * line.nodes != line.gpus:
            yield f"nodes of {line.offer}: {load.gpus} GPUs each, the line has {line.gpus} in {line.nodes} nodes"
        if load.gpus_used > load.gpus or load.ram_bytes_used > load.ram_bytes:
            memory = f"{load.ram_bytes_used} of {load.ram_bytes} bytes"
            yield f"nodes of {line.offer}: {load.gpus_used} of {load.gpus} GPUs and {memory} used"
        yield from node_counts(load, stage.placements, line)
        for held, number in every_held(load):
            pieces[held.workload, held.placement] += number * load.nodes
    for index, line in stage.line_by_index.items():
        if counted[index] != line.nodes:
            yield f"nodes of {line.offer}: {counted[index]} described, {line.nodes} on the bill"
    wanted = {
        (w, n): p.replicas * p.nodes_per_replica for w, found in stage.placements.items() for n, p in enumerate(found)
    }
    for name, n in sorted(set(wanted) | set(pieces)):
        if wanted.get((name, n), 0) != pieces[name, n]:
            yield f"nodes: hold {pieces[name, n]} parts of {name}, {wanted.get((name, n), 0)} are placed there"


def node_counts(load: NodeLoad, placements: Mapping[str, Sequence[Placement]], line: PurchaseLine) -> Iterator[str]:
    """What is used of one node is what the replicas on it take."""
    gpus = ram = 0
    counts: Counter[str] = Counter()
    for held, number in every_held(load):
        found = placements.get(held.workload, ())
        if not 0 <= held.placement < len(found):
            yield f"nodes of {line.offer}: hold {held.workload}, which is not planned"
            return
        place = found[held.placement]
        if place.offer != line.offer or place.procurement not in (None, line.procurement):
            yield f"nodes of {line.offer}: hold {held.workload}, which is placed elsewhere"
            return
        counts[held.workload] += number
        if place.slices is None:
            gpus += number * (place.gpus_per_replica // place.nodes_per_replica)
        ram += number * math.floor(place.figures.get("host_bytes", 0.0) / place.nodes_per_replica)
    for cut in load.cut:
        gpus += cut.gpus
        yield from parts_fit(cut, placements, line)
    if any(placements[h.workload][h.placement].slices for h in load.held):
        yield f"nodes of {line.offer}: whole GPUs hold replicas that are placed on parts of GPUs"
    if counts != Counter(load.replicas):
        yield f"nodes of {line.offer}: {dict(load.replicas)} replicas, by placement {dict(counts)}"
    if gpus != load.gpus_used:
        yield f"nodes of {line.offer}: {load.gpus_used} GPUs said to be used, the replicas take {gpus}"
    if ram > load.ram_bytes_used + sum(counts.values()):
        said = f"{load.ram_bytes_used} bytes of host memory said to be used"
        yield f"nodes of {line.offer}: {said}, the replicas take {ram}"


def every_held(load: NodeLoad) -> Iterator[tuple[Held, int]]:
    """What one node holds, with the number of replicas: on whole GPUs, and on the parts of those that are cut."""
    yield from ((held, held.replicas) for held in load.held)
    yield from ((held, held.replicas * cut.gpus) for cut in load.cut for held in cut.held)


def parts_fit(cut: CutGpu, placements: Mapping[str, Sequence[Placement]], line: PurchaseLine) -> Iterator[str]:
    """The slices of a cut GPU suffice for the parts on it, which only machines of our own may have."""
    places = [(placements[h.workload][h.placement], h.replicas) for h in cut.held]
    if line.procurement not in ("buy", "owned"):
        yield f"nodes of {line.offer}: GPUs of a rented machine are cut"
    for n, name in enumerate(("compute", "memory")):
        taken = sum(number * p.slices[n] for p, number in places if p.slices is not None)
        room = min((p.slices_of_gpu[n] for p, _ in places if p.slices_of_gpu is not None), default=0)
        if taken > room or any(p.slices is None for p, _ in places):
            yield f"nodes of {line.offer}: a cut GPU has {room} {name} slices, the parts on it take {taken}"


def spares_stand_idle(plan: Plan, stage: Stage) -> Iterator[str]:
    """Nodes of each kind in use that stand by."""
    spares = int(plan.inputs.spec.get("fleet", {}).get("spare_nodes", 0))
    kinds: dict[tuple[str, str], list[NodeLoad]] = {}
    for load in stage.loads:
        line = stage.line_by_index.get(load.purchase)
        if line is not None:
            kinds.setdefault((line.offer, line.procurement), []).append(load)
    for (offer, _), loads in kinds.items():
        idle = sum(load.nodes for load in loads if not load.replicas)
        if idle < spares and any(load.replicas for load in loads):
            yield f"nodes of {offer}: {idle} stand by, {spares} asked"


def placements_deliver(plan: Plan, stage: Stage) -> Iterator[str]:
    """Every target of the spec times the factor, against what one replica does times the replicas."""
    cap = next((float(a.value) for a in plan.inputs.assumptions if a.id == UTILISATION_CAP), 1.0)
    for spec in plan.inputs.spec.get("workloads", ()):
        name, targets = spec["name"], spec.get("targets", {})
        placements = stage.placements.get(name, ())
        factor = stage.demand.get(name, 1.0)
        if not placements and spec.get("hours"):
            continue
        if factor and not placements:
            yield f"workloads.{name}: nothing runs it"
        for key, wanted in targets.items() if placements else ():
            if wanted is None or key in NO_LIMITS:
                continue
            got = delivered(placements, key, spec, factor, cap)
            if got is None:
                continue
            if key in ("ttft_ms", "tpot_ms", "deadline_hours"):
                good = within(got, wanted)
            else:
                good = within(wanted * factor, got)
                wanted *= factor
            if not good:
                yield f"workloads.{name}.targets.{key}: the placements give {got:g}, {wanted:g} asked"


def replicas_stand_apart(plan: Plan, stage: Stage) -> Iterator[str]:
    """Workloads stand on as many nodes as asked, and on none with those they are kept apart from."""
    for w in plan.inputs.spec.get("workloads", ()):
        name, least = w["name"], w.get("least_nodes", 1)
        mine = [load for load in stage.loads if load.replicas.get(name)]
        nodes = sum(load.nodes for load in mine)
        if mine and nodes < least:
            yield f"workloads.{name}.least_nodes: stands on {nodes}, asked are {least}"
        for other in w.get("apart_from", ()):
            if any(load.replicas.get(other) for load in mine):
                yield f"workloads.{name}.apart_from: shares a node with {other}"


def delivered(
    placements: Sequence[Placement], key: str, spec: Mapping[str, Any], factor: float, cap: float
) -> float | None:
    """What placements give together for one target; None where it does not apply."""

    def total(figure: str) -> float:
        return sum(p.replicas * p.figures.get(figure, 0.0) for p in placements)

    if key in ("ttft_ms", "tpot_ms"):
        names = (f"arrivals_{key[:4]}_s", f"{key[:4]}_s")
        seconds = [next(p.figures[n] for n in names if n in p.figures) for p in placements if names[1] in p.figures]
        return max(seconds) / MILLI if seconds else None
    if key == "concurrency":
        return sum(p.replicas * batch(p) for p in placements)
    if key == "requests_per_second":
        return sum(p.replicas * carried(p, cap) for p in placements)
    if key != "deadline_hours":
        return total(key)
    targets, rate = spec.get("targets", {}), total("tokens_per_second")
    work = targets.get("tokens")
    if work is None and targets.get("steps") is not None:
        work, factor = math.ceil(targets["steps"] * factor) * batch(placements[0]) * spec["sequence"], 1.0
    if work is None or not rate:
        return None
    return float(work) * factor / rate / SECONDS_PER_HOUR / share_of_day(spec.get("hours") or ())


def carried(p: Placement, cap: float) -> float:
    """Requests a second of one replica: those it keeps its latency targets at, or its share of the closed loop's."""
    most = p.figures.get("requests_per_second", 0.0)
    return min(most, p.figures.get("sustained_requests_per_second", most * cap))


def batch(p: Placement) -> float:
    """Sequences in flight of one replica, or of one step."""
    value = p.config.get("batch", 1)
    return float(value) if isinstance(value, int | float) else 1.0
