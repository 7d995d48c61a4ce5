"""The machine around a GPU, and what is said about everything that nobody published."""

from __future__ import annotations

import pytest

from planner.catalog.hosts import default_host, host_of_node, host_of_offer
from planner.catalog.load import Catalog

GIB = 1073741824


def test_a_catalog_node_needs_no_assumption(catalog: Catalog) -> None:
    host = host_of_node(catalog, catalog.node("dgx-h100"))
    assert host.assumptions == ()
    assert (host.num_gpus, host.ram_bytes, host.power_kw) == (8, 2048 * GIB, 10.2)
    assert host.pcie_bytes_per_second == 63e9
    assert host.network_bytes_per_second_per_gpu == 50e9


def test_what_a_node_lacks_is_named(catalog: Catalog) -> None:
    (text,) = host_of_node(catalog, catalog.node("trn2-48xlarge")).assumptions
    assert text == "trn2-48xlarge: power is not published"


def test_grace_hopper_offloads_over_its_own_link(catalog: Catalog) -> None:
    assert host_of_node(catalog, catalog.node("gh200-single")).pcie_bytes_per_second == 450e9


def test_shared_memory_leaves_nothing_to_offload_to(catalog: Catalog) -> None:
    host = host_of_node(catalog, catalog.node("dgx-spark"))
    assert host.ram_bytes == 0
    assert any("share one memory" in text for text in host.assumptions)


def test_an_offer_keeps_its_ram_and_takes_a_share_of_a_like_node(catalog: Catalog) -> None:
    host = host_of_offer(catalog, catalog.offer("aws/g6.12xlarge/us-east-1"))  # 4 x L4, 192 GiB; the node has 8
    whole = host_of_node(catalog, catalog.node("l4-8x-pcie"))
    assert host.ram_bytes == 192 * GIB
    assert host.num_gpus == host.link_num_gpus == 4
    assert whole.power_kw is not None
    assert host.power_kw == whole.power_kw / 2
    assert host.ram_bytes_per_second == whole.ram_bytes_per_second / 2
    assert host.network_bytes_per_second_per_gpu == whole.network_bytes_per_second_per_gpu
    assert any("catalog node l4-8x-pcie" in text for text in host.assumptions)


def test_one_rented_gpu_of_a_linked_board_has_no_link(catalog: Catalog) -> None:
    host = host_of_offer(catalog, catalog.offer("runpod/h100-sxm-secure-cloud/global"))
    assert (host.link_bytes_per_second, host.link_num_gpus) == (None, 1)


def test_a_share_of_a_gpu_is_marked_as_one(catalog: Catalog) -> None:
    host = host_of_offer(catalog, catalog.offer("aws/g6f.large/us-east-1"))
    assert (host.gpu_share, host.num_gpus) == (0.125, 1)
    assert any("0.125 of one GPU" in text for text in host.assumptions)


def test_every_offer_has_a_host_that_names_its_inferences(catalog: Catalog) -> None:
    for offer in catalog.offers:
        host = host_of_offer(catalog, offer)
        assert host.gpu == offer.gpu
        assert host.ram_bytes > 0
        assert any("not published" in text for text in host.assumptions)
        assert (offer.ram_bytes is None) == any("RAM is not published" in text for text in host.assumptions)


def test_every_gpu_has_a_default_host_that_is_named(catalog: Catalog) -> None:
    for gpu in catalog.gpus.values():
        for num_gpus in (1, 4, 100):
            host = default_host(catalog, gpu.id, num_gpus)
            assert host.id in host.assumptions[0]
            assert host.link_bytes_per_second is not None or host.num_gpus == 1 or gpu.pcie_bytes_per_second is None


@pytest.mark.parametrize(
    ("num_gpus", "node", "machines"),
    [(1, "hgx-h100-4x-oem", "hgx-h100-4x-oem"), (8, "dgx-h100", "dgx-h100"), (64, "dgx-h100", "8 x dgx-h100")],
)
def test_a_pinned_gpu_sits_in_the_smallest_node_that_holds_enough(
    catalog: Catalog, num_gpus: int, node: str, machines: str
) -> None:
    host = default_host(catalog, "h100-sxm-80gb", num_gpus)
    assert host.id == node
    assert host.assumptions == (f"no node is pinned for h100-sxm-80gb: taken to sit in {machines}",)


def test_a_gpu_without_a_node_gets_a_typical_host_and_says_so(catalog: Catalog) -> None:
    host = default_host(catalog, "rtx-4080-16gb", 2)
    assert host.id == "generic-workstation"
    assert not host.link_is_p2p  # GeForce drivers keep GPUs apart on PCIe
    assert host.link_bytes_per_second == 31.5e9
    assert sum("catalog holds no node" in text for text in host.assumptions) == 1


@pytest.mark.parametrize(("gpu", "num_gpus"), [("rtx-4090-24gb", 4), ("rtx-a6000-48gb", 2), ("rtx-3090-24gb", 8)])
def test_more_cards_than_a_workstation_of_the_catalog_holds_stand_in_one_larger_machine(
    catalog: Catalog, gpu: str, num_gpus: int
) -> None:
    """The catalog's workstations hold one or two of them; nobody splits a layer over two desktops' network."""
    host = default_host(catalog, gpu, num_gpus)
    assert host.num_gpus == num_gpus
    assert any(f"no node with {num_gpus} of them" in text for text in host.assumptions)


def test_bridged_cards_stay_pairs_in_a_larger_workstation(catalog: Catalog) -> None:
    assert default_host(catalog, "rtx-3090-24gb", 4).link_num_gpus == 2


def test_a_machine_like_a_smaller_one_has_a_link_over_all_its_gpus(catalog: Catalog) -> None:
    """16 A100 in one a2-megagpu-16g: the catalog's largest node has 8 behind one switch."""
    offer = next(o for o in catalog.offers if o.num_gpus == 16 and o.gpu == "a100-sxm-40gb")
    assert host_of_offer(catalog, offer).link_num_gpus == 16


def test_bridged_pairs_stay_pairs_in_a_slice(catalog: Catalog) -> None:
    offer = next(o for o in catalog.offers if o.gpu == "h100-nvl-94gb" and o.num_gpus == 2)
    assert host_of_offer(catalog, offer).link_num_gpus == 2
