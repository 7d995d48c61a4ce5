"""Files named by a spec: inside its folder, regular, small, JSON."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from planner.errors import InputError
from planner.spec.defaults import resolved_yaml
from planner.spec.load import load_spec, load_spec_text

UNNAMED_SPEC = "workloads: [{model: gpt2, mode: infer, sequence: 8}]\n"
CONFIG = {"model_type": "llama", "hidden_size": 64, "_name_or_path": "someone/else"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for the spec, with a config beside it and one outside."""
    inside = tmp_path / "specs"
    (inside / "models").mkdir(parents=True)
    (inside / "models" / "mine.json").write_text(json.dumps(CONFIG))
    (tmp_path / "outside.json").write_text(json.dumps(CONFIG))
    return inside


def spec_with(folder: Path, model: str) -> Path:
    path = folder / "spec.yaml"
    path.write_text(f"workloads:\n  - {{mode: infer, sequence: 8, model: {json.dumps(model)}}}\n")
    return path


def refusal(folder: Path, model: str) -> str:
    with pytest.raises(InputError) as caught:
        load_spec(spec_with(folder, model))
    (message,) = caught.value.messages
    assert message.startswith(f"{folder / 'spec.yaml'}:2:39: ")
    return message


def test_a_config_in_the_folder_is_read_in_and_keeps_the_name_it_was_given(folder: Path) -> None:
    workload = load_spec(spec_with(folder, "models/mine.json")).spec.workloads[0]
    assert workload.model == {**CONFIG, "_name_or_path": "models/mine.json"}
    assert (workload.name, workload.model_label) == ("mine-infer", "models/mine.json")


def test_a_catalog_id_with_a_slash_is_not_a_path(folder: Path) -> None:
    assert load_spec(spec_with(folder, "models/mine")).spec.workloads[0].model == "models/mine"


@pytest.mark.parametrize("model", ["../outside.json", "models/../../outside.json", "./../outside.json"])
def test_a_path_out_of_the_folder_is_refused(folder: Path, model: str) -> None:
    assert "leads outside the spec's folder" in refusal(folder, model)


def test_an_absolute_path_is_refused(folder: Path) -> None:
    assert "is absolute; write the path from the spec's folder" in refusal(folder, "/etc/hostname.json")


def test_a_link_out_of_the_folder_is_refused(folder: Path) -> None:
    (folder / "link.json").symlink_to(folder.parent / "outside.json")
    assert "leads outside the spec's folder" in refusal(folder, "link.json")


def test_a_linked_folder_out_of_the_folder_is_refused(folder: Path) -> None:
    (folder / "up").symlink_to(folder.parent)
    assert "leads outside the spec's folder" in refusal(folder, "up/outside.json")


def test_a_link_to_itself_is_refused(folder: Path) -> None:
    (folder / "loop.json").symlink_to("loop.json")
    message = refusal(folder, "loop.json")
    assert "cannot be read" in message or "no such file" in message


def test_an_include_root_lets_a_config_outside_in(folder: Path) -> None:
    loaded = load_spec(spec_with(folder, "../outside.json"), include_root=folder.parent)
    assert loaded.spec.workloads[0].model_label == "../outside.json"


def test_a_missing_config_is_named(folder: Path) -> None:
    assert "'models/your.json': there is no such file" in refusal(folder, "models/your.json")


def test_a_pipe_is_not_read(folder: Path) -> None:
    os.mkfifo(folder / "pipe.json")
    assert "is not a regular file" in refusal(folder, "pipe.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not the JSON of a config"),
        ("[1]", "holds no mapping"),
        ("{}", "holds no mapping"),
        ('{"a": NaN}', "NaN is not a finite number"),
        ('{"a": 1e400}', "1e400 is too large for a number"),
        ('{"a": "\\ud800"}', "is not the JSON of a config"),
        ("[" * 100_000, "is not the JSON of a config"),
        (" " * 2_000_000, "has 2,000,000 bytes; at most 1,048,576"),
    ],
)
def test_a_config_that_is_none_is_refused(folder: Path, content: str, message: str) -> None:
    (folder / "bad.json").write_text(content)
    assert message in refusal(folder, "bad.json")


def test_text_from_nowhere_cannot_name_files() -> None:
    with pytest.raises(InputError, match="this spec came from no folder"):
        load_spec_text("workloads: [{model: a.json, mode: infer, sequence: 8}]")


def test_a_logo_lies_in_the_folder_too(folder: Path) -> None:
    path = folder / "spec.yaml"
    path.write_text("report: {logo: ../logo.svg}\nworkloads: [{model: gpt2, mode: infer, sequence: 8}]\n")
    with pytest.raises(InputError, match=r"1:16: report\.logo: '\.\./logo\.svg' leads outside"):
        load_spec(path)


def with_logo(folder: Path, content: bytes) -> Path:
    (folder / "logo").write_bytes(content)
    path = folder / "spec.yaml"
    path.write_text("report: {logo: logo}\nworkloads: [{model: gpt2, mode: infer, sequence: 8}]\n")
    return path


def test_a_logo_travels_with_the_spec(folder: Path) -> None:
    image = b"\x89PNG\r\n\x1a\n0"
    assert load_spec(with_logo(folder, image)).logo == f"data:image/png;base64,{base64.b64encode(image).decode()}"
    drawing = b"<svg xmlns='http://www.w3.org/2000/svg'/>"
    assert load_spec(with_logo(folder, drawing)).logo.startswith("data:image/svg+xml;base64,")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"GIF89a", "neither a PNG nor an SVG"),
        (b"<html/>", "no SVG image: its first element is 'html'"),
        (b"<!DOCTYPE svg [<!ENTITY a 'b'>]><svg xmlns='http://www.w3.org/2000/svg'/>", "must not declare"),
        (b"\x89PNG\r\n\x1a\n" + b"0" * 300_000, "a logo has at most 262,144"),
    ],
)
def test_a_logo_that_is_no_small_image_is_refused(folder: Path, content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_spec(with_logo(folder, content))


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("chat.yaml", "chat"),
        ("tuning/workloads.yaml", "tuning"),
        ("Größe 2/spec.yml", "Größe-2"),
        ("mine/..x.yaml", "x"),
        ("plans/eu/workloads.yaml", "eu"),
    ],
)
def test_an_unnamed_spec_is_named_after_its_file_or_folder(tmp_path: Path, place: str, name: str) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(UNNAMED_SPEC)
    spec = load_spec(path).spec
    assert spec.name == name
    assert f"name: {name}  # default" in resolved_yaml(spec)


def test_a_name_that_is_given_stays_whatever_the_file_is_called(tmp_path: Path) -> None:
    (tmp_path / "chat.yaml").write_text("name: plan\n" + UNNAMED_SPEC)
    assert load_spec(tmp_path / "chat.yaml").spec.name == "plan"


def test_a_spec_without_a_file_is_the_plan() -> None:
    assert load_spec_text(UNNAMED_SPEC).spec.name == "plan"
