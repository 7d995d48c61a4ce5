"""The tables of a report as CSV files and as one XLSX workbook: every row, nothing capped."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from planner.report.currency import USD
from planner.report.language import speaking
from planner.report.numbers import delocalised
from planner.report.types import ReportView
from planner.report.workloads import UNKNOWN

Table = tuple[tuple[str, ...], ...]
"""Rows of text, the first of them the head."""
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""First characters that a spreadsheet takes for a formula."""
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
"""Fixed, so that the same plan gives the same bytes."""
_WORKBOOK_NS = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS_NS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE_NS = "http://schemas.openxmlformats.org/package/2006"
_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'


_BILL = (
    ("line", "number"),
    ("item", "item"),
    ("offer", "offer"),
    ("provider", "provider"),
    ("procurement", "procurement"),
    ("gpu", "gpu"),
    ("nodes", "nodes"),
    ("gpus", "gpus"),
    ("purchase USD", "capex_usd"),
    ("USD/h", "usd_per_hour"),
    ("kW", "power_kw"),
    ("rack units", "rack_units"),
    ("price readings", "spread"),
    ("price source", "source"),
    ("price date", "as_of"),
    ("price confidence", "confidence"),
    ("period", "period"),
)
_NUMBERS = frozenset({"gpus", "nodes", "capex_usd", "usd_per_hour", "power_kw", "rack_units"})
"""Fields whose cells are numbers."""
_WORKLOADS = (
    ("workload", "name"),
    ("mode", "mode"),
    ("model", "model"),
    ("engine", "engine"),
    ("gpu", "gpu"),
    ("gpus", "gpus"),
    ("runs as", "summary"),
    ("targets", "status_word"),
)
_FACTS = (
    ("kind", "kind"),
    ("id", "id"),
    ("what", "what"),
    ("value", "value"),
    ("source", "source"),
    ("date", "as_of"),
    ("confidence", "confidence"),
    ("owner", "owner"),
)
_RISKS = (
    ("level", "level"),
    ("risk", "text"),
    ("what to do", "measure"),
    ("owner", "owner"),
)
_PAID = {
    "once_usd": "purchase USD",
    "rent_usd": "rent USD",
    "energy_usd": "electricity USD",
    "other_usd": "hosting USD",
}


def tables(view: ReportView) -> Mapping[str, Table]:
    """Tables by name: bill-of-materials, workloads, cash-flow (where prices are known), risks, assumptions, rejected.

    Heads are English and numbers plain whatever the report's language, so that what reads the files need not know it.
    """
    with speaking(view.masthead.language, digits=view.masthead.digits):
        return _tables(view)


def _tables(view: ReportView) -> Mapping[str, Table]:
    bill, memory = view.bill, [w.memory for w in view.workloads]
    workloads = _columns(_WORKLOADS, view.workloads)
    extra = (("peak GiB a GPU", "usable GiB"), *((delocalised(m.peak), delocalised(m.usable)) for m in memory))
    return {
        "bill-of-materials": _in_currency(
            (*_columns(_BILL, bill.rows), tuple(_total(view, head) for head, _field in _BILL)), view.currency_code
        ),
        "workloads": tuple((*row, *more) for row, more in zip(workloads, extra, strict=True)),
        **_cash_flow(view),
        "risks": _columns(_RISKS, view.risks),
        "assumptions": _columns(_FACTS, view.facts.all_rows),
        "rejected": (("workload", "gpu", "reason"), *view.all_rejected),
    }


def _cash_flow(view: ReportView) -> Mapping[str, Table]:
    """Payments by time; none where they are not known."""
    if view.horizon is None:
        return {}
    cash = view.horizon.cash
    head = ("when", *(_PAID[key] for key in cash.keys), "total USD")
    rows = [(row.label, *(delocalised(c) for c in row.cells)) for row in (*cash.rows, cash.total)]
    return {"cash-flow": _in_currency((head, *rows), view.currency_code)}


def _columns(columns: Sequence[tuple[str, str]], rows: Sequence[object]) -> Table:
    """A table of the fields named; what is unknown stays empty."""
    head = tuple(title for title, _field in columns)
    return (head, *(tuple(_plain(field, str(getattr(row, field))) for _title, field in columns) for row in rows))


