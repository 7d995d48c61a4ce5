"""Validation errors -> problems in our words: where in the document, what is wrong, the nearest valid value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

from planner.errors import near_matches
from planner.spec.base import PROBLEMS, WRONG_KIND, kind_of
from planner.spec.types import InferTargets, InferWorkload, Spec, TrainTargets, TrainWorkload
from planner.spec.yaml_guard import core_value

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Path = tuple[str | int, ...]
MAX_SHOWN = 60
"""Characters of a value that a message quotes."""
MAX_LISTED = 12
"""Valid values or keys that a message lists in full."""

_WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
    "dict_type": "a mapping of keys to values",
    "mapping_type": "a mapping of keys to values",
    "tuple_type": "a list",
    "list_type": "a list",
}
_BOUNDS = {
    "greater_than": ("gt", "must be more than"),
    "greater_than_equal": ("ge", "must be at least"),
    "less_than": ("lt", "must be less than"),
    "less_than_equal": ("le", "must be at most"),
}


@dataclass(frozen=True, slots=True)
class Found:
    """One problem: the path it is shown at, whether the key itself is at fault, and what is wrong."""

    path: Path
    at_key: bool
    what: str


def explain(errors: Iterable[ErrorDetails], data: object) -> Iterator[Found]:
    """Our words for pydantic's errors about `data`."""
    for error in errors:
        kind, loc, context = error["type"], error["loc"], error.get("ctx", {})
        path = inside(loc, data)
        match kind:
            case "default_factory_not_called":
                continue  # only says that an earlier key is wrong
            case "too_short" if error["input"]:
                continue  # counts the elements that are right; the wrong ones have their own message
            case "spec_problems":
                assert kind == PROBLEMS
                yield from (
                    Found((*path, *inside(at, at_path(data, path))), False, what) for at, what in context["problems"]
                )
            case "missing":
                yield Found(path, False, f"`{loc[-1]}` is missing")
            case "extra_forbidden":
                yield Found(path, True, unknown_key(str(loc[-1]), loc[:-1]))
            case "union_tag_not_found":
                yield Found(path, False, "`mode` is missing; one of infer, train")
            case "union_tag_invalid":
                yield Found((*path, "mode"), False, unknown_value(context["tag"], ("infer", "train")))
            case "literal_error":
                yield Found(path, False, unknown_value(error["input"], literal_values(context["expected"])))
            case _:
                yield Found(path, loc[-1:] == ("[key]",), wrong_value(kind, error, context))


def at_path(data: Any, path: Path) -> Any:
    """The value at a path that exists."""
    for part in path:
        data = data[part]
    return data


def inside(loc: Iterable[Any], data: Any) -> Path:
    """The parts of a pydantic location that exist in the document (names of union branches do not)."""
    path: list[str | int] = []
    for part in loc:
        in_map = isinstance(data, dict) and part in data
        if in_map or (isinstance(data, list) and isinstance(part, int) and part < len(data)):
            data = data[part]
            path.append(part)
    return tuple(path)


def wrong_value(kind: str, error: ErrorDetails, context: dict[str, Any]) -> str:
    """What is wrong with a value of the wrong type, size or form."""
    value = error["input"]
    if kind in _WANTED:
        return f"expected {_WANTED[kind]}, got {shown(value)}{hint(kind, value)}"
    if kind == WRONG_KIND:
        return f"{error['msg']}; got {shown(value)}"
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        bound = context[key]
        return f"{shown(value)} {words} {bound:,}" if isinstance(bound, int) else f"{shown(value)} {words} {bound:g}"
    match kind:
        case "value_error":
            return str(context["error"])
        case "too_short" | "string_too_short":
            return "is empty; give at least one" if kind == "too_short" else "is empty"
        case "too_long" | "string_too_long":
            return f"is too long; at most {context['max_length']}"
        case "string_pattern_mismatch":
            return f"{shown(value)} has not the form expected: {pattern_in_words(context['pattern'])}"
        case _:
            return error["msg"]


def pattern_in_words(pattern: str) -> str:
    """What a text must look like."""
    if "#" in pattern:
        return "a colour such as #0B5FFF"
    return "an engine such as vllm or vllm@0.11.0" if "@" in pattern else "an id or a glob such as h100-*"


def shown(value: object) -> str:
    """A value as a message quotes it."""
    match kind_of(value):
        case "empty":
            return "nothing (the key is empty)"
        case "flag":
            return "true" if value else "false"
        case "text":
            text = repr(value)
            return f"the text {text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + '...'}"
        case "map":
            return "a mapping"
        case "list":
            return "a list"
        case _:
            return repr(value)


