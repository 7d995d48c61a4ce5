"""What the types accept, fold, fill in and work out."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from planner.spec.load import load_spec_text
from planner.spec.messages import models_in
from planner.spec.types import (
    InferTargets,
    InferWorkload,
    Pin,
    Spec,
    TrainWorkload,
)

CONTRACT = """
version: 1
name: assistants-2027
objective: cost
horizon: {months: 36}
site: {region: de}
fleet:
  gpus: ["h100-*", l4]
  exclude_gpus: []
  procurement: [on_demand, reserved_1y, reserved_3y, spot, buy]
  providers: []
  regions: []
  owned: [{node: dgx-h100, count: 1}]
  limits: {usd_per_hour: 90, capex_usd: 2.0e6, power_kw: 60, rack_units: 42, gpus: 64, nodes: 12}
  spare_nodes: 0
  share_gpus: true
  memory_headroom: 0.05
  planning_quantile: 0.5
workloads:
  - name: chat
    model: meta-llama/Llama-3.1-8B
    mode: infer
    engine: vllm
    sequence: {input: 1024, output: 256}
    batch: auto
    precision: auto
    kv_precision: auto
    attention: flash
    offload: auto
    targets: {requests_per_second: 4, output_tokens_per_second: 1000, concurrency: 64, ttft_ms: 800, tpot_ms: 40}
  - name: tune
    model: meta-llama/Llama-3.1-70B
    mode: train
    engine: transformers
    method: qlora
    lora: {rank: 16, target_modules: all-linear, dropout: 0.0, adapter_dtype: fp32}
    optimizer: adamw
    precision: bf16-mixed
    sequence: 4096
    batch: {global: 64, micro: auto}
    checkpointing: auto
    sharding: auto
    targets: {tokens: 2.0e8, deadline_hours: 48}
    pin: {}
  - name: pinned
    model: meta-llama/Llama-3.1-8B
    mode: infer
    traffic: [{input: 200, output: 100, share: 0.7}, {input: 8000, output: 500, share: 0.3}]
    pin: {gpu: h100-sxm-80gb, node: dgx-h100, replicas: 1, tensor_parallel: 1, pipeline_parallel: 1,
      data_parallel: 1, expert_parallel: 1, context_parallel: 1, precision: bf16, kv_precision: bf16, batch: 8,
      attention: flash, offload: {weights_cpu: 0.25, weights_disk: 0.0, kv_cpu: 0.0}}
report: {title: T, organisation: O, author: A, language: en, currency: USD, accent: "#0B5FFF"}
periods:
  - {months: 12, demand: {chat: 1.0}}
  - {months: 12, demand: {chat: 2.5}}
