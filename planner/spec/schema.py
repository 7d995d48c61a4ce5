"""The JSON Schema of a spec, for editors."""

from __future__ import annotations

from typing import Any

from planner.spec.types import Spec

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def spec_json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a spec file; every key has its description, its bounds and its default."""
    schema = Spec.model_json_schema(by_alias=True, mode="validation")
    return {"$schema": DIALECT, **_any_of(schema), "title": "GPU capacity planner spec"}


def _any_of(part: Any) -> Any:
    """The schema with `anyOf` for unions that overlap: a whole number is a number too, which `oneOf` refuses."""
    if isinstance(part, dict):
        keep = "discriminator" in part
        return {("anyOf" if key == "oneOf" and not keep else key): _any_of(value) for key, value in part.items()}
    return [_any_of(item) for item in part] if isinstance(part, list) else part
