"""Message catalogs of the reports: `python -m benchmarks.languages` collects, merges and compiles them.

Collects the texts of planner/report/, planner/explain/ and templates/ into messages.pot, brings each
language's messages.po up to it (a text that changed loses its translation) and compiles messages.mo. Then it prints
what is still to be translated; exit code 1 when that is anything.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from string import Formatter

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_file
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from planner.files import write_atomically
from planner.report.language import DOMAIN, ENGLISH, LANGUAGES, LOCALES

ROOT = Path(__file__).parent.parent
SOURCES = (
    ("python", ROOT / "planner/report", "*.py"),
    ("python", ROOT / "planner/explain", "*.py"),
    ("jinja2.ext:babel_extract", ROOT / "templates", "*.j2"),
)
KEYWORDS = {**DEFAULT_KEYWORDS, "marked": None}
PROJECT = "gpu-capacity-planner"
MADE = datetime(2026, 11, 22, tzinfo=UTC)
"""In every header, so that the files change only when a text does."""
WIDTH = 120


def new_catalog(code: str | None) -> Catalog:
    """An empty catalog of a language, or the template of all."""
    return Catalog(
        locale=code,
        header_comment="# Texts of the reports; planner/report/language.py says how they are used.",
        project=PROJECT,
        version="1",
        msgid_bugs_address="see SECURITY.md and the issues of the project",
        last_translator="the project",
        language_team="the project",
        creation_date=MADE,
        revision_date=MADE,
        charset="utf-8",
        fuzzy=False,
    )


def collected() -> Catalog:
    """Every text of the sources, by file."""
    template = new_catalog(None)
    for method, folder, pattern in SOURCES:
        for path in sorted(folder.rglob(pattern)):
            options = {"newstyle_gettext": "false", "silent": "false", "encoding": "utf-8"}
            for _line, message, comments, context in extract_from_file(
                method, path, keywords=KEYWORDS, options=options if path.suffix == ".j2" else {}
            ):
                # Placeholders are those of str.format; a percent sign is a percent sign.
                place = (path.relative_to(ROOT).as_posix(), 0)
                template.add(message, None, [place], auto_comments=comments, context=context)
    for message in template:
        message.flags -= {"python-format"}
    return template


def written(catalog: Catalog) -> bytes:
    """A catalog as a file whose lines change only with its texts."""
    out = io.BytesIO()
    write_po(out, catalog, width=WIDTH, sort_output=True, include_lineno=False, ignore_obsolete=True)
    return out.getvalue()


def compiled(catalog: Catalog) -> bytes:
    """A catalog as gettext reads it."""
    out = io.BytesIO()
    write_mo(out, catalog)
    return out.getvalue()


def read(code: str) -> Catalog:
    """The catalog of a language as it stands on disk; an empty one where there is none."""
    path = folder_of(code) / f"{DOMAIN}.po"
    if not path.is_file():
        return new_catalog(code)
    with path.open("rb") as file:
        return read_po(file, locale=code)


def merged(code: str, template: Catalog) -> Catalog:
    """The catalog of a language with exactly the texts of the template."""
    catalog = read(code)
    catalog.update(template, no_fuzzy_matching=True, update_creation_date=False)
    catalog.obsolete.clear()
    for message in catalog:
        message.flags -= {"python-format"}
    return catalog


def folder_of(code: str) -> Path:
    """Where gettext looks for the messages of a language."""
    return LOCALES / code / "LC_MESSAGES"


def troubles(catalog: Catalog) -> Iterator[str]:
    """What is wrong with a catalog: texts without a translation, or with other placeholders than the English."""
    for message in catalog:
        if not message.id:
            continue
        text = message.id if isinstance(message.id, str) else message.id[0]
        forms = list(message.string) if isinstance(message.string, tuple | list) else [message.string or ""]
        if not all(forms):
            yield f"not translated: {text}"
        elif message.fuzzy:
            yield f"marked as fuzzy: {text}"
        elif any(placeholders(form) != placeholders(original) for form, original in pairs(message, forms)):
            yield f"other placeholders: {text}"


def pairs(message: Message, forms: list[str]) -> Iterator[tuple[str, str]]:
    """Each form of a translation beside the English text it must agree with; a singular may leave its number out."""
    if isinstance(message.id, str):
        yield forms[0], message.id
        return
    for form in forms:
        yield form, message.id[0] if placeholders(form) == placeholders(message.id[0]) else message.id[1]


def placeholders(text: str) -> frozenset[str]:
    """Names in braces.

    >>> sorted(placeholders("{gpus} GPUs in {nodes}"))
    ['gpus', 'nodes']
    """
    return frozenset(name for _, name, _, _ in Formatter().parse(text) if name is not None)


def main() -> None:
    """Collect, merge, compile, and print what is left to do."""
    template = collected()
    write_atomically(LOCALES / f"{DOMAIN}.pot", written(template))
    left = 0
    for code in LANGUAGES:
        if code == ENGLISH:
            continue
        catalog = merged(code, template)
        write_atomically(folder_of(code) / f"{DOMAIN}.po", written(catalog))
        write_atomically(folder_of(code) / f"{DOMAIN}.mo", compiled(catalog))
        for text in troubles(catalog):
            left += 1
            print(f"{code}: {text}")
    print(f"{len(template)} texts, {left} left to do")
    raise SystemExit(left > 0)


if __name__ == "__main__":
    main()
