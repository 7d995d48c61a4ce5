"""Are the values of a workload's `engine_options` ones that the engine could take?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from planner.errors import ImpossibleError, did_you_mean, near_matches
from planner.estimate.types import OptionValue

WORDS: Mapping[str, tuple[str, ...]] = {
    "cross_entropy": ("standard", "chunked", "fused", "vocab-parallel"),
    "optimizer_step": ("foreach", "fused", "forloop", "in-backward"),
    "logits": ("last", "all"),
    "kv_layout": ("dynamic", "static", "paged"),
    "autocast": ("none", "bf16", "fp16"),
}
"""Options whose value is one of a few words."""
SHARES = ("gpu_memory_utilization", "mem_fraction_static", "kv_cache_free_gpu_memory_fraction")
"""Options that are a share of the GPU's memory."""
AT_LEAST_ONE = (
    "cross_entropy_chunks",
    "group_size",
    "kv_block_tokens",
    "max_model_len",
    "max_num_batched_tokens",
    "max_num_seqs",
    "ubatch",
    "virtual_pipeline",
)
"""Options that count something of which there is always some."""


def check_options(engine: str, given: Mapping[str, OptionValue], defaults: Mapping[str, OptionValue]) -> None:
    """Raise ImpossibleError with every value that the option cannot have; null stands for unset."""
    wrong = [
        f"engine option {name} of {engine} is {value!r}: {what}"
        for name, value in given.items()
        for what in faults(name, value, defaults[name])
    ]
    if wrong:
        raise ImpossibleError("; ".join(wrong))


def faults(name: str, value: OptionValue, default: OptionValue) -> Iterator[str]:
    """What is wrong with one value.

    >>> list(faults("gpu_memory_utilization", 9, 0.9)), list(faults("logits", "last", "all"))
    (['give a share above 0 and at most 1'], [])
    """
    if value is None:
        return
    if name in WORDS:
        if value not in WORDS[name]:
            yield f"one of {', '.join(WORDS[name])}; {did_you_mean(near_matches(str(value), WORDS[name]))}"
        return
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    wants_number = name in SHARES or name in AT_LEAST_ONE or (type(default) in (int, float))
    if wants_number and not is_number:
        yield "give a number"
    elif isinstance(default, bool) and not isinstance(value, bool):
        yield "give true or false"
    elif is_number and isinstance(value, int | float):
        if name in SHARES and not 0 < value <= 1:
            yield "give a share above 0 and at most 1"
        elif name in AT_LEAST_ONE and value < 1:
            yield "give at least 1"
        elif value < 0:
            yield "it cannot be negative"
