"""Scenarios: one spec with some of its keys varied, each planned on its own."""

from __future__ import annotations

import copy
import functools
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner import __version__
from planner.catalog.calibration import Calibration, calibrated, calibrated_catalog, calibration_text
from planner.errors import InputError, NoPlanInTimeError, PlannerError, did_you_mean, near_matches
from planner.spec.load import load_spec_text
from planner.spec.types import with_names
from planner.spec.yaml_guard import YamlError, parse

if TYPE_CHECKING:
    from planner.catalog.load import Catalog
    from planner.plan.types import Plan

SCHEMA = "planner/sweep/v1"
MOST_SCENARIOS = 10_000
OPENING, CLOSING, QUOTES = "[{(", "]})", "\"'"
FINISHED = frozenset({"optimal", "feasible", "infeasible", "error"})
"""What is not planned again; a scenario without a plan in time is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Varied:
    """One key and the values it takes."""

    key: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A spec with some keys set."""

    id: str
    """The same for the same spec, catalogs and planner."""
    values: Mapping[str, Any]
    """By varied key."""
    text: str
    """The whole spec, JSON."""
    title: str
    """Stands in messages."""
    folder: str
    """Where models given as files are looked for."""
    calibration: str | None = None
    """The text of the calibration that holds for its speeds."""


def varied(argument: str) -> Varied:
    """A key and its values from `KEY=V1,V2,...`; values are YAML, commas inside brackets belong to a value.

    >>> varied("fleet.gpus=[l4],[l4, t4]").values
    (['l4'], ['l4', 't4'])
    >>> varied("horizon.months=12,36").values
    (12, 36)

    Raises InputError.
    """
    key, equals, text = argument.partition("=")
    if not equals or not key.strip() or not text.strip():
        raise InputError(f"--vary {argument}: write KEY=V1,V2, for example horizon.months=12,36")
    try:
        values = tuple(parse(part.encode()).data() for part in split_values(text))
    except YamlError as err:
        raise InputError(f"--vary {argument}: {err.what}") from None
    return Varied(key=key.strip(), values=values)


def split_values(text: str) -> Iterator[str]:
    """The parts between commas that stand in no bracket and no quotes.

    >>> list(split_values("a,[b, c],'d,e'"))
    ['a', '[b, c]', "'d,e'"]
    """
    depth, quote, start = 0, "", 0
    for at, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in QUOTES:
            quote = char
        elif char in OPENING:
            depth += 1
        elif char in CLOSING:
            depth -= 1
        elif char == "," and not depth:
            yield text[start:at].strip()
            start = at + 1
    yield text[start:].strip()


def scenarios(
    raw: bytes,
    source: str,
    folder: Path,
    asked: Sequence[Varied],
    catalog: Catalog,
    *,
    calibration: Calibration | None = None,
) -> list[Scenario]:
    """Every combination of the values, the last key varying fastest.

    Raises InputError for a key that the spec cannot have and for every value that it cannot take.
    """
    keys = [v.key for v in asked]
    if len(set(keys)) < len(keys):
        raise InputError("--vary: a key is named twice; give all its values at once")
    total = functools.reduce(lambda n, v: n * len(v.values), asked, 1)
    if total > MOST_SCENARIOS:
        raise InputError(f"--vary: {total} combinations; a sweep has at most {MOST_SCENARIOS}")
    try:
        data = parse(raw).data()
    except YamlError as err:
        raise InputError(f"{source}:{err.line}:{err.column}: {err.what}") from None
    load_spec_text(raw.decode("utf-8"), source, folder=folder)
    base = with_names(data)
    assert isinstance(base, dict), "a spec that loads is a mapping"
    paths = [path_of(key, base) for key in keys]
    measured = None if calibration is None else calibration_text(calibration)
    stamp = f"{catalog.sha256()} {__version__}" + (f" {measured}" if measured else "")
    found: list[Scenario] = []
    wrong: list[str] = []
    for values in itertools.product(*(v.values for v in asked)):
        changed = copy.deepcopy(base)
        for path, value in zip(paths, values, strict=True):
            set_at(changed, path, value)
        text = json.dumps(changed, ensure_ascii=False)
        title = f"{source} with {', '.join(f'{k}={short(v)}' for k, v in zip(keys, values, strict=True))}"
        wrong += problems_of(text, title, folder, catalog)
        digest = hashlib.sha256(f"{stamp} {text}".encode()).hexdigest()[:16]
        chosen = dict(zip(keys, values, strict=True))
        found.append(
            Scenario(id=digest, values=chosen, text=text, title=title, folder=str(folder), calibration=measured)
        )
    if wrong:
        raise InputError(*wrong[:20], *([f"and {len(wrong) - 20} more"] if len(wrong) > 20 else []))
    return found


