"""Ask one public estimator about the published records; runs where that package is installed, not where this one is.

    python benchmarks/peers/run.py PACKAGE inputs.json validation/records/peers/PACKAGE.json

PACKAGE is accelerate, hf-mem, deepspeed, llm-analysis or aiconfigurator. `inputs.json` comes from
`python -m benchmarks.peers.inputs`. A row that a package cannot say is counted with the reason; none is guessed.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

Said = dict[str, float]
"""Predicted quantity by rule."""
Row = dict[str, Any]
SIXTEEN_BIT = ("bf16", "fp16")
BYTES = {"fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2}
SERVING = ("vllm", "sglang", "trtllm")


class CannotSayError(Exception):
    """The package has no answer for a row; says why."""


def main() -> None:
    """Ask about every record and write what was said."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("package", choices=sorted(PACKAGES))
    parser.add_argument("inputs", type=Path)
    parser.add_argument("output", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    ask, what = PACKAGES[args.package]()
    data = json.loads(args.inputs.read_text())
    figures, failures = [], Counter[str]()
    for row in data["records"]:
        try:
            said = ask(row["workload"], data["models"][row["model"]])
        except CannotSayError as why:
            failures[str(why)] += 1
            continue
        known = {rule: said[rule] for rule in row["rules"] if said.get(rule)}
        if not known:
            failures["not a quantity that it predicts"] += 1
        figures += [{"id": row["id"], "rule": rule, "predicted": value} for rule, value in known.items()]
    document = {
        "schema_": "validation/peer/v1",
        "name": args.package,
        "version": version(args.package.replace("hf-mem", "hf_mem").replace("llm-analysis", "llm_analysis")),
        "what": what,
        "command": f"python benchmarks/peers/run.py {args.package} inputs.json {args.output}",
        "figures": figures,
        "failures": dict(sorted(failures.items())),
    }
    head = json.dumps({**document, "figures": []}, indent=1).replace('"figures": []', '"figures": [\n')
    lines = ",\n".join(json.dumps(f) for f in figures)
    before, _, after = head.partition('"figures": [\n')
    args.output.write_text(f'{before}"figures": [\n{lines}\n]{after}\n')
    print(f"{args.package}: {len(figures)} figures; {sum(failures.values())} rows without an answer", file=sys.stderr)


def shape_of(model: Row | None) -> Row:
    """The flat shape of the model. Raises CannotSayError."""
    if model is None:
        raise CannotSayError("no decoder of one kind of layer")
    return model


def lengths(workload: Row) -> tuple[int, int]:
    """Prompt and generated tokens of one request."""
    sequence = workload["sequence"]
    return (sequence["input"], sequence["output"]) if isinstance(sequence, dict) else (sequence, 0)


def batch_of(workload: Row) -> int:
    """Sequences in flight. Raises CannotSayError where they are left to the engine."""
    if not isinstance(workload["batch"], int):
        raise CannotSayError("the batch is left to the engine")
    return workload["batch"]


def engine_of(workload: Row) -> str:
    """Name of the engine without its version."""
    return str(workload["engine"]).partition("@")[0]


def only_inference(workload: Row, *engines: str) -> None:
    """Raise CannotSayError for anything but inference under some engines."""
    if workload["mode"] != "infer" or engine_of(workload) not in engines:
        raise CannotSayError(f"not inference under {' or '.join(engines)}")


# accelerate --------------------------------------------------------------------------------------------


def accelerate() -> tuple[Callable[[Row, Row | None], Said], str]:
    """`accelerate estimate-memory` on modules of the models' own tensors, on torch's meta device."""
    import torch
    from accelerate.commands.estimate import estimate_training_usage
    from accelerate.utils.modeling import calculate_maximum_sizes

    inference_dtypes = {"fp32": 1.0, "bf16": 0.5, "fp16": 0.5, "int8": 0.25, "int8-gptq": 0.25}
    inference_dtypes |= {"int4-awq": 0.125, "int4-gptq": 0.125, "nf4": 0.125}

    def total_fp32_bytes(model: Row) -> int:
        module = torch.nn.Module()
        outer = [[name, *size, 1] for name, size in model["outer"].items()]
        for i, (_, rows, columns, count, layers) in enumerate([*model["tensors"], *outer]):
            part = torch.nn.Module()
            part.weight = torch.nn.Parameter(torch.empty(layers, count, rows, columns, device="meta"))
            module.add_module(f"m{i}", part)
        return int(calculate_maximum_sizes(module)[0])

    def ask(workload: Row, model: Row | None) -> Said:
        total = total_fp32_bytes(shape_of(model))
        if workload["mode"] == "infer":
            only_inference(workload, "transformers")
            if workload["precision"] not in inference_dtypes:
                raise CannotSayError("a number format that it has not")
            loaded = total * inference_dtypes[workload["precision"]]
            return {"allocated": loaded, "allocated_sum": loaded, "weights": loaded}
        pin = workload["pin"]
        if workload["method"] != "full" or workload["sharding"] != "none" or pin["tensor_parallel"] > 1:
            raise CannotSayError("training other than full on one GPU")
        used = max(estimate_training_usage(total, "float32" if workload["precision"] == "fp32" else "float16").values())
        return {"allocated": used, "reserved": used, "device": used, "static": used}

    return ask, (
        "calculate_maximum_sizes and estimate_training_usage, behind `accelerate estimate-memory`, on modules of the"
        " models' own tensors; inference is its total size, training its largest step"
    )


# hf-mem --------------------------------------------------------------------------------------------------


def hf_mem() -> tuple[Callable[[Row, Row | None], Said], str]:
    """hf-mem's arithmetic on the header a checkpoint of these tensors has, and its KV cache."""
    from hf_mem.safetensors.kv_cache import compute_safetensors_kv_cache_size
    from hf_mem.safetensors.metadata import parse_safetensors_metadata

    dtypes = {"fp32": "F32", "bf16": "BF16", "fp16": "F16"}

    def ask(workload: Row, model: Row | None) -> Said:
        only_inference(workload, "transformers")
        sizes = shape_of(model)
        if workload["precision"] not in dtypes:
            raise CannotSayError("a quantised checkpoint, whose header is not at hand")
        dtype = dtypes[workload["precision"]]
        header = {
            f"{name}.{i}": {"dtype": dtype, "shape": [layers, count, rows, columns]}
            for i, (name, rows, columns, count, layers) in enumerate(sizes["tensors"])
        }
        header |= {
            name: {"dtype": dtype, "shape": [count, rows, columns]}
            for name, (rows, columns, count) in sizes["outer"].items()
        }
        weights = parse_safetensors_metadata({"Transformer": header}).bytes_count
        config = {
            "hidden_size": sizes["hidden"],
            "num_hidden_layers": sizes["layers"],
            "num_attention_heads": sizes["heads"],
            "num_key_value_heads": sizes["kv_heads"],
            "head_dim": sizes["head_dim"],
        }
        cache = compute_safetensors_kv_cache_size(config, dtype, sum(lengths(workload)), batch_of(workload))
        return {"allocated": weights + cache, "allocated_sum": weights + cache, "weights": weights}

    return ask, (
        "parse_safetensors_metadata on the header of a checkpoint of these tensors, and"
        " compute_safetensors_kv_cache_size (`hf-mem --experimental`) at the length and batch of the row"
    )


# DeepSpeed -----------------------------------------------------------------------------------------------


def deepspeed() -> tuple[Callable[[Row, Row | None], Said], str]:
    """DeepSpeed's memory estimators for ZeRO."""
    from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs
    from deepspeed.runtime.zero.stage_1_and_2 import estimate_zero2_model_states_mem_needs

    def ask(workload: Row, model: Row | None) -> Said:
        if workload["mode"] != "train" or workload["method"] != "full":
            raise CannotSayError("not full training")
        pin = workload["pin"]
        if pin["tensor_parallel"] > 1 or pin["pipeline_parallel"] > 1 or workload["precision"] == "fp32":
            raise CannotSayError("split by tensors or stages, or in 32 bit")
        sizes = shape_of(model)
        gpus = pin["data_parallel"]
        if workload["sharding"] == "zero3":
            _, used, _ = estimate_zero3_model_states_mem_needs(
                sizes["params_total"], sizes["largest_layer_params"], gpus, 1, False, False
            )
        elif workload["sharding"] == "zero2" or gpus == 1:
            _, used = estimate_zero2_model_states_mem_needs(sizes["params_total"], gpus, 1, False)
        else:
            raise CannotSayError("neither ZeRO-2 nor ZeRO-3")
        return {"allocated": used, "reserved": used, "device": used, "static": used}

    return ask, (
        "estimate_zero2_model_states_mem_needs and estimate_zero3_model_states_mem_needs without offload; one GPU"
        " without sharding counts as ZeRO-2 on one"
    )


# llm-analysis --------------------------------------------------------------------------------------------


def llm_analysis() -> tuple[Callable[[Row, Row | None], Said], str]:
    """llm-analysis with the shape that its own reader of Hugging Face configurations takes."""
    from llm_analysis.analysis import ActivationRecomputation, DSZeRO, LLMAnalysis
    from llm_analysis.config import (
        DtypeConfig,
        ModelConfig,
        ParallelismConfig,
        gpu_configs,
        populate_model_and_gpu_configs,
    )

    populate_model_and_gpu_configs()
    weight_bits = {"bf16": 16, "fp16": 16, "int8-gptq": 8, "int8": 8, "int4-awq": 4, "int4-gptq": 4, "nf4": 4}
    recompute = {
        "none": ActivationRecomputation.NONE,
        "selective": ActivationRecomputation.SELECTIVE,
        "full": ActivationRecomputation.FULL,
    }
    stages = {"none": DSZeRO.NONE, "zero1": DSZeRO.STAGE_1, "zero2": DSZeRO.STAGE_2, "zero3": DSZeRO.STAGE_3}

    def analysis(workload: Row, sizes: Row, bits: int) -> LLMAnalysis:
        pin = workload["pin"]
        if pin["gpu"] not in gpu_configs:
            raise CannotSayError("a GPU that it does not know")
        if sizes["experts"] > 1 or sizes["latent"]:
            raise CannotSayError("experts or latent attention, which its reader does not take")
        if pin.get("context_parallel", 1) > 1:
            raise CannotSayError("context parallel")
        config = ModelConfig(
            name=sizes["id"],
            num_layers=sizes["layers"],
            n_head=sizes["heads"],
            hidden_dim=sizes["hidden"],
            vocab_size=sizes["vocab"],
            max_seq_len=max(sizes["max_context"] or 0, sum(lengths(workload))),
            num_key_value_heads=sizes["kv_heads"],
        )
        split = ParallelismConfig(
            tp_size=pin["tensor_parallel"], pp_size=pin["pipeline_parallel"], dp_size=pin["data_parallel"]
        )
        return LLMAnalysis(config, gpu_configs[pin["gpu"]], DtypeConfig(weight_bits=bits), split)

    def infer(workload: Row, sizes: Row) -> Said:
        if workload["precision"] not in weight_bits:
            raise CannotSayError("a number format that it has not")
        inputs, outputs = lengths(workload)
        batch = batch_of(workload)
        said = analysis(workload, sizes, weight_bits[workload["precision"]]).inference(
            batch_size_per_gpu=batch, seq_len=inputs, num_tokens_to_generate=outputs
        )
        activations = max(said["prefill_activation_memory_per_gpu"], said["decode_activation_memory_per_gpu"])
        held = said["weight_memory_per_gpu"] + said["kv_cache_memory_per_gpu"] + activations
        gpus = workload["pin"]["tensor_parallel"] * workload["pin"]["pipeline_parallel"]
        whole = said["prefill_latency"] + max(0, outputs - 1) * said["decode_latency"]
        return {
            "allocated": held,
            "allocated_sum": held * gpus,
            "weights": said["weight_memory_per_gpu"],
            "ttft": said["prefill_latency"],
            "tpot": said["decode_latency"],
            "decode_rate": batch / said["decode_latency"],
            "prefill_rate": batch * inputs / said["prefill_latency"],
            "end_to_end": whole,
            "output_rate": batch * outputs / whole,
            "output_rate_per_gpu": batch * outputs / whole / gpus,
            "static_output_rate": batch * outputs / whole,
        }

    def train(workload: Row, sizes: Row) -> Said:
        if workload["method"] != "full" or workload["precision"] not in ("bf16-mixed", "fp16-mixed"):
            raise CannotSayError("training other than full in 16-bit mixed precision")
        if workload["checkpointing"] not in recompute or workload["sharding"] not in stages:
            raise CannotSayError("recomputation or sharding is left open")
        micro = workload["batch"]["micro"]
        said = analysis(workload, sizes, 16).training(
            batch_size_per_gpu=micro if isinstance(micro, int) else None,
            global_batch_size=workload["batch"]["global"],
            seq_len=workload["sequence"],
            activation_recomputation=recompute[workload["checkpointing"]],
            ds_zero=stages[workload["sharding"]],
            flash_attn=workload.get("attention", "flash") == "flash",
            mlp_gated_linear_units=sizes["gated"],
        )
        held = said["(weight+op_state+grad+act)_memory_per_gpu"]
        static = said["(weight+op_state+grad)_memory_per_gpu"]
        pin = workload["pin"]
        gpus = pin["tensor_parallel"] * pin["pipeline_parallel"] * pin["data_parallel"]
        rate = workload["batch"]["global"] * workload["sequence"] / said["latency_per_iter"]
        return {
            "allocated": held,
            "reserved": held,
            "device": held,
            "static": static,
            "step": said["latency_per_iter"],
            "train_rate": rate,
            "train_rate_per_gpu": rate / gpus,
        }

    def ask(workload: Row, model: Row | None) -> Said:
        sizes = shape_of(model)
        try:
            return infer(workload, sizes) if workload["mode"] == "infer" else train(workload, sizes)
        except (AssertionError, TypeError, ZeroDivisionError) as why:
            raise CannotSayError(f"its own check: {str(why).split('(')[0].strip() or type(why).__name__}") from None

    return ask, (
        "LLMAnalysis.inference and .training with default efficiencies and the shape that its reader of Hugging Face"
        " configurations takes (layers, heads, width, vocabulary)"
    )


# AIConfigurator ------------------------------------------------------------------------------------------


def aiconfigurator() -> tuple[Callable[[Row, Row | None], Said], str]:
    """AIConfigurator's single-point estimate with the bundled configuration of the model's shape."""
    import aiconfigurator_core
    from aiconfigurator.cli.api import cli_estimate
    from aiconfigurator_core.sdk.utils import HuggingFaceDownloadError

    systems = {
        "a100-sxm-80gb": "a100_sxm",
        "h100-sxm-80gb": "h100_sxm",
        "h200-sxm-141gb": "h200_sxm",
        "b200-sxm-180gb": "b200_sxm",
        "gb200-186gb": "gb200",
        "l40s": "l40s",
        "l4": "l4",
        "rtx-pro-6000-server-96gb": "rtx_pro_6000_server",
    }
    modes = {"bf16": "bfloat16", "fp16": "bfloat16", "fp8": "fp8", "fp8-block": "fp8_block", "nvfp4": "nvfp4"}
    caches = {"bf16": "bfloat16", "fp8": "fp8", "auto": None}
    folder = Path(aiconfigurator_core.__file__).parent / "model_configs"
    bundled: dict[tuple[Any, ...], str] = {}
    for path in sorted(folder.glob("*_config.json"), reverse=True):
        config = json.loads(path.read_text())
        if path.name.endswith("_hf_quant_config.json") or "num_hidden_layers" not in config:
            continue
        experts = config.get("num_experts") or config.get("num_local_experts") or config.get("n_routed_experts") or 1
        key = tuple(config.get(k) for k in ("num_hidden_layers", "hidden_size", "num_attention_heads", "vocab_size"))
        if "quantization_config" not in config:
            bundled[*key, experts] = path.name.removesuffix("_config.json").replace("--", "/")
    answers: dict[str, Said] = {}

    def ask(workload: Row, model: Row | None) -> Said:
        only_inference(workload, *SERVING)
        sizes = shape_of(model)
        key = (sizes["layers"], sizes["hidden"], sizes["heads"], sizes["vocab"], sizes["experts"])
        pin, batch = workload["pin"], batch_of(workload)
        if key not in bundled:
            raise CannotSayError("no bundled configuration of the model's shape")
        if pin["gpu"] not in systems:
            raise CannotSayError("a GPU that it has no tables of")
        if workload["precision"] not in modes or workload["kv_precision"] not in caches:
            raise CannotSayError("a number format that it has not")
        if pin["data_parallel"] > 1 or (workload.get("engine_options") or {}).get("attention_data_parallel"):
            raise CannotSayError("several replicas in one row")
        name = json.dumps(
            [workload["model"], workload["engine"], workload["sequence"], batch, pin, workload["precision"]]
        )
        if name not in answers:
            answers[name] = estimate(workload, bundled[key], batch, sizes["experts"])
        return answers[name]

    def estimate(workload: Row, path: str, batch: int, experts: int) -> Said:
        pin = workload["pin"]
        inputs, outputs = lengths(workload)
        expert_parallel = pin.get("expert_parallel", 1)
        moe = {"moe_tp_size": pin["tensor_parallel"] // expert_parallel, "moe_ep_size": expert_parallel}
        gemm = modes[workload["precision"]]

        def asked(mode: str) -> Any:
            return cli_estimate(
                path,
                systems[pin["gpu"]],
                mode=mode,
                backend_name=engine_of(workload),
                isl=inputs,
                osl=max(2, outputs),
                batch_size=batch,
                tp_size=pin["tensor_parallel"],
                pp_size=pin["pipeline_parallel"],
                gemm_quant_mode=gemm,
                kvcache_quant_mode=caches[workload["kv_precision"]],
                **(moe | {"moe_quant_mode": gemm} if experts > 1 else {}),
            )

        try:
            serving, static = asked("agg"), asked("static")
        except (RuntimeError, ValueError, LookupError, TypeError, OSError, HuggingFaceDownloadError) as why:
            raise CannotSayError(f"its own: {type(why).__name__}: {str(why)[:60]}") from None
        whole = (serving.ttft + (outputs - 1) * serving.tpot) / 1000
        batch_s = (static.ttft + (outputs - 1) * static.tpot) / 1000
        return {
            "ttft": serving.ttft / 1000,
            "tpot": serving.tpot / 1000,
            "decode_rate": 1000 * batch / static.tpot,
            "output_rate": batch * outputs / whole,
            "end_to_end": batch_s,
            "static_output_rate": batch * outputs / batch_s,
        }

    return ask, (
        "cli_estimate at the row's lengths, batch and split with the bundled configuration of the model's shape: mode"
        " `agg` for serving, `static` for a batch at once; the engine's version is the package's own"
    )


PACKAGES: dict[str, Callable[[], tuple[Callable[[Row, Row | None], Said], str]]] = {
    "accelerate": accelerate,
    "aiconfigurator": aiconfigurator,
    "deepspeed": deepspeed,
    "hf-mem": hf_mem,
    "llm-analysis": llm_analysis,
}

if __name__ == "__main__":
    main()