"""


def infer(**keys: Any) -> InferWorkload:
    return InferWorkload.model_validate({"model": "gpt2", "mode": "infer", "sequence": 8, **keys})


def train(**keys: Any) -> TrainWorkload:
    return TrainWorkload.model_validate({"model": "gpt2", "mode": "train", "sequence": 8, "batch": 8, **keys})


def test_everything_in_the_contract_loads() -> None:
    spec = load_spec_text(CONTRACT).spec
    assert [w.name for w in spec.workloads] == ["chat", "tune", "pinned"]
    assert spec.objective == ("cost",)
    assert spec.fleet.limits.capex_usd == 2_000_000


@pytest.mark.parametrize(
    ("context", "prompt", "answer"), [(1, 1, 0), (2, 1, 1), (7, 6, 1), (8, 7, 1), (2048, 1792, 256), (4000, 3500, 500)]
)
def test_an_integer_context_is_split_and_keeps_its_length(context: int, prompt: int, answer: int) -> None:
    sequence = infer(sequence=context).sequence
    assert sequence is not None
    assert (sequence.input, sequence.output, sequence.num_tokens) == (prompt, answer, context)


def test_sequence_and_traffic_both_read_as_a_mix() -> None:
    mix = infer(sequence={"input": 10, "output": 5}).mix
    assert [(t.input, t.output, t.share) for t in mix] == [(10, 5, 1.0)]
    thirds = [{"input": n, "output": 1, "share": 0.3333333} for n in (1, 2, 3)]
    assert [t.input for t in infer(sequence=None, traffic=thirds).mix] == [1, 2, 3]


@pytest.mark.parametrize(
    "media", [{"image": {"width": 64, "height": 64}}, {"audio": {"seconds": 30}}, {"images": {"width": 9, "height": 9}}]
)
def test_media_models_need_no_sequence(media: dict[str, Any]) -> None:
    assert infer(sequence=None, **media).mix == ()


@pytest.mark.parametrize(
    ("keys", "engine"),
    [
        ({}, "transformers"),
        ({"targets": {}}, "transformers"),
        ({"targets": {"ttft_ms": 9}}, "vllm"),
        ({"targets": {"requests_per_second": 9}, "image": {"width": 9, "height": 9}}, "transformers"),
        ({"targets": {"requests_per_second": 9}, "audio": {"seconds": 9}}, "transformers"),
        ({"precision": "gguf-q4_k_m"}, "llamacpp"),
        ({"precision": ["gguf-q4_k_m", "bf16"]}, "transformers"),
        ({"engine": "SGLang@0.5.3.post3"}, "sglang@0.5.3.post3"),
        ({"engine": "trtllm@1.2.0rc1"}, "trtllm@1.2.0rc1"),
    ],
)
def test_the_engine_left_out_follows_from_what_is_asked(keys: dict[str, Any], engine: str) -> None:
    assert infer(**keys).engine == engine


def test_training_runs_on_transformers_unless_told() -> None:
    assert train().engine == "transformers"


def test_ids_are_case_insensitive() -> None:
    workload = infer(precision="BF16", kv_precision="FP8", attention="SDPA")
    assert (workload.precision, workload.kv_precision, workload.attention) == (("bf16",), "fp8", "sdpa")
    assert infer(precision="AUTO").precision == "auto"
    assert train(optimizer="AdamW", precision="BF16-mixed").precision == ("bf16-mixed",)


def test_one_stands_for_a_list_of_one() -> None:
    spec = Spec.model_validate({"objective": "power", "fleet": {"gpus": "h100-*"}, "workloads": [infer()]})
    assert spec.objective == ("power",)
    assert spec.fleet.gpus == ("h100-*",)


def test_adapters_follow_the_method() -> None:
    assert train().lora is None
    lora = train(method="qlora").lora
    assert lora is not None
    assert (lora.rank, lora.target_modules, lora.adapter_dtype) == (16, "all-linear", "fp32")
    listed = train(method="lora", lora={"rank": 8, "target_modules": ["q_proj", "v_proj"]}).lora
    assert listed is not None
    assert listed.target_modules == ("q_proj", "v_proj")


def test_a_pin_wins_over_what_is_left_open() -> None:
    workload = infer(pin={"batch": 4, "precision": "int8", "kv_precision": "fp8", "attention": "eager"})
    assert workload.effective_batch == 4
    assert workload.effective_precision == ("int8",)
    assert (workload.effective_kv_precision, workload.effective_attention) == ("fp8", "eager")
    trained = train(
        pin={"batch": 8, "micro_batch": 2, "precision": "bf16", "checkpointing": "full", "sharding": "zero3"}
    )
    assert (trained.effective_global_batch, trained.effective_micro_batch) == (8, 2)
    assert trained.effective_precision == ("bf16",)
    assert (trained.effective_checkpointing, trained.effective_sharding) == ("full", "zero3")


def test_without_a_pin_the_keys_decide() -> None:
    workload = infer(batch=3, precision=["bf16", "fp8"])
    assert (workload.effective_batch, workload.effective_precision) == (3, ("bf16", "fp8"))
    trained = train()
    assert (trained.effective_global_batch, trained.effective_micro_batch) == (8, "auto")
    assert (trained.effective_checkpointing, trained.effective_sharding) == ("auto", "auto")


def test_expert_parallel_adds_no_gpus() -> None:
    pin = Pin(tensor_parallel=4, pipeline_parallel=2, data_parallel=3, context_parallel=2, expert_parallel=8)
    assert pin.gpus_per_replica == 48
    assert Pin().gpus_per_replica == 1


def test_workloads_without_names_get_unique_ones() -> None:
    bare = {"model": "org/Some-Model_7B", "mode": "infer", "sequence": 8}
    inline = {"model": {"model_type": "llama", "hidden_size": 64}, "mode": "infer", "sequence": 8}
    given = {**bare, "name": "some-model_7b-infer-2"}
    spec = Spec.model_validate({"workloads": [bare, bare, given, inline]})
    assert [w.name for w in spec.workloads] == [
        "some-model_7b-infer",
        "some-model_7b-infer-3",
        "some-model_7b-infer-2",
        "inline-llama-infer",
    ]
    assert spec.workload("inline-llama-infer").model_label == "inline-llama"
    with pytest.raises(KeyError):
        spec.workload("nobody")


def test_persian_and_japanese_names_are_names() -> None:
    names = ["می\u200cخواهم", "日本語", "Übung 1", "a/b:c+d-e_f.g"]
    bare = {"model": "gpt2", "mode": "infer", "sequence": 8}
    spec = Spec.model_validate({"workloads": [{**bare, "name": n} for n in names]})
    assert [w.name for w in spec.workloads] == names


def test_one_character_written_two_ways_is_one_name() -> None:
    bare = {"model": "gpt2", "mode": "infer", "sequence": 8}
    with pytest.raises(ValidationError, match="is taken by workload 1"):
        Spec.model_validate({"workloads": [{**bare, "name": "u\u0308b"}, {**bare, "name": "\u00fcb"}]})


def test_a_spec_cannot_be_changed() -> None:
    workload = infer()
    with pytest.raises(ValidationError, match="frozen"):
        workload.batch = 3


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, True, "9", 1e16])
def test_a_target_is_a_positive_finite_number(value: object) -> None:
    with pytest.raises(ValidationError):
        InferTargets.model_validate({"ttft_ms": value})


def all_types() -> list[type[BaseModel]]:
    """Every type that a spec is made of."""
    found: list[type[BaseModel]] = [Spec]
    for model in found:
        for field in model.model_fields.values():
            found += [m for m in models_in(field.annotation) if m not in found]
    return found


def test_every_key_and_type_is_documented() -> None:
    types = all_types()
    assert len(types) >= 18
    undocumented = [f"{t.__name__}.{n}" for t in types for n, f in t.model_fields.items() if not f.description]
    assert undocumented == []
    assert [t.__name__ for t in types if not t.__doc__] == []


def test_every_type_is_frozen_strict_and_closed() -> None:
    for model in all_types():
        config = model.model_config
        assert (config["frozen"], config["strict"], config["extra"]) == (True, True, "forbid"), model


def test_the_types_load_neither_yaml_nor_numpy() -> None:
    code = "import sys, planner.spec.types; print({'yaml', 'numpy', 'ortools', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
