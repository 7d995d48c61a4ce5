"""`plan catalog`: what exists, with its sources."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from planner.cli.console import answer, answer_json, details, table
from planner.cli.options import Json
from planner.errors import InputError, MismatchError

Kind = Literal["gpus", "nodes", "offers", "models", "energy", "purchases", "precisions", "engines"]
KindArgument = Annotated[
    Kind, typer.Argument(metavar="KIND", help="gpus, nodes, offers, models, energy, purchases, precisions or engines.")
]

app = typer.Typer(name="catalog", help="Look into the catalogs.", no_args_is_help=True)


@app.command("list")
def list_entries(
    kind: KindArgument,
    only: Annotated[
        str | None, typer.Option("--filter", metavar="TEXT", help="Only entries that hold this text.")
    ] = None,
    json: Json = False,
) -> None:
    """List the entries of one catalog."""
    from planner.catalog.load import Catalog
    from planner.catalog.show import readable, rows

    found = rows(Catalog.load(), kind, only)
    if json:
        answer_json(found)
    else:
        answer(table([readable(row) for row in found]) if found else f"no entry of {kind} holds {only!r}")


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Id or alias of a GPU, node, offer, model ...")],
    json: Json = False,
) -> None:
    """Show one entry.

    With everything known about it, its source and its date.
    """
    from planner.catalog.load import Catalog
    from planner.catalog.show import show as entry

    found = entry(Catalog.load(), name)
    if json:
        answer_json(found)
    else:
        answer(details(found))


@app.command()
def check() -> None:
    """Check the catalogs.

    Sources, references, implausible figures; exit code 1 when something is wrong.
    """
    from planner.catalog.check import check_catalog
    from planner.catalog.load import Catalog

    problems = check_catalog(Catalog.load())
    if problems:
        raise MismatchError("\n".join(problems))
    answer("the catalogs hold together")


@app.command("import")
def import_model(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A Hugging Face config.json.")],
    name: Annotated[str, typer.Option("--id", metavar="ID", help="Id of the new entry.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="File to write; left out = print.")
    ] = None,
) -> None:
    """Turn a Hugging Face config.json into a catalog entry."""
    from planner.catalog.import_model import import_config

    entry = import_config(config, name)
    if out is None:
        answer(entry)
        return
    if out.exists():
        raise InputError(f"{out} is already there; name another file")
    from planner.files import write_atomically

    write_atomically(out, entry.encode())
    answer(str(out))
