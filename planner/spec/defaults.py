"""A spec with every default written out, as YAML that loads to the same spec."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from pydantic import BaseModel

from planner.spec.types import Spec
from planner.spec.yaml_guard import core_value

FIRST_KEYS = ("version", "name", "model", "mode", "engine", "sequence", "traffic", "batch", "precision")
LAST_KEYS = ("targets", "engine_options", "pin", "workloads", "report", "periods")
_PLAIN = re.compile(r"[A-Za-z][\w./@+-]*")
DEFAULT_NOTE = "  # default"


def resolved_yaml(spec: Spec) -> str:
    """The spec as YAML with all its defaults, each marked `# default`; a key without either is left out."""
    return "\n".join(_model(spec)) + "\n"


def _ordered(model: BaseModel) -> list[str]:
    names = list(type(model).model_fields)
    middle = [n for n in names if n not in FIRST_KEYS and n not in LAST_KEYS]
    return [n for n in FIRST_KEYS if n in names] + middle + [n for n in LAST_KEYS if n in names]


def is_pinned_instead(model: BaseModel, key: str) -> bool:
    """True for a default that the workload's pin replaces: written out, it would contradict the pin."""
    pin = getattr(model, "pin", None)
    return pin is not None and key not in model.model_fields_set and getattr(pin, key, None) is not None


def _model(model: BaseModel) -> Iterator[str]:
    """The lines of a mapping, without indent."""
    for name in _ordered(model):
        value = getattr(model, name)
        if value is None or is_pinned_instead(model, name):
            continue
        key = type(model).model_fields[name].alias or name
        note = "" if name in model.model_fields_set else DEFAULT_NOTE
        if isinstance(value, BaseModel):
            lines = list(_model(value))
            yield f"{key}:{note}" if lines else f"{key}: {{}}{note}"
            yield from (f"  {line.removesuffix(DEFAULT_NOTE) if note else line}" for line in lines)
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            yield f"{key}:{note}"
            for item in value:
                lines = list(_model(item))
                yield from (f"  {'-' if n == 0 else ' '} {line}" for n, line in enumerate(lines))
        else:
            yield f"{key}: {_flow(value)}{note}"


def _flow(value: object) -> str:
    """A value on one line."""
    match value:
        case str():
            return _text(value)
        case tuple():
            return f"[{', '.join(_flow(v) for v in value)}]"
        case Mapping():
            return f"{{{', '.join(f'{_text(str(k))}: {_flow(v)}' for k, v in value.items())}}}"
        case list():
            return f"[{', '.join(_flow(v) for v in value)}]"
        case _:
            return json.dumps(value, allow_nan=False)


def _text(text: str) -> str:
    """A text, in quotes where YAML would read it as something else."""
    plain = _PLAIN.fullmatch(text) and isinstance(core_value(text), str)
    return text if plain else json.dumps(text, ensure_ascii=False)
