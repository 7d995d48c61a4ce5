"""Device memory that no model asks for: driver reserve, CUDA context, library workspaces, NCCL buffers."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, model_validator

from planner.catalog.types import Confidence
from planner.plain_yaml import load_yaml
from planner.resources import data_folder


class PerArch(BaseModel):
    """Bytes by GPU or architecture; `default` serves those not named."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by_arch: Mapping[str, int]
    source: str
    as_of: str
    confidence: Confidence

    @model_validator(mode="before")
    @classmethod
    def _collect(cls, raw: Mapping[str, object]) -> Mapping[str, object]:
        about = {"source", "as_of", "confidence"}
        return {
            "by_arch": {k: v for k, v in raw.items() if k not in about},
            **{k: v for k, v in raw.items() if k in about},
        }

    def of(self, arch: str, gpu: str | None = None) -> int:
        """Bytes on one GPU of the architecture; a GPU named on its own wins."""
        whole = self.by_arch.get(arch, self.by_arch["default"])
        return whole if gpu is None else self.by_arch.get(gpu, whole)


class RuntimeFacts(BaseModel):
    """The file `catalogs/runtime.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    driver_reserve_bytes: PerArch
    context_bytes: PerArch
    cublas_workspace_bytes: PerArch
    nccl_bytes: PerArch
    mxfp4_hidden_multiple: PerArch
    mxfp4_inner_multiple: PerArch
    transformer_engine_workspace_bytes: PerArch
    serving_outside_torch_bytes: PerArch
    serving_group_bytes: PerArch
    free_before_loading_group_bytes: PerArch


def load_runtime(path: Path) -> RuntimeFacts:
    """The facts in one file."""
    return RuntimeFacts.model_validate(load_yaml(path.read_bytes()))


@functools.cache
def runtime_facts() -> RuntimeFacts:
    """The shipped facts."""
    return load_runtime(data_folder("catalogs") / "runtime.yaml")
