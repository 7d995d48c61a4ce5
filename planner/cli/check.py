"""`plan check`: is the spec valid, do its names exist, and can what it asks for be?"""

from __future__ import annotations

from typing import Annotated

import typer

from planner.cli.console import answer
from planner.cli.options import Json, SpecFile


def check(
    spec: SpecFile,
    show_defaults: Annotated[
        bool, typer.Option("--show-defaults", help="Print the spec with every default filled in.")
    ] = False,
    json: Json = False,
) -> None:
    """Check a spec and name every mistake.

    Each with its line and column, what is wrong there and the nearest valid value.
    """
    from planner.catalog.load import Catalog
    from planner.estimate.wishes import refuse_impossible_wishes
    from planner.names import refuse_unknown_names
    from planner.spec.defaults import resolved_yaml
    from planner.spec.load import load_spec

    loaded = load_spec(spec)
    catalog = Catalog.load()
    refuse_unknown_names(loaded, catalog)
    refuse_impossible_wishes(loaded, catalog)
    if json:
        answer(loaded.spec.model_dump_json(by_alias=True, indent=2))
    elif show_defaults:
        answer(resolved_yaml(loaded.spec))
    else:
        count = len(loaded.spec.workloads)
        answer(f"{spec}: {count} workload{'s' if count != 1 else ''}, no mistakes")
