"""Accelerate: its config file (FSDP, or plain data parallelism) and `accelerate launch`. Keys as in accelerate 1.15."""

from __future__ import annotations

from typing import Any

from planner.export import training
from planner.export.shell import comments
from planner.export.torchrun import MASTER_PORT
from planner.export.transformers import train_needs
from planner.export.types import HEAD, RANK, CannotExportError, Launch, Run
from planner.export.yaml_text import yaml_text

KEYS_OF = "Keys of accelerate 1.15"
MIXED = {"bf16-mixed": "bf16", "fp16-mixed": "fp16"}


def launch(run: Run) -> Launch:
    """`accelerate launch` of one node of one replica. Raises CannotExportError."""
    training.check(run, "accelerate")
    config, name = f"{run.slug}.accelerate.yaml", f"{run.slug}.py"
    words = ["accelerate", "launch", "--config_file", config]
    if run.nodes > 1:
        words += ["--machine_rank", f'"${RANK}"', "--main_process_ip", f'"${HEAD}"']
        words += ["--main_process_port", str(MASTER_PORT)]
    sharded = run.text("sharding") in ("zero2", "zero3")
    # FSDP recomputes by its own setting; both at once gather the weights twice
    extra = {"gradient_checkpointing": False} if sharded else {}
    return Launch(
        words=(*words, name),
        shell_words=(f'"${RANK}"', f'"${HEAD}"'),
        files={
            name: training.train_script(run, extra),
            config: comments([f"accelerate config of {run.workload}", KEYS_OF]) + yaml_text(_config(run)),
        },
        notes=(KEYS_OF, training.FLAGS_OF),
        needs=train_needs(run),
        image=training.IMAGE,
        is_image_ready=False,
        setup=f"pip install {training.PACKAGES}",
    )


def _config(run: Run) -> dict[str, Any]:
    sharding = run.text("sharding") or "none"
    if sharding == "zero1":
        raise CannotExportError("FSDP shards gradients too, so zero1 is not its; use --to deepspeed")
    found: dict[str, Any] = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "FSDP" if sharding != "none" else "MULTI_GPU" if run.gpus > 1 else "NO",
        "mixed_precision": MIXED.get(run.text("precision"), "no"),
        "num_machines": run.nodes,
        "num_processes": training.local_gpus(run) * run.nodes,
        "machine_rank": 0,
        "rdzv_backend": "static",
        "main_training_function": "main",
        "use_cpu": False,
    }
    away = (run.away("optimizer_cpu"), run.away("params_cpu"))
    if away not in ((0.0, 0.0), (1.0, 1.0)) or (any(away) and sharding == "none"):
        raise CannotExportError(
            f"FSDP keeps parameters and optimizer in host memory together and whole, not {away[1]:g} and {away[0]:g}; "
            "use --to deepspeed"
        )
    if sharding != "none":
        found["fsdp_config"] = {
            "fsdp_version": 2,
            "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "fsdp_reshard_after_forward": sharding == "zero3",
            "fsdp_offload_params": any(away),
            "fsdp_activation_checkpointing": run.text("checkpointing") == "full",
            "fsdp_cpu_ram_efficient_loading": True,
            "fsdp_state_dict_type": "SHARDED_STATE_DICT",
        }
    return found
