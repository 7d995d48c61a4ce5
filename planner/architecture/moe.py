"""Routed experts: router, expert matrices, shared experts."""

from __future__ import annotations

from planner.architecture.schema_parts import MlpShape, MoeShape
from planner.architecture.tensors import matrix, mlp_tensors, vector
from planner.architecture.types import Moe, Tensor


def moe_tensors(shape: MoeShape, hidden: int) -> tuple[Tensor, ...]:
    """All experts of one layer with their router; `count` of an expert tensor is the number of experts."""
    experts, inner = shape.num_experts, shape.intermediate_size
    width = shape.latent_size or hidden
    out = [*matrix("gate", "router", experts, hidden, bias=shape.router_bias)]
    if shape.latent_size:
        out += matrix("fc1_latent_proj", "mlp", shape.latent_size, hidden)
        out += matrix("fc2_latent_proj", "mlp", hidden, shape.latent_size)
    if shape.gated:
        out += matrix("gate_proj", "expert", inner, width, count=experts)
    out += matrix("up_proj", "expert", inner, width, count=experts)
    out += matrix("down_proj", "expert", width, inner, count=experts)
    if shape.expert_bias:
        # role expert, so that a token's active parameters count the biases of its own experts only
        out.append(vector("gate_up_proj.bias", "expert", inner * (2 if shape.gated else 1), count=experts))
        out.append(vector("down_proj.bias", "expert", width, count=experts))
    if shape.shared_intermediate_size:
        shared = MlpShape(
            intermediate_size=shape.shared_intermediate_size, gated=shape.gated, activation=shape.activation
        )
        out += mlp_tensors(shared, hidden, role="shared_expert")
    if shape.shared_gate:
        out += matrix("shared_expert_gate", "router", 1, hidden)
    if shape.router_scales:
        out += [vector("router.scale", "state", hidden), vector("router.per_expert_scale", "state", experts)]
    out += [vector("experts_layernorm", "norm", hidden, count=shape.own_norms)] if shape.own_norms else []
    return tuple(out)


def moe(shape: MoeShape, hidden: int) -> Moe:
    """What physics needs to know of one layer's experts."""
    return Moe(
        num_experts=shape.num_experts,
        top_k=shape.top_k,
        intermediate_size=shape.intermediate_size,
        gated=shape.gated,
        activation=shape.activation,
        shared_intermediate_size=shape.shared_intermediate_size,
        input_size=shape.latent_size or hidden,
    )
