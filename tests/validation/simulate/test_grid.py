"""The committed grid: it is what the suite says, its models are the catalog's, and a sample comes out the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from planner.architecture.catalog import ModelCatalog
from planner.architecture.hf.write import config_of
from planner.resources import data_folder
from validation.record import Record, read_records
from validation.simulate.grid import Planned, load_suite, planned, simulate

pytestmark = pytest.mark.filterwarnings("ignore")  # the library warns of odd defaults and of things it deprecates

ROOT = Path(__file__).parents[3]
RECORDS = ROOT / "validation" / "records" / "simulated"
SUITE = load_suite(ROOT / "validation" / "suites" / "simulated.yaml")
CASES: Mapping[str, Planned] = {case.name: case for case in planned(SUITE)}
SAMPLE = (
    "gpt2/infer-sdpa-batch4-bf16-sequence1024+8",
    "gpt2/train-sdpa-batch2/2-full-bf16-mixed-sequence1024",
    "distilbert-base-uncased/train-sdpa-batch8/8-none-bf16-mixed-sequence512",
    "llama-3.2-1b/train-sdpa-batch2/2-none-rank16-all-linear-lora-bf16-sequence1024",
)


@pytest.fixture(scope="module")
def records() -> dict[str, Record]:
    return {record.id: record for record in read_records(RECORDS)}


def test_every_case_of_the_suite_has_its_record(records: dict[str, Record]) -> None:
    assert records.keys() == CASES.keys()
    assert len(records) >= 200
    assert len({case.kind for case in CASES.values()}) >= 12


def test_a_record_holds_the_workload_of_its_case(records: dict[str, Record]) -> None:
    assert {name: dict(record.workload) for name, record in records.items()} == {
        name: dict(case.workload) for name, case in CASES.items()
    }


def test_the_suites_models_are_the_catalogs() -> None:
    catalog = ModelCatalog(data_folder("catalogs") / "models")
    for name, keys in SUITE["models"].items():
        written = config_of(catalog.entry(name))
        assert written is not None
        assert plain(keys) == plain(written), name


@pytest.mark.parametrize("name", SAMPLE)
def test_a_case_simulated_again_gives_the_committed_bytes(records: dict[str, Record], name: str) -> None:
    again = simulate(CASES[name], command="", as_of="")
    assert {q.rule: q.measured for q in again.quantities} == {q.rule: q.measured for q in records[name].quantities}


def test_parts_add_up_to_what_is_allocated(records: dict[str, Record]) -> None:
    for record in records.values():
        figures = {q.rule: q.measured or 0 for q in record.quantities}
        peak, reserved = figures.pop("allocated"), figures.pop("reserved")
        figures.pop("static", None)
        assert sum(figures.values()) == peak <= reserved, record.id


def plain(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Class names of a head are as many as they are."""
    labels = keys.get("num_labels", len(keys.get("id2label") or ()))
    return {k: v for k, v in keys.items() if k not in ("id2label", "num_labels")} | {"num_labels": labels}
