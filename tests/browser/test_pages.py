"""Reports in a real browser: nothing is loaded, nothing is logged, nothing overflows, and everybody can read them.

Deselected by default; `make browser` installs axe-core and runs them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from planner.cli.explain import classic_text
from planner.plan.io import read_plan
from planner.plan.types import Plan
from planner.report.html import INTERACTIVE_PAGE, render_html
from planner.report.view import view_of
from planner.resources import data_folder
from tests.browser.chrome import Chrome, Page, browser, open_page

pytestmark = pytest.mark.browser

HERE = Path(__file__).parent
AXE = HERE / "node_modules/axe-core/axe.min.js"
FIXTURES = HERE.parent / "report/fixtures"
PHONE, DESKTOP = 375, 1280
LANGUAGES = ("en", "fa")
PLANS = ("company", "infeasible", "unplaceable")


@pytest.fixture(scope="session")
def chrome() -> Iterator[Chrome]:
    with browser() as running:
        yield running


@pytest.fixture(scope="session")
def axe() -> str:
    assert AXE.is_file(), "axe-core is not there: make browser installs it"
    return AXE.read_text(encoding="utf-8")


def plan_named(name: str) -> Plan:
    shipped = data_folder("plans") / name / "plan.json"
    return read_plan(shipped if shipped.is_file() else FIXTURES / f"{name}.json")


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """Every kind of page in both directions of reading, by name and language."""
    folder = tmp_path_factory.mktemp("pages")
    texts = {
        (name, code): render_html(view_of(plan_named(name), language=code)) for name in PLANS for code in LANGUAGES
    }
    texts |= {
        ("interactive", code): render_html(view_of(plan_named("company"), language=code), page=INTERACTIVE_PAGE)
        for code in LANGUAGES
    }
    texts |= {("classic", code): classic_text(code, as_page=True) for code in LANGUAGES}
    files = {}
    for (name, code), text in texts.items():
        files[name, code] = folder / f"{name}.{code}.html"
        files[name, code].write_text(text, encoding="utf-8")
    return files


@pytest.fixture(
    scope="module", params=[(n, c) for n in (*PLANS, "interactive", "classic") for c in LANGUAGES], ids="-".join
)
def page(request: pytest.FixtureRequest, chrome: Chrome, pages: dict[tuple[str, str], Path]) -> Iterator[Page]:
    """Each page, loaded once."""
    with open_page(chrome, pages[request.param]) as opened:
        yield opened


@pytest.fixture(scope="module")
def persian(chrome: Chrome, pages: dict[tuple[str, str], Path]) -> Iterator[Page]:
    with open_page(chrome, pages["company", "fa"]) as opened:
        yield opened


def test_a_page_loads_nothing_and_logs_nothing(page: Page) -> None:
    addresses = [e["request"]["url"] for e in page.happened("Network.requestWillBeSent")]
    assert sum(a.startswith("file:") for a in addresses) == 1, "the page itself"
    assert [a for a in addresses if not a.startswith(("file:", "data:"))] == []
    assert page.happened("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded") == []


def test_a_page_is_never_wider_than_the_window(page: Page) -> None:
    widths = (320, PHONE, 768, DESKTOP)
    needed = {}
    for width in widths:
        page.show_as(width=width)
        needed[width] = page.value("document.documentElement.scrollWidth")
    assert {width: n for width, n in needed.items() if n > width} == {}


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(page: Page, axe: str, width: int, scheme: str) -> None:
    page.show_as(width=width, scheme=scheme)
    assert findings(page, axe) == []


def findings(page: Page, axe: str) -> list[str]:
    """Serious and critical violations as axe words them, with the first places."""
    page.value(f"if (!window.axe) {{ {axe} }}; 0")
    found: list[dict[str, Any]] = page.value("axe.run().then(r => r.violations)")
    return [
        f"{v['id']}: {v['help']}: {[n['target'][0] for n in v['nodes'][:3]]} {v['nodes'][0].get('failureSummary', '')}"
        for v in found
        if v["impact"] in ("serious", "critical")
    ]


def test_persian_letters_are_drawn_with_the_font_that_comes_along(persian: Page) -> None:
    loaded = "document.fonts.ready.then(() => [...document.fonts].filter(f => f.status == 'loaded').map(f => f.family))"
    assert {family.strip('"') for family in persian.value(loaded)} == {"Vazirmatn"}


def left_of(page: Page, selector: str, index: int = 0) -> float:
    """Where an element begins, in pixels from the left."""
    script = f"document.querySelectorAll('{selector}')[{index}].getBoundingClientRect().left"
    return float(page.value(script))


def test_a_persian_page_begins_on_the_right(persian: Page) -> None:
    persian.show_as(width=DESKTOP)
    assert left_of(persian, ".contents") > left_of(persian, ".decision")
    assert left_of(persian, ".brief thead th", 0) > left_of(persian, ".brief thead th", 1)


def test_a_number_and_its_unit_stand_in_their_own_order(persian: Page) -> None:
    persian.show_as(width=DESKTOP)
    script = """
        (() => {
            const cell = [...document.querySelectorAll('.brief td')].find(c => c.textContent.includes('H100'));
            const node = cell.firstChild, text = node.textContent, at = text.indexOf('H100');
            const left = (i) => { const r = document.createRange(); r.setStart(node, i); r.setEnd(node, i + 1);
                                  return r.getBoundingClientRect().left; };
            return [left(text.lastIndexOf('×', at) - 2), left(at), left(text.indexOf('80GB'))];
        })()
    """
    count, name, size = persian.value(script)
    assert count < name < size


def test_the_pages_of_the_interactive_report_answer(chrome: Chrome, pages: dict[tuple[str, str], Path]) -> None:
    with open_page(chrome, pages["interactive", "en"]) as page:
        before = page.value("document.body.innerText")
        moved = page.value(
            "(() => { const s = document.querySelector('input[type=range]'); s.value = s.max;"
            " s.dispatchEvent(new Event('input', {bubbles: true})); return s.max; })()"
        )
        assert moved
        assert page.value("document.body.innerText") != before


def test_what_these_tests_look_for_they_find(chrome: Chrome, axe: str, tmp_path: Path) -> None:
    file = tmp_path / "faulty.html"
    file.write_text(
        "<!DOCTYPE html><html><title>x</title><body style='width: 3000px'><img src='missing.png'>"
        "<p style='color: #ddd; background: #fff'>pale</p><script>console.log('said')</script>",
        encoding="utf-8",
    )
    with open_page(chrome, file) as page:
        assert len(page.happened("Network.requestWillBeSent")) > 1
        assert page.happened("Runtime.consoleAPICalled")
        assert page.value("document.documentElement.scrollWidth") > DESKTOP
        assert {text.partition(":")[0] for text in findings(page, axe)} >= {
            "image-alt",
            "color-contrast",
            "html-has-lang",
        }
