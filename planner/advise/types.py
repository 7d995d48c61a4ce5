"""Advice as it stands in `plan estimate --json`, beside each estimate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from planner.estimate.document import Document, FailedEstimate, WorkloadEstimate


class FittingGpu(Document):
    """A GPU of the catalog on which the workload fits, split as pinned, in the first open choice that fits."""

    gpu: str
    precision: str
    gpus: int
    """GPUs of all replicas."""
    device_peak_bytes: int
    usable_bytes: int
    usd_per_hour: float | None
    """The GPUs of all replicas on demand; None = nobody publishes a price."""


class Change(Document):
    """One change that would make the workload fit on this kind of GPU."""

    change: str
    """In words."""
    keys: Mapping[str, str | int | float]
    """Keys of the workload in the spec, with the values to give them."""
    gpus: int
    """GPUs of one replica after the change."""
    device_peak_bytes: int
    spare_bytes: int
    """What stays free of the limit on the fullest GPU."""
    max_batch: int
    """Sequences in flight of a replica (inference), or the micro-batch (training), that then find room."""


class LongestContext(Document):
    """The longest requests (inference) or sequences (training) that still fit; 0 tokens = none does."""

    input_tokens: int
    output_tokens: int
    num_tokens: int
    batch: int
    """Sequences in flight of a replica (inference), or the micro-batch (training)."""
    is_models_maximum: bool
    """The model's own context ends there; memory would hold more."""


class Advice(Document):
    """What fits around one estimate. Bytes are of the fullest GPU."""

    spare_bytes: int
    """Limit (usable less headroom) less the peak; negative where it does not fit."""
    plus_minus_bytes: int
    """From the predicted peak to the upper end of its interval."""
    max_batch: int
    """Sequences in flight of a replica (inference), or the largest micro-batch (training); 0 = none."""
    longest_context: LongestContext | None
    """None where requests have no length (images, audio) or many (traffic)."""
    fits_on: tuple[FittingGpu, ...]
    """Cheapest first, unknown prices last."""
    too_small: int
    """GPUs that could run it but have too little memory."""
    changes: tuple[Change, ...]
    """Smallest first, several together where no single one does; empty where it fits, or where nothing mends it."""


class AdvisedEstimate(WorkloadEstimate):
    """An estimate with its advice."""

    advice: Advice | None = None


class AdvisedDocument(Document):
    """`planner/estimate/v1` with its extra keys."""

    schema_: Literal["planner/estimate/v1"] = Field(default="planner/estimate/v1", alias="schema")
    confidence: float
    """Share of measurements inside the `intervals`."""
    fits_at_confidence: float | None
    """Confidence at which `fits` was asked; None = at the prediction itself."""
    workloads: tuple[AdvisedEstimate | FailedEstimate, ...]
