"""The estimate of one workload as it stands in files: contract §3, `planner/estimate/v1`.

These types are plain data: they know no catalog, no solver and no physics, so a plan can be read and
reported where none of those is installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

ConfigValue = bool | int | float | str | None | Mapping[str, float]


class Document(BaseModel):
    """Base of everything written to disk: frozen, no unknown keys, no NaN."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        populate_by_name=True,
    )


class MemoryDocument(Document):
    """Bytes on the fullest GPU."""

    per_gpu_bytes: Mapping[str, int]
    """Parts (`planner.estimate.types.PARTS`) of what the binding phase holds; they add up to `device_peak_bytes`."""
    allocated_peak_bytes: int
    reserved_peak_bytes: int
    device_peak_bytes: int
    cached_bytes: int = 0
    """Of the peak, blocks that the caching allocator gives back before an allocation fails."""
    static_bytes: int
    usable_bytes: int
    host_bytes: int
    disk_bytes: int
    max_batch: int
    """Most sequences in flight that fit (inference), or the largest micro-batch (training); 0 = none."""
    kv_cache_tokens: int | None
    phase: str
    """The phase of the run that binds."""

    @property
    def needed_bytes(self) -> int:
        """What must be there: the device's peak without what the allocator would give back."""
        return self.device_peak_bytes - self.cached_bytes


class LatencyDocument(Document):
    """Seconds over requests."""

    mean: float
    p50: float
    p90: float
    p99: float

    def at(self, percentile: int | None) -> float:
        """The quantile of a percentile that is reported, or the mean."""
        return {None: self.mean, 50: self.p50, 90: self.p90, 99: self.p99}[percentile]


class OpenLoopDocument(Document):
    """What requests see that arrive at random (Poisson) at the rate asked, dealt evenly over all replicas.

    `ttft_s`, `tpot_s` and `performance.requests_per_second` beside it are of the full batch in closed loop. All but the
    rate and the utilisation is None where requests come faster than they can be served.
    """

    requests_per_second: float
    """The rate asked, over all replicas."""
    utilisation: float
    """That rate over what the full batches carry in closed loop."""
    running: float | None
    """Mean requests in the batches of all replicas."""
    waiting_share: float | None
    """Share of the requests that find every slot taken."""
    ttft_s: LatencyDocument | None
    tpot_s: LatencyDocument | None
    """None also where no request makes two tokens."""
    end_to_end_s: LatencyDocument | None
    """From arrival to the last token."""
    sustained_requests_per_second: float | None = None
    """Most that all replicas carry within the latency targets; None where none is asked, and in estimates."""


class BurstDocument(Document):
    """What requests see that come all at once to idle replicas, dealt evenly."""

    requests: int
    """Over all replicas."""
    makespan_s: float
    """Until the last answer is complete."""
    output_tokens_per_second: float | None
    """Tokens of all answers over the makespan."""
    ttft_s: LatencyDocument
    end_to_end_s: LatencyDocument
    """To the last token."""


class PerformanceDocument(Document):
    """Speed of the whole deployment (all replicas). None = does not apply."""

    output_tokens_per_second: float | None
    tokens_per_second: float | None
    tokens_per_second_per_gpu: float | None
    requests_per_second: float | None
    ttft_s: float | None
    tpot_s: float | None
    prefill_s: float | None = None
    step_s: float | None
    mfu: float | None
    bound_by: str
    seconds_by_cause: Mapping[str, float] = {}
    """Seconds of one step by cause."""
    open_loop: OpenLoopDocument | None = None
    """Where `targets.requests_per_second` is asked."""
    burst: BurstDocument | None = None
    """Where `targets.burst` is asked."""


class CostDocument(Document):
    usd_per_hour: float | None
    usd_per_million_output_tokens: float | None
    usd_total: float | None
    """Over the horizon (serving) or to the token target (training)."""
    basis: str | None = None
    """Which price this is: offer or node, procurement, source and date."""


class DerivationStep(Document):
    """One line of `plan explain`: a formula, the numbers put in, the result."""

    figure: str
    """Key of the figure derived (`memory.per_gpu_bytes.kv_cache` ...)."""
    formula: str
    numbers: str
    result: str
    source: str


class WorkloadEstimate(Document):
    """One workload in one configuration."""

    name: str
    mode: Literal["infer", "train"]
    model: str
    engine: str
    gpu: str
    gpu_name: str
    gpus: int
    """replicas x data x tensor x pipeline x context parallel."""
    replicas: int
    host: str
    """Id of the node or offer it sits in."""
    fits: bool
    params_total: int
    params_active: int
    config: Mapping[str, ConfigValue]
    memory: MemoryDocument
    performance: PerformanceDocument
    intervals: Mapping[str, tuple[int, int] | tuple[float, float] | None]
    """90 % prediction intervals by key."""
    cost: CostDocument
    power_kw: float | None
    kg_co2_per_month: float | None = None
    warnings: tuple[str, ...] = ()
    derivation: tuple[DerivationStep, ...] = ()


class FailedEstimate(Document):
    """A workload that cannot be estimated as pinned."""

    name: str
    error: str


class EstimateDocument(Document):
    schema_: Literal["planner/estimate/v1"] = Field(default="planner/estimate/v1", alias="schema")
    workloads: tuple[WorkloadEstimate | FailedEstimate, ...]
