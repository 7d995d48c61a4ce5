"""Views of the sections on money, sensitivity, the machine room, risks and approval: text ready to print."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A line of the grid and its label."""

    at: str
    anchor: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stroke:
    """A straight piece of a line."""

    style: str
    x1: str
    y1: str
    x2: str
    y2: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A letter on a line, or a point of its own."""

    style: str
    x: str
    y: str
    text_y: str
    letter: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A line chart."""

    label: str
    """What it shows, in words: for those who do not see it."""
    height: str
    floor: str
    """Where the axis across stands."""
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    strokes: tuple[Stroke, ...]
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WayRow:
    """One way to pay for the fleet."""

    letter: str
    style: str
    name: str
    once: str
    per_month: str
    total: str
    more: str
    break_even: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CashRow:
    """Payments of one stretch of time."""

    label: str
    cells: tuple[str, ...]
    """As `CashFlow.kinds`, then their sum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CashFlow:
    """Payments by time and kind; every sum is that of the shown amounts."""

    keys: tuple[str, ...]
    """`once_usd`, `rent_usd` ...: what the columns hold."""
    kinds: tuple[str, ...]
    """The same in words."""
    rows: tuple[CashRow, ...]
    total: CashRow


@dataclass(frozen=True, slots=True, kw_only=True)
class HorizonView:
    """Cost over the horizon."""

    lead: str
    plot: Plot | None
    """None where all is one straight line."""
    across: str
    """What the axis across counts."""
    up: str
    ways: tuple[WayRow, ...]
    """As planned, then the others."""
    cash: CashFlow
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SwingRow:
    """What the fleet costs at both ends of one uncertainty, as a bar around what is planned."""

    label: str
    low_end: str
    """What changes at the cheaper end."""
    high_end: str
    low: str
    high: str
    """Cost per hour at both ends."""
    left: str
    """Start of the bar and its length to the planned cost, then from there to the other end; percent of the track."""
    below: str
    above: str
    told: str
    """The row in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tornado:
    """Uncertainties, the widest first."""

    rows: tuple[SwingRow, ...]
    planned_at: str
    planned: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowthRow:
    """How far the traffic of one service may grow before it needs another replica."""

    letter: str
    tone: str
    name: str
    used_at: str
    """Length of the bar: today's demand of what the replicas carry, percent of the track."""
    used: str
    room: str
    due: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowthView:
    """Demand against capacity, and when the next order is due."""

    lead: str
    rows: tuple[GrowthRow, ...]
    more: str
    plot: Plot | None
    across: str
    up: str
    lines: tuple[tuple[str, str, str], ...]
    """Style, letter and meaning of each line."""
    rate: str
    """Growth for which the last column is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParetoView:
    """The front of cost and power."""

    plot: Plot
    across: str
    up: str
    rows: tuple[tuple[str, str, str, str, str], ...]
    """Letter, cost per hour, power, GPUs, nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemandBar:
    """One period of one service: the frame is what its replicas carry, the bar what is asked."""

    x: str
    width: str
    middle: str
    frame_y: str
    frame_height: str
    y: str
    height: str
    label_y: str
    demand: str
    when: str
    used: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DemandChart:
    """One service over the periods."""

    letter: str
    tone: str
    name: str
    height: str
    floor: str
    bars: tuple[DemandBar, ...]
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SensitivityView:
    """What would change the answer."""

    tornado: Tornado | None
    """None for a plan over periods, and where prices are not known."""
    growth: GrowthView | None
    demand: tuple[DemandChart, ...]
    """For a plan over periods, in place of `growth`."""
    pareto: ParetoView | None
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceRow:
    """What one line of the bill needs of our own machine room."""

    item: str
    rack_units: str
    power_kw: str
    heat: str
    ports: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FacilityView:
    """The machine room: space, power, cooling, network, carbon."""

    lead: str
    rows: tuple[SpaceRow, ...]
    total: SpaceRow
    racks: tuple[tuple[str, str], ...]
    """Power that a rack takes, and how many racks that makes."""
    figures: tuple[tuple[str, str], ...]
    """Label and value, of all machines wherever they stand."""
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskRow:
    """Something that may turn out otherwise, what to do about it, and who has to."""

    level: str
    """`high`, `medium` or `low`."""
    level_word: str
    text: str
    measure: str
    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignoffView:
    """Versions of the plan, and who approves it."""

    versions: tuple[tuple[str, str, str, str], ...]
    """Version, date, made with, what changed."""
    roles: tuple[tuple[str, str], ...]
    """Role, and the name where it is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WayNow:
    """One way to run a workload, with what the sliders of the interactive page reckon with."""

    is_planned: bool
    gpu: str
    gpu_id: str
    config: str
    gpus: str
    cost: str
    gpus_each: str
    """GPUs of one replica, replicas, share of the demand that one carries (empty = it does not grow), and cost of one
    GPU and hour: plain numbers, written for the script."""
    replicas: str
    share_each: str
    cost_each: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIfRow:
    """A workload with the ways that were found for it, the cheapest first."""

    letter: str
    tone: str
    name: str
    ways: tuple[WayNow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIfView:
    """The sliders of the interactive page and what they move."""

    numbers: str
    """Locale of the numbers, for the script."""
    prices: tuple[tuple[str, str], ...]
    """Id and name of every GPU whose price has a slider."""
    workloads: tuple[WhatIfRow, ...]
    planned: str
    cheapest: str
    """Cost per hour of all workloads by their share of list prices: as planned, and with the cheapest way of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodRow:
    """The fleet in one period."""

    when: str
    nodes: str
    gpus: str
    usd_per_hour: str
    usd_total: str
    """What the period bears, purchases spread over their use."""
    cash_usd: str
    """What is paid in it."""
    power_kw: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DemandRow:
    """One workload over the periods."""

    letter: str
    name: str
    cells: tuple[str, ...]
    """A period each: the factor on its targets, the factor that its replicas could serve, its GPUs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRow:
    """Something to be ordered or signed."""

    when: str
    item: str
    how: str
    there: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodsView:
    """Demand over time and what follows from it."""

    lead: str
    rows: tuple[PeriodRow, ...]
    usd_total: str
    cash_usd: str
    demand: tuple[DemandRow, ...]
    orders: tuple[OrderRow, ...]
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivationLine:
    """One step: formula, numbers put in, result. English in every language, as `plan explain` prints it."""

    figure: str
    formula: str
    numbers: str
    result: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivationView:
    """All steps of one workload."""

    letter: str
    tone: str
    name: str
    lines: tuple[DerivationLine, ...]
