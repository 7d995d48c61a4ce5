"""Parameters of the operation models: the typed view of `catalogs/kernels.yaml`.

One row holds the constants of one formula for one architecture (or for the GPUs its patterns name, which win) and one
kind of arithmetic; `columns.py` spreads the rows over the ways of a call.
"""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from planner.catalog.calibration import Factors, calibration_in_use
from planner.catalog.types import Confidence
from planner.errors import UnknownNameError
from planner.estimate.types import Engine
from planner.plain_yaml import load_yaml
from planner.resources import data_folder

Width = Literal["32", "16", "8", "4"]
"""Bits of the numbers that a matrix product multiplies."""
Cause = Literal["compute", "memory_bandwidth", "communication", "overhead", "host_link"]
"""What a second of a step is spent on."""
Positive = Annotated[float, Field(gt=0)]
AtLeastZero = Annotated[float, Field(ge=0)]
AtMostOne = Annotated[float, Field(gt=0, le=1)]


class _Row(BaseModel):
    """One set of constants with its origin."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    arch: str
    gpus: tuple[str, ...] = ()
    """Patterns of GPU ids; empty = every GPU of the architecture that no other row names."""
    source: str
    as_of: str
    confidence: Confidence


class GemmRow(_Row):
    """t = launch + (t_compute^p + t_memory^p)^(1/p)."""

    width: Width
    peak_share: AtMostOne
    """Share of the peak that a large product reaches."""
    bandwidth_share: AtMostOne
    """Share of the memory bandwidth that a large matrix reaches."""
    launch_s: Positive
    sharpness: Positive
    """Exponent of the soft maximum."""
    half_depth: AtLeastZero
    """Inner dimension at which half the compute rate is reached."""
    half_bytes: AtLeastZero
    """Bytes at which half the bandwidth is reached."""
    short_sum_factor: Positive = 1.0
    """Compute rate with 16-bit accumulation over that with 32-bit (2 on GeForce); of 8-bit dot products (4 on P40)."""
    few_rows_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Least share of the compute rate that kernels for few rows reach: more than a tile's where no tensor cores are."""


class AttentionRow(_Row):
    """Prefill: share / (1 + (half_length / s)^1.5) of the 16-bit peak. Decode: KV bytes at a share of bandwidth."""

    prefill_share: AtMostOne
    half_length: AtLeastZero
    """Tokens of a sequence at which about half of `prefill_share` is reached."""
    decode_share: AtMostOne
    decode_half_bytes: AtLeastZero
    decode_launch_s: AtLeastZero


class LinkRow(_Row):
    """Collectives over one kind of link: latency and share of the one-way link rate, by number of GPUs."""

    kind: Literal["nvlink", "pcie", "pcie_no_p2p", "network"]
    latency_s: Mapping[int, Positive]
    rate_share: Mapping[int, AtMostOne]
    one_shot_s: Positive | None = None
    """Latency of a one-shot all-reduce kernel inside a graph; None = the engines have none for this link."""
    one_shot_share: AtMostOne = 1.0


