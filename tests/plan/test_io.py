"""Plans as files: canonical, whole or not there, and refused with a reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from planner.errors import InputError
from planner.plan.io import parse_plan, plan_json, read_plan, write_plan, write_problem
from planner.solve.problem import read_problem
from tests.plan.plans import built, plan_of


def test_a_plan_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    path = write_plan(plan_of(), tmp_path / "new" / "folder")
    assert path.name == "plan.json"
    assert read_plan(path) == read_plan(path.parent) == plan_of()


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    first = write_plan(plan_of(), tmp_path / "a").read_bytes()
    assert write_plan(read_plan(tmp_path / "a"), tmp_path / "b").read_bytes() == first


def test_keys_are_sorted_and_nothing_is_not_a_number() -> None:
    text = plan_json(plan_of())
    assert list(json.loads(text)) == sorted(json.loads(text))
    assert "NaN" not in text
    assert "Infinity" not in text


def test_the_problem_is_written_as_the_optimiser_reads_it(tmp_path: Path) -> None:
    problem = built().problem
    assert problem is not None
    assert read_problem(write_problem(problem, tmp_path)) == problem


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target.json"
    target.write_text("mine", encoding="utf-8")
    (tmp_path / "plan.json").symlink_to(target)
    with pytest.raises(InputError, match="symbolic link"):
        write_plan(plan_of(), tmp_path)
    assert target.read_text(encoding="utf-8") == "mine"


def test_a_failed_write_leaves_the_old_plan_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_plan(plan_of(), tmp_path)
    before = path.read_bytes()

    def fail(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(InputError, match="No space left on device"):
        write_plan(plan_of(), tmp_path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a JSON document"),
        ("[1]", "no key `schema`"),
        ('{"schema": "planner/plan/v9"}', "this version reads planner/plan/v1"),
        ('{"schema": "planner/plan/v1"}', "name: Field required"),
        ('{"schema": "planner/plan/v1", "a": NaN}', "NaN is not a number"),
        ("[" * 100_000, "not a JSON document"),
    ],
)
def test_what_is_no_plan_is_refused(text: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_plan(text, name="x.json")
    assert words in str(caught.value)


def test_a_plan_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_plan(tmp_path / "none.json")
