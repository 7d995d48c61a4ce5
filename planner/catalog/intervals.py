"""How far predictions have been off, by kind of workload: factors of prediction intervals.

Factors multiply the prediction. Those of speeds and of times to first token are factors on the *rate*, so that rates
and times share one record: a time takes their inverse (`bounds` does so).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from pathlib import Path
from statistics import NormalDist
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Field, model_validator

from planner.catalog.types import Fact, PositiveFloat
from planner.plain_yaml import load_yaml
from planner.resources import data_folder

Figure = Literal[
    "memory",
    "allocated",
    "reserved",
    "device",
    "static",
    "buffers",
    "weights",
    "kv_pool",
    "workspace",
    "speed",
    "throughput",
    "tpot",
    "prefill",
    "latency",
    "step",
    "ttft",
]
Share = Annotated[float, Field(gt=0.0, lt=1.0)]

PARENT: Mapping[Figure, Figure] = MappingProxyType(
    {
        "allocated": "memory",
        "reserved": "memory",
        "device": "memory",
        "static": "memory",
        "buffers": "memory",
        "weights": "buffers",
        "kv_pool": "buffers",
        "workspace": "buffers",
        "throughput": "speed",
        "tpot": "speed",
        "prefill": "speed",
        "latency": "speed",
        "step": "speed",
        "ttft": "speed",
    }
)
"""What a figure counts as where it has no record of its own."""

FIGURE_OF: Mapping[str, Figure] = MappingProxyType(
    {
        "allocated_peak_bytes": "allocated",
        "reserved_peak_bytes": "reserved",
        "device_peak_bytes": "device",
        "static_bytes": "static",
        "weights": "weights",
        "kv_cache": "kv_pool",
        "kv_cache_tokens": "kv_pool",
        "workspace": "workspace",
        "output_tokens_per_second": "throughput",
        "requests_per_second": "throughput",
        "tokens_per_second": "throughput",
        "tokens_per_second_per_gpu": "throughput",
        "ttft_s": "ttft",
        "tpot_s": "tpot",
        "prefill_s": "prefill",
        "end_to_end_s": "latency",
        "step_s": "step",
        "mfu": "throughput",
    }
)
"""Keys of an estimate and the figure whose record holds for them."""

SHIPPED_CONFIDENCE = 0.9
"""What `low` and `high` are the ends of."""


class IntervalFact(Fact):
    """Factors: 90 % of the measurements of a kind lay between `low` and `high` times the prediction."""

    figure: Figure
    kind: str
    """`infer`, `train`, or a prefix such as `train_lora`; the longest prefix of the workload's kind counts."""
    engines: tuple[str, ...] = ()
    """Engines it holds for; empty = all."""
    low: PositiveFloat
    high: PositiveFloat
    factors: Mapping[Share, tuple[PositiveFloat, PositiveFloat]] = Field(default_factory=dict)
    """Both ends at further confidences: `0.5: [0.98, 1.01]`."""
    rows: int
    """Measurements behind it; 0 = judged."""
    sources: int = 0
    """Published tables or machines that they come from; 0 = not counted."""

    @model_validator(mode="after")
    def _ends_are_in_order(self) -> IntervalFact:
        pairs = [*self.factors.items(), (SHIPPED_CONFIDENCE, (self.low, self.high))]
        wrong = [c for c, (low, high) in pairs if low > high]
        if wrong:
            raise ValueError(f"low is above high at confidence {wrong[0]:g}")
        return self

    def ends(self, confidence: float) -> tuple[float, float]:
        """Both factors of the central interval that holds a share `confidence` of measurements.

        Between recorded confidences, and beyond them, the logarithm of a factor is linear in the normal quantile:
        exact where errors are log-normal. The prediction itself always lies inside.
        """
        known = {SHIPPED_CONFIDENCE: (self.low, self.high), **self.factors}
        depths = sorted((_depth(c), *ends) for c, ends in known.items())
        places = [0.0, *(d for d, _, _ in depths)]
        lows = [0.0, *(min(0.0, math.log(low)) for _, low, _ in depths)]
        highs = [0.0, *(max(0.0, math.log(high)) for _, _, high in depths)]
        at = _depth(confidence)
        return math.exp(min(0.0, _on_line(at, places, lows))), math.exp(max(0.0, _on_line(at, places, highs)))

    def factor_at(self, quantile: float) -> float:
        """The factor below which a share `quantile` of measurements lie; 1 at one half."""
        if quantile == 0.5:
            return 1.0
        low, high = self.ends(abs(2.0 * quantile - 1.0))
        return high if quantile > 0.5 else low


def _depth(confidence: float) -> float:
    """Standard deviations from the middle to the ends of a central interval of a normal distribution."""
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"a confidence lies between 0 and 1, not {confidence:g}")
    return NormalDist().inv_cdf((1.0 + confidence) / 2.0)


def _on_line(at: float, places: list[float], values: list[float]) -> float:
    """Linear between the places, and beyond the last as before it."""
    last = next((i for i in range(1, len(places)) if at <= places[i]), len(places) - 1)
    slope = (values[last] - values[last - 1]) / (places[last] - places[last - 1])
    return values[last - 1] + slope * (at - places[last - 1])


def load_intervals(path: Path) -> tuple[IntervalFact, ...]:
    """The entries of one file."""
    raw = load_yaml(path.read_bytes())
    return tuple(IntervalFact.model_validate(entry) for entry in raw)


@functools.cache
def interval_facts() -> tuple[IntervalFact, ...]:
    """The shipped entries."""
    return load_intervals(data_folder("catalogs") / "intervals.yaml")


def interval_of(facts: tuple[IntervalFact, ...], *, figure: Figure, kind: str, engine: str) -> IntervalFact:
    """The entry for a figure of a kind of workload under an engine.

    Entries of the figure itself or of what it counts as; those that name the engine first, then the longest matching
    kind, then the figure's own. Raises LookupError where the catalog has none.
    """
    line = lineage(figure)
    fitting = [f for f in facts if f.figure in line and kind.startswith(f.kind)]
    fitting = [f for f in fitting if not f.engines or engine in f.engines]
    if not fitting:
        raise LookupError(f"no interval for {figure} of {kind}")
    return max(fitting, key=lambda f: (bool(f.engines), len(f.kind), -line.index(f.figure)))


def lineage(figure: Figure) -> tuple[Figure, ...]:
    """The figure and what it counts as, one after another.

    >>> lineage("tpot")
    ('tpot', 'speed')
    """
    return (figure, *lineage(PARENT[figure])) if figure in PARENT else (figure,)


def bounds(
    kind: str, key: str, confidence: float, *, engine: str, facts: tuple[IntervalFact, ...] | None = None
) -> tuple[float, float]:
    """Factors on one figure of an estimate between which a share `confidence` of measurements lay.

    `key` is the estimate's (`device_peak_bytes`, `tpot_s`, a part of `per_gpu_bytes` ...); times have theirs turned
    round. Raises LookupError where the catalog has no record of the kind, ValueError unless 0 < confidence < 1.
    """
    figure = FIGURE_OF.get(key)
    if figure is None:
        raise LookupError(f"no interval is recorded for {key}")
    shipped = interval_facts() if facts is None else facts
    low, high = interval_of(shipped, figure=figure, kind=kind, engine=engine).ends(confidence)
    return (1.0 / high, 1.0 / low) if key.endswith("_s") else (low, high)
