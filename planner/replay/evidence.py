"""What is known of each workload of a plan: the nearest records, predicted anew, and what no device has measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.accuracy.score import score_records
from planner.plan.types import EvidenceFigure, NearRecord, Plan, WorkloadEvidence
from validation.evidence import Evidence, Near, evidence_of, may_be_evidence
from validation.record import Record, read_records

if TYPE_CHECKING:
    from planner.catalog.load import Catalog


def with_evidence(plan: Plan, catalog: Catalog, records: Iterable[Record] | None = None) -> Plan:
    """The plan with its evidence; from the shipped records where none are given."""
    if not plan.workloads:
        return plan
    raw = plan.model_dump(mode="json", by_alias=True)
    found = predicted_evidence(raw, shipped_records(raw) if records is None else records, catalog)
    return plan.model_copy(update={"evidence": tuple(documented(e) for e in found)})


def predicted_evidence(raw: Mapping[str, Any], records: Iterable[Record], catalog: Catalog) -> tuple[Evidence, ...]:
    """The evidence for each workload of a plan, its figures beside what is predicted for them now."""
    found = evidence_of(raw, records)
    near = {n.record.id: n.record for e in found for n in e.near}
    rows = score_records(list(near.values()), catalog)
    predictions = {(r.record, r.rule): r.predicted for r in rows}
    return tuple(replace(e, near=tuple(with_predictions(n, predictions) for n in e.near)) for e in found)


def with_predictions(near: Near, predictions: Mapping[tuple[str, str], float | None]) -> Near:
    """The record's figures with the predictions, by record and rule."""
    known = tuple(replace(q, predicted=predictions.get((near.record.id, q.rule))) for q in near.figures)
    return replace(near, figures=known)


def shipped_records(plan: Mapping[str, Any]) -> Iterable[Record]:
    """Those of the records that come with the replay that may say something of a plan; empty where an installation
    has none."""
    import validation

    folder = Path(validation.__file__).parent / "records"
    return read_records(folder, wanted=may_be_evidence(plan)) if folder.is_dir() else ()


def documented(evidence: Evidence) -> WorkloadEvidence:
    """The evidence of one workload as it stands in a plan."""
    return WorkloadEvidence(
        workload=evidence.workload,
        near=tuple(near_record(n) for n in evidence.near),
        unproven=evidence.unproven,
    )


def near_record(near: Near) -> NearRecord:
    """One record near a workload."""
    record = near.record
    return NearRecord(
        record=record.id,
        origin=record.origin,
        source=record.source.name,
        as_of=record.source.as_of or str(record.environment.get("date", ""))[:10],
        differs=near.differs,
        emulated=near.emulated,
        figures=tuple(
            EvidenceFigure(rule=q.rule, measured=float(q.measured), unit=q.unit, predicted=q.predicted)
            for q in near.figures
            if q.measured is not None
        ),
    )
