"""Parameter counts of imported configurations, against the model classes of transformers built without memory.

Every family is counted twice: from the configuration as the library writes it, with every key, and from one that
leaves out all it can, so that our defaults are the library's.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import pytest
import torch
import transformers

from planner.architecture.build import build_model
from planner.architecture.huggingface import FAMILIES, entry_from_config

pytestmark = pytest.mark.filterwarnings("ignore")  # the library warns of odd defaults and of things it deprecates

CLASSES: Mapping[str, tuple[str, str, str, dict[str, Any]]] = {
    "llama": ("llama", "LlamaConfig", "LlamaForCausalLM", {}),
    "granite": ("granite", "GraniteConfig", "GraniteForCausalLM", {}),
    "mistral": ("mistral", "MistralConfig", "MistralForCausalLM", {}),
    "qwen2": ("qwen2", "Qwen2Config", "Qwen2ForCausalLM", {}),
    "qwen3": ("qwen3", "Qwen3Config", "Qwen3ForCausalLM", {}),
    "phi3": ("phi3", "Phi3Config", "Phi3ForCausalLM", {}),
    "gemma": ("gemma", "GemmaConfig", "GemmaForCausalLM", {}),
    "gemma2": ("gemma2", "Gemma2Config", "Gemma2ForCausalLM", {}),
    "cohere": ("cohere", "CohereConfig", "CohereForCausalLM", {}),
    "cohere2": ("cohere2", "Cohere2Config", "Cohere2ForCausalLM", {}),
    "olmo": ("olmo", "OlmoConfig", "OlmoForCausalLM", {}),
    "olmo2": ("olmo2", "Olmo2Config", "Olmo2ForCausalLM", {}),
    "olmo3": ("olmo3", "Olmo3Config", "Olmo3ForCausalLM", {}),
    "exaone4": ("exaone4", "Exaone4Config", "Exaone4ForCausalLM", {}),
    "stablelm": ("stablelm", "StableLmConfig", "StableLmForCausalLM", {}),
    "glm": ("glm", "GlmConfig", "GlmForCausalLM", {}),
    "glm4": ("glm4", "Glm4Config", "Glm4ForCausalLM", {}),
    "ernie4_5": ("ernie4_5", "Ernie4_5Config", "Ernie4_5ForCausalLM", {}),
    "seed_oss": ("seed_oss", "SeedOssConfig", "SeedOssForCausalLM", {}),
    "smollm3": ("smollm3", "SmolLM3Config", "SmolLM3ForCausalLM", {}),
    "gpt_neox": ("gpt_neox", "GPTNeoXConfig", "GPTNeoXForCausalLM", {}),
    "gptj": ("gptj", "GPTJConfig", "GPTJForCausalLM", {}),
    "gpt_neo": ("gpt_neo", "GPTNeoConfig", "GPTNeoForCausalLM", {}),
    "opt": ("opt", "OPTConfig", "OPTForCausalLM", {}),
    "bloom": ("bloom", "BloomConfig", "BloomForCausalLM", {}),
    "falcon": ("falcon", "FalconConfig", "FalconForCausalLM", {}),
    "mpt": ("mpt", "MptConfig", "MptForCausalLM", {}),
    "phi": ("phi", "PhiConfig", "PhiForCausalLM", {}),
    "starcoder2": ("starcoder2", "Starcoder2Config", "Starcoder2ForCausalLM", {}),
    "nemotron": ("nemotron", "NemotronConfig", "NemotronForCausalLM", {"num_key_value_heads": 8}),
    "gpt_bigcode": ("gpt_bigcode", "GPTBigCodeConfig", "GPTBigCodeForCausalLM", {}),
    "mixtral": ("mixtral", "MixtralConfig", "MixtralForCausalLM", {}),
    "qwen2_moe": ("qwen2_moe", "Qwen2MoeConfig", "Qwen2MoeForCausalLM", {}),
    "qwen3_moe": ("qwen3_moe", "Qwen3MoeConfig", "Qwen3MoeForCausalLM", {}),
    "qwen3_next": ("qwen3_next", "Qwen3NextConfig", "Qwen3NextForCausalLM", {}),
    "phimoe": ("phimoe", "PhimoeConfig", "PhimoeForCausalLM", {}),
    "olmoe": ("olmoe", "OlmoeConfig", "OlmoeForCausalLM", {}),
    "granitemoe": ("granitemoe", "GraniteMoeConfig", "GraniteMoeForCausalLM", {}),
    "granitemoeshared": ("granitemoeshared", "GraniteMoeSharedConfig", "GraniteMoeSharedForCausalLM", {}),
    "gpt_oss": ("gpt_oss", "GptOssConfig", "GptOssForCausalLM", {}),
    "glm4_moe": ("glm4_moe", "Glm4MoeConfig", "Glm4MoeForCausalLM", {"head_dim": 128}),
    "minimax_m2": ("minimax_m2", "MiniMaxM2Config", "MiniMaxM2ForCausalLM", {}),
    "ernie4_5_moe": ("ernie4_5_moe", "Ernie4_5_MoeConfig", "Ernie4_5_MoeForCausalLM", {}),
    "mimo_v2_flash": ("mimo_v2_flash", "MiMoV2FlashConfig", "MiMoV2FlashForCausalLM", {}),
    "deepseek_v2": ("deepseek_v2", "DeepseekV2Config", "DeepseekV2ForCausalLM", {"num_experts_per_tok": 6}),
    "deepseek_v3": ("deepseek_v3", "DeepseekV3Config", "DeepseekV3ForCausalLM", {}),
    "deepseek_v32": ("deepseek_v32", "DeepseekV32Config", "DeepseekV32ForCausalLM", {}),
    "glm4_moe_lite": ("glm4_moe_lite", "Glm4MoeLiteConfig", "Glm4MoeLiteForCausalLM", {}),
    "glm_moe_dsa": ("glm_moe_dsa", "GlmMoeDsaConfig", "GlmMoeDsaForCausalLM", {}),
    "kimi_linear": ("kimi_linear", "KimiLinearConfig", "KimiLinearForCausalLM", {}),
    "deepseek_v4": ("deepseek_v4", "DeepseekV4Config", "DeepseekV4ForCausalLM", {}),
    "mamba": ("mamba", "MambaConfig", "MambaForCausalLM", {}),
    "falcon_mamba": ("falcon_mamba", "FalconMambaConfig", "FalconMambaForCausalLM", {}),
    "mamba2": ("mamba2", "Mamba2Config", "Mamba2ForCausalLM", {}),
    "falcon_h1": ("falcon_h1", "FalconH1Config", "FalconH1ForCausalLM", {}),
    "bamba": ("bamba", "BambaConfig", "BambaForCausalLM", {}),
    "granitemoehybrid": ("granitemoehybrid", "GraniteMoeHybridConfig", "GraniteMoeHybridForCausalLM", {}),
    "jamba": ("jamba", "JambaConfig", "JambaForCausalLM", {}),
    "nemotron_h": ("nemotron_h", "NemotronHConfig", "NemotronHForCausalLM", {}),
    "minimax": ("minimax", "MiniMaxConfig", "MiniMaxForCausalLM", {}),
    "gpt2": ("gpt2", "GPT2Config", "GPT2LMHeadModel", {}),
    "gemma3_text": ("gemma3", "Gemma3TextConfig", "Gemma3ForCausalLM", {}),
    "gemma3n_text": ("gemma3n", "Gemma3nTextConfig", "Gemma3nForCausalLM", {}),
    "gemma4_text": (
        "gemma4",
        "Gemma4TextConfig",
        "Gemma4ForCausalLM",
        {
            "hidden_size_per_layer_input": 0,
            "attention_k_eq_v": True,
            "num_global_key_value_heads": 2,
            "enable_moe_block": True,
            "num_experts": 16,
            "top_k_experts": 4,
            "moe_intermediate_size": 512,
        },
    ),
    "qwen3_5_text": ("qwen3_5", "Qwen3_5TextConfig", "Qwen3_5ForCausalLM", {}),
    "qwen3_5_moe_text": ("qwen3_5_moe", "Qwen3_5MoeTextConfig", "Qwen3_5MoeForCausalLM", {}),
    "llama4_text": ("llama4", "Llama4TextConfig", "Llama4ForCausalLM", {}),
    "bert": ("bert", "BertConfig", "BertModel", {}),
    "roberta": ("roberta", "RobertaConfig", "RobertaModel", {}),
    "camembert": ("camembert", "CamembertConfig", "CamembertModel", {}),
    "xlm-roberta": ("xlm_roberta", "XLMRobertaConfig", "XLMRobertaModel", {}),
    "distilbert": ("distilbert", "DistilBertConfig", "DistilBertModel", {}),
    "albert": ("albert", "AlbertConfig", "AlbertModel", {}),
    "electra": ("electra", "ElectraConfig", "ElectraModel", {}),
    "mpnet": ("mpnet", "MPNetConfig", "MPNetModel", {}),
    "deberta-v2": ("deberta_v2", "DebertaV2Config", "DebertaV2Model", {}),
    "modernbert": ("modernbert", "ModernBertConfig", "ModernBertModel", {}),
    "nomic_bert": ("nomic_bert", "NomicBertConfig", "NomicBertModel", {}),
    "gte": ("gte", "GteConfig", "GteModel", {}),
    "clip": ("clip", "CLIPConfig", "CLIPModel", {}),
    "siglip": ("siglip", "SiglipConfig", "SiglipModel", {}),
    "dinov2": ("dinov2", "Dinov2Config", "Dinov2Model", {}),
    "t5": ("t5", "T5Config", "T5ForConditionalGeneration", {}),
    "mt5": ("mt5", "MT5Config", "MT5ForConditionalGeneration", {}),
    "bart": ("bart", "BartConfig", "BartForConditionalGeneration", {}),
    "whisper": ("whisper", "WhisperConfig", "WhisperForConditionalGeneration", {}),
    "wav2vec2": ("wav2vec2", "Wav2Vec2Config", "Wav2Vec2ForCTC", {}),
    "vit": ("vit", "ViTConfig", "ViTForImageClassification", {}),
    "resnet": ("resnet", "ResNetConfig", "ResNetForImageClassification", {}),
    "swin": ("swin", "SwinConfig", "SwinForImageClassification", {}),
    "convnext": ("convnext", "ConvNextConfig", "ConvNextForImageClassification", {}),
    "llava": (
        "llava",
        "LlavaConfig",
        "LlavaForConditionalGeneration",
        {
            "text_config": {"model_type": "llama", "vocab_size": 32064},
            "vision_config": {
                "model_type": "clip_vision_model",
                "hidden_size": 1024,
                "num_hidden_layers": 24,
                "intermediate_size": 4096,
                "num_attention_heads": 16,
                "image_size": 336,
                "patch_size": 14,
            },
        },
    ),
    "llava_next": (
        "llava_next",
        "LlavaNextConfig",
        "LlavaNextForConditionalGeneration",
        {
            "text_config": {"model_type": "mistral", "vocab_size": 32064},
            "vision_config": {
                "model_type": "clip_vision_model",
                "hidden_size": 1024,
                "num_hidden_layers": 24,
                "intermediate_size": 4096,
                "num_attention_heads": 16,
                "image_size": 336,
                "patch_size": 14,
            },
        },
    ),
    "mistral3": (
        "mistral3",
        "Mistral3Config",
        "Mistral3ForConditionalGeneration",
        {
            "text_config": {"model_type": "mistral", "num_hidden_layers": 2},
            "vision_config": {"model_type": "pixtral"},
            "tie_word_embeddings": False,
        },
    ),
    "paligemma": (
        "paligemma",
        "PaliGemmaConfig",
        "PaliGemmaForConditionalGeneration",
        {
            "text_config": {"model_type": "gemma", "hidden_size": 2048, "num_hidden_layers": 2, "vocab_size": 257216},
            "vision_config": {"model_type": "siglip_vision_model", "projection_dim": 2048, "vision_use_head": False},
            "projection_dim": 2048,
        },
    ),
    "gemma3": (
        "gemma3",
        "Gemma3Config",
        "Gemma3ForConditionalGeneration",
        {
            "text_config": {"num_hidden_layers": 7},
            "vision_config": {"image_size": 896, "patch_size": 14, "vision_use_head": False},
        },
    ),
    "gemma4": (
        "gemma4",
        "Gemma4Config",
        "Gemma4ForConditionalGeneration",
        {
            "text_config": {"hidden_size_per_layer_input": 0},
            "vision_config": {
                "hidden_size": 1152,
                "num_hidden_layers": 27,
                "intermediate_size": 4304,
                "num_attention_heads": 16,
                "num_key_value_heads": 16,
                "head_dim": 72,
            },
        },
    ),
    "idefics3": (
        "idefics3",
        "Idefics3Config",
        "Idefics3ForConditionalGeneration",
        {"text_config": {"model_type": "llama"}, "vision_config": {}},
    ),
    "smolvlm": (
        "smolvlm",
        "SmolVLMConfig",
        "SmolVLMForConditionalGeneration",
        {"text_config": {"model_type": "llama"}, "vision_config": {}},
    ),
    "qwen2_vl": (
        "qwen2_vl",
        "Qwen2VLConfig",
        "Qwen2VLForConditionalGeneration",
        {
            "text_config": {
                "hidden_size": 1536,
                "intermediate_size": 8960,
                "num_hidden_layers": 28,
                "num_attention_heads": 12,
                "num_key_value_heads": 2,
                "vocab_size": 151936,
            },
            "vision_config": {"hidden_size": 1536},
            "tie_word_embeddings": True,
        },
    ),
    "qwen2_5_vl": (
        "qwen2_5_vl",
        "Qwen2_5_VLConfig",
        "Qwen2_5_VLForConditionalGeneration",
        {
            "text_config": {
                "hidden_size": 2048,
                "intermediate_size": 11008,
                "num_hidden_layers": 36,
                "num_attention_heads": 16,
                "num_key_value_heads": 2,
                "vocab_size": 151936,
            },
            "vision_config": {"hidden_size": 1280, "out_hidden_size": 2048},
            "tie_word_embeddings": True,
        },
    ),
    "qwen3_vl": (
        "qwen3_vl",
        "Qwen3VLConfig",
        "Qwen3VLForConditionalGeneration",
        {"text_config": {"hidden_size": 2048, "num_hidden_layers": 2}, "vision_config": {"out_hidden_size": 2048}},
    ),
    "qwen3_vl_moe": (
        "qwen3_vl_moe",
        "Qwen3VLMoeConfig",
        "Qwen3VLMoeForConditionalGeneration",
        {"text_config": {"hidden_size": 2048, "num_hidden_layers": 2}, "vision_config": {"out_hidden_size": 2048}},
    ),
    "qwen3_5": (
        "qwen3_5",
        "Qwen3_5Config",
        "Qwen3_5ForConditionalGeneration",
        {"text_config": {"hidden_size": 2048, "num_hidden_layers": 4}, "vision_config": {"out_hidden_size": 2048}},
    ),
    "qwen3_5_moe": (
        "qwen3_5_moe",
        "Qwen3_5MoeConfig",
        "Qwen3_5MoeForConditionalGeneration",
        {"text_config": {"hidden_size": 2048, "num_hidden_layers": 4}, "vision_config": {"out_hidden_size": 2048}},
    ),
    "llama4": (
        "llama4",
        "Llama4Config",
        "Llama4ForConditionalGeneration",
        {
            "text_config": {"num_hidden_layers": 8, "interleave_moe_layer_step": 2},
            "vision_config": {"hidden_size": 1408, "image_size": 336, "vision_output_dim": 4096},
        },
    ),
    "mllama": ("mllama", "MllamaConfig", "MllamaForConditionalGeneration", {"text_config": {}, "vision_config": {}}),
}
"""`model_type`: module, configuration class, model class, and the keys that make the default a possible model."""
ELSEWHERE = {
    "baichuan",
    "chatglm",
    "deepseek",
    "exaone",
    "grok-1",
    "internlm",
    "internlm2",
    "internlm3",
    "kimi_k2",
    "minimax_text_01",
    "nemotron-nas",
    "new",
    "phi3small",
    "yi",  # no class in the library
    "dbrx",  # its class fails with its own defaults
    "gemma3n",  # its class needs a further package
}


def library_count(module: str, config_class: str, model_class: str, keys: Mapping[str, Any]) -> tuple[Any, int]:
    """The library's configuration with `keys`, and the parameters of the model it makes."""
    package = f"transformers.models.{module}"
    config = getattr(importlib.import_module(f"{package}.configuration_{module}"), config_class)(**keys)
    model = getattr(importlib.import_module(f"{package}.modeling_{module}"), model_class)
    transformers.logging.set_verbosity(transformers.logging.CRITICAL)
    with torch.device("meta"):
        return config, sum(p.numel() for p in model(config).parameters())


