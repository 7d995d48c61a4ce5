"""The quick YAML reader gives what the library gives, on every file that is shipped and on what catalogs never hold."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from planner.plain_yaml import load_yaml
from planner.resources import data_folder

FILES = sorted(data_folder("catalogs").rglob("*.yaml"))
ODD = (
    "",
    "# nothing\n",
    "text",
    "[]",
    "{}",
    "- 1\n- '1'\n- 1.5\n- 1e3\n- 0o17\n- 017\n- 0x1f\n- 1_000\n- ~\n",
    "- yes\n- off\n- 2026-02-28\n- 12:30\n- .inf\n- ''\n",
    "['<<', '=', \"=\"]",
    "a: {b: [1, {c: d}], e: }\nf:\n- - 1\n  - 2\n",
    "a: 1\na: 2\n",
    "1: one\n1.5: half\ntrue: yes\n~: nothing\n2026-02-28: day\n",
    "base: &b {x: 1}\nmore:\n  <<: *b\n  y: 2\n",
    "plain: {<<: {x: 1}, y: 2}\n",
    "- &a [1]\n- *a\n",
    "- !!str 5\n- !!set {a, b}\n- !!binary aGk=\n",
    "'<<': 3\n",
    '"quoted": "5"\n',
    "? a\n: b\n",
    "text: |\n  two\n  lines\nfolded: >-\n  one\n  line\n",
)
REFUSED = ("a: [1", "- a\n---\n- b\n", "a: *nowhere", "a:\n\t- b", "{[a]: 1}", "!!python/none x", "[=]")
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc<1", max_size=3), inner, max_size=4),
    max_leaves=12,
)


def library(text: str | bytes) -> Any:
    return yaml.load(text, Loader=yaml.CSafeLoader)


def test_there_are_catalogs_to_read() -> None:
    assert len(FILES) > 50


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_every_catalog_reads_as_the_library_reads_it(path: Any) -> None:
    data = path.read_bytes()
    assert repr(load_yaml(data)) == repr(library(data))


@pytest.mark.parametrize("text", ODD)
def test_rarities_read_as_the_library_reads_them(text: str) -> None:
    assert repr(load_yaml(text)) == repr(library(text))


@given(values)
def test_whatever_can_be_written_reads_back_as_with_the_library(value: Any) -> None:
    for flow, unicode in itertools.product((True, False), (True, False)):
        text = yaml.safe_dump(value, default_flow_style=flow, allow_unicode=unicode, sort_keys=False)
        assert repr(load_yaml(text)) == repr(library(text))


@pytest.mark.parametrize(
    "text", ["a: [1", "- a\n---\n- b\n", "a: *nowhere", "a:\n\t- b", "{[a]: 1}", "!!python/none x"]
)
def test_what_the_library_refuses_is_refused(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        load_yaml(text)


def test_lists_read_twice_are_not_shared() -> None:
    first, second = load_yaml("[[1]]"), load_yaml("[[1]]")
    first[0].append(2)
    assert second == [[1]]
