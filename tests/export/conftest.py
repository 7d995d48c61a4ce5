"""Plans to export: the shipped ones, and that over periods, which is built once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from planner.plan.io import read_plan
from planner.plan.types import Plan

PLANS = Path(__file__).parents[2] / "plans"


@pytest.fixture(scope="session")
def growth(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    from planner.cli.main import run

    folder = tmp_path_factory.mktemp("growth")
    with pytest.raises(SystemExit) as ended:
        run(["build", str(PLANS / "growth/workloads.yaml"), "-o", str(folder), "--format", "json"])
    assert ended.value.code == 0
    return read_plan(folder)


@pytest.fixture(scope="session")
def plans(growth: Plan) -> Mapping[str, Plan]:
    """The five worked examples by name."""
    shipped = {name: read_plan(PLANS / name) for name in ("company", "startup", "laptop", "frontier")}
    return {**shipped, "growth": growth}
