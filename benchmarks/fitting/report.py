"""Errors by kind, as tables and as JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from benchmarks.fitting.rows import Measured
from planner.estimate.types import Floats

LEAST_SWEEP = 4
"""Figures that a sweep needs for its order to say something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Figures of one group of rows; errors are |predicted / measured - 1|."""

    rows: int
    sources: int
    median: float
    mape: float
    p90: float
    within_2x: float
    by_source: float
    """Mean over sources of each source's median."""


def errors_of(rows: Sequence[Measured], log_errors: Floats) -> Errors:
    """The figures of one group."""
    sizes = np.abs(np.expm1(log_errors))
    by_source: dict[str, list[float]] = defaultdict(list)
    for row, size in zip(rows, sizes, strict=True):
        by_source[row.source].append(float(size))
    return Errors(
        rows=len(rows),
        sources=len(by_source),
        median=float(np.median(sizes)),
        mape=float(np.mean(sizes)),
        p90=float(np.quantile(sizes, 0.9)),
        within_2x=float(np.mean(np.abs(log_errors) <= np.log(2.0))),
        by_source=float(np.mean([np.median(v) for v in by_source.values()])),
    )


def groups_of(rows: Sequence[Measured]) -> dict[str, list[int]]:
    """Row numbers by kind; inference as a whole first."""
    groups: dict[str, list[int]] = {"all": [], "inference": [], "2x without ttft": []}
    for i, row in enumerate(rows):
        groups["all"].append(i)
        if row.kind != "training":
            groups["inference"].append(i)
        if row.kind != "ttft":
            groups["2x without ttft"].append(i)
        groups.setdefault(row.kind, []).append(i)
    return groups


def by_kind(rows: Sequence[Measured], log_errors: Floats) -> dict[str, Errors]:
    """Figures of every kind."""
    return {
        kind: errors_of([rows[i] for i in picked], log_errors[picked])
        for kind, picked in groups_of(rows).items()
        if picked
    }


def by_group(rows: Sequence[Measured], log_errors: Floats, group: Any) -> dict[str, Errors]:
    """Figures by any key of a row."""
    picked: dict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        picked[group(row)].append(i)
    return {key: errors_of([rows[i] for i in own], log_errors[own]) for key, own in sorted(picked.items())}


def kendall_tau(rows: Sequence[Measured], log_errors: Floats) -> float:
    """Mean over sweeps of Kendall's tau-b between measured and predicted order, one model on one GPU."""
    sweeps: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        sweeps[row.sweep].append(i)
    taus = []
    for picked in sweeps.values():
        if len(picked) < LEAST_SWEEP:
            continue
        measured = np.log([rows[i].value for i in picked])
        predicted = measured + log_errors[picked]
        agree = untied = 0.0
        for i, j in combinations(range(len(picked)), 2):
            order = float(np.sign(measured[i] - measured[j]) * np.sign(predicted[i] - predicted[j]))
            agree += order
            untied += float(order != 0)
        if untied:
            taus.append(agree / untied)
    return float(np.mean(taus))


def table(title: str, lines: Mapping[str, Errors]) -> str:
    """A table for people."""
    width = max(len(title), *(len(k) for k in lines))
    head = f"{title:<{width}} {'rows':>5} {'src':>4} {'median':>7} {'MAPE':>7} {'p90':>7} {'in 2x':>6} {'by source':>9}"
    body = []
    for name, e in lines.items():
        shares = f"{e.median:7.1%} {e.mape:7.1%} {e.p90:7.1%} {e.within_2x:6.0%} {e.by_source:9.1%}"
        body.append(f"{name:<{width}} {e.rows:5d} {e.sources:4d} {shares}")
    return "\n".join([head, "-" * len(head), *body])


def document(rows: Sequence[Measured], log_errors: Floats, in_sample: Floats) -> dict[str, Any]:
    """Figures by kind and the residual of every row, for intervals: quantiles of log(predicted / measured)."""
    return {
        "schema": "planner/speed-errors/v1",
        "held_out": "each source predicted with parameters fitted to the others",
        "kinds": {k: {n: round(v, 4) for n, v in asdict(e).items()} for k, e in by_kind(rows, log_errors).items()},
        "kendall_tau": round(kendall_tau(rows, log_errors), 4),
        "rows": [
            {
                "id": row.id,
                "source": row.source,
                "rule": row.rule,
                "kind": row.kind,
                "engine": row.run.job.engine.name,
                "arch": str(row.run.hw.arch[0]),
                "log_error": round(float(error), 4),
                "log_error_in_sample": round(float(own), 4),
            }
            for row, error, own in zip(rows, log_errors, in_sample, strict=True)
        ],
    }


def document_text(whole: Mapping[str, Any]) -> str:
    """The document as JSON with a line for each row."""
    head = json.dumps({k: v for k, v in whole.items() if k != "rows"}, indent=1).removesuffix("\n}")
    return head + ',\n "rows": [\n' + ",\n".join(f"  {json.dumps(r)}" for r in whole["rows"]) + "\n ]\n}\n"
