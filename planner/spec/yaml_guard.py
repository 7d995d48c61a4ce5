"""YAML bytes -> a tree of nodes with positions, or a `YamlError` that says where and what.

The parser never builds objects: it reads one event at a time and stops at the first limit passed, so neither deep
brackets (a crash in libyaml's own composer), alias bombs nor huge files cost time or memory. Plain scalars follow the
YAML 1.2 core schema: `no` and `on` are text, `1e3` is a number, `12:30` is text, `010` is 10.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from planner.units import MIB

MAX_BYTES = 1 * MIB
MAX_DEPTH = 40
MAX_EVENTS = 200_000
MAX_ALIASES = 100
MAX_NODES = 200_000
"""Nodes with aliases expanded."""
MAX_DIGITS = 40
"""Characters of a number."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Value = None | bool | int | float | str | list["Value"] | dict[str, "Value"]


class YamlError(Exception):
    """The text is not the YAML we accept; `line` and `column` count from 1."""

    def __init__(self, line: int, column: int, what: str) -> None:
        super().__init__(what)
        self.line = line
        self.column = column
        self.what = what


@dataclass(slots=True, eq=False)
class Node:
    """One value of the document, and where it stands (counted from 1)."""

    line: int
    column: int
    scalar: bool | int | float | str | None = None
    items: list[Node] | None = None
    """Elements of a list."""
    entries: dict[str, tuple[Node, Node]] | None = None
    """Key node and value node of each key of a mapping."""
    size: int = 1
    """Nodes in it with aliases expanded."""
    height: int = 0
    """Levels below it."""
    is_open: bool = field(default=False, repr=False)
    """True while its end has not been read."""

    def data(self) -> Value:
        """The plain Python value."""
        if self.items is not None:
            return [n.data() for n in self.items]
        if self.entries is not None:
            return {key: value.data() for key, (_, value) in self.entries.items()}
        return self.scalar


def parse(raw: bytes) -> Node:
    """The document in `raw`. Raises YamlError."""
    text = decode(raw)
    if not any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines()):
        what = "the file holds only comments" if text.strip() else "the file is empty"
        raise YamlError(1, 1, f"{what}; `plan init` writes a spec to start from")
    return _compose(text)


# --- bytes -> text -----------------------------------------------------------------------------------


def decode(raw: bytes) -> str:
    """UTF-8 text without forbidden characters. Raises YamlError."""
    if len(raw) > MAX_BYTES:
        raise YamlError(1, 1, f"the file has {len(raw):,} bytes; a spec has at most {MAX_BYTES:,}")
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise YamlError(1, 1, "the file is UTF-16; save it as UTF-8")
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    if b"\0" in raw:
        hint = "; this looks like UTF-16: save it as UTF-8" if raw[:200].count(b"\0") * 3 > len(raw[:200]) else ""
        raise YamlError(*_place(raw, raw.index(b"\0")), f"a NUL byte: this is not a text file{hint}")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as err:
        raise YamlError(
            *_place(raw, err.start), f"byte 0x{raw[err.start]:02x} is not UTF-8 text; save it as UTF-8"
        ) from None
    for found in re.finditer(r"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]", text):
        place = _place(text.encode(), len(text[: found.start()].encode()))
        raise YamlError(*place, f"the control character U+{ord(found[0]):04X}: this is not a text file, or take it out")
    return text


def _place(raw: bytes, offset: int) -> tuple[int, int]:
    """Line and column of a byte, counted from 1."""
    before = raw[:offset]
    start = before.rfind(b"\n") + 1
    return before.count(b"\n") + 1, len(before[start:].decode("utf-8", "replace")) + 1


# --- text -> nodes -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Frame:
    """A collection that is being read."""

    node: Node
    key: Node | None = None


def _compose(text: str) -> Node:
    """Read events into nodes with a stack of our own, so that no input can exhaust Python's."""
    root: Node | None = None
    stack: list[_Frame] = []
    anchors: dict[str, Node] = {}
    documents = aliases = nodes = 0
    for event in _events(text):
        line, column = _begin(event)
        match event:
            case yaml.DocumentStartEvent():
                documents += 1
                if documents > 1:
                    raise YamlError(
                        line, column, "a second document starts here; a spec is one document, so take out `---`"
                    )
                if event.tags:
                    raise YamlError(line, column, "the directive %TAG is not allowed")
                continue
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                _close(stack, line, column)
                continue
            case yaml.AliasEvent():
                aliases += 1
                node = _aliased(event.anchor or "", anchors, line, column)
                if aliases > MAX_ALIASES:
                    raise YamlError(line, column, f"more than {MAX_ALIASES} aliases; write the values out")
            case yaml.ScalarEvent():
                _refuse_tag(event.tag, line, column)
                node = Node(line, column, scalar=_scalar(event.value, event.implicit[0], line, column))
            case yaml.SequenceStartEvent():
                _refuse_tag(event.tag, line, column)
                node = Node(line, column, items=[], is_open=True)
            case yaml.MappingStartEvent():
                _refuse_tag(event.tag, line, column)
                node = Node(line, column, entries={}, is_open=True)
            case _:
                continue
        nodes += node.size
        if nodes > MAX_NODES:
            raise YamlError(line, column, f"more than {MAX_NODES:,} values with aliases expanded")
        if len(stack) + node.height > MAX_DEPTH:
            raise YamlError(line, column, f"nested more than {MAX_DEPTH} levels deep")
        if not isinstance(event, yaml.AliasEvent) and event.anchor is not None:
            anchors[event.anchor] = node
        if stack:
            _attach(stack[-1], node, line, column)
        else:
            root = node
        if node.is_open:
            stack.append(_Frame(node))
    if root is None:
        raise YamlError(1, 1, "the file is empty; `plan init` writes a spec to start from")
    return root


