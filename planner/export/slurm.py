"""Slurm: one batch script a run, an array task a replica. Options as in Slurm 25 (slurm.schedmd.com, sbatch)."""

from __future__ import annotations

import shlex

from planner.export.shell import STRICT, about, comments, settings_required, start
from planner.export.training import local_gpus
from planner.export.types import HEAD, RANK, Launch, Run
from planner.units import MIB, ceil_div


def batch_script(run: Run, launch: Launch) -> str:
    """`sbatch` script of one run. Raises CannotExportError."""
    head = [
        f"Slurm 25: {run.workload}",
        "Submit it in this folder, with --partition and --account of the cluster.",
        f"Each GPU is a {run.gpu}: where the cluster has several types, name this one in the line of the GPUs.",
        *about(run),
        *launch.notes,
    ]
    if launch.port is not None and run.replicas > 1:
        head.append(f"Each array task listens on port {launch.port} of its node: two on one node need two ports.")
    beside = 'cd -- "$SLURM_SUBMIT_DIR"\n' if launch.files else ""
    first = f'export {HEAD}="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"\n' if run.nodes > 1 else ""
    rank = f'export {RANK}="$SLURM_NODEID"\n' if run.nodes > 1 else ""
    each = shlex.quote(f"{STRICT}\n{rank}{start(launch, run)}")
    return (
        "#!/usr/bin/env bash\n"
        + "".join(f"#SBATCH {line}\n" for line in _directives(run, launch))
        + comments(head)
        + f"{STRICT}\n{beside}{settings_required(launch)}{first}srun bash -c {each}\n"
    )


def _directives(run: Run, launch: Launch) -> list[str]:
    lines = [f"--job-name={run.slug}", f"--nodes={run.nodes}", "--ntasks-per-node=1"]
    part = run.text("mig")
    lines.append(f"--gres=gpu:{part}:{local_gpus(run)}" if part else f"--gpus-per-node={local_gpus(run)}")
    if run.replicas > 1:
        lines.append(f"--array=0-{run.replicas - 1}")
    if not part and run.node_gpus == run.gpus_per_node:
        lines += ["--exclusive", "--mem=0"]
    elif run.host_bytes:
        lines.append(f"--mem={ceil_div(run.host_bytes, MIB)}M")
    hours = (run.spec.get("targets") or {}).get("deadline_hours")
    if launch.port is None and hours:
        lines.append(f"--time={ceil_div(round(hours * 60), 1)}")
    return lines
