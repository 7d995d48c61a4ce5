"""Records: read as written, refused with every fault named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validation.record import (
    SCHEMA,
    UNIT_OF_RULE,
    Outcome,
    Quantity,
    Record,
    RecordError,
    Source,
    read_records,
    record_line,
    record_of,
    write_record,
    write_records,
)

PLAIN = Record(
    id="test-data/llama/1",
    origin="measured",
    source=Source(name="test data"),
    environment={"gpu": "test card", "gpus": 1, "torch": "2.13.0"},
    workload={"model": "llama-2-7b", "mode": "infer", "batch": 1, "sequence": 2048},
    quantities=(Quantity(rule="allocated", measured=4.0, unit="bytes", predicted=5.0, interval=(3.0, 6.0)),),
    outcome=Outcome(state="ok", seconds=2.5),
)

numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)
quantities = st.builds(
    Quantity,
    rule=st.sampled_from(sorted(UNIT_OF_RULE)),
    measured=numbers,
    unit=st.just("bytes"),
    predicted=numbers,
).map(lambda q: Quantity(rule=q.rule, measured=q.measured, unit=UNIT_OF_RULE[q.rule], predicted=q.predicted))


@given(st.lists(quantities, unique_by=lambda q: q.rule), st.sampled_from(["published", "simulated", "measured"]))
def test_a_record_survives_its_file(figures: list[Quantity], origin: str) -> None:
    record = Record(id="x", origin=origin, source=Source(name="test data"), quantities=tuple(figures))
    assert record_of(json.loads(record_line(record))) == record


def test_files_and_lines_of_a_folder_are_read_in_order(tmp_path: Path) -> None:
    write_record(PLAIN, tmp_path / "card" / "b.json")
    write_records([PLAIN, PLAIN], tmp_path / "card" / "a.jsonl")
    (tmp_path / "card" / "index.json").write_text('{"schema": "something/else"}')
    assert list(read_records(tmp_path)) == [PLAIN, PLAIN, PLAIN]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": "validation/record/v2"}, "this version reads 'validation/record/v1'"),
        ({"origin": "guessed"}, "origin 'guessed'"),
        ({"source": {}}, "source.name is missing"),
        ({"surprise": 1}, "unknown key 'surprise'"),
        ({"outcome": {"state": "fine"}}, "outcome.state"),
        ({"quantities": [{"rule": "allocated", "measured": 1, "unit": "s"}]}, "counted in 'bytes'"),
        ({"quantities": [{"rule": "step", "measured": "1", "unit": "s"}]}, "no number"),
        ({"quantities": [{"rule": "step", "measured": 1, "unit": "s", "interval": [2, 1]}]}, "ends before it begins"),
        ({"quantities": [{"rule": "step", "measured": 1, "unit": "s"}] * 2}, "stands there twice"),
    ],
)
def test_a_fault_is_named(change: dict[str, object], says: str) -> None:
    with pytest.raises(RecordError, match=says):
        record_of({**PLAIN.as_dict(), **change})


def test_not_a_number_is_refused_in_files(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps(PLAIN.as_dict()).replace('"measured": 4.0', '"measured": NaN'))
    with pytest.raises(RecordError, match="not JSON"):
        list(read_records(path))


def test_a_symbolic_link_is_not_written_through(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere.json"
    link = tmp_path / "r.json"
    link.symlink_to(target)
    with pytest.raises(RecordError, match="symbolic link"):
        write_record(PLAIN, link)
    assert not target.exists()


def test_the_error_is_relative_to_what_was_measured() -> None:
    assert PLAIN.quantities[0].error == 0.25
    assert SCHEMA in record_line(PLAIN)
