"""A number's name says its unit: the types of the whole planner are walked, and a number that does not is a failure."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import re
import sys
import types
import typing
from collections.abc import Iterator, Mapping

import numpy as np
from pydantic import BaseModel

import planner

UNITS = {
    "bytes", "bits", "s", "ms", "hours", "months", "usd", "kw", "kwh", "g", "kg", "flop", "units",
    "second", "hour", "month", "tokens", "percent", "percentile", "seconds",
}  # fmt: skip
"""Words that are a unit wherever they stand in a name."""
COUNTS = {
    "batch", "by", "candidates", "channels", "column", "copies", "count", "depth", "devices", "dim", "experts",
    "features", "gpus", "heads", "height", "index", "inside", "kept", "kind", "kinds", "layers", "line", "nodes",
    "num", "port", "parallel", "params", "period", "periods", "rank", "ranks", "replicas", "rows", "seed", "sequences",
    "size", "slots", "spares", "steps", "values", "version", "width", "window", "workers",
    "answers", "rounds", "running", "slices", "holders",
}  # fmt: skip
"""Words that make a name a count, an index or a length in elements of a model's shape."""
SHARES = {
    "share", "shares", "gap", "quality", "headroom", "quantile", "ratio", "factor", "efficiency", "dropout", "mfu",
    "pue", "confidence", "margin",
}  # fmt: skip
"""Words that make a name a number without a unit."""
RATIOS = {
    "excess",
    "passes",
    "tensors",
    "exposed",
    "skew",
    "sharpness",
    "wait",
    "split",
    "spread",
    "load",
    "utilisation",
}
"""Words of fitted numbers without a unit: passes over a tensor, shares that are not hidden behind compute."""
KEYS_OF_THE_INTERFACE = {
    "input": "tokens", "output": "tokens", "sequence": "tokens", "traffic": "tokens", "context": "tokens",
    "length": "tokens", "prompts": "requests", "concurrency": "requests",
    "burst": "requests", "requests": "requests", "global_": "sequences", "micro": "sequences",
    "weights_cpu": "share", "weights_disk": "share", "kv_cpu": "share", "optimizer_cpu": "share", "demand": "factor",
    "objective": "of the objective", "best_bound": "of the objective", "asked": "of the target", "got": "of the target",
    "least_objective": "of the objective",
    "value": "of the limit, or as its entry says", "rate": "of the target", "stock": "nodes", "purchase": "index",
    "purchases": "indices", "placement": "index", "capacity": "factor", "held": "replicas", "cut": "GPUs",
    "low": "as its entry says", "mid": "as its entry says", "high": "as its entry says", "evaluated": "ways",
    "per_token": "uses", "per_node": "replicas", "scale": "units in a unit", "preference": "rank",
}  # fmt: skip
"""Names that the interface fixes or that an entry's own `unit` explains, and what they count."""
UNIT_WORDS = UNITS | {"byte", "share", "shares", "factors", "degrees", "parallel", "peak", "ways", "rates", "counts"}
"""Words that, in a type's name or the first line of its docstring, give the unit of all its numbers."""
NAMED_BY_THEIR_KEYS = {"intervals", "pareto", "figures", "engine_options", "nearest", "nearest_targets"}
"""Mappings whose keys are names that say the unit."""
ROOMS_THAT_COUNT = {
    "architecture": "shapes: every number is a count of elements, layers or heads",
    "solve": "whole numbers in the units that the writer of the problem chose",
}


def classes() -> Iterator[type]:
    for module in pkgutil.walk_packages(planner.__path__, "planner."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and value.__module__ == module.name and is_data(value):
                yield value


def is_data(kind: type) -> bool:
    return dataclasses.is_dataclass(kind) or issubclass(kind, BaseModel)


def numbers(kind: type) -> Iterator[str]:
    if issubclass(kind, BaseModel):
        yield from (name for name, field in kind.model_fields.items() if is_number(field.annotation))
    else:
        assert dataclasses.is_dataclass(kind)
        yield from (field.name for field in dataclasses.fields(kind) if is_number(meaning(field.type, kind)))


def meaning(annotation: object, kind: type) -> object:
    """The type that an annotation names; what is imported for the type checker alone is no number."""
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, vars(sys.modules[kind.__module__]))
    except NameError:
        return object


def is_number(hint: object) -> bool:
    if hint in (int, float):
        return True
    origin = typing.get_origin(hint)
    if origin is np.ndarray:
        return "bool" not in str(hint)
    if origin in (typing.Union, types.UnionType):
        parts = typing.get_args(hint)
        return any(map(is_number, parts)) and not {str, bool} & set(parts)
    if origin is typing.Annotated:
        return is_number(typing.get_args(hint)[0])
    if origin in (tuple, list, frozenset) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return any(is_number(a) for a in typing.get_args(hint)[-2:])
    return False


def says_its_unit(name: str) -> bool:
    words = set(name.strip("_").split("_"))
    known = UNITS | COUNTS | SHARES | RATIOS
    return bool(words & known) or name in KEYS_OF_THE_INTERFACE or name in NAMED_BY_THEIR_KEYS


def table_says_its_unit(kind: type) -> bool:
    """The type's name, or the first line of its docstring, gives the unit of everything in it."""
    first = (kind.__doc__ or "").strip().split("\n")[0]
    words = {w.casefold() for w in re.findall(r"[A-Z]?[a-z]+|FLOP", f"{kind.__name__} {first}")}
    return bool(words & UNIT_WORDS)


def test_every_number_says_its_unit() -> None:
    found = [c for c in classes() if c.__module__.split(".")[1] not in ROOMS_THAT_COUNT]
    assert len(found) > 50
    silent = sorted(
        f"{c.__module__}.{c.__qualname__}.{name}"
        for c in found
        if not table_says_its_unit(c)
        for name in numbers(c)
        if not says_its_unit(name)
    )
    assert not silent, "\n".join(silent)


def test_the_walk_would_find_a_number_without_unit() -> None:
    @dataclasses.dataclass
    class Speed:
        """How fast."""

        decode: float
        ttft_s: float

    assert [n for n in numbers(Speed) if not says_its_unit(n)] == ["decode"]
    assert not table_says_its_unit(Speed)
