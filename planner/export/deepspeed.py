"""DeepSpeed: ds_config.json and its launcher. Keys as in DeepSpeed 0.19 (deepspeed.ai, config-json)."""

from __future__ import annotations

import json
from typing import Any

from planner.export import training
from planner.export.torchrun import SHELL_WORDS, rendezvous
from planner.export.transformers import train_needs
from planner.export.types import CannotExportError, Launch, Run

STAGES = {"": 0, "none": 0, "zero1": 1, "zero2": 2, "zero3": 3}


def launch(run: Run) -> Launch:
    """The Trainer with DeepSpeed on one node of one replica. Raises CannotExportError."""
    training.check(run, "deepspeed", ("transformers", "deepspeed"))
    if STAGES.get(run.text("sharding")) == 0 and not (run.away("optimizer_cpu") or run.away("params_cpu")):
        raise CannotExportError(
            "the plan neither shards nor offloads, and DeepSpeed would keep other buffers than planned; "
            "use --to transformers or torchrun"
        )
    config, name = f"{run.slug}.ds_config.json", f"{run.slug}.py"
    words = rendezvous(run) if run.nodes > 1 else ["deepspeed", "--num_gpus", str(training.local_gpus(run))]
    return Launch(
        words=(*words, name),
        shell_words=SHELL_WORDS,
        files={
            name: training.train_script(run, {"deepspeed": config}),
            config: json.dumps(ds_config(run), indent=2) + "\n",
        },
        notes=("Keys of DeepSpeed 0.19", training.FLAGS_OF),
        needs=train_needs(run),
        image=training.IMAGE,
        is_image_ready=False,
        setup=f"pip install {training.PACKAGES} 'deepspeed>=0.18'",
    )


def ds_config(run: Run) -> dict[str, Any]:
    """ds_config.json. Raises CannotExportError for shares that ZeRO cannot keep."""
    stage = STAGES.get(run.text("sharding"))
    if stage is None:
        raise CannotExportError(f"DeepSpeed has no sharding {run.text('sharding')}")
    zero: dict[str, Any] = {"stage": stage, "overlap_comm": True, "contiguous_gradients": True}
    optimizer, params = run.away("optimizer_cpu"), run.away("params_cpu")
    if optimizer:
        zero["offload_optimizer"] = _optimizer(stage, optimizer)
    if params:
        if stage != 3 or params < 1.0:
            raise CannotExportError(
                f"DeepSpeed keeps all parameters in host memory with zero3 alone, not {params:g} of them"
            )
        zero["offload_param"] = {"device": "cpu", "pin_memory": True}
    return {
        "train_batch_size": run.number("batch"),
        "train_micro_batch_size_per_gpu": run.number("micro_batch"),
        "gradient_accumulation_steps": run.number("accumulation"),
        "bf16": {"enabled": run.text("precision") in ("bf16-mixed", "bf16")},
        "fp16": {"enabled": run.text("precision") == "fp16-mixed"},
        "zero_optimization": zero,
        "gradient_clipping": 1.0,
    }


def _optimizer(stage: int, share: float) -> dict[str, Any]:
    """`offload_optimizer`: all of it from stage 1 on, a share (`ratio`) with stage 3 alone."""
    if stage == 0 or (share < 1.0 and stage != 3):
        raise CannotExportError(
            f"DeepSpeed keeps {share:g} of the optimizer in host memory with zero3 alone (all of it from zero1 on); "
            f"the plan has stage {stage}"
        )
    found: dict[str, Any] = {"device": "cpu", "pin_memory": True}
    return found | ({"ratio": share} if share < 1.0 else {})