class Shared(BaseModel):
    """Constants that hold on every architecture."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    as_of: str
    confidence: Confidence
    elementwise_bandwidth_share: AtMostOne
    elementwise_hidden_tensors: Positive
    """Tensors of hidden size that norms, residuals and rotary embeddings read or write in one layer."""
    elementwise_expert_tensors: Positive
    """Tensors of hidden size that are moved for every routed copy of a token: in to its expert and back."""
    elementwise_inner_tensors: Positive
    """Tensors of the MLP's inner size that the activation reads or writes."""
    eager_attention_passes: Positive
    """Reads and writes of the score matrix in unfused attention, forward."""
    dequant_peak_share: AtMostOne
    """Compute rate of a 16-bit product that expands its weights in the main loop."""
    dequant_bandwidth_share: AtMostOne
    """Bandwidth share of a separate expansion pass (bitsandbytes)."""
    block_scale_peak_share: AtMostOne
    """Compute rate of FP8 products whose scales change along the inner dimension, against one scale a row."""
    async_hidden_share: AtMostOne
    """Share of an engine's time per step that asynchronous scheduling hides."""
    recurrent_peak_share: AtMostOne
    """Chunked scans of linear attention and state-space layers, of the 16-bit peak."""
    expert_peak_share: AtMostOne
    """Compute rate of grouped expert products against one dense product of the same size."""
    expert_skew: AtMostOne
    """Tokens that route like independent uniform ones, out of all: real routing repeats experts."""
    length_spread: AtLeastZero
    """Standard deviation over mean of answers that a benchmark asks to be of one length."""
    pcie_share: AtMostOne
    """Pinned copies between host and device."""
    dram_share: AtMostOne
    """Host memory bandwidth that CPU layers reach."""
    disk_share: AtMostOne
    cpu_handover_s: Positive
    """From the GPU to the CPU, or back, within a layer whose experts the CPU computes."""
    network_hop_s: Positive
    """Latency added by every doubling of the number of nodes."""
    backward_attention_ratio: Positive
    """Time of the attention backward pass over its forward pass."""
    optimizer_bandwidth_share: AtMostOne
    cpu_adam_s_per_param: Positive
    data_share: AtLeastZero
    """Data loading and logging, as a share of a training step."""
    tensor_exposed: AtMostOne
    """Share of tensor-parallel collectives that training does not hide."""
    data_exposed: AtMostOne
    """Share of data-parallel collectives that the backward pass does not hide."""
    stage_exposed: AtMostOne
    """Share of the hand-over between interleaved pipeline stages that computing does not hide."""


class PowerShares(BaseModel):
    """Share of its TDP that a GPU draws while it spends time on one cause."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    as_of: str
    confidence: Confidence
    by_cause: Mapping[Cause, AtMostOne]
    idle: AtMostOne
    host_load: AtMostOne
    """Of the host's own maximum, while its GPUs work."""


class EngineRow(BaseModel):
    """What one engine adds to the kernels. An engine profile's `efficiency` may override single fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    as_of: str
    confidence: Confidence
    continuous_batching: bool = False
    """Requests join and leave a running batch; otherwise a batch starts and ends together."""
    fused_projections: bool = False
    """q, k, v and gate, up are one product each."""
    pipeline_overlap: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the further pipeline stages that work at the same time on other groups of sequences."""
    prompt_overlap: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the further pipeline stages that work at the same time on the passes of one long prompt."""
    captures_graphs: bool = False
    """Decode steps are launched as one captured graph unless `enforce_eager` is set."""
    repeats_kv: bool = False
    """The cache is expanded to all query heads before use, except with flash attention."""
    kv_copies: AtLeastZero = 0.0
    """Passes over the cache a step beside reading it (2 where it grows by concatenation)."""
    cpu_layers: bool = False
    """Offloaded layers are computed by the CPU; otherwise their weights are streamed to the GPU."""
    prefill_tokens: Positive = 8192
    """Prompt tokens of one forward pass where no option says so."""
    layer_overhead_s: AtLeastZero = 0.0
    """GPU time of a layer that no operation model covers."""
    expert_layer_s: AtLeastZero = 0.0
    """Further GPU time of a layer with routed experts: routing, sorting, permuting and combining their tokens."""
    layer_host_s: AtLeastZero = 0.0
    """Launch time of one layer on the CPU: a layer never takes less."""
    expert_host_s: AtLeastZero = 0.0
    """Further launch time for every routed expert of a layer: engines that loop over all experts."""
    layer_graph_s: AtLeastZero = 0.0
    """The same when compiled or captured in a graph."""
    step_overhead_s: AtLeastZero = 0.0
    tensor_step_overhead_s: AtLeastZero = 0.0
    """Further time of a step under tensor parallelism: processes that pass messages."""
    sequence_overhead_s: AtLeastZero = 0.0
    request_overhead_s: AtLeastZero = 0.0
    """Time of one request in the processes beside the GPU: HTTP, tokenising, admission."""
    server_token_s: AtLeastZero = 0.0
    """The same for one generated token: turned to text and sent."""
    pooled_request_s: AtLeastZero = 1.0e-3
    """Server time of a request that makes no tokens (HTTP, tokenising), beside the GPU's work: 1 ms, an assumption."""
    first_token_s: AtLeastZero = 0.0
    """Further wait for the first token that keeps no other request waiting: HTTP, hand-over between processes."""
    peak_factor: Positive = 1.0
    """On `peak_share` of matrix products."""
    attention_factor: Positive = 1.0
    """On `prefill_share` of attention."""
    bandwidth_factor: Positive = 1.0
    """On `bandwidth_share` of matrix products."""
    sm_bytes_per_second: Positive | None = None
    """Most that the matrix-vector kernels read for each multiprocessor; None = they keep up with any memory."""
    sm_share_by_arch: Mapping[str, AtMostOne] = {}
    """Of `sm_bytes_per_second`, where the kernels are written for another kind of multiprocessor."""
    short_sums: bool = False
    """Products add up in 16 bit where that is faster."""
    stage_overhead_s: AtLeastZero = 0.0
    """Time of a pass for each further pipeline stage: devices that wait for each other through the host."""


