"""The PDF: the same text on A4, nothing fetched, and a clear way out where its libraries are missing."""

from __future__ import annotations

import builtins
import io
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pypdf
import pytest

from planner.errors import InputError, MissingPartError
from planner.plan.types import Plan
from planner.report.html import render_html
from planner.report.pdf import render_pdf
from planner.report.view import view_of
from planner.report.write import write_reports


class Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@pytest.fixture
def warnings_of_the_layout() -> Iterator[list[str]]:
    collector = Collector()
    logger = logging.getLogger("weasyprint")
    logger.addHandler(collector)
    yield collector.messages
    logger.removeHandler(collector)


@pytest.fixture(scope="module")
def html(two_workloads: Plan) -> str:
    return render_html(view_of(two_workloads))


@pytest.fixture(scope="module")
def pdf(html: str) -> bytes:
    return render_pdf(html)


def squeezed(text: str) -> str:
    """Without spaces and soft hyphens: lines break elsewhere on paper."""
    return "".join(text.split()).replace("\u00ad", "")


def test_the_layout_has_nothing_to_complain_about(
    infeasible: Plan, html: str, warnings_of_the_layout: list[str]
) -> None:
    render_pdf(render_html(view_of(infeasible)))
    render_pdf(html)
    assert warnings_of_the_layout == []


def text_of(pdf: bytes) -> str:
    return squeezed("".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(pdf)).pages))


def test_the_pdf_says_what_the_html_says(pdf: bytes, two_workloads: Plan) -> None:
    view = view_of(two_workloads)
    text = text_of(pdf)
    said = [view.decision, view.proof, view.asked, *(f.value for f in view.figures)]
    for w in view.workloads:
        said += [w.summary, w.why, w.memory.verdict, w.memory.peak, *(s.value for s in w.memory.segments)]
        said += [t.got for t in w.targets]
    said += [r.usd_per_hour for r in view.bill.rows] + [r.reason for g in view.rejected for r in g.rows]
    assert [s for s in said if squeezed(s) not in text] == []


def test_on_paper_engineers_get_every_figure_of_a_workload(two_workloads: Plan) -> None:
    view = view_of(two_workloads, "engineering")
    text = text_of(render_pdf(render_html(view)))
    said = [p.value for w in view.workloads for p in (*w.speed, *w.config, *w.money)]
    assert said
    assert [s for s in said if squeezed(s) not in text] == []


def test_the_decision_and_the_total_are_on_the_first_page(pdf: bytes, two_workloads: Plan) -> None:
    first = squeezed(pypdf.PdfReader(io.BytesIO(pdf)).pages[0].extract_text())
    assert squeezed(view_of(two_workloads).decision) in first
    assert "27.64" in first


def test_pages_are_numbered_to_the_last(pdf: bytes) -> None:
    pages = pypdf.PdfReader(io.BytesIO(pdf)).pages
    assert 6 <= len(pages) <= 12
    for i, page in enumerate(pages, start=1):
        assert f"Page {i} of {len(pages)}" in page.extract_text()


def test_bookmarks_lead_to_sections_and_workloads(pdf: bytes, two_workloads: Plan) -> None:
    outline = pypdf.PdfReader(io.BytesIO(pdf)).outline
    titles: list[str] = []
    inner: list[str] = []
    for entry in outline:
        if isinstance(entry, list):
            inner += [e.title for e in entry]
        else:
            titles.append(entry.title)
    assert titles == [section.title for section in view_of(two_workloads).sections]
    assert inner == ["chat", "tune"]


def test_the_pdf_is_tagged_and_titled(pdf: bytes) -> None:
    reader = pypdf.PdfReader(io.BytesIO(pdf))
    root: Any = reader.trailer["/Root"]
    assert root["/MarkInfo"]["/Marked"]
    assert root["/Lang"] == "en"
    assert reader.metadata is not None
    assert reader.metadata.title == "GPU capacity plan for the assistants"
    assert reader.metadata.author == "Capacity team"
    assert reader.metadata.creation_date is None


def test_the_same_report_gives_the_same_bytes(infeasible: Plan) -> None:
    page = render_html(view_of(infeasible))
    assert render_pdf(page) == render_pdf(page)


@pytest.mark.parametrize(
    "markup", ['<link rel="attachment" href="{}">', '<link rel="stylesheet" href="{}">', '<img alt="" src="{}">']
)
def test_a_page_that_wants_to_load_something_is_refused(tmp_path: Path, markup: str) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("do not attach me", encoding="utf-8")
    with pytest.raises(InputError, match="loads from outside"):
        render_pdf(f"<!DOCTYPE html><title>x</title><p>text{markup.format(secret.as_uri())}")


@pytest.fixture(params=[OSError("cannot load library 'libgobject-2.0-0'"), ImportError("No module named 'weasyprint'")])
def no_weasyprint(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> BaseException:
    """`import weasyprint` fails as it does where its libraries, or the package itself, are missing."""
    real_import = builtins.__import__

    def failing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == "weasyprint":
            print("-----\nWeasyPrint could not import some external libraries.\n-----")
            raise request.param
        return real_import(name, *args, **kwargs)

    for name in [m for m in sys.modules if m.split(".")[0] == "weasyprint"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", failing)
    error: BaseException = request.param
    return error


@pytest.mark.parametrize("formats", [("pdf",), ("html", "pdf"), ("pdf", "md")])
def test_without_the_pdf_libraries_the_html_is_written_and_the_way_out_named(
    two_workloads: Plan,
    tmp_path: Path,
    no_weasyprint: BaseException,
    formats: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(MissingPartError) as raised:
        write_reports(two_workloads, tmp_path, formats)
    message = str(raised.value)
    if isinstance(no_weasyprint, OSError):
        line = "apt-get install -y --no-install-recommends libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"
        assert line in message
    else:
        assert "pip install 'weasyprint>=70'" in message
    assert str(tmp_path / "report.html") in message
    assert (tmp_path / "report.html").stat().st_size > 20_000
    assert not (tmp_path / "report.pdf").exists()
    assert (tmp_path / "report.md").exists() is ("md" in formats)
    assert capsys.readouterr().out == ""
