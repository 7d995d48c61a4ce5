"""An estimate -> the quantity that was measured: one small function a rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

from planner.accuracy.types import Answer
from planner.catalog.intervals import Figure

BLOCK_TOKENS = 16
"""Tokens of one block of vLLM's paged cache, its default on NVIDIA GPUs (vllm/config/cache.py)."""

Rule = Callable[[Answer, Mapping[str, float]], float | None]
"""From the answer and the source's own numbers to the quantity; None = does not apply."""


class NoPredictionError(Exception):
    """The estimate does not hold what a rule needs; says what."""


def predicted(rule: str, answer: Answer, given: Mapping[str, float]) -> float:
    """The quantity in units of the record schema.

    Raises NoPredictionError where no rule has the name, or the answer lacks what the rule needs.
    """
    function = RULES.get(rule)
    if function is None:
        raise NoPredictionError(f"no rule {rule!r}")
    try:
        value = function(answer, given)
    except KeyError as missing:
        raise NoPredictionError(f"{rule} needs the source's {missing}") from None
    except ZeroDivisionError:
        raise NoPredictionError(f"{rule}: a time or count of zero") from None
    if value is None:
        raise NoPredictionError(f"{rule} does not apply")
    if not math.isfinite(value) or value < 0.0 or (value == 0.0 and rule not in MEMORY_RULES):
        raise NoPredictionError(f"{rule} = {value}")
    return value


def figure_of(rule: str) -> Figure:
    """Which of the recorded intervals holds for a rule."""
    return FIGURES.get(rule, "memory" if rule in MEMORY_RULES else "speed")


def parts(*names: str, each_gpu: bool = False) -> Rule:
    """Some parts of the fullest GPU's bytes; `each_gpu` takes every GPU to hold as much."""

    def rule(a: Answer, given: Mapping[str, float]) -> float:
        return float(sum(a.part_bytes[name] for name in names) * (a.gpus if each_gpu else 1))

    return rule


def end_to_end_s(a: Answer, given: Mapping[str, float]) -> float | None:
    """Seconds from request to last token."""
    if a.ttft_s is None or a.output_tokens <= 1:
        return a.ttft_s
    return None if a.tpot_s is None else a.ttft_s + (a.output_tokens - 1) * a.tpot_s


def decode_rate(a: Answer, given: Mapping[str, float]) -> float | None:
    """Generated tokens per second between the first token and the last."""
    return None if a.tpot_s is None else a.batch / a.tpot_s


def prefill_rate(a: Answer, given: Mapping[str, float]) -> float | None:
    """Prompt tokens per second."""
    return None if a.ttft_s is None else a.input_tokens * a.batch / a.ttft_s


def static_output_rate(a: Answer, given: Mapping[str, float]) -> float | None:
    """Generated tokens over the whole time of one batch, prompt included."""
    whole = end_to_end_s(a, given)
    return None if whole is None else a.batch * a.output_tokens / whole


def per_gpu(value: float | None, a: Answer) -> float | None:
    """Share of one GPU."""
    return None if value is None else value / a.gpus


def flop_rate(a: Answer, given: Mapping[str, float]) -> float | None:
    """FLOP per second and GPU, counted as the source counts FLOP per token."""
    rate = per_gpu(a.tokens_per_second, a)
    return None if rate is None else rate * given["flop_per_token"]


def kv_blocks(a: Answer, given: Mapping[str, float]) -> float | None:
    """Whole blocks of the paged cache."""
    return None if a.kv_cache_tokens is None else float(a.kv_cache_tokens // BLOCK_TOKENS)


MEMORY_RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "allocated": lambda a, given: a.allocated_bytes,
        "allocated_sum": lambda a, given: a.allocated_bytes * a.gpus,
        "reserved": lambda a, given: a.reserved_bytes,
        "device": lambda a, given: a.device_bytes,
        "static": lambda a, given: a.static_bytes,
        "host": lambda a, given: a.host_bytes,
        "weights": parts("weights"),
        "weights_sum": parts("weights", each_gpu=True),
        "gradients": parts("gradients"),
        "optimizer": parts("optimizer"),
        "adapters": parts("adapters"),
        "activations": parts("activations"),
        "logits": parts("logits"),
        "kv_pool": parts("kv_cache"),
        "kv_cache": parts("kv_cache"),
        "kv_sum": parts("kv_cache", each_gpu=True),
        "kv_tokens": lambda a, given: a.kv_cache_tokens,
        "kv_blocks": kv_blocks,
        "workspace": parts("workspace"),
        "profile_activations": parts("activations", "logits", "workspace"),
        "profile_peak": parts("weights", "activations", "logits", "workspace"),
    }
)
"""Bytes on the fullest GPU, and what a serving engine prints when it starts."""

SPEED_RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "output_rate": lambda a, given: a.output_tokens_per_second,
        "output_rate_per_gpu": lambda a, given: per_gpu(a.output_tokens_per_second, a),
        "token_rate": lambda a, given: a.tokens_per_second,
        "request_rate": lambda a, given: a.requests_per_second,
        "decode_rate": decode_rate,
        "static_output_rate": static_output_rate,
        "prefill_rate": prefill_rate,
        "prefill": lambda a, given: a.prefill_s,
        "ttft": lambda a, given: a.ttft_s,
        "tpot": lambda a, given: a.tpot_s,
        "end_to_end": end_to_end_s,
        "train_rate": lambda a, given: a.tokens_per_second,
        "train_rate_per_gpu": lambda a, given: per_gpu(a.tokens_per_second, a),
        "step": lambda a, given: a.step_s,
        "mfu": lambda a, given: a.mfu,
        "flop_rate": flop_rate,
    }
)

TIMES = frozenset({"ttft", "tpot", "prefill", "end_to_end", "step"})
"""Rules in seconds: slower is more. The rest of the speed rules are rates."""

RULES: Mapping[str, Rule] = MappingProxyType({**MEMORY_RULES, **SPEED_RULES})

FIGURES: Mapping[str, Figure] = MappingProxyType(
    {
        "allocated": "allocated",
        "allocated_sum": "allocated",
        "reserved": "reserved",
        "device": "device",
        "static": "static",
        "weights": "weights",
        "weights_sum": "weights",
        "kv_pool": "kv_pool",
        "kv_cache": "kv_pool",
        "kv_sum": "kv_pool",
        "kv_tokens": "kv_pool",
        "kv_blocks": "kv_pool",
        "workspace": "workspace",
        "profile_activations": "workspace",
        "profile_peak": "buffers",
        "output_rate": "throughput",
        "output_rate_per_gpu": "throughput",
        "static_output_rate": "throughput",
        "request_rate": "throughput",
        "token_rate": "throughput",
        "train_rate": "throughput",
        "train_rate_per_gpu": "throughput",
        "flop_rate": "throughput",
        "mfu": "throughput",
        "decode_rate": "tpot",
        "tpot": "tpot",
        "prefill_rate": "prefill",
        "prefill": "prefill",
        "end_to_end": "latency",
        "step": "step",
        "ttft": "ttft",
    }
)
"""What a rule measures, as the recorded intervals call it; a rule that is not here counts as its family."""
