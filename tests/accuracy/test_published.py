"""What the project says about its accuracy is what its code gives."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from planner.accuracy.bounds import exceeded, load_bounds, tables
from planner.accuracy.intervals import families, fitted, left_out_places, row_weights
from planner.accuracy.page import short_tables
from planner.accuracy.types import Scored

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def benchmark_accuracy() -> ModuleType:
    """benchmarks/accuracy.py, which is no package."""
    spec = importlib.util.spec_from_file_location("benchmark_accuracy", ROOT / "benchmarks" / "accuracy.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_published_error_bound_is_exceeded(every_row: list[Scored]) -> None:
    bounds = load_bounds(ROOT / "validation" / "bounds.yaml")
    assert {"published memory", "published speed"} <= bounds.keys()
    assert not list(exceeded(every_row, bounds))


def test_every_line_of_the_tables_has_a_published_bound(every_row: list[Scored]) -> None:
    bounds = load_bounds(ROOT / "validation" / "bounds.yaml")
    lines = {(name, title) for name, of in tables(every_row).items() for title in of}
    assert lines == {(name, title) for name, of in bounds.items() for title in of}


def test_every_published_row_has_a_prediction(every_row: list[Scored]) -> None:
    published = [r for r in every_row if r.origin == "published"]
    assert len(published) > 2000
    assert not Counter(r.failure for r in published if r.failure)


def test_the_accuracy_page_is_what_the_records_give(
    every_row: list[Scored], benchmark_accuracy: ModuleType, update_golden: bool
) -> None:
    path = ROOT / "validation" / "ACCURACY.md"
    text = benchmark_accuracy.accuracy_page(every_row)
    if update_golden:
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, "python benchmarks/accuracy.py writes it anew"


def test_the_tables_of_the_readme_are_what_the_records_give(
    every_row: list[Scored], benchmark_accuracy: ModuleType, update_golden: bool
) -> None:
    path = ROOT / "README.md"
    now = path.read_text(encoding="utf-8")
    text = benchmark_accuracy.with_tables(now, short_tables(every_row))
    if update_golden:
        path.write_text(text, encoding="utf-8")
        now = text
    assert now == text, "python benchmarks/accuracy.py writes them anew"


def test_the_readme_has_a_place_for_the_tables(benchmark_accuracy: ModuleType) -> None:
    readme = f"before\n{benchmark_accuracy.BEGIN}old{benchmark_accuracy.END}after\n"
    assert "before\n" in benchmark_accuracy.with_tables(readme, "new\n")
    assert "old" not in benchmark_accuracy.with_tables(readme, "new\n")
    assert benchmark_accuracy.with_tables("no markers\n", "new\n") == "no markers\n"


@pytest.mark.parametrize("family", ["memory", "speed"])
def test_most_measurements_lie_inside_their_intervals(every_row: list[Scored], family: str) -> None:
    of = tables(every_row)[f"published {family}"]["all"]
    assert of.coverage is not None
    assert of.coverage >= 0.85


def test_intervals_made_without_a_source_hold_nine_of_ten_of_its_measurements(
    every_row: list[Scored], benchmark_accuracy: ModuleType
) -> None:
    errors = benchmark_accuracy.recorded_errors(every_row)
    stretch = fitted(errors)[1]
    held = {}
    for family, of in families(errors).items():
        weights, needed = row_weights(of), left_out_places(of)[0.9]
        if len(of) >= 100:
            held[family] = float(weights[needed <= stretch[family][0.9]].sum() / weights.sum())
    assert len(held) == 4
    assert all(0.85 <= share <= 0.95 for share in held.values()), held
