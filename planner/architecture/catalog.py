"""The model catalog: a folder of YAML files, indexed by their text so that one entry can be read alone.

Each entry begins with `- id: <id>` in the first column and `  aliases: [...]` on the next line. The index
needs these lines only; an entry is parsed, validated and built when it is asked for.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml
from pydantic import ValidationError

from planner.architecture.build import build_model
from planner.architecture.schema import ModelEntry
from planner.architecture.types import Model
from planner.errors import InputError, UnknownNameError
from planner.plain_yaml import load_yaml

ENTRY = re.compile(r"^- id: (?P<id>\S+)\n  aliases: ?\[(?P<aliases>[^\]]*)\]", re.MULTILINE)
START = re.compile(r"^- ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where one entry lies."""

    id: str
    aliases: tuple[str, ...]
    path: Path
    line: int
    text: str


class ModelCatalog:
    """All models of a folder by id or alias, case-insensitive; a bare repository name serves where it is unique."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._built: dict[str, Model] = {}

    def ids(self) -> tuple[str, ...]:
        """Every id, in the order of the files."""
        return tuple(place.id for place in self._places)

    def get(self, name: str) -> Model:
        """The model called `name`; built once.

        Raises UnknownNameError with near matches, InputError where the entry is faulty.
        """
        key = name.casefold()
        if key not in self._built:
            self._built[key] = build_model(self.entry(name))
        return self._built[key]

    def entry(self, name: str) -> ModelEntry:
        """The catalog entry called `name`; raises like `get`."""
        place = self._by_name.get(name.casefold())
        if place is None:
            raise UnknownNameError("model", name, self.names())
        return _parse(place)

    def names(self) -> tuple[str, ...]:
        """Every id and alias, for error messages and completion."""
        return tuple(name for place in self._places for name in (place.id, *place.aliases))

    def check(self) -> list[str]:
        """Every problem of the catalog, as `file:line: what`; empty when all is well."""
        names = Counter(name.casefold() for place in self._places for name in {place.id, *place.aliases})
        problems = [
            f"{place.path.name}:{place.line}: {name!r} names more than one model"
            for place in self._places
            for name in (place.id, *place.aliases)
            if names[name.casefold()] > 1
        ]
        for place in self._places:
            try:
                entry = _parse(place)
            except InputError as err:
                problems += err.messages
                continue
            problems += [f"{place.path.name}:{place.line}: {place.id}: {what}" for what in _entry_problems(entry)]
        return problems

    @cached_property
    def _places(self) -> tuple[_Place, ...]:
        return tuple(place for path in sorted(self.folder.glob("*.yaml")) for place in _scan(path))

    @cached_property
    def _by_name(self) -> dict[str, _Place]:
        bare = Counter(_bare(place.id) for place in self._places)
        found = {_bare(place.id): place for place in self._places if bare[_bare(place.id)] == 1}
        found |= {alias.casefold(): place for place in self._places for alias in place.aliases}
        return found | {place.id.casefold(): place for place in self._places}


def _bare(model_id: str) -> str:
    return model_id.rsplit("/", 1)[-1].casefold()


def _scan(path: Path) -> list[_Place]:
    """The entries of one file, by text alone.

    Raises InputError where the file does not follow the format the index relies on.
    """
    text = path.read_text(encoding="utf-8")
    starts = [m.start() for m in START.finditer(text)]
    heads = {m.start(): m for m in ENTRY.finditer(text)}
    strays = [s for s in starts if s not in heads]
    if strays:
        line = text.count("\n", 0, strays[0]) + 1
        raise InputError(f"{path.name}:{line}: an entry begins with '- id: <id>' and, below, '  aliases: [...]'")
    return [
        _Place(
            id=heads[start]["id"],
            aliases=tuple(a.strip().strip("\"'") for a in heads[start]["aliases"].split(",") if a.strip()),
            path=path,
            line=text.count("\n", 0, start) + 1,
            text=text[start:end],
        )
        for start, end in zip(starts, [*starts[1:], len(text)], strict=True)
    ]


def _parse(place: _Place) -> ModelEntry:
    where = f"{place.path.name}:{place.line}: {place.id}"
    try:
        (data,) = load_yaml(place.text)
        return ModelEntry.model_validate(data)
    except yaml.YAMLError as err:
        raise InputError(f"{where}: {err}") from err
    except ValidationError as err:
        messages = (f"{where}: {'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in err.errors())
        raise InputError(*messages) from err


def _entry_problems(entry: ModelEntry) -> list[str]:
    """What the schema cannot see: empty provenance, and sizes that contradict each other."""
    problems = [f"{what} is empty" for what in ("source", "as_of") if not getattr(entry, what).strip()]
    try:
        model = build_model(entry)
    except InputError as err:
        return [*problems, *err.messages]
    if model.params_total <= 0 or not 0 < model.params_active <= model.params_total:
        problems.append(f"derives {model.params_total} parameters, {model.params_active} of them active")
    return problems
