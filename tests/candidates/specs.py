"""Small specs and the shipped catalogs."""

from __future__ import annotations

import functools
import textwrap

from planner.candidates.generate import candidates_of
from planner.candidates.supply import build_supply
from planner.candidates.types import Supply, WorkloadCandidates
from planner.catalog.load import Catalog
from planner.spec.load import LoadedSpec, load_spec_text


@functools.cache
def catalog() -> Catalog:
    """The shipped catalogs, read once."""
    return Catalog.load()


def spec_of(text: str) -> LoadedSpec:
    """A spec from indented text."""
    return load_spec_text(textwrap.dedent(text), "spec.yaml")


def supply_of(text: str) -> Supply:
    return build_supply(spec_of(text).spec, catalog())


def found_for(text: str) -> WorkloadCandidates:
    """The candidates of the first workload."""
    spec = spec_of(text).spec
    return candidates_of(spec.workloads[0], spec, build_supply(spec, catalog()), catalog())
