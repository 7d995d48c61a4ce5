"""A model folder with nothing in it but a config and a tokenizer whose every word is one token."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from validation.trial import Trial

ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "mixtral": "MixtralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen2_moe": "Qwen2MoeForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
    "phi3": "Phi3ForCausalLM",
    "gemma": "GemmaForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
    "gpt2": "GPT2LMHeadModel",
    "gpt_neox": "GPTNeoXForCausalLM",
    "gpt_oss": "GptOssForCausalLM",
    "opt": "OPTForCausalLM",
    "deepseek_v2": "DeepseekV2ForCausalLM",
    "deepseek_v3": "DeepseekV3ForCausalLM",
    "cohere": "CohereForCausalLM",
    "olmo2": "Olmo2ForCausalLM",
    "falcon": "FalconForCausalLM",
    "bloom": "BloomForCausalLM",
    "starcoder2": "Starcoder2ForCausalLM",
    "bert": "BertModel",
    "roberta": "RobertaModel",
}
"""Classes that serving engines look models up by."""
DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
ONLINE = ("fp8",)
"""Formats that an engine makes of 16-bit weights while it loads them."""
CHECKPOINTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "int4-awq": {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"},
        "int4-gptq": {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False, "sym": True},
        "int8-gptq": {"quant_method": "gptq", "bits": 8, "group_size": 128, "desc_act": False, "sym": True},
        "fp8-block": {
            "quant_method": "fp8",
            "fmt": "e4m3",
            "activation_scheme": "dynamic",
            "weight_block_size": [128, 128],
        },
    }
)
"""What `quantization_config` says in the repositories of models in these formats (TheBloke's and Qwen's AWQ and GPTQ
repositories, DeepSeek-V3's and Qwen3's FP8 ones)."""
HALF = ("int4-awq", "int4-gptq", "int8-gptq")
"""Formats whose kernels compute in float16 everywhere."""
END = "</s>"


def is_makeable(precision: str) -> bool:
    """Whether dummy weights of this format can be made."""
    return precision in (*DTYPES, *ONLINE, *CHECKPOINTS)


def served_dtype(precision: str) -> str:
    """What an engine computes in, by its own name."""
    return "float16" if precision in HALF else DTYPES.get(precision, "bfloat16")


def checkpoint(precision: str, group_size: Any) -> dict[str, Any]:
    """The `quantization_config` of a checkpoint, with the plan's own size of groups where it gives one."""
    said = dict(CHECKPOINTS[precision])
    return {**said, "group_size": int(group_size)} if group_size and "group_size" in said else said


def model_folder(trial: Trial, folder: Path) -> Path:
    """Write config.json and a tokenizer; weights are left to the engine's `--load-format dummy`."""
    folder.mkdir(parents=True, exist_ok=True)
    own = {key: value for key, value in trial.model.items() if key != "quantization_config"}
    kind, precision = str(own["model_type"]), trial.text("precision", "bf16")
    if kind in ARCHITECTURES:
        own.setdefault("architectures", [ARCHITECTURES[kind]])
    if precision in CHECKPOINTS:
        own["quantization_config"] = checkpoint(precision, trial.options.get("group_size"))
    vocabulary = int(own.get("vocab_size", 32000))
    config = {**own, "torch_dtype": served_dtype(precision), "bos_token_id": 0, "eos_token_id": 0}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer(vocabulary)), encoding="utf-8")
    named = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END, "model_max_length": 2**31}
    (folder / "tokenizer_config.json").write_text(json.dumps(named), encoding="utf-8")
    return folder


def tokenizer(vocabulary: int) -> dict[str, object]:
    """A fast tokenizer's file: words `w1` to `wN` apart by spaces, so that text and ids answer each other exactly."""
    words = {END: 0} | {f"w{i}": i for i in range(1, vocabulary)}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": 0,
                "content": END,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": words, "unk_token": END},
    }
