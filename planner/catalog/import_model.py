"""A Hugging Face `config.json` as an entry of the model catalog."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from planner.architecture.build import build_model
from planner.architecture.huggingface import entry_from_config
from planner.architecture.schema import ModelEntry
from planner.errors import InputError
from planner.units import MIB


def import_config(path: Path, model_id: str) -> str:
    """YAML text of the new entry, ready to be put into a file of catalogs/models.

    Raises InputError for a file that is no config, or one with a key that changes the shape and is not known.
    """
    config = read_config(path)
    entry = entry_from_config(config, id=model_id, source=f"config.json of {model_id}")
    if build_model(entry).params_total <= 0:
        raise InputError(f"{path}: derives no parameters")
    return entry_text(entry)


def read_config(path: Path) -> dict[str, Any]:
    """The keys of a config file. Raises InputError where it is missing, too large, or not a JSON object."""
    try:
        if path.stat().st_size > MIB:
            raise InputError(f"{path}: over 1 MiB, which no config.json is")
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise InputError(f"{path}: {err.strerror}") from err
    except (ValueError, RecursionError) as err:
        raise InputError(f"{path}: not JSON: {err}") from err
    if not isinstance(config, dict):
        raise InputError(f"{path}: holds no JSON object; a config.json starts with {{")
    return config


def entry_text(entry: ModelEntry) -> str:
    """One entry as the model catalog writes it: `id` first, `aliases` on the next line."""
    data = entry.model_dump(mode="json", exclude_defaults=True, by_alias=True)
    head = [f"- id: {scalar(entry.id)}", f"  aliases: [{', '.join(map(scalar, entry.aliases))}]"]
    rest = {key: value for key, value in data.items() if key not in ("id", "aliases")}
    # `kind` tells the types apart; as a default it would be left out.
    rest["architecture"] = {"kind": entry.architecture.kind, **rest["architecture"]}
    body = yaml.safe_dump(rest, sort_keys=False, allow_unicode=True, width=110)
    return "\n".join([*head, *(f"  {line}" for line in body.splitlines())]) + "\n"


def scalar(text: str) -> str:
    """A text as one YAML scalar."""
    dumped: str = yaml.safe_dump(text, default_flow_style=True, allow_unicode=True, width=10_000)
    return dumped.removesuffix("\n").removesuffix("\n...")
