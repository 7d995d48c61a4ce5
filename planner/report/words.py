"""The words of the reports: labels of keys, section titles, the glossary. One word per idea.

The constants are English and marked for translation; `called` says them in the language in use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

from planner.report.language import ENGLISH, _, marked, spoken_now
from planner.report.numbers import shown

PARTS: Mapping[str, str] = MappingProxyType(
    {
        "weights": marked("Weights"),
        "adapters": marked("LoRA adapters"),
        "gradients": marked("Gradients"),
        "optimizer": marked("Optimizer state"),
        "kv_cache": marked("KV cache"),
        "activations": marked("Activations"),
        "logits": marked("Logits and loss"),
        "workspace": marked("Workspace"),
        "context": marked("CUDA context and libraries"),
        "fragmentation": marked("Allocator reserve"),
    }
)
"""Parts of GPU memory in the order in which a bar stacks them: what is fixed first."""

PROCUREMENT: Mapping[str, str] = MappingProxyType(
    {
        "on_demand": marked("rented on demand"),
        "reserved_1y": marked("reserved for 1 year"),
        "reserved_3y": marked("reserved for 3 years"),
        "spot": marked("spot, may be reclaimed"),
        "buy": marked("bought"),
        "owned": marked("already owned"),
    }
)


CHECKPOINTING: Mapping[str, str] = MappingProxyType({"full": marked("full"), "selective": marked("selective")})


PROVIDERS: Mapping[str, str] = MappingProxyType({"owned": marked("owned"), "purchase": marked("purchase")})
"""What stands for a provider where nobody else provides."""


class TargetWords(NamedTuple):
    """How a target of the spec is called, its unit, and which side of it is good."""

    label: str
    unit: str
    good: Literal["high", "low"]


TARGETS: Mapping[str, TargetWords] = MappingProxyType(
    {
        "requests_per_second": TargetWords(marked("Requests"), marked("requests/s"), "high"),
        "output_tokens_per_second": TargetWords(marked("Generated tokens"), marked("tokens/s"), "high"),
        "tokens_per_second": TargetWords(marked("Tokens"), marked("tokens/s"), "high"),
        "concurrency": TargetWords(marked("Requests in flight"), marked("requests"), "high"),
        "ttft_ms": TargetWords(marked("Time to first token"), marked("ms"), "low"),
        "tpot_ms": TargetWords(marked("Time per output token"), marked("ms"), "low"),
        "tokens": TargetWords(marked("Tokens trained on"), marked("tokens"), "high"),
        "steps": TargetWords(marked("Optimizer steps"), marked("steps"), "high"),
        "deadline_hours": TargetWords(marked("Time to finish"), marked("h"), "low"),
    }
)

CONFIG: Mapping[str, str] = MappingProxyType(
    {
        "mig": marked("Part of a GPU (MIG)"),
        "precision": marked("Precision"),
        "kv_precision": marked("KV cache precision"),
        "tensor_parallel": marked("Tensor parallel"),
        "pipeline_parallel": marked("Pipeline parallel"),
        "data_parallel": marked("Data parallel"),
        "expert_parallel": marked("Expert parallel"),
        "context_parallel": marked("Context parallel"),
        "batch": marked("Batch"),
        "micro_batch": marked("Micro-batch"),
        "global_batch": marked("Global batch"),
        "attention": marked("Attention kernel"),
        "checkpointing": marked("Activation checkpointing"),
        "sharding": marked("Sharding"),
        "method": marked("Method"),
        "optimizer": marked("Optimizer"),
        "offload": marked("Offload"),
        "accumulation": marked("Accumulation"),
        "base_precision": marked("Base precision"),
        "input_tokens": marked("Input tokens"),
        "lora_rank": marked("LoRA rank"),
        "output_tokens": marked("Output tokens"),
        "sequence_tokens": marked("Sequence tokens"),
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
        "weights_cpu": marked("weights in host memory"),
        "weights_disk": marked("weights on disk"),
        "kv_cpu": marked("KV cache in host memory"),
        "experts_cpu": marked("experts in host memory"),
        "optimizer_cpu": marked("optimizer in host memory"),
        "params_cpu": marked("parameters in host memory"),
    }
)

HEADROOM: Mapping[str, str] = MappingProxyType(
    {
        "memory": marked("GPU memory"),
        "demand": marked("Demand that could be added"),
        "ttft": marked("Time to first token"),
        "tpot": marked("Time per output token"),
        "deadline": marked("Time before the deadline"),
    }
)

HEADROOM_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "memory": marked("memory"),
        "demand": marked("demand"),
        "ttft": marked("ttft"),
        "tpot": marked("tpot"),
        "deadline": marked("deadline"),
    }
)
"""The same inside a phrase."""

BOUND_BY: Mapping[str, str] = MappingProxyType(
    {
        "memory_bandwidth": marked("reading GPU memory"),
        "compute": marked("arithmetic"),
        "communication": marked("traffic between GPUs"),
        "comm": marked("traffic between GPUs"),
        "network": marked("traffic between nodes"),
        "host": marked("the host (launching kernels)"),
        "overhead": marked("fixed overheads of the engine"),
        "pcie": marked("the link to host memory"),
        "host_link": marked("the link to host memory"),
        "offload": marked("the link to host memory or disk"),
        "disk": marked("reading the disk"),
        "kv_capacity": marked("room for the KV cache"),
    }
)


PHASES: Mapping[str, str] = MappingProxyType(
    {
        "load": marked("load"),
        "prefill": marked("prefill"),
        "decode": marked("decode"),
        "forward": marked("forward"),
        "loss": marked("loss"),
        "backward": marked("backward"),
        "optimizer": marked("optimizer"),
    }
)
"""Phases in which memory can be fullest."""


class ObjectiveWords(NamedTuple):
    """How an objective is called and printed."""

    sought: str
    """The plan that it seeks."""
    unit: str
    """What its value is counted in."""


OBJECTIVES: Mapping[str, ObjectiveWords] = MappingProxyType(
    {
        "cost": ObjectiveWords(marked("the cheapest plan"), marked("{currency}/h")),
        "power": ObjectiveWords(marked("the least power-hungry plan"), marked("kW")),
        "gpus": ObjectiveWords(marked("the smallest (fewest GPUs) plan"), marked("GPUs")),
        "carbon": ObjectiveWords(marked("the lowest-carbon plan"), marked("kg CO2/month")),
    }
)

LOW_CONFIDENCE = frozenset({"low", "weak", "estimate", "estimated", "guess", "unverified", "assumed"})
"""Words of the catalogs' `confidence` that the reader has to be warned of."""

