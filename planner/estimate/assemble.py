"""From columns of one row to the estimate as a document: totals, intervals, cost, warnings and derivation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from planner.catalog.intervals import SHIPPED_CONFIDENCE, bounds
from planner.catalog.types import Gpu
from planner.estimate.cost import hours_to_train, usd_over, usd_per_million_tokens
from planner.estimate.derive import infer_derivation, train_derivation
from planner.estimate.document import (
    BurstDocument,
    ConfigValue,
    CostDocument,
    LatencyDocument,
    MemoryDocument,
    OpenLoopDocument,
    PerformanceDocument,
    WorkloadEstimate,
)
from planner.estimate.memory import usable_bytes
from planner.estimate.memory.fixed import has_budget
from planner.estimate.speed.arrivals import infer_burst, infer_open_loop
from planner.estimate.speed.infer import lengths_of
from planner.estimate.speed.open_loop import Latency, OpenLoop
from planner.estimate.types import (
    PARTS,
    Floats,
    Hardware,
    InferJob,
    InferSpeed,
    InferWays,
    Ints,
    Memory,
    TrainJob,
    TrainSpeed,
    TrainWays,
)

FIGURES_OF_MEMORY = ("allocated_peak_bytes", "reserved_peak_bytes", "device_peak_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """Price of the configuration; None = nobody published one."""

    usd_per_hour: float | None
    """All replicas."""
    basis: str | None
    """Which price: offer, procurement, source and date."""
    horizon_hours: float
    power_kw: float | None
    """All replicas with their share of the hosts, before PUE."""
    kg_co2_per_month: float | None
    node_power_kw: float | None = None
    """Maximum draw of one node, where `power_kw` is the GPUs' part of that; None = the draw under this load."""
    pue: float | None = None
    """Energy of the building over that of the machines (a ratio)."""
    grams_per_kwh: float | None = None
    """Carbon of the electricity; with the PUE in it where `pue` is None."""
    day_share: float = 1.0
    """Part of the day in which it runs; money is the mean over the day."""
    energy_region: str | None = None
    """Where rented machines stand, an id of catalogs/energy.yaml; None = at the spec's site."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """What is estimated, where it sits, and who asks."""

    name: str
    engine: str
    gpu: Gpu
    host: str
    replicas: int
    warnings: tuple[str, ...]
    kv_precision: str | None = None
    target_tokens: float | None = None
    """Training: tokens to be trained on."""
    requests_per_second: float | None = None
    """Inference: rate at which requests arrive, over all replicas."""
    burst: int | None = None
    """Inference: requests that come all at once, over all replicas."""
    confidence: float = SHIPPED_CONFIDENCE
    """Share of measurements inside the prediction intervals."""
    mig: str | None = None
    """The part of a GPU that each replica gets."""


def number(column: Floats | Ints) -> float:
    """The only entry of a column of one row."""
    return float(column.reshape(-1)[0])


def known(value: float) -> float | None:
    """None for a figure that does not apply."""
    return value if math.isfinite(value) else None


def memory_document(memory: Memory, hw: Hardware) -> MemoryDocument:
    """Whole bytes; the parts are rounded so that they add up to the total."""
    parts = {name: round(number(memory.parts[name])) for name in PARTS}
    allocated = sum(v for k, v in parts.items() if k not in ("context", "fragmentation"))
    return MemoryDocument(
        per_gpu_bytes=parts,
        allocated_peak_bytes=allocated,
        reserved_peak_bytes=allocated + parts["fragmentation"],
        device_peak_bytes=sum(parts.values()),
        cached_bytes=math.floor(number(memory.cached_bytes)),
        static_bytes=round(number(memory.static_bytes)),
        usable_bytes=math.floor(number(usable_bytes(hw))),
        host_bytes=round(number(memory.host_bytes)),
        disk_bytes=round(number(memory.disk_bytes)),
        max_batch=int(number(memory.max_batch)),
        kv_cache_tokens=int(number(memory.kv_cache_tokens)),
        phase=str(memory.phase.reshape(-1)[0]),
    )


def intervals(
    kind: str,
    engine: str,
    memory: MemoryDocument,
    speeds: Mapping[str, float | None],
    *,
    confidence: float = SHIPPED_CONFIDENCE,
    capped: bool = False,
) -> dict[str, tuple[int, int] | tuple[float, float] | None]:
    """Intervals that hold a share `confidence` of measurements: prediction times the factors recorded for the kind.

    `capped`: the engine keeps within a budget of its own, so what fits never grows past the GPU.
    """
    result: dict[str, tuple[int, int] | tuple[float, float] | None] = {}
    for name in FIGURES_OF_MEMORY:
        value = getattr(memory, name)
        least, most = bounds(kind, name, confidence, engine=engine)
        high = math.ceil(value * most)
        if capped and memory.device_peak_bytes <= memory.usable_bytes:
            high = min(high, memory.usable_bytes)
        result[name] = (math.floor(value * least), high)
    for name, speed in speeds.items():
        least, most = bounds(kind, name, confidence, engine=engine)
        result[name] = None if speed is None else (speed * least, speed * most)
    return result


def cost_document(money: Money, *, tokens_per_second: float | None, total_hours: float | None) -> CostDocument:
    """Money per hour, per million generated tokens and in all."""
    hourly = np.array([math.nan if money.usd_per_hour is None else money.usd_per_hour])
    rate = np.array([(tokens_per_second or 0.0) * money.day_share])
    hours = math.nan if total_hours is None else total_hours
    return CostDocument(
        usd_per_hour=money.usd_per_hour,
        usd_per_million_output_tokens=known(
            number(usd_per_million_tokens(usd_per_hour=hourly, tokens_per_second=rate))
        ),
        usd_total=known(number(usd_over(usd_per_hour=hourly, hours=hours))),
        basis=money.basis,
    )


def infer_estimate(
    seat: Seat,
    job: InferJob,
    ways: InferWays,
    hw: Hardware,
    memory: Memory,
    speed: InferSpeed,
    money: Money,
    *,
    fits: bool,
) -> WorkloadEstimate:
    """The document of one inference configuration."""
    n = seat.replicas
    gpus = int(number(ways.gpus)) * n
    held = memory_document(memory, hw)
    total_rate = known(number(speed.tokens_per_second) * n)
    out_rate = known(number(speed.output_tokens_per_second) * n) if job.output_tokens else None
    figures = {
        "tokens_per_second": total_rate,
        "output_tokens_per_second": out_rate,
        "requests_per_second": known(number(speed.requests_per_second) * n),
        "ttft_s": known(number(speed.ttft_s)),
        "tpot_s": known(number(speed.tpot_s)) if job.output_tokens > 1 else None,
        "step_s": known(number(speed.step_s)),
    }
    arrivals = None
    if seat.requests_per_second is not None:
        each = seat.requests_per_second / n
        arrivals = infer_open_loop(job, ways, hw, kv_slots=memory.max_batch, requests_per_second=each)
    return WorkloadEstimate(
        name=seat.name,
        mode="infer",
        model=job.model.id,
        engine=seat.engine,
        gpu=seat.gpu.id,
        gpu_name=seat.gpu.name,
        gpus=gpus,
        replicas=n,
        host=seat.host,
        fits=fits,
        params_total=job.model.params_total,
        params_active=job.model.params_active,
        config=infer_config(seat, job, ways),
        memory=held,
        performance=PerformanceDocument(
            output_tokens_per_second=out_rate,
            tokens_per_second=total_rate,
            tokens_per_second_per_gpu=None if total_rate is None else total_rate / gpus,
            requests_per_second=figures["requests_per_second"],
            ttft_s=figures["ttft_s"],
            tpot_s=figures["tpot_s"],
            prefill_s=known(number(speed.prefill_s)),
            step_s=figures["step_s"],
            mfu=known(number(speed.mfu)),
            bound_by=str(speed.bound_by.reshape(-1)[0]),
            seconds_by_cause={k: number(v) for k, v in speed.shares.items()},
            open_loop=open_loop_document(seat, arrivals, ranks=n * int(number(ways.data_parallel))),
            burst=burst_document(seat, job, ways, hw, memory.max_batch),
        ),
        intervals=intervals("infer", seat.engine, held, figures, confidence=seat.confidence, capped=has_budget(job)),
        cost=cost_document(money, tokens_per_second=out_rate, total_hours=money.horizon_hours),
        power_kw=money.power_kw,
        kg_co2_per_month=money.kg_co2_per_month,
        warnings=(*seat.warnings, *arrival_warnings(seat, arrivals)),
        derivation=infer_derivation(
            job, ways, hw, held, speed, money, replicas=n, output_rate=out_rate, hours=money.horizon_hours,
            arrivals=arrivals, requests_per_second=seat.requests_per_second,
        ),
    )  # fmt: skip


def open_loop_document(seat: Seat, found: OpenLoop | None, *, ranks: int) -> OpenLoopDocument | None:
    """The queue of one rank as that of the deployment: latencies are the same, requests in the batches add up."""
    if found is None or seat.requests_per_second is None:
        return None
    return OpenLoopDocument(
        requests_per_second=seat.requests_per_second,
        utilisation=found.utilisation,
        running=None if found.running is None else found.running * ranks,
        waiting_share=found.waiting_share,
        ttft_s=latency_document(found.ttft),
        tpot_s=latency_document(found.tpot),
        end_to_end_s=latency_document(found.end_to_end),
    )


def burst_document(seat: Seat, job: InferJob, ways: InferWays, hw: Hardware, kv_slots: Floats) -> BurstDocument | None:
    """The burst of the fullest replica is that of the deployment; None where none is asked."""
    if seat.burst is None:
        return None
    found = infer_burst(job, ways, hw, kv_slots=kv_slots, requests=-(-seat.burst // seat.replicas))
    made = lengths_of(job).new_tokens
    ttft, end_to_end = latency_document(found.ttft), latency_document(found.end_to_end)
    assert ttft is not None
    assert end_to_end is not None
    return BurstDocument(
        requests=seat.burst,
        makespan_s=found.makespan_s,
        output_tokens_per_second=seat.burst * made / found.makespan_s if made else None,
        ttft_s=ttft,
        end_to_end_s=end_to_end,
    )


def latency_document(found: Latency | None) -> LatencyDocument | None:
    """As it stands in files."""
    if found is None:
        return None
    return LatencyDocument(mean=found.mean_s, p50=found.p50_s, p90=found.p90_s, p99=found.p99_s)


def arrival_warnings(seat: Seat, found: OpenLoop | None) -> Iterator[str]:
    """A queue that only grows."""
    rate = seat.requests_per_second
    if rate is None:
        return
    if found is not None and found.ttft is None:
        yield (
            f"{rate:,.4g} requests/s are {found.utilisation:.2f} times what this configuration serves: "
            "the queue only grows, open-loop latencies are null"
        )


def infer_config(seat: Seat, job: InferJob, ways: InferWays) -> dict[str, ConfigValue]:
    """Every decision of the configuration, by the names of `pin`."""
    return {
        **({"mig": seat.mig} if seat.mig else {}),
        "precision": job.weights.id,
        "kv_precision": seat.kv_precision or kv_name(job, seat.gpu),
        "attention": job.attention,
        "tensor_parallel": int(number(ways.tensor_parallel)),
        "pipeline_parallel": int(number(ways.pipeline_parallel)),
        "data_parallel": int(number(ways.data_parallel)),
        "expert_parallel": int(number(ways.expert_parallel)),
        "context_parallel": int(number(ways.context_parallel)),
        "batch": int(number(ways.batch)),
        "input_tokens": job.input_tokens,
        "output_tokens": job.output_tokens,
        "offload": {
            "weights_cpu": number(ways.weights_cpu),
            "weights_disk": number(ways.weights_disk),
            "kv_cpu": number(ways.kv_cpu),
            **({"experts_cpu": number(ways.experts_cpu)} if number(ways.experts_cpu) else {}),
        },
    }


def kv_name(job: InferJob, gpu: Gpu) -> str:
    """The precision id of a cached value: 16 bits are fp16 where the model runs in fp16 or the GPU has no bf16."""
    half = "fp16" if job.weights.compute == "fp16" or gpu.peak_flop_per_second.bf16 is None else "bf16"
    return {32.0: "fp32", 16.0: half, 8.0: "fp8"}.get(job.kv_bits, "int8")


def train_estimate(
    seat: Seat,
    job: TrainJob,
    ways: TrainWays,
    hw: Hardware,
    memory: Memory,
    speed: TrainSpeed,
    money: Money,
    *,
    fits: bool,
) -> WorkloadEstimate:
    """The document of one training configuration."""
    gpus = int(number(ways.gpus)) * seat.replicas
    held = memory_document(memory, hw)
    rate = known(number(speed.tokens_per_second) * seat.replicas)
    step = known(number(speed.step_s))
    hours = None
    if seat.target_tokens is not None:
        hours = known(number(hours_to_train(tokens=seat.target_tokens, tokens_per_second=speed.tokens_per_second)))
        hours = None if hours is None else hours / money.day_share
    kind = f"train_{job.method}"
    return WorkloadEstimate(
        name=seat.name,
        mode="train",
        model=job.model.id,
        engine=seat.engine,
        gpu=seat.gpu.id,
        gpu_name=seat.gpu.name,
        gpus=gpus,
        replicas=seat.replicas,
        host=seat.host,
        fits=fits,
        params_total=job.model.params_total,
        params_active=job.model.params_active,
        config=train_config(job, ways),
        memory=held,
        performance=PerformanceDocument(
            output_tokens_per_second=None,
            tokens_per_second=rate,
            tokens_per_second_per_gpu=None if rate is None else rate / gpus,
            requests_per_second=None,
            ttft_s=None,
            tpot_s=None,
            step_s=step,
            mfu=known(number(speed.mfu)),
            bound_by=str(speed.bound_by.reshape(-1)[0]),
            seconds_by_cause={k: number(v) for k, v in speed.shares.items()},
        ),
        intervals=intervals(
            kind, seat.engine, held, {"tokens_per_second": rate, "step_s": step}, confidence=seat.confidence
        ),
        cost=cost_document(money, tokens_per_second=None, total_hours=hours),
        power_kw=money.power_kw,
        kg_co2_per_month=money.kg_co2_per_month,
        warnings=seat.warnings,
        derivation=train_derivation(job, ways, hw, held, speed, money, replicas=seat.replicas, hours=hours),
    )


def train_config(job: TrainJob, ways: TrainWays) -> dict[str, ConfigValue]:
    """Every decision of the configuration, by the names of `pin`."""
    dp = int(number(ways.data_parallel))
    micro = int(number(ways.micro_batch))
    return {
        "method": job.method,
        "precision": job.precision,
        "base_precision": job.base.id,
        "optimizer": job.optimizer,
        "checkpointing": job.checkpointing,
        "sharding": job.sharding,
        "attention": job.attention,
        "tensor_parallel": int(number(ways.tensor_parallel)),
        "pipeline_parallel": int(number(ways.pipeline_parallel)),
        "data_parallel": dp,
        "context_parallel": int(number(ways.context_parallel)),
        "expert_parallel": int(number(ways.expert_parallel)),
        "batch": job.global_batch,
        "micro_batch": micro,
        "accumulation": max(1, job.global_batch // (dp * micro)),
        "sequence_tokens": job.sequence_tokens,
        "lora_rank": job.lora.rank if job.lora else None,
        "offload": {"optimizer_cpu": number(ways.optimizer_cpu), "params_cpu": number(ways.params_cpu)},
    }
