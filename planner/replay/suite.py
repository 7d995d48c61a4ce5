"""A spec of pinned workloads -> the self-contained suite that a bare GPU machine replays.

The first GPU under `fleet.gpus` is the card that the suite is meant for; `on` puts another in its place. Workloads
pinned to any other GPU stay: a larger card is made to look like it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.architecture.hf.write import config_of
from planner.errors import InputError
from planner.estimate.document import FailedEstimate, WorkloadEstimate
from planner.estimate.request import resolve_engine
from planner.estimate.run import Placed, placed_or_failed
from planner.names import refuse_unknown_names
from planner.spec.load import LoadedSpec, load_spec
from planner.spec.types import InferWorkload, Spec, TrainWorkload
from validation.duration import seconds_of
from validation.planfile import expected_of, pinned, training_extras
from validation.trial import DEFAULT_TIME_LIMIT_S, Expected, Trial, slug

if TYPE_CHECKING:
    from planner.catalog.load import Catalog

GROUP_SEPARATOR = "-"
LIMIT_BASE_S, LIMIT_TIMES = 60.0, 3.0
"""A trial of a suite is ended after a minute and three times what it should take."""


def suite_trials(path: Path, catalog: Catalog, *, on: str | None = None) -> tuple[Trial, ...]:
    """The trials of a suite's YAML, in its order, each with its prediction.

    Raises InputError with every workload that cannot be predicted.
    """
    loaded = load_spec(path)
    refuse_unknown_names(loaded, catalog)
    spec = placed_on(loaded, on, catalog)
    found = tuple(placed_or_failed(spec, catalog))
    failed = [f"{path}: {e.name}: {e.error}" for e in found if isinstance(e, FailedEstimate)]
    if failed:
        raise InputError(*failed)
    made = tuple(trial(p.resolved.workload, p.estimate, catalog) for p in found if isinstance(p, Placed))
    return tuple(timed(t, expected) for t, expected in zip(made, expected_here(made, spec, catalog), strict=True))


def expected_here(trials: Sequence[Trial], spec: Spec, catalog: Catalog) -> list[Mapping[str, Expected]]:
    """What each trial should show on the card that the suite is run on, which stands for smaller ones too."""
    if not spec.fleet.gpus:
        return [t.expected for t in trials]
    here = catalog.gpu(spec.fleet.gpus[0]).id
    moved = spec.model_copy(
        update={
            "workloads": tuple(
                w.model_copy(update={"pin": w.pin.model_copy(update={"gpu": here})}) for w in spec.workloads
            )
        }
    )
    found = placed_or_failed(moved, catalog)
    return [
        expected_of({**p.estimate.model_dump(mode="json")}) if isinstance(p, Placed) else t.expected
        for t, p in zip(trials, found, strict=True)
    ]


def timed(made: Trial, here: Mapping[str, Expected]) -> Trial:
    """The trial with the seconds it should take, and a limit that leaves room for a wrong prediction."""
    seconds = round(seconds_of(made, here), 1)
    return replace(made, seconds=seconds, time_limit_s=min(DEFAULT_TIME_LIMIT_S, LIMIT_BASE_S + LIMIT_TIMES * seconds))


def placed_on(loaded: LoadedSpec, gpu: str | None, catalog: Catalog) -> Spec:
    """The spec with the card it is meant for replaced. Raises InputError for a suite that names none."""
    spec = loaded.spec
    if gpu is None:
        return spec
    if not spec.fleet.gpus:
        raise InputError(f"{loaded.source}: fleet.gpus names no card, so none can be put in its place")
    meant, other = spec.fleet.gpus[0].casefold(), catalog.gpu(gpu).id
    moved = [
        w.model_copy(update={"pin": w.pin.model_copy(update={"gpu": other})})
        if w.pin.gpu is not None and w.pin.gpu.casefold() == meant
        else w
        for w in spec.workloads
    ]
    return spec.model_copy(update={"workloads": tuple(moved)})


def trial(workload: InferWorkload | TrainWorkload, estimate: WorkloadEstimate, catalog: Catalog) -> Trial:
    """One workload of a suite as a trial."""
    raw = {**estimate.model_dump(mode="json"), "placements": [placement(workload, estimate)]}
    entry: dict[str, Any] = workload.model_dump(mode="json", by_alias=True)
    model = workload.model
    keys = config_of(catalog.models.entry(model)) if isinstance(model, str) else dict(model)
    made = Trial(
        id=slug(estimate.name),
        mode=estimate.mode,
        engine=estimate.engine,
        gpu=estimate.gpu,
        gpus=estimate.gpus // estimate.replicas,
        model=keys or {},
        config={**estimate.config, **training_extras(entry)},
        options=dict(resolve_engine(workload, catalog).options),
        workload=without_host(pinned(raw, entry)),
        expected=expected_of(raw),
        fits=estimate.fits,
        usable_bytes=estimate.memory.usable_bytes,
        group=estimate.name.partition(GROUP_SEPARATOR)[0],
    )
    return replace(made, workload={**made.workload, "name": estimate.name})


def placement(workload: InferWorkload | TrainWorkload, estimate: WorkloadEstimate) -> dict[str, Any]:
    """Where an estimate sits, as a plan's placement says it."""
    return {"node": estimate.host, "gpus_per_replica": workload.pin.gpus_per_replica, "nodes_per_replica": 1}


def without_host(entry: dict[str, Any]) -> dict[str, Any]:
    """The pinned entry without a host: a card alone was measured."""
    return {**entry, "pin": {k: v for k, v in entry["pin"].items() if k != "node"}}
