"""All published records scored once for every test of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.accuracy.score import load, score_records
from planner.accuracy.types import Scored
from planner.catalog.load import Catalog

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def every_row() -> list[Scored]:
    """Every figure of every record in the repository beside its prediction."""
    return score_records(load([ROOT / "validation" / "records"]), Catalog.load())