FACT_KINDS: Mapping[str, str] = MappingProxyType(
    {
        kind: kind
        for kind in (
            marked("gpu"),
            marked("node"),
            marked("offer"),
            marked("purchase"),
            marked("energy"),
            marked("model"),
            marked("engine"),
            marked("precision"),
            marked("assumption"),
        )
    }
)

CONFIDENCE: Mapping[str, str] = MappingProxyType(
    {"high": marked("high"), "medium": marked("medium"), "low": marked("low")}
)
"""The catalogs' words for how far a fact can be trusted."""

SECTIONS: Mapping[str, str] = MappingProxyType(
    {
        "decision": marked("Decision"),
        "infeasible": marked("Why there is no plan"),
        "materials": marked("Bill of materials"),
        "periods": marked("Over time: what to order when"),
        "fleet": marked("Fleet map"),
        "horizon": marked("Cost over the horizon"),
        "sensitivity": marked("What would change the answer"),
        "facility": marked("Machine room and carbon"),
        "workloads": marked("Workloads"),
        "rejected": marked("What was rejected, and why"),
        "proof": marked("What the solver proved"),
        "risks": marked("Risks"),
        "evidence": marked("Validation evidence"),
        "assumptions": marked("Assumptions and sources"),
        "derivations": marked("How the figures come about"),
        "reproduce": marked("Reproducing this plan"),
        "signoff": marked("Versions and approval"),
        "glossary": marked("Glossary"),
    }
)

