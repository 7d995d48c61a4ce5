"""Right-to-left text keeps numbers, units and names in their own order, and loses no character."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.report.bidi import ISOLATE, MARK, POP, isolated
from planner.report.language import speaking

INVISIBLE = str.maketrans("", "", ISOLATE + POP + MARK)
texts = st.text(alphabet=st.sampled_from([*"ab9.,;:()[] ×/%+-−«»", "ب", "ن", "\u200c", "۴", "،"]), max_size=40)


@given(texts)
def test_no_character_is_lost_and_every_isolate_is_closed(text: str) -> None:
    with speaking("fa"):
        out = isolated(text)
    assert out.translate(INVISIBLE) == text
    depth = 0
    for char in out:
        depth += (char == ISOLATE) - (char == POP)
        assert depth in (0, 1)
    assert depth == 0


@given(texts)
def test_no_letter_from_right_to_left_is_inside_an_isolate(text: str) -> None:
    with speaking("fa"):
        out = isolated(text)
    inside = [part.split(POP)[0] for part in out.split(ISOLATE)[1:]]
    assert not any(letter in part for part in inside for letter in "بن")


@given(texts)
def test_text_from_left_to_right_is_left_alone(text: str) -> None:
    assert isolated(text) == text
    with speaking("de"):
        assert isolated(text) == text


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ("بها 27.64 USD/h است.", ["27.64 USD/h"]),
        ("اجارهٔ 2 × p5.48xlarge (16 × H100 80 GB) به بها", ["2 × p5.48xlarge (16 × H100 80 GB)"]),
        ("قیمت owned:dgx-h100 (موجود) کم است", ["owned:dgx-h100"]),
        ("روی NVIDIA L40S. 2 رونوشت", ["NVIDIA L40S"]),
        ("رشد +3.5 % در سال", ["+3.5 %"]),
        ("(fp8، TP 2)", ["fp8", "TP 2"]),
        ("۲۷٫۶۴ GiB از ۸۰", ["۲۷٫۶۴ GiB"]),
        ("the price is low", ["the price is low"]),
        ("1.5×", ["1.5×"]),
        ("6 %", ["6 %"]),
        ("تقاضا، 1 = تقاضای طرح", []),
        ("خطای ± 2.07 GiB", ["± 2.07 GiB"]),
    ],
)
def test_runs_are_what_a_reader_takes_as_one(text: str, runs: list[str]) -> None:
    with speaking("fa"):
        out = isolated(text)
    assert [part.split(POP)[0].replace(MARK, "") for part in out.split(ISOLATE)[1:]] == runs


@pytest.mark.parametrize("text", ["workload-1", "#0B5FFF", "12.5%", "tone-3", "optimal", "6 4", ""])
def test_what_a_page_is_built_with_is_not_touched(text: str) -> None:
    with speaking("fa"):
        assert isolated(text) == text
