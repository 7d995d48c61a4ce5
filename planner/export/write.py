"""A plan's launch files for one target: made first, written when something could be made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from planner.errors import InputError
from planner.export import (
    accelerate,
    deepspeed,
    kubernetes,
    llamacpp,
    sglang,
    skypilot,
    slurm,
    torchrun,
    transformers,
    trtllm,
    vllm,
)
from planner.export.runs import runs_of
from planner.export.shell import script
from planner.export.types import CannotExportError, Exported, Launch, Run
from planner.files import write_atomically

if TYPE_CHECKING:
    from planner.plan.types import Plan

LAUNCHERS: Mapping[str, Callable[[Run], Launch]] = {
    "vllm": vllm.launch,
    "sglang": sglang.launch,
    "trtllm": trtllm.launch,
    "llamacpp": llamacpp.launch,
    "transformers": transformers.launch,
    "deepspeed": deepspeed.launch,
    "accelerate": accelerate.launch,
    "torchrun": torchrun.launch,
}
"""Targets that start a workload on machines at hand."""
PLACES: Mapping[str, tuple[Callable[[Run, Launch], str], str]] = {
    "kubernetes": (kubernetes.manifest, ".k8s.yaml"),
    "slurm": (slurm.batch_script, ".sbatch"),
    "skypilot": (skypilot.task, ".sky.yaml"),
}
"""Targets that bring a workload to machines: each starts it with the launcher that fits, and its files' endings."""
TARGETS = (*LAUNCHERS, *PLACES)


def exported(plan: Plan, target: str) -> Exported:
    """Every file of the target for the plan, and why some workloads have none.

    Raises InputError for an unknown target, and where nothing can be exported.
    """
    if target not in TARGETS:
        raise InputError(f"unknown target {target!r}; one of {', '.join(TARGETS)}")
    if plan.status == "infeasible":
        raise InputError("the plan is infeasible: there is nothing to launch")
    files: dict[str, str] = {}
    refused: dict[str, None] = {}
    for run in runs_of(plan):
        try:
            files |= _files(run, target)
        except CannotExportError as err:
            refused[f"{run.workload}: not for {target}: {err}"] = None
    if not files:
        raise InputError(*(refused or ["the plan has no workload that runs"]))
    return Exported(files, tuple(refused))


def _files(run: Run, target: str) -> dict[str, str]:
    if target in LAUNCHERS:
        launch = LAUNCHERS[target](run)
        text = script(run, launch, title=f"{target}: {run.workload}")
        return {f"{run.slug}.sh": text, **launch.files}
    place, ending = PLACES[target]
    launch = launcher_for(run)(run)
    text = place(run, launch)
    inside = target == "kubernetes"  # its manifest holds the files
    return {f"{run.slug}{ending}": text, **({} if inside else launch.files)}


def launcher_for(run: Run) -> Callable[[Run], Launch]:
    """What starts a run where only the place is given. Raises CannotExportError."""
    if run.mode == "infer":
        if run.engine not in LAUNCHERS:
            raise CannotExportError(f"nothing here starts {run.engine}; plan it with vllm, sglang, trtllm or llamacpp")
        return LAUNCHERS[run.engine]
    if run.engine == "transformers":
        sharding = run.text("sharding") or "none"
        if run.away("optimizer_cpu") or run.away("params_cpu") or sharding == "zero1":
            return deepspeed.launch
        if sharding != "none":
            return accelerate.launch
        return torchrun.launch if run.gpus > 1 else transformers.launch
    return deepspeed.launch if run.engine == "deepspeed" else torchrun.launch


def write_export(found: Exported, folder: Path) -> Sequence[Path]:
    """Write every file, whole or not at all; scripts may be run. Raises InputError where that cannot be."""
    written = []
    for name, text in sorted(found.files.items()):
        path = write_atomically(folder / name, text.encode())
        if name.endswith((".sh", ".sbatch")):
            path.chmod(path.stat().st_mode | 0o111)
        written.append(path)
    return written
