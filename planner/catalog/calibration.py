"""Efficiency factors measured on one machine, laid over the shipped ones: the file `plan calibrate` writes.

Each factor multiplies a share of one GPU's peak that `catalogs/kernels.yaml` holds (1 = as shipped, above 1 = faster);
`launch` multiplies a time. A calibration says nothing of other GPUs, whose estimates stay as they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from planner.errors import InputError
from planner.units import MIB

if TYPE_CHECKING:
    from planner.catalog.load import Catalog

SCHEMA = "planner/calibration/v1"
Factor = Annotated[float, Field(ge=0.2, le=5.0)]
"""A machine further from the shipped figures than this is not slow or fast but measured wrongly."""


class Factors(BaseModel):
    """On the shipped efficiency of one GPU; 1 = as shipped."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    compute_32: Factor = 1.0
    """On the share of the peak that products in 32 bit reach."""
    compute_16: Factor = 1.0
    compute_8: Factor = 1.0
    compute_4: Factor = 1.0
    bandwidth: Factor = 1.0
    """On the share of memory bandwidth that products and the KV cache reach."""
    attention: Factor = 1.0
    """On the share of the peak that attention over prompts reaches."""
    launch: Factor = 1.0
    """On the time to launch a kernel."""
    host_link: Factor = 1.0
    """On the rate between host and device."""


class Scores(BaseModel):
    """Errors of the figures a calibration was made from, as shares of what was measured."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    num_figures: int = Field(ge=0)
    median_before: float
    median_after: float
    worst_before: float
    worst_after: float


class Calibration(BaseModel):
    """The file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)

    schema_: Literal["planner/calibration/v1"] = Field(default="planner/calibration/v1", alias="schema")
    gpu: str
    """Catalog id of the GPU it holds for."""
    arch: str
    """Its architecture."""
    factors: Factors
    source: str
    """What was measured, and where."""
    as_of: str
    figures: Mapping[str, float] = {}
    """Rates and times behind the factors, in units that their names give."""
    scores: Scores | None = None

    @property
    def text(self) -> str:
        """The factors that differ from 1, in words."""
        changed = {k: v for k, v in self.factors.model_dump().items() if v != 1.0}
        return ", ".join(f"{k} x {v:.3f}" for k, v in changed.items()) or "as shipped"


_IN_USE: ContextVar[Calibration | None] = ContextVar("calibration", default=None)


def calibration_in_use() -> Calibration | None:
    """The calibration that holds for the command at hand, or None."""
    return _IN_USE.get()


@contextmanager
def calibrated(calibration: Calibration | None) -> Iterator[None]:
    """Let a calibration hold for the estimates made inside; None = the shipped efficiencies."""
    token = _IN_USE.set(calibration)
    try:
        yield
    finally:
        _IN_USE.reset(token)


def calibrated_catalog(catalog: Catalog, calibration: Calibration | None) -> Catalog:
    """The catalog with the calibrated GPU's host link as it was measured.

    Raises UnknownNameError where the calibration is of a GPU that the catalog lacks.
    """
    if calibration is None:
        return catalog
    gpu = catalog.gpu(calibration.gpu)
    rate = gpu.pcie_bytes_per_second
    if rate is None:
        return catalog
    return catalog.with_gpu(gpu.model_copy(update={"pcie_bytes_per_second": rate * calibration.factors.host_link}))


def read_calibration(path: Path) -> Calibration:
    """The calibration in a file. Raises InputError where it cannot be read or is none."""
    try:
        if path.stat().st_size > MIB:
            raise InputError(f"{path}: over 1 MiB, which no calibration is")
        raw = json.loads(path.read_bytes())
    except OSError as err:
        raise InputError(f"{path}: cannot be read: {err.strerror}") from None
    except (ValueError, RecursionError) as err:
        raise InputError(f"{path}: not a JSON document: {err}") from None
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
        found = raw.get("schema") if isinstance(raw, dict) else None
        raise InputError(f"{path}: schema {found!r}; a calibration is {SCHEMA}, as `plan calibrate` writes it")
    try:
        return Calibration.model_validate(raw)
    except ValidationError as err:
        places = [f"{path}: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in err.errors(include_url=False)]
        raise InputError(*places) from None


def calibration_text(calibration: Calibration) -> str:
    """The file's text."""
    return calibration.model_dump_json(by_alias=True, indent=1) + "\n"
