"""`plan estimate`: every workload of a spec exactly as pinned; what is left open takes the documented defaults.

Defaults: tensor, pipeline, data, expert and context parallel 1; one replica; the first allowed precision,
checkpointing and sharding that fit (best quality and least effort first); the largest batch that fits; no
offload unless allowed; and, without a GPU, the cheapest catalog GPU that fits, named in a warning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np

from planner.catalog.engines import version_range
from planner.catalog.hosts import Host, default_host, host_of_node, host_of_offer, part_of_host
from planner.catalog.mig import mig_facts, part_of
from planner.catalog.places import Place, place_of_offer
from planner.catalog.prices import PriceBook, rental_of
from planner.catalog.types import EngineProfile
from planner.errors import ImpossibleError, InputError, UnknownNameError
from planner.estimate.assemble import Money, Seat, infer_estimate, train_estimate
from planner.estimate.document import EstimateDocument, FailedEstimate, WorkloadEstimate
from planner.estimate.hardware import hardware, unsupported
from planner.estimate.power import carbon_kg, it_power_kw, tdp_share
from planner.estimate.request import Resolved, check_expert_group, resolve_workload
from planner.estimate.rows import InferRow, TrainRow, infer_row, train_row
from planner.estimate.speed import infer_speed, train_speed
from planner.estimate.speed.kernels import shipped_kernels
from planner.estimate.types import Floats, Hardware, InferSpeed, TrainJob, TrainSpeed, stacked
from planner.estimate.warnings import configuration_warnings
from planner.spec.types import InferWorkload, Spec, TrainWorkload
from planner.units import HOURS_PER_MONTH, usd

if TYPE_CHECKING:
    from planner.catalog.load import Catalog


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A workload in one configuration on one kind of host, and its estimate."""

    resolved: Resolved
    host: Host
    row: InferRow | TrainRow
    estimate: WorkloadEstimate


def estimate_spec(
    spec: Spec,
    catalog: Catalog,
    *,
    unread_models: Mapping[str, str] | None = None,
    confidence: float | None = None,
) -> EstimateDocument:
    """Every workload of the spec; one that cannot be estimated carries its error and does not stop the others.

    `unread_models`: workloads (by name) whose config.json could not be read, and why. `confidence`: see
    `resolve_workload`.
    """
    found = placed_or_failed(spec, catalog, unread_models=unread_models, confidence=confidence)
    return EstimateDocument(workloads=tuple(p.estimate if isinstance(p, Placed) else p for p in found))


def placed_or_failed(
    spec: Spec,
    catalog: Catalog,
    *,
    unread_models: Mapping[str, str] | None = None,
    confidence: float | None = None,
) -> Iterator[Placed | FailedEstimate]:
    """Every workload of the spec in its configuration, or why it has none."""
    unread = unread_models or {}
    for workload in spec.workloads:
        if workload.name in unread:
            yield FailedEstimate(name=workload.name, error=f"model: {unread[workload.name]}")
            continue
        try:
            found: Placed | FailedEstimate = place_workload(workload, spec, catalog, confidence=confidence)
        except (InputError, ImpossibleError) as error:
            found = FailedEstimate(name=workload.name, error=str(error))
        yield found


def place_workload(
    workload: InferWorkload | TrainWorkload, spec: Spec, catalog: Catalog, *, confidence: float | None = None
) -> Placed:
    """One workload as pinned.

    Raises UnknownNameError for unknown names, ImpossibleError for a configuration that cannot run.
    """
    resolved = resolve_workload(workload, spec, catalog, confidence=confidence)
    check_expert_group(workload)
    host = pinned_host(workload, catalog)
    if host is not None:
        return on_host(resolved, spec, host, catalog)
    return cheapest_fit(everywhere(resolved, spec, catalog))


def everywhere(resolved: Resolved, spec: Spec, catalog: Catalog) -> tuple[Placed, ...]:
    """The workload on every allowed GPU that can run it at all, one after another in catalog order.

    Raises ImpossibleError, with the reason, where none can.
    """
    reasons: list[str] = []
    found = tuple(fits_on(resolved, spec, catalog, allowed_gpus(spec, catalog), reasons))
    if not found:
        raise ImpossibleError(nowhere_text(resolved.workload.name, reasons))
    return found


