"""Where nodes come from: offers, purchases, what is owned."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.candidates.supply import RENTS, beats, cheapest_of_equals, term_factor
from planner.candidates.types import Source
from planner.errors import InputError
from planner.units import HOURS_PER_MONTH
from tests.candidates.specs import supply_of

WORKLOAD = "workloads: [{model: gpt2, mode: infer, batch: 1, sequence: 128}]"


def fleet(text: str, extra: str = "") -> tuple[Source, ...]:
    return supply_of(f"{extra}\nfleet: {text}\n{WORKLOAD}").sources


def test_globs_allow_and_exclusions_win() -> None:
    gpus = {s.gpu for s in fleet('{gpus: ["h100-*", l4], exclude_gpus: ["*pcie*"]}')}
    assert gpus
    assert all(g.startswith("h100-") or g == "l4" for g in gpus)
    assert not any("pcie" in g for g in gpus)


@pytest.mark.parametrize("kind", RENTS)
def test_only_the_allowed_procurement_is_used(kind: str) -> None:
    assert {s.procurement for s in fleet(f"{{procurement: [{kind}]}}")} <= {kind}


def test_renting_and_buying_stand_side_by_side() -> None:
    assert {s.procurement for s in fleet("{procurement: [on_demand, buy]}")} == {"on_demand", "buy"}


def test_only_the_allowed_providers_are_used() -> None:
    assert {s.provider for s in fleet("{procurement: [on_demand], providers: [aws, gcp]}")} == {"aws", "gcp"}


def test_fractions_of_a_gpu_are_left_out() -> None:
    assert all(s.host.gpu_share == 1 for s in fleet("{}"))


def test_owned_nodes_cost_electricity_only_and_are_so_many() -> None:
    """A DGX H100 draws 10.2 kW: at PUE 1.5 and 0.1 USD/kWh that is 1.53 USD an hour."""
    (own,) = fleet(
        "{procurement: [on_demand], gpus: [l4], owned: [{node: dgx-h100, count: 2}, {node: DGX-H100, count: 1}]}",
        "site: {electricity_usd_per_kwh: 0.1, pue: 1.5}",
    )[-1:]
    assert own.procurement == "owned"
    assert own.stock == 3
    assert own.price.usd_per_hour == pytest.approx(1.53)
    assert own.price.capex_usd == 0


def test_a_purchase_is_paid_off_over_the_horizon() -> None:
    site = "site: {electricity_usd_per_kwh: 0.0, pue: 1.0}\nhorizon: {months: 10}"
    nodes = [s for s in fleet("{procurement: [buy], gpus: [h100-sxm-80gb]}", site) if s.node == "dgx-h100"]
    assert nodes[0].price.usd_per_hour == pytest.approx(nodes[0].price.capex_usd / (10 * HOURS_PER_MONTH))


@pytest.mark.parametrize(
    ("kind", "months", "factor"),
    [("on_demand", 5, 1.0), ("reserved_1y", 12, 1.0), ("reserved_1y", 6, 2.0), ("reserved_3y", 48, 1.5)],
)
def test_reservations_are_paid_to_the_end_of_their_term(kind: str, months: int, factor: float) -> None:
    names = {"on_demand": "on_demand", "reserved_1y": "reserved_1y", "reserved_3y": "reserved_3y"}
    assert term_factor(names[kind], months) == factor


def test_announced_accelerators_must_be_named() -> None:
    assert not any(s.gpu == "rubin-sxm-288gb" for s in fleet("{}"))
    wanted = supply_of(f"fleet: {{gpus: [rubin-sxm-288gb]}}\n{WORKLOAD}")
    assert "rubin-sxm-288gb" in {*wanted.gpus_without_source, *(s.gpu for s in wanted.sources)}


def test_an_allowed_gpu_that_cannot_be_had_says_so() -> None:
    supply = supply_of(f"fleet: {{gpus: [h100-sxm-80gb], procurement: [spot], providers: [lambda]}}\n{WORKLOAD}")
    assert "h100-sxm-80gb" in supply.gpus_without_source


def test_a_region_without_a_price_of_electricity_is_an_error_where_it_matters() -> None:
    with pytest.raises(InputError, match=r"site\.electricity_usd_per_kwh"):
        fleet("{procurement: [buy]}", "site: {region: pue-aws}")
    assert fleet("{procurement: [on_demand]}", "site: {region: pue-aws}")


def test_a_pinned_offer_stays_though_a_cheaper_equal_exists() -> None:
    every = supply_of(f"fleet: {{gpus: [h100-sxm-80gb], procurement: [on_demand]}}\n{WORKLOAD}")
    dear = "aws/p5.48xlarge/us-east-1"
    pinned = WORKLOAD.replace("}]", f", pin: {{offer: {dear}}}}}]")
    assert dear in {s.offer for s in supply_of(f"fleet: {{procurement: [on_demand]}}\n{pinned}").sources}
    assert len(every.kinds) <= len(every.sources)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=5))
def test_what_is_dropped_is_beaten_by_something_that_stays(pairs: list[tuple[int, int]]) -> None:
    (base, *_) = fleet("{gpus: [l4], procurement: [on_demand], providers: [aws]}")
    sources = [
        dataclasses.replace(
            base,
            id=f"s{n}",
            price=dataclasses.replace(base.price, usd_per_hour=float(price)),
            host=dataclasses.replace(base.host, ram_bytes=ram),
        )
        for n, (price, ram) in enumerate(pairs)
    ]
    kept = list(cheapest_of_equals(sources, kept=frozenset(), count_carbon=True))
    assert kept
    for s in sources:
        assert s in kept or any(beats(k, s) for k in kept)
