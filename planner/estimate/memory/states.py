"""Training states: bytes a trainable parameter costs in weights, gradients and optimizer."""

from __future__ import annotations

from dataclasses import dataclass

from planner.architecture.types import LINEAR_ROLES, Block, Model, Tensor
from planner.estimate.types import LoraJob, TrainJob
from planner.units import BITS_PER_BYTE

FULL_BYTES = 4
HALF_BYTES = 2
BLOCKWISE_SCALE_BYTES = 4 / 256
"""8-bit optimizer states keep one 32-bit maximum for every 256 values (bitsandbytes)."""
STATES = {
    "adamw": 2.0,
    "adam": 2.0,
    "adamw-8bit": 2.0,
    "adamw-paged-8bit": 2.0,
    "adafactor": 0.0,
    "sgd": 0.0,
    "sgd-momentum": 1.0,
    "lion": 1.0,
    "muon": 1.0,
}
"""Values kept for every parameter. Adafactor keeps a row and a column of each matrix, under 0.1 % of it. Muon keeps
one momentum for hidden matrices; embeddings, head and norms stay with AdamW, which `state_bytes` adds."""
ADAPTED_ROLES = LINEAR_ROLES - {"expert", "router", "head", "projector"}
"""What adapters sit on: routed experts are three-dimensional parameters, and the head is left out (PEFT)."""
ADAM = frozenset({"adamw", "adam"})
ONE_TENSOR_TEMPORARY = {"lion": 4.0, "adafactor": 8.0, "muon": 8.0}
"""Bytes a value of the one tensor in hand: Lion's update in 32 bit, Adafactor's squared gradient and update, Muon's
four 16-bit products."""
EIGHT_BIT = frozenset({"adamw-8bit", "adamw-paged-8bit"})


@dataclass(frozen=True, slots=True, kw_only=True)
class StateBytes:
    """Bytes of one trainable parameter."""

    weight: float
    gradient: float
    optimizer: float
    """Moments and, where the weights are 16-bit with 32-bit masters, the master copy."""
    step_temporary: float
    """Held only inside the optimizer step: the foreach implementation makes one parameter-sized copy."""
    largest_temporary: float = 0.0
    """The same of the largest tensor alone, where parameters are stepped one at a time."""

    @property
    def total(self) -> float:
        return self.weight + self.gradient + self.optimizer


def keeps_masters(job: TrainJob) -> bool:
    """16-bit weights with a 32-bit copy in the optimizer (Megatron, DeepSpeed), instead of autocast."""
    return job.precision.endswith("-mixed") and job.engine.options.get("autocast") == "none"


def weight_bytes(job: TrainJob) -> int:
    """Of a trained weight on the GPU."""
    if job.precision in ("fp32", "tf32"):
        return FULL_BYTES
    if job.precision == "bf16" or keeps_masters(job):
        return HALF_BYTES
    return FULL_BYTES


def state_bytes(job: TrainJob, *, moments: float | None = None) -> StateBytes:
    """Of one parameter of a full fine-tuning or pre-training run, unsharded.

    AdamW with 32-bit masters is 16 bytes in all under torch autocast (4 + 4 + 8), 18 in Megatron
    (2 + 4 + 12: docs/dist_optimizer), 8 where everything is 16-bit (states take the parameter's type).
    """
    weight = weight_bytes(job)
    gradient = FULL_BYTES if job.engine.options.get("gradient_dtype") == "fp32" and job.precision != "bf16" else weight
    fused_lion = job.optimizer == "lion" and job.engine.flag("wide_lion_states")
    per_moment = HALF_BYTES if job.precision == "bf16" and not fused_lion else FULL_BYTES
    count = STATES[job.optimizer] if moments is None else moments
    optimizer = count * (1 + BLOCKWISE_SCALE_BYTES if job.optimizer in EIGHT_BIT else per_moment)
    master = FULL_BYTES if keeps_masters(job) else 0
    kind = str(job.engine.options.get("optimizer_step"))
    temporaries = (0.0, 0.0) if fused_lion else step_temporaries(job.optimizer, kind, per_moment)
    return StateBytes(
        weight=weight,
        gradient=gradient,
        optimizer=optimizer + master,
        step_temporary=temporaries[0],
        largest_temporary=temporaries[1],
    )


