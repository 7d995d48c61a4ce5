"""Records of any origin scored by one command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from planner.accuracy.bounds import Cause, better, cause_of, contradicting, exceeded, tightened
from planner.accuracy.command import score
from planner.accuracy.page import short_tables
from planner.accuracy.peers import Peer, peer_tables
from planner.accuracy.predict import Failed, answers, workload_key
from planner.catalog.load import Catalog
from planner.errors import InputError
from planner.estimate.run import estimate_spec
from planner.spec.types import Spec
from tests.accuracy.rows import SERVED, row
from validation.record import Quantity, Record, Source, write_records

WORKLOAD = {
    "model": "meta-llama/Llama-3.1-8B",
    "mode": "infer",
    "engine": "transformers",
    "sequence": {"input": 512, "output": 128},
    "batch": 4,
    "precision": "bf16",
    "kv_precision": "bf16",
    "offload": "none",
    "pin": {"gpu": "a100-sxm-80gb", "replicas": 2},
}


def record(name: str, origin: str, workload: dict[str, object], **measured: float) -> Record:
    units = {"allocated": "bytes", "tpot": "s", "output_rate": "1/s", "fits": "1"}
    return Record(
        id=name,
        origin=origin,
        source=Source(name="test"),
        workload=workload,
        quantities=tuple(Quantity(rule=rule, measured=value, unit=units[rule]) for rule, value in measured.items()),
    )


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A published, a simulated and a measured record, and one that cannot run."""
    nowhere = WORKLOAD | {"pin": {"gpu": "gpu-of-nowhere"}}
    write_records(
        [
            record("p", "published", WORKLOAD, tpot=0.02, output_rate=500.0),
            record("s", "simulated", WORKLOAD, allocated=17e9),
            record("m", "measured", WORKLOAD, allocated=17e9, fits=1.0),
            record("x", "published", nowhere, tpot=0.02),
        ],
        tmp_path / "records.jsonl",
    )
    return tmp_path


def test_one_command_scores_records_of_every_origin(mixed: Path) -> None:
    document = json.loads(score([mixed], True))
    assert document["schema"] == "planner/accuracy/v1"
    assert {(r["record"], r["rule"]) for r in document["rows"]} == {
        ("p", "tpot"),
        ("p", "output_rate"),
        ("s", "allocated"),
        ("m", "allocated"),
        ("x", "tpot"),
    }
    assert document["tables"]["simulated"]["memory"]["inference: allocated"]["n"] == 1
    assert document["tables"]["published"]["speed"]["all"]["failed"] == 1
    (failed,) = (r for r in document["rows"] if r["record"] == "x")
    assert failed["predicted"] is None
    assert "gpu-of-nowhere" in failed["failure"]


def test_the_text_names_origins_the_worst_row_and_what_failed(mixed: Path) -> None:
    text = score([mixed], False)
    for part in (
        "published: speed, 3 figures",
        "simulated: memory",
        "measured: memory",
        "Furthest off",
        "gpu-of-nowhere",
    ):
        assert part in text


def test_nothing_to_score_is_an_error(tmp_path: Path) -> None:
    write_records([record("a", "measured", WORKLOAD, fits=1.0)], tmp_path / "a.jsonl")
    with pytest.raises(InputError, match="no measured figure"):
        score([tmp_path], False)
    with pytest.raises(InputError, match="no such file"):
        score([tmp_path / "none"], False)
    (tmp_path / "bad.jsonl").write_text("{}\n")
    with pytest.raises(InputError, match=r"bad\.jsonl:1"):
        score([tmp_path / "bad.jsonl"], False)


def test_answers_are_those_of_an_estimate_however_many_are_asked_at_once() -> None:
    catalog = Catalog.load()
    asked = [WORKLOAD | {"batch": batch} for batch in (1, 4, 16)]
    asked += [WORKLOAD | {"pin": {"gpu": gpu}} for gpu in ("h100-sxm-80gb", "l40s")]
    found = answers(asked, catalog)
    for workload in asked:
        spec = Spec.model_validate(
            {"version": 1, "name": "one", "fleet": {"memory_headroom": 0.0}, "workloads": [workload | {"name": "w"}]}
        )
        (alone,) = estimate_spec(spec, catalog).workloads
        answer = found[workload_key(workload)]
        assert not isinstance(answer, Failed)
        assert alone.name == "w"
        document = alone.model_dump()
        assert answer.allocated_bytes == document["memory"]["allocated_peak_bytes"]
        assert answer.gpus == document["gpus"]
        for name in ("ttft_s", "tpot_s", "output_tokens_per_second", "requests_per_second", "mfu"):
            assert getattr(answer, name) == pytest.approx(document["performance"][name], rel=1e-12)


