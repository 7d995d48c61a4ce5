"""A spec file -> `LoadedSpec`, or one `InputError` with every problem, each `file:line:column: path: what`."""

from __future__ import annotations

import hashlib
import stat
import sys
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from planner.errors import InputError, near_matches
from planner.spec.base import MAX_NAME_LENGTH
from planner.spec.files import FileError, looks_like_path, read_config
from planner.spec.logo import read_logo
from planner.spec.messages import MAX_SHOWN, Found, explain
from planner.spec.rules import name_problems
from planner.spec.types import UNNAMED, Spec, with_names
from planner.spec.yaml_guard import MAX_BYTES, Node, YamlError, parse

MAX_MESSAGES = 20
MAX_EXPLAINED = 500
"""Errors that are put into words before the first 20 by line are shown."""
STDIN = "-"
GENERIC_STEMS = frozenset({"workload", "workloads", "spec", "specs", "plan", "plans", "main", "index", "config"})
"""Names of files and folders that say nothing of what is in them."""


@dataclass(frozen=True, slots=True)
class LoadedSpec:
    """A spec and where each of its parts was written."""

    spec: Spec
    text_sha256: str
    """SHA-256 of the file's bytes, in hex."""
    source: str
    """The file as the user named it."""
    folder: Path | None
    """The folder that relative paths start from; None for text that came from no file."""
    root: Node = field(repr=False)
    unread_models: Mapping[str, str] = field(default_factory=dict)
    """Workloads whose config.json could not be read, each with the reason; empty unless asked to go on without."""
    logo: str = field(default="", repr=False)
    """The image of `report.logo` as a `data:` address."""

    def where(self, path: tuple[str | int, ...] = ()) -> str:
        """`file:line:column` of the value at a path such as ("workloads", "chat", "pin", "gpu").

        Workloads go by name or index. A part that the file leaves to its default has the place of what holds it.
        """
        if len(path) > 1 and path[0] == "workloads" and isinstance(path[1], str):
            names = [w.name for w in self.spec.workloads]
            path = ("workloads", names.index(path[1]) if path[1] in names else path[1], *path[2:])
        node, _ = find(self.root, path)
        return f"{self.source}:{node.line}:{node.column}"


def load_spec(path: Path, *, include_root: Path | None = None, configs_must_exist: bool = True) -> LoadedSpec:
    """Read and check a spec file (`-` is standard input). Raises InputError with every problem found.

    Models given as paths must lie in the spec's folder or in `include_root`. Without `configs_must_exist` a model
    file that cannot be read stands in `unread_models` and its workload keeps the path.
    """
    if str(path) == STDIN:
        raw = sys.stdin.buffer.read(MAX_BYTES + 1)
        return _load(raw, "<stdin>", None, include_root, configs_must_exist=configs_must_exist)
    loaded = _load(_read(path), str(path), path.parent, include_root, configs_must_exist=configs_must_exist)
    return loaded if "name" in loaded.spec.model_fields_set else replace(loaded, spec=named(loaded.spec, path))


def named(spec: Spec, path: Path) -> Spec:
    """The spec with the name that its file gives it, which counts as a default."""
    result = spec.model_copy(update={"name": default_plan_name(path.resolve())})
    result.model_fields_set.discard("name")
    return result


def default_plan_name(path: Path) -> str:
    """Name of the plan of an unnamed spec at a full path, so that specs of different files have folders of their own.

    >>> [default_plan_name(Path(p)) for p in ("/plans/chat.yaml", "/plans/tuning/workloads.yaml", "/spec.yml")]
    ['chat', 'tuning', 'plan']
    """
    for text in (path.stem, path.parent.name):
        plain = "".join(c if c.isalnum() or c in "._-" else "-" for c in unicodedata.normalize("NFC", text))
        name = plain.strip("._-")[:MAX_NAME_LENGTH]
        if name and name.casefold() not in GENERIC_STEMS:
            return name
    return UNNAMED


def load_spec_text(text: str, name: str = "<text>", *, folder: Path | None = None) -> LoadedSpec:
    """Check a spec that is in memory already; `name` stands in the messages. Raises InputError."""
    return _load(text.encode("utf-8", "surrogatepass"), name, folder, None)


def spec_from_mapping(data: Mapping[str, Any], name: str = "spec") -> Spec:
    """Check a spec built from flags or by a program; messages have no line. Raises InputError."""
    try:
        return Spec.model_validate(dict(data))
    except ValidationError as err:
        named = with_names(dict(data))
        found = [*explain(err.errors(include_url=False)[:MAX_EXPLAINED], data), *_late_problems(data)]
        lines = [f"{name}: {_titled(f.path, named)}{f.what}" for f in found]
        raise InputError(*_capped(list(dict.fromkeys(lines)))) from None


def find(root: Node, path: tuple[str | int, ...], *, at_key: bool = False) -> tuple[Node, int]:
    """The node at a path, or the nearest that holds it, and how many parts of the path were found."""
    node, key_node = root, root
    for depth, part in enumerate(path):
        if node.entries is not None and isinstance(part, str) and part in node.entries:
            key_node, node = node.entries[part]
        elif node.items is not None and isinstance(part, int) and 0 <= part < len(node.items):
            key_node = node = node.items[part]
        else:
            return node, depth
    return (key_node if at_key else node), len(path)


