"""Published configurations import to the catalog's counts; bad ones are refused by naming what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from planner.architecture.build import build_model
from planner.architecture.catalog import ModelCatalog
from planner.architecture.huggingface import entry_from_config
from planner.architecture.types import Model
from planner.errors import InputError, UnknownNameError

PUBLISHED: Mapping[str, dict[str, Any]] = {
    "openai-community/gpt2": {
        "activation_function": "gelu_new",
        "architectures": ["GPT2LMHeadModel"],
        "attn_pdrop": 0.1,
        "bos_token_id": 50256,
        "embd_pdrop": 0.1,
        "eos_token_id": 50256,
        "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-05,
        "model_type": "gpt2",
        "n_ctx": 1024,
        "n_embd": 768,
        "n_head": 12,
        "n_layer": 12,
        "n_positions": 1024,
        "resid_pdrop": 0.1,
        "summary_activation": None,
        "summary_first_dropout": 0.1,
        "summary_proj_to_labels": True,
        "summary_type": "cls_index",
        "summary_use_proj": True,
        "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
        "vocab_size": 50257,
    },
    "meta-llama/Llama-3.1-8B": {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": 128000,
        "eos_token_id": 128001,
        "hidden_act": "silu",
        "hidden_size": 4096,
        "initializer_range": 0.02,
        "intermediate_size": 14336,
        "max_position_embeddings": 131072,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": 8,
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-05,
        "rope_scaling": {"factor": 8.0, "rope_type": "llama3"},
        "rope_theta": 500000.0,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.43.0.dev0",
        "use_cache": True,
        "vocab_size": 128256,
    },
    "mosaicml/mpt-7b": {
        "architectures": ["MPTForCausalLM"],
        "attn_config": {
            "alibi": True,
            "alibi_bias_max": 8,
            "attn_impl": "torch",
            "attn_pdrop": 0,
            "attn_type": "multihead_attention",
            "attn_uses_sequence_id": False,
            "clip_qkv": None,
            "prefix_lm": False,
            "qk_ln": False,
            "softmax_scale": None,
        },
        "auto_map": {"AutoConfig": "configuration_mpt.MPTConfig"},
        "d_model": 4096,
        "emb_pdrop": 0,
        "embedding_fraction": 1.0,
        "expansion_ratio": 4,
        "init_config": {"init_std": 0.02, "name": "kaiming_normal_"},
        "init_device": "cpu",
        "learned_pos_emb": True,
        "logit_scale": None,
        "max_seq_len": 2048,
        "model_type": "mpt",
        "n_heads": 32,
        "n_layers": 32,
        "no_bias": True,
        "norm_type": "low_precision_layernorm",
        "resid_pdrop": 0,
        "tokenizer_name": "EleutherAI/gpt-neox-20b",
        "torch_dtype": "bfloat16",
        "use_cache": False,
        "verbose": 0,
        "vocab_size": 50432,
    },
    "microsoft/Phi-3-small-8k-instruct": {
        "architectures": ["Phi3SmallForCausalLM"],
        "attention_dropout_prob": 0.0,
        "blocksparse_block_size": 64,
        "blocksparse_homo_head_pattern": False,
        "blocksparse_num_local_blocks": 16,
        "blocksparse_triton_kernel_block_size": 64,
        "blocksparse_vert_stride": 8,
        "dense_attention_every_n_layers": 2,
        "embedding_dropout_prob": 0.1,
        "ff_dim_multiplier": None,
        "ff_intermediate_size": 14336,
        "ffn_dropout_prob": 0.1,
        "gegelu_limit": 20.0,
        "gegelu_pad_to_256": True,
        "hidden_act": "gegelu",
        "hidden_size": 4096,
        "layer_norm_epsilon": 1e-05,
        "max_position_embeddings": 8192,
        "model_type": "phi3small",
        "mup_attn_multiplier": 1.0,
        "mup_embedding_multiplier": 10.0,
        "mup_use_scaling": True,
        "mup_width_multiplier": 8.0,
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": 8,
        "pad_sequence_to_multiple_of_64": True,
        "reorder_and_upcast_attn": False,
        "rope_embedding_base": 1000000,
        "rope_position_scale": 1.0,
        "torch_dtype": "bfloat16",
        "attention_bias": False,
        "vocab_size": 100352,
    },
    "deepseek-ai/DeepSeek-V3": {
        "architectures": ["DeepseekV3ForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "auto_map": {"AutoConfig": "configuration_deepseek.DeepseekV3Config"},
        "aux_loss_alpha": 0.001,
        "ep_size": 1,
        "first_k_dense_replace": 3,
        "hidden_act": "silu",
        "hidden_size": 7168,
        "intermediate_size": 18432,
        "kv_lora_rank": 512,
        "max_position_embeddings": 163840,
        "model_type": "deepseek_v3",
        "moe_intermediate_size": 2048,
        "moe_layer_freq": 1,
        "n_group": 8,
        "n_routed_experts": 256,
        "n_shared_experts": 1,
        "norm_topk_prob": True,
        "num_attention_heads": 128,
        "num_experts_per_tok": 8,
        "num_hidden_layers": 61,
        "num_key_value_heads": 128,
        "num_nextn_predict_layers": 1,
        "pretraining_tp": 1,
        "q_lora_rank": 1536,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "quantization_config": {"fmt": "e4m3", "weight_block_size": [128, 128]},
        "rope_scaling": {"factor": 40, "type": "yarn"},
        "routed_scaling_factor": 2.5,
        "scoring_func": "sigmoid",
        "seq_aux": True,
        "tie_word_embeddings": False,
        "topk_group": 4,
        "topk_method": "noaux_tc",
        "torch_dtype": "bfloat16",
        "v_head_dim": 128,
        "vocab_size": 129280,
    },
    "deepseek-ai/deepseek-moe-16b-base": {
        "model_type": "deepseek",
        "first_k_dense_replace": 1,
        "hidden_size": 2048,
        "intermediate_size": 10944,
        "max_position_embeddings": 4096,
        "moe_intermediate_size": 1408,
        "moe_layer_freq": 1,
        "n_routed_experts": 64,
        "n_shared_experts": 2,
        "norm_topk_prob": False,
        "num_attention_heads": 16,
        "num_experts_per_tok": 6,
        "num_hidden_layers": 28,
        "num_key_value_heads": 16,
        "scoring_func": "softmax",
        "vocab_size": 102400,
    },
    "moonshotai/Kimi-Linear-48B-A3B-Instruct": {
        "model_type": "kimi_linear",
        "first_k_dense_replace": 1,
        "head_dim": 72,
        "hidden_act": "silu",
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "kv_lora_rank": 512,
        "linear_attn_config": {
            "full_attn_layers": [4, 8, 12, 16, 20, 24, 27],
            "head_dim": 128,
            "kda_layers": [1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15, 17, 18, 19, 21, 22, 23, 25, 26],
            "num_heads": 32,
            "short_conv_kernel_size": 4,
        },
        "mla_use_nope": True,
        "model_max_length": 1048576,
        "moe_intermediate_size": 1024,
        "moe_layer_freq": 1,
        "moe_renormalize": True,
        "moe_router_activation_func": "sigmoid",
        "num_attention_heads": 32,
        "num_expert_group": 1,
        "num_experts": 256,
        "num_experts_per_token": 8,
        "num_hidden_layers": 27,
        "num_key_value_heads": 32,
        "num_shared_experts": 1,
        "q_lora_rank": None,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "routed_scaling_factor": 2.446,
        "tie_word_embeddings": False,
        "topk_group": 1,
        "use_grouped_topk": True,
        "v_head_dim": 128,
        "vocab_size": 163840,
    },
    "MiniMaxAI/MiniMax-Text-01": {
        "model_type": "minimax_text_01",
        "attn_type_list": [0, 0, 0, 0, 0, 0, 0, 1] * 10,
        "head_dim": 128,
        "hidden_size": 6144,
        "intermediate_size": 9216,
        "layernorm_full_attention_alpha": 3.5565588200778455,
        "layernorm_full_attention_beta": 1.0,
        "layernorm_linear_attention_alpha": 3.5565588200778455,
        "layernorm_linear_attention_beta": 1.0,
        "layernorm_mlp_alpha": 3.5565588200778455,
        "layernorm_mlp_beta": 1.0,
        "max_position_embeddings": 10240000,
        "num_attention_heads": 64,
        "num_experts_per_tok": 2,
        "num_hidden_layers": 80,
        "num_key_value_heads": 8,
        "num_local_experts": 32,
        "postnorm": True,
        "rope_theta": 10000000,
        "rotary_dim": 64,
        "router_aux_loss_coef": 0.001,
        "router_jitter_noise": 0.0,
        "shared_intermediate_size": 0,
        "shared_moe_mode": "sigmoid",
        "sliding_window": None,
        "tie_word_embeddings": False,
        "vocab_size": 200064,
    },
    "databricks/dbrx-base": {
        "model_type": "dbrx",
        "attn_config": {"clip_qkv": 8, "kv_n_heads": 8, "model_type": "", "rope_theta": 500000},
        "d_model": 6144,
        "emb_pdrop": 0.0,
        "ffn_config": {
            "ffn_hidden_size": 10752,
            "model_type": "",
            "moe_jitter_eps": 0.01,
            "moe_loss_weight": 0.05,
            "moe_num_experts": 16,
            "moe_top_k": 4,
        },
        "max_seq_len": 32768,
        "n_heads": 48,
        "n_layers": 40,
        "output_router_logits": False,
        "resid_pdrop": 0.0,
        "vocab_size": 100352,
    },
    "internlm/internlm2_5-7b": {
        "model_type": "internlm2",
        "attn_implementation": "eager",
        "bias": False,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "max_position_embeddings": 262144,
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": 8,
        "rope_theta": 50000000,
        "vocab_size": 92544,
    },
    "xai-org/grok-1": {
        "model_type": "grok-1",
        "vocab_size": 131072,
        "hidden_size": 6144,
        "intermediate_size": 32768,
        "num_hidden_layers": 64,
        "num_attention_heads": 48,
        "num_key_value_heads": 8,
        "attn_output_multiplier": 0.08838834764831845,
        "num_experts": 8,
        "num_experts_per_tok": 2,
    },
    "llava-hf/llava-1.5-7b-hf": {  # what the text and vision parts leave out is the library's default
        "model_type": "llava",
        "ignore_index": -100,
        "image_token_index": 32000,
        "projector_hidden_act": "gelu",
        "text_config": {
            "_name_or_path": "lmsys/vicuna-7b-v1.5",
            "max_position_embeddings": 4096,
            "model_type": "llama",
            "rms_norm_eps": 1e-05,
            "vocab_size": 32064,
        },
        "vision_config": {
            "hidden_size": 1024,
            "image_size": 336,
            "intermediate_size": 4096,
            "model_type": "clip_vision_model",
            "num_attention_heads": 16,
            "num_hidden_layers": 24,
            "patch_size": 14,
            "projection_dim": 768,
            "vocab_size": 32000,
        },
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
    },
    "Qwen/Qwen2-VL-2B-Instruct": {  # the older, flat form: text keys beside vision_config
        "model_type": "qwen2_vl",
        "hidden_size": 1536,
        "image_token_id": 151655,
        "intermediate_size": 8960,
        "max_position_embeddings": 32768,
        "max_window_layers": 28,
        "num_attention_heads": 12,
        "num_hidden_layers": 28,
        "num_key_value_heads": 2,
        "rope_scaling": {"type": "mrope"},
        "sliding_window": 32768,
        "tie_word_embeddings": True,
        "use_sliding_window": False,
        "vision_config": {
            "depth": 32,
            "embed_dim": 1280,
            "mlp_ratio": 4,
            "num_heads": 16,
            "in_chans": 3,
            "hidden_size": 1536,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "spatial_patch_size": 14,
            "temporal_patch_size": 2,
        },
        "vision_start_token_id": 151652,
        "vocab_size": 151936,
    },
}


def imported(config: Mapping[str, Any]) -> Model:
    return build_model(entry_from_config(config, id="test", source="test"))


@pytest.mark.parametrize("model_id", PUBLISHED)
def test_published_configuration_gives_the_catalog_model(catalog: ModelCatalog, model_id: str) -> None:
    ours, theirs = catalog.get(model_id), imported(PUBLISHED[model_id])
    assert theirs.params_total == ours.params_total
    assert theirs.params_active == ours.params_active
    assert theirs.kv_values_per_token == ours.kv_values_per_token
    assert theirs.layer_order == ours.layer_order


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        # Baichuan 2 and ChatGLM 3 as their cards count them
        (
            {
                "model_type": "baichuan",
                "hidden_size": 4096,
                "intermediate_size": 11008,
                "num_hidden_layers": 32,
                "num_attention_heads": 32,
                "vocab_size": 125696,
                "model_max_length": 4096,
                "max_position_embeddings": 4096,
                "z_loss_weight": 0,
            },
            7_505_973_248,
        ),
        (
            {
                "model_type": "chatglm",
                "add_bias_linear": False,
                "add_qkv_bias": True,
                "apply_query_key_layer_scaling": True,
                "apply_residual_connection_post_layernorm": False,
                "architectures": ["ChatGLMModel"],
                "attention_softmax_in_fp32": True,
                "bias_dropout_fusion": True,
                "ffn_hidden_size": 13696,
                "fp32_residual_connection": False,
                "hidden_size": 4096,
                "kv_channels": 128,
                "layernorm_epsilon": 1e-05,
                "multi_query_attention": True,
                "multi_query_group_num": 2,
                "num_attention_heads": 32,
                "num_layers": 28,
                "original_rope": True,
                "padded_vocab_size": 65024,
                "post_layer_norm": True,
                "pre_seq_len": None,
                "prefix_projection": False,
                "quantization_bit": 0,
                "rmsnorm": True,
                "seq_length": 32768,
                "tie_word_embeddings": False,
                "vocab_size": 65024,
            },
            6_243_584_000,
        ),
    ],
)
def test_families_of_remote_code_give_the_published_count(config: dict[str, Any], parameters: int) -> None:
    assert imported(config).params_total == parameters


def test_gpt2_takes_grouped_queries_under_either_name() -> None:
    base = {"model_type": "gpt2", "n_embd": 1024, "n_layer": 4, "n_head": 16}
    plain = imported(base)
    for key in ("num_key_value_heads", "n_head_kv"):
        grouped = imported(base | {key: 4})
        # K and V lose twelve heads of 64, with their biases
        assert plain.params_total - grouped.params_total == 4 * 2 * 12 * 64 * (1024 + 1)
        assert grouped.kv_values_per_token == 4 * 2 * 4 * 64


def test_zero_rates_switch_dropout_off() -> None:
    block = imported({"model_type": "gpt2", "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}).blocks[0]
    assert (block.dropout, block.attention_dropout) == (False, False)
    assert imported({"model_type": "gpt2"}).blocks[0].dropout


def test_untied_falcon_counts_its_head() -> None:
    tied = {"model_type": "falcon"}
    assert imported(tied | {"tie_word_embeddings": False}).params_total - imported(tied).params_total == 65024 * 4544


def test_window_beyond_the_context_changes_nothing() -> None:
    keys = {"model_type": "phi3", "max_position_embeddings": 131072, "sliding_window": 262144}
    assert [b.attention.kind for b in imported(keys).blocks if b.attention] == ["full"]
    short = imported(keys | {"sliding_window": 2047})
    assert [b.attention.window for b in short.blocks if b.attention] == [2047]


def test_model_saved_without_a_head_serves_embeddings() -> None:
    entry = entry_from_config({"model_type": "mistral", "architectures": ["MistralModel"]}, id="test", source="test")
    assert entry.task == "embedding"
    assert not any(t.role == "head" for t in build_model(entry).outer)


LLAMA = {"model_type": "llama", "hidden_size": 4096, "num_attention_heads": 32, "intermediate_size": 11008}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_hiden_layers": 32}, r"unknown key num_hiden_layers; nearest: num_hidden_layers"),
        ({"num_experts": 8}, r"unknown key num_experts"),
        ({"num_attention_heads": 33}, r"hidden_size 4096 is not a multiple of num_attention_heads 33"),
        ({"num_key_value_heads": 5}, r"num_attention_heads 32 is not a multiple of num_key_value_heads 5"),
        ({"num_hidden_layers": -3}, r"num_hidden_layers is -3, not a positive whole number"),
        ({"num_hidden_layers": "many"}, r"num_hidden_layers is 'many', not a positive whole number"),
        ({"hidden_size": 4096.5}, r"hidden_size is 4096.5, not a positive whole number"),
        ({"hidden_size": True}, r"hidden_size is True, not a positive whole number"),
        ({"attention_bias": 1}, r"attention_bias is 1, not true or false"),
        ({"hidden_act": "silou"}, r"unknown activation 'silou'; nearest: silu"),
        ({"model_type": "lama"}, r"unknown model_type 'lama'; nearest: llama"),
        ({"model_type": None}, r"model_type is missing"),
        ({"model_type": "mixtral", "num_experts_per_tok": 9}, r"num_experts_per_tok 9 exceeds num_local_experts 8"),
        ({"model_type": "qwen3", "layer_types": ["full_attention"]}, r"layer_types lists 1 layers"),
        ({"model_type": "qwen3", "layer_types": ["fully_attention"] * 32}, r"unknown kind of layer 'fully_attention'"),
        ({"model_type": "gpt2", "add_cross_attention": True}, r"add_cross_attention: cross attention in GPT-2"),
        ({"model_type": "nemotron_h", "hybrid_override_pattern": "MMX"}, r"hybrid_override_pattern 'MMX'"),
        ({"model_type": "mamba2", "num_heads": 100, "head_dim": 64}, r"is not expand 2 x hidden_size 4096"),
        (
            {"model_type": "deepseek_v2", "num_experts_per_token": 6},
            r"num_experts_per_tok is missing; nearest: num_exp",
        ),
        ({"model_type": "llava", "vision_config": {}}, r"text_config is missing"),
        (
            {"model_type": "llava", "vision_config": {}, "text_config": {"model_type": "lama"}},
            r"unknown text_config.model_type 'lama'; nearest: llama",
        ),
        (
            {"model_type": "llava", "vision_config": {"hiden_size": 1024}, "text_config": {}},
            r"unknown key vision_config.hiden_size; nearest: hidden_size",
        ),
    ],
)
def test_bad_configuration_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        imported({key: value for key, value in (LLAMA | changes).items() if value is not None})


def test_every_unknown_key_is_named_at_once() -> None:
    with pytest.raises(InputError) as caught:
        imported(LLAMA | {"new_a": 1, "new_b": 2})
    assert len(caught.value.messages) == 2


def test_unknown_model_type_offers_near_ones() -> None:
    with pytest.raises(UnknownNameError) as caught:
        imported({"model_type": "qwen-3"})
    assert "qwen3" in caught.value.nearest


def test_pipeline_of_diffusers_is_refused_with_the_reason() -> None:
    with pytest.raises(InputError, match="a diffusers pipeline cannot be imported"):
        imported({"_class_name": "StableDiffusionPipeline"})
