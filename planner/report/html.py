"""The report as one self-contained HTML file: no script, no network, nothing loaded from anywhere."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from planner.errors import InputError
from planner.report.types import ReportView
from planner.resources import data_folder

if TYPE_CHECKING:
    from jinja2 import Environment

STYLE_SHEETS = {"base": "report.css", "screen": "screen.css", "print": "print.css"}


def render_html(view: ReportView, *, templates: Path | None = None) -> str:
    """The whole report; `templates` is a folder with the files of the shipped `templates/`.

    Raises InputError when that folder lacks a file.
    """
    from jinja2 import TemplateNotFound

    folder = templates or data_folder("templates")
    try:
        return _environment(folder).get_template("report.html.j2").render(view=view, styles=_styles(folder))
    except TemplateNotFound as err:
        raise InputError(f"{folder}: template {err.name!r} is missing") from err


def _environment(folder: Path) -> Environment:
    """Everything is escaped, and a name that the view lacks is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _styles(folder: Path) -> SimpleNamespace:
    """The style sheets as markup: they are our own files and hold no text of the plan."""
    from markupsafe import Markup

    texts = {}
    for name, file_name in STYLE_SHEETS.items():
        path = folder / file_name
        if not path.is_file():
            raise InputError(f"{path}: style sheet is missing")
        text = path.read_text(encoding="utf-8")
        if "</" in text:
            raise InputError(f"{path}: a style sheet must not hold '</'")
        texts[name] = Markup(text)
    return SimpleNamespace(**texts)
