"""What every search over ways shares: the context of a workload, fit, sizes, the choice among equals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from planner.candidates.layouts import Layouts
from planner.candidates.margins import Margins
from planner.candidates.misses import Misses, Stage, layout_text, memory_reason
from planner.candidates.planning import PlanningFacts, Splits
from planner.candidates.types import Candidate, Supply
from planner.catalog.hosts import Host
from planner.estimate.hardware import hardware, unsupported
from planner.estimate.memory import usable_bytes
from planner.estimate.request import Resolved
from planner.estimate.types import Bools, Floats, Hardware, InferJob, Ints, Memory, TrainJob

if TYPE_CHECKING:
    from planner.catalog.load import Catalog


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetCheck:
    """One target against the rows of a trial."""

    excess_ratio: Floats
    """What is needed or taken over what is allowed: above 1 the row misses."""
    values: Floats
    text: str
    """The reason; {0} is the value, {1} the layout in words."""
    target: str | None = None
    """Key of `targets`; None for what is pinned."""


@dataclass(slots=True, kw_only=True)
class Search:
    """One workload being searched."""

    resolved: Resolved
    supply: Supply
    catalog: Catalog
    facts: PlanningFacts
    splits: Splits
    most_nodes: int
    kinds: tuple[int, ...]
    """Kinds that the fleet and the pins allow."""
    margins: Margins = field(default_factory=Margins)
    """Factors of the planning quantile."""
    misses: Misses = field(default_factory=Misses)
    evaluated: int = 0
    prune: bool = True
    """Whether ways that others make useless go before they become candidates."""

    @property
    def smallest_node(self) -> int:
        """Fewest GPUs of nodes that are joined; a pinned layout decides for itself."""
        pinned = self.resolved.workload.pin.gpus_per_replica > 1
        return 1 if pinned else int(self.facts.value("smallest-cluster-node"))

    @property
    def name(self) -> str:
        return self.resolved.workload.name

    def able(self, job: InferJob | TrainJob, *, auto: bool) -> list[tuple[int, Host]]:
        """The kinds whose GPU runs the engine and the number format; the others are noted as misses."""
        found: list[tuple[int, Host]] = []
        for kind in self.kinds:
            host = self.supply.kinds[kind]
            gpu = self.catalog.gpu(host.gpu)
            lacking = unsupported(job, gpu, self.catalog, auto=auto)
            if lacking is None:
                found.append((kind, host))
            else:
                self.misses.add(gpu.id, Stage.UNSUPPORTED, 1.0, lacking)
        return found

    def columns(self, job: InferJob | TrainJob, kinds: Sequence[tuple[int, Host]], layouts: Layouts) -> Hardware:
        """Hardware facts of every layout."""
        position = {kind: n for n, (kind, _) in enumerate(kinds)}
        rows = np.array([position[int(k)] for k in layouts.kind], dtype=np.int64)
        table = hardware(job, [host for _, host in kinds], self.catalog)
        return repeated(table, rows)

    def note_memory(self, job_name: str, layouts: Layouts, memory: Memory, room: Floats, fits: Bools) -> None:
        """Note the nearest device-memory miss of every GPU."""
        excess = np.broadcast_to(memory.needed_bytes / room, fits.shape)
        for row in best_rows(layouts.kind, excess, ~fits):
            gpu = self.supply.kinds[int(layouts.kind[row])].gpu
            if self.misses.is_nearer(gpu, Stage.DEVICE_MEMORY, float(excess[row])):
                reason = memory_reason(
                    memory.parts, row, room=float(room[row]), layout=words(layouts, row), precision=job_name
                )
                self.misses.add(gpu, Stage.DEVICE_MEMORY, float(excess[row]), reason)

    def note_rows(self, stage: Stage, layouts: Layouts, excess: Floats, reasons: Mapping[int, str]) -> None:
        """Note misses of another stage, by row."""
        for row, reason in reasons.items():
            gpu = self.supply.kinds[int(layouts.kind[row])].gpu
            self.misses.add(gpu, stage, float(excess[row]), reason)

    def meets(self, layouts: Layouts, checks: Sequence[TargetCheck]) -> Bools:
        """Rows that meet every target. Of the others the nearest of each GPU is noted with its worst target."""
        if not checks:
            return np.ones(len(layouts), dtype=bool)
        table = np.stack([c.excess_ratio for c in checks])
        worst: Floats = table.max(axis=0)
        good: Bools = worst <= 1.0
        for row in best_rows(layouts.kind, worst, ~good):
            check = checks[int(table[:, row].argmax())]
            reason = check.text.format(float(check.values[row]), words(layouts, row))
            gpu = self.supply.kinds[int(layouts.kind[row])].gpu
            self.misses.add(gpu, Stage.TARGET, float(worst[row]), reason, reachable(checks, row))
        return good

    def worth_building(self, found: Sequence[Outline]) -> Sequence[Outline]:
        """The rows that become candidates."""
        return promising(found) if self.prune else found


def reachable(checks: Sequence[TargetCheck], row: int) -> dict[str, float]:
    """The targets that a row misses, with what it reaches; empty where a pin is missed, which no target mends."""
    missed = [c for c in checks if c.excess_ratio[row] > 1.0]
    found = {c.target: float(c.values[row]) for c in missed if c.target is not None}
    return found if len(found) == len(missed) else {}


def tightest_share(checks: Sequence[TargetCheck], size: int) -> Floats:
    """Largest share of any target that each row uses up; 0 where nothing is asked."""
    result: Floats = np.max(np.stack([c.excess_ratio for c in checks]), axis=0) if checks else np.zeros(size)
    return result


def repeated(table: Hardware, rows: Ints) -> Hardware:
    """Rows of a table of several hosts; a table of one host is spread out, so that every column has all rows."""
    if len(table) > 1:
        return table.take(rows)
    one = np.zeros(len(rows), dtype=np.int64)
    picked = {name: np.asarray(getattr(table, name))[one] for name in table.__dataclass_fields__}
    return Hardware(**picked)


def words(layouts: Layouts, row: int) -> str:
    """One layout in words."""
    return layout_text(
        tensor=int(layouts.tensor[row]),
        pipeline=int(layouts.pipeline[row]),
        data=int(layouts.data[row]),
        context=int(layouts.context[row]),
        nodes=int(layouts.nodes[row]),
    )


def room_bytes(hw: Hardware, headroom: float, margin: float = 1.0) -> Floats:
    """Device memory that may be filled by predicted bytes; `margin` is the factor on predictions."""
    result: Floats = usable_bytes(hw) * (1.0 - headroom) / margin
    return result


def device_fits(memory: Memory, room: Floats) -> Bools:
    """Device memory suffices, for at least one sequence."""
    result: Bools = (memory.needed_bytes <= room) & (memory.max_batch >= 1)
    return result


def best_rows(groups: Ints, score: Floats, eligible: Bools, tie: Floats | None = None) -> list[int]:
    """Of every group the eligible row with the least score, then the least `tie`; the first of equals."""
    rows = np.flatnonzero(eligible)
    second = np.zeros(len(rows)) if tie is None else tie[rows]
    order = rows[np.lexsort((rows, second, score[rows], groups[rows]))]
    if not len(order):
        return []
    first = np.concatenate(([True], np.diff(groups[order]) != 0))
    return [int(r) for r in order[first]]


class Sized(Protocol):
    """What decides whether one way makes another useless."""

    @property
    def kind(self) -> int: ...
    @property
    def preference(self) -> int: ...
    @property
    def replicas(self) -> int: ...
    @property
    def gpus_per_replica(self) -> int: ...
    @property
    def nodes_per_replica(self) -> int: ...
    @property
    def host_bytes_per_node(self) -> int: ...
    @property
    def tightest_share(self) -> float: ...
    @property
    def gpus(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """A row that may become a candidate; the words mean what they mean there."""

    row_index: int
    kind: int
    preference: int
    replicas: int
    gpus_per_replica: int
    nodes_per_replica: int
    host_bytes_per_node: int
    tightest_share: float

    @property
    def gpus(self) -> int:
        """GPUs of all replicas."""
        return self.replicas * self.gpus_per_replica


def outlines(
    rows: Sequence[int], layouts: Layouts, *, preference: int, replicas: Ints, host_bytes_per_node: Floats, used: Floats
) -> list[Outline]:
    """The rows named, of columns of a trial; `used` is the tightest share."""
    at = np.asarray(rows, dtype=np.int64)
    columns = (layouts.kind, replicas, layouts.gpus, layouts.nodes, np.ceil(host_bytes_per_node), used)
    return [
        Outline(
            row_index=row,
            kind=kind,
            preference=preference,
            replicas=count,
            gpus_per_replica=gpus,
            nodes_per_replica=nodes,
            host_bytes_per_node=int(host),
            tightest_share=share,
        )
        for row, kind, count, gpus, nodes, host, share in zip(
            rows, *(np.broadcast_to(c, (len(layouts),))[at].tolist() for c in columns), strict=True
        )
    ]


def promising(found: Sequence[Outline]) -> list[Outline]:
    """Those that no other makes useless and that are no equals of it, in the same order.

    Most rows go here, before anything is said about them. "Makes useless" is transitive, so what `undominated` keeps
    of all candidates is the same.
    """

    def order(o: Outline) -> tuple[float, ...]:
        return o.preference, o.gpus, o.host_bytes_per_node, o.tightest_share

    by_kind: dict[int, list[Outline]] = {}
    for o in sorted(found, key=order):
        rivals = by_kind.setdefault(o.kind, [])
        if not any(dominates(r, o) and order(r) < order(o) for r in rivals):
            rivals.append(o)
    kept = {o.row_index for rivals in by_kind.values() for o in rivals}
    return [o for o in found if o.row_index in kept]


def pieces_held(b: Sized, a: Sized) -> int:
    """Pieces of `a` that fit where one piece of `b` sits."""
    a_gpus, b_gpus = a.gpus_per_replica // a.nodes_per_replica, b.gpus_per_replica // b.nodes_per_replica
    held = b_gpus // a_gpus
    if a.host_bytes_per_node:
        held = min(held, b.host_bytes_per_node // a.host_bytes_per_node)
    return held


def dominates(a: Sized, b: Sized) -> bool:
    """`a` fits wherever `b` does, on the same kind of machine, and is preferred no less: exact, whatever the prices.

    Of ways with as many GPUs the one with less room in its targets makes no other useless.
    """
    if a.kind != b.kind or a.preference > b.preference:
        return False
    if a.gpus == b.gpus and a.tightest_share > b.tightest_share:
        return False
    count_a, count_b = a.replicas * a.nodes_per_replica, b.replicas * b.nodes_per_replica
    return count_a <= pieces_held(b, a) * count_b


def rank(c: Candidate) -> tuple[float | str, ...]:
    """What comes first among candidates of one workload."""
    splits = (float(c.ways.pipeline_parallel[0]), float(c.ways.tensor_parallel[0]))
    batch = c.figures.get("batch", 0.0)
    return (c.preference, c.gpus, c.host_bytes_per_node, c.tightest_share, *splits, batch, c.id)


def undominated(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Candidates that no other makes useless; of equals the one with most room in its targets, then the one with
    fewest splits (tensor parallel before pipeline), then the smallest batch."""
    kept: list[Candidate] = []
    order = sorted(candidates, key=rank)
    by_kind: dict[int, list[Candidate]] = {}
    for c in order:
        rivals = by_kind.setdefault(c.kind, [])
        if not any(dominates(r, c) for r in rivals):
            rivals.append(c)
            kept.append(c)
    return kept
