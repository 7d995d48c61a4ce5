"""The plan document on disk: contract §4, `planner/plan/v1`. Plain data, readable without catalog or solver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from planner.estimate.document import ConfigValue, Document, WorkloadEstimate

Status = Literal["optimal", "feasible", "infeasible"]


class SolverFacts(Document):
    """What was proven, and how."""

    objective: float | None
    """Value of the first objective, in its unit (USD per hour, kW, GPUs, kg CO2 per month)."""
    objective_name: str
    best_bound: float | None
    gap: float | None
    """(objective - bound) / objective; 0 = proven optimal."""
    wall_s: float
    candidates: int
    """Configurations evaluated."""
    kept: int
    """Configurations handed to the optimiser after pruning."""
    seed: int
    rounding: str
    """Integer units of the model and the worst rounding."""


class Totals(Document):
    """Of the whole fleet; over periods money an hour or a month is the mean, counts and power are those of the fullest
    period."""

    usd_per_hour: float | None
    usd_per_month: float | None
    usd_horizon: float | None
    capex_usd: float
    gpus: int
    nodes: int
    power_kw: float
    """Facility power: IT load x PUE."""
    it_power_kw: float
    rack_units: float | None
    kg_co2_per_month: float | None
    energy_usd_per_month: float | None = None


class WayToPay(Document):
    """One way to get all the nodes of a line of the bill: the cheapest of its kind."""

    procurement: Literal["on_demand", "reserved_1y", "reserved_3y", "spot", "buy"]
    offer: str
    provider: str
    usd_per_hour: float
    """All nodes, over the horizon: rent, or the purchase paid off and what running costs."""
    capex_usd: float
    """All nodes, paid once."""
    energy_usd_per_hour: float
    """Part of `usd_per_hour` that is electricity of our own; rents include theirs."""
    price_as_of: str
    price_confidence: str


class PurchaseLine(Document):
    """One line of the bill of materials: equal nodes of one kind, procured one way."""

    offer: str
    """Offer id, node id (buy) or `owned:<node>`."""
    provider: str
    procurement: Literal["on_demand", "reserved_1y", "reserved_3y", "spot", "buy", "owned"]
    node: str
    gpu: str
    nodes: int
    gpus: int
    usd_per_hour: float | None
    """All nodes of the line while they are there; for buy: the purchase spread over the time from delivery to the
    horizon's end, plus energy and hosting."""
    capex_usd: float | None = None
    usd_low: float | None = None
    usd_high: float | None = None
    """Spread of the price readings per node where known (buy: USD, rent: USD per hour)."""
    period: int = 0
    """First period in which the nodes are there, from 0."""
    last_period: int = 0
    """Last period in which they are."""
    order_month: int | None = None
    """Month in which to order or to sign, from 0 = now; None where nothing is ordered, or without periods."""
    power_kw: float
    rack_units: float | None = None
    price_source: str | None
    price_as_of: str | None
    price_confidence: str | None
    energy_usd_per_hour: float = 0.0
    """Part of `usd_per_hour` that is electricity of our own; rents include theirs."""
    pue: float | None = None
    """Power of the building over that of the machine, where it stands."""
    kg_co2_per_month: float | None = None
    """All nodes."""
    network_bytes_per_second_per_gpu: float | None = None
    """To other nodes; None = not published."""
    ways_to_pay: tuple[WayToPay, ...] = ()
    """What as many nodes of this size with this GPU cost in each way that the fleet allows."""


class Held(Document):
    """Replicas (or their parts, where a replica spans nodes) of one placement on one node."""

    workload: str
    placement: int
    """Index into the placements of the workload, in a plan over periods into those of the period."""
    replicas: int


class CutGpu(Document):
    """GPUs of one node that are cut alike (MIG)."""

    gpus: int
    held: tuple[Held, ...]
    """Replicas on the parts of each."""


class NodeLoad(Document):
    """Which replicas sit on one node (equal nodes are grouped)."""

    purchase: int
    """Index into `purchases`."""
    period: int = 0
    time_index: int = 0
    """Index into `times_of_day`."""
    nodes: int
    replicas: Mapping[str, int]
    """Workload name -> replicas on each of these nodes."""
    held: tuple[Held, ...] = ()
    """Those on whole GPUs, by placement."""
    cut: tuple[CutGpu, ...] = ()
    """GPUs that are cut, and what is on them."""
    gpus_used: int
    gpus: int
    ram_bytes_used: int
    ram_bytes: int


class DayTime(Document):
    """Hours of the day in which the same workloads run."""

    hours: tuple[str, ...]
    """`HH:MM-HH:MM`."""
    workloads: tuple[str, ...]


