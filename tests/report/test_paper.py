"""The page that is laid out on paper is the page of the file, read faster."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest
import tinyhtml5

from planner.plan.io import read_plan
from planner.plan.types import Plan
from planner.report.html import render_html
from planner.report.pages import MOST_PAGES
from planner.report.paper import for_paper, tree_of
from planner.report.view import view_of
from planner.report.words import AUDIENCES

ROOT = Path(__file__).parents[2]
PLANS = sorted((ROOT / "plans").rglob("plan.json"))

Line = tuple[int, str, tuple[tuple[str, str], ...], str, str]


def lines(element: Element, depth: int = 0) -> list[Line]:
    """Every element with its depth, attributes and texts, spaces around those left out."""
    own = depth, element.tag, tuple(sorted(element.attrib.items())), *map(stripped, (element.text, element.tail))
    return [own, *(line for child in element for line in lines(child, depth + 1))]


def stripped(text: str | None) -> str:
    return (text or "").strip()


@pytest.mark.parametrize("path", PLANS, ids=lambda p: p.parent.name)
def test_the_quick_parser_reads_a_report_as_a_browser_does(path: Path) -> None:
    html = render_html(view_of(read_plan(path))).replace("off-paper", "seen").replace("aria-label", "label")
    html = re.sub(r"<title>[^<]*</title>(?=</rect>|</g>|</circle>)", "", html)
    quick = tree_of(html)
    assert quick is not None
    assert lines(quick) == lines(tinyhtml5.parse(html, namespace_html_elements=False))


@pytest.mark.parametrize("audience", AUDIENCES)
def test_every_variable_has_a_value_on_paper(audience: str) -> None:
    page = for_paper(render_html(view_of(read_plan(PLANS[0]), audience)))
    assert "var(" not in page
    assert 'media="screen"' not in page


def test_the_accent_of_a_spec_goes_before_that_of_the_style_sheet() -> None:
    page = '<html style="--accent: #123456"><style>:root { --ink: #000; --accent: #fff } a { color: var(--accent); }'
    assert "a { color: #123456; }" in for_paper(page + "</style></html>")
    assert "a { color: #fff; }" in for_paper(page.replace("--accent: #1", "--other: #1") + "</style></html>")


def test_a_variable_without_a_value_is_left_to_the_layout() -> None:
    page = "<style>a { color: var(--unknown); width: var(--x, 1px); }</style>"
    assert for_paper(page) == page


def test_what_only_a_screen_shows_is_left_out_and_the_text_after_it_stays() -> None:
    first = '<p class="x off-paper">no<b>no</b></p>'
    tree = tree_of(f'<div>a{first}b<i>c</i>d<u class="off-paper"/>e<p class="off-paperx">f</p></div>')
    assert tree is not None
    assert "".join(tree.itertext()) == "abcdef"


def test_a_chart_says_in_the_pdf_what_it_shows_and_nothing_a_pointer_would_bring_up() -> None:
    chart = tree_of('<svg aria-label="8 of 10 GiB" class="c"><g><rect><title>weights</title></rect></g></svg>')
    hidden = tree_of('<svg aria-hidden="true"><rect/></svg>')
    assert chart is not None
    assert hidden is not None
    assert [(e.tag.rpartition("}")[2], e.text) for e in chart.iter()][1:] == [
        ("title", "8 of 10 GiB"),
        ("g", None),
        ("rect", None),
    ]
    assert len(hidden) == 1


def test_elements_without_content_need_no_end() -> None:
    tree = tree_of('<p>a<br>b<img src="data:,"  ><br/>c<meta charset="utf-8"></p>')
    assert tree is not None
    assert [c.tag for c in tree] == ["br", "img", "br", "meta"]


@pytest.mark.parametrize(
    "page", ["<p>a & b</p>", "<p>a", "<p><b>x</p></b>", "<!DOCTYPE p [<!ENTITY a 'b'>]><p>&a;</p>", ""]
)
def test_pages_that_are_not_well_formed_go_the_long_way(page: str) -> None:
    assert tree_of(page) is None


def test_links_to_what_is_left_out_are_texts_and_their_entries_in_lists_go() -> None:
    tree = tree_of(
        '<div><ol><li><a href="#here">1</a></li><li><a href="#gone">2</a></li></ol><p>see <a href="#gone">that</a>'
        '<a href="https://example.org">x</a></p><p id="here">h</p><p id="gone" class="off-paper">g</p></div>'
    )
    assert tree is not None
    assert "".join(tree.itertext()) == "1see thatxh"
    assert [a.get("href") for a in tree.iter("a")] == ["#here", None, "https://example.org"]


def fleet_of(number: int) -> Plan:
    """The company's plan with its first workload many times over, each a cent dearer than the last."""
    plan = read_plan(ROOT / "plans" / "company" / "plan.json")
    first = plan.workloads[0]
    many = tuple(
        first.model_copy(
            update={"name": f"w{n}", "cost": first.cost.model_copy(update={"usd_per_hour": (n + 1) / 100})}
        )
        for n in range(number)
    )
    return plan.model_copy(update={"workloads": many, "evidence": ()})


def test_of_a_large_fleet_the_workloads_that_cost_most_have_pages_on_paper() -> None:
    plan = fleet_of(MOST_PAGES + 2)
    view = view_of(plan)
    html = render_html(view)
    tree = tree_of(for_paper(html))
    assert tree is not None
    assert view.off_paper == ("w0", "w1")
    assert view.off_paper_note.startswith("2 more workloads")
    assert html.count("<article ") == MOST_PAGES + 2
    assert len(list(tree.iter("article"))) == MOST_PAGES
    assert view.off_paper_note in "".join(tree.itertext())


def test_a_fleet_whose_pages_fit_has_them_all() -> None:
    view = view_of(fleet_of(MOST_PAGES))
    assert (view.off_paper, view.off_paper_note) == ((), "")
