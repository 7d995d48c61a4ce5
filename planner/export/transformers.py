"""Hugging Face transformers: a Python script that serves a pipe of text, or trains on one GPU."""

from __future__ import annotations

from typing import Any

from planner.export import serving, training
from planner.export.serving import SIXTEEN_BIT
from planner.export.types import CannotExportError, Launch, Run

FLAGS_OF = "Arguments of transformers 5 (from_pretrained, generate, BitsAndBytesConfig)"
INFER_NOTES = (
    FLAGS_OF,
    f'Ask with: curl -d \'{{"text": "..."}}\' http://localhost:{serving.PORT}/',
    "sdpa is PyTorch's attention: the flash kernel where the GPU has one.",
)
NF4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}


def launch(run: Run) -> Launch:
    """`python` with the script of one replica. Raises CannotExportError."""
    name = f"{run.slug}.py"
    if run.mode == "train":
        training.check(run, "transformers")
        if run.gpus > 1:
            raise CannotExportError(f"it trains on {run.gpus} GPUs; use --to torchrun, accelerate or deepspeed")
        if run.away("optimizer_cpu") or run.away("params_cpu"):
            raise CannotExportError("the plan keeps training state in host memory; use --to deepspeed")
        text, needs = training.train_script(run), train_needs(run)
    else:
        text, needs = training.filled("infer.py", settings(run)), ()
    return Launch(
        words=("python3", name),
        files={name: text},
        notes=INFER_NOTES if run.mode == "infer" else (training.FLAGS_OF,),
        needs=needs,
        image=training.IMAGE,
        is_image_ready=False,
        setup=f"pip install {training.PACKAGES}",
        port=serving.PORT if run.mode == "infer" else None,
    )


def train_needs(run: Run) -> tuple[str, ...]:
    """What the training script reads from the environment."""
    unknown = training.steps(run) is None
    return (training.DATA, *(("STEPS: optimizer steps to take",) if unknown else ()))


def settings(run: Run) -> dict[str, Any]:
    """What the inference script is told. Raises CannotExportError."""
    serving.check(run, "transformers")
    for key in ("tensor_parallel", "data_parallel", "expert_parallel"):
        if run.degree(key) > 1:
            raise CannotExportError(f"the script splits layers over GPUs (device_map), not {key}; use vllm or sglang")
    if run.nodes > 1 or run.spec.get("images"):
        raise CannotExportError("the script reads text on one node; use vllm or sglang")
    if run.away("weights_cpu") or run.away("experts_cpu"):
        raise CannotExportError(
            "device_map moves whole modules, not the plan's share of the weights; use vllm or llamacpp"
        )
    precision, kv = run.text("precision"), run.text("kv_precision")
    formats = {**SIXTEEN_BIT, "fp32": "float32", "tf32": "float32"}
    quantized: dict[str, Any] | None = None
    if precision == "nf4":
        compute = {"bnb_4bit_compute_dtype": SIXTEEN_BIT.get(kv, "bfloat16")}
        quantized = {**NF4, **compute, "bnb_4bit_use_double_quant": bool(run.options.get("double_quant"))}
    elif precision == "int8":
        quantized = {"load_in_8bit": True}
    elif precision not in formats:
        raise CannotExportError(f"the script has no {precision}; it has {', '.join(formats)}, nf4 and int8")
    dtype = formats.get(precision) or SIXTEEN_BIT.get(kv, "bfloat16")
    if run.number("output_tokens") and formats.get(kv) != dtype:
        raise CannotExportError(f"transformers keeps its cache in {dtype}, not {kv}")
    encoder = serving.is_embedding(run)
    both = bool(run.architecture.get("is_encoder_decoder"))
    kind = "AutoModel" if encoder else "AutoModelForSeq2SeqLM" if both else "AutoModelForCausalLM"
    return {
        "model": run.model,
        "class": kind,
        "dtype": dtype,
        "tf32": precision == "tf32",
        "quantization": quantized,
        "attention": "eager" if run.text("attention") == "eager" else "sdpa",
        "device_map": "balanced" if run.degree("pipeline_parallel") > 1 else "cuda:0",
        "padding_side": "right" if encoder or both else "left",
        "batch": run.number("batch"),
        "input_tokens": run.number("input_tokens"),
        "output_tokens": run.number("output_tokens"),
        "port": serving.PORT,
    }
