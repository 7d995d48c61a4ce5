"""Regenerate catalogs/intervals.yaml from the errors on all records: `python benchmarks/fit_intervals.py`.

Published and measured records count; simulated cases do not, for they know no hardware. Prints how much of the rows
the intervals hold, each source judged by intervals made without it.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

from planner.accuracy.interval_file import load_left_out, yaml_text
from planner.accuracy.intervals import (
    CONFIDENCES,
    Residual,
    families,
    fitted,
    left_out_places,
    residuals,
    row_weights,
)
from planner.accuracy.score import load, score_records
from planner.catalog.load import Catalog
from planner.files import write_atomically

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "validation" / "records"
LEFT_OUT = RECORDS / "speed-errors.json"


def main() -> None:
    """Fit, write and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("records", nargs="*", type=Path, default=[RECORDS], help="files and folders of records")
    parser.add_argument("--left-out", type=Path, default=LEFT_OUT, help="errors made without each row's source")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "catalogs" / "intervals.yaml")
    parser.add_argument("--as-of", default=datetime.now(UTC).date().isoformat(), help="date to write; default today")
    args = parser.parse_args()
    left_out = load_left_out(args.left_out) if args.left_out.exists() else {}
    records = [r for r in load(args.records) if r.origin != "simulated"]
    errors = residuals(score_records(records, Catalog.load()), left_out)
    cells, stretch = fitted(errors)
    write_atomically(args.output, yaml_text(cells, stretch, as_of=args.as_of).encode())
    print(
        f"{len(cells)} entries from {len(errors)} errors, {len(left_out)} of them on left-out sources -> {args.output}"
    )
    print(coverage_text(errors, stretch))


def coverage_text(errors: list[Residual], stretch: dict[str, dict[float, float]]) -> str:
    """Share of measurements inside intervals made without their source: by rows, and by weight."""
    lines = ["coverage of left-out sources", f"{'family':<22}{'claimed':>9}{'stretch':>9}{'rows':>8}{'weighted':>10}"]
    for family, of in sorted(families(errors).items()):
        needed, weights = left_out_places(of), row_weights(of)
        for confidence in CONFIDENCES:
            inside = needed[confidence] <= stretch[family][confidence]
            weighted = float((weights * inside).sum() / weights.sum())
            lines.append(
                f"{family:<22}{confidence:>9.0%}{stretch[family][confidence]:>9.2f}{inside.mean():>8.1%}{weighted:>10.1%}"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
