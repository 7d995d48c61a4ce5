"""Does a spec wish for what cannot be? Every contradiction at once, each with its line: what `plan check` asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.errors import ImpossibleError, InputError
from planner.estimate.request import check_expert_group, resolve_workload
from planner.estimate.run import pinned_host, row_on

if TYPE_CHECKING:
    from planner.catalog.load import Catalog
    from planner.spec.load import LoadedSpec
    from planner.spec.types import Spec, Workload


def refuse_impossible_wishes(loaded: LoadedSpec, catalog: Catalog) -> None:
    """Raise InputError with every workload that contradicts its model, engine, options or pinned machine.

    Whether a workload fits, or meets its targets, is no matter here. Names must exist (`planner.names`).
    """
    problems = []
    for index, workload in enumerate(loaded.spec.workloads):
        problem = contradiction(workload, loaded.spec, catalog)
        if problem is not None:
            problems.append(f"{loaded.where(('workloads', index))}: workloads.{workload.name}: {problem}")
    if problems:
        raise InputError(*problems)


def contradiction(workload: Workload, spec: Spec, catalog: Catalog) -> str | None:
    """Why no configuration of the workload exists, on the pinned machine or on any; None where one does."""
    try:
        resolved = resolve_workload(workload, spec, catalog)
        check_expert_group(workload)
        host = pinned_host(workload, catalog)
        if host is None:
            return None if resolved.jobs else "no configuration is left"
        row_on(resolved, host, catalog)
    except (InputError, ImpossibleError) as error:
        return str(error)
    return None