def test_speed_is_left_out_where_nobody_asks_for_it() -> None:
    (answer,) = answers([WORKLOAD], Catalog.load(), timed=()).values()
    assert not isinstance(answer, Failed)
    assert answer.tpot_s is None
    assert answer.allocated_bytes > 16e9


def test_a_workload_without_a_gpu_or_not_of_a_spec_has_no_answer() -> None:
    asked = [WORKLOAD | {"pin": {}}, WORKLOAD | {"colour": "red"}]
    said = [a.why for a in answers(asked, Catalog.load()).values() if isinstance(a, Failed)]
    assert "pins no GPU" in said[0]
    assert "colour" in said[1]


def test_a_bound_is_lowered_to_a_better_figure_and_never_raised() -> None:
    good, bad = [row(100.0, 101.0)], [row(100.0, 150.0)]
    bounds = tightened(good, {})
    assert bounds["published memory"]["all"]["mape"] == 0.011
    assert not list(exceeded(good, bounds))
    assert any("mape is 0.5" in line for line in exceeded(bad, bounds))
    assert tightened(bad, bounds)["published memory"]["all"]["mape"] == 0.011
    assert better(0.5, 0.9, upper=False) == 0.9


def test_a_bound_that_no_row_is_held_to_is_reported() -> None:
    assert list(exceeded([row(1.0, 1.0)], {"published speed": {"all": {"mape": 1.0}}})) == [
        "published speed, all: no rows"
    ]


def test_the_first_cause_that_names_a_row_explains_it() -> None:
    causes = (Cause(records=("a-*",), rules=("ttft",), why="one"), Cause(records=("a-1",), why="two"))
    assert cause_of(causes, row(1.0, 1.0, record="a-1")) == "two"
    assert cause_of(causes, row(1.0, 1.0, record="a-1", rule="ttft")) == "one"
    assert cause_of(causes, row(1.0, 1.0, record="b-1")) == ""


def test_a_measured_figure_outside_its_interval_is_listed_until_a_cause_explains_it() -> None:
    outside = row(1.0, 2.0, record="m-1", origin="measured", interval=(1.9, 2.1))
    inside = row(1.0, 1.0, record="m-2", origin="measured", interval=(0.9, 1.1))
    published = row(1.0, 2.0, record="p-1", interval=(1.9, 2.1))
    assert contradicting([outside, inside, published], ()) == [outside]
    assert contradicting([outside], [Cause(records=("m-*",), why="throttled")]) == []


def test_another_estimator_is_judged_on_the_rows_that_both_predict() -> None:
    peer = Peer(
        schema_="validation/peer/v1",
        name="other",
        version="1",
        what="weights",
        command="none",
        figures=(
            {"id": "a", "rule": "allocated", "predicted": 50.0},
            {"id": "c", "rule": "allocated", "predicted": 1.0},
        ),
    )
    rows = [row(100.0, 90.0, record="a"), row(100.0, 100.0, record="b"), row(100.0, None, record="c", failure="why")]
    (lines,) = peer_tables(peer, rows)
    assert lines["all: other"].median == pytest.approx(0.5)
    assert lines["all: ours"].median == pytest.approx(0.1)
    assert lines["all: ours"].n == 1


def test_the_short_tables_count_published_rows_and_say_so() -> None:
    rows = [row(100.0, 90.0), row(1.0, 2.0, rule="tpot"), row(9.0, 9.0, origin="simulated")]
    text = short_tables([replace(r, answer=SERVED) for r in rows])
    assert "1 published measurements of 1 sources" in text
    assert "| all | 1 | 10.0 % | 10.0 % | 10.0 % | 100 % |" in text
    assert "simulated cases" in text
