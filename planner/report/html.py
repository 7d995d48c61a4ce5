"""The report as one self-contained HTML file: no script, no network, nothing loaded from anywhere.

A folder of one's own may replace any of the shipped templates and style sheets. Its templates run in Jinja's
sandbox: they see the view and the style sheets, and neither Python's internals nor files outside the folder.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from planner.errors import InputError
from planner.report.bidi import isolated
from planner.report.language import ENGLISH, Language, _, ngettext, pgettext, speaking, spoken_now
from planner.report.phrases import Foreign, sentence
from planner.report.types import ReportView
from planner.resources import data_folder

if TYPE_CHECKING:
    from jinja2 import Environment

PAGE = "report.html.j2"
INTERACTIVE_PAGE = "interactive.html.j2"
STYLE_SHEETS = {"base": "report.css", "screen": "screen.css", "print": "print.css"}
RTL = "rtl.css"
FONTS = {"fa": "fonts/fa.css"}
"""Fonts that a language brings along, as `data:` addresses; their licence lies beside them."""


def render_html(view: ReportView, *, templates: Path | None = None, page: str = PAGE) -> str:
    """The whole report; files in the folder `templates` replace the shipped ones of the same name.

    `page` is the template: `INTERACTIVE_PAGE` carries a script.

    Raises InputError, with file and line, when a template of that folder is wrong.
    """
    from jinja2 import TemplateNotFound, TemplateSyntaxError, UndefinedError
    from jinja2.exceptions import SecurityError

    folders = _folders(templates)
    try:
        with speaking(view.masthead.language, digits=view.masthead.digits) as spoken:
            environment = _environment(folders, spoken.language)
            return environment.get_template(page).render(view=view, styles=_styles(folders, spoken.language))
    except TemplateSyntaxError as err:
        raise InputError(f"{err.filename or err.name}:{err.lineno}: {err.message}") from err
    except TemplateNotFound as err:
        raise InputError(f"{folders[0]}: template {err.name!r} is missing") from err
    except (UndefinedError, SecurityError, TypeError, ValueError, ArithmeticError, LookupError) as err:
        if templates is None:
            raise
        raise InputError(f"{_place(err, folders[0])}: {err}") from err


def render_page(name: str, **values: object) -> str:
    """A shipped page that is no report of a plan, in the language in use."""
    folders, language = _folders(None), spoken_now().language
    template = _environment(folders, language).get_template(name)
    return template.render(styles=_styles(folders, language), language=language, **values)


def _folders(templates: Path | None) -> tuple[Path, ...]:
    """Where templates are looked for, in order. Raises InputError for a folder that replaces nothing."""
    shipped = data_folder("templates")
    if templates is None:
        return (shipped,)
    if not templates.is_dir():
        raise InputError(f"{templates}: there is no such folder of templates")
    known = {p.relative_to(shipped) for p in shipped.rglob("*") if p.is_file()}
    if not any((templates / name).is_file() for name in known):
        names = ", ".join(sorted(str(n) for n in known))
        raise InputError(f"{templates}: holds none of the templates it could replace: {names}")
    return (templates, shipped)


def _place(err: BaseException, folder: Path) -> str:
    """The innermost line of a template of `folder` that an error passed through; the folder where there is none."""
    frames = [f for f in traceback.extract_tb(err.__traceback__) if Path(f.filename).is_relative_to(folder)]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else str(folder)


def _environment(folders: Sequence[Path], language: Language) -> Environment:
    """Everything is escaped, a name that the view lacks is an error, and right-to-left pages keep numbers in order."""
    from jinja2 import FileSystemLoader, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        extensions=["jinja2.ext.i18n"],
        finalize=None if language.code == ENGLISH else in_order,
    )
    environment.filters["sentence"] = sentence
    environment.globals.update(gettext=_, ngettext=ngettext, pgettext=pgettext)
    return environment


def _styles(folders: Sequence[Path], language: Language) -> SimpleNamespace:
    """The style sheets as markup: they are files beside the templates and hold no text of the plan.

    `language` is what a language other than English needs: its font, and the page numbers in its words.
    """
    from markupsafe import Markup

    texts = {name: Markup(_style_sheet(folders, file_name)) for name, file_name in STYLE_SHEETS.items()}
    files = [RTL] if language.direction == "rtl" else []
    files += [FONTS[language.code]] if language.code in FONTS else []
    own = "".join(_style_sheet(folders, file_name) for file_name in files)
    own += "" if language.code == ENGLISH else page_numbers(language)
    return SimpleNamespace(**texts, language=Markup(own))


def _style_sheet(folders: Sequence[Path], file_name: str) -> str:
    """A style sheet of the first folder that has it. Raises InputError where none has, or it would end its element."""
    path = next((f / file_name for f in folders if (f / file_name).is_file()), None)
    if path is None:
        raise InputError(f"{folders[0] / file_name}: style sheet is missing")
    text = path.read_text(encoding="utf-8")
    if "</" in text:
        raise InputError(f"{path}: a style sheet must not hold '</'")
    return text


def page_numbers(language: Language) -> str:
    """The margin boxes of a printed page, on the sides and in the words of a language."""
    before, between, after = _("Page {page} of {pages}").replace("{pages}", "{page}").split("{page}")
    number = f"{_css_string(before)} counter(page) {_css_string(between)} counter(pages) {_css_string(after)}"
    start, end = ("left", "right") if language.direction == "ltr" else ("right", "left")
    texts = {
        f"@top-{start}": "string(report-title)",
        f"@top-{end}": "string(section-title)",
        f"@bottom-{start}": "string(report-date)",
        f"@bottom-{end}": number,
    }
    boxes = " ".join(f"{box} {{ content: {text}; }}" for box, text in texts.items())
    first = "@top-left { content: none; } @top-right { content: none; }"
    return f"@media print {{ @page {{ {boxes} }} @page :first {{ {first} }} }}"


def _css_string(text: str) -> str:
    """A text as a string of a style sheet."""
    return '"' + "".join(f"\\{ord(c):x} " if c in '"\\<&' or c < " " else c for c in text) + '"'


def in_order(value: object) -> object:
    """What a template prints on a page that is not English: numbers in their order, sentences in English marked so."""
    from markupsafe import Markup

    if isinstance(value, Foreign):
        return Markup('<span lang="en" dir="ltr">{}</span>').format(str(value))
    if isinstance(value, str) and not isinstance(value, Markup):
        return isolated(value)
    return value