def problems_of(text: str, title: str, folder: Path, catalog: Catalog) -> Sequence[str]:
    """What is wrong with a scenario's spec."""
    from planner.names import refuse_unknown_names

    try:
        refuse_unknown_names(load_spec_text(text, title, folder=folder), catalog)
    except InputError as err:
        return err.messages
    return ()


def short(value: object) -> str:
    """A value on one line, as it would be written after `--vary KEY=`."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def path_of(key: str, data: Mapping[str, Any]) -> tuple[str | int, ...]:
    """A dotted key as a path; workloads go by name or number.

    >>> path_of("workloads.chat.v2.batch", {"workloads": [{"name": "chat"}, {"name": "chat.v2"}]})
    ('workloads', 1, 'batch')

    Raises InputError for a workload that is not there.
    """
    head, _, rest = key.partition(".")
    workloads = data.get("workloads")
    if head != "workloads" or not isinstance(workloads, list):
        return tuple(key.split("."))
    names = {str(w.get("name")): n for n, w in enumerate(workloads)} | {str(n): n for n in range(len(workloads))}
    matching = [name for name in names if rest.startswith(f"{name}.")]
    if not matching:
        near = near_matches(rest.split(".")[0], tuple(names))
        raise InputError(f"--vary {key}: no such workload; write workloads.NAME.KEY; {did_you_mean(near)}")
    name = max(matching, key=len)
    return (head, names[name], *rest.removeprefix(f"{name}.").split("."))


def set_at(data: dict[str, Any], path: Sequence[str | int], value: object) -> None:
    """Set one key, making the mappings on the way.

    Raises InputError where the way leads through something that is no mapping.
    """
    place: Any = data
    for n, step in enumerate(path[:-1]):
        if isinstance(step, int):
            place = place[step]
            continue
        if place.get(step) is None:
            place[step] = {}
        place = place[step]
        follows = path[n + 1]
        if not isinstance(place, dict) and not isinstance(follows, int):
            raise InputError(f"--vary {'.'.join(map(str, path))}: {step} has no keys in this spec; vary {step} itself")
    place[path[-1]] = copy.deepcopy(value)


@functools.cache
def shipped_catalog() -> Catalog:
    """The catalogs, read once a process."""
    from planner.catalog.load import Catalog

    return Catalog.load()


def planned(scenario: Scenario, created: str, time_limit_s: float | None) -> dict[str, Any]:
    """The row of one scenario: what its plan costs and needs, or why there is none."""
    from planner.plan.build import build_plan

    row: dict[str, Any] = {"schema": SCHEMA, "id": scenario.id, "values": dict(scenario.values)}
    try:
        loaded = load_spec_text(scenario.text, scenario.title, folder=Path(scenario.folder))
        measured = None if scenario.calibration is None else Calibration.model_validate_json(scenario.calibration)
        with calibrated(measured):
            catalog = calibrated_catalog(shipped_catalog(), measured)
            plan = build_plan(loaded, catalog, created=created, time_limit_s=time_limit_s)
    except NoPlanInTimeError as err:
        return {**row, "status": "no plan in time", "reason": str(err)}
    except PlannerError as err:
        return {**row, "status": "error", "reason": str(err)}
    return {**row, **figures_of(plan)}


def figures_of(plan: Plan) -> dict[str, Any]:
    """The figures of a plan that scenarios are compared by."""
    t = plan.totals
    if t is None:
        return {"status": plan.status, "reason": why_not(plan)}
    return {
        "status": plan.status,
        "gap": plan.solver.gap,
        "totals": t.model_dump(mode="json"),
        "workloads": {
            w.name: {"gpu": w.gpu, "gpus": w.gpus, "replicas": w.replicas, "precision": w.config.get("precision")}
            for w in plan.workloads
        },
    }


def why_not(plan: Plan) -> str:
    """The limits and workloads that stand in the way of a plan."""
    trouble = plan.infeasible
    if trouble is None:
        return ""
    lost = [f"no GPU can run {name}" for name in trouble.unplaceable]
    return "; ".join([*(c.limit for c in trouble.conflict), *lost])
