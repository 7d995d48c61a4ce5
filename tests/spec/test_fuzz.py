"""Whatever is in the file: a spec, or an `InputError` that can be printed; never another exception."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import InputError
from planner.spec.load import load_spec_text, spec_from_mapping
from planner.spec.messages import keys_of
from planner.spec.starter import starter_spec
from planner.spec.types import Fleet, InferWorkload, Limits, Pin, Spec, TrainWorkload
from planner.spec.yaml_guard import YamlError, parse

KEYS = sorted({k for t in (Spec, Fleet, Limits, Pin, InferWorkload, TrainWorkload) for k in keys_of(t)})
WORDS = [
    "auto",
    "infer",
    "train",
    "bf16",
    "none",
    "gpt2",
    "h100-*",
    "lora",
    "",
    "1e3",
    "../x.json",
    "\u202e",
    "x" * 300,
]
SPLINTERS = ["", "\t", "{", "]", "&a ", "*a", "!!x ", "\n", ": ", "- ", "\ud800", "\x1b", "é", "0", "'"]
modes = st.sampled_from(["infer", "train"])
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS) | st.text(max_size=8)
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=25,
)


def complaints(load: Callable[[], object]) -> tuple[str, ...]:
    """The messages of the InputError or YamlError that `load` raises; any other exception fails the test."""
    try:
        load()
    except InputError as err:
        return err.messages
    except YamlError as err:
        return (f"{err.line}:{err.column}: {err.what}",)
    return ()


def printable(messages: tuple[str, ...]) -> bool:
    """True where the messages can go to any terminal, and are not too many."""
    text = "".join(messages)
    return len(messages) <= 21 and "\x1b" not in text and text.encode("utf-8").decode() == text


@given(st.dictionaries(st.sampled_from(KEYS), trees, max_size=6), st.lists(trees, max_size=3))
@settings(max_examples=60, deadline=None)
def test_any_tree_is_a_spec_or_an_input_error(top: dict[str, object], workloads: list[object]) -> None:
    for data in (top, {**top, "workloads": workloads}):
        assert complaints(partial(spec_from_mapping, data))


@given(st.lists(st.dictionaries(st.sampled_from(KEYS), trees, max_size=6), max_size=3), modes)
@settings(max_examples=100, deadline=None)
def test_any_workload_is_one_or_an_input_error(workloads: list[dict[str, object]], mode: str) -> None:
    base = {"model": "gpt2", "mode": mode, "sequence": 8, "batch": 8}
    data = {"workloads": [{**base, **w} for w in workloads]}
    assert len(complaints(lambda: spec_from_mapping(data))) <= 21


@given(st.integers(0, 2**32), st.integers(1, 6))
@settings(max_examples=200, deadline=None)
def test_a_damaged_spec_is_a_spec_or_an_input_error(seed: int, num_cuts: int) -> None:
    chance = random.Random(seed)
    text = starter_spec()
    for _ in range(num_cuts):
        start = chance.randrange(len(text))
        text = text[:start] + chance.choice(SPLINTERS) + text[start + chance.randrange(12) :]
    assert printable(complaints(lambda: load_spec_text(text)))


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_yaml_or_a_yaml_error(raw: bytes) -> None:
    assert printable(complaints(lambda: parse(raw)))


@given(st.text(alphabet="ab:-[]{}&*!#|>'\"% \n\t,?~0.", max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_punctuation_is_an_input_error(text: str) -> None:
    messages = complaints(lambda: load_spec_text(text))
    assert messages
    assert printable(messages)
