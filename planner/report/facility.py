"""What the machine room has to give: space, power, cooling, network ports; energy and carbon of the whole fleet."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from planner.plan.types import Plan, PurchaseLine
from planner.report.economy import horizon_months
from planner.report.language import _, ngettext
from planner.report.numbers import dealt_out, exact_sum, figure, fixed, shown, unit_text, whole
from planner.report.sections import FacilityView, SpaceRow
from planner.report.workloads import UNKNOWN
from planner.units import (
    BITS_PER_BYTE,
    BTU_PER_HOUR_PER_KW,
    GB,
    HOURS_PER_MONTH,
    KG_PER_TONNE,
    KW_PER_COOLING_TON,
    WATTS_PER_KW,
)

RACK_UNITS_PER_RACK = 42
"""Of a rack in common use; power and network gear take some of them."""
RACK_POWERS_KW = (10, 20, 40)
"""What a rack may draw, from an ordinary room to one built for GPUs: a question, not a fact of the site."""


def facility_view(plan: Plan) -> FacilityView | None:
    """The section; None for an infeasible plan."""
    if plan.totals is None:
        return None
    own = [line for line in plan.purchases if line.procurement in ("buy", "owned")]
    return FacilityView(
        lead=_lead(plan, own),
        rows=tuple(_rows(own)) if own else (),
        total=_total(own),
        racks=tuple((_("{power} kW a rack").format(power=whole(kw)), racks_text(own, kw)) for kw in RACK_POWERS_KW)
        if own
        else (),
        figures=tuple(_figures(plan, own)),
        notes=tuple(_notes(own)),
    )


def _lead(plan: Plan, own: Sequence[PurchaseLine]) -> str:
    nodes = sum(line.nodes for line in own)
    rented = (plan.totals.nodes if plan.totals else nodes) - nodes
    if not own:
        return _("Nothing has to be housed: all machines stand at their providers.")
    housed = ngettext("{n} node stands in a room of your own", "{n} nodes stand in a room of your own", nodes)
    if not rented:
        return _("{housed}.").format(housed=housed.format(n=whole(nodes)))
    away = ngettext("{n} stands at its provider", "{n} stand at their providers", rented).format(n=whole(rented))
    return _("{housed}; {away}.").format(housed=housed.format(n=whole(nodes)), away=away)


def _space(own: Sequence[PurchaseLine]) -> float | None:
    """Rack units of all lines; None where one is not published."""
    known = [line.rack_units for line in own if line.rack_units is not None]
    return sum(known) if len(known) == len(own) else None


def _rows(own: Sequence[PurchaseLine]) -> Iterator[SpaceRow]:
    power = exact_sum([line.power_kw for line in own], sum(line.power_kw for line in own), most=5).parts
    for line, kw, heat in zip(own, power, _heat(own), strict=True):
        yield SpaceRow(
            item=f"{whole(line.nodes)} × {shown(line.node)}",
            rack_units=UNKNOWN if line.rack_units is None else figure(line.rack_units, 6),
            power_kw=kw,
            heat=unit_text(heat, 0),
            ports=ports_text(line),
        )


def _total(own: Sequence[PurchaseLine]) -> SpaceRow:
    space = _space(own)
    return SpaceRow(
        item=_("Total"),
        rack_units=UNKNOWN if space is None else figure(space, 6),
        power_kw=exact_sum([line.power_kw for line in own], sum(line.power_kw for line in own), most=5).total,
        heat=unit_text(sum(_heat(own)), 0),
        ports="",
    )


def _heat(own: Sequence[PurchaseLine]) -> tuple[int, ...]:
    """BTU an hour of each line: all power becomes heat. The shown figures add up to the rounded total."""
    total = round(sum(line.power_kw for line in own) * BTU_PER_HOUR_PER_KW)
    return dealt_out([round(line.power_kw * WATTS_PER_KW) for line in own], total)


def ports_text(line: PurchaseLine) -> str:
    """Ports to other nodes, one a GPU, and their speed."""
    rate = line.network_bytes_per_second_per_gpu
    if rate is None:
        return UNKNOWN
    return _("{n} × {rate} Gbit/s").format(n=whole(line.gpus), rate=figure(rate * BITS_PER_BYTE / GB))


def racks_needed(own: Sequence[PurchaseLine], rack_kw: float) -> int | None:
    """Racks of a power for all lines, equal nodes together; None where one node alone draws more, or its space is not
    published."""
    racks = 0
    for line in own:
        if not line.rack_units or not line.power_kw:
            return None
        by_space = math.floor(RACK_UNITS_PER_RACK * line.nodes / line.rack_units)
        by_power = math.floor(rack_kw * line.nodes / line.power_kw)
        if min(by_space, by_power) < 1:
            return None
        racks += math.ceil(line.nodes / min(by_space, by_power))
    return racks


def racks_text(own: Sequence[PurchaseLine], rack_kw: float) -> str:
    """How many racks, or why none will do."""
    racks = racks_needed(own, rack_kw)
    if racks is not None:
        return ngettext("{n} rack", "{n} racks", racks).format(n=whole(racks))
    most = max(line.power_kw / line.nodes for line in own)
    if most > rack_kw:
        return _("not possible: one node draws {power} kW").format(power=figure(most))
    return _("not known: the space of a node is not published")


def _figures(plan: Plan, own: Sequence[PurchaseLine]) -> Iterator[tuple[str, str]]:
    t = plan.totals
    assert t is not None
    months = horizon_months(plan.inputs.spec)
    own_kw = sum(line.power_kw for line in own)
    if own:
        yield (
            _("Cooling for the machines of your own"),
            _("{kw} kW of heat, {tons} tons of refrigeration").format(
                kw=figure(own_kw), tons=fixed(math.ceil(10 * own_kw / KW_PER_COOLING_TON) / 10, 1)
            ),
        )
    yield (
        _("Power of the whole fleet"),
        _("{power} kW with cooling, {bare} kW at the machines").format(
            power=figure(t.power_kw), bare=figure(t.it_power_kw)
        ),
    )
    yield _("Energy"), _("{energy} kWh a month at full draw").format(energy=figure(t.power_kw * HOURS_PER_MONTH))
    if t.kg_co2_per_month is None:
        yield _("Carbon"), _("not known for every place")
    else:
        yield _("Carbon"), _("{kg} kg of CO2 a month").format(kg=figure(t.kg_co2_per_month))
        if months:
            tonnes = figure(kg_co2_until(plan, months) / KG_PER_TONNE)
            yield (
                _("Carbon over the horizon"),
                ngettext("{tonnes} t of CO2 in {months} month", "{tonnes} t of CO2 in {months} months", months).format(
                    tonnes=tonnes, months=whole(months)
                ),
            )
    overheads = sorted({line.pue for line in plan.purchases if line.pue is not None})
    if overheads:
        span = [figure(overheads[0])] if len(overheads) == 1 else [figure(overheads[0]), figure(overheads[-1])]
        yield _("Power of the building over that of the machines (PUE)"), " – ".join(span)


def kg_co2_until(plan: Plan, months: int) -> float:
    """Carbon of the whole horizon; in a plan over periods each counts its own fleet."""
    if plan.periods:
        return sum((p.kg_co2_per_month or 0.0) * p.months for p in plan.periods)
    return (plan.totals.kg_co2_per_month or 0.0) * months if plan.totals else 0.0


def _notes(own: Sequence[PurchaseLine]) -> Iterator[str]:
    if not own:
        return
    yield _(
        "Racks of {units} units, equal nodes together, nothing else in them; leave room for switches and power strips. "
        "Heat and power are at full draw."
    ).format(units=whole(RACK_UNITS_PER_RACK))
    if any(line.network_bytes_per_second_per_gpu is not None for line in own):
        yield _("Network ports: one a GPU at the speed of the node's own adapters; management ports come on top.")
