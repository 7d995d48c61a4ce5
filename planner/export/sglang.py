"""SGLang: `python -m sglang.launch_server`. Flags as in SGLang 0.5 (docs.sglang.io, server arguments)."""

from __future__ import annotations

import math

from planner.export import serving
from planner.export.serving import PORT, SIXTEEN_BIT, Weights, figure
from planner.export.types import HEAD, RANK, CannotExportError, Launch, Run

FLAGS_OF = "Flags of SGLang 0.5"
KV = {"fp8": "fp8_e4m3"}
DIST_PORT = 20000


def launch(run: Run) -> Launch:
    """`sglang.launch_server` of one replica. Raises CannotExportError."""
    serving.check(run, "sglang")
    serving.check_flash(run, "sglang")
    _check_layout(run)
    weights = _weights(run)
    apart = bool(run.options.get("attention_data_parallel"))
    batch = run.number("batch") if apart else serving.per_rank(run)
    data = run.degree("tensor_parallel") if apart else run.degree("data_parallel")
    words = ["python3", "-m", "sglang.launch_server", "--model-path", weights.model]
    words += ["--host", "0.0.0.0", "--port", str(PORT)]
    words += ["--tp-size", str(run.degree("tensor_parallel")), "--pp-size", str(run.degree("pipeline_parallel"))]
    words += ["--dp-size", str(data)] + (["--enable-dp-attention"] if apart else [])
    words += ["--ep-size", str(run.degree("expert_parallel"))]
    words += ["--context-length", str(serving.longest_request(run)), "--max-running-requests", str(batch)]
    words += ["--kv-cache-dtype", serving.sixteen_bit_kv(run, "sglang", KV), *weights.flags]
    for flag, key in (
        ("--mem-fraction-static", "mem_fraction_static"),
        ("--chunked-prefill-size", "max_num_batched_tokens"),
    ):
        if run.options.get(key) is not None:
            words += [flag, figure(run.options[key])]
    away = serving.offloaded_gib_per_gpu(run)
    if away:
        words += ["--cpu-offload-gb", str(math.ceil(away))]
    if serving.is_embedding(run):
        words.append("--is-embedding")
    if run.nodes > 1:
        address = f'"${HEAD}:{DIST_PORT}"'
        words += ["--nnodes", str(run.nodes), "--node-rank", f'"${RANK}"', "--dist-init-addr", address]
    rounded = (
        (f"The plan keeps {away:.3f} GiB of weights a GPU in host memory; SGLang takes whole GiB.",) if away else ()
    )
    return Launch(
        words=tuple(words),
        shell_words=(serving.MODEL, f'"${RANK}"', f'"${HEAD}:{DIST_PORT}"'),
        environment=dict(weights.environment or {}),
        notes=(FLAGS_OF, *weights.notes, *rounded),
        needs=weights.needs,
        image="lmsysorg/sglang:latest",
        setup="pip install 'sglang>=0.5,<0.6'",
        port=PORT,
    )


def _check_layout(run: Run) -> None:
    if run.degree("expert_parallel") > run.degree("tensor_parallel"):
        raise CannotExportError(
            f"SGLang deals experts to at most the {run.degree('tensor_parallel')} GPUs of tensor parallelism, "
            f"not to {run.degree('expert_parallel')}; plan it with attention_data_parallel, or with vllm"
        )
    if run.options.get("attention_data_parallel") and run.degree("data_parallel") > 1:
        raise CannotExportError(
            "SGLang has one data-parallel degree, for attention or for the model; plan it as replicas"
        )


def _weights(run: Run) -> Weights:
    precision = run.text("precision")
    if precision in SIXTEEN_BIT:
        return Weights(model=run.model, flags=("--dtype", SIXTEEN_BIT[precision]))
    if precision in ("fp32", "tf32"):
        tf32 = {"TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1"} if precision == "tf32" else None
        return Weights(model=run.model, flags=("--dtype", "float32"), environment=tf32)
    if precision == "fp8":
        note = "Weights are rounded to fp8 while they load; a checkpoint that is fp8 already serves as well."
        return Weights(model=run.model, flags=("--quantization", "fp8"), notes=(note,))
    if precision == "fp8-block":
        note = (
            f"Expects that {run.model} is published in fp8 with a scale per block; 16-bit weights would get one scale."
        )
        return Weights(model=run.model, flags=("--quantization", "fp8"), notes=(note,))
    if precision == "nf4":
        return Weights(model=run.model, flags=("--quantization", "bitsandbytes"))
    return serving.quantised(run)
