"""What a target can and cannot say, on runs made by hand."""

from __future__ import annotations

import ast
import dataclasses
import json
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from planner.estimate.document import ConfigValue
from planner.export import (
    accelerate,
    deepspeed,
    kubernetes,
    llamacpp,
    sglang,
    slurm,
    torchrun,
    transformers,
    trtllm,
    vllm,
)
from planner.export.shell import comment, script
from planner.export.types import CannotExportError, Run
from planner.export.yaml_text import yaml_text
from planner.units import GIB

INFER: Mapping[str, ConfigValue] = {
    "tensor_parallel": 2,
    "pipeline_parallel": 1,
    "data_parallel": 1,
    "expert_parallel": 1,
    "context_parallel": 1,
    "precision": "bf16",
    "kv_precision": "bf16",
    "attention": "flash",
    "batch": 32,
    "input_tokens": 1000,
    "output_tokens": 200,
}
TRAIN: Mapping[str, ConfigValue] = {
    "tensor_parallel": 1,
    "pipeline_parallel": 1,
    "data_parallel": 8,
    "precision": "bf16-mixed",
    "base_precision": "fp32",
    "attention": "flash",
    "batch": 64,
    "micro_batch": 2,
    "accumulation": 4,
    "sequence_tokens": 4096,
    "method": "full",
    "optimizer": "adamw",
    "checkpointing": "full",
    "sharding": "zero3",
}


def run_of(engine: str = "vllm", mode: str = "infer", **changes: Any) -> Run:
    """A replica on one node of eight GPUs; `config` and `options` are laid over the defaults."""
    base = INFER if mode == "infer" else TRAIN
    config = {**base, **changes.pop("config", {})}
    spec = {"sequence": {"input": 1000, "output": 200}} if mode == "infer" else {"targets": {"steps": 100}}
    made = Run(
        slug="chat",
        workload="chat",
        mode=mode,
        model="org/model-7b",
        engine=engine,
        engine_version="",
        offer="aws/p5.48xlarge/us-east-1",
        provider="aws",
        procurement="on_demand",
        node="p5.48xlarge",
        gpu="h100-sxm-80gb",
        replicas=1,
        gpus=2 if mode == "infer" else 8,
        nodes=1,
        node_gpus=8,
        node_ram_bytes=None,
        host_bytes=0,
        when="",
        hours=(),
        config=config,
        spec=spec,
        options={"optimizer_step": "foreach"} | changes.pop("options", {}),
        architecture={"num_hidden_layers": 32},
    )
    return dataclasses.replace(made, **changes)


def option(words: tuple[str, ...], flag: str) -> str:
    return words[words.index(flag) + 1]


def test_vllm_is_told_the_gib_of_weights_in_host_memory_on_each_gpu() -> None:
    run = run_of(config={"offload": {"weights_cpu": 0.5}}, host_bytes=9 * GIB)
    assert option(vllm.launch(run).words, "--cpu-offload-gb") == "4.500"


def test_vllm_over_two_nodes_serves_from_the_first() -> None:
    run = run_of(config={"tensor_parallel": 8, "pipeline_parallel": 2}, gpus=16, nodes=2)
    launch = vllm.launch(run)
    assert option(launch.words, "--nnodes") == "2"
    assert launch.later_nodes == ("--headless",)
    text = script(run, launch, title="t")
    for rank, is_headless in (("0", False), ("1", True)):
        assert ("--headless" in words_given(text, NODE_RANK=rank, HEAD_ADDRESS="10.0.0.1")) == is_headless


def words_given(text: str, **environment: str) -> list[str]:
    """What a script would run, had it not run it."""
    echo = text.replace("exec vllm", "printf '%s\\n' vllm").replace("exec llama-server", "printf '%s\\n' llama-server")
    done = subprocess.run(
        ["bash"], input=echo, capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin", **environment}
    )
    return done.stdout.splitlines()