def step_temporaries(optimizer: str, kind: str, moment_bytes: int) -> tuple[float, float]:
    """Bytes a parameter held inside the step: of all parameters at once, and of the largest tensor alone.

    AdamW: `foreach` takes the root of all second moments at once, `forloop` two copies of one tensor (root, then the
    quotient), `fused` none (torch/optim/adam.py). Lion and Adafactor step tensor by tensor with one or two 32-bit
    updates; Muon orthogonalises one matrix at a time in 16 bit, five iterations with four products in hand.

    >>> step_temporaries("adamw", "foreach", 4), step_temporaries("adamw", "forloop", 4), step_temporaries("sgd", "", 4)
    ((4.0, 0.0), (0.0, 8.0), (0.0, 0.0))
    """
    if optimizer in ADAM:
        return {"foreach": (float(moment_bytes), 0.0), "forloop": (0.0, 2.0 * moment_bytes)}.get(kind, (0.0, 0.0))
    return 0.0, ONE_TENSOR_TEMPORARY.get(optimizer, 0.0)


def largest_tensor_params(model: Model) -> int:
    """Parameters of the largest tensor, embedding and head included."""
    inside = [t.num_params for b in model.blocks for t in b.tensors]
    return max([*inside, *(t.num_params for t in model.outer)], default=0)


def adapter_state_bytes(lora: LoraJob) -> StateBytes:
    """Of one adapter parameter under AdamW: 16 bytes in 32 bit (r64 minus r32 measured exactly), 8 in 16."""
    size = lora.bits / BITS_PER_BYTE
    return StateBytes(weight=size, gradient=size, optimizer=2 * size, step_temporary=size)


def saved_params(model: Model, lora: LoraJob) -> int:
    """Parameters of token table and head that are trained as copies; a tied head is as large as the table."""
    table = sum(t.num_params for t in model.outer if t.role == "embedding")
    head = sum(t.num_params for t in model.outer if t.role == "head") or table
    return table * ("embed_tokens" in lora.saved) + head * ("lm_head" in lora.saved)


def saved_state_bytes(size: int) -> StateBytes:
    """Of one parameter trained as a copy in the type of the frozen one: 8 bytes in 16 bit, and 2 in AdamW's step.

    Qwen-7B fine-tuned so takes 13.6 GB more than with adapters alone for 1.245e9 such parameters (QwenLM/Qwen, README).
    """
    return StateBytes(weight=size, gradient=size, optimizer=2.0 * size, step_temporary=size)


def adapter_params(model: Model, lora: LoraJob) -> int:
    """Parameters of all adapters: rank x (in + out) a matrix, and one more out-vector for DoRA."""
    return sum(block.num_weight_copies * layer_adapter_params(block, lora) for block in model.blocks)


def layer_adapter_params(block: Block, lora: LoraJob) -> int:
    """Of one layer; tensors that are rows of one module of the model class (`query_key_value`) share one branch."""
    return sum(
        tensor.count
        * (lora.rank * (tensor.in_features * leads + tensor.out_features) + lora.dora * tensor.out_features)
        for tensor, leads in branches(block, lora)
    )


def branches(block: Block, lora: LoraJob) -> list[tuple[Tensor, bool]]:
    """Adapted tensors, and whether each is the first of its module: the one that has the branch's input and rank."""
    seen: set[str] = set()
    result = []
    for tensor in adapted(block, lora):
        result.append((tensor, not tensor.module or tensor.module not in seen))
        seen.add(tensor.module)
    return result


def adapted(block: Block, lora: LoraJob) -> tuple[Tensor, ...]:
    """The matrices of the block that carry adapters; experts share their names with the dense MLP but carry none."""
    return tuple(t for t in block.tensors if t.is_matrix and t.role in ADAPTED_ROLES and t.name in lora.targets)
