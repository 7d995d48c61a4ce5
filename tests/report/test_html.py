"""The HTML report: self-contained, without scripts, and text stays text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from planner.errors import InputError
from planner.plan.types import Plan
from planner.report.html import render_html
from planner.report.view import view_of
from planner.resources import data_folder

VOID = {"meta", "br", "circle", "line", "rect"}
ALLOWED_TAGS = {
    "a", "article", "b", "body", "br", "caption", "circle", "code", "dd", "div", "dl", "dt", "h1", "h2", "h3", "h4",
    "head", "header", "html", "li", "line", "main", "meta", "nav", "ol", "p", "rect", "section", "span", "style",
    "svg", "table", "tbody", "td", "text", "tfoot", "th", "thead", "title", "tr", "ul",
}  # fmt: skip
ALLOWED_ATTRIBUTES = {
    "aria-hidden", "aria-label", "aria-labelledby", "charset", "class", "content", "cx", "cy", "dy", "fill",
    "font-size", "font-weight", "height", "href", "http-equiv", "id", "lang", "media", "name", "r", "role", "rx",
    "scope", "stroke", "stroke-dasharray", "stroke-linecap", "stroke-width", "style", "tabindex", "text-anchor",
    "viewbox", "width", "x", "x1", "x2", "y", "y1", "y2",
}  # fmt: skip
HOSTILE = (
    "<script>alert(1)</script>",
    "javascript:alert(1)",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% for x in y %}",
    "</style><script>alert(1)</script>",
    "\u202egnp.exe",
    "]]><svg onload=alert(1)>",
    "&lt;b&gt;",
    "=HYPERLINK(1)",
    "[/foo][link=http://x]",
    "n" * 10_000,
)


class Reader(HTMLParser):
    """Checks nesting while it collects tags, attributes and text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert not reader.open
    return reader


def hostile(plan: Plan, text: str) -> Plan:
    """The plan with `text` as every name and note that comes from outside."""
    chat = plan.workloads[0]
    workload = chat.model_copy(
        update={
            "name": text,
            "model": text,
            "gpu_name": text,
            "engine": text,
            "why": text,
            "warnings": (text,),
            "config": {**chat.config, "attention": text, text[:60]: text},
            "placements": tuple(p.model_copy(update={"offer": text, "node": text}) for p in chat.placements),
            "alternatives": tuple(a.model_copy(update={"gpu": text, "why_not": text}) for a in chat.alternatives),
            "rejected": tuple(r.model_copy(update={"gpu": text, "reason": text}) for r in chat.rejected),
            "demand_met": tuple(d.model_copy(update={"target": text}) for d in chat.demand_met),
        }
    )
    report = {"title": text, "organisation": text, "author": text}
    facts = tuple(f.model_copy(update={"id": text, "source": text, "what": text}) for f in plan.inputs.facts)
    return plan.model_copy(
        update={
            "name": text,
            "warnings": (text,),
            "workloads": (workload, *plan.workloads[1:]),
            "purchases": tuple(p.model_copy(update={"node": text, "price_source": text}) for p in plan.purchases),
            "nodes": tuple(n.model_copy(update={"replicas": {text: 1}}) for n in plan.nodes[:1]),
            "inputs": plan.inputs.model_copy(
                update={"spec": {**plan.inputs.spec, "report": report}, "facts": facts, "spec_file": text}
            ),
        }
    )


@pytest.fixture(params=["two_workloads", "infeasible", "unplaceable"])
def any_html(request: pytest.FixtureRequest) -> str:
    return render_html(view_of(request.getfixturevalue(request.param)))


def test_a_report_is_well_formed_and_holds_no_script(any_html: str) -> None:
    reader = read(any_html)
    assert reader.tags <= ALLOWED_TAGS
    assert {name for name, _ in reader.attributes} <= ALLOWED_ATTRIBUTES


def test_a_report_points_nowhere_but_into_itself(any_html: str) -> None:
    reader = read(any_html)
    ids = {value for name, value in reader.attributes if name == "id"}
    links = [value for name, value in reader.attributes if name == "href"]
    assert links
    assert all(link.startswith("#") and link[1:] in ids for link in links)
    assert not re.search(r"url\(|@import|https?://|//[a-z]", any_html)


