"""`plan init`: a commented spec to start from."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from planner.cli.console import answer, say
from planner.errors import InputError, UnknownNameError

SPEC_FILE = "workloads.yaml"


def init(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="File to write.")] = Path(SPEC_FILE),
    example: Annotated[
        str | None, typer.Option("--example", metavar="NAME", help="Start from a shipped example instead.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is already there.")] = False,
) -> None:
    """Write a commented spec to start from.

    On a terminal it asks which of the shipped examples to take.
    """
    target = path / SPEC_FILE if path.is_dir() else path
    if (target.exists() or target.is_symlink()) and not force:
        raise InputError(f"{target} is already there; name another file or add --force")
    if example is None and sys.stdin.isatty() and sys.stdout.isatty():
        example = ask_for_example()
    text = example_text(example) if example is not None else starter_text()
    write_new(target, text)
    answer(str(target))
    say(f"edit it, then: plan check {target}; plan build {target}")


def example_names() -> tuple[str, ...]:
    """The shipped examples, in order."""
    from planner.resources import data_folder

    return tuple(sorted(spec.parent.name for spec in data_folder("plans").glob(f"*/{SPEC_FILE}")))


def example_text(name: str) -> str:
    """The spec of a shipped example. Raises UnknownNameError."""
    from planner.resources import data_folder

    if name not in example_names():
        raise UnknownNameError("example", name, example_names())
    return (data_folder("plans") / name / SPEC_FILE).read_text(encoding="utf-8")


def starter_text() -> str:
    """The commented spec for a first plan."""
    from planner.spec.starter import starter_spec

    return starter_spec()


def ask_for_example() -> str | None:
    """Ask on the terminal; an empty answer means the starter spec."""
    say(f"Examples: {', '.join(example_names())}")
    wanted: str = typer.prompt("Start from (empty: a short commented spec)", default="", show_default=False, err=True)
    return wanted.strip() or None


def write_new(target: Path, text: str) -> None:
    """Write the file whole or not at all. Raises InputError where the folder is missing."""
    from planner.files import write_atomically

    if not target.parent.is_dir():
        raise InputError(f"{target}: there is no folder {target.parent}; create it first")
    write_atomically(target, text.encode())
