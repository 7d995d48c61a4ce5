"""The pictures of README.md, made of the shipped company example: `python -m tests.browser.screenshots`."""

from __future__ import annotations

import base64
import io
import tempfile
from pathlib import Path

from PIL import Image

from planner.plan.io import read_plan
from planner.report.html import render_html
from planner.report.view import view_of
from planner.resources import data_folder
from tests.browser.chrome import Chrome, browser, open_page

DOCS = Path(__file__).parent.parent.parent / "docs"
WIDTH, HEIGHT = 1280, 1000
NUM_COLOURS = 64
"""As many as flat colours and the edges of letters need: a tenth of the size."""


def picture(chrome: Chrome, page: Path) -> bytes:
    """The top of a page as a small PNG."""
    with open_page(chrome, page) as opened:
        opened.show_as(width=WIDTH, height=HEIGHT)
        shot = chrome.call("Page.captureScreenshot", opened.session, format="png")["data"]
    out = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(shot))).convert("RGB").quantize(NUM_COLOURS).save(out, "PNG", optimize=True)
    return out.getvalue()


def main() -> None:
    """Write one picture a language."""
    plan = read_plan(data_folder("plans") / "company" / "plan.json")
    DOCS.mkdir(exist_ok=True)
    with browser() as chrome, tempfile.TemporaryDirectory() as folder:
        for code, name in (("en", "decision.png"), ("fa", "decision-fa.png")):
            page = Path(folder) / f"{code}.html"
            page.write_text(render_html(view_of(plan, language=code)), encoding="utf-8")
            size = (DOCS / name).write_bytes(picture(chrome, page))
            print(f"docs/{name}: {size:,} bytes")


if __name__ == "__main__":
    main()
