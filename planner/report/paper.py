"""The page as paper needs it: parsed by a fast parser, without what only a screen shows.

The layout engine reads HTML in Python, looks every rule up for every element and computes every variable again. The
report's own pages are well-formed, so the C parser of the standard library reads them; a page of somebody's own
templates may not be, and then goes the long way.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

SVG = "http://www.w3.org/2000/svg"
TITLE = f"{{{SVG}}}title"
VOID = re.compile(r"<((?:area|base|br|col|embed|hr|img|input|link|meta|source|track|wbr)\b[^<>]*?)\s*/?>")
"""Elements without content, which HTML does not close."""
SVG_START = re.compile(r"<svg(?![^<>]*\bxmlns=)")
SCREEN_STYLES = re.compile(r'<style media="screen">.*?</style>', re.DOTALL)
STYLES = re.compile(r"(<style[^<>]*>)(.*?)(</style>)", re.DOTALL)
ROOT_RULE = re.compile(r":root\s*\{([^{}]*)\}")
VARIABLE = re.compile(r"(--[\w-]+)\s*:\s*([^;{}]+?)\s*(?:;|$)")
USE = re.compile(r"var\(\s*(--[\w-]+)\s*\)")
ROOT_STYLE = re.compile(r'<html[^<>]*\bstyle="([^"<>]*)"')
OFF_PAPER = "off-paper"
"""Class of what paper leaves out."""


def for_paper(html: str) -> str:
    """The page without its screen styles, and with the variables of its root put in place of their uses."""
    html = SCREEN_STYLES.sub("", html)
    known: dict[str, str] = {}
    for sheet in STYLES.finditer(html):
        for rule in ROOT_RULE.finditer(sheet[2]):
            known.update(VARIABLE.findall(rule[1]))
    for own in ROOT_STYLE.finditer(html):
        known.update(VARIABLE.findall(own[1]))

    def filled(sheet: re.Match[str]) -> str:
        text = USE.sub(lambda use: known.get(use[1], use[0]), sheet[2])
        return f"{sheet[1]}{text}{sheet[3]}"

    return STYLES.sub(filled, html)


def tree_of(html: str) -> ElementTree.Element | None:
    """The elements of a well-formed page, what only a screen shows left out; None where it is not well-formed or
    declares entities of its own."""
    if "<!ENTITY" in html:
        return None
    text = SVG_START.sub(f'<svg xmlns="{SVG}"', VOID.sub(r"<\1/>", html))
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return None
    for parent in list(root.iter()):
        for child in [c for c in parent if is_off_paper(c)]:
            leave_out(parent, child)
    drop_dead_links(root)
    for chart in root.iter(f"{{{SVG}}}svg"):
        give_alternative(chart)
    return root


def drop_dead_links(root: ElementTree.Element) -> None:
    """Take the links to parts that are left out from their texts, and from the contents the entries themselves."""
    ids = {f"#{e.get('id')}" for e in root.iter() if e.get("id")}
    for entries in [e for e in root.iter("ol") if any(c.tag == "li" for c in e)]:
        for entry in list(entries):
            if is_dead(entry.find("a"), ids):
                leave_out(entries, entry)
    for link in root.iter("a"):
        if is_dead(link, ids):
            del link.attrib["href"]


def is_dead(link: ElementTree.Element | None, ids: set[str]) -> bool:
    """Leads to a part of the page that is not there."""
    target = "" if link is None else link.get("href", "")
    return target.startswith("#") and target not in ids


def is_off_paper(element: ElementTree.Element) -> bool:
    """Marked as such, or the text that a pointer brings up over a part of a chart."""
    return element.tag == TITLE or OFF_PAPER in element.get("class", "").split()


def give_alternative(chart: ElementTree.Element) -> None:
    """Turn the label of a chart into the text that the PDF gives to those who cannot see it."""
    label = chart.get("aria-label")
    if label is not None:
        title = ElementTree.Element(TITLE)
        title.text = label
        chart.insert(0, title)


def leave_out(parent: ElementTree.Element, child: ElementTree.Element) -> None:
    """Remove an element but not the text after it."""
    place = list(parent).index(child)
    if child.tail and place:
        before = parent[place - 1]
        before.tail = (before.tail or "") + child.tail
    elif child.tail:
        parent.text = (parent.text or "") + child.tail
    parent.remove(child)
