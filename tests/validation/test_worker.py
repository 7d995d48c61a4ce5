"""The child's own work on a CPU: every kind of trial runs for real, on a small model of the same family."""

from __future__ import annotations

import json
import math
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.validation.conftest import LLAMA
from validation.device import Cpu
from validation.formats import pooled_bytes, quantised
from validation.models import build, hf_config
from validation.offload import layer_places
from validation.optimizers import optimizer_of
from validation.supervise import read_result, worker_command
from validation.tiny import tiny, tiny_keys
from validation.train import Step, model_of
from validation.trial import Trial
from validation.worker import attempt, write_result

pytestmark = pytest.mark.filterwarnings("ignore")  # the libraries warn of what they deprecate

GPT2 = {"model_type": "gpt2", "n_embd": 1600, "n_layer": 48, "n_head": 25, "vocab_size": 50257}
BERT = {"model_type": "bert", "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}
MIXTRAL = {**LLAMA, "model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2}
T5 = {"model_type": "t5", "d_model": 512, "d_ff": 2048, "num_layers": 6, "num_heads": 8, "vocab_size": 32128}
GEMMA2 = {**LLAMA, "model_type": "gemma2", "head_dim": 256, "sliding_window": 4096}


def infer(model: dict[str, Any] = LLAMA, options: dict[str, Any] | None = None, **config: Any) -> Trial:
    base = {"precision": "bf16", "attention": "sdpa", "batch": 8, "input_tokens": 512, "output_tokens": 64}
    return tiny(
        Trial(
            id="t",
            mode="infer",
            engine="transformers",
            gpu="l4",
            gpus=1,
            model=model,
            config={**base, **config},
            options=options or {},
        )
    )


def train(model: dict[str, Any] = LLAMA, options: dict[str, Any] | None = None, **config: Any) -> Trial:
    base = {
        "method": "full",
        "precision": "bf16",
        "optimizer": "adamw",
        "checkpointing": "none",
        "sharding": "none",
        "attention": "sdpa",
        "micro_batch": 1,
        "accumulation": 1,
        "sequence_tokens": 2048,
    }
    trial = replace(infer(model, options), mode="train", config={**base, **config})
    return tiny(trial)


def done(trial: Trial, tmp_path: Path) -> dict[str, Any]:
    """The result of a trial that must succeed."""
    result = attempt(trial, kind="cpu", work=tmp_path)
    assert result["state"] == "ok", result.get("detail")
    return result


@pytest.mark.parametrize("model", [LLAMA, GPT2, MIXTRAL, T5, GEMMA2], ids=lambda m: m["model_type"])
def test_inference_prefills_and_decodes(model: dict[str, Any], tmp_path: Path) -> None:
    result = done(infer(model, attention="eager"), tmp_path)
    seen = result["measured"]
    assert result["details"]["step_s"]["count"] == 3  # four tokens: the first comes with the prefill
    whole_s = seen["ttft"] + 3 * seen["tpot"]
    assert seen["output_rate"] == pytest.approx(2 * 4 / whole_s)
    assert seen["token_rate"] == pytest.approx(2 * (24 + 4) / whole_s)


def test_an_encoder_answers_in_one_pass(tmp_path: Path) -> None:
    seen = done(infer(BERT, output_tokens=0), tmp_path)["measured"]
    assert "tpot" not in seen
    assert seen["request_rate"] == pytest.approx(2 / seen["ttft"])


@pytest.mark.parametrize(
    "config", [{"kv_precision": "fp8"}, {"offload": {"kv_cpu": 0.5}}, {"offload": {"kv_cpu": 1.0}}]
)
def test_inference_with_a_small_or_distant_cache(config: dict[str, Any], tmp_path: Path) -> None:
    assert done(infer(**config), tmp_path)["details"]["step_s"]["count"] == 3


@pytest.mark.parametrize("tokens", [1, 2])
def test_a_short_answer_stays_within_its_cache(tokens: int, tmp_path: Path) -> None:
    steps = done(infer(options={"kv_layout": "static"}, output_tokens=tokens), tmp_path)["details"]["step_s"]
    assert steps.get("count", 0) == tokens - 1


def test_an_encoder_embeds_without_a_head_and_learns_with_a_classifier(tmp_path: Path) -> None:
    """A head over the vocabulary would hold logits that nobody asked for."""
    bare = done(infer(BERT, output_tokens=0), tmp_path)["details"]["parameters"]
    trained = done(train(BERT), tmp_path)["details"]
    assert trained["parameters"] == bare + 64 * 2 + 2
    assert 0.1 < trained["loss"] < 3.0  # ln 2 = 0.7 for two classes


def test_pictures_are_read_in_one_pass(tmp_path: Path) -> None:
    vit = {"model_type": "vit", "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
    vit |= {"intermediate_size": 3072, "image_size": 224, "patch_size": 16, "num_channels": 3}
    seen = done(infer({**vit, "architectures": ["ViTForImageClassification"]}, output_tokens=0), tmp_path)["measured"]
    assert seen["request_rate"] == pytest.approx(2 / seen["ttft"])


@pytest.mark.parametrize(("precision", "share"), [("bf16", 1.0), ("nf4", 0.25), ("int8", 0.5)])
def test_the_block_that_weights_come_out_of_is_as_large_as_they_are(precision: str, share: float) -> None:
    """Linear layers in their format, embeddings and norms in 16 bits."""
    layers = 2 * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 128)
    rest = 512 * 64 + 2 * 2 * 64 + 64
    assert pooled_bytes(hf_config(infer().model), precision) == 2 * (share * layers + rest)


def test_weights_are_what_the_formats_take(tmp_path: Path) -> None:
    """2 layers of 64: attention 4 x 64 x 64 (k, v of 2 heads of 16 less), MLP 3 x 64 x 128; embedding 512 x 64."""
    layer = 64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 128
    norms = 2 * 2 * 64 + 64
    rotary = 4 * 8
    values = 512 * 64 + 2 * layer + norms
    assert done(infer(), tmp_path)["measured"]["weights"] == 2 * values + 2 * rotary
    eight_bit = done(infer(precision="int8-w8a8"), tmp_path)["measured"]["weights"]
    rows = 2 * (64 + 32 + 32 + 64 + 128 + 128 + 64)
    assert eight_bit >= 2 * (values - 2 * layer) + 2 * layer + 2 * rows
    assert eight_bit < 2 * values


def test_layers_go_to_disk_as_planned_and_come_back(tmp_path: Path) -> None:
    result = done(infer(offload={"weights_cpu": 0.0, "weights_disk": 0.5}), tmp_path)
    assert result["details"]["layers_by_place"] == {"cpu": 1, "disk": 1}
    assert list((tmp_path / "offload").glob("*.dat"))


def test_shares_of_an_offload_split_are_whole_layers() -> None:
    assert layer_places(32, stages=1, cpu_share=0.25, disk_share=0.125, main=0) == [0] * 20 + ["cpu"] * 8 + ["disk"] * 4
    assert layer_places(6, stages=4, cpu_share=0, disk_share=0, main=0) == [0, 0, 1, 2, 2, 3]


@pytest.mark.parametrize(
    ("options", "config", "says"),
    [
        ({}, {"tensor_parallel": 2}, "tensor_parallel 2"),
        ({}, {"kv_precision": "nvfp4"}, "no KV cache in nvfp4"),
        ({}, {"kv_precision": "fp8", "offload": {"kv_cpu": 0.5}}, "growing and on the GPU"),
        ({}, {"precision": "nf4", "offload": {"weights_cpu": 0.5}}, "weights in nf4 are replayed on one GPU"),
        ({}, {"precision": "int4-awq"}, "no kernels for weights in int4-awq"),
    ],
)
def test_what_cannot_be_replayed_says_so(
    options: dict[str, Any], config: dict[str, Any], says: str, tmp_path: Path
) -> None:
    small = infer(options=options)
    result = attempt(replace(small, config={**small.config, **config}), kind="cpu", work=tmp_path)
    assert result["state"] == "unsupported"
    assert says in result["detail"]


def test_a_model_without_keys_is_not_guessed(tmp_path: Path) -> None:
    result = attempt(replace(infer(), model={}), kind="cpu", work=tmp_path)
    assert result["state"] == "unsupported"
    result = attempt(replace(infer(), model={"model_type": "nothing-known"}), kind="cpu", work=tmp_path)
    assert result["state"] == "unsupported"


@pytest.mark.parametrize(
    ("options", "config"),
    [
        ({}, {"checkpointing": "full", "precision": "bf16-mixed", "accumulation": 2}),
        ({"optimizer_step": "fused"}, {"checkpointing": "selective"}),
        ({"optimizer_step": "in-backward"}, {"optimizer": "sgd"}),
        ({"length_variation": 2.6}, {"optimizer": "adafactor"}),
        ({}, {"optimizer": "muon"}),
        ({}, {"optimizer": "adamw-8bit"}),
        ({}, {"optimizer": "lion", "precision": "fp16-mixed"}),
        ({}, {"method": "qlora", "precision": "bf16-mixed", "checkpointing": "full"}),
        (
            {"checkpoint_reentrant": True},
            {"method": "lora", "checkpointing": "full", "lora": {"adapter_dtype": "bf16"}},
        ),
    ],
)
def test_training_steps(options: dict[str, Any], config: dict[str, Any], tmp_path: Path) -> None:
    result = done(train(options=options, **config), tmp_path)
    assert result["measured"]["step"] > 0
    assert 5.0 < result["details"]["loss"] < 8.0  # ln 512 = 6.2 for random tokens


def test_an_optimizer_that_torch_does_not_have_yet_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon")
    result = attempt(train(optimizer="muon"), kind="cpu", work=tmp_path)
    assert result["state"] == "unsupported"
    assert "torch 2.9" in result["detail"]


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_a_verdict(loss: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Step, "loss", loss)
    result = attempt(train(), kind="cpu", work=tmp_path)
    assert result["state"] == "garbage"
    write_result(tmp_path / "result.json", result)
    assert read_result(tmp_path / "result.json") == result


def test_static_bytes_are_weights_gradients_and_two_moments(tmp_path: Path) -> None:
    """bf16 throughout: four times the weights, and AdamW's step counters of 4 bytes for each of 20 tensors."""
    weights = done(infer(), tmp_path)["measured"]["weights"] - 2 * 4 * 8
    static = done(train(), tmp_path)["measured"]["static"]
    assert static == 4 * weights + 20 * 4 + 2 * 4 * 8


def test_only_the_adapters_are_trained(tmp_path: Path) -> None:
    """Rank 4 on q (64 -> 64) and v (64 -> 32) of two layers: 4 x (128 + 96) x 2 values."""
    result = done(train(method="lora", lora={"rank": 4, "target_modules": ["q_proj", "v_proj"]}), tmp_path)
    assert result["details"]["trainable"] == 4 * (128 + 96) * 2


@pytest.mark.parametrize(("base", "layer"), [("nf4", "Linear4bit"), ("int8", "Linear8bitLt")])
def test_adapters_on_a_quantised_base_are_those_that_peft_makes_for_it(base: str, layer: str) -> None:
    trial = train(method="qlora", base_precision=base, lora={"rank": 4, "target_modules": ["q_proj"]})
    model = model_of(trial, Cpu(), {"attention": "sdpa"})
    made = {type(m) for name, m in model.named_modules() if name.endswith("q_proj")}
    assert {(kind.__module__, kind.__name__) for kind in made} == {("peft.tuners.lora.bnb", layer)}


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"sharding": "none", "data_parallel": 2, "offload": {"params_cpu": 1.0}}, "zero2 or zero3"),
        ({"sharding": "zero1", "data_parallel": 2, "offload": {"params_cpu": 1.0}}, "zero2 or zero3"),
        ({"method": "qlora", "offload": {"params_cpu": 1.0}}, "quantised base"),
        ({"optimizer": "adamw-8bit", "offload": {"optimizer_cpu": 0.5}}, "no kernels"),
    ],
)
def test_splits_of_training_that_no_library_has_say_so(config: dict[str, Any], says: str, tmp_path: Path) -> None:
    result = attempt(train(**config), kind="cpu", work=tmp_path)
    assert result["state"] == "unsupported"
    assert says in result["detail"]


