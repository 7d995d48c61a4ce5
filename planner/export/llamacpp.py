"""llama.cpp: `llama-server`. Flags as in tools/server/README.md of 2026; `-ngl` counts the output layer as one."""

from __future__ import annotations

from planner.export import serving
from planner.export.serving import PORT, figure
from planner.export.types import CannotExportError, Launch, Run
from planner.units import ceil_div

FLAGS_OF = "Flags of llama-server, builds of 2026"
KV = {"fp16": "f16", "bf16": "bf16", "int8": "q8_0", "fp32": "f32"}
LAYER_KEYS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
NEAR = 1e-6
"""Shares stand in plan.json as decimals."""


def launch(run: Run) -> Launch:
    """`llama-server` of one replica. Raises CannotExportError."""
    serving.check(run, "llamacpp")
    _check_layout(run)
    kv = run.text("kv_precision")
    if kv not in KV:
        raise CannotExportError(f"llama.cpp has no KV cache in {kv}; it has {', '.join(KV)}")
    block, batch = run.options.get("kv_block_tokens"), run.number("batch")
    cells = block if isinstance(block, int) else 1
    words = ["llama-server", "-m", serving.MODEL, "--host", "0.0.0.0", "--port", str(PORT)]
    words += ["-c", str(ceil_div(serving.longest_request(run), cells) * cells * batch), "-np", str(batch)]
    words += [*layer_flags(run), "-ctk", KV[kv], "-ctv", KV[kv]]
    words += ["--flash-attn", "on" if run.text("attention") == "flash" else "off", "--fit", "off"]
    words += ["--split-mode", "layer" if run.gpus > 1 else "none"]
    for flag, key in (("-b", "batch_tokens"), ("-ub", "ubatch")):
        if run.options.get(key) is not None:
            words += [flag, figure(run.options[key])]
    if serving.is_embedding(run):
        words.append("--embedding")
    expected = run.text("precision").removeprefix("gguf-").upper()
    return Launch(
        words=tuple(words),
        shell_words=(serving.MODEL,),
        notes=(FLAGS_OF, f"Needs a GGUF file of {run.model} quantised to {expected}."),
        needs=(f"MODEL: path of the GGUF file of {run.model} in {expected}",),
        image="ghcr.io/ggml-org/llama.cpp:server-cuda",
        image_folder="/app",
        setup="command -v llama-server",
        port=PORT,
    )


def layer_flags(run: Run) -> list[str]:
    """`-ngl` and `--n-cpu-moe`: whole layers, so the plan's shares must be. Raises CannotExportError."""
    if not (run.away("weights_cpu") or run.away("experts_cpu")):
        return ["-ngl", "all"]
    count = next((run.architecture[k] for k in LAYER_KEYS if isinstance(run.architecture.get(k), int)), None)
    if count is None:
        raise CannotExportError(
            "plan.json does not say how many layers the model has, and llama.cpp offloads whole layers"
        )
    in_host = _whole(run.away("weights_cpu") * count, count, "weights_cpu")
    on_gpu = count - in_host
    experts = _whole(run.away("experts_cpu") * on_gpu, on_gpu, "experts_cpu")
    flags = ["-ngl", str(on_gpu + 1)]  # the output layer is on the GPU too
    return flags + (["--n-cpu-moe", str(in_host + experts)] if experts else [])


def _whole(layers: float, count: int, key: str) -> int:
    """A number of layers. Raises CannotExportError with the shares that are."""
    nearest = round(layers)
    if abs(layers - nearest) > NEAR * max(count, 1):
        low, high = int(layers), int(layers) + 1
        raise CannotExportError(
            f"{layers:.2f} of {count} layers in host memory; llama.cpp moves whole ones: "
            f"pin offload.{key} to {low / count:.6g} ({low}) or {high / count:.6g} ({high})"
        )
    return nearest


def _check_layout(run: Run) -> None:
    if run.away("weights_disk"):
        raise CannotExportError("llama.cpp maps the whole file; it takes no share of the weights on disk")
    for key in ("tensor_parallel", "data_parallel", "expert_parallel"):
        if run.degree(key) > 1:
            raise CannotExportError(
                f"llama-server splits by layers, not {key.replace('_', ' ')}; plan pipeline_parallel"
            )
    if run.nodes > 1:
        raise CannotExportError("llama-server runs on one node")