def test_ids_are_unique(any_html: str) -> None:
    ids = [value for name, value in read(any_html).attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_a_browser_is_told_to_load_nothing(any_html: str) -> None:
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:" in any_html.replace(
        "&#39;", "'"
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_text_and_nothing_else(two_workloads: Plan, text: str) -> None:
    html = render_html(view_of(hostile(two_workloads, text)))
    reader = read(html)
    assert reader.tags <= ALLOWED_TAGS
    assert {name for name, _ in reader.attributes} <= ALLOWED_ATTRIBUTES
    assert all(value.startswith("#") for name, value in reader.attributes if name == "href")
    expected = text.replace("\u202e", "\\u202e")[:100]
    assert expected in reader.text
    assert "\u202e" not in html


def test_every_text_of_the_view_reaches_the_page(two_workloads: Plan) -> None:
    view = view_of(two_workloads)
    text = read(render_html(view)).text
    said = [view.decision, view.asked, view.proof, *view.confidence, *view.warnings]
    said += [f.value for f in view.figures]
    for w in view.workloads:
        said += [w.summary, w.why, w.memory.verdict, *(t.got for t in w.targets), *(a.why_not for a in w.alternatives)]
        said += [s.value for s in w.memory.segments] + [p.value for p in (*w.speed, *w.config, *w.money)]
    said += [r.reason for group in view.rejected for r in group.rows] + [f.source for f in view.facts.rows]
    assert [s for s in said if s not in text] == []


def test_the_same_plan_gives_the_same_bytes(two_workloads: Plan) -> None:
    assert render_html(view_of(two_workloads)) == render_html(view_of(two_workloads.model_copy(deep=True)))


def test_two_workload_report(two_workloads: Plan, golden: Callable[[str, str], None]) -> None:
    body = render_html(view_of(two_workloads)).split("</head>")[1]
    golden("report/two_workloads.body.html", body)


def template_files() -> Iterator[Path]:
    yield from sorted(data_folder("templates").rglob("*.j2"))


def test_templates_pass_no_text_through_unescaped() -> None:
    files = list(template_files())
    assert len(files) > 8
    for path in files:
        source = path.read_text(encoding="utf-8")
        assert "|safe" not in source.replace(" ", ""), path
        assert "autoescape" not in source, path


def test_templates_quote_every_attribute() -> None:
    for path in template_files():
        assert not re.search(r"=\{\{", path.read_text(encoding="utf-8")), path


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ view.no_such_name }}", r"report\.html\.j2:1: .*no_such_name"),
        ("a\n{% if %}", r"report\.html\.j2:2: "),
        ("{% include 'partials/none.html.j2' %}", "template 'partials/none.html.j2' is missing"),
        ("{% include '../secret.j2' %}", "template '../secret.j2' is missing"),
        ("{{ view.__class__.__mro__ }}", r"report\.html\.j2:1: access to attribute '__class__'"),
        ("{{ styles.base.format.__globals__ }}", "is unsafe"),
        ("{% for i in range(10 ** 9) %}{% endfor %}", "Range too big"),
    ],
)
def test_what_a_template_of_ones_own_gets_wrong_is_said(
    two_workloads: Plan, tmp_path: Path, template: str, message: str
) -> None:
    (tmp_path / "secret.j2").write_text("secret", encoding="utf-8")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "report.html.j2").write_text(template, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        render_html(view_of(two_workloads), templates=mine)


def test_a_folder_of_ones_own_replaces_single_files(two_workloads: Plan, tmp_path: Path) -> None:
    (tmp_path / "partials").mkdir()
    (tmp_path / "partials" / "glossary.html.j2").write_text("<p>our words</p>", encoding="utf-8")
    (tmp_path / "screen.css").write_text("h1 { color: green }", encoding="utf-8")
    page = render_html(view_of(two_workloads), templates=tmp_path)
    assert "<p>our words</p>" in page
    assert "h1 { color: green }" in page
    assert 'id="decision"' in page


def test_a_folder_that_replaces_nothing_is_said(two_workloads: Plan, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds none of the templates.*report\.html\.j2"):
        render_html(view_of(two_workloads), templates=tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        render_html(view_of(two_workloads), templates=tmp_path / "none")


@pytest.mark.parametrize(
    ("audience", "has", "lacks"),
    [
        ("management", {"decision", "materials", "proof"}, {"workloads", "rejected", "assumptions"}),
        ("procurement", {"decision", "materials", "assumptions"}, {"workloads", "rejected"}),
        ("engineering", {"decision", "workloads", "rejected", "reproduce"}, {"materials"}),
    ],
)
def test_each_audience_gets_its_sections_and_no_link_leads_nowhere(
    two_workloads: Plan, audience: str, has: set[str], lacks: set[str]
) -> None:
    page = render_html(view_of(two_workloads, audience))
    sections = set(re.findall(r'<section id="([^"]+)"', page))
    assert has <= sections
    assert not lacks & sections
    ids = set(re.findall(r' id="([^"]+)"', page))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= ids


def with_logo(plan: Plan, address: str) -> str:
    return render_html(view_of(plan.model_copy(update={"inputs": plan.inputs.model_copy(update={"logo": address})})))


def test_a_logo_is_shown_from_the_plan_itself(two_workloads: Plan) -> None:
    assert '<img class="logo" src="data:image/png;base64,iVBORw0KGgo="' in with_logo(
        two_workloads, "data:image/png;base64,iVBORw0KGgo="
    )


@pytest.mark.parametrize("address", ["https://x/y.png", "data:text/html;base64,AAAA", 'data:image/png;base64,"><b>'])
def test_a_logo_that_is_no_embedded_image_is_left_out(two_workloads: Plan, address: str) -> None:
    assert "<img" not in with_logo(two_workloads, address)