def test_experts_are_dealt_to_all_gpus_or_none_in_vllm() -> None:
    run = run_of(config={"tensor_parallel": 2, "data_parallel": 4, "expert_parallel": 8}, gpus=8)
    words = vllm.launch(run).words
    assert "--enable-expert-parallel" in words
    assert option(words, "--max-num-seqs") == "8"
    with pytest.raises(CannotExportError, match="8 GPUs of tensor x data parallelism or to none, not to 4"):
        vllm.launch(run_of(config={"tensor_parallel": 2, "data_parallel": 4, "expert_parallel": 4}, gpus=8))


@pytest.mark.parametrize("precision", ["int4-awq", "int4-gptq", "int8-gptq", "int8-w8a8", "nvfp4"])
@pytest.mark.parametrize(
    ("engine", "launch"), [("vllm", vllm.launch), ("sglang", sglang.launch), ("trtllm", trtllm.launch)]
)
def test_a_quantised_checkpoint_has_to_be_named(engine: str, launch: Any, precision: str) -> None:
    run = run_of(engine, config={"precision": precision})
    made = launch(run)
    assert "org/model-7b" not in made.words
    text = script(run, made, title="t")
    assert f"# Needs a checkpoint of org/model-7b whose weights are quantised to {precision}." in text
    done = subprocess.run(
        ["bash"], input=text, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"}
    )
    assert done.returncode != 0
    assert f"quantised to {precision}" in done.stderr


@pytest.mark.parametrize(
    ("engine", "kv", "flag"),
    [("vllm", "fp8", "fp8"), ("vllm", "int8", "int8_per_token_head"), ("sglang", "fp8", "fp8_e4m3")],
)
def test_the_cache_has_the_planned_format(engine: str, kv: str, flag: str) -> None:
    launch = {"vllm": vllm.launch, "sglang": sglang.launch}[engine]
    assert option(launch(run_of(engine, config={"kv_precision": kv})).words, "--kv-cache-dtype") == flag


def test_a_cache_that_an_engine_lacks_is_refused() -> None:
    with pytest.raises(CannotExportError, match="sglang has no KV cache in int8"):
        sglang.launch(run_of("sglang", config={"kv_precision": "int8"}))


def test_sglang_attends_in_data_parallel_on_the_gpus_of_tensor_parallel() -> None:
    words = sglang.launch(run_of("sglang", options={"attention_data_parallel": True})).words
    assert "--enable-dp-attention" in words
    assert (option(words, "--tp-size"), option(words, "--dp-size")) == ("2", "2")
    assert option(words, "--max-running-requests") == "32"


def test_trtllm_reads_the_rest_from_yaml() -> None:
    options = {"kv_cache_free_gpu_memory_fraction": 0.9, "max_num_batched_tokens": 8192, "chunked_prefill": True}
    launch = trtllm.launch(run_of("trtllm", options=options, config={"kv_precision": "fp8"}))
    found = yaml.safe_load(launch.files["chat.yaml"])
    assert found["kv_cache_config"] == {"dtype": "fp8", "free_gpu_memory_fraction": 0.9}
    assert found["enable_chunked_prefill"] is True
    assert option(launch.words, "--config") == "chat.yaml"
    assert (option(launch.words, "--max_batch_size"), option(launch.words, "--max_seq_len")) == ("32", "1200")
    assert (option(launch.words, "--tp_size"), option(launch.words, "--max_num_tokens")) == ("2", "8192")


GGUF = {"tensor_parallel": 1, "precision": "gguf-q4_k_m", "kv_precision": "fp16", "batch": 4}


def llama(**shares: float) -> Run:
    return run_of("llamacpp", gpus=1, config={**GGUF, "offload": shares}, options={"kv_block_tokens": 256})


def test_llamacpp_moves_whole_layers() -> None:
    words = llamacpp.launch(llama(weights_cpu=0.25)).words
    assert option(words, "-ngl") == "25"  # 24 of 32 layers, and the output layer
    assert option(words, "-c") == str(1280 * 4)
    with pytest.raises(CannotExportError, match=r"3.20 of 32 layers .* 0.09375 \(3\) or 0.125 \(4\)"):
        llamacpp.launch(llama(weights_cpu=0.1))


