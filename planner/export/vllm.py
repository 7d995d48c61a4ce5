"""vLLM: `vllm serve`. Flags as in vLLM 0.33 (docs.vllm.ai: engine arguments, parallelism and scaling)."""

from __future__ import annotations

import json

from planner.export import serving
from planner.export.serving import PORT, SIXTEEN_BIT, Weights, figure
from planner.export.types import HEAD, RANK, CannotExportError, Launch, Run

FLAGS_OF = "Flags of vLLM 0.33"
KV = {"fp8": "fp8", "int8": "int8_per_token_head"}


def launch(run: Run) -> Launch:
    """`vllm serve` of one replica. Raises CannotExportError."""
    serving.check(run, "vllm")
    serving.check_flash(run, "vllm")
    _check_layout(run)
    weights = _weights(run)
    words = ["vllm", "serve", weights.model, "--host", "0.0.0.0", "--port", str(PORT)]
    for flag, key in (
        ("--tensor-parallel-size", "tensor_parallel"),
        ("--pipeline-parallel-size", "pipeline_parallel"),
        ("--data-parallel-size", "data_parallel"),
    ):
        words += [flag, str(run.degree(key))]
    if run.degree("expert_parallel") > 1:
        words.append("--enable-expert-parallel")
    words += ["--max-model-len", str(serving.longest_request(run)), "--max-num-seqs", str(serving.per_rank(run))]
    words += ["--kv-cache-dtype", serving.sixteen_bit_kv(run, "vllm", KV), *weights.flags, *_options(run)]
    later: tuple[str, ...] = ()
    if run.nodes > 1:
        words += ["--nnodes", str(run.nodes), "--node-rank", f'"${RANK}"', "--master-addr", f'"${HEAD}"']
        later = ("--headless",)
    return Launch(
        words=tuple(words),
        shell_words=(serving.MODEL, f'"${RANK}"', f'"${HEAD}"'),
        later_nodes=later,
        environment=dict(weights.environment or {}),
        notes=(FLAGS_OF, *weights.notes),
        needs=weights.needs,
        image="vllm/vllm-openai:v0.33.0",
        setup="pip install 'vllm==0.33.*'",
        port=PORT,
    )


def _check_layout(run: Run) -> None:
    spread = run.degree("tensor_parallel") * run.degree("data_parallel")
    if run.degree("expert_parallel") not in (1, spread):
        raise CannotExportError(
            f"vLLM deals experts to all {spread} GPUs of tensor x data parallelism or to none, "
            f"not to {run.degree('expert_parallel')}"
        )
    if run.nodes > 1 and run.degree("data_parallel") > 1:
        raise CannotExportError("data parallelism over several nodes is one server a node in vLLM; plan it as replicas")
    if run.options.get("attention_data_parallel"):
        raise CannotExportError(
            "attention in data parallel beside tensor parallelism is not vLLM's; sglang and trtllm do it"
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
    if precision == "mxfp4":
        note = f"Expects that {run.model} is published in mxfp4; vLLM refuses other weights."
        return Weights(model=run.model, flags=("--quantization", "mxfp4"), notes=(note,))
    if precision == "nf4":
        return Weights(model=run.model, flags=("--quantization", "bitsandbytes"))
    return serving.quantised(run)


def _options(run: Run) -> list[str]:
    """Engine options, and what is kept in host memory."""
    words: list[str] = []
    share = run.options.get("gpu_memory_utilization")
    if share is not None:
        words += ["--gpu-memory-utilization", figure(share)]
    asked = run.spec.get("engine_options", {}).get("max_num_batched_tokens")
    if asked is not None:  # the version's own default otherwise, which goes by the GPU
        words += ["--max-num-batched-tokens", figure(asked)]
    if run.options.get("enforce_eager"):
        words.append("--enforce-eager")
    away = serving.offloaded_gib_per_gpu(run)
    if away:
        words += ["--cpu-offload-gb", f"{away:.3f}"]
    if serving.is_embedding(run):
        words += ["--runner", "pooling"]
    images = run.spec.get("images")
    if images:
        words += ["--limit-mm-per-prompt", json.dumps({"image": images["count"]})]
    return words
