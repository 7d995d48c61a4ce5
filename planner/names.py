"""Does everything that a spec names exist in the catalogs? Every unknown name at once, each with its line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from planner.catalog.mig import mig_facts
from planner.errors import InputError, did_you_mean, near_matches

if TYPE_CHECKING:
    from planner.catalog.load import Catalog
    from planner.spec.load import LoadedSpec
    from planner.spec.types import Workload

SpecPath = tuple[str | int, ...]
Problem = tuple[SpecPath, str]


def unknown_names(loaded: LoadedSpec, catalog: Catalog) -> tuple[str, ...]:
    """Messages `file:line:column: path: what; nearest` for every name the catalogs lack, in file order."""
    found = [*fleet_problems(loaded, catalog)]
    for index, workload in enumerate(loaded.spec.workloads):
        found += [(("workloads", index, *path), text) for path, text in workload_problems(workload, catalog)]
    placed = sorted((position(loaded.where(path)), path_text(loaded, path), text) for path, text in found)
    return tuple(f"{loaded.source}:{line}:{column}: {path}: {text}" for (line, column), path, text in placed)


def refuse_unknown_names(loaded: LoadedSpec, catalog: Catalog) -> None:
    """Raise InputError with every name of the spec that the catalogs do not have."""
    problems = unknown_names(loaded, catalog)
    if problems:
        raise InputError(*problems)


def fleet_problems(loaded: LoadedSpec, catalog: Catalog) -> Iterator[Problem]:
    """Unknown names under `fleet` and `site`."""
    fleet, site = loaded.spec.fleet, loaded.spec.site
    for key, globs in (("gpus", fleet.gpus), ("exclude_gpus", fleet.exclude_gpus)):
        for index, glob in enumerate(globs):
            if not any(fnmatchcase(gpu.casefold(), glob.casefold()) for gpu in catalog.gpus):
                near = did_you_mean(near_matches(glob.strip("*?"), tuple(catalog.gpus)))
                yield ("fleet", key, index), f"no GPU of the catalog matches {glob!r}; {near}"
    for index, owned in enumerate(fleet.owned):
        yield from asked(catalog.node, owned.node, ("fleet", "owned", index, "node"))
    if fleet.providers:
        yield from listed("provider", fleet.providers, (o.provider for o in catalog.offers), ("fleet", "providers"))
    if fleet.regions:
        yield from listed("region", fleet.regions, (o.region for o in catalog.offers), ("fleet", "regions"))
    yield from asked(catalog.region, site.region, ("site", "region"))


def workload_problems(workload: Workload, catalog: Catalog) -> Iterator[Problem]:
    """Unknown names of one workload; paths are relative to it."""
    if isinstance(workload.model, str):
        yield from asked(catalog.models.entry, workload.model, ("model",))
    yield from asked(catalog.engine, workload.engine, ("engine",))
    pin = workload.pin
    for key, name, find in (
        ("gpu", pin.gpu, catalog.gpu),
        ("node", pin.node, catalog.node),
        ("offer", pin.offer, catalog.offer),
    ):
        if name is not None:
            yield from asked(find, name, ("pin", key))
    if pin.mig is not None:
        yield from listed_one("MIG profile", pin.mig, mig_facts().profile_names(), ("pin", "mig"))


def asked(find: Callable[[str], object], name: str, path: SpecPath) -> Iterator[Problem]:
    """The catalog's own complaint about a name, if it has one."""
    try:
        find(name)
    except InputError as err:
        yield path, str(err)


def listed(kind: str, names: Iterable[str], known: Iterable[str], path: SpecPath) -> Iterator[Problem]:
    """Those of a list of names that no entry of the catalog has."""
    spellings = {k.casefold(): k for k in known}
    for index, name in enumerate(names):
        if name.casefold() not in spellings:
            near = did_you_mean(near_matches(name, tuple(spellings.values())))
            yield (*path, index), f"unknown {kind} {name!r}; {near}"


def listed_one(kind: str, name: str, known: Iterable[str], path: SpecPath) -> Iterator[Problem]:
    """A name that no entry of the catalog has."""
    yield from ((path, text) for _, text in listed(kind, (name,), known, path))


def path_text(loaded: LoadedSpec, path: SpecPath) -> str:
    """The path as messages show it: workloads by name.

    `("workloads", 0, "pin", "gpu")` is `workloads.chat.pin.gpu`.
    """
    if path[0] == "workloads" and isinstance(path[1], int):
        path = ("workloads", loaded.spec.workloads[path[1]].name, *path[2:])
    return ".".join(map(str, path))


def position(where: str) -> tuple[int, int]:
    """Line and column of `file:line:column`.

    >>> position("a:b.yaml:14:3")
    (14, 3)
    """
    _, line, column = where.rsplit(":", 2)
    return int(line), int(column)
