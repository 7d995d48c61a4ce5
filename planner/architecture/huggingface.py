"""From a Hugging Face `config.json` to a catalog entry.

Absent keys take the library's defaults. A key that no family knows is an error that names it, because a
misspelt or new key could change the shape; keys known to change no tensor are ignored on purpose.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from planner.architecture.hf import (
    encoders,
    gemma,
    gpt,
    hybrid,
    llama,
    llama_kin,
    media,
    mla,
    moe,
    moe_local,
    qwen,
    vision_language,
)
from planner.architecture.hf.parts import Family
from planner.architecture.hf.reader import Config
from planner.architecture.schema import Architecture, ModelEntry, Task
from planner.architecture.schema_text import DecoderArchitecture
from planner.errors import InputError, UnknownNameError

FAMILIES: Mapping[str, Family] = (
    llama.FAMILIES
    | llama_kin.FAMILIES
    | qwen.FAMILIES
    | gpt.FAMILIES
    | moe.FAMILIES
    | moe_local.FAMILIES
    | mla.FAMILIES
    | hybrid.FAMILIES
    | gemma.FAMILIES
    | encoders.FAMILIES
    | media.FAMILIES
    | vision_language.FAMILIES
)
NAMED_LIKE_BARE = frozenset({"ChatGLMModel", "GPT2DoubleHeadsModel"})
"""Classes with a vocabulary projection whose configs name the class without it."""
NO_DTYPE = "float32"
"""What the library loads where a config names no type."""


def entry_from_config(config: Mapping[str, Any], *, id: str, source: str, as_of: str = "undated") -> ModelEntry:
    """The catalog entry a `config.json` describes.

    Raises UnknownNameError for an unknown `model_type`, InputError for unknown keys, impossible shapes and
    values of the wrong type.
    """
    family = _family(config)
    c = Config(config, defaults=family.defaults, aliases=family.aliases)
    try:
        architecture = family.read(c)
    except ValidationError as err:
        raise InputError(*(f"{id}: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in err.errors())) from err
    except InputError as err:
        raise InputError(*(f"{id}: {message}" for message in err.messages)) from err
    context = _context(c, family, config)
    dtype = c.word("dtype", c.word("torch_dtype", NO_DTYPE))
    problems = c.problems()
    if problems:
        raise InputError(*(f"{id}: {problem}" for problem in problems))
    task, architecture = _headless(config, family.task, architecture)
    return ModelEntry(
        id=id,
        family=family.name,
        task=task,
        native_dtype=dtype,
        max_context=context,
        architecture=architecture,
        source=source,
        as_of=as_of,
        confidence="medium",
    )


def _family(config: Mapping[str, Any]) -> Family:
    kind = config.get("model_type")
    if not isinstance(kind, str) or not kind:
        hint = "; a diffusers pipeline cannot be imported" if "_class_name" in config else ""
        raise InputError(f"model_type is missing from the config{hint}; known: {', '.join(sorted(FAMILIES))}")
    if kind not in FAMILIES:
        raise UnknownNameError("model_type", kind, FAMILIES)
    return FAMILIES[kind]


def _context(c: Config, family: Family, config: Mapping[str, Any]) -> int | None:
    outer, _, inner = family.context_key.rpartition(".")
    if outer:
        part = config.get(outer)
        found = part.get(inner) if isinstance(part, Mapping) else config.get(inner)
    else:
        found = c.raw(inner)
    return found if isinstance(found, int) and found > 0 else None


def _headless(config: Mapping[str, Any], task: Task, architecture: Architecture) -> tuple[Task, Architecture]:
    """A decoder saved as `...Model` has no vocabulary projection: it serves embeddings."""
    saved = str((config.get("architectures") or [""])[0])
    bare = saved.endswith("Model") and not saved.endswith(("LMModel", "LMHeadModel")) and saved not in NAMED_LIKE_BARE
    if bare and task == "text-generation" and isinstance(architecture, DecoderArchitecture):
        return "embedding", architecture.model_copy(update={"lm_head": False})
    return task, architecture
