"""`plan export`: files that launch what a plan chose."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from planner.cli.console import answer, say
from planner.cli.options import OutFolder, PlanFile, plan_file


class Target(StrEnum):
    """What the files are for."""

    VLLM = "vllm"
    SGLANG = "sglang"
    TRTLLM = "trtllm"
    LLAMACPP = "llamacpp"
    TRANSFORMERS = "transformers"
    DEEPSPEED = "deepspeed"
    ACCELERATE = "accelerate"
    TORCHRUN = "torchrun"
    KUBERNETES = "kubernetes"
    SLURM = "slurm"
    SKYPILOT = "skypilot"


def export(
    plan: PlanFile,
    target: Annotated[Target, typer.Option("--to", help="What the files are for.", case_sensitive=False)],
    out: OutFolder = None,
) -> None:
    """Write the files that launch exactly what a plan chose.

    They go into a folder named after the target beside the plan unless -o says otherwise. What the target cannot
    express is said on stderr, workload by workload, and left out.
    """
    from planner.export.write import exported, write_export
    from planner.plan.io import read_plan

    file = plan_file(plan)
    found = exported(read_plan(file), target.value)
    for line in found.refused:
        say(line)
    for path in write_export(found, out or file.parent / target.value):
        answer(str(path))
