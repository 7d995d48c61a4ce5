"""Reports in other languages: nothing is left out, nothing is stale, and numbers stay what they are."""

from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from babel.numbers import get_decimal_symbol, get_group_symbol
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.languages import DOMAIN, collected, compiled, folder_of, merged, troubles, written
from planner.errors import InputError
from planner.plan.io import read_plan
from planner.plan.types import Plan
from planner.report.dates import date_text
from planner.report.html import page_numbers, render_html
from planner.report.language import ENGLISH, LANGUAGES, LOCALES, _, ngettext, speaking
from planner.report.markdown import render_markdown
from planner.report.numbers import delocalised, duration, figure, fixed, money, percent, short_number
from planner.report.tables import render_csv, tables
from planner.report.view import view_of
from planner.resources import data_folder
from tests.report.test_html import ALLOWED_ATTRIBUTES, ALLOWED_TAGS, HOSTILE, hostile, read

OTHERS = [code for code in LANGUAGES if code != ENGLISH]
ROOT = Path(__file__).parent.parent.parent
amounts = st.floats(min_value=-1e9, max_value=1e9, allow_nan=False)
ways = st.sampled_from([("de", "latin"), ("fa", "latin"), ("fa", "native")])


def quickstart() -> Plan:
    return read_plan(data_folder("plans") / "quickstart" / "plan.json")


def test_the_template_of_the_catalogs_holds_the_texts_of_today() -> None:
    assert (LOCALES / f"{DOMAIN}.pot").read_bytes() == written(collected()), "run python -m benchmarks.languages"


@pytest.mark.parametrize("code", OTHERS)
def test_every_text_is_translated_with_the_same_placeholders(code: str) -> None:
    catalog = merged(code, collected())
    assert list(troubles(catalog)) == []
    assert (folder_of(code) / f"{DOMAIN}.po").read_bytes() == written(catalog)
    assert (folder_of(code) / f"{DOMAIN}.mo").read_bytes() == compiled(catalog)


@pytest.mark.parametrize("code", LANGUAGES)
def test_separators_are_those_of_the_cldr(code: str) -> None:
    language = LANGUAGES[code]
    assert language.point == get_decimal_symbol(code, numbering_system="latn")
    assert language.group == get_group_symbol(code, numbering_system="latn")
    if language.digits:
        assert language.native_point == get_decimal_symbol(code, numbering_system="default")
        assert language.native_group == get_group_symbol(code, numbering_system="default")


@given(amounts, ways)
def test_a_number_is_the_same_in_every_language(value: float, way: tuple[str, str]) -> None:
    code, digits = way
    with speaking(code, digits=digits):
        assert delocalised(fixed(value)) == f"{value:,.2f}".replace("-0.00", "0.00")


@pytest.mark.parametrize(
    ("code", "digits", "texts"),
    [
        ("de", "latin", ("1.234,50", "0,5", "42 %", "12,3 ms", "8,03 Mrd.")),
        ("fa", "latin", ("1,234.50", "0.5", "42 %", "12.3 میلی‌ثانیه", "8.03 میلیارد")),
        ("fa", "native", ("۱٬۲۳۴٫۵۰", "۰٫۵", "۴۲٪", "۱۲٫۳ میلی‌ثانیه", "۸٫۰۳ میلیارد")),
    ],
)
def test_numbers_are_written_as_in_the_language(code: str, digits: str, texts: tuple[str, ...]) -> None:
    with speaking(code, digits=digits):
        assert (money(1234.5), figure(0.5), percent(0.42), duration(0.0123), short_number(8_030_261_248)) == texts


def test_dates_are_written_as_in_the_language() -> None:
    assert date_text("2026-11-22") == "2026-11-22"
    with speaking("de"):
        assert (date_text("2026-11-22"), date_text("2026-H1")) == ("22.11.2026", "2026-H1")
    with speaking("fa", digits="native"):
        assert date_text("2026-11-22") == "۲۲ نوامبر ۲۰۲۶"


def test_a_count_takes_the_form_of_its_language() -> None:
    with speaking("de"):
        forms = [ngettext("{n} replica on {gpus} × {gpu}", "{n} replicas on {gpus} × {gpu}", n) for n in (1, 2)]
    assert forms == ["{n} Replikat auf {gpus} × {gpu}", "{n} Replikate auf {gpus} × {gpu}"]


def test_a_language_that_there_is_not_is_said() -> None:
    with pytest.raises(InputError, match=r"there is no 'xx'; there are en, fa, de"), speaking("xx"):
        pass


def test_the_language_ends_with_its_block() -> None:
    with speaking("de"), pytest.raises(ZeroDivisionError), speaking("fa"):
        raise ZeroDivisionError
    assert _("Weights") == "Weights"


@pytest.mark.parametrize(("code", "direction"), [("fa", "rtl"), ("de", "ltr")])
def test_a_page_says_its_language_and_direction(two_workloads: Plan, code: str, direction: str) -> None:
    page = render_html(view_of(two_workloads, language=code))
    assert f'<html lang="{code}"' in page
    assert ('dir="rtl"' in page.split("<head>")[0]) is (direction == "rtl")
    assert page == render_html(view_of(two_workloads.model_copy(deep=True), language=code))


