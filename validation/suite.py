"""Suites as the bare runner reads them: a list of trials with their predictions, most informative first.

The YAML under `suites/` is turned into this JSON by `plan validate --suite` (the planner predicts and writes), so that
a GPU machine needs neither catalog nor planner.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from validation.planfile import SCHEMA as PLAN_SCHEMA
from validation.planfile import read_json, read_plan, trials_of_plan
from validation.record import write_text
from validation.trial import Trial, TrialError, trial_of

SCHEMA = "validation/suite/v1"


def write_suite(name: str, trials: Sequence[Trial], path: Path, *, made_with: str) -> Path:
    """Write a suite with its hash; returns the path."""
    raw: dict[str, Any] = {
        "schema": SCHEMA,
        "name": name,
        "made_with": made_with,
        "trials": [trial.as_dict() for trial in trials],
    }
    raw["body_sha256"] = suite_sha256(raw)
    return write_text(path, json.dumps(raw, ensure_ascii=False, allow_nan=False, indent=1) + "\n")


def suite_sha256(raw: Mapping[str, Any]) -> str:
    """Hash over everything but the hash itself."""
    body = {key: value for key, value in raw.items() if key != "body_sha256"}
    return hashlib.sha256(json.dumps(body, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def trials_in(path: Path, *, only: str | None = None) -> tuple[Trial, ...]:
    """The trials of a plan or a suite, whichever the file is.

    Raises TrialError for another schema, a file changed after it was written, or a name that is not in it.
    """
    if path.is_dir():
        return trials_of_plan(read_plan(path), only=only)
    raw = read_json(path)
    schema = raw.get("schema") if isinstance(raw, dict) else None
    if schema != SCHEMA:
        if schema != PLAN_SCHEMA:
            raise TrialError(f"{path}: schema {schema!r}; this version replays {PLAN_SCHEMA!r} and {SCHEMA!r}")
        return trials_of_plan(read_plan(path), only=only)
    if raw.get("body_sha256") != suite_sha256(raw):
        raise TrialError(f"{path}: the suite was changed after it was written (its hash does not match)")
    trials = tuple(trial_of(t) for t in raw["trials"])
    found = tuple(t for t in trials if only is None or only in t.id)
    if not found:
        raise TrialError(f"{path}: no trial of the suite has {only!r} in its name")
    return found
