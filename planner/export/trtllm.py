"""TensorRT-LLM: `trtllm-serve` and its YAML. Names as in 1.x (nvidia.github.io/TensorRT-LLM)."""

from __future__ import annotations

from typing import Any

from planner.export import serving
from planner.export.serving import PORT, SIXTEEN_BIT, Weights
from planner.export.shell import comments
from planner.export.types import CannotExportError, Launch, Run
from planner.export.yaml_text import yaml_text

FLAGS_OF = "Flags of TensorRT-LLM 1.x, PyTorch backend"
KV = {"fp8": "fp8"}


def launch(run: Run) -> Launch:
    """`trtllm-serve` of one replica. Raises CannotExportError."""
    serving.check(run, "trtllm")
    serving.check_flash(run, "trtllm")
    _check_layout(run)
    weights = _weights(run)
    tokens = run.options.get("max_num_batched_tokens")
    config = f"{run.slug}.yaml"
    words = ["trtllm-serve", weights.model, "--backend", "pytorch", "--host", "0.0.0.0", "--port", str(PORT)]
    words += ["--tp_size", str(run.degree("tensor_parallel")), "--pp_size", str(run.degree("pipeline_parallel"))]
    if run.degree("expert_parallel") > 1:
        words += ["--ep_size", str(run.degree("expert_parallel"))]
    words += ["--max_batch_size", str(run.number("batch")), "--max_seq_len", str(serving.longest_request(run))]
    words += (["--max_num_tokens", str(tokens)] if tokens is not None else []) + ["--config", config]
    return Launch(
        words=tuple(words),
        shell_words=(serving.MODEL,),
        files={config: comments([f"Options of trtllm-serve for {run.workload}", FLAGS_OF]) + yaml_text(_yaml(run))},
        notes=(FLAGS_OF, *weights.notes),
        needs=weights.needs,
        image="nvcr.io/nvidia/tensorrt-llm/release:1.0.0",
        setup="pip install 'tensorrt-llm>=1.0,<2.0'",
        port=PORT,
    )


def _yaml(run: Run) -> dict[str, Any]:
    cache: dict[str, Any] = {"dtype": serving.sixteen_bit_kv(run, "trtllm", KV)}
    share = run.options.get("kv_cache_free_gpu_memory_fraction")
    if share is not None:
        cache["free_gpu_memory_fraction"] = share
    if run.options.get("kv_block_tokens") is not None:
        cache["tokens_per_block"] = run.options["kv_block_tokens"]
    found: dict[str, Any] = {
        "kv_cache_config": cache,
        "enable_attention_dp": bool(run.options.get("attention_data_parallel")),
        "enable_chunked_prefill": bool(run.options.get("chunked_prefill")),
    }
    if run.text("precision") in SIXTEEN_BIT:
        found["dtype"] = SIXTEEN_BIT[run.text("precision")]
    return found


def _check_layout(run: Run) -> None:
    if run.degree("data_parallel") > 1:
        raise CannotExportError("trtllm-serve has no data parallelism of its own; plan it as replicas")
    if run.nodes > 1:
        raise CannotExportError(
            "trtllm-serve over several nodes starts under MPI; plan one node a replica, or use vllm, sglang"
        )
    if run.away("weights_cpu") or run.away("experts_cpu"):
        raise CannotExportError("trtllm-serve keeps no share of the weights in host memory; plan it with offload: none")
    if serving.is_embedding(run):
        raise CannotExportError("trtllm-serve answers with text, not vectors; use vllm, sglang or transformers")


def _weights(run: Run) -> Weights:
    if run.text("precision") in SIXTEEN_BIT:
        return Weights(model=run.model)
    if run.text("precision") in ("fp32", "tf32"):
        raise CannotExportError(f"TensorRT-LLM is planned here in 16 bits or fewer, not {run.text('precision')}")
    return serving.quantised(run)
