"""The shipped catalog, and copies of it that a test may damage."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from planner.catalog.load import Catalog
from planner.resources import data_folder


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return Catalog.load()


@pytest.fixture
def damaged(tmp_path: Path) -> Callable[[str, str, str], Catalog]:
    """A copy of the shipped catalog with one text of one file replaced."""

    def damage(file: str, old: str, new: str) -> Catalog:
        folder = tmp_path / "catalogs"
        shutil.copytree(data_folder("catalogs"), folder)
        text = (folder / file).read_text(encoding="utf-8")
        assert old in text, f"{file} has no {old!r}"
        (folder / file).write_text(text.replace(old, new, 1), encoding="utf-8")
        return Catalog.load(folder)

    return damage
