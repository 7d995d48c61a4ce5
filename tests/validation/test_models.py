"""Models from config keys: the library's classes, cut to fewer layers where asked."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from validation.models import ModelError, build, hf_config, num_layers, with_layers

pytestmark = pytest.mark.filterwarnings("ignore")  # the library warns of odd defaults and of things it deprecates

GEMMA = {
    "model_type": "gemma3_text",
    "num_hidden_layers": 6,
    "layer_types": ["sliding_attention"] * 5 + ["full_attention"],
}


def test_weights_on_meta_take_no_memory_and_have_the_asked_dtype() -> None:
    model = build(hf_config({"model_type": "gpt2"}), dtype=torch.float16, device="meta")
    assert {(p.device.type, p.dtype) for p in model.parameters()} == {("meta", torch.float16)}
    assert sum(p.numel() for p in model.parameters()) == 124_439_808  # published for GPT-2 small


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        ({"model_type": "bert"}, "BertForMaskedLM"),
        ({"model_type": "bert", "architectures": ["BertModel"]}, "BertModel"),
        ({"model_type": "t5"}, "T5ForConditionalGeneration"),
        ({"model_type": "llama", "num_hidden_layers": 1}, "LlamaForCausalLM"),
        ({"model_type": "vit"}, "ViTForImageClassification"),
    ],
)
def test_the_class_is_the_named_one_or_the_usual_one(keys: dict[str, Any], name: str) -> None:
    assert type(build(hf_config(keys), dtype=torch.float32, device="meta")).__name__ == name


def test_eager_attention_where_the_class_has_no_other() -> None:
    model = build(hf_config({"model_type": "gpt_neo"}), dtype=torch.float32, device="meta")
    assert model.config._attn_implementation == "eager"


@pytest.mark.parametrize("keys", [{"model_type": "gpt2"}, {"model_type": "bert"}, GEMMA, {"model_type": "t5"}])
def test_cutting_layers_leaves_the_rest_of_the_model(keys: dict[str, Any]) -> None:
    config = hf_config(keys)
    two, four = (
        sum(p.numel() for p in build(with_layers(config, n), dtype=torch.float32, device="meta").parameters())
        for n in (2, 4)
    )
    whole = sum(p.numel() for p in build(config, dtype=torch.float32, device="meta").parameters())
    assert whole - four == (num_layers(config) - 4) // 2 * (four - two)


def test_large_tensors_in_host_memory_repeat_a_block_of_random_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("validation.models.RANDOM_BLOCK", 1000)
    keys = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 1, "vocab_size": 555}
    model = build(hf_config(keys), dtype=torch.bfloat16, device="cpu")
    values = model.get_input_embeddings().weight.flatten()
    assert torch.equal(values[1000:2000], values[:1000])
    assert values[:1000].unique().numel() > 100
    assert 0.019 < float(values.float().std()) < 0.021  # initializer_range of a llama


@pytest.mark.parametrize("keys", [{}, {"model_type": "no-such-model"}])
def test_an_unknown_type_is_an_error_that_says_so(keys: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="model_type"):
        hf_config(keys)