def test_llamacpp_keeps_experts_of_the_first_layers_in_host_memory() -> None:
    words = llamacpp.launch(llama(experts_cpu=0.5)).words
    assert (option(words, "-ngl"), option(words, "--n-cpu-moe")) == ("33", "16")
    words = llamacpp.launch(llama(weights_cpu=0.25, experts_cpu=0.5)).words
    assert (option(words, "-ngl"), option(words, "--n-cpu-moe")) == ("25", "20")


@pytest.mark.parametrize(
    ("launch", "run", "message"),
    [
        (vllm.launch, run_of("vllm", "train"), "does not train"),
        (vllm.launch, run_of("sglang"), "plan runs it with sglang; use --to sglang"),
        (vllm.launch, run_of(config={"context_parallel": 2}), "context parallelism"),
        (vllm.launch, run_of(config={"offload": {"kv_cpu": 0.3}}), "part of the KV cache in host memory"),
        (trtllm.launch, run_of("trtllm", config={"data_parallel": 2}), "plan it as replicas"),
        (transformers.launch, run_of("transformers", config={"tensor_parallel": 2}), "use vllm or sglang"),
        (transformers.launch, run_of("transformers", "train"), "torchrun, accelerate or deepspeed"),
        (torchrun.launch, run_of("transformers", "train"), r"the plan shards \(zero3\)"),
        (accelerate.launch, run_of("transformers", "train", config={"sharding": "zero1"}), "use --to deepspeed"),
        (accelerate.launch, run_of("transformers", "train", config={"optimizer": "muon"}), "no optimizer muon"),
        (accelerate.launch, run_of("megatron", "train"), "use --to torchrun"),
        (deepspeed.launch, run_of("transformers", "train", config={"sharding": "none"}), "transformers or torchrun"),
        (deepspeed.launch, run_of("transformers", "train", config={"tensor_parallel": 2}), "tensor_parallel 2"),
    ],
)
def test_what_cannot_be_said_is_refused_with_what_fits(launch: Any, run: Run, message: str) -> None:
    with pytest.raises(CannotExportError, match=message):
        launch(run)


@pytest.mark.parametrize(("sharding", "stage"), [("zero1", 1), ("zero2", 2), ("zero3", 3)])
def test_deepspeed_has_the_stage_and_the_batches(sharding: str, stage: int) -> None:
    launch = deepspeed.launch(run_of("deepspeed", "train", config={"sharding": sharding}))
    found = json.loads(launch.files["chat.ds_config.json"])
    assert found["zero_optimization"]["stage"] == stage
    micro, accumulation = found["train_micro_batch_size_per_gpu"], found["gradient_accumulation_steps"]
    assert micro * accumulation * 8 == found["train_batch_size"] == 64
    assert (found["bf16"]["enabled"], found["fp16"]["enabled"]) == (True, False)
    assert launch.words == ("deepspeed", "--num_gpus", "8", "chat.py")
    assert "'deepspeed': 'chat.ds_config.json'" in launch.files["chat.py"]


def test_deepspeed_keeps_shares_of_the_optimizer_in_host_memory_with_stage_3_alone() -> None:
    def zero(sharding: str, **shares: float) -> dict[str, Any]:
        run = run_of("deepspeed", "train", config={"sharding": sharding, "offload": shares})
        found: dict[str, Any] = deepspeed.ds_config(run)["zero_optimization"]
        return found

    assert zero("zero3", optimizer_cpu=0.4)["offload_optimizer"]["ratio"] == 0.4
    assert "ratio" not in zero("zero2", optimizer_cpu=1.0)["offload_optimizer"]
    assert zero("zero3", optimizer_cpu=1.0, params_cpu=1.0)["offload_param"]["device"] == "cpu"
    with pytest.raises(CannotExportError, match="zero3 alone"):
        zero("zero2", optimizer_cpu=0.4)
    with pytest.raises(CannotExportError, match="zero3 alone"):
        zero("zero2", params_cpu=1.0)


