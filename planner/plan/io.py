"""Plans as files: canonical JSON, written whole or not at all, read with clear errors."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from planner.errors import InputError
from planner.files import write_atomically
from planner.plain_json import indented
from planner.plan.types import Plan

if TYPE_CHECKING:
    from planner.solve.problem import Problem

SCHEMA = "planner/plan/v1"
FILE_NAME = "plan.json"
PROBLEM_FILE_NAME = "problem.json"
MAX_FILE_BYTES = 2**28
MAX_PROBLEMS_SHOWN = 10


def plan_json(plan: Plan) -> str:
    """Canonical text: keys sorted, no NaN, one line a value; the hash of its body filled in."""
    raw = plan.model_dump(mode="json", by_alias=True)
    raw["body_sha256"] = body_sha256(raw)
    return canonical(raw)


def body_sha256(raw: dict[str, Any]) -> str:
    """Hash over everything but the hash itself, `created` and wall times."""
    body = {k: v for k, v in raw.items() if k not in ("body_sha256", "created")}
    body["solver"] = {k: v for k, v in body["solver"].items() if k != "wall_s"}
    return hashlib.sha256(canonical(body).encode()).hexdigest()


def canonical(raw: object) -> str:
    """JSON with sorted keys."""
    return indented(raw, sort_keys=True) + "\n"


def write_plan(plan: Plan, folder: Path) -> Path:
    """Write `plan.json` into the folder, whole or not at all. Raises InputError where that cannot be."""
    return write_atomically(folder / FILE_NAME, plan_json(plan).encode())


def write_problem(problem: Problem, folder: Path) -> Path:
    """Write `problem.json`, which `plan solve` reads, into the folder. Raises InputError where that cannot be."""
    from planner.solve.problem import problem_json

    return write_atomically(folder / PROBLEM_FILE_NAME, problem_json(problem).encode())


def read_plan(path: Path) -> Plan:
    """The plan in a file. Raises InputError when it cannot be read or is no plan of this format."""
    if path.is_dir():
        path = path / FILE_NAME
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(f"{path}: {path.stat().st_size} bytes; a plan has at most {MAX_FILE_BYTES}")
        text = path.read_bytes().decode("utf-8")
    except OSError as err:
        raise InputError(f"{path}: cannot be read: {err.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text, so not a plan") from None
    return parse_plan(text, name=str(path))


def parse_plan(text: str, *, name: str = "plan") -> Plan:
    """The plan in a JSON text. Raises InputError."""
    try:
        raw = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as err:
        raise InputError(f"{name}: not a JSON document: {err}") from None
    if not isinstance(raw, dict) or "schema" not in raw:
        raise InputError(f"{name}: not a plan: it has no key `schema`; expected {SCHEMA}")
    if raw["schema"] != SCHEMA:
        raise InputError(f"{name}: schema {raw['schema']!r}; this version reads {SCHEMA}")
    try:
        return Plan.model_validate(raw)
    except ValidationError as err:
        found = [f"{name}: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in err.errors(include_url=False)]
        beyond = len(found) - MAX_PROBLEMS_SHOWN
        raise InputError(*found[:MAX_PROBLEMS_SHOWN], *([f"and {beyond} more"] if beyond > 0 else [])) from None


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is not a number")
