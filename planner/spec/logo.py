"""The logo of a report: a PNG or SVG in the spec's folder, carried in plan.json as a `data:` address."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ET
from pathlib import Path

from planner.spec.files import FileError, inside_folder

MOST_LOGO_BYTES = 262_144
"""A logo is embedded in every HTML report and in plan.json."""
_PNG = b"\x89PNG\r\n\x1a\n"
_SVG_ROOT = "{http://www.w3.org/2000/svg}svg"


def read_logo(name: str, folder: Path | None, include_root: Path | None) -> str:
    """The image as a `data:` address.

    Raises FileError where it lies outside the folder, is too large, or is neither a PNG nor a plain SVG.
    """
    path = inside_folder(name, folder, include_root)
    try:
        content = path.read_bytes()
    except OSError as err:
        raise FileError(f"{name!r} cannot be read: {err}") from None
    if len(content) > MOST_LOGO_BYTES:
        raise FileError(f"{name!r} has {len(content):,} bytes; a logo has at most {MOST_LOGO_BYTES:,}")
    kind = "image/png" if content.startswith(_PNG) else _svg(name, content)
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _svg(name: str, content: bytes) -> str:
    """The media type of an SVG. Raises FileError for anything else, and for one with entities of its own."""
    if b"<!DOCTYPE" in content.upper() or b"<!ENTITY" in content.upper():
        raise FileError(f"{name!r}: an SVG logo must not declare a document type")
    try:
        root = ET.fromstring(content)
    except ET.ParseError as err:
        raise FileError(f"{name!r} is neither a PNG nor an SVG: {err}") from None
    if root.tag != _SVG_ROOT:
        raise FileError(f"{name!r} is XML but no SVG image: its first element is {root.tag!r}")
    return "image/svg+xml"
