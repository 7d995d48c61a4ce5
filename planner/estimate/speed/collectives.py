"""Time of collective communication: latency plus bytes over the rate that a ring of that size reaches.

    all-reduce of S bytes over n GPUs        latency + 2 (n - 1)/n S/rate, or one-shot: (n - 1) S/link, less latency
    all-gather, reduce-scatter (S = whole)   latency +   (n - 1)/n S/rate
    all-to-all, S sent by each GPU           latency +   (n - 1)/n S/rate
    point to point                           latency + S/rate

A group wider than a node works in two levels: inside the node, then with every GPU's share across nodes.
Constants: NCCL measurements in `catalogs/kernels.yaml`, median |log error| .07 to .19.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from planner.errors import UnknownNameError
from planner.estimate.speed.columns import Kinds
from planner.estimate.speed.kernels import Kernels, LinkRow
from planner.estimate.types import Floats, Hardware, Ints, distinct_rows

NVLINK_OVER_PCIE = 1.25
"""A link this much faster than PCIe is a link of its own (NVLink, xGMI), not PCIe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The links of one communication group, one entry per way."""

    inside: Floats
    """GPUs of the group in one node."""
    nodes: Floats
    """Nodes the group spans."""
    latency_s: Floats
    bytes_per_second: Floats
    one_shot_s: Floats
    """Infinite where no one-shot kernel exists."""
    one_shot_bytes_per_second: Floats
    network_latency_s: Floats
    network_bytes_per_second: Floats


def group_of(
    kernels: Kernels, hw: Hardware, kinds: Kinds, *, size: Ints | Floats, per_node: Ints | Floats | None = None
) -> Group:
    """The group of `size` GPUs of which at most `per_node` (all, where not given) sit in one node."""
    room = np.maximum(1.0, np.minimum(hw.node_gpus, per_node if per_node is not None else hw.node_gpus))
    inside = np.minimum(np.asarray(size, dtype=np.float64), room)
    nodes = np.ceil(np.asarray(size, dtype=np.float64) / inside)
    linked = (hw.link_bytes_per_second > NVLINK_OVER_PCIE * hw.pcie_bytes_per_second) & (inside <= hw.link_num_gpus)
    kind = np.where(linked, "nvlink", np.where(hw.p2p, "pcie", "pcie_no_p2p"))
    line_rate = np.where(linked, hw.link_bytes_per_second, hw.pcie_bytes_per_second)
    latency, share, one_shot, one_shot_share = _by_row(kernels, kinds, kind, inside)
    if (nodes > 1).any():
        hop, network_share, _, _ = _by_row(kernels, kinds, np.asarray(["network"]), nodes)
    else:  # nothing crosses the network, so what it would take is never looked at
        hop, network_share = np.zeros(1), np.ones(1)
    return Group(
        inside=inside,
        nodes=nodes,
        latency_s=latency,
        bytes_per_second=line_rate * share,
        one_shot_s=one_shot,
        one_shot_bytes_per_second=line_rate * one_shot_share,
        network_latency_s=hop + kernels.shared.network_hop_s * np.log2(np.maximum(nodes, 1.0)),
        network_bytes_per_second=np.maximum(hw.network_bytes_per_second, 1.0) * network_share,
    )


def all_reduce_s(group: Group, n_bytes: Floats) -> Floats:
    """Seconds until every GPU of the group has the sum of `n_bytes` bytes."""
    g, m = group.inside, group.nodes
    ring = group.latency_s + 2.0 * (g - 1) / g * n_bytes / group.bytes_per_second
    one_shot = group.one_shot_s + (g - 1) * n_bytes / group.one_shot_bytes_per_second
    inside = np.where(g > 1, np.minimum(ring, one_shot), 0.0)
    across = group.network_latency_s + 2.0 * (m - 1) / m * (n_bytes / g) / group.network_bytes_per_second
    return inside + np.where(m > 1, across, 0.0)


def all_gather_s(group: Group, n_bytes: Floats) -> Floats:
    """Seconds until every GPU holds all `n_bytes` bytes, each had its share. Reduce-scatter takes as long."""
    g, m = group.inside, group.nodes
    inside = np.where(g > 1, group.latency_s + (g - 1) / g * n_bytes / group.bytes_per_second, 0.0)
    across = group.network_latency_s + (m - 1) / m * (n_bytes / g) / group.network_bytes_per_second
    return inside + np.where(m > 1, across, 0.0)


def all_to_all_s(group: Group, n_bytes: Floats) -> Floats:
    """Seconds until every GPU has sent its `n_bytes` bytes to all others, evenly."""
    g, n = group.inside, group.inside * group.nodes
    inside = np.where(g > 1, group.latency_s + (g - 1) / n * n_bytes / group.bytes_per_second, 0.0)
    across = group.network_latency_s + (n - g) / n * n_bytes / group.network_bytes_per_second
    return inside + np.where(group.nodes > 1, across, 0.0)


def point_to_point_s(group: Group, n_bytes: Floats) -> Floats:
    """Seconds to hand `n_bytes` bytes to the next GPU, over the network where the group spans nodes."""
    near = group.latency_s + n_bytes / group.bytes_per_second
    far = group.network_latency_s + n_bytes / group.network_bytes_per_second
    return np.where(group.nodes > 1, far, np.where(group.inside > 1, near, 0.0))


def _by_row(
    kernels: Kernels, kinds: Kinds, kind: np.ndarray[tuple[int], np.dtype[np.str_]], size: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Latency, rate share, one-shot latency and its rate share, each interpolated in log2 of the group size."""
    num_ways = max(len(kinds.index), len(kind), len(size))
    steps = np.log2(np.broadcast_to(size, num_ways))
    out = tuple(np.ones(num_ways) for _ in range(4))
    first, index = distinct_rows(np.broadcast_to(kind, num_ways), np.broadcast_to(kinds.index, num_ways))
    chosen = [
        _link_row(kernels, kinds.pairs[pair][0], str(name))
        for name, pair in zip(
            np.broadcast_to(kind, num_ways)[first], np.broadcast_to(kinds.index, num_ways)[first], strict=True
        )
    ]
    rows = list({id(r): r for r in chosen}.values())
    of_way = np.array([next(n for n, r in enumerate(rows) if r is row) for row in chosen])[index]
    for n, row in enumerate(rows):
        mine = np.flatnonzero(of_way == n)
        out[0][mine] = _interpolated(row.latency_s, steps[mine])
        out[1][mine] = _interpolated(row.rate_share, steps[mine])
        out[2][mine] = np.inf if row.one_shot_s is None else row.one_shot_s
        out[3][mine] = row.one_shot_share
    return out[0], out[1], out[2], out[3]


def _link_row(kernels: Kernels, arch: str, kind: str) -> LinkRow:
    of_kind = [r for r in kernels.links if r.kind == kind]
    for row in (*(r for r in of_kind if r.arch == arch), *(r for r in of_kind if r.arch == "any")):
        return row
    raise UnknownNameError(f"{kind} link of architecture", arch, sorted({r.arch for r in of_kind}))


def _interpolated(by_size: Mapping[int, float], log2_size: Floats) -> Floats:
    sizes = sorted(by_size)
    return np.interp(log2_size, np.log2(sizes), [by_size[s] for s in sizes])
