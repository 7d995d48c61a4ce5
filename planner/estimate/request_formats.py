"""The number formats of a request: which weights and caches are allowed, and their bits under engine options."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.architecture.types import Model
from planner.catalog.storage import fitted_to, without_double_quantisation
from planner.catalog.types import PrecisionFormat
from planner.errors import ImpossibleError
from planner.estimate.formats import with_group_size
from planner.estimate.types import Engine
from planner.spec.types import InferWorkload

if TYPE_CHECKING:
    from planner.catalog.load import Catalog

BITS = {"fp32": 32.0, "bf16": 16.0, "fp16": 16.0, "fp8": 8.0}
INT8_SCALE_BITS = 32.0
"""8-bit integer caches keep one 32-bit scale and zero point pair for every head and token."""
NEVER_AUTO = ("fp32", "tf32", "fp16", "gguf-f16")
"""Formats that `precision: auto` leaves out: bigger than bf16, or its twin (fp16 stands in where bf16 is missing)."""


def infer_formats(
    workload: InferWorkload, engine: Engine, model: Model, catalog: Catalog
) -> tuple[PrecisionFormat, ...]:
    """Allowed weight formats, best quality first, of equal quality the smaller."""
    wanted = workload.effective_precision
    if wanted == "auto":
        known = [catalog.precision(p) for p in engine.profile.precisions if p in catalog.precisions]
        formats = [f for f in known if f.quality >= workload.min_quality and f.id not in NEVER_AUTO]
        if "fp16" in engine.profile.precisions:
            formats.append(catalog.precision("fp16"))
        formats.sort(key=lambda f: (-f.quality, f.id == "fp16", f.bits))
        native = native_format(model, engine, catalog)
        if native is not None:
            formats = [native, *(f for f in formats if f.bits < native.bits)]
    else:
        formats = [catalog.precision(p) for p in wanted]
        for fmt in formats:
            if fmt.id not in engine.profile.precisions:
                able = ", ".join(engine.profile.precisions)
                raise ImpossibleError(f"engine {engine.name} does not run precision {fmt.id}; it runs: {able}")
    return tuple(adjusted(f, engine, model) for f in formats)


NATIVE_FORMATS = {"fp8_e4m3 (128x128 block": "fp8-block", "mxfp4 experts": "mxfp4"}
"""How the catalog's native types of quantised checkpoints begin, and the format that stores them so."""


def native_format(model: Model, engine: Engine, catalog: Catalog) -> PrecisionFormat | None:
    """The format a quantised checkpoint is published in, where the engine runs it: wider ones gain nothing."""
    for start, name in NATIVE_FORMATS.items():
        if model.native_dtype.startswith(start) and name in engine.profile.precisions:
            return catalog.precision(name)
    return None


def adjusted(fmt: PrecisionFormat, engine: Engine, model: Model) -> PrecisionFormat:
    """The format as it is applied to the model, under the engine options that change its bits."""
    group = engine.optional_number("group_size")
    if group is not None and fmt.group_size is not None:
        fmt = with_group_size(fmt, int(group))
    if engine.options.get("double_quant") is False:
        fmt = without_double_quantisation(fmt)
    return fitted_to(fmt, model)


def kv_bits(workload: InferWorkload, fmt: PrecisionFormat, model: Model) -> float:
    """Bits of one cached value. `auto` is what the format brings with it; 32-bit models cache in 32 bit."""
    wanted: str = workload.effective_kv_precision
    if wanted == "auto":
        wanted = "fp32" if fmt.compute in ("fp32", "tf32") else fmt.default_kv
    return bits_of_kv(wanted, model)


def bits_of_kv(kind: str, model: Model) -> float:
    """Bits of one cached value in a cache format, scales included."""
    if kind != "int8":
        return BITS[kind]
    head_dim = max((b.attention.head_dim for b in model.blocks if b.attention is not None), default=128)
    return 8.0 + INT8_SCALE_BITS / head_dim