@pytest.mark.parametrize(("sharding", "reshards"), [("zero3", True), ("zero2", False)])
def test_fsdp_shards_as_planned(sharding: str, reshards: bool) -> None:
    launch = accelerate.launch(run_of("transformers", "train", config={"sharding": sharding}))
    found = yaml.safe_load(launch.files["chat.accelerate.yaml"])
    assert (found["distributed_type"], found["num_processes"], found["mixed_precision"]) == ("FSDP", 8, "bf16")
    assert found["fsdp_config"]["fsdp_reshard_after_forward"] is reshards
    assert found["fsdp_config"]["fsdp_activation_checkpointing"] is True
    assert "'gradient_checkpointing': False" in launch.files["chat.py"]


def test_a_part_of_a_gpu_is_asked_for_by_its_profile() -> None:
    run = run_of(gpus=1, config={"tensor_parallel": 1, "mig": "3g.40gb"})
    launch = vllm.launch(run)
    deployment = next(iter(yaml.safe_load_all(kubernetes.manifest(run, launch))))
    limits = deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"nvidia.com/mig-3g.40gb": 1}
    assert "#SBATCH --gres=gpu:3g.40gb:1\n" in slurm.batch_script(run, launch)
    assert "1 MIG device UUIDs of profile 3g.40gb" in script(run, launch, title="t")


def test_a_service_over_several_nodes_is_no_deployment() -> None:
    run = run_of(config={"pipeline_parallel": 8}, gpus=16, nodes=2)
    with pytest.raises(CannotExportError, match="a replica over 2 nodes"):
        kubernetes.manifest(run, vllm.launch(run))


def test_training_over_nodes_finds_its_first_pod() -> None:
    run = run_of("megatron", "train", nodes=2, gpus=16, config={"data_parallel": 16, "sharding": "zero1"})
    documents = list(yaml.safe_load_all(kubernetes.manifest(run, torchrun.launch(run))))
    job = next(d for d in documents if d["kind"] == "Job")
    service = next(d for d in documents if d["kind"] == "Service")
    assert job["spec"]["completions"] == 2
    assert job["spec"]["template"]["spec"]["subdomain"] == service["metadata"]["name"] == "chat-0"
    env = {e["name"]: e.get("value") for e in job["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["HEAD_ADDRESS"] == "chat-0-0.chat-0"


HOSTILE = st.text(alphabet=st.sampled_from("ab '\"`$(){};|&<>\\\n\r\t#!*?~\u2028\u202e:@{}%"), min_size=1, max_size=30)


@given(name=HOSTILE, model=HOSTILE)
def test_no_name_leaves_its_quotes(name: str, model: str) -> None:
    """The script runs one command, whose second word is the model, whatever the names are."""
    run = run_of(workload=name, model=model, node=name, offer=name, node_gpus=2)
    text = script(run, vllm.launch(run), title=name)
    commands = [line for line in text.splitlines() if line and not line.startswith(("#", " "))]
    assert commands[0] == "set -euo pipefail"
    assert shlex.split(text.partition("\nexec ")[2])[2] == model


def test_a_hostile_name_runs_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    run = run_of(workload=f"$(touch {mark})", model=f"'; touch {mark}; '", node_gpus=2)
    assert words_given(script(run, vllm.launch(run), title=run.workload))[2] == f"'; touch {mark}; '"
    assert not mark.exists()


@given(text=HOSTILE)
def test_a_comment_is_one_line(text: str) -> None:
    assert len(comment(text).splitlines()) == 1


@pytest.mark.parametrize(
    "text", ["1e3", "0o17", "on", "null", "~", "12:30:00", "a: b", "x\ny\n", "- a", "{a}", "'", '"']
)
def test_strings_stay_strings_in_yaml(text: str) -> None:
    made = yaml_text({"key": text})
    assert yaml.safe_load(made) == {"key": text}
    assert not made.startswith(f"key: {text}\n")


def test_the_served_script_takes_quotes_in_the_models_name() -> None:
    run = run_of("transformers", gpus=1, model="a'\"\\b\n", config={"tensor_parallel": 1})
    text = transformers.launch(run).files["chat.py"]
    ast.parse(text)
    assert repr("a'\"\\b\n") in text
