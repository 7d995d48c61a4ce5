"""The quick writer of JSON writes what the library writes."""

from __future__ import annotations

import enum
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.plain_json import indented

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=20,
)


class Number(enum.IntEnum):
    TWO = 2


@given(values, st.booleans())
def test_any_plain_value_is_written_as_the_library_writes_it(value: Any, sort_keys: bool) -> None:
    expected = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1, sort_keys=sort_keys)
    assert indented(value, sort_keys=sort_keys) == expected


@pytest.mark.parametrize("value", [(1, (2,)), Number.TWO, [[], {}, [{}]], '\u2028\x7f"\\/\t', 1e22, -0.0, 5e-324])
def test_rarities_too(value: Any) -> None:
    assert indented(value) == json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1)


@pytest.mark.parametrize("value", [math.nan, math.inf, [-math.inf]])
def test_what_is_not_finite_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="not JSON"):
        indented(value)


@pytest.mark.parametrize("value", [{1, 2}, {1: 2}, b"x", object()])
def test_what_is_no_plain_data_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        indented(value)
