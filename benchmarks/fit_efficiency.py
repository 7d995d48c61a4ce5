"""Fit of the efficiency parameters in `catalogs/kernels.yaml` to published records.

    python -m benchmarks.fit_efficiency                 # errors of the shipped parameters
    python -m benchmarks.fit_efficiency --fit           # fit, and errors on sources left out
    python -m benchmarks.fit_efficiency --fit --write   # the same, written into the catalog and the error record

Runs from the top of a checkout. The parameters that may move and their priors: `benchmarks/fitting/priors.yaml`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks.fitting.parameters import Fit, load_parameters
from benchmarks.fitting.report import by_group, by_kind, document, document_text, kendall_tau, table
from benchmarks.fitting.rows import Measured, measured_rows, read_records
from benchmarks.fitting.solve import errors_at, fitted, left_out_errors
from benchmarks.fitting.write import written
from planner.catalog.load import Catalog
from planner.estimate.speed.kernels import load_kernels
from planner.estimate.types import Floats

ROOT = Path(__file__).parent.parent
PRIORS = Path(__file__).parent / "fitting" / "priors.yaml"
KERNELS = ROOT / "catalogs" / "kernels.yaml"
RECORDS = ROOT / "validation" / "records" / "published" / "speed"
ERRORS = ROOT / "validation" / "records" / "speed-errors.json"


def main() -> None:
    args = arguments()
    rows, left_out = measured_rows(read_records(args.records.glob("*.jsonl")), Catalog.load())
    for name, why in left_out.items():
        print(f"left out: {name}: {why}")
    kernels = load_kernels(KERNELS)
    if not args.fit:
        shipped = Fit(kernels=kernels, parameters=())
        show("shipped parameters", rows, errors_at(shipped, rows, np.zeros(0)), worst=args.worst)
        return
    fit = load_parameters(args.priors, kernels)
    linear = fitted(fit, rows, rounds=args.rounds)
    show("fitted to all", rows, linear.errors, worst=args.worst)
    unseen = left_out_errors(fit, rows, linear)
    show("every source left out in turn", rows, unseen, worst=args.worst)
    print()
    for p, x in zip(fit.parameters, linear.x, strict=True):
        print(f"{p.name:60s} {p.centre:10.4g} x {np.exp(x):6.3f} = {p.centre * np.exp(x):10.4g}   (spread {p.spread})")
    if args.write:
        KERNELS.write_text(written(KERNELS.read_text(encoding="utf-8"), fit, linear.x), encoding="utf-8")
    if args.write or args.errors != ERRORS:
        args.errors.write_text(document_text(document(rows, unseen, linear.errors)), encoding="utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=Path, default=RECORDS, help="folder of record files (default: %(default)s)")
    parser.add_argument("--priors", type=Path, default=PRIORS, help="parameters and priors (default: %(default)s)")
    parser.add_argument("--fit", action="store_true", help="fit, and leave every source out once")
    parser.add_argument("--rounds", type=int, default=5, help="Gauss-Newton rounds (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="write the catalog and the error record")
    parser.add_argument("--errors", type=Path, default=ERRORS, help="error record (default: %(default)s)")
    parser.add_argument("--worst", type=int, default=0, metavar="N", help="rows to list")
    return parser.parse_args()


def show(title: str, rows: list[Measured], log_errors: Floats, *, worst: int) -> None:
    """Print errors by kind, engine, architecture and source."""
    print("\n" + table(title, by_kind(rows, log_errors)))
    print(f"Kendall tau within one model and GPU: {kendall_tau(rows, log_errors):.3f}")
    print("\n" + table("engine", by_group(rows, log_errors, lambda r: f"{r.run.job.engine.name} {r.kind}")))
    print("\n" + table("architecture", by_group(rows, log_errors, lambda r: str(r.run.hw.arch[0]))))
    print("\n" + table("source", by_group(rows, log_errors, lambda r: r.source)))
    for i in np.argsort(-np.abs(log_errors))[:worst]:
        row = rows[i]
        setting = f"{row.run.job.model.id} {row.run.hw.gpu[0]}"
        print(f"{np.exp(log_errors[i]):8.2f}x {row.id} {row.rule} {row.value:.4g} {setting}")


if __name__ == "__main__":
    main()
