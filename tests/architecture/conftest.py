"""The shipped model catalog, read once."""

from __future__ import annotations

import pytest

from planner.architecture.catalog import ModelCatalog
from planner.resources import data_folder


@pytest.fixture(scope="session")
def catalog() -> ModelCatalog:
    return ModelCatalog(data_folder("catalogs") / "models")
