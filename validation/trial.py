"""One trial: what a child process is told, as plain data that travels in a file.

A trial is a configuration with every choice made, what was predicted for it, and how the device is to be prepared. It
comes from a plan (`planfile.py`) or a suite (`suite.py`); `tiny.py` shrinks it for a machine without a GPU.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

DEFAULT_TIME_LIMIT_S = 300.0
NOT_RUN = ("expected", "fits", "time_limit_s", "group", "seconds")
"""What is said of a trial without being part of it."""


class TrialError(ValueError):
    """A plan, suite or trial that cannot be replayed, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What was predicted for one rule of `record.UNIT_OF_RULE`; the interval holds 90 % of measurements."""

    predicted: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One configuration of one replica."""

    id: str
    mode: str
    """infer or train."""
    engine: str
    gpu: str
    """Catalog id of the planned GPU."""
    gpus: int
    """Of one replica."""
    nodes: int = 1
    model: Mapping[str, Any]
    """Keys of a config.json."""
    config: Mapping[str, Any]
    """Every decision, by the names of `pin`: precision, batch, lengths, degrees, offload ..."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The engine's options with the workload's own laid over them."""
    workload: Mapping[str, Any] = field(default_factory=dict)
    """The workload as a pinned spec entry: predictions are made again from it."""
    expected: Mapping[str, Expected] = field(default_factory=dict)
    fits: bool | None = None
    """Whether the configuration was predicted to fit."""
    usable_bytes: int | None = None
    """Device memory of the planned GPU that a process can use."""
    emulate_bytes: int | None = None
    """Make the card look as if it had only this much usable memory."""
    tiny: bool = False
    """The model and lengths stand for larger ones, which nothing was measured of."""
    time_limit_s: float = DEFAULT_TIME_LIMIT_S
    group: str = ""
    """What a suite calls the kind of trial."""
    seconds: float | None = None
    """How long it should take on the card it is run on, set-up included; None = as its own predictions say."""

    def number(self, key: str, default: int = 1) -> int:
        """A whole number of the configuration, `default` where it is left out."""
        value = self.config.get(key)
        return default if value is None else int(value)

    def share(self, key: str) -> float:
        """A share of the offload split, 0 where nothing is offloaded."""
        split = self.config.get("offload") or {}
        return float(split.get(key) or 0.0)

    def text(self, key: str, default: str = "") -> str:
        """A word of the configuration."""
        value = self.config.get(key)
        return default if value is None else str(value)

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @property
    def digest(self) -> str:
        """SHA-256 of what is run, without what was predicted: the same digest is the same measurement."""
        raw = {k: v for k, v in self.as_dict().items() if k not in NOT_RUN}
        return hashlib.sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest()

    def emulating(self, usable_bytes: int) -> Trial:
        """The same trial on a card made to look smaller."""
        return replace(self, emulate_bytes=usable_bytes)


def trial_of(raw: Mapping[str, Any]) -> Trial:
    """The trial in plain data. Raises TrialError."""
    try:
        expected = {
            rule: Expected(predicted=e["predicted"], interval=tuple(e["interval"]) if e.get("interval") else None)
            for rule, e in (raw.get("expected") or {}).items()
        }
        return Trial(**{**raw, "expected": expected})
    except (TypeError, KeyError) as err:
        raise TrialError(f"not a trial: {err}") from None


def slug(text: str) -> str:
    """A name that is safe as a file's: lower case letters, digits, `._-`.

    >>> slug("meta-llama/Llama 3.1 (8B)")
    'meta-llama-llama-3.1-8b'
    """
    return re.sub(r"[^a-z0-9._]+", "-", text.casefold()).strip("-._") or "trial"
