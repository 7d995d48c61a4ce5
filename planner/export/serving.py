"""What the servers of language models have in common: lengths, number formats, and what none of them can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from planner.export.types import CannotExportError, Run
from planner.units import GIB, ceil_div

PORT = 8000
SIXTEEN_BIT = {"fp16": "float16", "bf16": "bfloat16"}
MODEL = '"$MODEL"'
"""The word that stands for a checkpoint which the user names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Which checkpoint an engine loads and what it is told of its format."""

    model: str
    """Hub id, or `MODEL` where the user has to name a quantised checkpoint."""
    flags: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    environment: Mapping[str, str] | None = None


def check(run: Run, engine: str) -> None:
    """Raise CannotExportError for what no server here can express."""
    if run.mode != "infer":
        raise CannotExportError(f"{engine} does not train; try deepspeed, accelerate, torchrun or transformers")
    if run.engine != engine:
        raise CannotExportError(
            f"the plan runs it with {run.engine}; use --to {run.engine}, or plan it with engine: {engine}"
        )
    media = [key for key in ("image", "audio") if run.spec.get(key)]
    if media:
        raise CannotExportError(f"it takes {media[0]}, and this target serves text")
    if run.degree("context_parallel") > 1:
        raise CannotExportError(f"{engine} has no context parallelism as planned; plan it with context_parallel: 1")
    for key, what in (("weights_disk", "weights on disk"), ("kv_cpu", "part of the KV cache in host memory")):
        if run.away(key) and not (engine == "llamacpp" and key == "weights_disk"):
            raise CannotExportError(
                f"the plan keeps {what}, which {engine} cannot do by shares; plan it with offload: none"
            )


def check_flash(run: Run, engine: str) -> None:
    """Raise CannotExportError where the plan counts on another attention kernel than a server has."""
    if run.text("attention") not in ("", "flash"):
        raise CannotExportError(
            f"{engine} has its own attention kernels, not {run.text('attention')}; plan it with flash"
        )


def longest_request(run: Run) -> int:
    """Tokens that a request takes at most: the engine option, else the longest of the traffic.

    Raises CannotExportError.
    """
    option = run.options.get("max_model_len")
    if isinstance(option, int):
        return option
    if run.spec.get("images"):
        raise CannotExportError(
            "images take tokens that the plan does not list; plan it with engine_options: {max_model_len: N}"
        )
    kinds = run.spec.get("traffic") or [run.spec.get("sequence")]
    lengths = [int(k["input"]) + int(k.get("output", 0)) for k in kinds if isinstance(k, Mapping)]
    return max(lengths, default=run.number("input_tokens") + run.number("output_tokens"))


def is_embedding(run: Run) -> bool:
    """Text in, vector out."""
    return run.number("output_tokens") == 0


def per_rank(run: Run) -> int:
    """Sequences in flight on one data-parallel rank."""
    return ceil_div(run.number("batch"), run.degree("data_parallel"))


def offloaded_gib_per_gpu(run: Run) -> float:
    """GiB of weights in host memory for each GPU of a replica.

    Raises CannotExportError where experts alone are away.
    """
    if run.away("experts_cpu"):
        raise CannotExportError("the plan keeps experts in host memory, which only llama.cpp does by layers")
    return run.host_bytes / run.gpus_per_node / GIB if run.away("weights_cpu") else 0.0


def quantised(run: Run, *, flags: tuple[str, ...] = ()) -> Weights:
    """A checkpoint in a format that must be made first: the user names it."""
    precision = run.text("precision")
    return Weights(
        model=MODEL,
        flags=flags,
        needs=(f"MODEL: hub id or path of {run.model} quantised to {precision}",),
        notes=(f"Needs a checkpoint of {run.model} whose weights are quantised to {precision}.",),
    )


def sixteen_bit_kv(run: Run, engine: str, formats: Mapping[str, str]) -> str:
    """The engine's name of the KV cache's number format. Raises CannotExportError."""
    kv, weights = run.text("kv_precision"), run.text("precision")
    if kv in SIXTEEN_BIT and weights not in ("fp32", "tf32"):
        return "auto"
    if kv == weights == "fp32" or (kv == "fp32" and weights == "tf32"):
        return "auto"
    if kv in formats:
        return formats[kv]
    raise CannotExportError(f"{engine} has no KV cache in {kv} beside weights in {weights}")


def figure(value: object) -> str:
    """A number as flags take it.

    >>> figure(0.92), figure(8), figure(4.0)
    ('0.92', '8', '4')
    """
    return f"{value:.10g}" if isinstance(value, float) else str(value)
