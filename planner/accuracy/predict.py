"""The estimator asked for every record at once: equal workloads once, rows of one job in one call."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from planner.accuracy.types import Answer
from planner.errors import ImpossibleError, InputError
from planner.estimate.assemble import known, memory_document, number
from planner.estimate.request import check_expert_group, resolve_workload
from planner.estimate.rows import InferRow, TrainRow
from planner.estimate.run import pinned_host, row_on, speeds_of
from planner.estimate.types import InferJob, InferSpeed, TrainJob, TrainSpeed
from planner.spec.types import InferWorkload, Spec, TrainWorkload

if TYPE_CHECKING:
    from planner.catalog.load import Catalog

FLEET = {"memory_headroom": 0.0}
"""Every measured workload did run: nothing has to stay free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Why a workload could not be estimated."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A workload's configuration on its GPU."""

    workload: InferWorkload | TrainWorkload
    row: InferRow | TrainRow
    gpu: str
    arch: str


def workload_key(workload: Mapping[str, Any]) -> str:
    """The same for equal workloads, whatever they are called."""
    return json.dumps({k: v for k, v in workload.items() if k != "name"}, sort_keys=True)


def answers(
    workloads: Iterable[Mapping[str, Any]], catalog: Catalog, *, timed: Container[str] | None = None
) -> dict[str, Answer | Failed]:
    """An answer, or why there is none, for each different workload (entries of a spec), by `workload_key`.

    `timed` are the keys of those whose speed is wanted; None = of all.
    """
    placed: dict[str, Placed | Failed] = {}
    for workload in workloads:
        key = workload_key(workload)
        if key not in placed:
            placed[key] = place_or_failure(workload, catalog)
    wanted = {k: p for k, p in placed.items() if isinstance(p, Placed) and (timed is None or k in timed)}
    shared = with_shared_jobs(wanted)
    speeds = dict(zip(shared, speeds_of([p.row for p in shared.values()]), strict=True))
    return {key: p if isinstance(p, Failed) else answer_of(p, speeds.get(key)) for key, p in placed.items()}


def place_or_failure(workload: Mapping[str, Any], catalog: Catalog) -> Placed | Failed:
    """The workload's configuration as pinned, or why there is none."""
    try:
        return place(workload, catalog)
    except ValidationError as err:
        return Failed(why="; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in err.errors()))
    except (InputError, ImpossibleError) as err:
        return Failed(why=str(err))


def place(workload: Mapping[str, Any], catalog: Catalog) -> Placed:
    """The workload's configuration as pinned.

    Raises ValidationError where it is no workload of a spec, InputError for unknown names or a missing GPU, and
    ImpossibleError where it cannot run.
    """
    spec = Spec.model_validate({"version": 1, "name": "records", "fleet": FLEET, "workloads": [dict(workload)]})
    asked = spec.workloads[0]
    resolved = resolve_workload(asked, spec, catalog)
    check_expert_group(asked)
    host = pinned_host(asked, catalog)
    if host is None:
        raise InputError("the record's workload pins no GPU")
    row = row_on(resolved, host, catalog)
    return Placed(workload=asked, row=row, gpu=host.gpu, arch=catalog.gpu(host.gpu).arch)


def with_shared_jobs(placed: Mapping[str, Placed]) -> dict[str, Placed]:
    """The same rows, equal jobs being one object, so that their speeds are estimated together."""
    known_jobs: dict[str, list[InferJob | TrainJob]] = {}
    shared = {}
    for key, one in placed.items():
        jobs = known_jobs.setdefault(one.row.job.model.id, [])
        job = next((j for j in jobs if j == one.row.job), None)
        if job is None:
            jobs.append(one.row.job)
            shared[key] = one
        else:
            shared[key] = replace(one, row=with_job(one.row, job))
    return shared


def with_job(row: InferRow | TrainRow, job: InferJob | TrainJob) -> InferRow | TrainRow:
    """The row with an equal job."""
    if isinstance(row, InferRow):
        assert isinstance(job, InferJob)
        return replace(row, job=job)
    assert isinstance(job, TrainJob)
    return replace(row, job=job)


def answer_of(placed: Placed, speed: InferSpeed | TrainSpeed | None) -> Answer:
    """The figures of one row, of all its replicas; without those of speed where it was not asked for."""
    row, pin = placed.row, placed.workload.pin
    replicas = pin.replicas or 1
    held = memory_document(row.memory, row.hw)
    infer = speed if isinstance(speed, InferSpeed) else None
    job = row.job
    return Answer(
        mode="infer" if isinstance(job, InferJob) else "train",
        method="infer" if isinstance(job, InferJob) else job.method,
        engine=job.engine.name,
        gpu=placed.gpu,
        arch=placed.arch,
        fits=row.fits,
        gpus=int(number(row.ways.gpus)) * replicas,
        batch=float(job.global_batch) if isinstance(job, TrainJob) else in_flight(row) * replicas,
        input_tokens=job.input_tokens if isinstance(job, InferJob) else job.sequence_tokens,
        output_tokens=job.output_tokens if isinstance(job, InferJob) else 0,
        part_bytes=dict(held.per_gpu_bytes),
        allocated_bytes=held.allocated_peak_bytes,
        reserved_bytes=held.reserved_peak_bytes,
        device_bytes=held.device_peak_bytes,
        static_bytes=held.static_bytes,
        host_bytes=held.host_bytes,
        kv_cache_tokens=held.kv_cache_tokens,
        tokens_per_second=times(known(number(speed.tokens_per_second)), replicas) if speed else None,
        output_tokens_per_second=times(known(number(infer.output_tokens_per_second)), replicas) if infer else None,
        requests_per_second=times(known(number(infer.requests_per_second)), replicas) if infer else None,
        ttft_s=known(number(infer.ttft_s)) if infer else None,
        tpot_s=known(number(infer.tpot_s)) if infer else None,
        prefill_s=known(number(infer.prefill_s)) if infer else None,
        step_s=known(number(speed.step_s)) if speed else None,
        mfu=known(number(speed.mfu)) if speed else None,
    )


def times(value: float | None, replicas: int) -> float | None:
    """A rate of one replica as that of all."""
    return None if value is None else value * replicas


def in_flight(row: InferRow | TrainRow) -> float:
    """Sequences in flight of one replica."""
    assert isinstance(row, InferRow)
    return number(row.ways.batch)


def model_label(workload: Mapping[str, Any]) -> str:
    """What to call the model of a workload."""
    model = workload.get("model", "")
    return model if isinstance(model, str) else f"{model.get('model_type', 'model')} {size_text(model)}".strip()


def size_text(config: Mapping[str, Any]) -> str:
    """Depth and width of a `config.json`.

    >>> size_text({"n_layer": 24, "n_embd": 2048})
    '24 x 2048'
    """
    names: Sequence[tuple[str, str]] = (("num_hidden_layers", "hidden_size"), ("n_layer", "n_embd"))
    found = next(((config[a], config[b]) for a, b in names if a in config and b in config), None)
    return "" if found is None else f"{found[0]} x {found[1]}"
