"""Around the GPU: processor memory, disks, links and network, with every inference named.

A catalog node states its host. A rented instance states little, so the rest is taken from a catalog node with
the same GPU (its share by GPU count), else from a typical host; each figure taken so is an assumption with a name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from planner.catalog.load import Catalog
from planner.catalog.mig import MigPart
from planner.catalog.types import Gpu, HostTemplate, Node, Offer
from planner.errors import InputError
from planner.units import gib


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One machine with GPUs. Rates are one direction; RAM, NVMe and power are the whole machine's."""

    id: str
    """Node id, offer id, or the name of a typical host."""
    gpu: str
    num_gpus: int
    gpu_share: float = 1.0
    """Share of one GPU that is rented (fractional instances)."""
    part: MigPart | None = None
    """The part of one GPU that stands for the GPU (MIG); None = whole GPUs."""
    ram_bytes: int
    ram_bytes_per_second: float
    """Theoretical sum over sockets."""
    nvme_bytes: int | None
    nvme_bytes_per_second: float | None
    link_bytes_per_second: float | None
    """GPU to GPU, per GPU; None for a single GPU."""
    link_num_gpus: int
    """GPUs that share the link; traffic beyond goes over PCIe."""
    link_peer_bytes_per_second: float | None
    """What one pair sees on a mesh without a switch; None = all of the link."""
    link_is_p2p: bool
    """False: traffic between GPUs bounces through host memory."""
    pcie_bytes_per_second: float | None
    """Host to one GPU (PCIe or NVLink-C2C); None where nobody publishes it or memory is shared."""
    network_bytes_per_second_per_gpu: float | None
    """Node to node; None = nothing published, so no multi-node work."""
    power_kw: float | None
    """Maximum draw with GPUs; None = not published."""
    rack_units: float | None
    assumptions: tuple[str, ...]
    """Everything that was not in the source, in words for people."""


def host_of_node(catalog: Catalog, node: Node) -> Host:
    """The host as the catalog node states it."""
    gpu = catalog.gpu(node.gpu)
    assumptions = []
    if node.nvme_bytes is None or node.nvme_bytes_per_second is None:
        assumptions.append(f"{node.id}: local NVMe is not published, so nothing is offloaded to disk")
    if node.network_bytes_per_second_per_gpu is None:
        assumptions.append(f"{node.id}: network is not published, so it is planned alone")
    if node.power_kw is None:
        assumptions.append(f"{node.id}: power is not published")
    host = Host(
        id=node.id,
        gpu=gpu.id,
        num_gpus=node.num_gpus,
        ram_bytes=node.ram_bytes,
        ram_bytes_per_second=node.ram_bytes_per_second,
        nvme_bytes=node.nvme_bytes,
        nvme_bytes_per_second=node.nvme_bytes_per_second,
        link_bytes_per_second=node.link_bytes_per_second,
        link_num_gpus=node.link_num_gpus,
        link_peer_bytes_per_second=node.link_peer_bytes_per_second,
        link_is_p2p=node.link_is_p2p,
        pcie_bytes_per_second=host_link(gpu),
        network_bytes_per_second_per_gpu=node.network_bytes_per_second_per_gpu,
        power_kw=node.power_kw,
        rack_units=node.rack_units,
        assumptions=tuple(assumptions),
    )
    return without_shared_memory(host, gpu)


def host_of_offer(catalog: Catalog, offer: Offer) -> Host:
    """The host of a rented instance: its own RAM where stated, the rest from a like node or a typical host."""
    gpu = catalog.gpu(offer.gpu)
    num_gpus = max(1, math.ceil(offer.num_gpus))
    like = like_node(catalog, gpu, num_gpus)
    whole = host_of_node(catalog, like) if like else typical_host(catalog, gpu, num_gpus)
    base = slice_of_host(whole, num_gpus)
    whence = f"catalog node {like.id}" if like else f"typical host {base.id}"
    share = min(1.0, offer.num_gpus)
    assumptions = [
        *(base.assumptions if like is None else ()),
        f"{offer.id}: links, RAM bandwidth, NVMe, network and power are not published; taken from {whence}",
    ]
    ram_bytes = offer.ram_bytes
    if ram_bytes is None:
        ram_bytes = int(base.ram_bytes * share)
        assumptions.append(f"{offer.id}: RAM is not published; {gib(ram_bytes, 0)} taken from {whence}")
    if share < 1:
        assumptions.append(f"{offer.id}: {share:g} of one GPU; memory, bandwidth and compute are taken as that share")
    host = replace(base, id=offer.id, gpu_share=share, ram_bytes=ram_bytes, assumptions=tuple(assumptions))
    return without_shared_memory(host, gpu)


