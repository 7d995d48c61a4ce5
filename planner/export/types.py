"""What is launched, and what a target makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from planner.estimate.document import ConfigValue

HEAD = "HEAD_ADDRESS"
"""Environment variable of every script: host name or address of a replica's first node."""
RANK = "NODE_RANK"
"""Environment variable of every script: number of a replica's node, from 0."""


class CannotExportError(Exception):
    """A target cannot say what the plan chose for a workload; the message says why and what fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Equal replicas of one workload on one kind of node: one placement of the plan."""

    slug: str
    """Names its files; unique in the plan and safe in paths, shells and manifests."""
    workload: str
    mode: str
    model: str
    engine: str
    engine_version: str
    """Profile of the catalogs that the plan rests on; empty = not recorded."""
    offer: str
    provider: str
    procurement: str
    node: str
    gpu: str
    replicas: int
    gpus: int
    """Of one replica, over all its nodes."""
    nodes: int
    """Of one replica."""
    node_gpus: int | None
    """GPUs of one node; None where the plan does not say."""
    node_ram_bytes: int | None
    host_bytes: int
    """In host memory on each node of one replica."""
    when: str
    """Period of the plan, in words; empty without periods."""
    hours: tuple[str, ...]
    config: Mapping[str, ConfigValue]
    spec: Mapping[str, Any]
    """The workload's entry of the resolved spec."""
    options: Mapping[str, ConfigValue]
    """The engine's options, defaults of its profile included."""
    architecture: Mapping[str, Any]
    """Keys of the model's config.json; empty = the plan holds none."""

    @property
    def gpus_per_node(self) -> int:
        """GPUs of one replica on each of its nodes."""
        return -(-self.gpus // self.nodes)

    def degree(self, key: str) -> int:
        """A degree of parallelism, 1 where the configuration has none."""
        value = self.config.get(key)
        return value if isinstance(value, int) else 1

    def text(self, key: str) -> str:
        """A setting as text; empty where it has no value."""
        value = self.config.get(key)
        return "" if value is None else str(value)

    def number(self, key: str) -> int:
        """A whole number that must be there. Raises CannotExportError."""
        value = self.config.get(key)
        if not isinstance(value, int) or isinstance(value, bool):
            raise CannotExportError(f"the plan's configuration has no {key}")
        return value

    def away(self, key: str) -> float:
        """Share (0..1) of something that the plan keeps outside the GPU."""
        shares = self.config.get("offload")
        return float(shares.get(key, 0.0)) if isinstance(shares, Mapping) else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How one node of one replica is started."""

    words: tuple[str, ...]
    """The command, one word each; those of `shell_words` go to the shell as they are."""
    shell_words: tuple[str, ...] = ()
    """Words that name environment variables, such as `"$NODE_RANK"`."""
    later_nodes: tuple[str, ...] = ()
    """Words that only nodes after the first get."""
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    """Text of the files that the command reads, by name; they lie beside it."""
    notes: tuple[str, ...] = ()
    """Comments for the reader."""
    needs: tuple[str, ...] = ()
    """Environment variables that the user has to set, as `NAME: what it is`."""
    image: str
    """Container image that holds the command."""
    is_image_ready: bool = True
    """The image has all it takes; else `setup` runs in it first."""
    image_folder: str = ""
    """Where the image keeps the command; empty = on its PATH."""
    setup: str
    """Command that installs what it takes."""
    port: int | None = None
    """Where a server listens; None = a job that ends."""
    health: str = "/health"


@dataclass(frozen=True, slots=True)
class Exported:
    """Files by path relative to the folder, and what could not be said."""

    files: Mapping[str, str]
    refused: tuple[str, ...]
    """One message a workload."""
