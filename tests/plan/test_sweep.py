"""Scenarios of one spec: which there are, what comes out, and what an abort leaves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from planner.errors import InputError, MissingPartError
from planner.plan import scenarios as running
from planner.plan.scenarios import RESULTS_FILE, finished_rows, run_all
from planner.plan.sweep import Scenario, scenarios, set_at, split_values, varied
from tests.plan.plans import CREATED, catalog, plan_of

SPEC = """\
name: small
fleet: {gpus: [l4, a10g, t4], procurement: [on_demand]}
workloads:
  - {name: chat, model: llama-2-7b, mode: infer, sequence: {input: 500, output: 100}, precision: nf4, batch: 1}
"""
MONTHS, GPUS = "horizon.months=12,36", "fleet.gpus=[l4],[t4]"


def of(*vary: str, text: str = SPEC, folder: Path = Path()) -> list[Scenario]:
    """The scenarios of a spec."""
    return scenarios(text.encode(), "small.yaml", folder, [varied(v) for v in vary], catalog())


def test_every_combination_is_a_scenario_and_the_last_key_varies_fastest() -> None:
    found = of(MONTHS, GPUS)
    assert [tuple(s.values.values()) for s in found] == [(12, ["l4"]), (12, ["t4"]), (36, ["l4"]), (36, ["t4"])]
    assert len({s.id for s in found}) == 4
    assert [s.id for s in found] == [s.id for s in of(MONTHS, GPUS)]


def test_commas_inside_brackets_and_quotes_belong_to_the_value() -> None:
    assert list(split_values("[a, b],{c: 1, d: 2},'e,f'")) == ["[a, b]", "{c: 1, d: 2}", "'e,f'"]


def test_a_key_that_the_spec_leaves_out_is_made_with_the_mappings_around_it() -> None:
    spec: dict[str, object] = {}
    set_at(spec, ("fleet", "limits", "gpus"), 8)
    assert spec == {"fleet": {"limits": {"gpus": 8}}}


@pytest.mark.parametrize(
    ("vary", "said"),
    [
        (["horizon.months"], "write KEY=V1,V2"),
        (["horizon.months="], "write KEY=V1,V2"),
        (["horizon.months=[1"], "--vary horizon.months="),
        (["horizon.moths=1"], "moths"),
        (["horizon.months=0,12"], "small.yaml with horizon.months=0"),
        (["workloads.chta.batch=1"], "no such workload"),
        (["workloads.chat.precision.x=1"], "vary precision itself"),
        (["fleet.gpus=[h1000]"], "h1000"),
        ([MONTHS, MONTHS], "named twice"),
        (
            [f"horizon.months={','.join(map(str, range(1, 121)))}", f"fleet.spare_nodes={','.join('0' * 100)}"],
            "12000",
        ),
    ],
)
def test_what_cannot_be_varied_is_refused_before_anything_is_planned(vary: Sequence[str], said: str) -> None:
    with pytest.raises(InputError) as caught:
        of(*vary)
    assert said in str(caught.value)


def test_a_scenario_comes_out_as_its_own_spec_would(tmp_path: Path) -> None:
    rows = run_all(of(GPUS), tmp_path, created=CREATED)
    for row, gpu in zip(rows, ("l4", "t4"), strict=True):
        alone = plan_of(SPEC.replace("[l4, a10g, t4]", f"[{gpu}]"))
        assert alone.totals is not None
        assert row["totals"]["usd_per_hour"] == alone.totals.usd_per_hour
        assert row["workloads"]["chat"]["gpu"] == gpu


def test_a_limit_that_cannot_be_kept_is_a_result_with_its_reason(tmp_path: Path) -> None:
    rows = run_all(of("fleet.limits.usd_per_hour=0.01,50"), tmp_path, created=CREATED)
    assert [r["status"] for r in rows] == ["infeasible", "optimal"]
    assert rows[0]["reason"] == "fleet.limits.usd_per_hour"


def test_finished_scenarios_are_not_planned_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One finished, one cut off in the middle of its line: the second alone is planned."""
    asked = of(MONTHS)
    first = run_all(asked, tmp_path, created=CREATED)
    path = tmp_path / RESULTS_FILE
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0] + lines[1][:30])
    done: list[str] = []
    real = running.planned

    def counted(scenario: Scenario, created: str, time_limit_s: float | None) -> dict[str, object]:
        done.append(scenario.id)
        return real(scenario, created, time_limit_s)

    monkeypatch.setattr(running, "planned", counted)
    told: list[tuple[int, int]] = []
    again = run_all(asked, tmp_path, created=CREATED, tell=lambda n, total: told.append((n, total)))
    assert again == first
    assert done == [asked[1].id]
    assert told == [(1, 2), (2, 2)]
    assert set(finished_rows(path)) == {s.id for s in asked}


def test_results_of_another_sweep_in_the_folder_stay(tmp_path: Path) -> None:
    run_all(of("horizon.months=12"), tmp_path, created=CREATED)
    run_all(of("horizon.months=36"), tmp_path, created=CREATED)
    assert len(finished_rows(tmp_path / RESULTS_FILE)) == 2


def test_a_file_of_something_else_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / RESULTS_FILE).write_text("hello\nworld\n")
    with pytest.raises(InputError, match="not a result of a sweep"):
        run_all(of(MONTHS), tmp_path, created=CREATED)


def test_two_processes_give_the_rows_of_one(tmp_path: Path) -> None:
    asked = of(GPUS)
    both = run_all(asked, tmp_path / "two", created=CREATED, workers=2)
    assert both == run_all(asked, tmp_path / "one", created=CREATED)


def test_a_cluster_without_its_package_names_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = running.importlib.import_module

    def missing(name: str) -> object:
        if name in ("distributed", "ray"):
            raise ImportError(name)
        return real(name)

    monkeypatch.setattr(running.importlib, "import_module", missing)
    for kind, mend in (("dask", "pip install distributed"), ("ray", "pip install ray")):
        with pytest.raises(MissingPartError, match=mend):
            run_all(of(MONTHS), tmp_path / kind, created=CREATED, cluster=f"{kind}://head:1234")
    with pytest.raises(InputError, match="dask://HOST:PORT"):
        run_all(of(MONTHS), tmp_path / "x", created=CREATED, cluster="slurm://head")


def test_rows_are_json_lines_with_the_values_and_the_totals(tmp_path: Path) -> None:
    run_all(of(MONTHS), tmp_path, created=CREATED)
    rows = [json.loads(line) for line in (tmp_path / RESULTS_FILE).read_text().splitlines()]
    assert [r["values"] for r in rows] == [{"horizon.months": 12}, {"horizon.months": 36}]
    assert all(r["schema"] == "planner/sweep/v1" and r["totals"]["gpus"] >= 1 for r in rows)
