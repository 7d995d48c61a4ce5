"""Write the reports of a plan into a folder, each file whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from planner.errors import InputError, MissingPartError
from planner.files import write_atomically
from planner.plain_json import indented
from planner.plan.types import Plan
from planner.report.html import INTERACTIVE_PAGE, render_html
from planner.report.markdown import render_markdown
from planner.report.pdf import render_pdf
from planner.report.tables import render_csv, render_xlsx, tables
from planner.report.types import ReportView
from planner.report.view import ALL_READERS, view_of

FORMATS = ("html", "pdf", "md", "json", "csv", "xlsx", "interactive")
HTML_NAME = "report.html"
INTERACTIVE_NAME = "report-interactive.html"
VIEW_SCHEMA = "planner/report/v1"
_WRITE_ORDER = ("html", "interactive", "md", "json", "csv", "xlsx", "pdf")
"""The PDF last: what needs no system library is there when it fails."""


def check_formats(formats: Sequence[str]) -> tuple[str, ...]:
    """The formats as they are, when all exist.

    Raises InputError that names those that do not.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise InputError(f"--format: no such format: {', '.join(unknown)}; there are {', '.join(FORMATS)}")
    return tuple(formats)


@dataclass(frozen=True, slots=True)
class Pages:
    """A report ready to be written: its view, and its HTML (empty where no format asked for needs it)."""

    view: ReportView
    html: str
    interactive: str = ""
    """The page with sliders; empty where it is not asked for."""


def pages_of(
    plan: Plan,
    formats: Sequence[str],
    *,
    templates: Path | None = None,
    audience: str = ALL_READERS,
    language: str | None = None,
) -> Pages:
    """The report of a plan, not written yet; `language` goes before that of the spec.

    Raises InputError for a format that does not exist, or templates that lack a file.
    """
    check_formats(formats)
    view = view_of(plan, audience, language)
    return Pages(
        view,
        render_html(view, templates=templates) if {"html", "pdf"} & set(formats) else "",
        render_html(view, templates=templates, page=INTERACTIVE_PAGE) if "interactive" in formats else "",
    )


def write_reports(
    plan: Plan,
    folder: Path,
    formats: Sequence[str],
    *,
    templates: Path | None = None,
    audience: str = ALL_READERS,
    language: str | None = None,
    pdf_of: Callable[[str], bytes] = render_pdf,
) -> tuple[Path, ...]:
    """Write the reports asked for; returns their paths. `pdf_of` lays the HTML out.

    Raises InputError for a format that does not exist or a folder that cannot be written, MissingPartError when the
    PDF's libraries are missing: every other format, and the HTML in any case, is then already written.
    """
    pages = pages_of(plan, formats, templates=templates, audience=audience, language=language)
    return write_pages(pages, folder, formats, pdf_of=pdf_of)


def write_pages(
    pages: Pages, folder: Path, formats: Sequence[str], *, pdf_of: Callable[[str], bytes] = render_pdf
) -> tuple[Path, ...]:
    """Write a report that is ready; returns the files' paths. Raises as `write_reports`."""
    written: list[Path] = []
    for name in (f for f in _WRITE_ORDER if f in formats):
        try:
            files = _files(name, pages, pdf_of)
        except MissingPartError as err:
            if "html" not in formats:
                written.append(write_atomically(folder / HTML_NAME, pages.html.encode()))
            raise MissingPartError(f"{err}\nWritten: {', '.join(str(p) for p in written)}") from err
        written += [write_atomically(folder / file_name, content) for file_name, content in files.items()]
    return tuple(written)


def _files(name: str, pages: Pages, pdf_of: Callable[[str], bytes]) -> Mapping[str, bytes]:
    """The files of one format, by name."""
    view = pages.view
    match name:
        case "html":
            return {HTML_NAME: pages.html.encode()}
        case "interactive":
            return {INTERACTIVE_NAME: pages.interactive.encode()}
        case "pdf":
            return {"report.pdf": pdf_of(pages.html)}
        case "md":
            return {"report.md": render_markdown(view).encode()}
        case "json":
            return {"report.json": render_json(view).encode()}
        case "csv":
            return {f"{table}.csv": render_csv(rows).encode() for table, rows in tables(view).items()}
        case _:
            return {"report.xlsx": render_xlsx(tables(view))}


def render_json(view: ReportView) -> str:
    """The view as JSON: the texts of the report, for pages and dashboards of one's own."""
    return indented({"schema": VIEW_SCHEMA, **asdict(view)}, sort_keys=True) + "\n"
