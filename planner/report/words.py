"""The words of the reports: labels of keys, section titles, the glossary. One word per idea."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

PARTS: Mapping[str, str] = MappingProxyType(
    {
        "weights": "Weights",
        "adapters": "LoRA adapters",
        "gradients": "Gradients",
        "optimizer": "Optimizer state",
        "kv_cache": "KV cache",
        "activations": "Activations",
        "logits": "Logits and loss",
        "workspace": "Workspace",
        "context": "CUDA context and libraries",
        "fragmentation": "Allocator reserve",
    }
)
"""Parts of GPU memory in the order in which a bar stacks them: what is fixed first."""

PROCUREMENT: Mapping[str, str] = MappingProxyType(
    {
        "on_demand": "rented on demand",
        "reserved_1y": "reserved for 1 year",
        "reserved_3y": "reserved for 3 years",
        "spot": "spot, may be reclaimed",
        "buy": "bought",
        "owned": "already owned",
    }
)


class TargetWords(NamedTuple):
    """How a target of the spec is called, its unit, and which side of it is good."""

    label: str
    unit: str
    good: Literal["high", "low"]


TARGETS: Mapping[str, TargetWords] = MappingProxyType(
    {
        "requests_per_second": TargetWords("Requests", "requests/s", "high"),
        "output_tokens_per_second": TargetWords("Generated tokens", "tokens/s", "high"),
        "tokens_per_second": TargetWords("Tokens", "tokens/s", "high"),
        "concurrency": TargetWords("Requests in flight", "requests", "high"),
        "ttft_ms": TargetWords("Time to first token", "ms", "low"),
        "tpot_ms": TargetWords("Time per output token", "ms", "low"),
        "tokens": TargetWords("Tokens trained on", "tokens", "high"),
        "steps": TargetWords("Optimizer steps", "steps", "high"),
        "deadline_hours": TargetWords("Time to finish", "h", "low"),
    }
)

CONFIG: Mapping[str, str] = MappingProxyType(
    {
        "precision": "Precision",
        "kv_precision": "KV cache precision",
        "tensor_parallel": "Tensor parallel",
        "pipeline_parallel": "Pipeline parallel",
        "data_parallel": "Data parallel",
        "expert_parallel": "Expert parallel",
        "context_parallel": "Context parallel",
        "batch": "Batch",
        "micro_batch": "Micro-batch",
        "global_batch": "Global batch",
        "attention": "Attention kernel",
        "checkpointing": "Activation checkpointing",
        "sharding": "Sharding",
        "method": "Method",
        "optimizer": "Optimizer",
        "offload": "Offload",
    }
)
"""Keys of a configuration in reading order; any other key follows under its own name."""

PARALLEL_SHORT: Mapping[str, str] = MappingProxyType(
    {
        "tensor_parallel": "TP",
        "pipeline_parallel": "PP",
        "data_parallel": "DP",
        "expert_parallel": "EP",
        "context_parallel": "CP",
    }
)

OFFLOAD: Mapping[str, str] = MappingProxyType(
    {
        "weights_cpu": "weights in host memory",
        "weights_disk": "weights on disk",
        "kv_cpu": "KV cache in host memory",
        "optimizer_cpu": "optimizer in host memory",
        "params_cpu": "parameters in host memory",
    }
)

HEADROOM: Mapping[str, str] = MappingProxyType(
    {
        "memory": "GPU memory",
        "demand": "Demand that could be added",
        "ttft": "Time to first token",
        "tpot": "Time per output token",
        "deadline": "Time before the deadline",
    }
)

BOUND_BY: Mapping[str, str] = MappingProxyType(
    {
        "memory_bandwidth": "reading GPU memory",
        "compute": "arithmetic",
        "communication": "traffic between GPUs",
        "comm": "traffic between GPUs",
        "network": "traffic between nodes",
        "host": "the host (launching kernels)",
        "overhead": "fixed overheads of the engine",
        "pcie": "the link to host memory",
        "host_link": "the link to host memory",
        "offload": "the link to host memory or disk",
        "disk": "reading the disk",
        "kv_capacity": "room for the KV cache",
    }
)


class ObjectiveWords(NamedTuple):
    """How an objective is called and printed."""

    adjective: str
    """Fills "the ... plan"."""
    unit: str
    """What its value is counted in."""


OBJECTIVES: Mapping[str, ObjectiveWords] = MappingProxyType(
    {
        "cost": ObjectiveWords("cheapest", "USD/h"),
        "power": ObjectiveWords("least power-hungry", "kW"),
        "gpus": ObjectiveWords("smallest (fewest GPUs)", "GPUs"),
        "carbon": ObjectiveWords("lowest-carbon", "kg CO2/month"),
    }
)

LOW_CONFIDENCE = frozenset({"low", "weak", "estimate", "estimated", "guess", "unverified", "assumed"})
"""Words of the catalogs' `confidence` that the reader has to be warned of."""

SECTIONS: Mapping[str, str] = MappingProxyType(
    {
        "decision": "Decision",
        "infeasible": "Why there is no plan",
        "materials": "Bill of materials",
        "fleet": "Fleet map",
        "workloads": "Workloads",
        "rejected": "What was rejected, and why",
        "proof": "What the solver proved",
        "evidence": "Validation evidence",
        "assumptions": "Assumptions and sources",
        "reproduce": "Reproducing this plan",
        "glossary": "Glossary",
    }
)

AUDIENCES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "all": tuple(SECTIONS),
        "management": ("decision", "infeasible", "materials", "fleet", "proof", "glossary"),
        "procurement": ("decision", "infeasible", "materials", "fleet", "assumptions", "reproduce", "glossary"),
        "engineering": (
            *("decision", "infeasible", "fleet", "workloads", "rejected", "proof", "evidence"),
            *("assumptions", "reproduce", "glossary"),
        ),
    }
)
"""The sections that each kind of reader gets."""

GLOSSARY: tuple[tuple[str, str], ...] = (
    ("Workload", "What was asked for: a model, how it is used, and the targets it has to meet."),
    ("Replica", "One complete copy of a workload's model, on one or more GPUs."),
    ("Node", "One server with its GPUs; the smallest thing that is rented or bought."),
    ("Offer", "A node that can be rented, or bought, at a price with a source and a date."),
    ("Placement", "The way chosen to run a workload: which GPU, how many, how split, in what precision."),
    ("GiB", "2^30 bytes. Memory in this report is in GiB; vendors' marketing names use GB, 10^9 bytes."),
    ("KV cache", "Keys and values of the tokens seen so far, kept per layer so that they are not computed again."),
    ("Time to first token", "From the arrival of a request to its first generated token, at the batch shown."),
    ("Time per output token", "Mean time between two generated tokens of one request, at the batch shown."),
    ("TP, PP, DP, EP, CP", "Tensor, pipeline, data, expert and context parallel: how a model or its batch is split."),
    ("90 % interval", "Nine of ten measurements of this kind of workload fell inside a range this wide."),
    ("Gap", "How far a plan can at most be from the best one; 0 means that none better exists."),
    ("PUE", "Power of the whole facility over the power of its computers."),
)


def spoken(key: str) -> str:
    """A key as words, where no better label is known.

    >>> spoken("memory_bandwidth")
    'memory bandwidth'
    """
    return key.replace("_", " ")