def default_host(catalog: Catalog, gpu_id: str, num_gpus: int) -> Host:
    """Where a GPU pinned without a node sits: the smallest catalog node that holds enough of them.

    More GPUs than any node holds go to the largest node with a network figure; but workstations are no cluster, so
    four RTX 4090 stand in one larger machine if a typical host takes them all, and not in two with a network between.
    A GPU that no node holds gets a typical host. Which one it is stands in `assumptions`.

    Raises UnknownNameError for an unknown GPU.
    """
    gpu = catalog.gpu(gpu_id)
    own = nodes_with(catalog, gpu)
    enough = [n for n in own if n.num_gpus >= num_gpus]
    desktops = bool(own) and not enough and all(n.kind == "workstation" for n in own)
    if not own or (desktops and num_gpus <= template_of(catalog, gpu).max_gpus):
        host = typical_host(catalog, gpu, num_gpus)
    else:
        networked = [n for n in own if n.network_bytes_per_second_per_gpu is not None]
        node = enough[0] if enough else max(networked or own, key=lambda n: n.num_gpus)
        host = host_of_node(catalog, node)
    number = -(-num_gpus // host.num_gpus)
    machines = f"{number} x {host.id}" if number > 1 else host.id
    return replace(host, assumptions=(f"no node is pinned for {gpu.id}: taken to sit in {machines}", *host.assumptions))


def nodes_with(catalog: Catalog, gpu: Gpu) -> list[Node]:
    """The catalog nodes that hold a GPU, fewest GPUs first."""
    return sorted((n for n in catalog.nodes.values() if n.gpu == gpu.id), key=lambda n: n.num_gpus)


def like_node(catalog: Catalog, gpu: Gpu, num_gpus: int) -> Node | None:
    """The smallest catalog node with at least as many of the GPU, else the largest; None where none holds it."""
    own = nodes_with(catalog, gpu)
    return next((n for n in own if n.num_gpus >= num_gpus), own[-1] if own else None)


def slice_of_host(whole: Host, num_gpus: int) -> Host:
    """A machine with `num_gpus` GPUs that is built like the whole one: RAM, NVMe and power by GPU count."""
    share = num_gpus / whole.num_gpus
    return replace(
        whole,
        num_gpus=num_gpus,
        ram_bytes=int(whole.ram_bytes * share),
        ram_bytes_per_second=whole.ram_bytes_per_second * share,
        nvme_bytes=None if whole.nvme_bytes is None else int(whole.nvme_bytes * share),
        nvme_bytes_per_second=None if whole.nvme_bytes_per_second is None else whole.nvme_bytes_per_second * share,
        link_bytes_per_second=whole.link_bytes_per_second if num_gpus > 1 else None,
        link_num_gpus=link_reach(whole, num_gpus),
        power_kw=None if whole.power_kw is None else whole.power_kw * share,
        rack_units=None,
    )


def link_reach(whole: Host, num_gpus: int) -> int:
    """GPUs that share the link in a larger or smaller machine of the same make.

    A link over the whole machine grows and shrinks with it; bridged pairs and quads stay what they are.
    """
    spans_machine = whole.link_num_gpus >= whole.num_gpus > 1
    return num_gpus if spans_machine else min(whole.link_num_gpus, num_gpus)


def typical_host(catalog: Catalog, gpu: Gpu, num_gpus: int) -> Host:
    """A host for GPUs that no catalog node holds, as `catalogs/hosts.yaml` describes their form factor.

    A workstation holds the GPUs asked for; a server comes with all its places filled.

    Raises InputError where no typical host takes the form factor.
    """
    template = template_of(catalog, gpu)
    held = min(num_gpus, template.max_gpus) if template.node_kind == "workstation" else template.max_gpus
    speed, reach = direct_link(gpu, held)
    power_kw = None if gpu.tdp_kw is None else template.power_kw_without_gpus + held * gpu.tdp_kw
    them = f"{num_gpus} of them" if nodes_with(catalog, gpu) else "it"
    assumptions = [
        f"{gpu.id}: the catalog holds no node with {them}; RAM, NVMe, network and host power are those of {template.id}"
    ]
    if held > 1:
        way = "NVLink or its like" if gpu.nvlink_bytes_per_second else "PCIe"
        assumptions.append(f"{gpu.id}: {way} between the GPUs of one host, from the accelerator's own figures")
    host = Host(
        id=template.id,
        gpu=gpu.id,
        num_gpus=held,
        ram_bytes=template.ram_bytes_per_gpu * held,
        ram_bytes_per_second=template.ram_bytes_per_second,
        nvme_bytes=template.nvme_bytes,
        nvme_bytes_per_second=template.nvme_bytes_per_second,
        link_bytes_per_second=speed,
        link_num_gpus=reach,
        link_peer_bytes_per_second=None,
        link_is_p2p=gpu.pcie_p2p or gpu.nvlink_bytes_per_second > 0,
        pcie_bytes_per_second=host_link(gpu),
        network_bytes_per_second_per_gpu=template.network_bytes_per_second_per_gpu,
        power_kw=power_kw,
        rack_units=template.rack_units,
        assumptions=tuple(assumptions),
    )
    return without_shared_memory(host, gpu)


def template_of(catalog: Catalog, gpu: Gpu) -> HostTemplate:
    """The typical host that takes the GPU's form factor.

    Raises InputError where none does.
    """
    for template in catalog.hosts:
        if gpu.form_factor in template.form_factors:
            return template
    raise InputError(f"{gpu.id}: catalogs/hosts.yaml has no typical host for form factor {gpu.form_factor!r}")


def part_of_host(host: Host, part: MigPart) -> Host:
    """One part of a GPU of a machine, as if it were the only GPU of a machine; power is that of one GPU's share."""
    text = (
        f"{host.gpu} cut by MIG: {part.profile} has the memory that the driver prints; bandwidth is taken as "
        f"{part.slices[1]}/{part.whole_slices[1]} of the GPU's, compute as that of {part.sm_count} multiprocessors; "
        "no run on a part is recorded, so intervals are those of whole GPUs"
    )
    return replace(
        host,
        num_gpus=1,
        part=part,
        link_bytes_per_second=None,
        link_num_gpus=1,
        network_bytes_per_second_per_gpu=None,
        power_kw=None if host.power_kw is None else host.power_kw / host.num_gpus,
        assumptions=(*host.assumptions, text),
    )


def direct_link(gpu: Gpu, num_gpus: int) -> tuple[float | None, int]:
    """Bytes per second (one direction) and reach of the link between GPUs of one host."""
    if num_gpus == 1:
        return None, 1
    if gpu.nvlink_bytes_per_second:
        return gpu.nvlink_bytes_per_second, min(num_gpus, gpu.nvlink_max_gpus or num_gpus)
    return gpu.pcie_bytes_per_second, num_gpus


def host_link(gpu: Gpu) -> float | None:
    """Bytes per second between host memory and one GPU, one direction: NVLink-C2C where there is one, else PCIe."""
    return gpu.c2c_bytes_per_second or gpu.pcie_bytes_per_second


def without_shared_memory(host: Host, gpu: Gpu) -> Host:
    """A host whose memory is the GPU's own has none left to offload to."""
    if not gpu.unified_memory:
        return host
    text = f"{gpu.id}: processor and GPU share one memory, so nothing is left to offload to"
    return replace(host, ram_bytes=0, assumptions=(*host.assumptions, text))
