"""Ways to get nodes, ways to run workloads, and what was dropped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from planner.catalog.hosts import Host
from planner.catalog.mig import MigPart
from planner.estimate.types import InferJob, InferWays, TrainJob, TrainWays

ProcurementKind = Literal["on_demand", "reserved_1y", "reserved_3y", "spot", "buy", "owned"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What one node costs, and how that is known."""

    usd_per_hour: float
    """Everything: rent, or the purchase over the horizon, and energy and colocation where they are ours."""
    capex_usd: float
    running_usd_per_hour: float
    """While the node is there: rent as quoted; of nodes of our own energy and colocation, without the purchase."""
    energy_usd_per_hour: float
    """Part of `usd_per_hour` that is electricity; 0 where the rent includes it."""
    low: float | None
    """Lowest reading: USD per hour (rent) or USD (purchase); None where there is one reading."""
    high: float | None
    source: str
    as_of: str
    confidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One way to get one kind of node."""

    id: str
    """Name of the node type in the problem: `offer@procurement`, `node@buy`, `node@owned`."""
    offer: str
    """Offer id, node id, or `owned:<node>`."""
    provider: str
    procurement: ProcurementKind
    node: str
    """Node id, or the instance's name."""
    gpu: str
    host: Host
    kind: int
    """Index into `Supply.kinds`."""
    price: Price
    stock: int | None
    power_kw: float
    """IT power of one node at full draw."""
    rack_units: float | None
    """Space we must provide: None for rented nodes."""
    kg_co2_per_hour: float | None
    pue: float
    """Power drawn by the building per power drawn by the machine, where it stands."""
    place: str | None = None
    """Energy region of a rented machine; None = not known, so it counts as standing at the site."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """All nodes that the fleet may be made of."""

    sources: tuple[Source, ...]
    kinds: tuple[Host, ...]
    """Distinct machines: sources of one kind differ in price, memory and owner only. `ram_bytes` is the most."""
    holders: Mapping[int, tuple[int, ...]]
    """Kinds that are parts of a GPU (MIG), each with the kinds of machines of our own that hold such a GPU."""
    gpus_without_source: Mapping[str, str]
    """Allowed GPUs that cannot be had, and why."""
    every: tuple[Source, ...] = ()
    """All sources, those that another beats included."""
    warnings: tuple[str, ...] = ()

    def of_kind(self, kind: int) -> tuple[Source, ...]:
        """The sources of one kind."""
        return tuple(s for s in self.sources if s.kind == kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way to run one workload on one kind of machine, sized to its demand."""

    id: str
    """Unique among the workload's candidates, and the same in every run."""
    workload: str
    kind: int
    gpu: str
    job: InferJob | TrainJob
    ways: InferWays | TrainWays
    """One row."""
    replicas: int
    gpus_per_replica: int
    """A part of a GPU counts as one."""
    part: MigPart | None = None
    """The part of a GPU that each replica gets; None = whole GPUs."""
    nodes_per_replica: int
    host_bytes_per_node: int
    """Host memory a replica takes of each node it sits on, reserve included."""
    rate: float | None
    """Share of the whole demand that one replica meets; None without a demand."""
    preference: int
    """Settles ties of cost: lower is better (number format, offload)."""
    tightest_share: float = 0.0
    """Largest share of any target that is used up, 0..1: settles ties of `preference`, less is better."""
    figures: Mapping[str, float]
    """Estimates the choice rests on, by key of the interface: per replica."""

    @property
    def gpus(self) -> int:
        """GPUs of all replicas; a part of one counts as one."""
        return self.replicas * self.gpus_per_replica

    def runs_on(self, source: Source) -> bool:
        """The nodes of a source can hold it. Parts of GPUs are cut on machines of our own only."""
        if self.part is None:
            return source.kind == self.kind
        return source.gpu == self.gpu and source.procurement in ("buy", "owned")

    @property
    def whole_gpus(self) -> float:
        """GPUs that all replicas take, parts of one by their share."""
        return self.gpus * (1.0 if self.part is None else self.part.gpu_share)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A GPU that cannot run a workload, with the nearest miss."""

    workload: str
    gpu: str
    reason: str
    nearest_targets: Mapping[str, float] = field(default_factory=dict)
    """Targets that the nearest miss does not reach, by key of `targets`, with the values that it would reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadCandidates:
    """What was found for one workload."""

    workload: str
    candidates: tuple[Candidate, ...]
    dropped: tuple[Dropped, ...]
    evaluated: int
    """Configurations estimated."""
    sources: tuple[Source, ...]
    """The sources of nodes that the workload's pins leave."""
    headroom: float
    """Share of device memory that stays free."""
    warnings: tuple[str, ...] = ()
    by_period: tuple[tuple[Candidate, ...], ...] = ()
    """In a plan over periods, what can run in each; none where the workload does not run. `candidates` is then what
    can run where it is largest."""
