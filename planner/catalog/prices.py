"""What does it cost? Rental prices by procurement, purchase prices from all readings. An unknown price is None."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from planner.catalog.load import Catalog
from planner.catalog.types import Confidence, Node, Offer, Procurement, Purchase

CONFIDENCES: tuple[Confidence, ...] = ("high", "medium", "low")
CONDITIONS = (("new", "new street"), ("list",), ("used",), ("MSRP", "launch price", "launch"), ("announced",))
"""Which readings are believed first: what one pays today, then list prices, then used goods, then launch prices."""
COMPLETE_KINDS = frozenset({"server", "rack", "workstation"})
"""Kinds of readings that are whole machines with their GPUs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RentalPrice:
    """USD per hour of one whole instance, as quoted."""

    offer: str
    procurement: Procurement
    usd_per_hour: float
    source: str
    as_of: str
    confidence: Confidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Rental:
    """Instances that hold at least the GPUs asked for."""

    offer: Offer
    num_instances: int
    usd_per_hour: float
    """All instances together."""
    usd_per_gpu_hour: float
    """Of one GPU of the instance."""
    text: str
    """Which instance, of when, how sure: for warnings and reports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PurchasePrice:
    """One item in USD: the medians over the readings believed."""

    usd_low: float
    usd_mid: float
    usd_high: float
    confidence: Confidence
    """The lowest of any reading used."""
    basis: str
    """How the figure came about, in words."""
    readings: tuple[Purchase, ...]
    """Every reading used, each with its source and date."""


@dataclass(frozen=True, slots=True)
class PriceBook:
    """Prices of one catalog."""

    catalog: Catalog

    def rental(self, offer: Offer, procurement: Procurement) -> RentalPrice | None:
        """What the instance costs an hour under a procurement; None where it is not offered so."""
        usd_per_hour = {
            "on_demand": offer.on_demand_usd_per_hour,
            "spot": offer.spot_usd_per_hour,
            "reserved_1y": offer.reserved_1y_usd_per_hour,
            "reserved_3y": offer.reserved_3y_usd_per_hour,
            "buy": None,
        }[procurement]
        if usd_per_hour is None:
            return None
        return RentalPrice(
            offer=offer.id,
            procurement=procurement,
            usd_per_hour=usd_per_hour,
            source=offer.source,
            as_of=offer.as_of,
            confidence=offer.confidence,
        )

    def cheapest_rental(self, gpu_id: str, num_gpus: int) -> Rental | None:
        """The cheapest on-demand way to rent at least `num_gpus` GPUs of a kind; None where nobody quotes it.

        Quotes of low confidence (marketplaces, contract "from" prices, old readings) count only where there is
        no better one. Instances that hold all GPUs come first, for a workload may need them together; only when
        none does are the largest instances added up. Whole instances are paid, used or not.
        """
        offers = [o for o in self.catalog.offers if o.gpu == gpu_id and o.num_gpus >= 1 and o.on_demand_usd_per_hour]
        quoted = [o for o in offers if o.confidence != "low"] or offers
        if not quoted:
            return None
        largest = max(o.num_gpus for o in quoted)
        fitting = [o for o in quoted if o.num_gpus >= min(num_gpus, largest)]
        return min((rental_of(o, num_gpus) for o in fitting), key=lambda r: (r.usd_per_hour, r.offer.id))

    def gpu_purchase(self, gpu_id: str) -> PurchasePrice | None:
        """The price of one accelerator alone; None where there is no reading."""
        return self._median(lambda p: p.kind == "gpu" and p.gpu == gpu_id, f"one {gpu_id}")

    def node_purchase(self, node: Node) -> PurchasePrice | None:
        """The price of a node with its GPUs; None where the readings do not reach.

        Its own readings, else those of machines with the same GPUs, else the GPUs' price plus that of a host
        without GPUs (servers and workstations).
        """
        own = self._median(lambda p: p.node == node.id, f"readings of {node.id}")
        if own is not None:
            return own
        alike = self._median(
            lambda p: p.kind in COMPLETE_KINDS and p.gpu == node.gpu and p.num_gpus == node.num_gpus,
            f"readings of other machines with {node.num_gpus} x {node.gpu}",
        )
        return alike or self._sum_of_parts(node)

    def _sum_of_parts(self, node: Node) -> PurchasePrice | None:
        gpu = self.gpu_purchase(node.gpu)
        host = self._median(lambda p: p.kind == f"{node.kind}-host", f"a {node.kind} without GPUs")
        if gpu is None or host is None:
            return None
        return PurchasePrice(
            usd_low=node.num_gpus * gpu.usd_low + host.usd_low,
            usd_mid=node.num_gpus * gpu.usd_mid + host.usd_mid,
            usd_high=node.num_gpus * gpu.usd_high + host.usd_high,
            confidence=least_sure([gpu.confidence, host.confidence]),
            basis=f"no reading of {node.id}: {node.num_gpus} x ({gpu.basis}) plus {host.basis}",
            readings=(*gpu.readings, *host.readings),
        )

    def _median(self, wanted: Callable[[Purchase], bool], what: str) -> PurchasePrice | None:
        found = [p for p in self.catalog.purchases if wanted(p)]
        for conditions in CONDITIONS:
            readings = tuple(p for p in found if p.condition in conditions)
            if readings:
                return median_price(readings, what)
        return None


def rental_of(offer: Offer, num_gpus: int) -> Rental:
    """The instances of one offer that hold the GPUs, at the on-demand price, which the offer must have."""
    assert offer.on_demand_usd_per_hour is not None
    num_instances = math.ceil(num_gpus / offer.num_gpus)
    usd_per_hour = num_instances * offer.on_demand_usd_per_hour
    return Rental(
        offer=offer,
        num_instances=num_instances,
        usd_per_hour=usd_per_hour,
        usd_per_gpu_hour=offer.on_demand_usd_per_hour / offer.num_gpus,
        text=f"{num_instances} x {offer.id} on demand ({offer.as_of}, {offer.confidence} confidence)",
    )


def median_price(readings: tuple[Purchase, ...], what: str) -> PurchasePrice:
    """Medians of low, mid and high over readings; a reading without a range counts with its one figure."""
    number = "1 reading" if len(readings) == 1 else f"median of {len(readings)} readings"
    conditions = ", ".join(dict.fromkeys(p.condition for p in readings))
    return PurchasePrice(
        usd_low=statistics.median(p.usd_low or p.usd_mid for p in readings),
        usd_mid=statistics.median(p.usd_mid for p in readings),
        usd_high=statistics.median(p.usd_high or p.usd_mid for p in readings),
        confidence=least_sure(p.confidence for p in readings),
        basis=f"{what}, {conditions} ({number})",
        readings=readings,
    )


def least_sure(confidences: Iterable[Confidence]) -> Confidence:
    """The lowest confidence of several."""
    return max(confidences, key=CONFIDENCES.index)
