"""One rank of several that split every layer: the library's own plan, applied with torch's DTensor.

`transformers` says for every model class which linear layers are split by columns and which by rows
(`base_model_tp_plan`); `apply_tensor_parallelism` makes their weights DTensors and puts collectives around them.
They run on a process group that talks to nobody (`fsdp.ranks`). Experimental: internals of one minor version of torch.
"""

from __future__ import annotations

from typing import Any

from validation.simulate.case import CaseError


def split_model(model: Any, mesh: Any) -> None:
    """Split the model over the mesh as its class has it.

    Raises CaseError for models without a plan and for heads that do not divide.
    """
    from transformers.distributed.configuration_utils import DistributedConfig
    from transformers.distributed.tensor_parallel import apply_tensor_parallelism

    size = mesh.size()
    config = model.config
    if not model.tp_plan:
        raise CaseError(f"transformers has no tensor-parallel plan for {config.model_type}")
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    if heads % size:
        raise CaseError(f"{heads} key-value heads are not simulated on {size} ranks")
    plan, _, _ = model._resolve_parallel_plans(DistributedConfig(tp_size=size))
    known = {name for name, _ in model.named_modules()} | {name for name, _ in model.named_parameters()}
    plan = {name: style for name, style in plan.items() if name in known}  # a tied head's weight is the table's
    apply_tensor_parallelism(model, mesh, plan)
    model.tie_weights()
