"""Files that a spec names: they lie in its folder (or a folder the user allows), are regular and small."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from planner.spec.yaml_guard import MAX_BYTES


class FileError(Exception):
    """A file named in a spec cannot be used; the message says why."""


def looks_like_path(model: str) -> bool:
    """True where a model is given as a path and not as a catalog id (which may hold a slash).

    >>> [looks_like_path(m) for m in ("gpt2", "org/model", "config.json", "./model")]
    [False, False, True, True]
    """
    return model.casefold().endswith(".json") or model.startswith((".", "/", "~", "\\")) or model[1:3] == ":\\"


def inside_folder(name: str, folder: Path | None, include_root: Path | None) -> Path:
    """The regular file that `name` leads to, links followed. Raises FileError where it lies outside."""
    if folder is None and include_root is None:
        raise FileError(f"{name!r} is a path, but this spec came from no folder; save it as a file")
    roots = [r.resolve() for r in (folder, include_root) if r is not None]
    written = Path(name)
    if written.is_absolute() and include_root is None:
        raise FileError(f"{name!r} is absolute; write the path from the spec's folder")
    try:
        real = (roots[0] / written).resolve()
        if not any(real.is_relative_to(r) for r in roots):
            raise FileError(f"{name!r} leads outside the spec's folder; copy the file into it")
        if not real.exists():
            raise FileError(f"{name!r}: there is no such file in the spec's folder")
        if not real.is_file():
            raise FileError(f"{name!r} is not a regular file")
        size = real.stat().st_size
    except (OSError, ValueError, RuntimeError) as err:
        raise FileError(f"{name!r} cannot be read: {err}") from None
    if size > MAX_BYTES:
        raise FileError(f"{name!r} has {size:,} bytes; at most {MAX_BYTES:,}")
    return real


def read_config(name: str, folder: Path | None, include_root: Path | None) -> dict[str, Any]:
    """The keys of the config.json at `name`; its `_name_or_path` becomes `name`. Raises FileError."""
    path = inside_folder(name, folder, include_root)
    try:
        config = json.loads(path.read_bytes(), parse_constant=_refuse_constant, parse_float=_finite)
        json.dumps(config, ensure_ascii=False).encode()
    except (OSError, ValueError, RecursionError) as err:
        what = "nested too deep" if isinstance(err, RecursionError) else err
        raise FileError(f"{name!r} is not the JSON of a config: {what}") from None
    if not isinstance(config, dict) or not config:
        raise FileError(f"{name!r} holds no mapping; a config.json is one")
    return {**config, "_name_or_path": name}


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not a finite number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large for a number")
    return number
