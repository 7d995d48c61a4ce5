"""Do the catalogs hold together? Sources, references between them, and figures that no hardware has."""

from __future__ import annotations

import fnmatch
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import get_args

from packaging.version import InvalidVersion, Version

from planner.architecture.types import Role, Stack
from planner.catalog.load import Catalog
from planner.catalog.types import Fact, Gpu, Offer
from planner.errors import InputError
from planner.spec.base import InferPrecision, TrainPrecision
from planner.units import GB, GIB, MIB

YEAR = re.compile(r"20\d\d|launch")
NOMINAL = re.compile(r"(\d+)\s?GB")
"""The size in an accelerator's name."""
MOST_RATIO = {("fp8", "fp16"): 2.1, ("fp8", "bf16"): 2.1, ("int8", "fp16"): 4.1, ("fp4", "fp8"): 2.1}
"""Highest ratio of dense rates that makers sell; above, one of the two is a sparse figure."""
MOST_UNDER_NOMINAL = 0.93
MOST_OVER_NOMINAL = 1.01
OUTLIER_FACTOR = 3.0
FEW_QUOTES = 3
"""Fewer quotes of a GPU have no median worth the name."""


def check_catalog(catalog: Catalog) -> list[str]:
    """Every problem found, as `what: which: why`; empty when all is well."""
    problems: list[str] = []
    for rule in RULES:
        try:
            problems += rule(catalog)
        except InputError as err:
            problems += [m for m in err.messages if m not in problems]
    return problems


def every_fact_has_a_source_and_a_date(catalog: Catalog) -> Iterator[str]:
    for part, facts in all_facts(catalog):
        for name, fact in facts:
            if not fact.source.strip():
                yield f"{part}: {name}: names no source"
            if not YEAR.search(fact.as_of):
                yield f"{part}: {name}: as_of {fact.as_of!r} holds no year"


def all_facts(catalog: Catalog) -> Iterator[tuple[str, Iterable[tuple[str, Fact]]]]:
    """Every part of the catalog but the models, with a name for each entry."""
    yield "gpus", catalog.gpus.items()
    yield "arch", catalog.arch_support.items()
    yield "nodes", catalog.nodes.items()
    yield "hosts", ((h.id, h) for h in catalog.hosts)
    yield "offers", ((o.id, o) for o in catalog.offers)
    yield "purchases", ((p.item, p) for p in catalog.purchases)
    yield "purchase_rules", ((p.id, p) for p in catalog.purchase_rules)
    yield "energy", catalog.energy.items()
    yield "regions", ((f"{r.provider}/{r.region}", r) for r in catalog.provider_regions.values())
    yield "precisions", catalog.precisions.items()
    yield "efficiency", ((f"{e.what}, {e.subject}", e) for e in catalog.efficiency)
    yield "engines", ((f"{e.engine}@{e.since}", e) for e in catalog.engines)


def gpu_memory_is_the_drivers(catalog: Catalog) -> Iterator[str]:
    for gpu in catalog.gpus.values():
        if gpu.memory_bytes % MIB:
            yield f"gpus: {gpu.id}: memory of {gpu.memory_bytes} bytes is no whole number of MiB, as drivers report it"
        nominal = NOMINAL.search(gpu.name)
        if nominal is None:
            continue
        size = int(nominal[1]) / gpu.devices_per_board if halves_its_name(gpu) else int(nominal[1])
        if gpu.memory_bytes == size * GB:
            yield f"gpus: {gpu.id}: memory is the vendor's {size:g} GB, not what the driver reports"
        elif not MOST_UNDER_NOMINAL <= gpu.memory_bytes / (size * GIB) <= MOST_OVER_NOMINAL:
            yield f"gpus: {gpu.id}: memory of {gpu.memory_bytes} bytes does not go with the {size:g} GB of its name"


def halves_its_name(gpu: Gpu) -> bool:
    """Whether the name gives the whole card's memory while the driver shows it in parts."""
    return gpu.devices_per_board > 1 and "one of" not in gpu.name


def gpu_rates_are_dense(catalog: Catalog) -> Iterator[str]:
    for gpu in catalog.gpus.values():
        rates = gpu.peak_flop_per_second.model_dump()
        odd = [
            f"{fast} is {rates[fast] / rates[slow]:.2f} x {slow}"
            for (fast, slow), most in MOST_RATIO.items()
            if rates[fast] and rates[slow] and rates[fast] > most * rates[slow]
        ]
        if odd and gpu.odd_rates is None:
            yield f"gpus: {gpu.id}: {'; '.join(odd)}: a sparse figure among dense ones? else say why in odd_rates"
        if not odd and gpu.odd_rates is not None:
            yield f"gpus: {gpu.id}: odd_rates explains rates that are not odd"


