"""All candidates of a spec: supply once, then every workload over it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from planner.candidates.arrivals import kept_under_arrivals
from planner.candidates.infer import search_infer
from planner.candidates.margins import margins_of
from planner.candidates.planning import planning_facts
from planner.candidates.search import Search, undominated
from planner.candidates.together import useful_together
from planner.candidates.train import search_train
from planner.candidates.types import Candidate, Dropped, Source, Supply, WorkloadCandidates
from planner.catalog.intervals import interval_facts
from planner.catalog.mig import mig_facts
from planner.errors import ImpossibleError
from planner.estimate.request import Resolved, resolve_workload
from planner.spec.types import InferWorkload, Spec, TrainWorkload

if TYPE_CHECKING:
    from planner.catalog.load import Catalog


def candidates_of(
    workload: InferWorkload | TrainWorkload,
    spec: Spec,
    supply: Supply,
    catalog: Catalog,
    *,
    prune: bool = True,
    together: bool = False,
) -> WorkloadCandidates:
    """Every way worth giving the optimiser for one workload, and why each other GPU is out; with `together` also
    ways that are worth having only beside others (see `held_under_arrivals`), without `prune` every way there is.

    Raises UnknownNameError for names the catalogs lack, ImpossibleError for pins that contradict the model or
    each other.
    """
    search = search_of(workload, spec, supply, catalog, prune=prune and not together)
    if isinstance(workload, InferWorkload):
        found = search_infer(search)
    else:
        found = search_train(search, horizon_months=spec.horizon.months)
    found = with_places(found, workload, spec)
    kept = found
    if together:
        kept = useful_together(found)
    elif prune:
        kept = kept_under_arrivals(search, undominated(found))
    able = frozenset(c.gpu for c in found)
    dropped = [*search.misses.dropped(workload.name, able)]
    if not any((workload.pin.gpu, workload.pin.node, workload.pin.offer)):
        dropped += [
            Dropped(workload=workload.name, gpu=gpu, reason=reason)
            for gpu, reason in sorted(supply.gpus_without_source.items())
        ]
    return WorkloadCandidates(
        workload=workload.name,
        candidates=tuple(kept),
        dropped=tuple(dropped),
        evaluated=search.evaluated,
        sources=pinned_sources(search.resolved, supply, catalog),
        headroom=search.resolved.memory_headroom,
        warnings=search.resolved.warnings,
    )


def search_of(
    workload: InferWorkload | TrainWorkload, spec: Spec, supply: Supply, catalog: Catalog, *, prune: bool
) -> Search:
    """What a search for ways to run one workload rests on. Raises as `candidates_of`."""
    resolved = resolve_workload(workload, spec, catalog)
    facts = planning_facts()
    sources = pinned_sources(resolved, supply, catalog)
    kinds = searched_kinds(workload, supply, sources)
    if not kinds:
        raise ImpossibleError(
            f"pin.mig: no machine of our own in the fleet has a GPU with the part {workload.pin.mig}, or "
            f"{resolved.engine.name} is not known to run on one; machines that are owned or bought are cut, "
            "where share_gpus is true"
        )
    return Search(
        resolved=resolved,
        supply=supply,
        catalog=catalog,
        prune=prune,
        facts=facts,
        splits=facts.splits_of(resolved.engine.name, workload.mode),
        most_nodes=most_nodes(spec, int(facts.value("most-nodes-per-replica"))),
        kinds=kinds,
        margins=margins_of(
            interval_facts(),
            kind="infer" if isinstance(workload, InferWorkload) else f"train_{workload.method}",
            engine=resolved.engine.name,
            quantile=spec.fleet.planning_quantile,
        ),
    )


def held_under_arrivals(
    workload: InferWorkload, spec: Spec, supply: Supply, catalog: Catalog, ways: Sequence[Candidate]
) -> list[Candidate]:
    """Ways found `together`, at rates that keep the latency targets by the full queueing model; without those that
    keep them at no rate. It is asked of the ways that are chosen, since it takes its time."""
    return kept_under_arrivals(search_of(workload, spec, supply, catalog, prune=False), ways)


def with_places(found: list[Candidate], workload: InferWorkload | TrainWorkload, spec: Spec) -> list[Candidate]:
    """Ways on whole GPUs where it matters on which nodes the replicas stand."""
    is_spread = isinstance(workload, InferWorkload) and workload.least_nodes > 1
    is_apart = workload.apart_from or any(workload.name in w.apart_from for w in spec.workloads)
    return [c for c in found if c.part is None] if is_spread or is_apart else found


def searched_kinds(
    workload: InferWorkload | TrainWorkload, supply: Supply, sources: Sequence[Source]
) -> tuple[int, ...]:
    """The kinds of machines that the pins leave, and the parts of their GPUs that a replica could run on."""
    whole = {s.kind for s in sources}
    mig = workload.pin.mig
    if workload.mode == "train" or workload.pin.gpus_per_replica > 1:
        return tuple(sorted(whole))
    if workload.engine.partition("@")[0] not in mig_facts().engines.names:
        return () if mig else tuple(sorted(whole))
    parts = {kind for kind, machines in supply.holders.items() if whole.intersection(machines)}
    if mig is None:
        return tuple(sorted(whole | parts))
    hosts = supply.kinds
    return tuple(sorted(k for k in parts if (part := hosts[k].part) and part.profile.casefold() == mig.casefold()))


def most_nodes(spec: Spec, tried: int) -> int:
    """Nodes one replica may span: no more than the fleet's limits allow."""
    limits = spec.fleet.limits
    return min(n for n in (tried, limits.nodes, limits.gpus) if n is not None)


def pinned_sources(resolved: Resolved, supply: Supply, catalog: Catalog) -> tuple[Source, ...]:
    """The sources of nodes that the pins leave.

    Raises ImpossibleError where no source of the fleet is what is pinned.
    """
    pin = resolved.workload.pin
    sources = [s for s in supply.sources if s.gpu == catalog.gpu(pin.gpu).id] if pin.gpu else [*supply.sources]
    if pin.node:
        node = catalog.node(pin.node).id
        sources = [s for s in sources if s.node == node]
    if pin.offer:
        offer = catalog.offer(pin.offer).id
        sources = [s for s in sources if s.offer == offer]
    if not sources:
        named = ", ".join(f"{k} {v}" for k, v in (("gpu", pin.gpu), ("node", pin.node), ("offer", pin.offer)) if v)
        raise ImpossibleError(
            f"nothing in the fleet is the pinned {named or 'machine'}: "
            "check fleet.gpus, procurement, providers and regions, or that a price is known"
        )
    return tuple(sources)