def spec_with(plan: Plan, **report: Any) -> Plan:
    spec = {**plan.inputs.spec, "report": {**plan.inputs.spec.get("report", {}), **report}}
    return plan.model_copy(update={"inputs": plan.inputs.model_copy(update={"spec": spec})})


def test_the_spec_chooses_language_and_digits_and_the_caller_goes_before_it(two_workloads: Plan) -> None:
    persian = spec_with(two_workloads, language="fa", digits="native")
    assert view_of(persian).decision.startswith("اجارهٔ")
    assert "۲۷٫۶۴" in view_of(persian).decision
    assert view_of(persian, language="en").decision == view_of(two_workloads).decision


SMALL_WORDS = "the|of|and|with|is|are|which|not|it|than|from|by|on|every|one"


def words_in_english(page: str) -> Iterator[str]:
    """English sentences outside of what is marked as English, code, and style sheets."""
    body = re.sub(r'(?s)<style.*?</style>|<code>.*?</code>|<(span|div)[^>]* ?lang="en"[^>]*>.*?</\1>', " ", page)
    for text in re.split(r"<[^>]*>", body):
        yield from re.findall(rf"\b\w+ (?:{SMALL_WORDS}) \w+", text)


@pytest.mark.parametrize("code", OTHERS)
@pytest.mark.parametrize("audience", ["all", "engineering"])
def test_no_sentence_of_the_report_stays_english(code: str, audience: str) -> None:
    page = render_html(view_of(quickstart(), audience, code))
    assert list(words_in_english(page)) == []


@pytest.mark.parametrize("name", ["two_workloads", "infeasible", "unplaceable"])
@pytest.mark.parametrize("code", OTHERS)
def test_every_kind_of_plan_is_told(name: str, code: str, request: pytest.FixtureRequest) -> None:
    view = view_of(request.getfixturevalue(name), language=code)
    english = view_of(request.getfixturevalue(name))
    assert view.status_word != english.status_word
    assert view.decision != english.decision
    assert [s.id for s in view.sections] == [s.id for s in english.sections]
    assert "## " in render_markdown(view)
    assert render_markdown(view).startswith('<div dir="rtl" lang="fa">' if code == "fa" else "## ")


@pytest.mark.parametrize("code", OTHERS)
def test_tables_for_spreadsheets_hold_the_same_numbers_in_every_language(two_workloads: Plan, code: str) -> None:
    native = spec_with(two_workloads, digits="native")
    english, other = (render_csv(tables(view_of(native, language=c))["bill-of-materials"]) for c in (ENGLISH, code))
    numbers = ("nodes", "gpus", "USD/h", "kW", "rack units", "purchase USD", "line")
    rows = [[[row[head] for head in numbers] for row in csv.DictReader(io.StringIO(text))] for text in (english, other)]
    assert rows[0] == rows[1]


def test_the_view_holds_the_same_fields_in_every_language(two_workloads: Plan) -> None:
    english, persian = (asdict(view_of(two_workloads, language=code)) for code in (ENGLISH, "fa"))
    assert english.keys() == persian.keys()
    assert english["workloads"][0]["memory"]["segments"][0]["left"] == "0%"
    assert [w["memory"]["limit_at"] for w in english["workloads"]] == [
        w["memory"]["limit_at"] for w in persian["workloads"]
    ]


def test_page_numbers_stand_on_the_outer_side_in_the_words_of_the_language() -> None:
    with speaking("fa"):
        persian = page_numbers(LANGUAGES["fa"])
    with speaking("de"):
        german = page_numbers(LANGUAGES["de"])
    assert '@bottom-left { content: "صفحهٔ " counter(page) " از " counter(pages)' in persian
    assert '@bottom-right { content: "Seite " counter(page) " von " counter(pages)' in german


def test_templates_hold_no_words_of_their_own() -> None:
    found = []
    for path in sorted((data_folder("templates")).rglob("*.j2")):
        if path.name == "validation.html.j2":
            continue
        bare = re.sub(
            r"(?s)\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}|<style>.*?</style>|<[^>]*>|[a-z-]+=\"[^\"]*\"",
            "\n",
            path.read_text(encoding="utf-8"),
        )
        found += [(path.name, line.strip()) for line in bare.split("\n") if re.search(r"[A-Za-z]{2,}", line)]
    assert found == []


def test_an_english_report_loads_nothing_for_other_languages() -> None:
    script = (
        "import sys; from pathlib import Path; from planner.plan.io import read_plan;"
        "from planner.report.html import render_html; from planner.report.view import view_of;"
        "render_html(view_of(read_plan(Path(sys.argv[1])))); sys.exit('babel' in sys.modules)"
    )
    plan = data_folder("plans") / "quickstart" / "plan.json"
    assert subprocess.run([sys.executable, "-c", script, str(plan)], cwd=ROOT, timeout=120).returncode == 0


@pytest.mark.parametrize("text", [*HOSTILE, "\u2066isolated\u2069", "نام {0} ۱۲"])
def test_hostile_names_are_text_on_a_persian_page_too(two_workloads: Plan, text: str) -> None:
    page = render_html(view_of(hostile(two_workloads, text), language="fa"))
    reader = read(page)
    assert reader.tags <= ALLOWED_TAGS
    assert not {name for name, _value in reader.attributes} - ALLOWED_ATTRIBUTES - {"dir"}
    assert "\u202e" not in page
    assert page.count("\u2066") == page.count("\u2069")