def gpu_formats_and_rates_agree(catalog: Catalog) -> Iterator[str]:
    for gpu in catalog.gpus.values():
        arch = catalog.arch_support.get(gpu.arch)
        if arch is None:
            yield f"gpus: {gpu.id}: architecture {gpu.arch!r} has no row in arch.yaml"
            continue
        for number_format, rate in gpu.peak_flop_per_second.model_dump().items():
            if rate and getattr(arch, number_format) == "no":
                yield f"gpus: {gpu.id}: has a {number_format} rate, but {gpu.arch} is said to lack {number_format}"


def gpu_links_are_complete(catalog: Catalog) -> Iterator[str]:
    for gpu in catalog.gpus.values():
        if gpu.nvlink_bytes_per_second and not gpu.nvlink_max_gpus:
            yield f"gpus: {gpu.id}: has a link between devices, but nvlink_max_gpus does not say how many"
        if gpu.form_factor not in {f for h in catalog.hosts for f in h.form_factors}:
            yield f"gpus: {gpu.id}: no typical host takes form factor {gpu.form_factor!r}"


def nodes_fit_their_gpus(catalog: Catalog) -> Iterator[str]:
    for node in catalog.nodes.values():
        gpu = catalog.gpus.get(node.gpu)
        if gpu is None:
            yield f"nodes: {node.id}: unknown GPU {node.gpu!r}"
            continue
        gpus_kw = node.num_gpus * (gpu.tdp_kw or 0.0)
        if node.power_kw is not None and node.power_kw < gpus_kw:
            yield f"nodes: {node.id}: {node.power_kw} kW is less than its {node.num_gpus} GPUs draw ({gpus_kw:g} kW)"
        fastest = max(gpu.nvlink_bytes_per_second, gpu.pcie_bytes_per_second or 0.0)
        if node.link_bytes_per_second is not None and node.link_bytes_per_second > 1.01 * fastest:
            yield f"nodes: {node.id}: link {node.link} is faster than {gpu.id} can send"
        if node.num_gpus == 1 and node.kind == "workstation" and node.link != "none":
            yield f"nodes: {node.id}: a single GPU has no link"
        if node.link_num_gpus > node.num_gpus and node.kind != "tray":
            yield f"nodes: {node.id}: link reaches {node.link_num_gpus} GPUs, the node has {node.num_gpus}"


def offers_name_gpus_and_prices(catalog: Catalog) -> Iterator[str]:
    for offer in catalog.offers:
        if offer.gpu not in catalog.gpus:
            yield f"offers: {offer.id}: unknown GPU {offer.gpu!r}"
        if offer.id.count("/") != 2 or not offer.id.startswith(f"{offer.provider}/"):
            yield f"offers: {offer.id}: id is not provider/instance/region"
        on_demand = offer.on_demand_usd_per_hour
        others = (offer.spot_usd_per_hour, offer.reserved_1y_usd_per_hour, offer.reserved_3y_usd_per_hour)
        if on_demand is None and not any(others):
            yield f"offers: {offer.id}: has no price"
        if on_demand is not None and any(price is not None and price > on_demand for price in others):
            yield f"offers: {offer.id}: spot or reserved costs more than on demand"


def offer_ids_are_unique(catalog: Catalog) -> Iterator[str]:
    for offer_id, number in Counter(o.id.casefold() for o in catalog.offers).items():
        if number > 1:
            yield f"offers: {offer_id}: stands there {number} times"


def odd_prices_are_explained(catalog: Catalog) -> Iterator[str]:
    for usd_per_hour, median, offer in priced_offers(catalog):
        odd = not median / OUTLIER_FACTOR <= usd_per_hour <= median * OUTLIER_FACTOR
        if odd and offer.outlier_reason is None:
            yield (
                f"offers: {offer.id}: {usd_per_hour:.2f} USD per GPU-hour, the median of {offer.gpu} is {median:.2f}; "
                "correct it, or say why in outlier_reason"
            )
        if not odd and offer.outlier_reason is not None:
            yield f"offers: {offer.id}: outlier_reason explains a price that is not odd"


def priced_offers(catalog: Catalog) -> Iterator[tuple[float, float, Offer]]:
    """On-demand offers with their USD per GPU-hour and the median of all offers of that GPU."""
    by_gpu: dict[str, list[tuple[float, Offer]]] = defaultdict(list)
    for offer in catalog.offers:
        if offer.on_demand_usd_per_hour is not None:
            by_gpu[offer.gpu].append((offer.on_demand_usd_per_hour / offer.num_gpus, offer))
    for quotes in by_gpu.values():
        if len(quotes) >= FEW_QUOTES:
            median = statistics.median(usd for usd, _ in quotes)
            yield from ((usd, median, offer) for usd, offer in quotes)


