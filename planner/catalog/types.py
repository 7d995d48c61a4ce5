"""The facts: accelerators, nodes, offers, prices, energy, precision formats and engine profiles.

Every entry says where it comes from (`source`) and of when it is (`as_of`). Figures are in base units
(bytes, bytes per second, FLOP per second, USD, kW); a fact that nobody published is None, never a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Confidence = Literal["high", "medium", "low"]
Support = Literal["native", "weight-only", "no"]
Procurement = Literal["on_demand", "reserved_1y", "reserved_3y", "spot", "buy"]
PositiveFloat = Annotated[float, Field(gt=0)]
PositiveInt = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Fact(BaseModel):
    """Anything in a catalog."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    source: str
    """Where the figures were read."""
    as_of: str
    """When they were true: a date, a month or a year."""
    confidence: Confidence = "high"
    note: str | None = None


class PeakRates(BaseModel):
    """Dense peak FLOP per second of one device with 32-bit accumulation; None = no such unit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fp32: PositiveFloat | None = None
    tf32: PositiveFloat | None = None
    fp16: PositiveFloat | None = None
    bf16: PositiveFloat | None = None
    fp8: PositiveFloat | None = None
    int8: PositiveFloat | None = None
    fp4: PositiveFloat | None = None


class Gpu(Fact):
    """One accelerator as the driver shows it."""

    id: str
    name: str
    vendor: str
    arch: str
    """Architecture, a key of `ArchSupport`."""
    compute_capability: str | None = None
    memory_bytes: PositiveInt
    """What the driver reports as the device's memory."""
    memory_is_marketing: bool = False
    """True where no driver reading is known and the vendor's figure stands in."""
    memory_type: str
    hbm_bytes_per_second: PositiveFloat
    """Peak bandwidth of device memory."""
    peak_flop_per_second: PeakRates
    sm_count: PositiveInt | None = None
    l2_bytes: PositiveInt | None = None
    nvlink_bytes_per_second: float = 0.0
    """NVLink / xGMI / ICI of one device, one direction; 0 = none."""
    nvlink_max_gpus: int | None = None
    """Devices that reach each other over that link."""
    pcie_bytes_per_second: PositiveFloat | None = None
    """Host link, one direction, as specified."""
    pcie_p2p: bool = True
    """False where the driver keeps GPUs from reaching each other over PCIe."""
    c2c_bytes_per_second: PositiveFloat | None = None
    """Coherent link to the host processor (NVLink-C2C), one direction; None = PCIe is the only way."""
    unified_memory: bool = False
    """Device and host share one memory: nothing is left to offload to."""
    devices_per_board: PositiveInt = 1
    """Devices the driver shows for one card; every figure here is one device's."""
    tdp_kw: PositiveFloat | None = None
    form_factor: str | None = None
    mig_profiles: str | None = None
    launch_date: str | None = None
    odd_rates: str | None = None
    """Why rates whose ratio looks like a sparse figure are believed."""
    announced_only: bool = False
    """Not shipping yet: never planned unless the spec names it."""


class ArchSupport(Fact):
    """Which number formats an architecture computes natively, only stores (weight-only), or lacks."""

    arch: str
    compute_capability: str | None = None
    fp32: Support
    tf32: Support
    fp16: Support
    bf16: Support
    fp8: Support
    int8: Support
    int4: Support
    fp4: Support
    only: Mapping[str, tuple[str, ...]] = {}
    """Columns that hold for some precision ids alone (ids or globs), e.g. {int4: [gguf-*]}."""


