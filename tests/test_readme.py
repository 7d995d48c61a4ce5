"""The README tells the truth: its commands exist, its keys exist, its outputs are what the commands print."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from planner.cli.main import app, run
from planner.spec.load import load_spec_text
from planner.spec.schema import spec_json_schema

README = Path(__file__).parent.parent / "README.md"
CONSOLE = re.compile(r"```console\n\$ (plan [^\n]+)\n(.*?)```", re.DOTALL)


def test_every_command_is_documented_and_every_documented_command_exists() -> None:
    commands = set(vars(get_command(app))["commands"])
    rows = set(re.findall(r"^\| `plan (\w+)", README.read_text(), re.MULTILINE))
    assert len(commands) > 10
    assert rows == commands


def test_every_key_of_a_spec_is_documented() -> None:
    text = README.read_text()
    named = set(re.findall(r"`(\w+)(?:\[\])?`", text))
    parts = ("Fleet", "Pin", "Report", "InferWorkload", "TrainWorkload", "InferTargets", "TrainTargets")
    schema = spec_json_schema()
    keys = {key for part in parts for key in schema["$defs"][part]["properties"]} | set(schema["properties"])
    assert len(keys) > 50
    assert not keys - named


def test_every_example_is_listed() -> None:
    examples = {p.parent.name for p in README.parent.glob("plans/*/workloads.yaml")}
    assert examples == set(re.findall(r"^\| \[plans/(\w+)\]", README.read_text(), re.MULTILINE))


def test_the_specs_in_the_readme_are_valid() -> None:
    specs = re.findall(r"```yaml\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(specs) >= 2
    for text in specs:
        assert load_spec_text(text).spec.workloads


def test_every_link_leads_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README.read_text()) if "://" not in link]
    assert links
    assert not [link for link in links if not (README.parent / link).exists()]


def test_the_outputs_are_what_the_commands_print(capsys: pytest.CaptureFixture[str], update_golden: bool) -> None:
    text = README.read_text(encoding="utf-8")
    blocks = CONSOLE.findall(text)
    assert blocks

    def printed(match: re.Match[str]) -> str:
        with pytest.raises(SystemExit) as stopped:
            run(shlex.split(match[1])[1:])
        assert stopped.value.code in (0, None)
        return f"```console\n$ {match[1]}\n{capsys.readouterr().out}```"

    now = CONSOLE.sub(printed, text)
    if update_golden:
        README.write_text(now, encoding="utf-8")
    assert_same_blocks(now if update_golden else text, now)


def assert_same_blocks(shown: str, printed: str) -> None:
    """Compare the outputs alone, so that a failure shows the difference and not the whole page."""
    assert CONSOLE.findall(shown) == CONSOLE.findall(printed)
