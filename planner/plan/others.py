"""The best few other ways to run a workload, with what each would cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.candidates.types import Candidate, Source
from planner.estimate.assemble import Seat
from planner.plan.pick import Pick, chosen_usd_per_hour, config_of, format_of, share_usd_per_hour
from planner.plan.types import Alternative
from planner.units import MEGA, usd

if TYPE_CHECKING:
    from planner.solve.alternatives import Forced


MOST_ALTERNATIVES = 5


NO_MONEY = usd(0.0)


SAME_PRICE = (
    "its share of the list price is the same; the choice fell by what the whole fleet costs, then by power, nodes, "
    "number format and the room left in the targets"
)
"""Said of a way that costs as much as the chosen one. The order is that of the tie breaks of the problem."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherWay:
    """A way that was not chosen, on the source that makes it cheapest."""

    usd_per_hour: float
    """Its share of the list price."""
    candidate: Candidate
    source: Source


def alternatives(pick: Pick, seat: Seat, again: Mapping[tuple[str, str, str], Forced]) -> tuple[Alternative, ...]:
    """The best few other ways, each with what the fleet costs with it where that was solved."""
    chosen = chosen_usd_per_hour(pick)
    found = []
    for way in other_ways(pick):
        forced = again.get((pick.workload.name, way.candidate.gpu, format_of(way.candidate)))
        row = alternative(way.usd_per_hour, way.candidate, way.source, seat, more=way.usd_per_hour - chosen)
        found.append(row if forced is None else with_fleet_cost(row, forced))
    return tuple(found)


def with_fleet_cost(row: Alternative, forced: Forced) -> Alternative:
    """The alternative with what it costs the whole fleet."""
    if not forced.in_time:
        return row
    if forced.more is None:
        return row.model_copy(update={"why_not": "with it no fleet keeps all limits and runs all workloads"})
    more = max(0.0, forced.more / MEGA)
    at_most = "" if forced.is_proven else "at most "
    text = (
        f"the cheapest fleet with it costs {at_most}{usd(more)} per hour more"
        if usd(more) != NO_MONEY
        else "a fleet with it costs the same; the choice fell by power, nodes, number format and room in the targets"
    )
    return row.model_copy(
        update={"fleet_usd_per_hour_more": more, "fleet_is_proven": forced.is_proven, "why_not": text}
    )


def other_ways(pick: Pick) -> list[OtherWay]:
    """The cheapest way of each other GPU and number format, by its share of the list price; the best few."""
    best: dict[tuple[str, str], tuple[float, str, Candidate, Source]] = {}
    sources: dict[int, list[Source]] = {}
    for candidate in pick.found.candidates:
        if candidate.kind not in sources:
            sources[candidate.kind] = [s for s in pick.found.sources if candidate.runs_on(s)]
        for source in sources[candidate.kind]:
            key = (candidate.gpu, format_of(candidate))
            usd_per_hour = share_usd_per_hour(candidate, source) * pick.workload.day_share
            entry = (usd_per_hour, f"{candidate.id}@{source.id}", candidate, source)
            if key not in best or entry[:2] < best[key][:2]:
                best[key] = entry
    best.pop((pick.candidate.gpu, format_of(pick.candidate)), None)
    ranked = sorted(best.values(), key=lambda e: e[:2])[:MOST_ALTERNATIVES]
    return [OtherWay(usd_per_hour=cost, candidate=c, source=s) for cost, _, c, s in ranked]


def alternative(cost: float, candidate: Candidate, source: Source, seat: Seat, *, more: float) -> Alternative:
    """One other way with its list price."""
    if more >= 0 and usd(more) == NO_MONEY:
        text = SAME_PRICE
    elif more >= 0:
        text = f"its share of the list price is {usd(more)} per hour higher; the fleet was not solved again with it"
    else:
        text = (
            "its share of a node costs less, but whole nodes, limits and the other workloads on them make "
            "the fleet no cheaper; the fleet was not solved again with it"
        )
    return Alternative(
        gpu=candidate.gpu,
        host=source.host.id,
        gpus=candidate.gpus,
        config=config_of(candidate, seat),
        usd_per_hour=cost,
        usd_per_hour_more=more,
        power_kw=source.power_kw * candidate.whole_gpus / source.host.num_gpus,
        why_not=text,
        replicas=candidate.replicas,
        share_of_demand_per_replica=candidate.rate,
    )