def _read(path: Path) -> bytes:
    """The bytes of a regular file of at most 1 MiB."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{path}: is a folder; name the spec file in it")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path}: is not a regular file; write `-` to read standard input")
        if status.st_size > MAX_BYTES:
            raise InputError(f"{path}: has {status.st_size:,} bytes; a spec has at most {MAX_BYTES:,}")
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        beside = sorted(p.name for p in path.parent.glob("*.y*ml")) if path.parent.is_dir() else []
        near = near_matches(path.name, beside) or tuple(beside[:3])
        tail = f"; nearest: {', '.join(near)}" if near else "; `plan init` writes one"
        raise InputError(f"{path}: there is no such file{tail}") from None
    except (OSError, ValueError) as err:
        reason = err.strerror if isinstance(err, OSError) else err
        raise InputError(f"{path}: cannot be read: {reason}") from None


def _load(
    raw: bytes, source: str, folder: Path | None, include_root: Path | None, *, configs_must_exist: bool = True
) -> LoadedSpec:
    try:
        root = parse(raw)
    except YamlError as err:
        raise InputError(f"{source}:{err.line}:{err.column}: {err.what}") from None
    data = root.data()
    found: list[Found] = []
    if not isinstance(data, dict):
        found.append(Found((), False, "a spec is a mapping; it begins with a key such as `workloads:`"))
        raise InputError(*_messages(found, root, source))
    read, found, unread = _with_configs(data, folder, include_root)
    logo, missing = _logo(data, folder, include_root)
    found += missing
    if configs_must_exist:
        found += unread
    unexplained = 0
    try:
        spec = Spec.model_validate(read)
    except ValidationError as err:
        errors = err.errors(include_url=False)
        found += [*explain(errors[:MAX_EXPLAINED], data), *_late_problems(data)]
        unexplained = max(0, len(errors) - MAX_EXPLAINED)
    if found:
        raise InputError(*_messages(found, root, source, unexplained))
    names = {spec.workloads[int(f.path[1])].name: f.what for f in unread}
    return LoadedSpec(spec, hashlib.sha256(raw).hexdigest(), source, folder, root, names, logo)


def _logo(data: dict[str, Any], folder: Path | None, include_root: Path | None) -> tuple[str, list[Found]]:
    """The image that `report.logo` names, empty for none, and what is wrong with it."""
    report = data.get("report")
    if not isinstance(report, dict) or not isinstance(report.get("logo"), str):
        return "", []
    try:
        return read_logo(report["logo"], folder, include_root), []
    except FileError as err:
        return "", [Found(("report", "logo"), False, str(err))]


def _with_configs(
    data: dict[str, Any], folder: Path | None, include_root: Path | None
) -> tuple[dict[str, Any], list[Found], list[Found]]:
    """The raw spec with every config.json that a model names read in, the problems met on the way, and the configs
    that could not be read.
    """
    found: list[Found] = []
    unread: list[Found] = []
    workloads = data.get("workloads")
    if not isinstance(workloads, list):
        return data, found, unread
    read: list[Any] = []
    for index, workload in enumerate(workloads):
        model = workload.get("model") if isinstance(workload, dict) else None
        if isinstance(model, str) and looks_like_path(model):
            try:
                workload = {**workload, "model": read_config(model, folder, include_root)}
            except FileError as err:
                unread.append(Found(("workloads", index, "model"), False, str(err)))
        read.append(workload)
    return {**data, "workloads": read}, found, unread


def _late_problems(data: Mapping[str, Any]) -> list[Found]:
    """Problems between workloads, for a spec in which something else is wrong too."""
    named = with_names(dict(data))
    workloads = named["workloads"] if isinstance(named, dict) and isinstance(named.get("workloads"), list) else []
    names = [(i, w["name"]) for i, w in enumerate(workloads) if isinstance(w, dict) and isinstance(w.get("name"), str)]
    return [Found(path, False, what) for path, what in name_problems(names)]


def _messages(found: list[Found], root: Node, source: str, unexplained: int = 0) -> list[str]:
    """The problems as lines, in the order of the file, without repeats, at most 20 and the number of the others."""
    lines: list[tuple[int, int, str]] = []
    data = with_names(root.data())
    for problem in found:
        node, depth = find(root, problem.path, at_key=problem.at_key)
        shown = problem.path[:-1] if problem.at_key else problem.path
        lines.append((node.line, node.column, f"{_titled(shown[:depth], data)}{problem.what}"))
    unique = sorted(dict.fromkeys(lines))
    return _capped([f"{source}:{line}:{column}: {text}" for line, column, text in unique], unexplained)


def _capped(lines: list[str], unexplained: int = 0) -> list[str]:
    more = len(lines) + unexplained - MAX_MESSAGES
    return lines if more <= 0 else [*lines[:MAX_MESSAGES], f"... and {more} more"]


def _titled(path: tuple[str | int, ...], data: Any) -> str:
    """`workloads.chat.batch: `, workloads by name where they have one."""
    text = ""
    for part in path:
        data = data[part]
        name = data.get("name") if isinstance(data, dict) and text == "workloads" else None
        if isinstance(part, int):
            text += (
                f".{name}"
                if isinstance(name, str) and name.isprintable() and len(name) <= MAX_SHOWN
                else f"[{part + 1}]"
            )
        else:
            key = part if part.isprintable() and len(part) <= MAX_SHOWN else f"{part[:MAX_SHOWN]!r}"
            text += f".{key}" if text else key
    return f"{text}: " if text else ""
