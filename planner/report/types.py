"""The view of a plan: text that is ready to print, and lengths of bars as percent of their track.

Templates and writers loop over these and compute nothing. Every field is text unless its line says otherwise, so
the same figure is the same text in the terminal, HTML, PDF, Markdown, CSV and JSON.
"""

from __future__ import annotations

from dataclasses import dataclass

from planner.report.sections import (
    DerivationView,
    FacilityView,
    HorizonView,
    PeriodsView,
    RiskRow,
    SensitivityView,
    SignoffView,
    WhatIfView,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One key figure of the decision page."""

    label: str
    value: str
    unit: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A label beside its value."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """An entry of the table of contents."""

    id: str
    title: str
    inner: tuple[Section, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One part of a stacked bar."""

    key: str
    """Chooses the colour in the template; `free` and `over` are drawn apart."""
    label: str
    mark: str
    """Number of the part, in the legend too."""
    inside: str
    """The mark where the part is wide enough to hold it, else empty."""
    value: str
    share: str
    left: str
    """Start as percent of the track, with its sign: `12.5%`."""
    middle: str
    width: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryBar:
    """Memory of the fullest GPU, in GiB; the shown parts add up to the shown peak, peak and free to the capacity."""

    segments: tuple[Segment, ...]
    peak: str
    usable: str
    used_share: str
    """Peak as percent of what the device has."""
    limit: str
    """What may be used once the headroom is kept free."""
    limit_at: str
    """Where that limit stands on the track."""
    capacity_at: str
    headroom: str
    fits: bool
    verdict: str
    """One sentence: how peak and limit compare."""
    phase: str
    beside: tuple[Pair, ...]
    """Host and disk memory, allocated and reserved peaks, largest batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRow:
    """One target against what the plan gives."""

    key: str
    label: str
    unit: str
    relation: str
    """`at least` or `at most`."""
    asked: str
    got: str
    interval: str
    state: str
    """`met`, `tight` (the prediction interval reaches past the target) or `missed`."""
    word: str
    mark: str
    bar: str
    """Length of the bar, the place of the target line and of both ends of the interval, percent of the track."""
    target_at: str
    low_at: str
    high_at: str
    whisker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementRow:
    offer: str
    node: str
    gpu: str
    replicas: str
    gpus_per_replica: str
    nodes_per_replica: str
    share: str
    config: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlternativeRow:
    on: str
    """How many of which GPU."""
    gpu: str
    host: str
    gpus: str
    config: str
    usd_per_hour: str
    more: str
    power_kw: str
    why_not: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedRow:
    """GPUs that fail for the same reason."""

    gpus: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedGroup:
    workload: str
    letter: str
    rows: tuple[RejectedRow, ...]
    more: str
    """How many further rows stand in `rejected.csv` and `plan.json` only; empty when none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadView:
    """One workload's section."""

    id: str
    letter: str
    tone: str
    """Colour of its GPUs in the fleet map."""
    name: str
    mode: str
    model: str
    params: str
    engine: str
    gpu: str
    gpus: str
    summary: str
    """How it runs, in one line."""
    why: str
    memory: MemoryBar
    targets: tuple[TargetRow, ...]
    status: str
    status_word: str
    bound_by: str
    speed: tuple[Pair, ...]
    speed_note: str
    """Which figures users see and which are those of a full batch; empty where only one kind is there."""
    config: tuple[Pair, ...]
    money: tuple[Pair, ...]
    price: str
    """Where the cost is from: offer, procurement, source, date."""
    headroom: tuple[Pair, ...]
    placements: tuple[PlacementRow, ...]
    alternatives: tuple[AlternativeRow, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BillRow:
    """One line of the bill of materials."""

    number: str
    item: str
    offer: str
    provider: str
    procurement: str
    gpu: str
    nodes: str
    gpus: str
    usd_per_hour: str
    capex_usd: str
    spread: str
    """Lowest and highest price reading of one node."""
    power_kw: str
    rack_units: str
    period: str
    source: str
    as_of: str
    confidence: str
    is_weak: bool
    """The price is of low confidence or unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    rows: tuple[BillRow, ...]
    nodes: str
    gpus: str
    usd_per_hour: str
    capex_usd: str
    power_kw: str
    """At the machines: the sum of the rows."""
    cooled_power_kw: str
    """The same with cooling and other overhead of the site."""
    rack_units: str
    note: str
    """Says so where shown amounts are rounded and do not add up to the last digit."""
    total_label: str
    terms: tuple[str, ...]
    """Nodes that stand by, and when bought ones arrive."""
    has_capex: bool
    cost_bar: tuple[Segment, ...]
    """Share of each line in the hourly cost; empty when a price is unknown or nothing costs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One GPU of a drawn node; coordinates in drawing units."""

    x: str
    y: str
    text_x: str
    text_y: str
    letter: str
    """Letter of the workload on it, `·` when free."""
    tone: str
    """Which of the workload colours, `free` when free."""
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeGroup:
    """Equal nodes with equal loads."""

    title: str
    count: str
    use: str
    holds: tuple[str, ...]
    cells: tuple[Cell, ...]
    width: str
    height: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FactRow:
    kind: str
    id: str
    what: str
    value: str
    source: str
    as_of: str
    confidence: str
    owner: str
    """Who answers for it."""
    is_weak: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    rows: tuple[FactRow, ...]
    """What is printed: assumptions first, then weak facts, then the others."""
    all_rows: tuple[FactRow, ...]
    """For `assumptions.csv`."""
    more: str
    weak: str
    """How many are of low confidence, as a sentence; empty when none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConflictRow:
    limit: str
    where: str
    value: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaxationRow:
    limit: str
    value: str
    usd_per_hour: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InfeasibleView:
    conflict: tuple[ConflictRow, ...]
    relaxations: tuple[RelaxationRow, ...]
    unplaceable: tuple[RejectedGroup, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Masthead:
    """Who the report is for, from `report:` in the spec."""

    title: str
    organisation: str
    author: str
    language: str
    """`en`, `fa` or `de`."""
    direction: str
    """`ltr` or `rtl`."""
    digits: str
    """`latin` or `native`."""
    accent: str
    """`#rrggbb`, or empty for the house colour."""
    logo: str
    """A PNG or SVG as `data:` address, or empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRow:
    """One figure measured near a workload."""

    workload: str
    source: str
    differs: str
    figure: str
    measured: str
    predicted: str
    error: str
    emulated: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportView:
    """Everything a report says."""

    audience: str
    """Who reads it: `all`, `management`, `procurement` or `engineering`."""
    masthead: Masthead
    name: str
    created: str
    """Date of the plan; `YYYY-MM-DD` in English."""
    created_at: str
    currency: str
    """What the currency of the amounts is called."""
    hourly_unit: str
    """Unit of hourly costs: `USD/h`."""
    currency_code: str
    """Its code of ISO 4217."""
    status: str
    status_word: str
    decision: str
    figures: tuple[Figure, ...]
    asked: str
    """What is asked of the reader."""
    confidence: tuple[str, ...]
    """What the figures rest on, and how far they can be trusted."""
    sections: tuple[Section, ...]
    bill: Bill
    fleet: tuple[NodeGroup, ...]
    fleet_more: str
    workloads: tuple[WorkloadView, ...]
    off_paper: tuple[str, ...]
    """Names of the workloads whose pages stand in the HTML file alone."""
    off_paper_note: str
    """How many they are; empty when none."""
    rejected: tuple[RejectedGroup, ...]
    all_rejected: tuple[tuple[str, str, str], ...]
    """(workload, GPU, reason), for `rejected.csv`."""
    proof: str
    proof_facts: tuple[Pair, ...]
    periods: PeriodsView | None
    """None where the plan has no periods."""
    horizon: HorizonView | None
    sensitivity: SensitivityView | None
    facility: FacilityView | None
    risks: tuple[RiskRow, ...]
    signoff: SignoffView
    whatif: WhatIfView | None
    """For the interactive page."""
    outlook: tuple[str, ...]
    """What would change the answer, a sentence a line: one more node, other prices, less power, one GPU type."""
    derivations: tuple[DerivationView, ...]
    """How each figure comes about; for engineers alone."""
    evidence: tuple[EvidenceRow, ...]
    unproven: tuple[str, ...]
    """What no device has measured, a workload a line."""
    facts: Facts
    infeasible: InfeasibleView | None
    reproduce: tuple[Pair, ...]
    glossary: tuple[Pair, ...]
    warnings: tuple[str, ...]
