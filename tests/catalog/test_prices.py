"""Prices: what is quoted, what is added up from parts, and what stays unknown."""

from __future__ import annotations

import statistics

import pytest

from planner.catalog.load import Catalog
from planner.catalog.prices import PriceBook
from planner.catalog.types import Procurement


@pytest.fixture(scope="module")
def book(catalog: Catalog) -> PriceBook:
    return PriceBook(catalog)


def test_a_rental_price_comes_with_source_and_date(book: PriceBook) -> None:
    price = book.rental(book.catalog.offer("aws/g5.xlarge/us-east-1"), "reserved_1y")
    assert price is not None
    assert (price.usd_per_hour, price.as_of, price.confidence) == (0.6338, "2026-07-20", "high")
    assert "karpenter" in price.source


@pytest.mark.parametrize("procurement", ["reserved_3y", "buy", "spot"])
def test_what_is_not_offered_has_no_price(book: PriceBook, procurement: Procurement) -> None:
    offer = book.catalog.offer("aws/g6.xlarge/us-east-1")
    assert book.rental(offer, procurement) is None


def test_no_believable_single_instance_is_cheaper_than_the_cheapest(book: PriceBook) -> None:
    found = 0
    for gpu in book.catalog.gpus:
        rental = book.cheapest_rental(gpu, 1)
        if rental is None or rental.offer.confidence == "low":
            continue
        found += 1
        for offer in book.catalog.offers:
            if offer.gpu == gpu and offer.num_gpus >= 1 and offer.confidence != "low" and offer.on_demand_usd_per_hour:
                assert rental.usd_per_hour <= offer.on_demand_usd_per_hour
    assert found > 25


def test_more_gpus_never_rent_for_less(book: PriceBook) -> None:
    for gpu in ("l4", "h100-sxm-80gb", "a100-sxm-80gb", "rtx-4090-24gb"):
        rents = [book.cheapest_rental(gpu, n) for n in (1, 2, 4, 8, 9, 16)]
        costs = [r.usd_per_hour for r in rents if r is not None]
        assert len(costs) == 6
        assert costs == sorted(costs)


def test_gpus_that_work_together_come_in_one_instance_where_one_holds_them(book: PriceBook) -> None:
    together = book.cheapest_rental("h100-sxm-80gb", 8)
    beyond = book.cheapest_rental("h100-sxm-80gb", 20)
    assert together is not None
    assert beyond is not None
    assert (together.num_instances, together.offer.num_gpus) == (1, 8)
    assert beyond.num_instances == 3
    assert beyond.usd_per_hour == pytest.approx(3 * together.usd_per_hour)
    assert together.offer.id in together.text


def test_a_gpu_nobody_rents_out_has_no_rent(book: PriceBook) -> None:
    assert book.cheapest_rental("rtx-3060-12gb", 1) is None
    assert book.cheapest_rental("rubin-sxm-288gb", 1) is None


def test_purchase_prices_are_medians_and_keep_their_readings(book: PriceBook) -> None:
    price = book.gpu_purchase("h100-sxm-80gb")  # new: 30,000, 27,500 and 30,000; used ones do not count
    assert price is not None
    assert (price.usd_low, price.usd_mid, price.usd_high) == (25_000, 30_000, 36_000)
    assert len(price.readings) == 3
    assert statistics.median(r.usd_mid for r in price.readings) == price.usd_mid


def test_goods_no_longer_made_cost_what_used_ones_do(book: PriceBook) -> None:
    price = book.gpu_purchase("a100-sxm-80gb")
    assert price is not None
    assert price.usd_mid == 11_000
    assert "used" in price.basis


def test_a_node_costs_what_was_read_for_it(book: PriceBook) -> None:
    price = book.node_purchase(book.catalog.node("dgx-h100"))
    assert price is not None
    assert (price.usd_low, price.usd_mid, price.usd_high) == (270_000, 300_000, 400_000)


def test_a_node_without_a_reading_costs_what_a_like_one_does_and_says_so(book: PriceBook) -> None:
    price = book.node_purchase(book.catalog.node("dgx-h200"))
    assert price is not None
    assert price.usd_mid == 310_000
    assert "other machines with 8 x h200-sxm-141gb" in price.basis


def test_a_node_without_any_reading_is_its_gpus_and_a_host_and_says_so(book: PriceBook) -> None:
    price = book.node_purchase(book.catalog.node("hgx-h100-4x-oem"))
    assert price is not None
    assert price.usd_mid == 4 * 30_000 + 28_000
    assert price.basis.startswith("no reading of hgx-h100-4x-oem: 4 x (one h100-sxm-80gb")
    assert price.confidence == "low"


@pytest.mark.parametrize("node", ["gb200-tray-4x", "gaudi2-8x", "trn2-48xlarge", "gh200-single"])
def test_a_price_nobody_read_stays_unknown(book: PriceBook, node: str) -> None:
    assert book.node_purchase(book.catalog.node(node)) is None