class Placement(Document):
    """Equal replicas of one workload on one kind of node."""

    offer: str
    procurement: str | None = None
    node: str
    gpu: str
    gpu_name: str = ""
    """What people call it; empty = the id serves."""
    replicas: int
    gpus_per_replica: int
    nodes_per_replica: int = 1
    config: Mapping[str, ConfigValue]
    share_of_demand: float
    slices: tuple[int, int] | None = None
    """Compute and memory slices of one GPU that a replica takes (MIG); None = whole GPUs."""
    slices_of_gpu: tuple[int, int] | None = None
    """Those of the whole GPU."""
    figures: Mapping[str, float] = {}
    """Of one replica: `output_tokens_per_second`, `tokens_per_second`, `requests_per_second`, `ttft_s`, `tpot_s`,
    `device_peak_bytes`, `usable_bytes`, `host_bytes`; what does not apply is left out."""


class DemandMet(Document):
    """One target beside what the plan gives."""

    target: str
    """Key of `targets`."""
    asked: float
    got: float
    met: bool
    latency_percentile: int | None = None
    """Per cent of the requests that keep a latency; None = the mean does, or no latency is asked."""


class Alternative(Document):
    """Another way to run the workload, with what it would cost more on its own."""

    gpu: str
    host: str
    gpus: int
    config: Mapping[str, ConfigValue]
    usd_per_hour: float | None
    usd_per_hour_more: float | None
    power_kw: float | None
    why_not: str
    fleet_usd_per_hour_more: float | None = None
    """What the whole fleet costs more, solved again with this GPU and number format forced; None where it was not
    solved again or no fleet exists with it (`why_not` says which)."""
    fleet_is_proven: bool = False
    """No cheaper fleet exists with it."""
    replicas: int | None = None
    share_of_demand_per_replica: float | None = None
    """What one replica can carry; None without a demand."""


class OneGpuType(Document):
    """The fleet with every workload on one GPU type."""

    gpu: str
    usd_per_hour: float | None
    usd_per_hour_more: float | None
    is_proven: bool
    """No cheaper fleet of that type exists."""
    why_not: str = ""
    """Why there is none; empty where there is one."""


class Rejected(Document):
    """A GPU (or way) that cannot run the workload, with the nearest miss."""

    gpu: str
    reason: str


class WorkloadPlan(WorkloadEstimate):
    """The estimate of the chosen configuration and how it is placed."""

    placements: tuple[Placement, ...]
    demand_met: tuple[DemandMet, ...]
    alternatives: tuple[Alternative, ...]
    rejected: tuple[Rejected, ...]
    why: str
    """One sentence: why this GPU and this configuration."""
    headroom: Mapping[str, float] = {}
    """Share left before a limit: `memory`, `demand`, `ttft`, `tpot`, `deadline`."""
    share_of_demand_per_replica: float | None = None
    """What one replica can carry; None without a demand."""
    period: int | None = None
    """In a plan over periods the one described here: the first in which the workload is largest."""
    hours: tuple[str, ...] = ()
    """Of the day in which it runs; empty = always."""


class PeriodWorkload(Document):
    """One workload in one period."""

    name: str
    factor: float
    """On the targets of the spec; 0 = it does not run."""
    capacity: float | None
    """The factor that its replicas could serve; None where no rate is asked."""
    replicas: int
    gpus: int
    placements: tuple[Placement, ...]
    demand_met: tuple[DemandMet, ...]
    """Targets times the factor, beside what the replicas give."""


class PeriodPlan(Document):
    """The fleet in one period."""

    index: int
    months: int
    first_month: int
    """Months from the start of the plan."""
    demand: Mapping[str, float]
    """Factor on the targets of every workload."""
    workloads: tuple[PeriodWorkload, ...]
    purchases: tuple[int, ...]
    """Indices into `purchases` of what is there."""
    loads: tuple[NodeLoad, ...]
    """What sits on it."""
    usd_per_hour: float
    """Rent and running cost, purchases spread over the time from delivery to the horizon's end."""
    usd_total: float
    """The same over the hours of the period."""
    cash_usd: float
    """What is paid in the period: rent, running cost, and purchases in full when they are ordered."""
    capex_usd: float
    """Purchases ordered in the period."""
    gpus: int
    nodes: int
    power_kw: float
    """Facility power: IT load x PUE."""
    it_power_kw: float
    rack_units: float | None
    kg_co2_per_month: float | None