AUDIENCES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "all": tuple(key for key in SECTIONS if key != "derivations"),
        "management": (
            *("decision", "infeasible", "materials", "periods", "fleet", "horizon", "sensitivity"),
            *("proof", "risks", "signoff", "glossary"),
        ),
        "procurement": (
            *("decision", "infeasible", "materials", "periods", "fleet", "horizon", "facility", "risks"),
            *("assumptions", "reproduce", "signoff", "glossary"),
        ),
        "engineering": (
            *(
                "decision",
                "infeasible",
                "periods",
                "fleet",
                "sensitivity",
                "facility",
                "workloads",
                "rejected",
                "proof",
            ),
            *("risks", "evidence", "assumptions", "derivations", "reproduce", "glossary"),
        ),
    }
)
"""The sections that each kind of reader gets."""

GLOSSARY: tuple[tuple[str, str], ...] = (
    (
        marked("Workload"),
        marked("What was asked for: a model, how it is used, and the targets it has to meet."),
    ),
    (
        marked("Replica"),
        marked("One complete copy of a workload's model, on one or more GPUs."),
    ),
    (
        marked("Node"),
        marked("One server with its GPUs; the smallest thing that is rented or bought."),
    ),
    (
        marked("Offer"),
        marked("A node that can be rented, or bought, at a price with a source and a date."),
    ),
    (
        marked("Placement"),
        marked("The way chosen to run a workload: which GPU, how many, how split, in what precision."),
    ),
    (
        marked("GiB"),
        marked("2^30 bytes. Memory in this report is in GiB; vendors' marketing names use GB, 10^9 bytes."),
    ),
    (
        marked("KV cache"),
        marked("Keys and values of the tokens seen so far, kept per layer so that they are not computed again."),
    ),
    (
        marked("Time to first token"),
        marked("From the arrival of a request to its first generated token, at the batch shown."),
    ),
    (
        marked("Time per output token"),
        marked("Mean time between two generated tokens of one request, at the batch shown."),
    ),
    (
        marked("TP, PP, DP, EP, CP"),
        marked("Tensor, pipeline, data, expert and context parallel: how a model or its batch is split."),
    ),
    (
        marked("90 % interval"),
        marked("Nine of ten measurements of this kind of workload fell inside a range this wide."),
    ),
    (
        marked("Gap"),
        marked("How far a plan can at most be from the best one; 0 means that none better exists."),
    ),
    (
        marked("PUE"),
        marked("Power of the whole facility over the power of its computers."),
    ),
)


def spoken(key: str) -> str:
    """A key as words, where no better label is known.

    >>> spoken("memory_bandwidth")
    'memory bandwidth'
    """
    return key.replace("_", " ")


def listed(items: Sequence[str]) -> str:
    """Items as a phrase.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    if len(items) < 2:
        return "".join(items)
    return _("{items} and {last}").format(items=comma_separated(items[:-1]), last=items[-1])


def comma_separated(items: Iterable[str]) -> str:
    """Items one after another, with the comma of the language in use."""
    return _(", ").join(items)


def semicolon_separated(items: Iterable[str]) -> str:
    """The same for items that hold commas themselves."""
    return _("; ").join(items)


def in_sentence(label: str) -> str:
    """A label inside a sentence: English writes it small, German its nouns with a capital everywhere.

    >>> in_sentence("Time to first token")
    'time to first token'
    """
    return label.casefold() if spoken_now().language.code == ENGLISH else label


def called(words: Mapping[str, str], key: str) -> str:
    """The label of a key in the language in use; a key without one keeps its own name.

    >>> called(PARTS, "kv_cache"), called(PARTS, "scratch_space")
    ('KV cache', 'scratch space')
    """
    return _(words[key]) if key in words else shown(spoken(key))