class Node(Fact):
    """A server, tray, rack or workstation."""

    id: str
    kind: Literal["server", "workstation", "rack", "tray", "cloud"]
    """`tray`: part of a rack; `cloud`: rentable only."""
    gpu: str
    num_gpus: PositiveInt
    num_cpu_cores: PositiveInt | None = None
    ram_bytes: PositiveInt
    ram_bytes_per_second: PositiveFloat
    """Theoretical sum over sockets."""
    nvme_bytes: int | None = None
    nvme_bytes_per_second: PositiveFloat | None = None
    link: str
    """Name of the link between the node's GPUs, as in the catalog (`nvswitch-900`, `pcie-gen4` ...)."""
    link_bytes_per_second: PositiveFloat | None = None
    """GPU to GPU inside the node, per GPU, one direction; None for a single GPU."""
    link_num_gpus: PositiveInt
    """GPUs that share that link (2 for bridged pairs, 4 for quads); traffic beyond goes over PCIe.
    More than `num_gpus` where the link spans nodes (a tray of an NVL72 rack)."""
    link_peer_bytes_per_second: PositiveFloat | None = None
    """What one pair of GPUs sees on a mesh without a switch; None = all of `link_bytes_per_second`."""
    link_is_p2p: bool = True
    """False where the driver blocks peer access: traffic bounces through host memory."""
    network_bytes_per_second_per_gpu: PositiveFloat | None = None
    """Node to node, per GPU, one direction."""
    rack_units: float | None = None
    power_kw: PositiveFloat | None = None
    """Maximum draw of the whole node; None = not published (cloud only)."""


class Offer(Fact):
    """Something one can rent by the hour."""

    id: str
    """`provider/instance/region`, unique."""
    provider: str
    instance: str
    region: str
    gpu: str
    num_gpus: float
    """GPUs of one instance; below 1 for shared fractions."""
    num_vcpus: float | None = None
    ram_bytes: PositiveInt | None = None
    on_demand_usd_per_hour: PositiveFloat | None = None
    spot_usd_per_hour: PositiveFloat | None = None
    reserved_1y_usd_per_hour: PositiveFloat | None = None
    reserved_3y_usd_per_hour: PositiveFloat | None = None
    outlier_reason: str | None = None
    """Why a price over three times above or below the median of its GPU is believed all the same."""


class Purchase(Fact):
    """One reading of a purchase price."""

    item: str
    kind: str
    """gpu, server, rack, workstation; `server-host` and `workstation-host` are machines without GPUs."""
    gpu: str | None = None
    num_gpus: Annotated[int, Field(ge=0)]
    node: str | None = None
    condition: str
    usd_low: PositiveFloat | None = None
    usd_mid: PositiveFloat
    usd_high: PositiveFloat | None = None


class PurchaseRule(Fact):
    """Something that goes with a purchase and is not a price of hardware: an adder, a licence, a residual value."""

    id: str
    item: str
    unit: str
    """What `low`, `mid` and `high` count: USD per GPU, share of purchase price, ..."""
    condition: str
    low: PositiveFloat | None = None
    mid: PositiveFloat
    high: PositiveFloat | None = None


class HostTemplate(Fact):
    """A typical host for accelerators that no catalog node holds."""

    id: str
    form_factors: tuple[str, ...]
    """Form factors of accelerators that sit in such a host."""
    node_kind: Literal["server", "workstation", "cloud"]
    max_gpus: PositiveInt
    ram_bytes_per_gpu: Annotated[int, Field(ge=0)]
    ram_bytes_per_second: PositiveFloat
    """Of the whole host, theoretical."""
    nvme_bytes: PositiveInt
    nvme_bytes_per_second: PositiveFloat
    network_bytes_per_second_per_gpu: PositiveFloat
    power_kw_without_gpus: PositiveFloat
    rack_units: PositiveFloat


class Efficiency(Fact):
    """One measured share of peak, link rate or overhead: evidence, not an input of any estimate."""

    what: str
    subject: str
    """An accelerator id, or the words of the source."""
    metric: Literal["fraction_of_peak", "gbs", "gib"]
    value: PositiveFloat
    """A share, GB/s or GiB, as `metric` says."""
    unit: str | None = None
    peak_basis: str | None = None
    """The peak (TFLOP/s or GB/s) the share was taken of."""


class EnergyRegion(Fact):
    """Electricity, carbon and data-centre overhead of one place."""

    id: str
    country: str | None = None
    """None for references that hold for a kind of data centre, not a place."""
    area: str
    electricity_usd_per_kwh: PositiveFloat | None = None
    electricity_basis: str | None = None
    carbon_g_per_kwh: float | None = None
    """Regional figure where known, else the country's average."""
    carbon_basis: str | None = None
    carbon_country_g_per_kwh: float | None = None
    carbon_country_basis: str | None = None
    pue: PositiveFloat | None = None
    colocation_usd_per_kw_month: PositiveFloat | None = None
    colocation_basis: str | None = None