def our_count(config: Mapping[str, Any]) -> int:
    return build_model(entry_from_config(config, id="test", source="test")).params_total


@pytest.mark.parametrize("model_type", CLASSES)
def test_import_counts_what_the_library_builds(model_type: str) -> None:
    module, config_class, model_class, keys = CLASSES[model_type]
    config, counted = library_count(module, config_class, model_class, keys)
    assert our_count({"model_type": model_type, **keys}) == counted
    assert our_count({**config.to_dict(), "model_type": model_type}) == counted


def test_every_family_has_an_oracle_or_a_reason() -> None:
    assert set(FAMILIES) == set(CLASSES) | ELSEWHERE


SMALL = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 6, "vocab_size": 128}
VARIANTS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "llama with biases": ("llama", {**SMALL, "num_attention_heads": 4, "attention_bias": True, "mlp_bias": True}),
    "llama with tied embeddings": ("llama", {**SMALL, "num_attention_heads": 8, "tie_word_embeddings": True}),
    "llama with wide heads": ("llama", {**SMALL, "num_attention_heads": 4, "head_dim": 64}),
    "falcon 40b kind": (
        "falcon",
        {"hidden_size": 64, "num_attention_heads": 8, "num_kv_heads": 2, "new_decoder_architecture": True},
    ),
    "falcon 11b kind": (
        "falcon",
        {
            "hidden_size": 64,
            "num_attention_heads": 8,
            "num_kv_heads": 2,
            "new_decoder_architecture": True,
            "num_ln_in_parallel_attn": 1,
        },
    ),
    "falcon with sequential branches": (
        "falcon",
        {"hidden_size": 64, "num_attention_heads": 8, "parallel_attn": False, "multi_query": False, "bias": True},
    ),
    "opt with projected embeddings": (
        "opt",
        {"hidden_size": 64, "num_attention_heads": 4, "word_embed_proj_dim": 32, "do_layer_norm_before": False},
    ),
    "qwen2 moe with dense layers": (
        "qwen2_moe",
        {**SMALL, "num_attention_heads": 4, "num_key_value_heads": 2, "decoder_sparse_step": 2, "mlp_only_layers": [3]},
    ),
    "deepseek without compressed queries": (
        "deepseek_v3",
        {**SMALL, "num_attention_heads": 4, "q_lora_rank": None, "n_routed_experts": 8, "first_k_dense_replace": 2},
    ),
    "deepseek with biases": ("deepseek_v3", {**SMALL, "num_attention_heads": 4, "attention_bias": True}),
    "cohere with normed queries": ("cohere", {**SMALL, "num_attention_heads": 4, "use_qk_norm": True}),
    "stablelm with everything": (
        "stablelm",
        {
            **SMALL,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "use_qkv_bias": True,
            "qk_layernorm": True,
            "use_parallel_residual": True,
        },
    ),
    "jamba with experts everywhere": (
        "jamba",
        {
            **SMALL,
            "num_attention_heads": 4,
            "expert_layer_period": 1,
            "expert_layer_offset": 0,
            "num_key_value_heads": 2,
        },
    ),
    "granite hybrid without experts": (
        "granitemoehybrid",
        {
            **SMALL,
            "num_attention_heads": 4,
            "num_local_experts": 0,
            "mamba_n_heads": 8,
            "mamba_d_head": 16,
            "layer_types": ["mamba", "mamba", "attention"] * 2,
        },
    ),
    "nemotron-h with latent experts": (
        "nemotron_h",
        {
            "hidden_size": 64,
            "intermediate_size": 96,
            "layers_block_type": ["mamba", "moe", "attention", "moe", "mlp"],
            "moe_latent_size": 32,
        },
    ),
    "bamba with attention": (
        "bamba",
        {
            **SMALL,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "mamba_n_heads": 8,
            "mamba_d_head": 16,
            "attn_layer_indices": [1, 4],
        },
    ),
    "deberta v3": (
        "deberta-v2",
        {
            **SMALL,
            "num_attention_heads": 4,
            "relative_attention": True,
            "position_biased_input": False,
            "pos_att_type": ["p2c", "c2p"],
            "share_att_key": True,
            "norm_rel_ebd": "layer_norm",
            "position_buckets": 32,
        },
    ),
    "electra without projection": ("electra", {**SMALL, "num_attention_heads": 4, "embedding_size": 64}),
    "resnet of basic blocks": (
        "resnet",
        {"layer_type": "basic", "hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2]},
    ),
    "gpt-neo of global layers": (
        "gpt_neo",
        {"hidden_size": 64, "num_layers": 4, "num_heads": 4, "attention_types": [[["global"], 4]]},
    ),
    "gemma 3 of listed layers": (
        "gemma3_text",
        {**SMALL, "layer_types": ["full_attention", "sliding_attention"] * 3},
    ),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_switches_of_a_family_change_what_the_library_changes(variant: str) -> None:
    model_type, keys = VARIANTS[variant]
    module, config_class, model_class, _ = CLASSES[model_type]
    _, counted = library_count(module, config_class, model_class, keys)
    assert our_count({"model_type": model_type, **keys}) == counted
