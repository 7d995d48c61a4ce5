"""The fit of efficiency parameters: it finds what made the data, else stays at its priors, and writes what it found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.fitting.parameters import Fit, load_parameters
from benchmarks.fitting.report import errors_of, kendall_tau
from benchmarks.fitting.rows import Measured, measured_rows, read_records
from benchmarks.fitting.solve import Linear, errors_at, linearised, solved, weights_of
from benchmarks.fitting.write import values_of, written
from planner.estimate.speed.kernels import Kernels, load_kernels, shipped_kernels
from tests.estimate.jobs import catalog

ROOT = Path(__file__).parent.parent.parent
PRIORS = ROOT / "benchmarks" / "fitting" / "priors.yaml"
KERNELS = ROOT / "catalogs" / "kernels.yaml"
RECORDS = ROOT / "validation" / "records" / "published" / "speed"


@pytest.fixture(scope="module")
def fit() -> Fit:
    return load_parameters(PRIORS, load_kernels(KERNELS))


@pytest.fixture(scope="module")
def rows() -> list[Measured]:
    paths = [*RECORDS.glob("gpf-*.jsonl"), *RECORDS.glob("vtm-*.jsonl")]
    return measured_rows(read_records(paths), catalog())[0]


def test_every_parameter_names_an_entry_of_the_catalog_and_can_be_written(fit: Fit, tmp_path: Path) -> None:
    x = np.linspace(-0.2, 0.2, len(fit.parameters))
    path = tmp_path / "kernels.yaml"
    path.write_text(written(KERNELS.read_text(encoding="utf-8"), fit, x), encoding="utf-8")
    again = load_kernels(path)
    for (table, entry, field), value in values_of(fit, x).items():
        assert getattr(entry_of(again, table, entry), field) == pytest.approx(value, rel=0.006)


def entry_of(kernels: Kernels, table: str, entry: str) -> object:
    if table == "shared":
        return kernels.shared
    if table in ("serving", "training"):
        return getattr(kernels, table)[entry]
    rows = getattr(kernels, table)
    return next(r for r in rows if [r.arch, *r.gpus, *([r.width] if table == "gemm" else [])] == entry.split())


def test_slopes_are_those_of_a_step_taken(fit: Fit, rows: list[Measured]) -> None:
    few = rows[::12]
    x = np.zeros(len(fit.parameters))
    linear = linearised(fit, few, x)
    step = np.full(len(x), 0.002)
    assert np.allclose(linear.at(x + step), errors_at(fit, few, x + step), atol=1e-3)


def test_parameters_that_no_row_speaks_about_stay_at_their_prior(fit: Fit, rows: list[Measured]) -> None:
    few = rows[::12]
    linear = linearised(fit, few, np.zeros(len(fit.parameters)))
    x = solved(linear, weights_of(few), fit.spreads)
    silent = ~linear.slopes.any(axis=0)
    assert silent.any()
    assert np.all(np.abs(x[silent]) < 1e-12)


def test_the_fit_finds_the_point_that_made_the_data_whatever_single_rows_say() -> None:
    rng = np.random.default_rng(1)
    slopes, truth = rng.normal(size=(400, 3)), np.array([0.3, -0.2, 0.1])
    errors = -slopes @ truth
    errors[:20] += 3.0
    linear = Linear(x=np.zeros(3), errors=errors, slopes=slopes)
    found = solved(linear, np.ones(400), np.full(3, 10.0))
    assert found == pytest.approx(truth, abs=0.03)


def test_errors_are_shares_of_what_was_measured(rows: list[Measured]) -> None:
    found = errors_of(rows[:4], np.log([1.1, 0.9, 2.5, 1.0]))
    assert found.median == pytest.approx(0.1)
    assert found.within_2x == pytest.approx(0.75)


def test_tau_is_one_for_a_kept_order_and_less_for_a_broken_one(rows: list[Measured]) -> None:
    sweep = [replace(rows[0], value=v) for v in (1.0, 2.0, 4.0, 8.0)]
    assert kendall_tau(sweep, np.zeros(4)) == 1.0
    assert kendall_tau(sweep, np.log([16.0, 1.0, 1.0, 1.0])) == pytest.approx(0.0)


def test_a_variant_of_the_parameters_gives_what_it_gives_alone(fit: Fit, rows: list[Measured]) -> None:
    assert shipped_kernels().shared.model_dump().keys() == fit.kernels.shared.model_dump().keys()
    one = [r for r in rows if r.rule == "decode_rate"][:1]
    index = next(
        i for i, p in enumerate(fit.parameters) if p.field == "layer_overhead_s" and i in fit.relevant(one[0].run)
    )
    x = np.zeros(len(fit.parameters))
    slope = linearised(fit, one, x).slopes[0, index]
    moved = x.copy()
    moved[index] = 0.02
    assert slope == pytest.approx((errors_at(fit, one, moved) - errors_at(fit, one, x))[0] / 0.02, rel=1e-6)
