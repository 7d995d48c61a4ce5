"""What one comparison is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from planner.catalog.intervals import Figure, lineage


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The figures of one estimate that rules are made of, of the whole deployment unless said otherwise.

    None = does not apply.
    """

    mode: Literal["infer", "train"]
    method: str
    """`infer`, or `full`, `lora`, `qlora` in training."""
    engine: str
    gpu: str
    arch: str
    """Architecture of the GPU."""
    fits: bool
    gpus: int
    batch: float
    """Sequences in flight, or the global batch."""
    input_tokens: int
    output_tokens: int
    part_bytes: Mapping[str, int]
    """Bytes on the fullest GPU by part; likewise the next four."""
    allocated_bytes: int
    reserved_bytes: int
    device_bytes: int
    static_bytes: int
    host_bytes: int
    kv_cache_tokens: int | None
    output_tokens_per_second: float | None
    tokens_per_second: float | None
    requests_per_second: float | None
    ttft_s: float | None
    tpot_s: float | None
    prefill_s: float | None
    step_s: float | None
    mfu: float | None

    @property
    def kind(self) -> str:
        """Kind of workload as the recorded intervals name it: `infer`, `train_full` ..."""
        return "infer" if self.mode == "infer" else f"train_{self.method}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One measured figure beside the prediction for it; `unit` says whether bytes, seconds, rates or shares."""

    record: str
    """Id of the record."""
    origin: str
    source: str
    framework: str
    """As the source calls it; else the engine."""
    model: str
    precision: str
    """Format of the weights as pinned; empty = left open."""
    rule: str
    figure: Figure
    unit: str
    measured: float
    answer: Answer | None
    """None where the workload could not be estimated."""
    predicted: float | None
    interval: tuple[float, float] | None = None
    """90 % prediction interval."""
    stands_in: bool = False
    """Another framework than the engine was measured, one without a profile of its own."""
    failure: str = ""
    """Why there is no prediction."""

    @property
    def error(self) -> float:
        """Signed relative error, 0.1 = predicted 10 % too high. Only of figures that were predicted."""
        assert self.predicted is not None
        return self.predicted / self.measured - 1.0

    @property
    def log_error(self) -> float:
        """ln(measured / predicted). Only of figures that were predicted above zero."""
        assert self.predicted is not None
        return math.log(self.measured / self.predicted)

    @property
    def is_memory(self) -> bool:
        """Bytes or tokens of memory, not seconds or rates."""
        return lineage(self.figure)[-1] == "memory"

    @property
    def inside(self) -> bool | None:
        """Measured within the interval; None where there is none."""
        if self.interval is None:
            return None
        return self.interval[0] <= self.measured <= self.interval[1]
