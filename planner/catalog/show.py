"""The catalogs as plain data in base units: rows to list, one entry to show. `readable` makes text of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from planner.architecture.build import build_model
from planner.architecture.schema import ModelEntry
from planner.catalog.load import Catalog
from planner.catalog.prices import PriceBook, PurchasePrice, Rental
from planner.catalog.types import EnergyRegion, EngineProfile, Gpu, Node, Offer, PrecisionFormat, Purchase
from planner.errors import UnknownNameError
from planner.units import TERA, gib, short_count

Kind = Literal["gpus", "nodes", "offers", "models", "energy", "purchases", "precisions", "engines"]
Value = object
Row = dict[str, Value]


def rows(catalog: Catalog, kind: Kind, only: str | None = None) -> list[Row]:
    """One row per entry of a catalog; with `only`, those that hold this text in any cell, whatever its case."""
    if kind == "models":
        entries = (catalog.models.entry(model_id) for model_id in catalog.models.ids())
        return [model_row(e) for e in entries if only is None or holds(model_words(e), only)]
    found = LISTS[kind](catalog)
    return [row for row in found if only is None or holds(row.values(), only)]


def show(catalog: Catalog, name: str) -> Row:
    """Everything known about the entry of any catalog that bears the name.

    Raises UnknownNameError with near matches from all catalogs.
    """
    known: list[str] = []
    for look in LOOK_UPS:
        try:
            return look(catalog, name)
        except UnknownNameError as err:
            known += err.nearest
    raise UnknownNameError("catalog entry", name, known)


def readable(row: Mapping[str, Value]) -> Row:
    """A row for people: bytes in GiB, rates in thousands and millions, lists spelled out.

    >>> readable({"id": "l4", "memory_bytes": 24152899584, "hbm_bytes_per_second": 3e11})
    {'id': 'l4', 'memory': '22.5 GiB', 'hbm': '300 GB/s'}
    """
    result: Row = {}
    for key, value in row.items():
        number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
        if key.endswith("_bytes") and number is not None:
            result[key.removesuffix("_bytes")] = gib(number)
        elif key.endswith("_bytes_per_second") and number is not None:
            result[key.removesuffix("_bytes_per_second")] = (
                short_count(number).replace(" B", " GB").replace(" T", " TB") + "/s"
            )
        elif key.startswith("params") and number is not None:
            result[key] = short_count(number)
        else:
            result[key] = value
    return result


def holds(cells: Sequence[Value] | Mapping[str, Value] | object, text: str) -> bool:
    """Whether any of the cells has the text in it."""
    wanted = text.casefold()
    values = list(cells) if hasattr(cells, "__iter__") else [cells]
    return any(wanted in str(cell).casefold() for cell in values if cell is not None)


def gpu_row(gpu: Gpu) -> Row:
    rates = gpu.peak_flop_per_second
    return {
        "id": gpu.id,
        "name": gpu.name,
        "arch": gpu.arch,
        "memory_bytes": gpu.memory_bytes,
        "hbm_bytes_per_second": gpu.hbm_bytes_per_second,
        "bf16_tflops": tflops(rates.bf16 or rates.fp16),
        "fp8_tflops": tflops(rates.fp8),
        "link_bytes_per_second": gpu.nvlink_bytes_per_second or None,
        "tdp_kw": gpu.tdp_kw,
        "as_of": gpu.as_of,
    }


def tflops(flop_per_second: float | None) -> float | None:
    """A rate in the unit that people compare accelerators in."""
    return None if flop_per_second is None else round(flop_per_second / TERA, 1)


def node_row(node: Node) -> Row:
    return {
        "id": node.id,
        "kind": node.kind,
        "gpu": node.gpu,
        "num_gpus": node.num_gpus,
        "ram_bytes": node.ram_bytes,
        "link": node.link,
        "network_bytes_per_second": node.network_bytes_per_second_per_gpu,
        "rack_units": node.rack_units,
        "power_kw": node.power_kw,
        "as_of": node.as_of,
    }


def offer_row(offer: Offer) -> Row:
    return {
        "id": offer.id,
        "gpu": offer.gpu,
        "num_gpus": offer.num_gpus,
        "ram_bytes": offer.ram_bytes,
        "on_demand_usd_per_hour": offer.on_demand_usd_per_hour,
        "spot_usd_per_hour": offer.spot_usd_per_hour,
        "reserved_1y_usd_per_hour": offer.reserved_1y_usd_per_hour,
        "as_of": offer.as_of,
        "confidence": offer.confidence,
    }


def energy_row(region: EnergyRegion) -> Row:
    return {
        "id": region.id,
        "area": region.area,
        "country": region.country,
        "electricity_usd_per_kwh": region.electricity_usd_per_kwh,
        "carbon_g_per_kwh": region.carbon_g_per_kwh,
        "pue": region.pue,
        "colocation_usd_per_kw_month": region.colocation_usd_per_kw_month,
        "as_of": region.as_of,
        "confidence": region.confidence,
    }


def purchase_row(purchase: Purchase) -> Row:
    return {
        "item": purchase.item,
        "kind": purchase.kind,
        "gpu": purchase.gpu,
        "num_gpus": purchase.num_gpus,
        "condition": purchase.condition,
        "usd_low": purchase.usd_low,
        "usd_mid": purchase.usd_mid,
        "usd_high": purchase.usd_high,
        "as_of": purchase.as_of,
        "confidence": purchase.confidence,
    }


def precision_row(precision: PrecisionFormat) -> Row:
    return {
        "id": precision.id,
        "bits": round(precision.bits, 4),
        "computes_in": precision.compute,
        "weight_only": precision.weight_only,
        "unquantised": ", ".join(precision.unquantised_roles),
        "quality": precision.quality,
        "as_of": precision.as_of,
    }


def engine_row(profile: EngineProfile) -> Row:
    return {
        "engine": profile.engine,
        "since": profile.since,
        "modes": ", ".join(profile.modes),
        "precisions": ", ".join(profile.precisions),
        "as_of": profile.as_of,
    }


def model_words(entry: ModelEntry) -> tuple[str, ...]:
    """What a filter looks for in a model: building it for that would take seconds over the whole catalog."""
    return (entry.id, *entry.aliases, entry.family, entry.task, entry.license or "")


def model_row(entry: ModelEntry) -> Row:
    model = build_model(entry)
    return {
        "id": entry.id,
        "family": entry.family,
        "task": entry.task,
        "params_total": model.params_total,
        "params_active": model.params_active,
        "num_layers": model.num_layers,
        "hidden_size": model.hidden_size,
        "max_context": entry.max_context,
        "license": entry.license,
        "as_of": entry.as_of,
    }


LISTS: Mapping[str, Callable[[Catalog], list[Row]]] = {
    "gpus": lambda c: [gpu_row(g) for g in c.gpus.values()],
    "nodes": lambda c: [node_row(n) for n in c.nodes.values()],
    "offers": lambda c: [offer_row(o) for o in c.offers],
    "energy": lambda c: [energy_row(r) for r in c.energy.values()],
    "purchases": lambda c: [purchase_row(p) for p in c.purchases],
    "precisions": lambda c: [precision_row(p) for p in c.precisions.values()],
    "engines": lambda c: [engine_row(e) for e in c.engines],
}
"""Every kind but models, whose entries are filtered before they are built."""


def show_gpu(catalog: Catalog, name: str) -> Row:
    gpu = catalog.gpu(name)
    book = PriceBook(catalog)
    formats = {p.id: catalog.support(gpu, p) for p in catalog.precisions.values()}
    return {
        "catalog": "gpus",
        **gpu.model_dump(),
        "precisions": formats,
        "nodes": [n.id for n in catalog.nodes.values() if n.gpu == gpu.id],
        "offers": sum(o.gpu == gpu.id for o in catalog.offers),
        "cheapest_rental": rental_text(book.cheapest_rental(gpu.id, 1)),
        "purchase": purchase_text(book.gpu_purchase(gpu.id)),
    }


def show_node(catalog: Catalog, name: str) -> Row:
    node = catalog.node(name)
    return {"catalog": "nodes", **node.model_dump(), "purchase": purchase_text(PriceBook(catalog).node_purchase(node))}


def show_model(catalog: Catalog, name: str) -> Row:
    entry = catalog.models.entry(name)
    model = build_model(entry)
    return {
        "catalog": "models",
        "params_total": model.params_total,
        "params_active": model.params_active,
        "kv_values_per_token": model.kv_values_per_token,
        **entry.model_dump(exclude_defaults=True),
    }


def show_engine(catalog: Catalog, name: str) -> Row:
    return {"catalog": "engines", **catalog.engine(name).model_dump()}


LOOK_UPS: tuple[Callable[[Catalog, str], Row], ...] = (
    show_gpu,
    show_node,
    lambda c, name: {"catalog": "precisions", **c.precision(name).model_dump()},
    show_engine,
    lambda c, name: {"catalog": "energy", **c.region(name).model_dump()},
    show_model,
    lambda c, name: {"catalog": "offers", **c.offer(name).model_dump()},
)
"""One way to find a name per catalog, the quick ones first."""


def rental_text(rental: Rental | None) -> str | None:
    return None if rental is None else f"{rental.usd_per_hour:.2f} USD/h: {rental.text}"


def purchase_text(price: PurchasePrice | None) -> str | None:
    """Low, middle and high of a purchase price, and how they came about."""
    if price is None:
        return None
    return f"{price.usd_mid:,.0f} USD ({price.usd_low:,.0f} to {price.usd_high:,.0f}): {price.basis}"
