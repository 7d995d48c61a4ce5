"""Parts of GPUs (MIG): the facts agree with the GPUs they are of, and with what is published of their slices."""

from __future__ import annotations

import pytest

from planner.catalog.hosts import default_host, part_of_host
from planner.catalog.load import Catalog
from planner.catalog.mig import mig_facts, part_of, parts_of_gpu
from planner.errors import ImpossibleError, UnknownNameError

CATALOG = Catalog.load()
GPUS = [g for entry in mig_facts().gpus for g in entry.gpus]


@pytest.mark.parametrize("name", GPUS)
def test_parts_are_among_the_profiles_that_the_catalog_lists(name: str) -> None:
    gpu = CATALOG.gpu(name)
    listed = {p.split(":")[0] for p in (gpu.mig_profiles or "").split("|")}
    assert {p.profile for p in parts_of_gpu(gpu)} <= listed


@pytest.mark.parametrize("name", GPUS)
def test_slices_follow_from_the_names_and_hold_no_more_than_the_gpu(name: str) -> None:
    """The first number is the compute slices; the bytes are at most the slices' share of the device's memory."""
    gpu = CATALOG.gpu(name)
    for part in parts_of_gpu(gpu):
        assert part.profile.startswith(f"{part.slices[0]}g.")
        assert part.memory_bytes <= gpu.memory_bytes * part.bandwidth_share
        assert part.memory_bytes >= 0.9 * gpu.memory_bytes * part.bandwidth_share
        assert part.compute_share <= part.slices[0] / part.whole_slices[0] + 0.06


@pytest.mark.parametrize("name", GPUS)
def test_as_many_parts_fit_by_slices_as_the_driver_makes(name: str) -> None:
    gpu = CATALOG.gpu(name)
    most = dict(p.split(":") for p in (gpu.mig_profiles or "").split("|"))
    for part in parts_of_gpu(gpu):
        by_slices = min(whole // taken for taken, whole in zip(part.slices, part.whole_slices, strict=True))
        assert by_slices == int(most[part.profile])


def test_names_go_without_case_and_unknown_ones_have_neighbours() -> None:
    assert part_of(CATALOG.gpu("h100-sxm-80gb"), "1G.10GB").profile == "1g.10gb"
    with pytest.raises(UnknownNameError, match=r"nearest: 1g\.10gb"):
        part_of(CATALOG.gpu("h100-sxm-80gb"), "1g.11gb")
    with pytest.raises(ImpossibleError, match="l4 cannot be cut by MIG"):
        part_of(CATALOG.gpu("l4"), "1g.10gb")


def test_a_part_stands_alone_and_says_what_is_assumed() -> None:
    whole = default_host(CATALOG, "h100-sxm-80gb", 1)
    host = part_of_host(whole, part_of(CATALOG.gpu("h100-sxm-80gb"), "3g.40gb"))
    assert (host.num_gpus, host.link_num_gpus, host.network_bytes_per_second_per_gpu) == (1, 1, None)
    assert "no run on a part is recorded" in host.assumptions[-1]
