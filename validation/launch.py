"""Jobs for several nodes: a Slurm script or a Kubernetes Job that replays one trial, and what they bring back.

    python -m validation PLAN --emit slurm -o DIR      # DIR/<trial>/{trial.json,replay.sbatch}
    (copy DIR and the folder validation/ to the cluster, run the job there)
    python -m validation --collect DIR                 # DIR/<trial>/result.json -> records

Every rank runs `validation.worker`; the first one writes the result. Values are quoted for the shell, the manifest is
JSON, which every YAML reader takes.
"""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from validation.compare import is_planned_gpu, record_of_trial
from validation.record import Outcome, Record, RecordError, moment, write_record, write_text
from validation.run import num_processes
from validation.supervise import OOM_WORDS, Finished, last_line, read_result
from validation.trial import Trial, TrialError, slug, trial_of

TARGETS = ("slurm", "kubernetes")
IMAGE = "pytorch/pytorch:latest"
"""Named in the manifest for the user to replace; nothing is pulled here."""
START_S = 600.0
"""On top of a trial's own limit: nodes of a cluster start and join one another."""
PULL_S = 3600.0
"""A Job's deadline counts from its creation, so waiting for nodes and pulling images is in it."""
PORT = 29500
MOST_K8S_NAME = 63


def emit(trials: Sequence[Trial], target: str, folder: Path) -> list[Path]:
    """Write a job for each trial; returns what was written.

    Raises RecordError for a target not known, and for trials that no job of ours can run.
    """
    if target not in TARGETS:
        raise RecordError(f"--emit {target}: one of {', '.join(TARGETS)}")
    for trial in trials:
        if trial.engine != "transformers":
            raise RecordError(f"{trial.id}: jobs replay engine transformers; {trial.engine} brings its own launcher")
        if trial.mode == "infer" and trial.nodes > 1:
            raise RecordError(f"{trial.id}: Transformers' device_map does not span machines; {trial.nodes} are planned")
    written = []
    for trial in trials:
        own = folder / trial.id
        written.append(write_text(own / "trial.json", json.dumps(trial.as_dict(), indent=1) + "\n"))
        if target == "slurm":
            written.append(write_text(own / "replay.sbatch", sbatch(trial)))
        else:
            manifest = json.dumps(kubernetes_job(trial), indent=1) + "\n"
            written.append(write_text(own / "replay-job.json", manifest))
    return written


