"""What would change the answer: traffic, speed, prices, electricity; growth until the next order; cost and power."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from planner.plan.types import Plan
from planner.report.bars import at, letter
from planner.report.bill import hourly_unit
from planner.report.currency import currency, in_currency
from planner.report.demand import demand_charts
from planner.report.economy import horizon_months
from planner.report.growth import growth_view
from planner.report.language import _
from planner.report.numbers import figure, money, percent, shown, whole
from planner.report.outlook import outlook_lines
from planner.report.plot import nice_ticks, plot
from planner.report.sections import ParetoView, SensitivityView, SwingRow, Tornado
from planner.report.whatif import Recosted, Shares, capacity, energy_usd_per_hour, recosted
from planner.report.words import comma_separated, semicolon_separated
from planner.report.workloads import rate_spread
from planner.units import HOURS_PER_MONTH

TRAFFIC_SHARE = 0.2
"""How far traffic is taken to be off, up and down: a question, not a forecast."""
PRICE_SHARE = 0.2
"""The same for a price of which the catalogs hold one reading."""
ELECTRICITY_SHARE = 0.3
FRAME_SHARE = 0.06
"""Kept free at both ends of a track."""
MOST_TICKS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Swing:
    """One uncertainty: the cost per hour at both of its ends."""

    label: str
    ends: tuple[str, str]
    usd_per_hour: tuple[float | None, float | None]
    missed: tuple[str, ...] = ()
    is_solved_again: bool = False


def sensitivity_view(plan: Plan) -> SensitivityView | None:
    """The section; None where nothing of it is known."""
    pareto = pareto_view(plan)
    view = SensitivityView(
        tornado=tornado(plan),
        growth=growth_view(plan),
        demand=demand_charts(plan),
        pareto=pareto,
        sentences=tuple(outlook_lines(plan.model_copy(update={"pareto": ()}) if pareto else plan)),
    )
    return view if any((view.tornado, view.growth, view.demand, view.pareto, view.sentences)) else None


def tornado(plan: Plan) -> Tornado | None:
    """Every uncertainty with what the fleet would cost at its ends; None where prices are not known, or
    differ by period."""
    planned = plan.totals.usd_per_hour if plan.totals else None
    if not planned or plan.periods:
        return None
    swings = sorted(swings_of(plan, planned), key=lambda s: -_width(s, planned))
    if not swings:
        return None
    ends = [planned, *(e for s in swings for e in s.usd_per_hour if e is not None)]
    low, high = min(ends), max(ends)
    span = (high - low) or planned
    left, right = low - FRAME_SHARE * span, high + FRAME_SHARE * span
    return Tornado(
        rows=tuple(_swing_row(s, planned, left, right) for s in swings),
        planned_at=at((planned - left) / (right - left)),
        planned=hourly_unit(money(planned)),
        notes=tuple(_tornado_notes(swings)),
    )


def _width(swing: Swing, planned: float) -> float:
    ends = [e for e in swing.usd_per_hour if e is not None]
    return max([planned, *ends]) - min([planned, *ends])


def swings_of(plan: Plan, planned: float) -> Iterator[Swing]:
    """The uncertainties that the plan knows figures for."""
    if any(capacity(w) is not None for w in plan.workloads):
        less, more, is_solved = traffic_ends(plan)
        yield Swing(
            label=_("Traffic of all services"),
            ends=(f"−{percent(TRAFFIC_SHARE)}", f"+{percent(TRAFFIC_SHARE)}"),
            usd_per_hour=(less, more),
            is_solved_again=is_solved,
        )
    speeds = speed_ends(plan)
    if speeds is not None:
        slow, fast = speeds
        yield Swing(
            label=_("Speed, against the prediction"),
            ends=(_("upper end of its 90 % interval"), _("lower end of its 90 % interval")),
            usd_per_hour=(fast.usd_per_hour, slow.usd_per_hour),
            missed=slow.missed,
        )
    low, high, is_read = price_ends(plan, planned)
    if high > low:
        both = (_("lowest readings"), _("highest readings"))
        yield Swing(
            label=_("Prices of nodes"),
            ends=both if is_read else (f"−{percent(PRICE_SHARE)}", f"+{percent(PRICE_SHARE)}"),
            usd_per_hour=(low, high),
        )
    energy = energy_usd_per_hour(plan)
    if energy > 0:
        yield Swing(
            label=_("Price of electricity"),
            ends=(f"−{percent(ELECTRICITY_SHARE)}", f"+{percent(ELECTRICITY_SHARE)}"),
            usd_per_hour=(planned - ELECTRICITY_SHARE * energy, planned + ELECTRICITY_SHARE * energy),
        )


def traffic_ends(plan: Plan) -> tuple[float | None, float | None, bool]:
    """USD per hour at less and at more traffic, and whether the fleet was solved again for it."""
    solved = {e.get("share"): e.get("usd_per_hour") for e in plan.sensitivity if e.get("kind") == "traffic"}
    if {-TRAFFIC_SHARE, TRAFFIC_SHARE} <= solved.keys():
        return solved[-TRAFFIC_SHARE], solved[TRAFFIC_SHARE], True
    less = recosted(plan, Shares(demand_factor=1.0 - TRAFFIC_SHARE, speed_factors={}))
    more = recosted(plan, Shares(demand_factor=1.0 + TRAFFIC_SHARE, speed_factors={}))
    return less.usd_per_hour, more.usd_per_hour, False


def speed_ends(plan: Plan) -> tuple[Recosted, Recosted] | None:
    """The fleet with every speed at the lower, then the upper end of its interval; None where there is no interval."""
    spreads = {w.name: rate_spread(w, "tokens_per_second") for w in plan.workloads}
    known = {name: ends for name, ends in spreads.items() if ends is not None and ends[0] > 0}
    if not known:
        return None
    slow, fast = ({name: ends[i] for name, ends in known.items()} for i in (0, 1))
    return recosted(plan, Shares(speed_factors=slow)), recosted(plan, Shares(speed_factors=fast))


def price_ends(plan: Plan, planned: float) -> tuple[float, float, bool]:
    """Cost per hour at the lowest and highest prices read, and whether every line that is paid for has both.

    Where a line has one reading, `PRICE_SHARE` either way stands in.
    """
    down = up = 0.0
    is_read = True
    for line in plan.purchases:
        cost = line.usd_per_hour or 0.0
        if line.procurement == "owned" or not cost:
            continue
        paid = cost if line.procurement != "buy" else _per_hour(line.capex_usd or 0.0, plan)
        mid = _mid(line.usd_low, line.usd_high, line.capex_usd, line.nodes, cost)
        if mid is None or line.usd_low is None or line.usd_high is None:
            is_read = False
            down, up = down + paid * PRICE_SHARE, up + paid * PRICE_SHARE
        else:
            down, up = down + paid * (1 - line.usd_low / mid), up + paid * (line.usd_high / mid - 1)
    return planned - max(0.0, down), planned + max(0.0, up), is_read


def _per_hour(capex_usd: float, plan: Plan) -> float:
    """A purchase paid off over the horizon."""
    months = horizon_months(plan.inputs.spec)
    return capex_usd / (months * HOURS_PER_MONTH) if months else 0.0


def _mid(
    low: float | None, high: float | None, capex_usd: float | None, nodes: int, usd_per_hour: float
) -> float | None:
    """The price of one node that the plan counts with, in the unit of its readings; None without a spread."""
    if low is None or high is None or low == high:
        return None
    return (capex_usd or usd_per_hour) / nodes


def _swing_row(swing: Swing, planned: float, left: float, right: float) -> SwingRow:
    texts = [_("not possible") if e is None else money(e) for e in swing.usd_per_hour]
    ends = [planned if e is None else e for e in swing.usd_per_hour]
    low, high = min(planned, *ends), max(planned, *ends)
    span = right - left
    told = _("{label}: {low} ({low_end}) to {high} ({high_end})").format(
        label=swing.label,
        low=hourly_unit(texts[0]),
        high=hourly_unit(texts[1]),
        low_end=swing.ends[0],
        high_end=swing.ends[1],
    )
    return SwingRow(
        label=swing.label,
        low_end=swing.ends[0],
        high_end=swing.ends[1],
        low=texts[0],
        high=texts[1],
        left=at((low - left) / span),
        below=at((planned - low) / span),
        above=at((high - planned) / span),
        told=told,
    )


def _tornado_notes(swings: Sequence[Swing]) -> Iterator[str]:
    yield _(
        "Costed again with the GPU types and configurations of this plan, so that a cheaper fleet may exist at the "
        "other figures. Latency is not judged again."
    )
    if any(s.is_solved_again for s in swings):
        yield _("For other traffic the whole fleet was solved again.")
    missed = sorted({name for s in swings for name in s.missed})
    if missed:
        yield _("At the lower end of the speed these trainings would miss their target: {names}.").format(
            names=comma_separated(shown(n) for n in missed)
        )


def pareto_view(plan: Plan) -> ParetoView | None:
    """The front of cost and power as a chart; None where it was not asked for, or is one point."""
    if len(plan.pareto) < 2:
        return None
    points = [(in_currency(p["usd_per_hour"]), p["it_power_kw"]) for p in plan.pareto]
    across, up = ([p[axis] for p in points] for axis in (0, 1))
    ticks_x, ticks_y = nice_ticks(min(across), max(across), MOST_TICKS), nice_ticks(min(up), max(up), MOST_TICKS)
    letters = [letter(i) for i in range(len(points))]
    told = semicolon_separated(_point(p) for p in plan.pareto)
    return ParetoView(
        plot=plot(
            [],
            label=_("Cost against power: {points}").format(points=told),
            across=[(t, figure(t)) for t in ticks_x],
            up=[(t, figure(t)) for t in ticks_y],
            dots=list(zip(points, letters, strict=True)),
        ),
        across=_("Cost, {unit}").format(unit=_("{currency}/h").format(currency=currency())),
        up=_("Power of the machines, kW"),
        rows=tuple(
            (
                a,
                money(p["usd_per_hour"]),
                figure(p["it_power_kw"]),
                whole(p["gpus"]),
                whole(p["nodes"]),
            )
            for a, p in zip(letters, plan.pareto, strict=True)
        ),
    )


def _point(point: Mapping[str, float]) -> str:
    cost = hourly_unit(money(point["usd_per_hour"]))
    return _("{cost} at {power} kW").format(cost=cost, power=figure(point["it_power_kw"]))
