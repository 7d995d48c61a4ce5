"""Columns in, columns out: what the physics of `estimate/` reads and returns.

A *job* holds what is the same for every way of running one workload (model, formats, lengths, engine). *Ways* hold
the numbers that vary, as numpy columns of equal length (or length 1, which broadcasts): one entry is one
configuration on one kind of host. Estimating one configuration is the case of length 1; the candidate
generator passes tens of thousands at once. Categorical choices (precision, attention, checkpointing,
sharding) belong to the job: one call each.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from typing import Any, ClassVar, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from planner.architecture.types import Model
from planner.catalog.types import EngineProfile, PrecisionFormat

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

AttentionKernel = Literal["flash", "sdpa", "eager"]
Checkpointing = Literal["none", "selective", "full"]
Sharding = Literal["none", "zero1", "zero2", "zero3"]
Method = Literal["full", "lora", "qlora"]
TrainPrecision = Literal["fp32", "bf16", "bf16-mixed", "fp16-mixed", "fp8-mixed"]
OptionValue = bool | int | float | str | None

PARTS = (
    "weights",
    "gradients",
    "optimizer",
    "activations",
    "kv_cache",
    "logits",
    "workspace",
    "context",
    "fragmentation",
    "adapters",
)
"""The keys of `memory.per_gpu_bytes` in the public interface; they add up to `device_peak_bytes`."""


ColumnsT = TypeVar("ColumnsT", bound="Columns")


class Columns:
    """Base of the column types: every array field has the same length N, or length 1."""

    __slots__ = ()

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __len__(self) -> int:
        return max(len(getattr(self, f.name)) for f in fields(self))

    def take(self, rows: Ints | Bools) -> Self:
        """The rows named, of every column that is not a single shared value."""
        picked = {}
        for f in fields(self):
            column = getattr(self, f.name)
            picked[f.name] = column if len(column) == 1 else column[rows]
        return type(self)(**picked)


def stacked(rows: Sequence[ColumnsT]) -> ColumnsT:
    """Rows of one entry each, one below the other."""
    first = rows[0]
    return type(first)(**{f.name: np.concatenate([getattr(r, f.name) for r in rows]) for f in fields(first)})


_recent: dict[tuple[int, ...], tuple[tuple[weakref.ref[Any], ...], tuple[Ints, NDArray[np.intp]]]] = {}
"""Answers of `distinct_rows` for columns that are still there: the same hardware is asked about many times."""
MOST_RECENT = 64


def distinct_rows(*columns: NDArray[Any]) -> tuple[Ints, NDArray[np.intp]]:
    """The first row of each distinct combination of values, in order of appearance, and for every row which one it is.

    Rows of one kind mostly stand together, so only the starts of runs are compared by value: sorting columns of text
    takes ten times as long. A column of one value counts for all rows. Columns are never written to.

    >>> first, index = distinct_rows(np.array(["a", "a", "b", "a"]), np.array([1]))
    >>> first.tolist(), index.tolist()
    ([0, 2], [0, 0, 1, 0])
    """
    key = tuple(id(c) for c in columns)
    known = _recent.get(key)
    if known is not None and all(ref() is c for ref, c in zip(known[0], columns, strict=True)):
        return known[1]
    if len(_recent) >= MOST_RECENT:
        _recent.clear()
    found = _distinct_rows(*columns)
    _recent[key] = tuple(weakref.ref(c) for c in columns), found
    return found


def _distinct_rows(*columns: NDArray[Any]) -> tuple[Ints, NDArray[np.intp]]:
    size = max(len(c) for c in columns)
    changes = np.zeros(size, dtype=np.bool_)
    changes[:1] = True
    wide = [c for c in columns if len(c) > 1]
    for column in wide:
        changes[1:] |= column[1:] != column[:-1]
    starts = np.flatnonzero(changes)
    if not wide:
        return starts, np.zeros(size, dtype=np.intp)
    number: dict[tuple[Any, ...], int] = {}
    first: list[int] = []
    runs: list[int] = []
    for start, *key in zip(starts.tolist(), *(c[starts].tolist() for c in wide), strict=True):
        known = number.setdefault(tuple(key), len(number))
        if known == len(first):
            first.append(start)
        runs.append(known)
    lengths = np.append(starts[1:], size) - starts
    return np.array(first, dtype=np.int64), np.repeat(np.array(runs, dtype=np.intp), lengths)


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An engine profile with the workload's `engine_options` laid over its defaults."""

    profile: EngineProfile
    options: Mapping[str, OptionValue]

    @property
    def name(self) -> str:
        return self.profile.engine

    def flag(self, option: str) -> bool:
        """A boolean option; False where the engine has no such option."""
        return bool(self.options.get(option))

    def number(self, option: str) -> float:
        """A numeric option. Raises KeyError where the profile lacks it, TypeError where it is not a number."""
        value = self.options[option]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"option {option} of {self.name} is {value!r}, not a number")
        return float(value)

    def optional_number(self, option: str) -> float | None:
        """A numeric option, or None where it is absent or unset."""
        return None if self.options.get(option) is None else self.number(option)

    def text(self, option: str) -> str:
        """A text option. Raises KeyError where the profile lacks it."""
        return str(self.options[option])


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware(Columns):
    """One GPU and the host it sits in, one entry per way. Rates are per GPU unless the name says node."""

    arch: NDArray[np.str_]
    """Architecture id (`hopper`, `ada` ...): picks kernel parameters and context bytes."""
    gpu: NDArray[np.str_]
    memory_bytes: Floats
    """Device memory as the driver reports it."""
    hbm_bytes_per_second: Floats
    peak_flop_per_second: Floats
    """Dense peak of the data type the job's matrix products run in."""
    peak16_flop_per_second: Floats
    """Dense 16-bit peak (attention, unquantised layers)."""
    peak32_flop_per_second: Floats
    sm_count: Floats
    """0 where unknown."""
    weight_only: Bools
    """The weight format is expanded to 16 bit on this architecture."""
    tdp_kw: Floats
    pcie_bytes_per_second: Floats
    """Host link of one GPU, one direction, as specified."""
    link_bytes_per_second: Floats
    """GPU to GPU inside the node, one direction; equals PCIe where there is no NVLink."""
    link_num_gpus: Ints
    """GPUs that share that link; groups wider than this cross PCIe."""
    p2p: Bools
    """PCIe traffic between GPUs need not bounce through host memory."""
    network_bytes_per_second: Floats
    """Node to node, per GPU, one direction; 0 = single node only."""
    node_gpus: Ints
    """GPUs in one node."""
    ram_bytes: Floats
    """Host memory of one node."""
    ram_bytes_per_second: Floats
    """Theoretical host memory bandwidth of one node."""
    nvme_bytes_per_second: Floats
    """Sequential read of one node's local disks; 0 = none."""
    node_power_kw: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class InferJob:
    """One inference workload with its categorical choices made."""

    model: Model
    engine: Engine
    weights: PrecisionFormat
    kv_bits: float
    """Bits of one cached value, scales included."""
    attention: AttentionKernel
    input_tokens: int
    """Prompt tokens of one request, image or audio tokens included."""
    output_tokens: int
    """Generated tokens of one request; 0 for encoders and embedding models."""
    traffic: tuple[tuple[int, int, float], ...] = ()
    """(input, output, share) where requests differ; empty = all like the two above."""
    image_tokens: int = 0
    num_images: int = 0
    steps: int = 1
    """Denoising steps (diffusion)."""
    image_width: int = 0
    image_height: int = 0
    audio_s: float = 0.0
    memory_headroom: float = 0.0
    """Share of usable memory that an engine with a budget of its own must leave alone."""

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class InferWays(Columns):
    """Ways to run one replica."""

    tensor_parallel: Ints
    pipeline_parallel: Ints
    data_parallel: Ints
    expert_parallel: Ints
    context_parallel: Ints
    batch: Floats
    """Sequences in flight of one replica, over its data-parallel ranks."""
    weights_cpu: Floats
    """Share of the layers' weight bytes kept in host memory."""
    weights_disk: Floats
    kv_cpu: Floats
    experts_cpu: Floats = field(default_factory=lambda: np.zeros(1))
    """Share of the routed experts of the layers on the GPU kept in host memory."""

    @property
    def gpus(self) -> Ints:
        """GPUs of one replica."""
        return self.tensor_parallel * self.pipeline_parallel * self.data_parallel * self.context_parallel


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraJob:
    """Adapters: rank, the names of the tensors that carry them, bits of their parameters, dropout."""

    rank: int
    targets: tuple[str, ...]
    bits: float
    dropout: float = 0.0
    dora: bool = False
    saved: tuple[str, ...] = ()
    """Of `embed_tokens` and `lm_head`, what is trained whole, as a copy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainJob:
    """One training workload with its categorical choices made."""

    model: Model
    engine: Engine
    method: Method
    precision: TrainPrecision
    base: PrecisionFormat
    """What the frozen base (LoRA, QLoRA) or the trained weights are stored in."""
    lora: LoraJob | None
    optimizer: str
    sequence_tokens: int
    global_batch: int
    """Sequences per optimizer step over all GPUs."""
    checkpointing: Checkpointing
    sharding: Sharding
    attention: AttentionKernel
    memory_headroom: float = 0.0
    """Share of usable memory that must stay free: it bounds the largest micro-batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainWays(Columns):
    """Ways to lay one training run out."""

    tensor_parallel: Ints
    pipeline_parallel: Ints
    data_parallel: Ints
    context_parallel: Ints
    expert_parallel: Ints
    micro_batch: Ints
    """Sequences in one forward pass of one data-parallel rank."""
    optimizer_cpu: Floats
    params_cpu: Floats

    @property
    def gpus(self) -> Ints:
        return self.tensor_parallel * self.pipeline_parallel * self.data_parallel * self.context_parallel


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes on the fullest GPU, one entry per way; `parts` add up to `device_peak_bytes`."""

    parts: Mapping[str, Floats]
    """Keys of `PARTS`; what the binding phase holds."""
    allocated_peak_bytes: Floats
    """`torch.cuda.max_memory_allocated()`."""
    reserved_peak_bytes: Floats
    """`torch.cuda.max_memory_reserved()`."""
    device_peak_bytes: Floats
    """What `nvidia-smi` shows."""
    cached_bytes: Floats
    """Of that, blocks of the allocator's cache beyond its steady reserve: given back before an allocation fails."""
    static_bytes: Floats
    """Weights, gradients and optimizer state after a step (training); weights (inference)."""
    host_bytes: Floats
    """Host memory of the replica's busiest node."""
    disk_bytes: Floats
    kv_cache_tokens: Floats
    """Tokens the KV pool holds (engines with a budget), else tokens cached at the peak; of one rank's group."""
    max_batch: Floats
    """Most sequences in flight of one replica that memory holds at this length."""
    phase: NDArray[np.str_]
    """The phase that binds: load, prefill, decode; forward, loss, backward, optimizer."""

    @property
    def needed_bytes(self) -> Floats:
        """What must be there: the device's peak without what the allocator would give back."""
        return self.device_peak_bytes - self.cached_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class InferSpeed:
    """Speed of ONE replica, one entry per way, at its `batch` in closed loop."""

    ttft_s: Floats
    tpot_s: Floats
    prefill_s: Floats
    """Prefill of one request alone."""
    step_s: Floats
    """One decode step at the batch in flight."""
    requests_per_second: Floats
    output_tokens_per_second: Floats
    tokens_per_second: Floats
    """Input + output."""
    mfu: Floats
    batch_running: Floats
    """Sequences that really run (KV space and the engine's cap may hold fewer than asked)."""
    bound_by: NDArray[np.str_]
    """compute, memory_bandwidth, communication, overhead, host_link, kv_space."""
    shares: Mapping[str, Floats] = field(default_factory=dict)
    """Seconds of one decode step by cause: compute, memory_bandwidth, communication, overhead, host_link."""

    def row(self, index: int) -> InferSpeed:
        """One entry."""
        return one_row(self, index)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSpeed:
    """Speed of the whole run, one entry per way."""

    step_s: Floats
    """One optimizer step."""
    tokens_per_second: Floats
    mfu: Floats
    """Model FLOP (no recompute) over the peak of the data type."""
    bubble_share: Floats
    bound_by: NDArray[np.str_]
    shares: Mapping[str, Floats] = field(default_factory=dict)
    """Seconds of one step by cause: compute, communication, optimizer, overhead, host_link."""

    def row(self, index: int) -> TrainSpeed:
        """One entry."""
        return one_row(self, index)


SpeedT = TypeVar("SpeedT", InferSpeed, TrainSpeed)


def one_row(speed: SpeedT, index: int) -> SpeedT:
    """One entry of every column; columns of length 1 are shared."""

    def entry(column: NDArray[Any]) -> NDArray[Any]:
        return column if len(column) == 1 else column[index : index + 1]

    picked: dict[str, Any] = {f.name: entry(getattr(speed, f.name)) for f in fields(speed) if f.name != "shares"}
    return type(speed)(**picked, shares={cause: entry(column) for cause, column in speed.shares.items()})