def purchases_are_in_order(catalog: Catalog) -> Iterator[str]:
    for purchase in catalog.purchases:
        prices = [p for p in (purchase.usd_low, purchase.usd_mid, purchase.usd_high) if p is not None]
        if prices != sorted(prices):
            yield f"purchases: {purchase.item}: low, mid and high are not in order"
        if purchase.gpu is not None and purchase.gpu not in catalog.gpus:
            yield f"purchases: {purchase.item}: unknown GPU {purchase.gpu!r}"
        node = None if purchase.node is None else catalog.nodes.get(purchase.node)
        if purchase.node is not None and node is None:
            yield f"purchases: {purchase.item}: unknown node {purchase.node!r}"
        if node is not None and (node.gpu, node.num_gpus) != (purchase.gpu, purchase.num_gpus):
            yield f"purchases: {purchase.item}: node {node.id} has {node.num_gpus} x {node.gpu}"


def energy_is_plausible(catalog: Catalog) -> Iterator[str]:
    for region in catalog.energy.values():
        if region.pue is not None and not 1.0 <= region.pue <= 3.0:
            yield f"energy: {region.id}: PUE {region.pue} is none"
        usd_per_kwh = region.electricity_usd_per_kwh
        if usd_per_kwh is not None and not 0.01 <= usd_per_kwh <= 1.0:
            yield f"energy: {region.id}: {usd_per_kwh} USD per kWh; is the figure in cents or per MWh?"
        if region.carbon_g_per_kwh is not None and not 0 <= region.carbon_g_per_kwh <= 1200:
            yield f"energy: {region.id}: {region.carbon_g_per_kwh} g per kWh is not possible"


def regions_name_what_exists(catalog: Catalog) -> Iterator[str]:
    known = {(o.provider.casefold(), o.region.casefold()) for o in catalog.offers}
    for place, entry in catalog.provider_regions.items():
        if place not in known:
            yield f"regions: no offer is of {entry.provider}/{entry.region}"
        for name in (entry.energy, entry.overhead):
            if name not in catalog.energy:
                yield f"regions: {entry.provider}/{entry.region}: unknown energy region {name!r}"
        if entry.overhead in catalog.energy and catalog.energy[entry.overhead].pue is None:
            yield f"regions: {entry.provider}/{entry.region}: {entry.overhead} has no PUE"


def precisions_are_those_of_the_spec(catalog: Catalog) -> Iterator[str]:
    for missing in set(get_args(InferPrecision)) - set(catalog.precisions):
        yield f"precisions: {missing}: a spec may name it, the catalog lacks it"
    roles, stacks = set(get_args(Role)), set(get_args(Stack))
    for precision in catalog.precisions.values():
        for role in {*precision.unquantised_roles, *precision.moe_unquantised_roles} - roles:
            yield f"precisions: {precision.id}: no tensor has role {role!r}"
        for stack in set(precision.quantised_stacks or ()) - stacks:
            yield f"precisions: {precision.id}: no model has stack {stack!r}"
    for arch in catalog.arch_support.values():
        for pattern in (p for patterns in arch.only.values() for p in patterns):
            if not fnmatch.filter(catalog.precisions, pattern):
                yield f"arch: {arch.arch}: {pattern!r} matches no precision"


def engines_name_what_exists(catalog: Catalog) -> Iterator[str]:
    precisions = {*catalog.precisions, *get_args(TrainPrecision)}
    for (engine, since), number in Counter((e.engine, e.since) for e in catalog.engines).items():
        if number > 1:
            yield f"engines: {engine}: {number} profiles since {since}"
    for profile in catalog.engines:
        for unknown in set(profile.precisions) - precisions:
            yield f"engines: {profile.engine}@{profile.since}: unknown precision {unknown!r}"
        bounds = [v for v in (profile.since, profile.before) if v is not None]
        wrong = [v for v in bounds if not is_version(v)]
        yield from (f"engines: {profile.engine}: {v!r} is not a version" for v in wrong)
        if not wrong and sorted(bounds, key=Version) != bounds:
            yield f"engines: {profile.engine}: the range ends at {profile.before} before it begins at {profile.since}"


def is_version(text: str) -> bool:
    """The text is a version that can be compared."""
    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


def models_build(catalog: Catalog) -> Iterator[str]:
    yield from (f"models: {problem}" for problem in catalog.models.check())


RULES: tuple[Callable[[Catalog], Iterator[str]], ...] = (
    every_fact_has_a_source_and_a_date,
    gpu_memory_is_the_drivers,
    gpu_rates_are_dense,
    gpu_formats_and_rates_agree,
    gpu_links_are_complete,
    nodes_fit_their_gpus,
    offers_name_gpus_and_prices,
    offer_ids_are_unique,
    odd_prices_are_explained,
    purchases_are_in_order,
    energy_is_plausible,
    regions_name_what_exists,
    precisions_are_those_of_the_spec,
    engines_name_what_exists,
    models_build,
)
