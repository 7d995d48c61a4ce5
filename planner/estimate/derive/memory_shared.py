"""Steps that inference and training share: parameters, context, what the driver shows, usable memory."""

from __future__ import annotations

from planner.architecture.types import Model
from planner.catalog.runtime import runtime_facts
from planner.estimate.derive.steps import bytes_text, exact, part, step, total
from planner.estimate.document import DerivationStep, MemoryDocument
from planner.estimate.types import PARTS, Hardware

ALLOCATOR = "PyTorch CUDA caching allocator and start-up logs (catalogs/runtime.yaml)"


def parameters(model: Model) -> DerivationStep:
    """Every parameter of the model, shared ones once."""
    inside = " + ".join(
        f"{b.num_weight_copies} x {b.num_params_per_layer:,} [{b.name}]" for b in model.blocks if b.num_params
    )
    outside = " + ".join(f"{t.num_params:,} [{t.name}]" for t in model.outer)
    return step(
        "params_total",
        "parameters of every layer + parameters outside the layers",
        " + ".join(x for x in (inside, outside) if x),
        f"{model.params_total:,}",
        f"architecture of {model.id}",
    )


def context(memory: MemoryDocument, hw: Hardware, num_gpus: int, graphs: float = 0.0) -> DerivationStep:
    """CUDA context, NCCL where GPUs work together, captured graphs."""
    facts, arch = runtime_facts(), str(hw.arch.reshape(-1)[0])
    nccl = facts.nccl_bytes.of(arch) if num_gpus > 1 else 0
    return part(
        "context",
        "CUDA context + NCCL buffers (several GPUs) + CUDA graphs (serving engines)",
        total((("context", float(facts.context_bytes.of(arch))), ("NCCL", float(nccl)), ("graphs", graphs))),
        memory.per_gpu_bytes["context"],
        f"{facts.context_bytes.source}, {facts.context_bytes.as_of}",
    )


def totals(memory: MemoryDocument, hw: Hardware) -> tuple[DerivationStep, ...]:
    """Allocated, reserved, device peak and what the GPU can give."""
    parts = memory.per_gpu_bytes
    allocated = [(k, float(parts[k])) for k in PARTS if k not in ("context", "fragmentation")]
    reserve = runtime_facts().driver_reserve_bytes
    arch = str(hw.arch.reshape(-1)[0])
    return (
        step(
            "memory.allocated_peak_bytes",
            "sum of the parts that torch allocates",
            total(allocated),
            bytes_text(memory.allocated_peak_bytes),
            "torch.cuda.max_memory_allocated()",
        ),
        step(
            "memory.reserved_peak_bytes",
            "allocated + fragmentation",
            f"{exact(memory.allocated_peak_bytes)} + {exact(parts['fragmentation'])}",
            bytes_text(memory.reserved_peak_bytes),
            "torch.cuda.max_memory_reserved()",
        ),
        step(
            "memory.device_peak_bytes",
            "allocated parts + fragmentation (reserved - allocated) + CUDA context and NCCL",
            f"{exact(memory.allocated_peak_bytes)} + {exact(parts['fragmentation'])} + {exact(parts['context'])}",
            bytes_text(memory.device_peak_bytes),
            ALLOCATOR,
        ),
        step(
            "memory.usable_bytes",
            "memory the driver reports - its own reserve",
            f"{exact(hw.memory_bytes)} - {exact(reserve.of(arch, str(hw.gpu.reshape(-1)[0])))}",
            bytes_text(memory.usable_bytes),
            f"{reserve.source}, {reserve.as_of}",
        ),
    )
