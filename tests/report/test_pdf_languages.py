"""The PDF in Persian and German: its language, its bookmarks, its fonts and nothing to complain about."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from typing import Any

import pypdf
import pytest

from planner.plan.types import Plan
from planner.report.html import render_html
from planner.report.pdf import render_pdf
from planner.report.view import view_of

LETTERS_OF_PERSIAN = "Vazirmatn"


@pytest.fixture(scope="module", params=["fa", "de"])
def printed(request: pytest.FixtureRequest, infeasible: Plan) -> tuple[str, pypdf.PdfReader, list[str]]:
    """Language, PDF and what the layout warned of."""
    warned: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            warned.append(record.getMessage())

    collector = Collector(logging.WARNING)
    logging.getLogger("weasyprint").addHandler(collector)
    pdf = render_pdf(render_html(view_of(infeasible, language=request.param)))
    logging.getLogger("weasyprint").removeHandler(collector)
    return request.param, pypdf.PdfReader(io.BytesIO(pdf)), warned


def test_the_layout_warns_of_nothing(printed: tuple[str, pypdf.PdfReader, list[str]]) -> None:
    assert printed[2] == []


def test_the_pdf_says_its_language_and_is_tagged(printed: tuple[str, pypdf.PdfReader, list[str]]) -> None:
    code, reader, _warned = printed
    root: Any = reader.trailer["/Root"]
    assert root["/Lang"] == code
    assert root["/MarkInfo"]["/Marked"]


def test_bookmarks_are_the_sections_in_their_words(
    printed: tuple[str, pypdf.PdfReader, list[str]], infeasible: Plan
) -> None:
    code, reader, _warned = printed
    titles = [entry.title for entry in reader.outline if not isinstance(entry, list)]
    assert titles == [section.title for section in view_of(infeasible, language=code).sections]


def test_every_page_is_numbered_in_the_words_of_the_language(printed: tuple[str, pypdf.PdfReader, list[str]]) -> None:
    code, reader, _warned = printed
    word = {"fa": "صفح", "de": "Seite"}[code]
    for page in reader.pages:
        assert word in page.extract_text()


def fonts(reader: pypdf.PdfReader) -> Iterator[tuple[str, Any]]:
    """Names of the fonts with what describes each."""
    for page in reader.pages:
        resources: Any = page["/Resources"]
        for font in resources["/Font"].values():
            inner = font.get_object()["/DescendantFonts"][0].get_object()
            yield str(inner["/BaseFont"]), inner["/FontDescriptor"].get_object()


def test_every_font_is_embedded_and_persian_brings_its_own(printed: tuple[str, pypdf.PdfReader, list[str]]) -> None:
    code, reader, _warned = printed
    found = dict(fonts(reader))
    assert found
    assert all({"/FontFile", "/FontFile2", "/FontFile3"} & set(descriptor) for descriptor in found.values())
    assert any(LETTERS_OF_PERSIAN in name for name in found) is (code == "fa")


def test_the_same_report_gives_the_same_bytes_in_persian(infeasible: Plan) -> None:
    page = render_html(view_of(infeasible, language="fa"))
    assert render_pdf(page) == render_pdf(page)