def nowhere_text(workload: str, reasons: Sequence[str]) -> str:
    """Why no GPU runs a workload: the reason that all give, else the first GPU's as an example."""
    if not reasons:
        return f"no GPU of the catalog is left for {workload}: see fleet.gpus and fleet.exclude_gpus"
    if len(set(reasons)) == 1:
        return reasons[0]
    return f"no GPU of the catalog that the spec allows runs {workload} as asked; for one, {reasons[0]}"


def cheapest_fit(found: Sequence[Placed]) -> Placed:
    """The cheapest placing that fits (unknown prices last), with a warning that says so."""

    def order(p: Placed) -> tuple[bool, bool, float, str]:
        price = p.estimate.cost.usd_per_hour
        return (not p.estimate.fits, price is None, price or 0.0, p.estimate.gpu)

    best = min(found, key=order)
    e = best.estimate
    chosen = f"no GPU is pinned: {e.gpu} is the cheapest on which it fits" if e.fits else "it fits no single GPU"
    return replace(best, estimate=e.model_copy(update={"warnings": (chosen, *e.warnings)}))


def allowed_gpus(spec: Spec, catalog: Catalog) -> Iterator[str]:
    """Ids of the GPUs that the fleet allows; announced ones only where named."""
    for gpu in catalog.gpus.values():
        named = [g for g in spec.fleet.gpus if fnmatchcase(gpu.id.casefold(), g.casefold())]
        if spec.fleet.gpus and not named:
            continue
        if gpu.announced_only and gpu.id not in spec.fleet.gpus:
            continue
        if not any(fnmatchcase(gpu.id.casefold(), g.casefold()) for g in spec.fleet.exclude_gpus):
            yield gpu.id


def fits_on(resolved: Resolved, spec: Spec, catalog: Catalog, gpus: Iterable[str], reasons: list[str]) -> list[Placed]:
    """The workload on a default host of each GPU that can run it at all; speeds come in one call for each job.

    Why each other GPU cannot is added to `reasons`.
    """
    placed: list[tuple[Host, InferRow | TrainRow]] = []
    for gpu in gpus:
        try:
            whole = default_host(catalog, gpu, resolved.workload.pin.gpus_per_replica)
            host = on_pinned_part(resolved.workload, whole, catalog)
            placed.append((host, row_on(resolved, host, catalog)))
        except ImpossibleError as error:
            reasons.append(str(error))
    speeds = speeds_of([row for _, row in placed])
    return [
        Placed(resolved=resolved, host=h, row=r, estimate=document(resolved, spec, h, r, v, catalog))
        for (h, r), v in zip(placed, speeds, strict=True)
    ]


