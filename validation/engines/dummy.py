"""A model folder with nothing in it but a config and a tokenizer whose every word is one token."""

from __future__ import annotations

import json
from pathlib import Path

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
END = "</s>"


def model_folder(trial: Trial, folder: Path) -> Path:
    """Write config.json and a tokenizer; weights are left to the engine's `--load-format dummy`."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = str(trial.model["model_type"])
    keys = {"architectures": [ARCHITECTURES[kind]]} if kind in ARCHITECTURES else {}
    dtype = DTYPES.get(trial.text("precision"), "bfloat16")
    vocabulary = int(trial.model.get("vocab_size", 32000))
    config = {**keys, **trial.model, "torch_dtype": dtype, "bos_token_id": 0, "eos_token_id": 0}
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
