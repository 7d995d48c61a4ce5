"""The YAML reader: what it refuses, how fast, and what plain scalars mean."""

from __future__ import annotations

import time

import pytest

from planner.spec.yaml_guard import MAX_BYTES, MAX_DEPTH, YamlError, parse


def refusal(raw: bytes) -> tuple[int, int, str]:
    """Line, column and message of the refusal of `raw`."""
    with pytest.raises(YamlError) as caught:
        parse(raw)
    return caught.value.line, caught.value.column, caught.value.what


REFUSED = {
    "empty file": (b"", 1, 1, "the file is empty"),
    "only spaces": (b" \n \n", 1, 1, "the file is empty"),
    "only comments": (b"# one\n# two\n", 1, 1, "only comments"),
    "NUL": (b"a: 1\nb: \0", 2, 4, "NUL byte"),
    "UTF-16 with a BOM": ("a: 1\n".encode("utf-16"), 1, 1, "UTF-16; save it as UTF-8"),
    "UTF-16 without a BOM": ("a: 1\n".encode("utf-16-le"), 1, 2, "UTF-16: save it as UTF-8"),
    "Latin-1": ("a: 1\nb: ü".encode("latin-1"), 2, 4, "byte 0xfc is not UTF-8"),
    "binary": (bytes(range(1, 256)), 2, 118, "byte 0x80 is not UTF-8"),
    "raw escape character": (b"a: \x1b[31m", 1, 4, "control character U+001B"),
    "escaped escape character": (b'a: "\\e[31m"', 1, 4, "control character U+001B"),
    "lone surrogate": (b'a: "\\ud800"', 1, 7, "invalid Unicode character escape"),
    "encoded lone surrogate": (b"a: \xed\xa0\x80", 1, 4, "byte 0xed is not UTF-8"),
    "tab as indentation": (b"a:\n\tb: 1\n", 2, 1, "a tab in the indentation; YAML wants spaces"),
    "tab after spaces": (b"a:\n  - b\n  \t- c: [\n", 3, 3, "a tab in the indentation"),
    "open bracket": (
        b"a: [1, 2\n",
        2,
        1,
        "did not find expected ',' or ']' (while parsing a flow sequence that began at line 1)",
    ),
    "two colons": (b"a: b: c", 1, 5, "mapping values are not allowed"),
    "duplicate key": (b"a: 1\nb: 2\na: 3\n", 3, 1, "the key 'a' stands here twice; the first is at 1:1"),
    "duplicate key in quotes": (b"{a: 1, 'a': 2}", 1, 8, "the first is at 1:2"),
    "number as key": (b"1: 2", 1, 1, "a key must be text"),
    "list as key": (b"? [a]\n: b", 1, 3, "a key must be text"),
    "merge key": (b"a: &x {b: 1}\nc: {<<: *x}", 2, 5, "merge keys (<<) are not part of YAML 1.2"),
    "tag": (b"a: !!int x", 1, 4, "the tag '!!int' is not allowed"),
    "python tag": (
        b"!!python/object/apply:os.system [id]",
        1,
        1,
        "the tag '!!python/object/apply:os.system' is not allowed",
    ),
    "own tag": (b"a: !thing {b: 1}", 1, 4, "the tag '!thing' is not allowed"),
    "tag directive": (b"%TAG ! tag:x,2000:\n---\na: 1", 1, 1, "%TAG is not allowed"),
    "two documents": (b"a: 1\n---\nb: 2\n", 2, 1, "a second document starts here"),
    "recursive anchor": (b"a: &x [1, *x]", 1, 11, "stands inside its own anchor"),
    "recursive mapping": (b"&x {a: {b: *x}}", 1, 12, "a value cannot hold itself"),
    "unknown alias": (b"a: *x", 1, 4, "the alias *x has no anchor &x before it"),
    "not a number": (b"a: .nan", 1, 4, ".nan is not a finite number"),
    "infinity": (b"a: -.INF", 1, 4, "-.INF is not a finite number"),
    "float overflow": (b"a: 1e400", 1, 4, "1e400 is too large"),
    "endless integer": (b"a: " + b"9" * 5000, 1, 4, "a number of 5000 characters; at most 40"),
    "too many bytes": (b"#" * (MAX_BYTES + 1), 1, 1, "at most 1,048,576"),
    "too many aliases": (b"a: &x 1\nb: [" + b"*x, " * 101 + b"]", 2, 405, "more than 100 aliases"),
}


@pytest.mark.parametrize(("raw", "line", "column", "what"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_accepted_is_named_with_its_place(raw: bytes, line: int, column: int, what: str) -> None:
    found_line, found_column, message = refusal(raw)
    assert what in message
    assert (found_line, found_column) == (line, column)


@pytest.mark.parametrize("opening", [b"[", b"{a: ", b"- ", b"{? "])
def test_a_hundred_thousand_brackets_neither_crash_nor_take_time(opening: bytes) -> None:
    raw = opening * 100_000
    began = time.perf_counter()
    _, _, message = refusal(raw[:MAX_BYTES])
    assert f"more than {MAX_DEPTH} levels" in message or "a key must be text" in message
    assert time.perf_counter() - began < 1


def test_an_alias_bomb_is_refused_before_it_grows() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    began = time.perf_counter()
    assert "200,000 values with aliases expanded" in refusal("\n".join(lines).encode())[2]
    assert time.perf_counter() - began < 1


def test_aliases_cannot_be_stacked_past_the_depth_limit() -> None:
    nest = MAX_DEPTH - 5
    first = "a: &a " + "[" * nest + "x" + "]" * nest
    second = "b: " + "[" * nest + "*a" + "]" * nest
    assert "levels deep" in refusal(f"{first}\n{second}".encode())[2]


def test_too_many_events_are_refused() -> None:
    assert "200,000 YAML events" in refusal(b"[" + b"a," * 250_000 + b"]")[2]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("12:30", "12:30"),
        ("2026-11-22", "2026-11-22"),
        ("010", 10),
        ("0o10", 8),
        ("0x10", 16),
        ("1_000", "1_000"),
        ("1e3", 1000.0),
        ("2.0e8", 2e8),
        (".5", 0.5),
        ("-7", -7),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("'10'", "10"),
        ('"true"', "true"),
        ("1.2.3", "1.2.3"),
        ("٨٠", "٨٠"),
        ("😀", "😀"),
    ],
)
def test_plain_scalars_follow_the_core_schema(text: str, value: object) -> None:
    data = parse(f"a: {text}\n".encode()).data()
    assert data == {"a": value}
    assert type(data["a"]) is type(value)


@pytest.mark.parametrize("raw", [b"\xef\xbb\xbfa: 1\n", b"a: 1\r\n", b"---\na: 1\n...\n", b"%YAML 1.2\n---\na: 1"])
def test_marks_of_other_editors_do_no_harm(raw: bytes) -> None:
    assert parse(raw).data() == {"a": 1}


def test_columns_count_characters_and_not_bytes() -> None:
    node = parse("{ü: 1, ä: [x]}".encode())
    assert node.entries is not None
    key, value = node.entries["ä"]
    assert (key.line, key.column, value.column) == (1, 8, 11)


def test_an_alias_stands_for_its_value() -> None:
    assert parse(b"a: &x {b: [1]}\nc: *x").data() == {"a": {"b": [1]}, "c": {"b": [1]}}