def _events(text: str) -> Iterator[yaml.Event]:
    """The parser's events up to the limit; its errors become ours."""
    try:
        for number, event in enumerate(yaml.parse(text, Loader=_LOADER)):
            if number > MAX_EVENTS:
                raise YamlError(*_begin(event), f"more than {MAX_EVENTS:,} YAML events")
            yield event
    except yaml.YAMLError as err:
        raise _from_yaml_error(err, text) from None


def _begin(event: yaml.Event) -> tuple[int, int]:
    """Line and column of an event, counted from 1."""
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)


def _from_yaml_error(err: yaml.YAMLError, text: str) -> YamlError:
    """The parser's complaint in our words."""
    mark = getattr(err, "problem_mark", None) or getattr(err, "context_mark", None)
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    lines = text.splitlines()
    for number in (line, line - 1):
        source = lines[number - 1] if 0 < number <= len(lines) else ""
        indent = source[: len(source) - len(source.lstrip())]
        if "\t" in indent:
            return YamlError(number, indent.index("\t") + 1, "a tab in the indentation; YAML wants spaces")
    problem = str(getattr(err, "problem", None) or err).splitlines()[0]
    context = getattr(err, "context", None)
    start = getattr(err, "context_mark", None)
    if context and start is not None and (start.line, start.column) != (line - 1, column - 1):
        problem += f" ({context} that began at line {start.line + 1})"
    if "undefined alias" in problem:
        problem += "; an alias needs its anchor (&name) before it"
    return YamlError(line, column, f"not valid YAML: {problem}")


def _refuse_tag(tag: str | None, line: int, column: int) -> None:
    if tag is not None:
        short = tag.replace("tag:yaml.org,2002:", "!!")
        raise YamlError(line, column, f"the tag {short!r} is not allowed; write the value without it")


def _aliased(anchor: str, anchors: dict[str, Node], line: int, column: int) -> Node:
    node = anchors.get(anchor)
    if node is None:
        raise YamlError(line, column, f"the alias *{anchor} has no anchor &{anchor} before it")
    if node.is_open:
        raise YamlError(line, column, f"the alias *{anchor} stands inside its own anchor; a value cannot hold itself")
    return node


def _attach(frame: _Frame, node: Node, line: int, column: int) -> None:
    """Put a node into the collection being read."""
    parent = frame.node
    if parent.items is not None:
        parent.items.append(node)
        return
    assert parent.entries is not None
    if frame.key is None:
        if node.items is not None or node.entries is not None or not isinstance(node.scalar, str):
            raise YamlError(line, column, "a key must be text; put other keys in quotes")
        if node.scalar == "<<":
            raise YamlError(line, column, "merge keys (<<) are not part of YAML 1.2; write the keys out")
        if node.scalar in parent.entries:
            first = parent.entries[node.scalar][0]
            what = f"the key {node.scalar!r} stands here twice; the first is at {first.line}:{first.column}"
            raise YamlError(line, column, what)
        frame.key = node
        return
    key = frame.key.scalar
    assert isinstance(key, str)
    parent.entries[key] = (frame.key, node)
    frame.key = None


def _close(stack: list[_Frame], line: int, column: int) -> None:
    """End the innermost collection and account for what it holds."""
    node = stack.pop().node
    node.is_open = False
    children = node.items if node.items is not None else [v for _, v in (node.entries or {}).values()]
    node.size = 1 + sum(c.size for c in children) + len(node.entries or ())
    node.height = 1 + max((c.height for c in children), default=0)
    if node.size > MAX_NODES:
        raise YamlError(line, column, f"more than {MAX_NODES:,} values with aliases expanded")


# --- scalars -----------------------------------------------------------------------------------------

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_FLAGS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def _scalar(text: str, plain: bool, line: int, column: int) -> bool | int | float | str | None:
    """The value of a scalar, checked for characters that nothing downstream can print."""
    try:
        value = core_value(text) if plain else text
    except ValueError as err:
        raise YamlError(line, column, str(err)) from None
    if isinstance(value, str):
        for c in value:
            if 0xD800 <= ord(c) <= 0xDFFF:
                raise YamlError(line, column, f"the lone surrogate U+{ord(c):04X}; it is half of a character")
            if unicodedata.category(c) == "Cc" and c not in "\n\t":
                raise YamlError(line, column, f"the control character U+{ord(c):04X} in a text; take it out")
    return value


def core_value(text: str) -> bool | int | float | str | None:
    """A plain scalar by the YAML 1.2 core schema. Raises ValueError for numbers that are not finite.

    >>> [core_value(t) for t in ("no", "1e3", "12:30", "010", "0x10", "~")]
    ['no', 1000.0, '12:30', 10, 16, None]
    """
    if text in _NULL:
        return None
    if text in _FLAGS:
        return _FLAGS[text]
    if not (text[0].isdigit() or text[0] in "+-."):
        return text
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"{text} is not a finite number")
    if not text.isascii() or not any(p.fullmatch(text) for p in (_INT, _OCTAL, _HEX, _FLOAT)):
        return text
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} characters; at most {MAX_DIGITS}")
    if _INT.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text):
        return int(text[2:], 8)
    if _HEX.fullmatch(text):
        return int(text, 16)
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large for a number")
    return number
