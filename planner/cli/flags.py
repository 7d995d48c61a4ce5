"""One workload from flags: `plan estimate --model ... --mode ...` as the spec it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.errors import InputError

if TYPE_CHECKING:
    from planner.spec.types import Spec

FLAGS = "flags"
"""What stands in messages in place of a file name."""

WORKLOAD_KEYS = {
    "model": ("model",),
    "mode": ("mode",),
    "engine": ("engine",),
    "method": ("method",),
    "optimizer": ("optimizer",),
    "lora_rank": ("lora", "rank"),
    "attention": ("attention",),
    "batch": ("batch",),
    "sequence": ("sequence",),
    "input_tokens": ("sequence", "input"),
    "output_tokens": ("sequence", "output"),
    "precision": ("precision",),
    "kv_precision": ("kv_precision",),
    "checkpointing": ("checkpointing",),
    "sharding": ("sharding",),
    "gpu": ("pin", "gpu"),
    "node": ("pin", "node"),
    "offer": ("pin", "offer"),
    "replicas": ("pin", "replicas"),
    "tensor_parallel": ("pin", "tensor_parallel"),
    "pipeline_parallel": ("pin", "pipeline_parallel"),
    "data_parallel": ("pin", "data_parallel"),
    "expert_parallel": ("pin", "expert_parallel"),
    "context_parallel": ("pin", "context_parallel"),
    "micro_batch": ("pin", "micro_batch"),
    "weights_cpu": ("pin", "offload", "weights_cpu"),
    "weights_disk": ("pin", "offload", "weights_disk"),
    "kv_cpu": ("pin", "offload", "kv_cpu"),
    "optimizer_cpu": ("pin", "offload", "optimizer_cpu"),
    "params_cpu": ("pin", "offload", "params_cpu"),
}
"""Parameter of the command -> key of a workload in the spec."""


def spec_from_flags(given: Mapping[str, Any]) -> Spec:
    """The spec of one workload; flags that were left out take the spec's defaults.

    Raises InputError, with one message for each wrong flag.
    """
    from planner.spec.files import FileError, looks_like_path, read_config
    from planner.spec.load import spec_from_mapping

    data = workload_from_flags(given)
    model = data.get("model")
    if isinstance(model, str) and looks_like_path(model):
        try:
            data["model"] = read_config(Path(model).name, Path(model).resolve().parent, None)
        except FileError as err:
            raise InputError(f"--model: {err}") from None
    return spec_from_mapping({"workloads": [data]}, FLAGS)


def workload_from_flags(given: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of the workload that the flags stand for.

    >>> workload_from_flags({"model": "gpt2", "mode": "infer", "gpu": "l4", "batch": "4", "engine": None})
    {'model': 'gpt2', 'mode': 'infer', 'batch': 4, 'pin': {'gpu': 'l4'}}

    Raises InputError where flags contradict each other.
    """
    if given.get("sequence") is not None and (given.get("input_tokens") or given.get("output_tokens")):
        raise InputError("--sequence is the whole context; give it, or --input and --output, not both")
    workload: dict[str, Any] = {}
    for flag, (*folders, key) in WORKLOAD_KEYS.items():
        value = given.get(flag)
        if value is None:
            continue
        place = workload
        for folder in folders:
            place = place.setdefault(folder, {})
        place[key] = plain(value)
    return workload


def plain(value: object) -> object:
    """A flag's text as the spec would read it: digits are a number, a list with commas is a list."""
    if not isinstance(value, str):
        return value
    if value.isascii() and value.lstrip("-").isdigit():
        return int(value)
    return [part.strip() for part in value.split(",")] if "," in value else value