def hint(kind: str, value: object) -> str:
    """The way out, where the value gives it away."""
    wants_number = kind in ("int_type", "float_type", "int_from_float")
    if isinstance(value, float) and wants_number and value.is_integer():
        return f"; write {int(value)}"
    if isinstance(value, str) and wants_number:
        plain = value.replace(",", "").replace("_", "").strip()
        if plain != value and is_number(plain):
            return f"; write {plain}"
        if is_number(plain):
            return "; take the quotes away"
    if isinstance(value, str) and kind in ("model_type", "dict_type", "model_attributes_type") and ":" in value:
        return "; is a space missing after the colon?"
    if isinstance(value, str) and kind == "bool_type" and value.casefold() in ("yes", "on", "no", "off"):
        return f"; write {'true' if value.casefold() in ('yes', 'on') else 'false'}"
    return ""


def is_number(text: str) -> bool:
    """True where YAML reads the text as a finite number."""
    try:
        return kind_of(core_value(text)) in ("number", "decimal")
    except ValueError:
        return False


def literal_values(expected: str) -> tuple[str, ...]:
    """The values in pydantic's text `'a', 'b' or 'c'`."""
    return tuple(re.findall(r"'([^']*)'", expected)) or (expected,)


def unknown_value(value: object, known: tuple[str, ...]) -> str:
    """A value that is not one of a few."""
    given = value if isinstance(value, str) else ""
    near = near_matches(given, known) if given else ()
    quoted = repr(value)[:MAX_SHOWN] if isinstance(value, str) else shown(value)
    parts = [f"unknown value {quoted}"]
    if near:
        parts.append(f"nearest: {', '.join(near)}")
    if len(known) <= MAX_LISTED or not near:
        parts.append(f"one of {', '.join(known)}")
    return "; ".join(parts)


_TWINS: tuple[tuple[str, type[BaseModel], type[BaseModel]], ...] = (
    ("infer", TrainWorkload, InferWorkload),
    ("train", InferWorkload, TrainWorkload),
    ("infer", TrainTargets, InferTargets),
    ("train", InferTargets, TrainTargets),
)


# --- keys --------------------------------------------------------------------------------------------


def unknown_key(key: str, loc: Path) -> str:
    """A key that its mapping does not have: the nearest one, or the place it belongs to."""
    models = models_at(loc)
    known = sorted({k for m in models for k in keys_of(m)})
    shown_key = repr(key)[:MAX_SHOWN]
    for mode, own, other in _TWINS:
        if own in models and other not in models and key in keys_of(other):
            return f"the key {shown_key} belongs to mode: {mode}"
    if near := near_matches(key, known):
        return f"unknown key {shown_key}; nearest: {', '.join(near)}"
    if places := sorted(places_of(key)):
        return f"unknown key {shown_key} here; it belongs to {' or '.join(places)}"
    return f"unknown key {shown_key}; one of {', '.join(known)}"


def keys_of(model: type[BaseModel]) -> tuple[str, ...]:
    """The keys of a type, as they stand in the document."""
    return tuple(f.alias or name for name, f in model.model_fields.items())


def models_at(loc: Path) -> set[type[BaseModel]]:
    """The types that may stand at a pydantic location."""
    here: set[type[BaseModel]] = {Spec}
    for part in loc:
        modes = {m for m in here if part in get_args(m.model_fields["mode"].annotation)} if is_modal(here) else set()
        below = {
            b
            for m in here
            for n, f in m.model_fields.items()
            if part == (f.alias or n)
            for b in models_in(f.annotation)
        }
        here = modes or below or here
    return here


def is_modal(models: set[type[BaseModel]]) -> bool:
    """True for the union of the two kinds of workload."""
    return models == {InferWorkload, TrainWorkload}


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """The spec types inside an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from models_in(argument)


def places_of(key: str) -> set[str]:
    """The paths at which a key is known."""
    found: set[str] = set()
    waiting: list[tuple[str, type[BaseModel]]] = [("", Spec)]
    while waiting:
        place, model = waiting.pop()
        for name, field in model.model_fields.items():
            path = f"{place}.{field.alias or name}".lstrip(".")
            if key == (field.alias or name):
                found.add(f"`{path}`")
            waiting += [(path, m) for m in models_in(field.annotation)]
    return found