def _plain(field: str, text: str) -> str:
    """A cell without the report's separators and digits."""
    return _known(delocalised(text) if field in _NUMBERS else text)


def _in_currency(table: Table, code: str) -> Table:
    """The table with the currency of its amounts in the heads."""
    head, *rows = table
    return (tuple(title.replace(USD, code) for title in head), *rows)


def _known(text: str) -> str:
    return "" if text == UNKNOWN else text


def _total(view: ReportView, head: str) -> str:
    """The cell of the last line of the bill under one heading; power is that of the machines, as in the lines."""
    bill = view.bill
    totals = {"line": "total", "nodes": bill.nodes, "gpus": bill.gpus, "purchase USD": bill.capex_usd}
    totals |= {"USD/h": bill.usd_per_hour, "kW": bill.power_kw, "rack units": bill.rack_units}
    return _known(delocalised(totals.get(head, "")))


def safe_cell(text: str) -> str:
    """A cell that no spreadsheet runs: text that looks like a formula gets an apostrophe in front.

    >>> safe_cell("=1+1"), safe_cell("-3.5"), safe_cell("llama")
    ("'=1+1", '-3.5', 'llama')
    """
    return f"'{text}" if text.startswith(FORMULA_STARTS) and plain_number(text) is None else text


def plain_number(text: str) -> str | None:
    """The number a cell holds, without thousands separators; None for anything else."""
    bare = text.replace(",", "")
    digits = bare.removeprefix("-").replace(".", "", 1)
    return bare if digits.isascii() and digits.isdigit() else None


def render_csv(rows: Table) -> str:
    """One table as CSV (RFC 4180); numbers without thousands separators."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerows([plain_number(c) or safe_cell(c) for c in row] for row in rows)
    return out.getvalue()


def render_xlsx(sheets: Mapping[str, Table]) -> bytes:
    """All tables as sheets of one workbook; text cells are inline strings, which are never run."""
    names = list(sheets)
    files = {
        "[Content_Types].xml": _content_types(len(names)),
        "_rels/.rels": _relations([("officeDocument", "xl/workbook.xml")]),
        "xl/workbook.xml": _workbook(names),
        "xl/_rels/workbook.xml.rels": _relations(
            [("worksheet", f"worksheets/sheet{i}.xml") for i in range(1, len(names) + 1)]
        ),
    }
    for i, rows in enumerate(sheets.values(), start=1):
        files[f"xl/worksheets/sheet{i}.xml"] = _sheet(rows)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            info = zipfile.ZipInfo(name, date_time=_ZIP_DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, _XML + text)
    return out.getvalue()


def _content_types(num_sheets: int) -> str:
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    sheets = "".join(
        f'<Override PartName="/xl/worksheets/sheet{i}.xml" ContentType="{kind}.worksheet+xml"/>'
        for i in range(1, num_sheets + 1)
    )
    return (
        f'<Types xmlns="{_PACKAGE_NS}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/>{sheets}</Types>'
    )


def _relations(targets: Sequence[tuple[str, str]]) -> str:
    items = "".join(
        f'<Relationship Id="rId{i}" Type="{_RELATIONS_NS}/{kind}" Target="{target}"/>'
        for i, (kind, target) in enumerate(targets, start=1)
    )
    return f'<Relationships xmlns="{_PACKAGE_NS}/relationships">{items}</Relationships>'


def _workbook(names: Sequence[str]) -> str:
    sheets = "".join(f'<sheet name="{escape(n)}" sheetId="{i}" r:id="rId{i}"/>' for i, n in enumerate(names, start=1))
    return f'<workbook xmlns="{_WORKBOOK_NS}" xmlns:r="{_RELATIONS_NS}"><sheets>{sheets}</sheets></workbook>'


def _sheet(rows: Table) -> str:
    body = "".join(f"<row>{''.join(_cell(c) for c in row)}</row>" for row in rows)
    return f'<worksheet xmlns="{_WORKBOOK_NS}"><sheetData>{body}</sheetData></worksheet>'


def _cell(text: str) -> str:
    number = plain_number(text)
    if number is not None:
        return f"<c><v>{number}</v></c>"
    return f'<c t="inlineStr"><is><t xml:space="preserve">{escape(safe_cell(text))}</t></is></c>'