class HostRow(BaseModel):
    """How fast the CPUs that usually stand beside some GPUs launch kernels one by one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    gpus: tuple[str, ...]
    """Patterns of GPU ids."""
    launch_factor: Positive
    """Time of a launch over that on the servers that the engines' own constants were measured on."""
    source: str
    as_of: str
    confidence: Confidence


class FormatRow(BaseModel):
    """What the kernels of one number format cost beside reading its weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    as_of: str
    confidence: Confidence
    product_host_s: AtLeastZero = 0.0
    """Further launch time on the CPU of each quantised product."""
    double_quant_host_s: AtLeastZero = 0.0
    """The same again where the scales are quantised too."""
    expansion_host_s: AtLeastZero = 0.0
    """The same where a product expands its weights first."""
    one_row_kernel: bool = False
    """A product with a single row reads the stored weights; more rows expand them first."""
    expansion_weights_per_sm_s: Positive | None = None
    """Weights that a multiprocessor expands to 16 bit in a second; None = `dequant_bandwidth_share` says how fast."""
    unpacked_weights_per_sm_s: Positive | None = None
    """Most weights that matrix-vector kernels unpack on a multiprocessor in a second; None = memory is slower."""


class TrainEngineRow(BaseModel):
    """What one training engine adds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    as_of: str
    confidence: Confidence
    peak_factor: Positive = 1.0
    """On `peak_share` of matrix products."""
    attention_factor: Positive = 1.0
    """On `prefill_share` of attention."""
    fp8_factor: Positive = 1.0
    """On `peak_share` of FP8 products, whose rows are of serving kernels that also quantise their input."""
    layer_host_s: AtLeastZero
    """Forward and backward launch time of one layer and micro-batch on the CPU."""
    elementwise_passes: Positive
    """Elementwise traffic of forward and backward over that of a fused forward."""
    step_overhead_s: AtLeastZero = 0.0
    adapter_host_factor: Positive = 1.0
    """Launch time of a layer with adapters and frozen weights over that of one trained in full."""
    optimizer_passes: Positive = 1.0
    """Traffic of the optimizer step over reading and writing every state once."""


class Kernels(BaseModel):
    """The file `catalogs/kernels.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shared: Shared
    power: PowerShares
    gemm: tuple[GemmRow, ...]
    attention: tuple[AttentionRow, ...]
    links: tuple[LinkRow, ...]
    hosts: tuple[HostRow, ...]
    """GPUs that no row names have the engines' own launch times."""
    formats: Mapping[str, FormatRow]
    """By precision id, where an engine launches kernels one by one; others cost nothing further."""
    serving: Mapping[str, EngineRow]
    training: Mapping[str, TrainEngineRow]


RowT = TypeVar("RowT", bound=_Row)


def load_kernels(path: Path) -> Kernels:
    """The parameters in one file."""
    return Kernels.model_validate(load_yaml(path.read_bytes()))


def shipped_kernels() -> Kernels:
    """The parameters that come with the planner, with the calibration in use laid over them."""
    used = calibration_in_use()
    return _shipped() if used is None else _calibrated(used.gpu, used.arch, used.factors)