def speeds_of(rows: Sequence[InferRow | TrainRow]) -> list[InferSpeed | TrainSpeed]:
    """Speed of each row; rows of one job are estimated together."""
    found: dict[int, InferSpeed | TrainSpeed] = {}
    groups: dict[int, list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(id(row.job), []).append(i)
    for indices in groups.values():
        own = [rows[i] for i in indices]
        hw = stacked([r.hw for r in own])
        infer = [r for r in own if isinstance(r, InferRow)]
        train = [r for r in own if isinstance(r, TrainRow)]
        whole: InferSpeed | TrainSpeed
        if infer:
            slots = np.concatenate([r.memory.max_batch for r in infer])
            whole = infer_speed(infer[0].job, stacked([r.ways for r in infer]), hw, kv_slots=slots)
        else:
            whole = train_speed(train[0].job, stacked([r.ways for r in train]), hw)
        found |= {i: whole.row(k) for k, i in enumerate(indices)}
    return [found[i] for i in range(len(rows))]


def pinned_host(workload: InferWorkload | TrainWorkload, catalog: Catalog) -> Host | None:
    """The machine that the pins name, or the default one for the pinned GPU; None where nothing is pinned."""
    pin = workload.pin
    host: Host | None = None
    if pin.offer is not None:
        host = host_of_offer(catalog, catalog.offer(pin.offer))
    elif pin.node is not None:
        host = host_of_node(catalog, catalog.node(pin.node))
    if pin.gpu is not None:
        gpu = catalog.gpu(pin.gpu)
        if host is not None and host.gpu != gpu.id:
            raise ImpossibleError(f"{host.id} holds {host.gpu}, not the pinned {gpu.id}")
        host = host or default_host(catalog, gpu.id, pin.gpus_per_replica)
    return host if host is None else on_pinned_part(workload, host, catalog)


def on_pinned_part(workload: InferWorkload | TrainWorkload, host: Host, catalog: Catalog) -> Host:
    """The part of a GPU of the host that the pins name, or the host as it is.

    Raises ImpossibleError where the GPU has no such part, or the engine does not run on one.
    """
    if workload.pin.mig is None:
        return host
    engines = mig_facts().engines.names
    name = workload.engine.partition("@")[0]
    if name not in engines:
        raise ImpossibleError(f"pin.mig: {name} is not known to run on a part of a GPU; {', '.join(engines)} are")
    try:
        return part_of_host(host, part_of(catalog.gpu(host.gpu), workload.pin.mig))
    except (UnknownNameError, ImpossibleError) as err:
        raise ImpossibleError(f"pin.mig: {err}") from None


def on_host(resolved: Resolved, spec: Spec, host: Host, catalog: Catalog) -> Placed:
    """The workload on one kind of host. Raises ImpossibleError where it cannot run there."""
    row = row_on(resolved, host, catalog)
    estimate = document(resolved, spec, host, row, speeds_of([row])[0], catalog)
    return Placed(resolved=resolved, host=host, row=row, estimate=estimate)


def row_on(resolved: Resolved, host: Host, catalog: Catalog) -> InferRow | TrainRow:
    """The configuration on one kind of host: the first open choice that fits, else the last.

    Raises ImpossibleError where the GPU can run none of the choices, or the split needs a network it lacks.
    """
    check_reach(resolved.workload, host)
    gpu = catalog.gpu(host.gpu)
    row: InferRow | TrainRow | None = None
    reasons: list[str] = []
    for job in resolved.jobs:
        reason = unsupported(job, gpu, catalog, auto=resolved.precision_is_auto)
        if reason is not None:
            reasons.append(reason)
            continue
        hw = hardware(job, (host,), catalog)
        if isinstance(job, TrainJob):
            assert isinstance(resolved.workload, TrainWorkload)
            row = train_row(resolved.workload, job, hw, resolved.memory_headroom)
        else:
            assert isinstance(resolved.workload, InferWorkload)
            row = infer_row(resolved.workload, job, hw, margin=resolved.memory_margin)
        if row.fits:
            break
    if row is None:
        raise ImpossibleError("; ".join(dict.fromkeys(reasons)))
    return row


def check_reach(workload: InferWorkload | TrainWorkload, host: Host) -> None:
    """Several nodes need a network between them."""
    gpus = workload.pin.gpus_per_replica
    if gpus > host.num_gpus and host.network_bytes_per_second_per_gpu is None:
        raise ImpossibleError(
            f"{gpus} GPUs need more than one {host.id} ({host.num_gpus} GPUs), which has no known network; "
            f"nearest: {host.num_gpus} GPUs"
        )


def document(
    resolved: Resolved,
    spec: Spec,
    host: Host,
    row: InferRow | TrainRow,
    speed: InferSpeed | TrainSpeed,
    catalog: Catalog,
) -> WorkloadEstimate:
    """The estimate of a chosen row."""
    workload = resolved.workload
    gpu = catalog.gpu(host.gpu)
    replicas = workload.pin.replicas or 1
    num_gpus = workload.pin.gpus_per_replica * replicas
    price, warnings = price_of(
        host, workload.pin.gpus_per_replica, replicas, catalog, pinned_offer=workload.pin.offer is not None
    )
    versions = version_warnings(workload, resolved.engine.profile)
    chosen = configuration_warnings(workload, row.job, row.ways, gpu, weight_only=bool(row.hw.weight_only[0]))
    seat = Seat(
        name=workload.name,
        engine=resolved.engine.name,
        gpu=gpu,
        host=host.id,
        replicas=replicas,
        warnings=(*resolved.warnings, *host.assumptions, *chosen, *versions, *warnings),
        target_tokens=target_tokens(workload),
        requests_per_second=workload.targets.requests_per_second if isinstance(workload, InferWorkload) else None,
        burst=workload.targets.burst if isinstance(workload, InferWorkload) else None,
        confidence=resolved.confidence,
        mig=None if host.part is None else host.part.profile,
    )
    whole_gpus = num_gpus if host.part is None else num_gpus * host.part.gpu_share
    money = money_of(spec, price, row.hw, speed.shares, whole_gpus, catalog)
    if isinstance(row, InferRow):
        assert isinstance(speed, InferSpeed)
        return infer_estimate(seat, row.job, row.ways, row.hw, row.memory, speed, money, fits=row.fits)
    assert isinstance(speed, TrainSpeed)
    return train_estimate(seat, row.job, row.ways, row.hw, row.memory, speed, money, fits=row.fits)


def version_warnings(workload: InferWorkload | TrainWorkload, profile: EngineProfile) -> tuple[str, ...]:
    """A pinned version runs on the newest profile not newer than it; which one that is must be seen."""
    name, _, version = workload.engine.partition("@")
    if not version or version == profile.since:
        return ()
    return (f"{name} {version} is estimated by the profile of {version_range(profile)} (as of {profile.as_of})",)


def target_tokens(workload: InferWorkload | TrainWorkload) -> float | None:
    """Tokens a training run is asked for."""
    if not isinstance(workload, TrainWorkload):
        return None
    if workload.targets.tokens is not None:
        return workload.targets.tokens
    if workload.targets.steps is not None:
        return float(workload.targets.steps * workload.effective_global_batch * workload.sequence)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """USD per hour of all GPUs of a configuration, and whence; None where nobody publishes one."""

    usd_per_hour: float | None
    basis: str | None
    place: Place | None = None
    """Where the machines of the price stand; None = not known."""


def price_of(
    host: Host, replica_gpus: int, replicas: int, catalog: Catalog, *, pinned_offer: bool
) -> tuple[Price, tuple[str, ...]]:
    """The cheapest known on-demand price of the replicas, each on its own, or that of the pinned offer.

    A part of an instance is priced as its share, and the warning says what the whole costs. None with a
    warning where nobody publishes a price.
    """
    book = PriceBook(catalog)
    if pinned_offer:
        offer = catalog.offer(host.id)
        quoted = book.rental(offer, "on_demand")
        rental = None if quoted is None else rental_of(offer, replica_gpus)
    else:
        rental = book.cheapest_rental(host.gpu, replica_gpus)
    if rental is None:
        missing = f"no published rental price for {host.gpu}: cost figures are null"
        return Price(usd_per_hour=None, basis=None), (missing,)
    rented_gpus = rental.num_instances * rental.offer.num_gpus
    taken = replica_gpus if host.part is None else replica_gpus * host.part.gpu_share
    share = min(1.0, taken / rented_gpus)
    price = Price(
        usd_per_hour=rental.usd_per_hour * share * replicas,
        basis=rental.text,
        place=place_of_offer(catalog, rental.offer),
    )
    if share == 1.0:
        return price, ()
    whole = f"{taken:.4g} of the {rented_gpus:g} GPUs of {rental.text} are priced; the whole is "
    return price, (f"{whole}{usd(rental.usd_per_hour)} an hour",)


def money_of(
    spec: Spec, price: Price, hw: Hardware, seconds: Mapping[str, Floats], num_gpus: float, catalog: Catalog
) -> Money:
    """Price, power under this load, and carbon where the priced machines stand, else at the spec's site."""
    shares = shipped_kernels().power
    it_kw = it_power_kw(
        gpus=np.array([num_gpus]),
        tdp_kw=hw.tdp_kw,
        tdp_share=tdp_share(seconds, shares),
        node_power_kw=hw.node_power_kw,
        node_gpus=hw.node_gpus,
        power=shares,
    )
    if price.place is not None:
        grams, pue, whence = price.place.carbon_g_per_kwh, price.place.pue, price.place.region.id
    else:
        region = catalog.region(spec.site.region)
        grams = region.carbon_g_per_kwh if spec.site.carbon_g_per_kwh is None else spec.site.carbon_g_per_kwh
        pue = region.pue if spec.site.pue is None else spec.site.pue
        whence = None
    known_power = hw.tdp_kw[0] > 0
    monthly = None
    if known_power and grams is not None and pue is not None:
        monthly = float(carbon_kg(it_kw=it_kw, pue=pue, hours=HOURS_PER_MONTH, grams_per_kwh=grams)[0])
    return Money(
        usd_per_hour=price.usd_per_hour,
        basis=price.basis,
        horizon_hours=spec.horizon.months * HOURS_PER_MONTH,
        power_kw=float(it_kw[0]) if known_power else None,
        kg_co2_per_month=monthly,
        pue=pue,
        grams_per_kwh=grams,
        energy_region=whence,
    )
