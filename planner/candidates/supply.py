"""Every way to get a node that the fleet allows: rented, bought, owned; with price, power and space."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from planner.candidates.site import SiteFacts, site_facts
from planner.candidates.types import Price, ProcurementKind, Source, Supply
from planner.catalog.hosts import Host, host_of_node, host_of_offer, part_of_host
from planner.catalog.mig import parts_of_gpu
from planner.catalog.places import Place, place_of_offer
from planner.catalog.prices import PriceBook
from planner.catalog.types import Gpu, Node, Offer
from planner.units import GRAMS_PER_KG, HOURS_PER_MONTH, MONTHS_PER_YEAR, ceil_div

if TYPE_CHECKING:
    from planner.catalog.load import Catalog
    from planner.spec.types import Fleet, Spec

RentKind = Literal["on_demand", "reserved_1y", "reserved_3y", "spot"]
TERM_MONTHS: dict[ProcurementKind, int] = {"reserved_1y": MONTHS_PER_YEAR, "reserved_3y": 3 * MONTHS_PER_YEAR}
RENTS: tuple[RentKind, ...] = ("on_demand", "reserved_1y", "reserved_3y", "spot")


def build_supply(spec: Spec, catalog: Catalog) -> Supply:
    """All sources of nodes within the fleet's lists, cheapest of equals kept.

    Raises UnknownNameError for names the catalogs lack, InputError where electricity has no price.
    """
    fleet = spec.fleet
    site = site_facts(spec, catalog)
    allowed = [g for g in catalog.gpus.values() if is_allowed(g, fleet, pinned_gpus(spec))]
    ids = {g.id for g in allowed}
    found = [*rented(spec, catalog, site, ids), *bought(spec, catalog, site, ids), *owned(spec, catalog, site)]
    placed, machines = with_kinds(found)
    kinds, parts = with_parts(placed, machines, catalog) if fleet.share_gpus else (machines, {})
    reachable = {s.gpu for s in placed}
    without = {
        g.id: "no offer, purchase price or owned node within the fleet's procurement, providers and regions"
        for g in allowed
        if g.id not in reachable
    }
    return Supply(
        sources=tuple(
            cheapest_of_equals(
                placed,
                kept=pinned_offers(spec),
                count_carbon="carbon" in spec.objective,
                count_terms=bool(spec.periods),
            )
        ),
        kinds=kinds,
        holders=parts,
        gpus_without_source=without,
        every=tuple(placed),
        warnings=site.warnings,
    )


def pinned_gpus(spec: Spec) -> frozenset[str]:
    """GPUs that workloads pin by name."""
    return frozenset(w.pin.gpu.casefold() for w in spec.workloads if w.pin.gpu)


def pinned_offers(spec: Spec) -> frozenset[str]:
    """Offers that workloads pin by name."""
    return frozenset(w.pin.offer.casefold() for w in spec.workloads if w.pin.offer)


def is_allowed(gpu: Gpu, fleet: Fleet, pinned: frozenset[str] = frozenset()) -> bool:
    """The allow-list names the GPU and the exclusion does not; what is only announced must be named in full."""
    name = gpu.id.casefold()
    if any(fnmatchcase(name, g.casefold()) for g in fleet.exclude_gpus):
        return False
    if gpu.announced_only:
        return name in pinned or any(name == g.casefold() for g in fleet.gpus)
    return not fleet.gpus or any(fnmatchcase(name, g.casefold()) for g in fleet.gpus)


def rented(spec: Spec, catalog: Catalog, site: SiteFacts, gpus: set[str]) -> Iterator[Source]:
    """Whole-GPU instances of the allowed providers and regions, one source for each way to pay."""
    fleet = spec.fleet
    pinned = pinned_offers(spec)
    fitting = [o for o in catalog.offers if o.gpu in gpus and is_whole(o) and in_reach(o, fleet)]
    sure = {o.gpu for o in fitting if o.confidence != "low"}
    named = bool(fleet.providers)
    book = PriceBook(catalog)
    for offer in fitting:
        if offer.confidence == "low" and offer.gpu in sure and not named and offer.id.casefold() not in pinned:
            continue
        host = host_of_offer(catalog, offer)
        place = place_of_offer(catalog, offer)
        power_kw = node_power_kw(host, catalog)
        pue = site.pue if place is None or place.pue is None else place.pue
        carbon = site.kg_co2_per_hour(power_kw) if place is None else place_kg_co2_per_hour(place, power_kw, pue)
        for procurement in RENTS:
            price = book.rental(offer, procurement) if procurement in fleet.procurement else None
            if price is None:
                continue
            yield Source(
                id=f"{offer.id}@{procurement}",
                offer=offer.id,
                provider=offer.provider,
                procurement=procurement,
                node=offer.instance,
                gpu=offer.gpu,
                host=host,
                kind=-1,
                price=Price(
                    usd_per_hour=price.usd_per_hour * term_factor(procurement, spec.horizon.months),
                    capex_usd=0.0,
                    running_usd_per_hour=price.usd_per_hour,
                    energy_usd_per_hour=0.0,
                    low=None,
                    high=None,
                    source=price.source,
                    as_of=price.as_of,
                    confidence=price.confidence,
                ),
                stock=None,
                power_kw=power_kw,
                rack_units=None,
                kg_co2_per_hour=carbon,
                pue=pue,
                place=None if place is None else place.region.id,
            )


def place_kg_co2_per_hour(place: Place, it_power_kw: float, pue: float) -> float | None:
    """Carbon of a rented node at a power, overhead included; None where its region has no figure."""
    if place.carbon_g_per_kwh is None:
        return None
    return it_power_kw * pue * place.carbon_g_per_kwh / GRAMS_PER_KG


def is_whole(offer: Offer) -> bool:
    """The instance holds whole GPUs."""
    return offer.num_gpus >= 1 and offer.num_gpus == int(offer.num_gpus)


def in_reach(offer: Offer, fleet: Fleet) -> bool:
    """Of an allowed provider, in an allowed region."""
    providers = {p.casefold() for p in fleet.providers}
    regions = {r.casefold() for r in fleet.regions}
    return (not providers or offer.provider.casefold() in providers) and (
        not regions or offer.region.casefold() in regions
    )


def term_factor(procurement: ProcurementKind, months: int) -> float:
    """Months paid over months used: reservations are paid to the end of their last term.

    >>> term_factor("reserved_1y", 18)
    1.3333333333333333
    """
    term = TERM_MONTHS.get(procurement)
    return 1.0 if term is None else ceil_div(months, term) * term / months


def bought(spec: Spec, catalog: Catalog, site: SiteFacts, gpus: set[str]) -> Iterator[Source]:
    """Catalog nodes that have a price, paid off over the horizon."""
    if "buy" not in spec.fleet.procurement:
        return
    book = PriceBook(catalog)
    for node in catalog.nodes.values():
        if node.gpu not in gpus:
            continue
        price = book.node_purchase(node)
        if price is None:
            continue
        host = host_of_node(catalog, node)
        power_kw = node_power_kw(host, catalog)
        energy = site.energy_usd_per_hour(power_kw)
        first = price.readings[0]
        running = energy + site.colocation_usd_per_hour(power_kw)
        yield Source(
            id=f"{node.id}@buy",
            offer=node.id,
            provider="purchase",
            procurement="buy",
            node=node.id,
            gpu=node.gpu,
            host=host,
            kind=-1,
            price=Price(
                usd_per_hour=price.usd_mid / (spec.horizon.months * HOURS_PER_MONTH) + running,
                capex_usd=price.usd_mid,
                running_usd_per_hour=running,
                energy_usd_per_hour=energy,
                low=price.usd_low,
                high=price.usd_high,
                source=f"{price.basis}: {first.source}",
                as_of=first.as_of,
                confidence=price.confidence,
            ),
            stock=None,
            power_kw=power_kw,
            rack_units=node.rack_units,
            kg_co2_per_hour=site.kg_co2_per_hour(power_kw),
            pue=site.pue,
        )


def owned(spec: Spec, catalog: Catalog, site: SiteFacts) -> Iterator[Source]:
    """Nodes already there: they cost energy only, and there are so many of them."""
    counts: dict[str, int] = {}
    nodes: dict[str, Node] = {}
    for entry in spec.fleet.owned:
        node = catalog.node(entry.node)
        nodes[node.id] = node
        counts[node.id] = counts.get(node.id, 0) + entry.count
    for name, count in counts.items():
        node = nodes[name]
        host = host_of_node(catalog, node)
        power_kw = node_power_kw(host, catalog)
        energy = site.energy_usd_per_hour(power_kw)
        yield Source(
            id=f"{name}@owned",
            offer=f"owned:{name}",
            provider="owned",
            procurement="owned",
            node=name,
            gpu=node.gpu,
            host=host,
            kind=-1,
            price=Price(
                usd_per_hour=energy,
                capex_usd=0.0,
                running_usd_per_hour=energy,
                energy_usd_per_hour=energy,
                low=None,
                high=None,
                source=f"owned; electricity: {site.electricity_source}",
                as_of=site.as_of,
                confidence=site.confidence,
            ),
            stock=count,
            power_kw=power_kw,
            rack_units=node.rack_units,
            kg_co2_per_hour=site.kg_co2_per_hour(power_kw),
            pue=site.pue,
        )


def node_power_kw(host: Host, catalog: Catalog) -> float:
    """Full draw of a node; where nobody publishes it, that of its GPUs alone."""
    if host.power_kw is not None:
        return host.power_kw
    return host.num_gpus * (catalog.gpu(host.gpu).tdp_kw or 0.0)


def with_kinds(sources: Iterable[Source]) -> tuple[list[Source], tuple[Host, ...]]:
    """Give every source its kind: machines that differ in id, memory, power and space only run alike."""
    index: dict[tuple[object, ...], int] = {}
    hosts: list[Host] = []
    placed = []
    for source in sources:
        key = physics(source.host)
        kind = index.setdefault(key, len(hosts))
        if kind == len(hosts):
            hosts.append(source.host)
        elif source.host.ram_bytes > hosts[kind].ram_bytes:
            hosts[kind] = source.host
        placed.append(dataclasses.replace(source, kind=kind))
    return placed, tuple(hosts)


def with_parts(
    sources: Sequence[Source], machines: tuple[Host, ...], catalog: Catalog
) -> tuple[tuple[Host, ...], dict[int, tuple[int, ...]]]:
    """The kinds, and after them every part of the GPUs that machines of our own hold, with the kinds that hold them.

    Whether a rented machine lets its GPUs be cut is not published, so those stay whole.
    """
    holders: dict[str, list[int]] = {}
    for source in sources:
        held = holders.setdefault(source.gpu, [])
        if source.procurement in ("buy", "owned") and source.kind not in held:
            held.append(source.kind)
    kinds, parts = [*machines], {}
    for gpu, held in sorted(holders.items()):
        for part in parts_of_gpu(catalog.gpu(gpu)) if held else ():
            parts[len(kinds)] = tuple(sorted(held))
            kinds.append(part_of_host(machines[min(held)], part))
    return tuple(kinds), parts


def physics(host: Host) -> tuple[object, ...]:
    """What decides speed and device memory."""
    apart = {"id", "assumptions", "ram_bytes", "power_kw", "rack_units", "nvme_bytes"}
    return tuple(getattr(host, f.name) for f in dataclasses.fields(host) if f.name not in apart)


def cheapest_of_equals(
    sources: list[Source], *, kept: frozenset[str], count_carbon: bool, count_terms: bool = False
) -> Iterator[Source]:
    """Drop rented sources that another of the same kind beats in price, memory and power at once, and in carbon
    where the spec asks for little of it, and in the length of its term where the demand changes over time.

    Rented nodes have no stock, so the dearer one could never be of use. Of full equals the first id stays.
    Offers `kept` (by name, casefolded) stay in any case.
    """
    by_kind: dict[int, list[Source]] = {}
    for s in sources:
        by_kind.setdefault(s.kind, []).append(s)
    for s in sources:
        rivals = [r for r in by_kind[s.kind] if r.procurement in RENTS and r.id != s.id]
        stays = s.procurement not in RENTS or s.offer.casefold() in kept
        if stays or not any(beats(r, s, count_carbon=count_carbon, count_terms=count_terms) for r in rivals):
            yield s


def beats(a: Source, b: Source, *, count_carbon: bool = True, count_terms: bool = False) -> bool:
    """`a` is at least as good as `b` in everything, and better in something or earlier by id."""
    pairs: list[tuple[float, float]] = [
        (-a.host.ram_bytes, -b.host.ram_bytes),
        (-(a.host.nvme_bytes or 0), -(b.host.nvme_bytes or 0)),
        (a.power_kw, b.power_kw),
    ]
    if count_terms:
        pairs.append((a.price.running_usd_per_hour, b.price.running_usd_per_hour))
        pairs.append((TERM_MONTHS.get(a.procurement, 0), TERM_MONTHS.get(b.procurement, 0)))
    else:
        pairs.append((a.price.usd_per_hour, b.price.usd_per_hour))
    if count_carbon:
        pairs.append((carbon_or_worst(a), carbon_or_worst(b)))
    return all(x <= y for x, y in pairs) and (any(x < y for x, y in pairs) or a.id < b.id)


def carbon_or_worst(source: Source) -> float:
    """kg of CO2 an hour; a figure that nobody knows never wins."""
    return math.inf if source.kg_co2_per_hour is None else source.kg_co2_per_hour