def gpus_per_node(trial: Trial) -> int:
    """GPUs that each node gives to the replica; nodes are equal."""
    return -(-trial.gpus // trial.nodes)


def ranks_per_node(trial: Trial) -> int:
    """Processes on each node: one a GPU in data-parallel training, else one."""
    return gpus_per_node(trial) if num_processes(trial) > 1 else 1


def torchrun(trial: Trial, *, address: str, node_rank: str) -> str:
    """The command of one node. `address` and `node_rank` are shell words that the job fills in."""
    words = [
        *["python", "-m", "torch.distributed.run", f"--nnodes={trial.nodes}"],
        f"--nproc-per-node={ranks_per_node(trial)}",
    ]
    head = " ".join(shlex.quote(word) for word in words)
    return (
        f'{head} --node-rank="{node_rank}" --master-addr="{address}" --master-port={PORT} '
        "-m validation.worker trial.json result.json --device cuda"
    )


def sbatch(trial: Trial) -> str:
    """The Slurm script; start it with `sbatch replay.sbatch` in its own folder."""
    name = slug(trial.id)[:60]
    minutes = -(-int(START_S + trial.time_limit_s) // 60)
    run = torchrun(trial, address="$MASTER_ADDR", node_rank="$SLURM_NODEID")
    return "\n".join(
        [
            "#!/bin/bash",
            f"#SBATCH --job-name={name}",
            f"#SBATCH --nodes={trial.nodes}",
            "#SBATCH --ntasks-per-node=1",
            f"#SBATCH --gpus-per-node={gpus_per_node(trial)}",
            "#SBATCH --exclusive",
            f"#SBATCH --time={minutes}",
            "#SBATCH --output=talk.log",
            "# VALIDATION is the folder that holds the package validation/.",
            "set -euo pipefail",
            'export PYTHONPATH="${VALIDATION:?set it to the folder that holds validation/}"',
            "export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1",
            'MASTER_ADDR="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"',
            "export MASTER_ADDR",
            f"srun --kill-on-bad-exit=1 bash -c {shlex.quote(run)}",
            "",
        ]
    )


def kubernetes_job(trial: Trial) -> dict[str, Any]:
    """An Indexed Job: pod 0 is the master; the volume `replay` holds trial.json and the package validation/."""
    name = k8s_name(trial.id)
    run = torchrun(trial, address=f"{name}-0.{name}", node_rank="$JOB_COMPLETION_INDEX")
    container = {
        "name": "replay",
        "image": IMAGE,
        "workingDir": "/replay",
        "command": ["bash", "-c", f"set -o pipefail; {run} 2>&1 | tee -a talk.log"],
        "env": [
            {"name": "PYTHONPATH", "value": "/replay"},
            {"name": "HF_HUB_OFFLINE", "value": "1"},
            {"name": "TRANSFORMERS_OFFLINE", "value": "1"},
        ],
        "resources": {"limits": {"nvidia.com/gpu": str(gpus_per_node(trial))}},
        "volumeMounts": [
            {"name": "replay", "mountPath": "/replay"},
            {"name": "shm", "mountPath": "/dev/shm"},  # NCCL passes data between GPUs of a node through it
        ],
    }
    pod = {
        "metadata": {"labels": {"job": name}},
        "spec": {
            "restartPolicy": "Never",
            "subdomain": name,
            "containers": [container],
            "volumes": [
                {"name": "replay", "persistentVolumeClaim": {"claimName": name}},
                {"name": "shm", "emptyDir": {"medium": "Memory"}},
            ],
        },
    }
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {
            "completionMode": "Indexed",
            "completions": trial.nodes,
            "parallelism": trial.nodes,
            "backoffLimit": 0,
            "activeDeadlineSeconds": int(PULL_S + trial.time_limit_s),
            "template": pod,
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": {"job": name}},
    }
    return {"apiVersion": "v1", "kind": "List", "items": [service, job]}


def k8s_name(text: str) -> str:
    """A name as RFC 1123 wants it.

    >>> k8s_name("Company-Chat_small.1")
    'company-chat-small-1'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.casefold()).strip("-")[: MOST_K8S_NAME - 8].strip("-") or "replay"


def collect(folder: Path, out: Path) -> list[Record]:
    """Records of the jobs under a folder: their results where they left one, else the end of what they said.

    Raises RecordError where the folder holds no trial.
    """
    found = sorted(folder.glob("*/trial.json"))
    if not found:
        raise RecordError(f"{folder}: no */trial.json; give the folder that --emit wrote")
    return [collected(path.parent, out) for path in found]


def collected(folder: Path, out: Path) -> Record:
    """The record of one job. Raises RecordError for a trial that cannot be read."""
    try:
        trial = trial_of(json.loads((folder / "trial.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TrialError) as err:
        raise RecordError(f"{folder}: {err}") from None
    result = read_result(folder / "result.json")
    talk_file = folder / "talk.log"
    talk = talk_file.read_text(encoding="utf-8", errors="replace") if talk_file.is_file() else ""
    if result is not None and isinstance(result.get("state"), str):
        outcome = Outcome(state=result["state"], detail=str(result.get("detail", "")))
    elif OOM_WORDS.search(talk):
        outcome = Outcome(state="oom", detail=last_line(talk, OOM_WORDS))
    else:
        outcome = Outcome(state="error", detail=f"the job left no result: {last_line(talk)}")
    seen = (result or {}).get("device") or {}
    name = str(seen.get("device", "unknown"))
    finished = Finished(outcome=outcome, result=result or {}, talk=talk, started=time.time())
    left = next((f for f in (folder / "result.json", talk_file, folder / "trial.json") if f.is_file()), folder)
    environment = {
        "gpu": name,
        "gpus": trial.gpus,
        "nodes": trial.nodes,
        "planned_gpu": trial.gpu,
        **((result or {}).get("versions") or {}),
        **{f"device_{key}" if key == "device" else key: value for key, value in seen.items()},
        "command": torchrun(trial, address="$MASTER_ADDR", node_rank="$NODE_RANK"),
        "date": moment(left.stat().st_mtime),
    }
    record = record_of_trial(trial, finished, environment, same_gpu=is_planned_gpu(trial.gpu, name))
    write_record(record, out / slug(name) / f"{trial.id}.json")
    return record