class Conflict(Document):
    limit: str
    """Path of the spec line (`fleet.limits.usd_per_hour`)."""
    where: str
    """file:line:col."""
    value: float | str | None
    text: str


class Relaxation(Document):
    limit: str
    value: float
    """The smallest new limit that makes a plan exist when all others stay."""
    usd_per_hour: float | None
    """What the plan would then cost."""
    text: str
    together: bool = False
    """Not enough alone: all relaxations with this mark are needed at once."""


class Infeasible(Document):
    conflict: tuple[Conflict, ...]
    relaxations: tuple[Relaxation, ...]
    unplaceable: Mapping[str, tuple[Rejected, ...]] = {}
    """Workloads that no GPU can run, with what is nearest."""


class FactUsed(Document):
    """A catalog fact the plan rests on."""

    kind: str
    """gpu, node, offer, purchase, energy, model, engine, precision, assumption."""
    id: str
    what: str
    value: str
    source: str
    as_of: str
    confidence: str


class Inputs(Document):
    spec: Mapping[str, Any]
    """The spec with every default filled in."""
    spec_file: str
    facts: tuple[FactUsed, ...]
    assumptions: tuple[FactUsed, ...] = ()
    models: Mapping[str, Mapping[str, Any]] = {}
    """By workload: keys of a `config.json` to build its model from; none where no family here writes it."""
    engine_options: Mapping[str, Mapping[str, ConfigValue]] = {}
    """By workload: the engine's options, defaults of its profile included."""
    logo: str = ""
    """The image of `report.logo` as a `data:` address."""


class EvidenceFigure(Document):
    """One measured figure beside what is predicted for the same workload, both in units of `unit`."""

    rule: str
    """`allocated`, `tpot` ...: see `validation/record.py`."""
    measured: float
    unit: str
    predicted: float | None


class NearRecord(Document):
    """A record near a workload."""

    record: str
    origin: str
    """published or measured."""
    source: str
    as_of: str
    differs: tuple[str, ...]
    """What is not as planned."""
    emulated: str
    """What stood for something else; empty = nothing."""
    figures: tuple[EvidenceFigure, ...]


class WorkloadEvidence(Document):
    """What is known of one workload from measurements."""

    workload: str
    near: tuple[NearRecord, ...]
    unproven: tuple[str, ...]
    """What no device has measured in this configuration: memory, speed."""


class WorkloadMoves(Document):
    """What changes of one workload."""

    workload: str
    replicas_moved: int
    """Replicas that are set up anew; 0 for a workload that is new."""
    replicas_before: int


class Moves(Document):
    """Changes against the plan in use, where one was given."""

    from_plan: str
    """The file as the user named it."""
    from_sha256: str
    """Its `body_sha256`."""
    extra_share: float
    """How far above its least value the first objective was allowed to be, for fewer moves."""
    count: int
    """Replicas of workloads of the old plan that are set up anew."""
    count_without: int
    """The same for the best plan when moves do not count."""
    least_objective: float
    """Value of the first objective when moves do not count, in its unit."""
    is_fewest: bool
    """Proven: no plan within the allowed value has fewer."""
    workloads: tuple[WorkloadMoves, ...]


class Plan(Document):
    """The whole answer."""

    schema_: Literal["planner/plan/v1"] = Field(default="planner/plan/v1", alias="schema")
    name: str
    created: str
    planner_version: str
    spec_sha256: str
    catalog_sha256: str
    status: Status
    solver: SolverFacts
    totals: Totals | None
    purchases: tuple[PurchaseLine, ...]
    nodes: tuple[NodeLoad, ...]
    """In a plan over periods, those of the period with most nodes."""
    workloads: tuple[WorkloadPlan, ...]
    times_of_day: tuple[DayTime, ...] = ()
    """Where workloads have hours: the times that they tell apart. `nodes` are then told for each of them."""
    periods: tuple[PeriodPlan, ...] = ()
    """The fleet over time; empty where the spec has no periods."""
    pareto: tuple[Mapping[str, float], ...] = ()
    sensitivity: tuple[Mapping[str, Any], ...] = ()
    one_gpu_type: tuple[OneGpuType, ...] = ()
    """All on one GPU type, for each type that can run all, where it was asked for or quick."""
    infeasible: Infeasible | None = None
    moves: Moves | None = None
    """Changes against an old plan; None where none was given."""
    inputs: Inputs
    warnings: tuple[str, ...] = ()
    evidence: tuple[WorkloadEvidence, ...] = ()
    """Measurements near each workload, where they were looked for."""
    body_sha256: str = ""
    """SHA-256 over everything else but `created` and wall times; empty = never written."""
