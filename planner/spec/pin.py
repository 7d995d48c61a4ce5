"""What the user has decided for one workload; `estimate` evaluates it, `build` keeps it."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BeforeValidator, model_validator

from planner.spec.base import (
    AnyPrecision,
    Attention,
    CatalogId,
    Checkpointing,
    Count,
    Degree,
    KvPrecision,
    Problem,
    Sharding,
    Share,
    SpecModel,
    fold_case,
    refuse,
)


class PinOffload(SpecModel):
    """Shares (0..1) of what lives outside the GPU."""

    weights_cpu: Share = 0.0
    """Share of the weights in host memory (inference)."""
    weights_disk: Share = 0.0
    """Share of the weights on disk (inference)."""
    kv_cpu: Share = 0.0
    """Share of the KV cache in host memory (inference)."""
    experts_cpu: Share = 0.0
    """Share of the routed experts in host memory, beside `weights_cpu` (inference of mixtures of experts)."""
    optimizer_cpu: Share = 0.0
    """Share of the optimizer state in host memory (training)."""
    params_cpu: Share = 0.0
    """Share of the parameters in host memory (training)."""

    @model_validator(mode="after")
    def _shares_leave_room(self) -> Self:
        total = self.weights_cpu + self.weights_disk
        if total > 1 + 1e-9:
            found: list[Problem] = [
                (
                    ("weights_disk",),
                    f"weights_cpu {self.weights_cpu:g} and weights_disk {self.weights_disk:g} add up to {total:g}; "
                    f"at most 1, so weights_disk {1 - self.weights_cpu:g} or less",
                )
            ]
            refuse(found)
        return self

    @property
    def is_none(self) -> bool:
        """True where everything stays on the GPU."""
        held = (self.weights_cpu, self.weights_disk, self.kv_cpu, self.experts_cpu, self.optimizer_cpu, self.params_cpu)
        return not any(held)


class Pin(SpecModel):
    """Decisions taken by the user; a key left out is the optimiser's to decide."""

    gpu: CatalogId | None = None
    """GPU, a catalog id."""
    mig: CatalogId | None = None
    """Part of one GPU that each replica gets (NVIDIA MIG), such as `1g.10gb`."""
    node: CatalogId | None = None
    """Node, a catalog id."""
    offer: CatalogId | None = None
    """Offer to rent, a catalog id."""
    replicas: Count | None = None
    """Independent copies of the deployment."""
    tensor_parallel: Degree | None = None
    """GPUs that share every layer."""
    pipeline_parallel: Degree | None = None
    """Stages the layers are dealt out to."""
    data_parallel: Degree | None = None
    """Ranks that each hold the model (or a shard of it) and their own sequences."""
    expert_parallel: Degree | None = None
    """Ways the experts are dealt out; divides the GPUs above and adds none."""
    context_parallel: Degree | None = None
    """GPUs that share the tokens of one sequence."""
    precision: Annotated[AnyPrecision, BeforeValidator(fold_case)] | None = None
    """Number format of the weights (inference) or of training."""
    kv_precision: Annotated[KvPrecision, BeforeValidator(fold_case)] | None = None
    """Number format of the KV cache."""
    micro_batch: Count | None = None
    """Sequences in one forward pass on one GPU (training)."""
    batch: Count | None = None
    """Sequences in flight per replica (inference) or per optimizer step (training)."""
    attention: Annotated[Attention, BeforeValidator(fold_case)] | None = None
    """Attention kernel."""
    checkpointing: Annotated[Checkpointing, BeforeValidator(fold_case)] | None = None
    """Which activations are computed again (training)."""
    sharding: Annotated[Sharding, BeforeValidator(fold_case)] | None = None
    """What data-parallel ranks share out (training)."""
    offload: PinOffload | None = None
    """Shares of what lives outside the GPU."""

    @property
    def gpus_per_replica(self) -> int:
        """GPUs of one replica, degrees left out counting as 1."""
        product = 1
        for degree in (self.tensor_parallel, self.pipeline_parallel, self.data_parallel, self.context_parallel):
            product *= degree or 1
        return product
