"""Files: written whole, the same twice, safe to open in a spreadsheet, safe to paste into a pull request."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

from planner.errors import InputError
from planner.plan.types import Plan, Rejected
from planner.report.markdown import render_markdown
from planner.report.tables import plain_number, render_csv, render_xlsx, safe_cell, tables
from planner.report.view import view_of
from planner.report.write import FORMATS, check_formats, write_reports
from tests.plan.plans import TWO, built, plan_of

QUICK = ("html", "interactive", "md", "json", "csv", "xlsx")


def test_every_format_but_the_pdf_is_the_same_bytes_twice(two_workloads: Plan, tmp_path: Path) -> None:
    first = write_reports(two_workloads, tmp_path / "a", QUICK)
    second = write_reports(two_workloads, tmp_path / "b", QUICK)
    assert [p.name for p in first] == [p.name for p in second]
    assert len(first) == 11
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(first, second, strict=True))


def test_only_whole_files_are_left_in_the_folder(two_workloads: Plan, tmp_path: Path) -> None:
    written = write_reports(two_workloads, tmp_path, ("html", "csv"))
    assert {p.name for p in tmp_path.iterdir()} == {p.name for p in written}


def test_a_format_that_does_not_exist_is_refused_before_anything_is_written(
    two_workloads: Plan, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"no such format: docx; there are html, pdf, md, json, csv, xlsx"):
        write_reports(two_workloads, tmp_path / "new", ("html", "docx"))
    assert not (tmp_path / "new").exists()
    assert check_formats(FORMATS) == FORMATS


def test_a_link_in_the_place_of_a_report_is_not_followed(two_workloads: Plan, tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("mine", encoding="utf-8")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.html").symlink_to(outside)
    with pytest.raises(InputError, match="symbolic link"):
        write_reports(two_workloads, tmp_path / "out", ("html",))
    assert outside.read_text(encoding="utf-8") == "mine"


def test_a_place_that_cannot_be_written_is_said(two_workloads: Plan, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be written"):
        write_reports(two_workloads, tmp_path / "file" / "folder", ("md",))


def test_the_json_holds_the_texts_of_the_report(two_workloads: Plan, tmp_path: Path) -> None:
    (path,) = write_reports(two_workloads, tmp_path, ("json",))
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["schema"] == "planner/report/v1"
    assert document["bill"]["usd_per_hour"] == "27.64"
    assert document["workloads"][0]["memory"]["peak"] == "40.49"


def test_csv_numbers_are_numbers(two_workloads: Plan) -> None:
    rows = list(csv.DictReader(io.StringIO(render_csv(tables(view_of(two_workloads))["bill-of-materials"]))))
    assert [float(r["USD/h"]) for r in rows] == [3.72, 23.92, 27.64]
    *drawn, total = [float(r["kW"]) for r in rows]
    assert sum(drawn) == pytest.approx(total)
    assert [r["line"] for r in rows] == ["1", "2", "total"]
    assert rows[0]["rack units"] == ""


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "=HYPERLINK(1)"])
def test_no_cell_is_a_formula(two_workloads: Plan, text: str) -> None:
    assert safe_cell(text) == f"'{text}"
    chat = two_workloads.workloads[0].model_copy(update={"rejected": (Rejected(gpu=text, reason=text),)})
    view = view_of(two_workloads.model_copy(update={"workloads": (chat,)}))
    cells = [c for row in csv.reader(io.StringIO(render_csv(tables(view)["rejected"]))) for c in row]
    assert not [c for c in cells if c.startswith(("=", "+", "-", "@", "\t", "\r"))]


@pytest.mark.parametrize(
    ("text", "number"), [("1,234.50", "1234.50"), ("-3", "-3"), ("2 x", None), ("", None), ("1.2.3", None)]
)
def test_only_numbers_count_as_numbers(text: str, number: str | None) -> None:
    assert plain_number(text) == number


def test_the_workbook_opens_and_holds_every_table(two_workloads: Plan) -> None:
    sheets = tables(view_of(two_workloads))
    space = {"m": "http://schemas.openxmlformats.org/spreadsheetml/2006/main"}
    with zipfile.ZipFile(io.BytesIO(render_xlsx(sheets))) as book:
        workbook = ElementTree.fromstring(book.read("xl/workbook.xml"))
        names = [s.attrib["name"] for s in workbook.iterfind("m:sheets/m:sheet", space)]
        first = ElementTree.fromstring(book.read("xl/worksheets/sheet1.xml"))
        for name in book.namelist():
            ElementTree.fromstring(book.read(name))
    assert names == ["bill-of-materials", "workloads", "cash-flow", "risks", "assumptions", "rejected"]
    rows = first.findall("m:sheetData/m:row", space)
    assert len(rows) == 4
    assert "27.64" in [v.text for v in rows[-1].iterfind("m:c/m:v", space)]


def test_no_table_is_capped_in_csv(two_workloads: Plan) -> None:
    many = tuple(Rejected(gpu=f"gpu-{i}", reason=f"reason {i}") for i in range(300))
    chat = two_workloads.workloads[0].model_copy(update={"rejected": many})
    view = view_of(two_workloads.model_copy(update={"workloads": (chat,)}))
    assert len(view.rejected[0].rows) == 6
    assert view.rejected[0].more == "294 more in rejected.csv and plan.json."
    assert len(tables(view)["rejected"]) == 301


def test_markdown_is_short_and_says_the_decision(two_workloads: Plan) -> None:
    text = render_markdown(view_of(two_workloads))
    assert "for 27.64 USD/h, 20,179 USD a month" in text
    assert len(text) < 3000


@pytest.mark.parametrize(
    "name", ["a|b", "<b>x</b>", "@everyone", "#12", "[x](javascript:alert(1))", "https://x.test/a"]
)
def test_markdown_names_make_no_markup_and_no_link(two_workloads: Plan, name: str) -> None:
    chat = two_workloads.workloads[0].model_copy(update={"name": name})
    text = render_markdown(view_of(two_workloads.model_copy(update={"workloads": (chat,)})))
    (row,) = [line for line in text.splitlines() if "NVIDIA L40S, fp8" in line and line.startswith("|")]
    assert row.replace("\\|", "").count("|") == 5
    assert not re.search(r"(?<!\\)[<>\[\]#@]|[#@]\w|https?://", row)


@pytest.mark.parametrize("text", [TWO, TWO.replace("tpot_ms: 60", "tpot_ms: 0.5")], ids=["optimal", "infeasible"])
def test_a_plan_read_back_gives_the_same_bytes_as_the_one_just_built(text: str, tmp_path: Path) -> None:
    formats = tuple(f for f in FORMATS if f != "pdf")
    fresh = write_reports(built(text).plan, tmp_path / "fresh", formats)
    again = write_reports(plan_of(text), tmp_path / "again", formats)
    assert [p.read_bytes() for p in fresh] == [p.read_bytes() for p in again]


def test_payments_and_risks_stand_in_files_of_their_own(two_workloads: Plan) -> None:
    found = tables(view_of(two_workloads))
    assert found["cash-flow"][0] == ("when", "rent USD", "total USD")
    assert found["cash-flow"][-1] == ("Total", "726,437", "726,437")
    assert found["risks"][0] == ("level", "risk", "what to do", "owner")
    assert len(found["risks"]) > 3
