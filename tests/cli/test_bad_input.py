"""Whatever a user gets wrong ends as a message that says where, what and what next, an exit code, and no file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest


class Done(Protocol):
    """What a command left behind (see `conftest.Done`)."""

    code: int
    out: str
    err: str


RunPlan = Callable[..., Done]


def spec(workload: str = "", head: str = "") -> str:
    """A spec of one workload, with further keys of it and of the document."""
    return f"{head}workloads:\n  - {{name: w, model: llama-2-7b, mode: infer, batch: 1, sequence: 2048{workload}}}\n"


TRAIN = "workloads:\n  - {name: w, model: gpt2, mode: train, sequence: 512, "

BAD_SPECS: dict[str, tuple[str | bytes, str]] = {
    "wrong type": (spec().replace("batch: 1", "batch: lots"), "spec.yaml:2:"),
    "unknown key": (spec(", bacth: 2"), "nearest: batch"),
    "unknown key at the top": (spec(head="fleeet: {}\n"), "fleet"),
    "unknown model": (spec().replace("llama-2-7b", "lama-2-7b"), "nearest: llama-2-7b"),
    "unknown GPU": (spec(", pin: {gpu: h1OO-pcie-80gb}"), "h100-pcie-80gb"),
    "unknown node": (spec(head="fleet: {owned: [{node: dgx-h10}]}\n"), "dgx-h100"),
    "unknown engine": (spec(", engine: vlm"), "nearest: vllm"),
    "unknown region": (spec(head="site: {region: dee}\n"), "unknown region"),
    "a glob that matches nothing": (spec(head="fleet: {gpus: [h1000-*]}\n"), "no GPU of the catalog matches"),
    "unknown precision": (spec(", precision: bf61"), "bf16"),
    "negative batch": (spec().replace("batch: 1", "batch: -1"), "batch"),
    "zero sequence": (spec().replace("2048", "0"), "sequence"),
    "text for a number": (spec(", pin: {replicas: two}"), "replicas"),
    "true for a number": (spec(", pin: {replicas: true}"), "replicas"),
    "not a number": (spec(", targets: {ttft_ms: .nan}"), ".nan is not a finite number"),
    "infinite": (spec(", targets: {ttft_ms: .inf}"), ".inf is not a finite number"),
    "impossible pin: offload above the whole": (
        spec(", pin: {offload: {weights_cpu: 0.8, weights_disk: 0.5}}"),
        "weights_disk 0.2 or less",
    ),
    "impossible pin: micro-batch does not divide": (
        TRAIN + "batch: {global: 64, micro: 24}}\n",
        "nearest that does: 16",
    ),
    "training target of an inference": (spec(", targets: {deadline_hours: 4}"), "deadline_hours"),
    "lora without a method for it": (TRAIN + "batch: 8, method: full, lora: {rank: 8}}\n", "lora"),
    "contradictory limits": (spec(head="fleet: {spare_nodes: 3, limits: {nodes: 3}}\n"), "leave none to work"),
    "negative limit": (spec(head="fleet: {limits: {usd_per_hour: -1}}\n"), "usd_per_hour"),
    "excludes all it allows": (spec(head="fleet: {gpus: [l4], exclude_gpus: [l4]}\n"), "excludes everything"),
    "shares that do not add up": (
        "workloads:\n  - {name: w, model: gpt2, mode: infer, traffic: [{input: 9, output: 9, share: 0.5}]}\n",
        "share",
    ),
    "period of an unknown workload": (
        spec(head="periods: [{months: 12, demand: {x: 2}}]\n"),
        "no workload is named 'x'",
    ),
    "duplicate names": (spec() + spec().split("\n", 1)[1], "names are unique"),
    "duplicate keys": ("version: 1\nversion: 1\n" + spec(), "version"),
    "wrong version": (spec(head="version: 2\n"), "version"),
    "a path outside the folder": (spec().replace("llama-2-7b", "../../etc/config.json"), "config.json"),
    "a model file that is not there": (spec().replace("llama-2-7b", "./config.json"), "config.json"),
    "no workloads": ("workloads: []\n", "workloads"),
    "empty file": ("", "empty"),
    "only comments": ("# nothing\n", "spec.yaml:"),
    "a list": ("- 1\n", "mapping"),
    "two documents": (spec() + "---\n" + spec(), "document"),
    "tabs": ("workloads:\n\t- {name: w}\n", "tab"),
    "not YAML": ("workloads: [\n", "spec.yaml:"),
    "binary": (bytes(range(256)) * 16, "spec.yaml"),
    "NUL": ("workloads: \0\n", "spec.yaml"),
    "UTF-16": (spec().encode("utf-16"), "UTF-16"),
    "Latin-1": (spec().replace("name: w", "name: \xe9").encode("latin-1"), "UTF-8"),
    "10 MB": ("# " + "x" * 10_000_000 + "\n" + spec(), "at most"),
    "deep brackets": ("[" * 100_000, "deep"),
    "alias bomb": (
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{n}: &{n} [{', '.join([f'*{p}'] * 9)}]\n" for p, n in zip("abcdefgh", "bcdefghi", strict=True)),
        "spec.yaml:",
    ),
    "a tag": ("workloads: !!python/object/apply:os.system [ls]\n", "tag"),
    "an escape sequence in a name": (spec().replace("name: w", 'name: "\\e[31mred"'), "spec.yaml:2:"),
}


@pytest.mark.parametrize("command", ["check", "build", "estimate"])
@pytest.mark.parametrize("kind", BAD_SPECS)
def test_a_bad_spec_is_explained_and_leaves_no_file(plan: RunPlan, folder: Path, kind: str, command: str) -> None:
    text, clue = BAD_SPECS[kind]
    path = folder / "spec.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    done = plan(command, path)
    assert done.code == 2
    assert clue in done.err
    assert done.err.startswith("plan: ")
    assert "Traceback" not in done.err
    assert done.out == ""
    assert sorted(os.listdir(folder)) == ["spec.yaml"]


def test_all_mistakes_are_named_at_once_in_file_order(plan: RunPlan, folder: Path) -> None:
    (folder / "spec.yaml").write_text(
        "fleet: {gpus: [nothing-*]}\nsite: {region: atlantis}\n" + spec(", engine: vlm, pin: {gpu: l44}")
    )
    done = plan("check", "spec.yaml")
    lines = [int(line.split("spec.yaml:")[1].split(":")[0]) for line in done.err.splitlines()]
    assert lines == [1, 2, 4, 4]


BAD_USAGE = {
    "unknown command": (["bild"], "No such command"),
    "unknown flag": (["build", "x.yaml", "--fast"], "--fast"),
    "no spec": (["build"], "SPEC"),
    "missing file": (["build", "nowhere.yaml"], "there is no such file"),
    "a folder for a spec": (["check", "."], "folder"),
    "unknown report format": (["build", "good.yaml", "--format", "docx"], "docx"),
    "a time limit of nothing": (["build", "good.yaml", "--time-limit", "0"], "--time-limit"),
    "an old plan to start from": (["build", "good.yaml", "--from", "old.json"], "old.json: cannot be read"),
    "more for an old plan that is not named": (
        ["build", "good.yaml", "--from-extra", "0.1"],
        "name that plan with --from",
    ),
    "a calibration that is not there": (["build", "good.yaml", "--calibration", "c.json"], "c.json: cannot be read"),
    "neither spec nor flags": (["estimate"], "--model"),
    "both spec and flags": (["estimate", "good.yaml", "--model", "gpt2"], "not both"),
    "sequence beside input": (
        ["estimate", "--model", "gpt2", "--mode", "infer", "--sequence", "9", "--input", "9"],
        "not both",
    ),
    "unknown mode": (["estimate", "--model", "gpt2", "--mode", "sing"], "infer"),
    "unknown model in a flag": (["estimate", "--model", "gtp2", "--mode", "infer", "--sequence", "512"], "gpt2"),
    "unknown catalog": (["catalog", "list", "gpu5"], "gpus"),
    "unknown entry": (["catalog", "show", "h100-sxm-80bg"], "h100-sxm-80gb"),
    "unknown schema": (["schema", "spek"], "spec"),
    "unknown example": (["init", "--example", "compny"], "company"),
    "a plan that is none": (["report", "good.yaml"], "good.yaml"),
    "a plan that is not there": (["explain", "nowhere.json"], "nowhere.json"),
    "a problem that is none": (["solve", "good.yaml"], "not a JSON document"),
    "a config that is none": (["catalog", "import", "good.yaml", "--id", "x"], "good.yaml"),
}


@pytest.mark.parametrize("kind", BAD_USAGE)
def test_bad_usage_is_explained_and_leaves_no_file(plan: RunPlan, folder: Path, kind: str) -> None:
    arguments, clue = BAD_USAGE[kind]
    (folder / "good.yaml").write_text(spec())
    done = plan(*arguments)
    assert done.code == 2
    assert clue in done.err
    assert "Traceback" not in done.err
    assert done.out == ""
    assert os.listdir(folder) == ["good.yaml"]


def test_init_never_overwrites_unasked(plan: RunPlan, folder: Path) -> None:
    (folder / "workloads.yaml").write_text("mine")
    done = plan("init")
    assert done.code == 2
    assert "--force" in done.err
    assert (folder / "workloads.yaml").read_text() == "mine"


def test_with_json_one_bad_workload_does_not_stop_the_others(plan: RunPlan, folder: Path) -> None:
    good, bad = spec(), spec().replace("name: w", "name: v").replace("llama-2-7b", "lama-2-7b")
    (folder / "spec.yaml").write_text(good + bad.split("\n", 1)[1])
    done = plan("estimate", "spec.yaml", "--json")
    assert done.code == 0
    first, second = json.loads(done.out)["workloads"]
    assert first["params_total"] == 6_738_415_616
    assert second.keys() == {"name", "error"}
    assert "nearest: llama-2-7b" in second["error"]
