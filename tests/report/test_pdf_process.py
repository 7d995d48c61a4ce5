"""The PDF engine in its own process: the same bytes, and every way it can fail told as a message."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.errors import InputError, MissingPartError
from planner.report.pdf import render_pdf
from planner.report.pdf_process import PdfProcess

PAGE = "<!DOCTYPE html><html lang='en'><meta charset='utf-8'><title>t</title><h1>One</h1><p>two</p></html>"


def rendered(printer: PdfProcess, html: str) -> bytes:
    printer.send(html)
    return printer.fetch()


def test_it_gives_the_bytes_of_the_engine_itself() -> None:
    with PdfProcess() as printer:
        assert rendered(printer, PAGE) == render_pdf(PAGE)


def test_a_page_that_loads_from_outside_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"x")
    with PdfProcess() as printer, pytest.raises(InputError, match="loads from outside"):
        rendered(printer, f"<!DOCTYPE html><title>x</title><img src='{secret.as_uri()}'>")


def test_missing_libraries_are_told_with_the_command_that_mends_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "weasyprint.py").write_text("raise OSError('cannot load library')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with PdfProcess() as printer, pytest.raises(MissingPartError, match="apt-get install"):
        rendered(printer, PAGE)


def test_an_engine_that_dies_is_a_message_and_not_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "weasyprint.py").write_text("import os\nos._exit(7)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with PdfProcess() as printer, pytest.raises(MissingPartError, match="ended with code 7"):
        rendered(printer, PAGE * 10_000)


def test_a_second_page_is_refused() -> None:
    with PdfProcess() as printer:
        printer.send(PAGE)
        with pytest.raises(RuntimeError, match="one page"):
            printer.send(PAGE)


def test_leaving_with_a_page_under_way_ends_the_process() -> None:
    with PdfProcess() as printer:
        printer.send(PAGE)
        child = printer._child
    assert child.returncode is not None


def test_leaving_without_rendering_ends_the_process() -> None:
    with PdfProcess() as printer:
        child = printer._child
    assert child.returncode is not None
