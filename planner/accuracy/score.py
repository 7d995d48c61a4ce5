"""Records -> scored figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.accuracy.predict import Failed, answers, model_label, workload_key
from planner.accuracy.rules import MEMORY_RULES, TIMES, NoPredictionError, figure_of, predicted
from planner.accuracy.types import Answer, Scored
from planner.catalog.intervals import interval_facts, interval_of
from planner.errors import InputError
from validation.record import Quantity, Record, RecordError, read_records

if TYPE_CHECKING:
    from planner.catalog.load import Catalog

CONFIDENCE = 0.9
"""Share of measurements that the intervals shown are to hold."""
NOT_SCORED = frozenset({"fits", "power"})
"""Measured beside the rest; no rule of bytes or seconds."""


def load(paths: Iterable[Path]) -> list[Record]:
    """The records of files and folders. Raises InputError."""
    found: list[Record] = []
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such file or folder")
        try:
            found += read_records(path)
        except RecordError as err:
            raise InputError(str(err)) from None
    return found


def score_records(records: Sequence[Record], catalog: Catalog) -> list[Scored]:
    """Every measured figure of the records beside its prediction, in the records' order."""
    with_figures = [r for r in records if any(True for _ in measured_figures(r))]
    timed = {
        workload_key(r.workload) for r in with_figures if any(q.rule not in MEMORY_RULES for q in measured_figures(r))
    }
    found = answers((r.workload for r in with_figures), catalog, timed=timed)
    return [
        scored(record, quantity, found[workload_key(record.workload)])
        for record in with_figures
        for quantity in measured_figures(record)
    ]


def measured_figures(record: Record) -> Iterator[Quantity]:
    """The figures that can be held against a prediction; emulated small models and zeros cannot."""
    if record.emulated and "model" in record.emulated:
        return
    yield from (q for q in record.quantities if q.measured and q.rule not in NOT_SCORED)


def scored(record: Record, quantity: Quantity, answer: Answer | Failed) -> Scored:
    """One figure beside its prediction, or beside the reason why there is none."""
    assert quantity.measured
    given: Mapping[str, float] = record.details.get("given", {})
    failure, value, interval = "", None, None
    if isinstance(answer, Failed):
        failure = answer.why
    else:
        try:
            value = predicted(quantity.rule, answer, given)
            interval = interval_of_rule(quantity.rule, value, answer, CONFIDENCE)
        except NoPredictionError as err:
            failure = str(err)
    workload: Mapping[str, Any] = record.workload
    return Scored(
        record=record.id,
        origin=record.origin,
        source=record.source.name,
        framework=str(record.environment.get("framework") or workload.get("engine", "")),
        model=model_label(workload),
        precision=str(workload.get("precision", "")),
        rule=quantity.rule,
        figure=figure_of(quantity.rule),
        unit=quantity.unit,
        measured=quantity.measured,
        answer=None if isinstance(answer, Failed) else answer,
        predicted=value,
        interval=interval,
        stands_in="profile" in record.details,
        failure=failure,
    )


def interval_of_rule(rule: str, value: float, answer: Answer, confidence: float) -> tuple[float, float]:
    """The prediction interval of a quantity; factors of speeds are those of rates, so times take the inverse."""
    fact = interval_of(interval_facts(), figure=figure_of(rule), kind=answer.kind, engine=answer.engine)
    low, high = fact.ends(confidence)
    if rule in TIMES:
        low, high = 1.0 / high, 1.0 / low
    return value * low, value * high
