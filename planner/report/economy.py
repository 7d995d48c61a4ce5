"""What a fleet costs month by month, and what it would cost paid for in other ways: plain sums over the plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from planner.plan.types import Plan, PurchaseLine, WayToPay
from planner.units import HOURS_PER_MONTH, MONTHS_PER_YEAR

WAYS = ("on_demand", "reserved_1y", "reserved_3y", "spot", "buy")
"""Ways to pay, in the order in which they are told."""
DUST = 1e-9
"""Share of a sum that floating point leaves over where nothing is left."""
MONTHS_PER_QUARTER = 3
SAME_USD = 0.5
"""Totals closer than this are the same way to pay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A way to pay for the whole fleet: something once, something every month."""

    once_usd: float
    rent_usd_per_month: float
    energy_usd_per_month: float
    other_usd_per_month: float
    """Rent of the place of machines of our own."""

    @property
    def usd_per_month(self) -> float:
        """All that is paid every month."""
        return self.rent_usd_per_month + self.energy_usd_per_month + self.other_usd_per_month

    def usd_until(self, months: float) -> float:
        """All that is paid until the end of a month.

        >>> Stream(once_usd=10, rent_usd_per_month=2, energy_usd_per_month=1, other_usd_per_month=0).usd_until(3)
        19
        """
        return self.once_usd + self.usd_per_month * months

    def __add__(self, other: Stream) -> Stream:
        return Stream(
            once_usd=self.once_usd + other.once_usd,
            rent_usd_per_month=self.rent_usd_per_month + other.rent_usd_per_month,
            energy_usd_per_month=self.energy_usd_per_month + other.energy_usd_per_month,
            other_usd_per_month=self.other_usd_per_month + other.other_usd_per_month,
        )


NOTHING = Stream(once_usd=0.0, rent_usd_per_month=0.0, energy_usd_per_month=0.0, other_usd_per_month=0.0)


def horizon_months(spec: Mapping[str, object]) -> int | None:
    """Months over which costs are counted; None where the spec does not say."""
    horizon = spec.get("horizon")
    months = horizon.get("months") if isinstance(horizon, Mapping) else None
    return months if isinstance(months, int) and months > 0 else None


def stream_of_line(line: PurchaseLine, months: int) -> Stream:
    """What one line of the bill is paid. Raises ValueError for a line without a price."""
    if line.usd_per_hour is None:
        raise ValueError(f"{line.offer}: no price")
    return _stream(line.procurement, line.usd_per_hour, line.capex_usd or 0.0, line.energy_usd_per_hour, months)


def stream_of_way(way: WayToPay, months: int) -> Stream:
    """What the nodes of a line would be paid in another way."""
    return _stream(way.procurement, way.usd_per_hour, way.capex_usd, way.energy_usd_per_hour, months)


def _stream(procurement: str, usd_per_hour: float, capex_usd: float, energy_usd_per_hour: float, months: int) -> Stream:
    """Cost per hour holds the purchase paid off over the horizon; what is left is paid every month.

    >>> _stream("buy", 2.0, 7300.0, 0.5, 10)
    Stream(once_usd=7300.0, rent_usd_per_month=0.0, energy_usd_per_month=365.0, other_usd_per_month=365.0)
    """
    running = usd_per_hour * HOURS_PER_MONTH - capex_usd / months
    energy = energy_usd_per_hour * HOURS_PER_MONTH
    left = running - energy if running - energy > DUST * running else 0.0
    owned = procurement in ("buy", "owned")
    return Stream(
        once_usd=capex_usd,
        rent_usd_per_month=0.0 if owned else left,
        energy_usd_per_month=energy,
        other_usd_per_month=left if owned else 0.0,
    )


def by_period(plan: Plan) -> Iterator[Spell]:
    """Payments period by period; a purchase is paid in the period in which it is ordered."""
    for p in plan.periods:
        lines = [plan.purchases[i] for i in p.purchases]
        energy = sum(line.energy_usd_per_hour for line in lines) * HOURS_PER_MONTH * p.months
        left = p.cash_usd - p.capex_usd - energy
        left = left if left > DUST * p.cash_usd else 0.0
        is_rented = any(line.procurement not in ("buy", "owned") for line in lines)
        yield Spell(
            first_month=p.first_month + 1,
            months=p.months,
            once_usd=p.capex_usd,
            rent_usd=left if is_rented else 0.0,
            energy_usd=energy,
            other_usd=0.0 if is_rented else left,
        )


def planned_stream(plan: Plan, months: int) -> Stream:
    """The fleet as planned."""
    return sum((stream_of_line(line, months) for line in plan.purchases), NOTHING)


def other_streams(plan: Plan, months: int) -> Iterator[tuple[str, Stream]]:
    """The same nodes paid for in one way wherever that way exists; as planned elsewhere.

    Ways that no line has are left out, and those that come to what is planned anyway. Owned nodes stay owned.
    """
    planned = planned_stream(plan, months)
    told = [planned]
    for kind in WAYS:
        if not any(way.procurement == kind for line in _to_pay(plan.purchases) for way in line.ways_to_pay):
            continue
        found = sum((_line_in(line, kind, months) for line in plan.purchases), NOTHING)
        if not any(_same(found, other, months) for other in told):
            told.append(found)
            yield kind, found


def _to_pay(lines: Sequence[PurchaseLine]) -> Iterator[PurchaseLine]:
    return (line for line in lines if line.procurement != "owned")


def _line_in(line: PurchaseLine, kind: str, months: int) -> Stream:
    ways = [w for w in line.ways_to_pay if w.procurement == kind]
    if line.procurement in ("owned", kind) or not ways:
        return stream_of_line(line, months)
    return stream_of_way(ways[0], months)


def _same(a: Stream, b: Stream, months: int) -> bool:
    return abs(a.once_usd - b.once_usd) < SAME_USD and abs(a.usd_until(months) - b.usd_until(months)) < SAME_USD


def break_even_months(a: Stream, b: Stream) -> float | None:
    """When the way that costs more at first has made up for it; None where it never does, or neither costs more.

    >>> bought = Stream(once_usd=1000, rent_usd_per_month=0, energy_usd_per_month=50, other_usd_per_month=0)
    >>> rented = Stream(once_usd=0, rent_usd_per_month=100, energy_usd_per_month=0, other_usd_per_month=0)
    >>> break_even_months(bought, rented), break_even_months(rented, rented)
    (20.0, None)
    """
    first, then = (a, b) if a.once_usd > b.once_usd else (b, a)
    saved = then.usd_per_month - first.usd_per_month
    more = first.once_usd - then.once_usd
    return more / saved if more > 0 and saved > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """What is paid in a stretch of time."""

    first_month: int
    months: int
    once_usd: float
    rent_usd: float
    energy_usd: float
    other_usd: float


def stretch_months(months: int) -> int:
    """Months told together: a year, over two years or less a quarter.

    >>> stretch_months(36), stretch_months(12)
    (12, 3)
    """
    return MONTHS_PER_YEAR if months > 2 * MONTHS_PER_YEAR else MONTHS_PER_QUARTER


def by_stretch(stream: Stream, months: int) -> Iterator[Spell]:
    """Payments by year or quarter; the last one may be short."""
    step = stretch_months(months)
    for start in range(0, months, step):
        length = min(step, months - start)
        yield Spell(
            first_month=start + 1,
            months=length,
            once_usd=0.0 if start else stream.once_usd,
            rent_usd=stream.rent_usd_per_month * length,
            energy_usd=stream.energy_usd_per_month * length,
            other_usd=stream.other_usd_per_month * length,
        )
