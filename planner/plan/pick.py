"""What was chosen for a workload: its parts, the seat of each, what it costs and how it is set."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from planner.candidates.train import tokens_asked
from planner.candidates.types import Candidate, Source, WorkloadCandidates
from planner.catalog.hosts import Host, part_of_host
from planner.estimate.assemble import Seat, infer_config, train_config
from planner.estimate.document import ConfigValue
from planner.estimate.hardware import expands
from planner.estimate.types import InferJob, InferWays, TrainJob, TrainWays
from planner.estimate.warnings import configuration_warnings
from planner.plan.running import Part
from planner.spec.types import InferWorkload, TrainWorkload, Workload

if TYPE_CHECKING:
    from planner.catalog.load import Catalog


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """What was chosen for a workload, in one period where there are several."""

    workload: Workload
    """As asked: over periods with its demand multiplied."""
    parts: tuple[Part, ...]
    """The largest share first."""
    found: WorkloadCandidates
    node_usd_per_hour: Mapping[str, float]
    """Of one node, by id of its source."""
    period: int | None = None

    @property
    def candidate(self) -> Candidate:
        """That of the largest part."""
        return self.parts[0].candidate

    @property
    def source(self) -> Source:
        """That of the largest part."""
        return self.parts[0].source

    def usd_per_hour(self, part: Part) -> float:
        """A part's share of its nodes' price, by GPU and by the hours of the day in which it runs."""
        taken = part.candidate.whole_gpus * self.workload.day_share
        return taken * self.node_usd_per_hour[part.source.id] / part.source.host.num_gpus


def share_usd_per_hour(candidate: Candidate, source: Source) -> float:
    """The workload's share of its nodes' list price, by GPU."""
    return candidate.whole_gpus * source.price.usd_per_hour / source.host.num_gpus


def chosen_usd_per_hour(pick: Pick) -> float:
    """What all parts of the choice cost."""
    return sum(pick.usd_per_hour(part) for part in pick.parts)


def seat_of(pick: Pick, part: Part, catalog: Catalog) -> Seat:
    """What is estimated, where it sits, and who asks."""
    c, s = part.candidate, part.source
    gpu = catalog.gpu(c.gpu)
    weight_only = expands(c.job, gpu, catalog)
    chosen = configuration_warnings(pick.workload, c.job, c.ways, gpu, weight_only=weight_only)
    arriving = pick.workload.targets.requests_per_second if isinstance(pick.workload, InferWorkload) else None
    burst = pick.workload.targets.burst if isinstance(pick.workload, InferWorkload) else None
    return Seat(
        name=pick.workload.name,
        engine=c.job.engine.name,
        gpu=gpu,
        host=s.host.id,
        replicas=c.replicas,
        warnings=(*pick.found.warnings, *chosen, *host_of(part).assumptions),
        target_tokens=tokens_asked(pick.workload) if isinstance(pick.workload, TrainWorkload) else None,
        requests_per_second=None if arriving is None else arriving * part.share,
        burst=None if burst is None else math.ceil(burst * part.share),
        mig=None if c.part is None else c.part.profile,
    )


def host_of(part: Part) -> Host:
    """The machine of a part of the workload as its job sees it: with a part of a GPU where it gets no more."""
    cut = part.candidate.part
    return part.source.host if cut is None else part_of_host(part.source.host, cut)


def bare_seat(candidate: Candidate, source: Source, catalog: Catalog) -> Seat:
    """A candidate's seat without what is said of it."""
    return Seat(
        name=candidate.workload,
        engine=candidate.job.engine.name,
        gpu=catalog.gpu(candidate.gpu),
        host=source.host.id,
        replicas=candidate.replicas,
        warnings=(),
        mig=None if candidate.part is None else candidate.part.profile,
    )


def format_of(candidate: Candidate) -> str:
    """Number format of the weights or of training."""
    return candidate.job.weights.id if isinstance(candidate.job, InferJob) else candidate.job.precision


def config_of(candidate: Candidate, seat: Seat) -> dict[str, ConfigValue]:
    """Every decision of a candidate, by the names of `pin`."""
    if isinstance(candidate.job, TrainJob):
        assert isinstance(candidate.ways, TrainWays)
        return train_config(candidate.job, candidate.ways)
    assert isinstance(candidate.ways, InferWays)
    own = replace(seat, mig=None if candidate.part is None else candidate.part.profile)
    return infer_config(own, candidate.job, candidate.ways)