class ProviderRegion(Fact):
    """Where one region of a provider lies."""

    provider: str
    region: str
    energy: str
    """Id of the energy region that gives carbon and electricity there."""
    overhead: str
    """Id of the energy entry that gives the PUE of the provider's data centres."""


class PrecisionFormat(Fact):
    """How weights are stored and computed in one precision id of the contract."""

    id: str
    bits: PositiveFloat
    """Bits per quantised weight with its scales and zero points, at the format's default group size."""
    group_size: int | None = None
    scale_bits_per_group: float = 0.0
    """Scale and zero-point bits of one group: a different group size changes `bits` by this."""
    single_quant_scale_bits_per_group: PositiveFloat | None = None
    """The same without double quantisation (bitsandbytes NF4)."""
    scale_bits_per_row: float = 0.0
    """Further bits of one output row (LLM.int8's and per-channel fp8 scales)."""
    compute: Literal["fp32", "tf32", "fp16", "bf16", "fp8", "int8", "fp4"]
    """What native hardware multiplies in; 16-bit for weight-only formats."""
    needs: Literal["fp32", "tf32", "fp16", "bf16", "fp8", "int8", "int4", "fp4"]
    """Row of `ArchSupport` that says whether a GPU runs it natively, weight-only or not at all."""
    weight_only: bool
    """Weights are expanded to 16 bit before every product, on any GPU."""
    fused_dequant: bool = True
    """Expanded inside the matrix product; False = a pass of its own through memory (bitsandbytes)."""
    expands: Literal["never", "prompt", "resident"] = "prompt"
    """Where plain inference code holds a 16-bit copy of the largest quantised matrix: nowhere, while a prompt is
    computed, or all the time (weight-only formats)."""
    stores_tied_head: bool = False
    """Files of models with a tied head hold it twice, so loading peaks with both (AutoAWQ)."""
    unquantised_roles: tuple[str, ...]
    """Tensor roles (of `planner.architecture.types.Role`) that stay in `unquantised_bits`."""
    unquantised_bits: PositiveFloat = 16.0
    moe_unquantised_roles: tuple[str, ...] = ()
    """Further roles left unquantised in models with routed experts."""
    quantised_stacks: tuple[str, ...] | None = None
    """Stacks (of `planner.architecture.types.Stack`) the format is applied to, the others stay 16 bit; None = all."""
    role_bits: Mapping[str, float] = {}
    """Bits of single tensors that differ (GGUF mixes): first by module, then by name, then by role."""
    tied_embedding_bits: PositiveFloat | None = None
    """Bits of an embedding that is the output head as well, where that differs."""
    block_size: PositiveInt | None = None
    """Weights of one block of a file format: rows it does not divide fall back to another type."""
    misaligned_bits: Mapping[float, float] = {}
    """... namely from these bits to those."""
    default_kv: Literal["bf16", "fp8", "int8"] = "bf16"
    """What the KV cache is stored in when the spec says auto."""
    quality: Annotated[float, Field(ge=0, le=1)]
    """Judged share of the 16-bit model's quality that is kept; orders formats for `min_quality`."""
    quality_note: str


class EngineProfile(Fact):
    """What one engine (and range of versions) does with memory and time. Overridable by `engine_options`."""

    engine: str
    since: str
    """First version this profile holds for; a version takes the newest profile not newer than itself."""
    before: str | None = None
    """Newest profile: first version it is not taken for, the next major release after those known at `as_of`; None
    where versions are build numbers without end."""
    modes: tuple[Literal["infer", "train"], ...]
    vendors: tuple[str, ...]
    """Vendors of accelerators it runs on in its released form."""
    tasks: tuple[str, ...] = ()
    """Kinds of models it runs (`speech-encoder`: speech models without a decoder); empty = all."""
    precisions: tuple[str, ...]
    """Precision ids it can run."""
    options: Mapping[str, bool | int | float | str | None]
    """Default of every engine option this engine knows; unknown options in a spec are errors."""
    efficiency: Mapping[str, float] = {}
    """Fitted factors by name (see catalogs/engines): layer overheads in seconds, MFU shares, ..."""
