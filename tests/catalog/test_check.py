"""`catalog check`: clean on what is shipped, and each rule finds the mistake it is for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from planner.catalog import check
from planner.catalog.load import Catalog

Damaged = Callable[[str, str, str], Catalog]


def test_the_shipped_catalogs_hold_together(catalog: Catalog) -> None:
    assert check.check_catalog(catalog) == []


@pytest.mark.parametrize(
    ("rule", "file", "old", "new", "words"),
    [
        (
            check.every_fact_has_a_source_and_a_date,
            "energy.yaml",
            "as_of: 2025/26",
            "as_of: soon",
            "energy: us: as_of 'soon' holds no year",
        ),
        (
            check.regions_name_what_exists,
            "regions.yaml",
            "energy: us-oh",
            "energy: us-oi",
            "regions: aws/us-east-2: unknown energy region 'us-oi'",
        ),
        (
            check.regions_name_what_exists,
            "regions.yaml",
            "region: us-west-1",
            "region: us-west-9",
            "regions: no offer is of aws/us-west-9",
        ),
        (
            check.engines_name_what_exists,
            "engines/vllm.yaml",
            "before: '1.0'",
            "before: '0.3'",
            "engines: vllm: the range ends at 0.3 before it begins at 0.33",
        ),
        (
            check.gpu_memory_is_the_drivers,
            "gpus/nvidia-hopper.yaml",
            "memory_bytes: 85520809984",
            "memory_bytes: 80000000000",
            "h100-pcie-80gb: memory is the vendor's 80 GB",
        ),
        (
            check.gpu_memory_is_the_drivers,
            "gpus/nvidia-hopper.yaml",
            "memory_bytes: 85520809984",
            "memory_bytes: 100485038080",
            "h100-pcie-80gb: memory of 100485038080 bytes does not go with the 80 GB",
        ),
        (
            check.gpu_rates_are_dense,
            "gpus/nvidia-hopper.yaml",
            "fp8: 1.513e+15",
            "fp8: 3.026e+15",
            "h100-pcie-80gb: fp8 is 4.00 x fp16; fp8 is 4.00 x bf16",
        ),
        (
            check.gpu_formats_and_rates_agree,
            "gpus/nvidia-hopper.yaml",
            "arch: hopper",
            "arch: hoper",
            "h100-pcie-80gb: architecture 'hoper' has no row",
        ),
        (
            check.gpu_formats_and_rates_agree,
            "gpus/nvidia-pascal-volta-turing.yaml",
            "fp16: 1.87e+13",
            "fp16: 1.87e+13, fp8: 1.87e+13",
            "p100-pcie-16gb: has a fp8 rate, but pascal is said to lack fp8",
        ),
        (
            check.gpu_links_are_complete,
            "gpus/nvidia-hopper.yaml",
            "  nvlink_max_gpus: 2\n",
            "",
            "h100-pcie-80gb: has a link between devices",
        ),
        (
            check.nodes_fit_their_gpus,
            "nodes.yaml",
            "power_kw: 6.5",
            "power_kw: 0.65",
            "dgx-a100-40gb: 0.65 kW is less than its 8 GPUs draw",
        ),
        (check.nodes_fit_their_gpus, "nodes.yaml", "gpu: a100-sxm-40gb", "gpu: a100", "unknown GPU 'a100'"),
        (
            check.nodes_fit_their_gpus,
            "nodes.yaml",
            "link_bytes_per_second: 3.0e+11",
            "link_bytes_per_second: 6.0e+11",
            "dgx-a100-40gb: link nvswitch-600 is faster than a100-sxm-40gb can send",
        ),
        (
            check.offers_name_gpus_and_prices,
            "offers/aws.yaml",
            "reserved_1y_usd_per_hour: 2.088",
            "reserved_1y_usd_per_hour: 20.88",
            "aws/p3.2xlarge/us-east-1: spot or reserved costs more",
        ),
        (
            check.offer_ids_are_unique,
            "offers/aws.yaml",
            "id: aws/p3.8xlarge/us-east-1",
            "id: aws/p3.2xlarge/us-east-1",
            "aws/p3.2xlarge/us-east-1: stands there 2 times",
        ),
        (
            check.odd_prices_are_explained,
            "offers/aws.yaml",
            "on_demand_usd_per_hour: 0.526",
            "on_demand_usd_per_hour: 5.26",
            "aws/g4dn.xlarge/us-east-1: 5.26 USD per GPU-hour",
        ),
        (
            check.purchases_are_in_order,
            "purchases.yaml",
            "usd_low: 25000.0",
            "usd_low: 35000.0",
            "H100 SXM module: low, mid and high are not in order",
        ),
        (
            check.energy_is_plausible,
            "energy.yaml",
            "electricity_usd_per_kwh: 0.086",
            "electricity_usd_per_kwh: 8.6",
            "energy: us: 8.6 USD per kWh",
        ),
        (
            check.precisions_are_those_of_the_spec,
            "precisions.yaml",
            "- id: nvfp4",
            "- id: nvfp5",
            "nvfp4: a spec may name it",
        ),
        (
            check.engines_name_what_exists,
            "engines/vllm.yaml",
            "int4-awq",
            "int4-aqw",
            "vllm@0.2: unknown precision 'int4-aqw'",
        ),
    ],
)
def test_each_rule_finds_its_mistake(
    damaged: Damaged, rule: Callable[[Catalog], list[str]], file: str, old: str, new: str, words: str
) -> None:
    assert any(words in problem for problem in rule(damaged(file, old, new)))


def test_a_file_that_cannot_be_read_is_a_problem_not_a_crash(damaged: Damaged) -> None:
    problems = check.check_catalog(damaged("nodes.yaml", "num_gpus: 8", "num_gpus: many"))
    assert any("nodes.yaml: dgx-a100-40gb: num_gpus" in p for p in problems)
    assert len(problems) == len(set(problems))
