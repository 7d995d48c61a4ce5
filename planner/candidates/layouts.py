"""How a model may be laid out on each kind of machine: columns of splits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from planner.architecture.types import Model
from planner.candidates.planning import Splits
from planner.catalog.hosts import Host
from planner.estimate.types import Ints
from planner.spec.types import Pin

NODE_STEPS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""Numbers of whole nodes that are tried."""
LONG_SEQUENCE_TOKENS = 32768
"""Below this, splitting the tokens of one sequence gains nothing."""
Split = tuple[int, int, int, int, int]
"""Tensor, pipeline, data, context, expert."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layouts:
    """One entry per way to lay one replica out; parallel degrees as in `InferWays` and `TrainWays`."""

    kind: Ints
    tensor: Ints
    pipeline: Ints
    data: Ints
    context: Ints
    expert: Ints
    nodes: Ints
    """Whole nodes that one replica spans; 1 = a part of one node, or all of it."""

    @classmethod
    def of(cls, kind: Ints, splits: Ints, nodes: Ints) -> Self:
        """From columns; one row of `splits` is a `Split`."""
        tensor, pipeline, data, context, expert = np.ascontiguousarray(splits.T)
        return cls(kind=kind, tensor=tensor, pipeline=pipeline, data=data, context=context, expert=expert, nodes=nodes)

    def __len__(self) -> int:
        return len(self.kind)

    def take(self, rows: Ints) -> Self:
        """The rows named."""
        return type(self)(
            kind=self.kind[rows],
            tensor=self.tensor[rows],
            pipeline=self.pipeline[rows],
            data=self.data[rows],
            context=self.context[rows],
            expert=self.expert[rows],
            nodes=self.nodes[rows],
        )

    @property
    def gpus(self) -> Ints:
        """GPUs of one replica."""
        return self.tensor * self.pipeline * self.data * self.context


def divisors(number: int) -> tuple[int, ...]:
    """All divisors, smallest first.

    >>> divisors(12)
    (1, 2, 3, 4, 6, 12)
    """
    return tuple(d for d in range(1, number + 1) if number % d == 0)


def head_divisors(model: Model) -> tuple[int, ...]:
    """Tensor-parallel degrees that deal whole attention heads out in every layer; 1 where there are none."""
    heads = [b.attention.num_heads for b in model.stack("decoder", "encoder") if b.attention is not None]
    if not heads:
        return (1,)
    return divisors(int(np.gcd.reduce(heads)))


def num_experts(model: Model) -> int:
    """Routed experts of a layer; 0 for dense models."""
    return max((b.moe.num_experts for b in model.blocks if b.moe is not None), default=0)


def degrees(pinned: int | None, open_choices: Iterable[int]) -> tuple[int, ...]:
    """The pinned degree alone, else the open choices."""
    return tuple(open_choices) if pinned is None else (pinned,)


def node_counts(host: Host, splits: Splits, *, several: bool, most: int, smallest: int) -> tuple[int, ...]:
    """Numbers of whole nodes to try: one, or (`several`) more, where engine, network and size of the node allow it."""
    if not several:
        return (1,)
    if "nodes" not in splits.dimensions or not host.network_bytes_per_second_per_gpu or host.num_gpus < smallest:
        return ()
    return tuple(n for n in NODE_STEPS if n <= most)


def infer_layouts(
    model: Model,
    splits: Splits,
    pin: Pin,
    kinds: Sequence[tuple[int, Host]],
    *,
    several: bool,
    most_nodes: int,
    smallest_node: int,
) -> Layouts:
    """Layouts of one replica within a node, or over `several` whole nodes.

    Within a node GPUs per replica divide the node's, so that replicas pack. Over nodes tensor parallel fills a
    node and pipeline stages go from node to node. Nodes of fewer than `smallest_node` GPUs are not joined.
    """
    most = min(most_nodes, max(1, model.num_layers))
    return spread(
        ((k, h, node_counts(h, splits, several=several, most=most, smallest=smallest_node)) for k, h in kinds),
        lambda num_gpus, nodes: infer_rows(model, splits, pin, num_gpus, nodes),
    )


def spread(
    kinds: Iterable[tuple[int, Host, tuple[int, ...]]], splits_of: Callable[[int, int], Iterable[Split]]
) -> Layouts:
    """The splits of every kind of machine over each of its numbers of nodes; those of nodes with equal numbers of
    GPUs are found once."""
    known: dict[tuple[int, int], Ints] = {}
    places: list[tuple[int, int]] = []
    tables: list[Ints] = []
    for kind, host, counts in kinds:
        for nodes in counts:
            at = host.num_gpus, nodes
            if at not in known:
                known[at] = np.array(list(splits_of(*at)), dtype=np.int64).reshape(-1, 5)
            places.append((kind, nodes))
            tables.append(known[at])
    rows = np.array(places, dtype=np.int64).reshape(-1, 2)
    kind_column, node_column = np.repeat(rows, [len(t) for t in tables], axis=0).T
    return Layouts.of(kind_column, np.concatenate([np.empty((0, 5), dtype=np.int64), *tables]), node_column)


def infer_rows(model: Model, splits: Splits, pin: Pin, num_gpus: int, nodes: int) -> Iterator[Split]:
    """How one replica may be split over so many nodes of `num_gpus` GPUs."""
    whole = num_gpus * nodes
    experts = num_experts(model)
    tensor_open = head_divisors(model) if "tensor" in splits.dimensions else (1,)
    tensor_open = tuple(t for t in tensor_open if num_gpus % t == 0)
    for tensor in degrees(pin.tensor_parallel, tensor_open):
        stages = divisors(whole // tensor) if "pipeline" in splits.dimensions and tensor <= whole else (1,)
        for pipeline in degrees(pin.pipeline_parallel, (s for s in stages if s <= max(1, model.num_layers))):
            for data in degrees(pin.data_parallel, (1,)):
                for context in degrees(pin.context_parallel, (1,)):
                    gpus = tensor * pipeline * data * context
                    if not seats(gpus, num_gpus, nodes):
                        continue
                    spread = tensor * data
                    both = experts and "expert" in splits.dimensions and spread > 1 and experts % spread == 0
                    for expert in degrees(pin.expert_parallel, (1, spread) if both else (1,)):
                        yield tensor, pipeline, data, context, expert


def seats(gpus: int, num_gpus: int, nodes: int) -> bool:
    """The GPUs of a replica are a part that divides one node of `num_gpus` GPUs, or all of several nodes."""
    if nodes > 1:
        return gpus == num_gpus * nodes
    return gpus <= num_gpus and num_gpus % gpus == 0


def train_layouts(
    model: Model,
    splits: Splits,
    pin: Pin,
    kinds: Sequence[tuple[int, Host]],
    *,
    several: bool,
    most_nodes: int,
    smallest_node: int,
    global_batch: int,
    sequence_tokens: int,
    needs_ranks: bool,
) -> Layouts:
    """Layouts of one training run within a node, or over `several` whole nodes.

    Data-parallel ranks divide the global batch. `needs_ranks` leaves out runs of one rank,
    where sharding over ranks is nothing but another name for no sharding.
    """
    return spread(
        ((k, h, node_counts(h, splits, several=several, most=most_nodes, smallest=smallest_node)) for k, h in kinds),
        lambda num_gpus, nodes: train_rows(
            model, splits, pin, num_gpus, nodes, global_batch, sequence_tokens, needs_ranks
        ),
    )


def even_stages(num_layers: int, counts: Iterable[int]) -> tuple[int, ...]:
    """Pipeline stages of at least two layers that hold equal numbers of them; a prime number of layers is dealt
    unevenly, for else it could not be dealt at all.

    >>> even_stages(32, (1, 2, 3, 4, 6)), even_stages(61, (1, 2, 4))
    ((1, 2, 4), (1, 2, 4))
    """
    able = tuple(n for n in counts if n == 1 or n <= num_layers // 2)
    even = tuple(n for n in able if num_layers % n == 0)
    return even if len(even) > 1 else able


def train_rows(
    model: Model,
    splits: Splits,
    pin: Pin,
    num_gpus: int,
    nodes: int,
    global_batch: int,
    sequence_tokens: int,
    needs_ranks: bool,
) -> Iterator[Split]:
    """How one run may be split over so many nodes of `num_gpus` GPUs."""
    whole = num_gpus * nodes
    dims = splits.dimensions
    in_node = tuple(d for d in head_divisors(model) if num_gpus % d == 0)
    stages = even_stages(model.num_layers, divisors(whole))
    rings = tuple(d for d in divisors(num_gpus) if sequence_tokens >= LONG_SEQUENCE_TOKENS or d == 1)
    experts = num_experts(model)
    for tensor in degrees(pin.tensor_parallel, in_node if "tensor" in dims else (1,)):
        for pipeline in degrees(pin.pipeline_parallel, stages if "pipeline" in dims else (1,)):
            for context in degrees(pin.context_parallel, rings if "context" in dims else (1,)):
                group = tensor * pipeline * context
                if group > whole:
                    continue
                ranks = (whole // group,) if nodes > 1 else divisors(whole // group)
                for data in degrees(pin.data_parallel, ranks if "data" in dims else (1,)):
                    if not seats(group * data, num_gpus, nodes) or global_batch % data:
                        continue
                    if needs_ranks and data * context == 1:
                        continue
                    spread = data * context
                    both = experts and "expert" in dims and spread > 1 and experts % spread == 0
                    for expert in degrees(pin.expert_parallel, (1, spread) if both else (1,)):
                        yield tensor, pipeline, data, context, expert
