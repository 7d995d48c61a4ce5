"""Which facts and assumptions a plan rests on, each with its source and date."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from planner.candidates.planning import PlanningFacts
from planner.candidates.site import SiteFacts
from planner.candidates.types import Candidate, Source
from planner.catalog.calibration import calibration_in_use
from planner.catalog.mig import mig_facts
from planner.catalog.types import Fact
from planner.estimate.types import InferJob
from planner.plan.types import FactUsed
from planner.spec.types import Spec, Workload
from planner.units import GB, TERA, gib, usd

if TYPE_CHECKING:
    from planner.catalog.load import Catalog


Picked = tuple[Workload, Candidate, Source]


def facts_used(spec: Spec, picked: Collection[Picked], catalog: Catalog) -> tuple[FactUsed, ...]:
    """Catalog entries behind the chosen fleet, once each, by kind and name."""
    found: dict[tuple[str, str], FactUsed] = {}
    for workload, candidate, source in picked:
        for fact in (*_hardware(candidate, catalog), *_prices(source), *_software(workload, candidate, catalog)):
            found.setdefault((fact.kind, fact.id), fact)
    places = {source.place for _, _, source in picked if source.place is not None}
    for name in {spec.site.region, *places}:
        region = catalog.region(name)
        figures = [
            (region.electricity_usd_per_kwh, "USD per kWh"),
            (region.pue, "PUE"),
            (region.carbon_g_per_kwh, "g CO2 per kWh"),
        ]
        text = ", ".join(f"{value:g} {unit}" for value, unit in figures if value is not None)
        found["energy", region.id] = _fact("energy", region.id, f"electricity in {region.area}", text, region)
    return tuple(found[key] for key in sorted(found))


def _fact(kind: str, name: str, what: str, value: str, fact: Fact) -> FactUsed:
    return FactUsed(
        kind=kind, id=name, what=what, value=value, source=fact.source, as_of=fact.as_of, confidence=fact.confidence
    )


def _hardware(candidate: Candidate, catalog: Catalog) -> Iterator[FactUsed]:
    gpu = catalog.gpu(candidate.gpu)
    rate = gpu.peak_flop_per_second.bf16 or gpu.peak_flop_per_second.fp16
    parts = [gib(gpu.memory_bytes), f"{gpu.hbm_bytes_per_second / GB:,.0f} GB/s"]
    if rate is not None:
        parts.append(f"{rate / TERA:,.0f} TFLOP/s in 16 bit")
    yield _fact("gpu", gpu.id, f"memory, bandwidth and compute of {gpu.name}", ", ".join(parts), gpu)
    cut = mig_facts().of(gpu.id)
    if candidate.part is not None and cut is not None:
        part = candidate.part
        figures = f"{gib(part.memory_bytes)}, {part.sm_count} multiprocessors, {part.slices[1]} memory slices"
        what = f"a part of {gpu.name} (MIG)"
        yield _fact("gpu", f"{gpu.id}/{part.profile}", what, f"{figures} of {part.whole_slices[1]}", cut)


def _prices(source: Source) -> Iterator[FactUsed]:
    price = source.price
    kind = {"buy": "purchase", "owned": "node"}.get(source.procurement, "offer")
    if source.procurement == "buy":
        what, value = "purchase price of one node", usd(price.capex_usd)
    elif source.procurement == "owned":
        what, value = "electricity of one owned node", f"{usd(price.usd_per_hour)} per hour"
    else:
        what = f"rent of one instance, {source.procurement.replace('_', ' ')}"
        value = f"{usd(price.usd_per_hour)} per hour"
    yield FactUsed(
        kind=kind,
        id=source.id,
        what=what,
        value=value,
        source=price.source,
        as_of=price.as_of,
        confidence=price.confidence,
    )


def _software(workload: Workload, candidate: Candidate, catalog: Catalog) -> Iterator[FactUsed]:
    job = candidate.job
    if isinstance(workload.model, str):
        entry = catalog.models.entry(workload.model)
        yield FactUsed(
            kind="model",
            id=job.model.id,
            what="architecture",
            value=f"{job.model.params_total:,} parameters",
            source=entry.source,
            as_of=entry.as_of,
            confidence=entry.confidence,
        )
    profile = job.engine.profile
    name = f"{profile.engine}@{profile.since}"
    yield _fact("engine", name, "what the engine does with memory and time", f"{len(profile.options)} options", profile)
    fmt = job.weights if isinstance(job, InferJob) else job.base
    yield _fact("precision", fmt.id, "bits per stored weight", f"{fmt.bits:g}", fmt)


def assumptions_used(picked: Iterable[Picked], facts: PlanningFacts) -> tuple[FactUsed, ...]:
    """What the planner and the hosts of the chosen fleet assume."""
    own = [
        FactUsed(
            kind="assumption",
            id=a.id,
            what=a.what,
            value=f"{a.value:g}",
            source=a.source,
            as_of=a.as_of,
            confidence=a.confidence,
        )
        for a in facts.assumptions
    ]
    hosts = {source.host.id: source for _, _, source in picked}
    taken = [
        FactUsed(
            kind="assumption",
            id=name,
            what=text,
            value="",
            source="inferred from the catalogs",
            as_of=source.price.as_of,
            confidence="low",
        )
        for name, source in sorted(hosts.items())
        for text in source.host.assumptions
    ]
    return (*own, *taken, *calibration_used())


def calibration_used() -> Iterator[FactUsed]:
    """The calibration that the estimates rest on, where there is one."""
    used = calibration_in_use()
    if used is not None:
        yield FactUsed(
            kind="assumption",
            id=f"calibration-{used.gpu}",
            what=f"efficiencies of {used.gpu} as measured on one machine, against those of the catalogs",
            value=used.text,
            source=used.source,
            as_of=used.as_of,
            confidence="high",
        )


def stands_nowhere_known(source: Source) -> bool:
    """A rented machine whose provider's region the catalogs cannot place."""
    return source.procurement not in ("buy", "owned") and source.place is None


def rented_stand_at(site: SiteFacts) -> str:
    """Where rented machines are taken to stand."""
    return (
        f"carbon and cooling of rented machines whose offer names no place are counted as at the site ({site.region}); "
        "their rent includes electricity"
    )


def rented_assumption(picked: Iterable[Picked], site: SiteFacts) -> Iterator[FactUsed]:
    """The place of rented machines as an assumption, where there are any."""
    if any(stands_nowhere_known(source) for _, _, source in picked):
        yield FactUsed(
            kind="assumption",
            id="rented-machines-at-site",
            what=rented_stand_at(site),
            value=site.region,
            source="offers for all regions, or for regions that catalogs/regions.yaml does not place",
            as_of=site.as_of,
            confidence="low",
        )
