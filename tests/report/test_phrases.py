"""Sentences of a plan are known, said in the report's language, and counted in its currency."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from string import Formatter
from typing import Any

import pytest

from planner.report.currency import Currency, counting_in
from planner.report.language import speaking
from planner.report.phrasebook import FRAGMENTS, SENTENCES
from planner.report.phrases import KINDS, Foreign, foreign, patterns, translated
from planner.resources import data_folder

HALF = Currency(code="EUR", per_usd=0.5, as_of="2026-11-01", source="a bank")


def sentences(plan: dict[str, Any]) -> Iterator[str]:
    """What other rooms wrote into a plan."""
    for w in plan["workloads"]:
        yield from (w["why"], *w["warnings"], w["cost"].get("basis", ""))
        yield from (r["reason"] for r in w["rejected"])
        yield from (a["why_not"] for a in w["alternatives"])
    yield from (*plan["warnings"], plan["solver"]["rounding"])
    yield from (str(entry.get("text", "")) for entry in plan.get("sensitivity") or [])
    trouble = plan.get("infeasible") or {}
    yield from (entry["text"] for key in ("conflict", "relaxations") for entry in trouble.get(key, []))
    yield from (r["reason"] for found in trouble.get("unplaceable", {}).values() for r in found)


@pytest.mark.parametrize("path", sorted(data_folder("plans").glob("*/plan.json")), ids=lambda p: p.parent.name)
def test_the_book_knows_every_sentence_of_the_shipped_plans(path: Path) -> None:
    said = {text for text in sentences(json.loads(path.read_text(encoding="utf-8"))) if text}
    assert said
    assert [text for text in sorted(said) if translated(text, SENTENCES) is None] == []


@pytest.mark.parametrize("path", sorted(data_folder("plans").glob("*/plan.json")), ids=lambda p: p.parent.name)
def test_in_english_and_usd_every_sentence_stays_as_it_is(path: Path) -> None:
    for text in sentences(json.loads(path.read_text(encoding="utf-8"))):
        assert foreign(text, longest=4000) == text


def test_names_and_numbers_are_put_into_the_translation() -> None:
    text = "weights in fp8 need 1,333.9 GiB on one GPU (tensor parallel 2, 3 nodes), it has 22.3 GiB"
    with speaking("de"):
        assert foreign(text) == (
            "Gewichte in fp8 brauchen 1.333,9 GiB auf einer GPU (Tensorparallelität 2, 3 Knoten), vorhanden sind "
            "22,3 GiB"
        )


def test_amounts_are_converted_and_limits_of_the_spec_are_not() -> None:
    with counting_in(HALF):
        assert foreign("the cheapest fleet with it costs 3.00 USD per hour more") == (
            "the cheapest fleet with it costs 1.50 EUR per hour more"
        )
        raised = foreign("raise fleet.limits.usd_per_hour to 30 USD per hour; the fleet then costs 30.00 USD per hour")
        assert raised == "raise fleet.limits.usd_per_hour to 30 USD per hour; the fleet then costs 15.00 EUR per hour"
        assert foreign("costs 3.00 USD in a way that no book knows").endswith("3.00 USD in a way that no book knows")


def test_an_unknown_sentence_stays_whole_and_is_marked_as_english() -> None:
    with speaking("fa"):
        found = foreign("nobody wrote this sentence")
        assert isinstance(found, Foreign)
        assert found == "nobody wrote this sentence"
        inner = foreign("no GPU of the fleet can run it as asked; nearest: l4: a reason that no book knows")
        assert isinstance(inner, Foreign)


@pytest.mark.parametrize("name", ["{0}", "{usd}", "\u202egnp", "<b>", "a: at most b; c"])
def test_hostile_names_are_names(name: str) -> None:
    with speaking("fa"):
        found = foreign(f"the space of {name} is not published")
    assert "\u202e" not in found
    assert (name if name != "\u202egnp" else "\\u202egnp") in found


def test_every_placeholder_is_of_a_kind_or_a_name() -> None:
    for phrase in (*SENTENCES, *FRAGMENTS):
        names = [name for _fixed, name, *_rest in Formatter().parse(phrase) if name]
        assert len(names) == len(set(names)) or set(names) >= {"currency"}
        assert all(name.partition("_")[0] in KINDS or name.isalpha() for name in names), phrase


def test_phrases_with_more_fixed_words_are_tried_first() -> None:
    order = [phrase for phrase, _pattern in patterns(SENTENCES)]
    longer = "{gpu} ({arch}) cannot train in {format}: no native {needed}; precision: fp16-mixed would run"
    assert order.index(longer) < order.index("{gpu} ({arch}) cannot train in {format}: no native {needed}")
