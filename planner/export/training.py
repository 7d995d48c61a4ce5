"""Training with Hugging Face's Trainer: the settings of the script that several launchers start."""

from __future__ import annotations

from pprint import pformat
from typing import Any

from planner.export.types import CannotExportError, Run
from planner.resources import data_folder

FLAGS_OF = "Arguments of transformers 5 (TrainingArguments), peft 0.17 and bitsandbytes 0.48 or later"
PACKAGES = "'transformers>=5,<6' 'peft>=0.17' 'bitsandbytes>=0.48' 'accelerate>=1.10' datasets"
IMAGE = "pytorch/pytorch:2.9.1-cuda12.8-cudnn9-runtime"
OPTIMIZERS = {
    "adamw-8bit": "adamw_bnb_8bit",
    "adamw-paged-8bit": "paged_adamw_8bit",
    "adafactor": "adafactor",
    "sgd": "sgd",
    "lion": "lion_32bit",
}
ADAMW = {"foreach": "adamw_torch", "fused": "adamw_torch_fused"}
"""By the engine option `optimizer_step`."""
DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
DATA = "DATA: JSON lines with a key text, or the id of a data set on the hub"
MARK = "@SETTINGS@"


def check(run: Run, target: str, engines: tuple[str, ...] = ("transformers",)) -> None:
    """Raise CannotExportError for what a training script with the Trainer cannot express."""
    if run.mode != "train":
        raise CannotExportError(f"{target} launches training, and this workload serves; use --to {run.engine}")
    if run.engine not in engines:
        fits = {"torchtitan": "torchrun", "megatron": "torchrun", "deepspeed": "deepspeed"}.get(run.engine)
        raise CannotExportError(
            f"the plan trains it with {run.engine}, which {target} does not launch; "
            + (f"use --to {fits}" if fits else "plan it with engine: transformers")
        )
    for key in ("tensor_parallel", "pipeline_parallel", "context_parallel", "expert_parallel"):
        if run.degree(key) > 1:
            raise CannotExportError(f"{target} shares out data, and the plan has {key} {run.degree(key)}; use megatron")
    media = [key for key in ("image", "images", "audio") if run.spec.get(key)]
    if media:
        raise CannotExportError(f"it takes {media[0]}, and the training script reads text")
    if run.text("checkpointing") == "selective":
        raise CannotExportError("the Trainer computes all activations again or none; plan it with checkpointing: full")
    if run.text("precision") == "fp8-mixed":
        raise CannotExportError("the training script has no fp8; plan it with bf16-mixed")


def data_ranks(run: Run) -> int:
    """Processes that each have their own sequences."""
    return run.degree("data_parallel")


def steps(run: Run) -> int | None:
    """Optimizer steps: those asked for, or the tokens asked for over those of one step; None where nothing is asked."""
    targets = run.spec.get("targets") or {}
    if targets.get("steps"):
        return int(targets["steps"])
    per_step = run.number("batch") * run.number("sequence_tokens")
    return -(-int(targets["tokens"]) // per_step) if targets.get("tokens") else None


def optimizer(run: Run) -> str:
    """The Trainer's name of the optimizer. Raises CannotExportError."""
    name = run.text("optimizer")
    found = ADAMW.get(str(run.options.get("optimizer_step"))) if name == "adamw" else OPTIMIZERS.get(name)
    if found is None:
        step = f" with optimizer_step {run.options.get('optimizer_step')}" if name == "adamw" else ""
        raise CannotExportError(
            f"the Trainer has no optimizer {name}{step}; it has adamw, {', '.join(sorted(OPTIMIZERS))}"
        )
    return found


def settings(run: Run) -> dict[str, Any]:
    """What the script is told. Raises CannotExportError."""
    lora = run.spec.get("lora") or {}
    adapters = run.text("method") in ("lora", "qlora")
    base = run.text("base_precision") or run.text("precision").removesuffix("-mixed")
    if base not in (*DTYPES, "nf4", "int8"):
        raise CannotExportError(f"the training script loads no base in {base}")
    compute = "float16" if run.text("precision") == "fp16-mixed" else "bfloat16"
    count = steps(run)
    return {
        "model": run.model,
        "base_precision": base,
        "compute_dtype": compute,
        "dtype": DTYPES.get(base, compute),
        "attention": "eager" if run.text("attention") == "eager" else "sdpa",
        "sequence_tokens": run.number("sequence_tokens"),
        "lora": {
            "r": run.number("lora_rank"),
            "target_modules": lora.get("target_modules", "all-linear"),
            "lora_dropout": lora.get("dropout") or 0.0,
            "use_dora": bool(lora.get("dora")),
            "modules_to_save": list(lora.get("modules_to_save") or []) or None,
        }
        if adapters
        else None,
        "adapter_dtype": DTYPES.get(str(lora.get("adapter_dtype")), "float32") if adapters else None,
        "arguments": {
            "per_device_train_batch_size": run.number("micro_batch"),
            "gradient_accumulation_steps": run.number("accumulation"),
            "max_steps": count if count is not None else -1,
            "optim": optimizer(run),
            "bf16": run.text("precision") == "bf16-mixed",
            "fp16": run.text("precision") == "fp16-mixed",
            "gradient_checkpointing": run.text("checkpointing") == "full",
        },
    }


def train_script(run: Run, extra: dict[str, Any] | None = None) -> str:
    """The Python script with the settings of a run; `extra` joins the Trainer's arguments. Raises CannotExportError."""
    found = settings(run)
    found["arguments"] |= extra or {}
    return filled("train.py", found)


def filled(name: str, found: dict[str, Any]) -> str:
    """A shipped script with its settings."""
    text = (data_folder("templates") / "export" / name).read_text(encoding="utf-8")
    return text.replace(f'"{MARK}"', pformat(found, sort_dicts=False, width=110), 1)


def local_gpus(run: Run) -> int:
    """Processes on each node. Raises CannotExportError where nodes do not hold equally many."""
    if run.gpus % run.nodes:
        raise CannotExportError(f"{run.gpus} GPUs do not divide over {run.nodes} nodes")
    return run.gpus // run.nodes
