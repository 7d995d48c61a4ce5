"""Jobs for several nodes: scripts a shell accepts, manifests of valid names, results brought back as records."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from validation.launch import collect, emit, kubernetes_job, sbatch
from validation.planfile import trials_of_plan
from validation.record import RecordError
from validation.trial import Trial


@pytest.fixture
def trial(plan: dict[str, Any]) -> Trial:
    """Training on 2 nodes of 8 GPUs."""
    (one,) = trials_of_plan(plan)
    return replace(one, mode="train", nodes=2, gpus=16, config={**one.config, "data_parallel": 16})


def test_the_slurm_script_is_one_a_shell_reads_and_asks_for_the_planned_nodes(trial: Trial, tmp_path: Path) -> None:
    text = sbatch(trial)
    assert subprocess.run(["bash", "-n"], input=text, text=True).returncode == 0
    assert {"#SBATCH --nodes=2", "#SBATCH --gpus-per-node=8"} <= set(text.splitlines())
    assert "--nproc-per-node=8" in text


def test_a_name_cannot_put_options_into_the_script(trial: Trial) -> None:
    evil = replace(trial, id="x\n#SBATCH --account=other; $(touch /tmp/x)")
    lines = sbatch(evil).splitlines()
    assert [line for line in lines if "account" in line] == ["#SBATCH --job-name=x-sbatch-account-other-touch-tmp-x"]


def test_every_node_of_the_kubernetes_job_is_a_pod_with_its_gpus(trial: Trial) -> None:
    service, job = kubernetes_job(trial)["items"]
    assert (job["spec"]["completions"], job["spec"]["completionMode"]) == (2, "Indexed")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "8"}
    assert service["spec"]["clusterIP"] == "None"
    for name in (job["metadata"]["name"], service["metadata"]["name"]):
        assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name)
        assert len(name) <= 63


def test_a_job_has_time_to_start_beside_the_trials_own(trial: Trial) -> None:
    """The limit of 300 s and an hour for nodes and images, or ten minutes for nodes alone."""
    _, job = kubernetes_job(trial)["items"]
    assert job["spec"]["activeDeadlineSeconds"] == 3900
    assert "#SBATCH --time=15" in sbatch(trial).splitlines()


@pytest.mark.parametrize(
    ("change", "says"), [({"engine": "vllm"}, "its own launcher"), ({"mode": "infer"}, "does not span machines")]
)
def test_what_a_job_cannot_run_is_refused_before_it_is_written(
    trial: Trial, change: dict[str, Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(RecordError, match=says):
        emit([replace(trial, **change)], "slurm", tmp_path)
    assert not list(tmp_path.iterdir())


def test_results_of_jobs_become_records(trial: Trial, tmp_path: Path) -> None:
    for name in ("done", "lost", "full"):
        emit([replace(trial, id=name)], "slurm", tmp_path / "jobs")
    result = {
        "state": "ok",
        "measured": {"step": 2.0},
        "device": {"device": "NVIDIA L4"},
        "versions": {"torch": "2.13"},
    }
    (tmp_path / "jobs" / "done" / "result.json").write_text(json.dumps(result))
    (tmp_path / "jobs" / "full" / "talk.log").write_text("torch.OutOfMemoryError: CUDA out of memory.")
    records = {r.id: r for r in collect(tmp_path / "jobs", tmp_path / "out")}
    states = {name: r.outcome.state for name, r in records.items() if r.outcome}
    assert states == {"done": "ok", "lost": "error", "full": "oom"}
    known = records["done"].environment
    assert (known["torch"], known["nodes"]) == ("2.13", 2)
    assert known["date"].startswith("20")
    assert (tmp_path / "out" / "nvidia-l4" / "done.json").is_file()


def test_a_folder_without_jobs_is_said_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="give the folder that --emit wrote"):
        collect(tmp_path, tmp_path)