@pytest.mark.parametrize(
    "config",
    [
        {"offload": {"params_cpu": 0.5, "optimizer_cpu": 0.5}},
        {"offload": {"params_cpu": 1.0, "optimizer_cpu": 1.0}, "precision": "bf16-mixed", "checkpointing": "full"},
        {"offload": {"params_cpu": 1.0}, "method": "lora", "lora": {"rank": 4}},
    ],
)
def test_weights_of_training_lie_in_host_memory_as_planned(config: dict[str, Any], tmp_path: Path) -> None:
    assert 5.0 < done(train(**config), tmp_path)["details"]["loss"] < 8.0


@pytest.mark.parametrize(("share", "held"), [(0.25, 0.25), (0.5, 0.5), (1.0, 1.0)])
def test_a_share_of_the_optimizer_lies_in_host_memory(share: float, held: float, tmp_path: Path) -> None:
    """A copy, a gradient and two moments of 2 bytes each, of whole tensors; two counters aside."""
    details = done(train(offload={"optimizer_cpu": share}), tmp_path)["details"]
    largest = 512 * 64
    assert details["optimizer_host_bytes"] == pytest.approx(8 * held * details["parameters"], abs=8 * largest)


def test_parameters_given_to_the_cpu_learn_like_the_others() -> None:
    """A bowl: whichever part of it the CPU steps, one step goes the same way."""
    ends = []
    for share in (0.0, 0.5, 1.0):
        params = [torch.nn.Parameter(torch.full((4,), float(i + 1))) for i in range(4)]
        optimizer = optimizer_of("adamw", params, offload_share=share)
        for _ in range(3):
            torch.stack([(p**2).sum() for p in params]).sum().backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        ends.append(torch.cat([p.detach() for p in params]))
    assert torch.allclose(ends[0], ends[1], atol=1e-7)
    assert torch.allclose(ends[0], ends[2], atol=1e-7)
    assert bool((ends[0] < torch.arange(1.0, 5.0).repeat_interleave(4)).all())


