"""The starter, the resolved defaults and the JSON Schema say the same as the types."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from planner.spec.defaults import resolved_yaml
from planner.spec.load import load_spec_text
from planner.spec.messages import keys_of
from planner.spec.schema import spec_json_schema
from planner.spec.starter import starter_spec
from planner.spec.types import Fleet, InferWorkload, Limits, Site, Spec, TrainWorkload

SPECS = {
    "starter": starter_spec(),
    "smallest": "workloads: [{model: gpt2, mode: infer, sequence: 8}]",
    "pinned over defaults": (
        "workloads:\n"
        "- {model: gpt2, mode: infer, sequence: 8, pin: {attention: eager, batch: 3, offload: {kv_cpu: 0.5}}}\n"
        "- {model: gpt2, mode: train, sequence: 8, batch: 8, pin: {precision: bf16, sharding: zero3}}\n"
    ),
    "odd texts": (
        'name: "1e3"\n'
        "workloads:\n"
        "- {name: 'null', model: '0x10', mode: infer, sequence: 8, engine_options: {a: '1e3', b: null, c: 'yes'}}\n"
        '- {name: "12:30", model: {model_type: "a: b", hidden_size: 64, list: [1, {x: "#"}], "on": 0.5}, mode: infer,\n'
        "   traffic: [{input: 1, share: 0.25}, {input: 2, output: 2, share: 0.75}], precision: [bf16, fp8]}\n"
        'report: {title: "Größe: 100 % \\"sicher\\" #1"}\n'
        "periods: [{months: 3, demand: {'null': 1.5}}]\n"
    ),
}


@pytest.mark.parametrize("text", SPECS.values(), ids=SPECS)
def test_the_resolved_spec_loads_to_the_same_spec(text: str) -> None:
    spec = load_spec_text(text).spec
    written = resolved_yaml(spec)
    assert load_spec_text(written).spec == spec
    assert resolved_yaml(load_spec_text(written).spec).replace("  # default", "") == written.replace("  # default", "")


def test_the_resolved_spec_marks_what_was_not_said() -> None:
    written = resolved_yaml(load_spec_text(SPECS["smallest"]).spec)
    assert "    kv_precision: auto  # default\n" in written
    assert "    model: gpt2\n" in written
    assert "  memory_headroom: 0.05\n" in written  # inside `fleet:  # default`


def test_the_starter_shows_every_key_that_there_is() -> None:
    shown = set(re.findall(r"[a-z_0-9]+(?=:)", starter_spec()))
    known = {k for t in (Spec, Fleet, Limits, Site, InferWorkload, TrainWorkload) for k in keys_of(t)}
    assert len(known) > 40
    assert known - shown == set()


def test_the_starter_is_complete_when_every_comment_is_taken_away() -> None:
    text = re.sub(r"(?m)^(\s*)# (?=[a-z_]+: |periods:|  - \{months)", r"\1", starter_spec())
    text = re.sub(r"(?m)^#   - ", "  - ", text)
    text = re.sub(r"(?m)^    (traffic|image|images|audio|pin): .*\n", "", text)
    spec = load_spec_text(text).spec
    assert spec.fleet.limits.gpus == 64
    assert spec.periods[1].demand == {"chat": 2.5}


def test_the_starter_takes_a_name_and_a_schema() -> None:
    text = starter_spec("mine", schema="./spec.schema.json")
    assert text.startswith("# yaml-language-server: $schema=./spec.schema.json\n")
    assert load_spec_text(text).spec.name == "mine"


def schema_types(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The object types of the schema, the spec itself included."""
    return {"Spec": schema, **{n: d for n, d in schema["$defs"].items() if d.get("type") == "object"}}


def test_the_schema_is_json_with_a_description_for_every_key() -> None:
    schema = json.loads(json.dumps(spec_json_schema()))
    types = schema_types(schema)
    assert len(types) >= 18
    for name, definition in types.items():
        assert definition["additionalProperties"] is False, name
        for key, prop in definition["properties"].items():
            behind = schema["$defs"].get(prop.get("$ref", "").rpartition("/")[2], {})
            assert prop.get("description") or behind.get("description"), f"{name}.{key}"


def test_the_schema_refuses_no_number_for_being_whole() -> None:
    options = schema_types(spec_json_schema())["InferWorkload"]["properties"]["engine_options"]
    assert "anyOf" in options["additionalProperties"]  # `oneOf` would refuse 5: integer and number both hold


def test_the_schema_takes_the_short_forms() -> None:
    types = schema_types(spec_json_schema())
    assert set(types["InferWorkload"]["required"]) == {"model", "mode"}
    assert set(types["TrainWorkload"]["required"]) == {"model", "mode", "sequence", "batch"}
    assert {"type": "integer"} in types["InferWorkload"]["properties"]["sequence"]["anyOf"]
    assert "global" in types["TrainBatch"]["properties"]
    objective = spec_json_schema()["properties"]["objective"]["anyOf"]
    assert {o.get("type") for o in objective} == {"string", "array"}
