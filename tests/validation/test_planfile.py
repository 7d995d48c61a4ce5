"""Plans are replayed only as they were written; a trial says what the plan chose and predicted, for one replica."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.validation.conftest import ROOT, sealed
from validation.planfile import read_plan, trials_of_plan
from validation.suite import trials_in, write_suite
from validation.trial import TrialError, trial_of

Write = Callable[[dict[str, Any]], Path]


def leaves(raw: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all values of a document."""
    if isinstance(raw, dict):
        return [p for k, v in raw.items() for p in leaves(v, (*path, k))]
    if isinstance(raw, list):
        return [p for i, v in enumerate(raw) for p in leaves(v, (*path, i))]
    return [path]


def changed(raw: dict[str, Any], path: tuple[Any, ...]) -> dict[str, Any]:
    """The document with one value different."""
    other = copy.deepcopy(raw)
    place = other
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = "changed"
    return other


def test_every_shipped_plan_carries_the_hash_the_replay_computes() -> None:
    plans = sorted((ROOT / "plans").glob("*/plan.json"))
    assert len(plans) >= 3
    for path in plans:
        assert read_plan(path)["schema"] == "planner/plan/v1"


def test_a_plan_with_any_one_value_changed_is_refused(plan: dict[str, Any], written: Write) -> None:
    paths = [p for p in leaves(plan) if p[0] != "created" and p[:2] != ("solver", "wall_s")]
    assert len(paths) > 40
    for path in paths:
        with pytest.raises(TrialError):
            read_plan(written(changed(plan, path)))


def test_the_time_of_day_and_time_taken_are_no_part_of_the_plan(plan: dict[str, Any], written: Write) -> None:
    for path in (("created",), ("solver", "wall_s")):
        assert read_plan(written(changed(plan, path)))["name"] == "test-plan"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": "planner/plan/v2"}, "'planner/plan/v2'; this version replays 'planner/plan/v1'"),
        ({"schema": None}, "schema None"),
        ({"body_sha256": ""}, "hash does not match"),
    ],
)
def test_another_schema_or_hash_is_refused(
    plan: dict[str, Any], written: Write, change: dict[str, Any], says: str
) -> None:
    with pytest.raises(TrialError, match=says):
        read_plan(written({**plan, **change}))


def test_an_infeasible_plan_has_nothing_to_replay(plan: dict[str, Any], written: Write) -> None:
    with pytest.raises(TrialError, match="infeasible and chose no configuration"):
        read_plan(written(sealed({**plan, "status": "infeasible", "workloads": []})))


def test_what_is_no_plan_is_refused(tmp_path: Path) -> None:
    for text in ("", "[1]", "{}", '{"schema": NaN}', "[" * 100_000):
        path = tmp_path / "x.json"
        path.write_text(text)
        with pytest.raises(TrialError):
            read_plan(path)
    with pytest.raises(TrialError, match="cannot be read"):
        read_plan(tmp_path / "nowhere.json")


def test_a_trial_is_one_replica(plan: dict[str, Any]) -> None:
    (trial,) = trials_of_plan(plan)
    assert trial.expected["output_rate"].predicted == 200.0
    assert trial.expected["output_rate"].interval == (150.0, 250.0)
    assert trial.expected["ttft"].predicted == 0.1
    assert trial.workload["pin"] == {
        "tensor_parallel": 1,
        "pipeline_parallel": 1,
        "data_parallel": 1,
        "expert_parallel": 1,
        "context_parallel": 1,
        "precision": "bf16",
        "kv_precision": "bf16",
        "batch": 4,
        "attention": "sdpa",
        "gpu": "l4",
        "node": "n",
        "replicas": 1,
    }
    assert "targets" not in trial.workload


def test_a_workload_that_is_not_in_the_plan_is_named(plan: dict[str, Any]) -> None:
    with pytest.raises(TrialError, match="no workload 'x'; it has chat"):
        trials_of_plan(plan, only="x")


def test_a_trial_and_a_suite_survive_their_files(plan: dict[str, Any], tmp_path: Path) -> None:
    trials = trials_of_plan(plan)
    assert trial_of(json.loads(json.dumps(trials[0].as_dict()))) == trials[0]
    path = write_suite("two", trials, tmp_path / "suite.json", made_with="test")
    assert trials_in(path) == trials
    path.write_text(path.read_text().replace('"batch": 4', '"batch": 5'))
    with pytest.raises(TrialError, match="changed after it was written"):
        trials_in(path)


def test_the_digest_tells_what_is_run_and_not_what_was_predicted(plan: dict[str, Any]) -> None:
    (trial,) = trials_of_plan(plan)
    other = copy.deepcopy(plan)
    other["workloads"][0]["memory"]["allocated_peak_bytes"] += 1
    assert trials_of_plan(other)[0].digest == trial.digest
    other["workloads"][0]["config"]["batch"] = 5
    assert trials_of_plan(other)[0].digest != trial.digest