@pytest.mark.parametrize(("sharding", "where"), [("zero3", "meta"), ("zero2", "meta"), ("none", "cpu")])
def test_a_model_that_is_sharded_is_never_whole_anywhere(sharding: str, where: str) -> None:
    """Every rank fills its own shard; tied weights stay one, and buffers keep their values."""
    model: Any = model_of(train(sharding=sharding, data_parallel=2), Cpu(), {"attention": "sdpa"})
    assert {p.device.type for p in model.parameters()} == {where}
    assert {b.device.type for b in model.buffers()} == {"cpu"}
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_a_rank_that_fails_says_so_and_ends_the_others(tmp_path: Path) -> None:
    trial, result = tmp_path / "trial.json", tmp_path / "result.json"
    trial.write_text(json.dumps(train(precision="fp8", data_parallel=2).as_dict()), encoding="utf-8")
    environment = {**os.environ, "RANK": "1", "WORLD_SIZE": "2"}
    command = worker_command(trial, result, device="cpu")
    done = subprocess.run(command, env=environment, check=False, capture_output=True, timeout=120)
    assert done.returncode == 1
    assert json.loads(result.read_text(encoding="utf-8"))["state"] == "unsupported"


def test_int8_weights_of_torchao_are_made_layer_by_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model moved whole to the device would hold 16-bit copies of every layer there."""
    moved: list[str] = []
    model = build(hf_config(infer().model), dtype=torch.bfloat16, device="cpu")
    monkeypatch.setattr(type(model), "to", lambda self, *_, **__: moved.append(str(self.lm_head.weight.dtype)) or self)
    quantised(model, "int8-w8a8", "cpu")
    layers = [m for m in model.modules() if type(m) is torch.nn.Linear and m is not model.lm_head]
    assert {type(m.weight).__name__ for m in layers} == {"Int8Tensor"}
    assert len(moved) == 1  # the parent, when all of its layers are done


def test_tiny_models_keep_family_and_features() -> None:
    keys = {**MIXTRAL, "layer_types": ["full_attention"] * 16, "rope_parameters": {"rope_type": "default"}}
    small = tiny_keys(keys)
    assert (small["model_type"], small["num_local_experts"], small["num_key_value_heads"]) == ("mixtral", 4, 2)
    assert len(small["layer_types"]) == small["num_hidden_layers"] == 2
    assert small["tie_word_embeddings"] is True