@functools.cache
def _shipped() -> Kernels:
    return load_kernels(data_folder("catalogs") / "kernels.yaml")


@functools.lru_cache(maxsize=16)
def _calibrated(gpu: str, arch: str, factors: Factors) -> Kernels:
    return calibrated_kernels(_shipped(), gpu=gpu, arch=arch, factors=factors)


def calibrated_kernels(kernels: Kernels, *, gpu: str, arch: str, factors: Factors) -> Kernels:
    """The parameters with rows of its own for one GPU: the shipped ones times what was measured on it.

    A share stays at most 1. A width that the GPU has no row for stays without.
    """
    widths = {"32": factors.compute_32, "16": factors.compute_16, "8": factors.compute_8, "4": factors.compute_4}
    own: Any = {"gpus": (gpu,), "arch": arch}
    gemm = []
    for width, compute in widths.items():
        for gemm_row in _rows_of([r for r in kernels.gemm if r.width == width], arch=arch, gpu=gpu):
            shares = {
                "peak_share": min(1.0, gemm_row.peak_share * compute),
                "bandwidth_share": min(1.0, gemm_row.bandwidth_share * factors.bandwidth),
                "launch_s": gemm_row.launch_s * factors.launch,
            }
            gemm.append(gemm_row.model_copy(update=own | shares))
    attention = []
    for row in _rows_of(kernels.attention, arch=arch, gpu=gpu):
        shares = {
            "prefill_share": min(1.0, row.prefill_share * factors.attention),
            "decode_share": min(1.0, row.decode_share * factors.bandwidth),
            "decode_launch_s": row.decode_launch_s * factors.launch,
        }
        attention.append(row.model_copy(update=own | shares))
    return kernels.model_copy(update={"gemm": (*gemm, *kernels.gemm), "attention": (*attention, *kernels.attention)})


def _rows_of(rows: Sequence[RowT], *, arch: str, gpu: str) -> list[RowT]:
    """The row that holds for a GPU, or none."""
    holding = [r for r in rows if any(fnmatch.fnmatchcase(gpu, p) for p in r.gpus) or (r.arch == arch and not r.gpus)]
    return [row_for(holding, arch=arch, gpu=gpu)] if holding else []


def launch_factor(kernels: Kernels, gpu: str) -> float:
    """Launch time on the hosts that this GPU usually has over that of the engines' constants."""
    named = (r.launch_factor for r in kernels.hosts if any(fnmatch.fnmatchcase(gpu, p) for p in r.gpus))
    return next(named, 1.0)


def serving_engine(kernels: Kernels, engine: Engine) -> EngineRow:
    """The engine's row with its profile's `efficiency` laid over it. Raises UnknownNameError."""
    if engine.name not in kernels.serving:
        raise UnknownNameError("inference engine", engine.name, kernels.serving)
    return _overlaid(kernels.serving[engine.name], engine.profile.efficiency)


def training_engine(kernels: Kernels, engine: Engine) -> TrainEngineRow:
    """The engine's row with its profile's `efficiency` laid over it. Raises UnknownNameError."""
    if engine.name not in kernels.training:
        raise UnknownNameError("training engine", engine.name, kernels.training)
    return _overlaid(kernels.training[engine.name], engine.profile.efficiency)


EngineT = TypeVar("EngineT", EngineRow, TrainEngineRow)


def _overlaid(row: EngineT, factors: Mapping[str, float]) -> EngineT:
    known = {name: value for name, value in factors.items() if name in type(row).model_fields}
    return type(row).model_validate(row.model_dump() | known) if known else row


def row_for(rows: Sequence[RowT], *, arch: str, gpu: str) -> RowT:
    """The row whose patterns name the GPU, else the one of its architecture. Raises UnknownNameError."""
    for row in rows:
        if row.gpus and any(fnmatch.fnmatchcase(gpu, pattern) for pattern in row.gpus):
            return row
    for row in rows:
        if row.arch == arch and not row.gpus:
            return row
    raise UnknownNameError("kernel parameters of architecture", arch, sorted({r.arch for r in rows}))
