"""Rules across keys that need no catalog: each returns the problems it finds, with the way out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, get_args

from planner.errors import did_you_mean, near_matches
from planner.spec.base import InferPrecision, Problem, TrainPrecision
from planner.spec.day import overlap

if TYPE_CHECKING:
    from planner.spec.fleet import Horizon, Period
    from planner.spec.types import Spec
    from planner.spec.workloads import InferWorkload, TrainWorkload

SHARE_TOLERANCE = 1e-6
"""Rounding that the shares of a traffic mix are allowed: thirds written with seven digits pass."""
MAX_STRANGERS = 20
"""Unknown names in periods that are reported: finding near matches takes time."""
PIN_TWINS = ("precision", "kv_precision", "batch", "attention", "checkpointing", "sharding")
"""Keys that both a workload and its pin have."""
INFER_OFFLOAD = ("weights_cpu", "weights_disk", "kv_cpu", "experts_cpu")
TRAIN_OFFLOAD = ("optimizer_cpu", "params_cpu")
TRAIN_ONLY_PINS = ("micro_batch", "checkpointing", "sharding")


def mix_problems(workload: InferWorkload) -> Iterator[Problem]:
    """Exactly one description of the requests, and shares that add up."""
    if workload.sequence is not None and workload.traffic:
        yield ("traffic",), "given beside `sequence`; keep one of the two"
    media = workload.images or workload.image or workload.audio
    if workload.sequence is None and not workload.traffic and media is None:
        yield (
            (),
            (
                "`sequence` is missing; give `sequence: {input: 1024, output: 256}` or a `traffic` mix "
                "(for media `images`, `image` or `audio`)"
            ),
        )
    total = sum(t.share for t in workload.traffic)
    if workload.traffic and abs(total - 1) > SHARE_TOLERANCE:
        yield ("traffic",), f"the shares add up to {total:g}, not 1"


def infer_target_problems(workload: InferWorkload) -> Iterator[Problem]:
    """Targets on tokens that no request has."""
    targets = workload.targets
    if targets.output_tokens_per_second is not None and workload.mix and not any(t.output for t in workload.mix):
        yield ("targets", "output_tokens_per_second"), "no request has output tokens; ask requests_per_second"
    if targets.tpot_ms is not None and workload.mix and all(t.output < 2 for t in workload.mix):
        yield ("targets", "tpot_ms"), "no request has a second output token; ask ttft_ms alone"


def mixed_problems(workload: InferWorkload) -> Iterator[Problem]:
    """Several configurations need a demand to share, and replicas that nobody fixed."""
    t = workload.targets
    if not workload.mixed:
        return
    if t.requests_per_second is None and t.output_tokens_per_second is None and t.concurrency is None:
        yield ("mixed",), "needs requests_per_second, output_tokens_per_second or concurrency in `targets`"
    if workload.pin.replicas is not None:
        yield ("mixed",), f"contradicts pin.replicas {workload.pin.replicas}; keep one of the two"


def train_target_problems(workload: TrainWorkload) -> Iterator[Problem]:
    """Targets that say the same twice, or a deadline for nothing."""
    targets = workload.targets
    if targets.tokens is not None and targets.steps is not None:
        yield ("targets", "steps"), "given beside `tokens`; keep one of the two"
    if targets.deadline_hours is not None and targets.tokens is None and targets.steps is None:
        yield ("targets", "deadline_hours"), "a deadline needs `tokens` or `steps` to be done by then"


def infer_problems(workload: InferWorkload) -> Iterator[Problem]:
    """Contradictions of an inference workload."""
    yield from infer_target_problems(workload)
    yield from mixed_problems(workload)
    replicas, nodes = workload.pin.replicas, workload.least_nodes
    if replicas is not None and replicas < nodes:
        yield ("least_nodes",), f"pinned are {replicas} replicas, which do not stand on {nodes} nodes"
    for key in TRAIN_ONLY_PINS:
        if getattr(workload.pin, key) is not None:
            yield ("pin", key), "belongs to mode: train; take it out"
    if workload.pin.mig is not None and workload.pin.gpus_per_replica > 1:
        split = workload.pin.gpus_per_replica
        yield ("pin", "mig"), f"a replica on a part of a GPU is not split over {split}; leave the degrees out"
    if workload.pin.mig is not None and workload.pin.offload is not None and not workload.pin.offload.is_none:
        yield ("pin", "mig"), "nothing is offloaded from a part of a GPU; take pin.offload out"
    yield from hour_problems(workload)
    yield from offload_problems(workload, TRAIN_OFFLOAD, INFER_OFFLOAD)
    pinned = workload.pin.precision
    if pinned is not None and pinned not in get_args(InferPrecision):
        yield ("pin", "precision"), f"{pinned} is a training precision; for mode: infer {pinned.partition('-')[0]}"
    yield from twin_problems(workload)


def train_problems(workload: TrainWorkload) -> Iterator[Problem]:
    """Contradictions of a training workload."""
    yield from train_target_problems(workload)
    pin = workload.pin
    if pin.kv_precision is not None:
        yield ("pin", "kv_precision"), "belongs to mode: infer; training keeps no KV cache"
    if pin.mig is not None:
        yield ("pin", "mig"), "belongs to mode: infer; a training is planned on whole GPUs"
    if pin.replicas is not None and pin.replicas > 1:
        yield ("pin", "replicas"), f"training is one job, not {pin.replicas}; give data_parallel {pin.replicas}"
    if pin.precision is not None and pin.precision not in get_args(TrainPrecision):
        known = ", ".join(get_args(TrainPrecision))
        yield ("pin", "precision"), f"{pin.precision} is not a training precision; one of {known}"
    yield from hour_problems(workload)
    yield from offload_problems(workload, INFER_OFFLOAD, TRAIN_OFFLOAD)
    yield from twin_problems(workload)
    yield from batch_problems(workload)


def batch_problems(workload: TrainWorkload) -> Iterator[Problem]:
    """A pinned micro batch must not contradict the one given."""
    micro, pinned = workload.batch.micro, workload.pin.micro_batch
    if pinned is not None and micro not in ("auto", pinned):
        yield ("pin", "micro_batch"), f"{pinned} contradicts batch.micro {micro}; keep one of the two"


def lora_problems(workload: TrainWorkload) -> Iterator[Problem]:
    """Adapters belong to lora and qlora."""
    if workload.method == "full" and workload.lora is not None:
        yield ("lora",), "given with method: full; write `method: lora` (or qlora), or take it out"
    if workload.method != "full" and workload.lora is None:
        yield ("lora",), f"method: {workload.method} needs adapters; leave `lora` out for the defaults"


def offload_problems(
    workload: InferWorkload | TrainWorkload, foreign: Iterable[str], own: Iterable[str]
) -> Iterator[Problem]:
    """Pinned offload shares that the mode does not have, or that `offload` forbids."""
    shares = workload.pin.offload
    if shares is None:
        return
    for key in foreign:
        if getattr(shares, key) > 0:
            yield ("pin", "offload", key), f"mode: {workload.mode} has no such thing; use {' or '.join(own)}"
    if "offload" not in workload.model_fields_set or shares.is_none:
        return
    if workload.offload == "none":
        yield ("pin", "offload"), "contradicts offload: none; take one of the two out"
    elif workload.offload != "auto":
        if not workload.offload.disk and shares.weights_disk > 0:
            yield ("pin", "offload", "weights_disk"), "contradicts offload.disk: false; take one of the two out"
        in_host = shares.weights_cpu + shares.kv_cpu + shares.experts_cpu + shares.optimizer_cpu + shares.params_cpu
        if not workload.offload.cpu and in_host > 0:
            yield ("pin", "offload"), "contradicts offload.cpu: false; take one of the two out"


def hour_problems(workload: InferWorkload | TrainWorkload) -> Iterator[Problem]:
    """Hours that are named twice."""
    if overlap(workload.hours):
        yield ("hours",), f"the ranges {', '.join(workload.hours)} overlap"


def twin_problems(workload: InferWorkload | TrainWorkload) -> Iterator[Problem]:
    """A key that is both given and pinned must say the same."""
    for key in PIN_TWINS:
        pinned = getattr(workload.pin, key)
        if pinned is None or key not in workload.model_fields_set:
            continue
        given = getattr(workload, key)
        if key == "batch" and workload.mode == "train":
            given = workload.batch.global_
        allowed = given if isinstance(given, tuple) else (given,)
        if "auto" not in allowed and pinned not in allowed:
            yield ("pin", key), f"{pinned} contradicts {key}: {', '.join(map(str, allowed))}; keep one of the two"


def name_problems(names: Iterable[tuple[int, str]]) -> Iterator[Problem]:
    """Names of workloads (with their indices) that are taken already, compared without case."""
    first: dict[str, int] = {}
    for index, name in names:
        taken = first.setdefault(name.casefold(), index)
        if taken != index:
            yield ("workloads", index, "name"), f"the name {name!r} is taken by workload {taken + 1}; names are unique"


def place_problems(spec: Spec) -> Iterator[Problem]:
    """What is asked of the places of replicas can be had, of workloads that exist."""
    names = [w.name for w in spec.workloads]
    for index, w in enumerate(spec.workloads):
        for n, other in enumerate(w.apart_from):
            at: tuple[str | int, ...] = ("workloads", index, "apart_from", n)
            if other == w.name:
                yield at, "names the workload itself; for replicas of one workload say least_nodes"
            elif other not in names:
                near = did_you_mean(near_matches(other, names))
                yield at, f"no workload is named {other!r}; {near}"
        if w.mode == "infer" and w.least_nodes > 1 and not spec.fleet.share_gpus:
            yield ("workloads", index, "least_nodes"), f"{w.least_nodes} needs fleet.share_gpus: true"


def period_problems(spec: Spec) -> Iterator[Problem]:
    """Periods lie inside the horizon and name workloads that exist, each of which runs in one of them at least."""
    yield from length_problems(spec.horizon, spec.periods)
    names = [w.name for w in spec.workloads]
    known = frozenset(names)
    strangers = [(i, name) for i, period in enumerate(spec.periods) for name in period.demand if name not in known]
    for index, name in strangers[:MAX_STRANGERS]:
        near = did_you_mean(near_matches(name, names))
        yield ("periods", index, "demand", name), f"no workload is named {name!r}; {near}"
    for name in names:
        if spec.periods and all(period.demand.get(name, 1.0) == 0 for period in spec.periods):
            yield ("periods", 0, "demand", name), f"{name} runs in no period; leave the workload out"


def length_problems(horizon: Horizon, periods: Iterable[Period]) -> Iterator[Problem]:
    """Periods must lie inside the horizon."""
    end = 0
    for index, period in enumerate(periods):
        end += period.months
        if end > horizon.months:
            yield (
                ("periods", index, "months"),
                f"the periods reach month {end}, the horizon ends at {horizon.months}; "
                f"set horizon: {{months: {end}}} or shorten them",
            )
            return


def purchase_problems(spec: Spec) -> Iterator[Problem]:
    """Keys that mean something over periods only."""
    if spec.periods:
        return
    if spec.fleet.lead_months:
        yield ("fleet", "lead_months"), "counts where there are `periods`; add them, or take it out"
    if spec.fleet.limits.capex_usd_per_period is not None:
        yield (
            ("fleet", "limits", "capex_usd_per_period"),
            "there are no `periods`; add them, or limit capex_usd",
        )
