"""Plans and estimates on disk, as a planner would have written them."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.estimate.document import EstimateDocument
from planner.plan.types import Plan

FIXTURES = Path(__file__).parent / "fixtures"


def read_fixture(name: str) -> Plan:
    return Plan.model_validate_json((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def two_workloads() -> Plan:
    """One chat service on two rented L40S and one QLoRA on half a node of H100."""
    return read_fixture("two_workloads")


@pytest.fixture(scope="session")
def infeasible() -> Plan:
    """A spend limit that clashes with a deadline."""
    return read_fixture("infeasible")


@pytest.fixture(scope="session")
def unplaceable() -> Plan:
    """A workload that no GPU can run."""
    return read_fixture("unplaceable")


@pytest.fixture(scope="session")
def estimates() -> EstimateDocument:
    """Two that fit, one that does not, one that failed."""
    return EstimateDocument.model_validate_json((FIXTURES / "estimate.json").read_text(encoding="utf-8"))
