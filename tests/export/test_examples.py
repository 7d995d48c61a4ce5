"""Every file of every target for the worked examples: it parses, it repeats, and its flags are the plan's figures."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from planner.errors import InputError
from planner.export.runs import runs_of
from planner.export.types import Run
from planner.export.write import TARGETS, exported
from planner.plan.types import Plan

NAMES = ("company", "startup", "laptop", "frontier", "growth")


def fits(run: Run, target: str) -> bool:
    """Whether a target has to have files for a run of the examples."""
    if target in ("vllm", "sglang", "trtllm", "llamacpp"):
        return run.engine == target
    if target in ("kubernetes", "slurm"):
        return run.mode == "infer" or run.engine != "torchtitan"
    if target == "skypilot":
        return run.procurement in ("on_demand", "spot") and not run.text("mig") and run.engine != "torchtitan"
    if target == "transformers":
        return run.engine == target and run.gpus == 1
    sharded = run.text("sharding") not in ("", "none")
    if target == "torchrun":
        return run.mode == "train" and (run.engine == "megatron" or (run.engine == "transformers" and not sharded))
    return run.mode == "train" and run.engine == "transformers" and sharded == (target == "deepspeed")


def files(plan: Plan, target: str) -> Mapping[str, str]:
    try:
        return exported(plan, target).files
    except InputError:
        return {}


def check_bash(name: str, text: str) -> None:
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{name}: {done.stderr}"


def flags(script: str) -> dict[str, str]:
    """Options of the command after `exec`, each with the word behind it."""
    words = shlex.split(script.partition("\nexec ")[2], comments=False)
    pairs = zip(words, [*words[1:], ""], strict=True)
    return {word: "" if value.startswith("-") else value for word, value in pairs if word.startswith("-")}


@pytest.mark.parametrize("target", TARGETS)
def test_every_file_parses_and_repeats_byte_for_byte(plans: Mapping[str, Plan], target: str) -> None:
    for plan_name, plan in plans.items():
        made = files(plan, target)
        for run in runs_of(plan):
            if run.engine != "torchtitan":
                is_made = any(name.startswith((f"{run.slug}.s", f"{run.slug}.k8s")) for name in made)
                assert is_made == fits(run, target), f"{plan_name}: {run.slug}"
        assert made == files(plan, target)
        for name, text in made.items():
            if name.endswith((".sh", ".sbatch")):
                assert "\nset -euo pipefail\n" in text
                check_bash(name, text)
            elif name.endswith(".py"):
                ast.parse(text)
                assert "@SETTINGS@" not in text
            elif name.endswith(".json"):
                assert json.loads(text)
            else:
                assert name.endswith(".yaml")
                assert list(yaml.safe_load_all(text))


def test_every_run_has_a_file_or_a_reason(plans: Mapping[str, Plan]) -> None:
    for plan in plans.values():
        names = {run.slug: run.workload for run in runs_of(plan)}
        found = exported(plan, "slurm")
        refused = {line.split(":")[0] for line in found.refused}
        assert refused <= {"fine-tune-8b"}
        for slug, workload in names.items():
            assert f"{slug}.sbatch" in found.files or workload in refused


@pytest.mark.parametrize("name", ["company", "startup", "growth"])
def test_vllm_serves_with_the_figures_of_the_plan(plans: Mapping[str, Plan], name: str) -> None:
    plan = plans[name]
    made = files(plan, "vllm")
    runs = [r for r in runs_of(plan) if r.engine == "vllm"]
    assert runs
    for run in runs:
        found, config = flags(made[f"{run.slug}.sh"]), run.config
        assert found["--tensor-parallel-size"] == str(config["tensor_parallel"])
        assert found["--pipeline-parallel-size"] == str(config["pipeline_parallel"])
        assert found["--data-parallel-size"] == str(config["data_parallel"])
        assert ("--enable-expert-parallel" in found) == (config["expert_parallel"] != 1)
        assert found["--max-num-seqs"] == str(config["batch"])
        assert found["--gpu-memory-utilization"] == "0.92"
        assert found["--kv-cache-dtype"] == "auto"
        assert found.get("--quantization") == ("fp8" if config["precision"] == "fp8" else None)
        assert found.get("--dtype") == ("bfloat16" if config["precision"] == "bf16" else None)
        assert "--cpu-offload-gb" not in found
        assert "Flags of vLLM 0.33" in made[f"{run.slug}.sh"]


def test_the_longest_request_of_a_mix_fits(plans: Mapping[str, Plan]) -> None:
    """company's chat-small has 600 + 250 tokens, and 6000 + 400."""
    assert flags(files(plans["company"], "vllm")["chat-small.sh"])["--max-model-len"] == "6400"


def test_the_frontier_model_is_split_as_planned(plans: Mapping[str, Plan]) -> None:
    run = next(r for r in runs_of(plans["frontier"]) if r.workload == "deepseek")
    found = flags(files(plans["frontier"], "sglang")["deepseek.sh"])
    assert found["--model-path"] == "deepseek-ai/DeepSeek-V3"
    for flag, key in (
        ("--tp-size", "tensor"),
        ("--pp-size", "pipeline"),
        ("--dp-size", "data"),
        ("--ep-size", "expert"),
    ):
        assert found[flag] == str(run.config[f"{key}_parallel"])
    assert found["--max-running-requests"] == str(run.config["batch"])
    assert found["--context-length"] == "2500"
    assert found["--mem-fraction-static"] == "0.88"
    assert found["--quantization"] == "fp8"


def test_the_laptop_keeps_whole_layers_in_host_memory(plans: Mapping[str, Plan]) -> None:
    """A share of 80 layers stays in host memory; `-ngl` counts the output layer beside those on the GPU."""
    (run,) = runs_of(plans["laptop"])
    text = files(plans["laptop"], "llamacpp")[f"{run.slug}.sh"]
    found = flags(text)
    assert (81 - int(found["-ngl"])) / 80 == pytest.approx(run.away("weights_cpu"))
    assert found["-c"] == str(plans["laptop"].workloads[0].memory.kv_cache_tokens) == "1536"
    assert (found["-np"], found["-ctk"], found["-ctv"]) == ("1", "f16", "f16")
    assert ': "${MODEL:?path of the GGUF file of meta-llama/Llama-3.1-70B in Q4_K_M}"' in text


def test_megatron_trains_on_every_node_as_planned(plans: Mapping[str, Plan]) -> None:
    run = next(r for r in runs_of(plans["frontier"]) if r.workload == "pretrain-70b")
    text = files(plans["frontier"], "torchrun")["pretrain-70b.sh"]
    found = flags(text)
    assert int(found["--nnodes"]) * int(found["--nproc-per-node"]) == run.gpus
    assert int(found["--nnodes"]) == run.nodes
    assert found["--tensor-model-parallel-size"] == str(run.config["tensor_parallel"])
    assert found["--pipeline-model-parallel-size"] == str(run.config["pipeline_parallel"])
    assert found["--micro-batch-size"] == str(run.config["accumulation"] and run.number("micro_batch"))
    assert (found["--global-batch-size"], found["--seq-length"]) == ("512", "8192")
    # a trillion tokens in batches of 512 x 8192
    assert found["--train-iters"] == "238419"
    assert "HEAD_ADDRESS:?" in text
    assert "NODE_RANK:?" in text


def settings(text: str) -> dict[str, Any]:
    """The literal that a script begins with."""
    nodes = (n for n in ast.parse(text).body if isinstance(n, ast.Assign))
    found = next(n for n in nodes if isinstance(n.targets[0], ast.Name) and n.targets[0].id == "SETTINGS")
    value: dict[str, Any] = ast.literal_eval(found.value)
    return value


@pytest.mark.parametrize(("name", "workload"), [("company", "tune-70b"), ("startup", "weekly-tune")])
def test_training_takes_batches_and_formats_of_the_plan(plans: Mapping[str, Plan], name: str, workload: str) -> None:
    run = next(r for r in runs_of(plans[name]) if r.workload == workload)
    found = settings(files(plans[name], "transformers")[f"{workload}.py"])
    arguments = found["arguments"]
    micro, accumulation = arguments["per_device_train_batch_size"], arguments["gradient_accumulation_steps"]
    assert micro * accumulation * run.degree("data_parallel") == run.config["batch"] == 32
    assert found["base_precision"] == "nf4"
    assert found["lora"]["r"] == run.config["lora_rank"] == 16
    assert arguments["gradient_checkpointing"] == (run.config["checkpointing"] == "full")
    assert (arguments["bf16"], arguments["fp16"]) == (
        run.config["precision"] == "bf16-mixed",
        run.config["precision"] == "fp16-mixed",
    )
    tokens_per_step = 32 * found["sequence_tokens"]
    asked = run.spec["targets"]["tokens"]
    assert 0 <= arguments["max_steps"] * tokens_per_step - asked < tokens_per_step


def test_embeddings_run_in_the_plans_batch(plans: Mapping[str, Plan]) -> None:
    run = next(r for r in runs_of(plans["company"]) if r.workload == "search")
    found = settings(files(plans["company"], "transformers")["search.py"])
    assert (found["class"], found["dtype"], found["output_tokens"]) == ("AutoModel", "float16", 0)
    assert found["batch"] == run.config["batch"]


@pytest.mark.parametrize("name", NAMES)
def test_kubernetes_asks_for_the_gpus_of_the_plan(plans: Mapping[str, Plan], name: str) -> None:
    """Summed over pods, a run asks for as many GPUs as the plan gave it, of the same kind."""
    made = files(plans[name], "kubernetes")
    for run in runs_of(plans[name]):
        if f"{run.slug}.k8s.yaml" not in made:
            continue
        asked = 0
        for document in yaml.safe_load_all(made[f"{run.slug}.k8s.yaml"]):
            if document["kind"] not in ("Deployment", "Job"):
                continue
            spec = document["spec"]
            pods = spec["replicas"] if document["kind"] == "Deployment" else spec["completions"]
            container = spec["template"]["spec"]["containers"][0]
            check_bash(run.slug, container["args"][0])
            limits = container["resources"]["limits"]
            key = f"nvidia.com/mig-{run.config['mig']}" if run.text("mig") else "nvidia.com/gpu"
            assert set(limits) == {key}
            asked += pods * limits[key]
        assert asked == run.gpus * run.replicas


def test_host_memory_is_asked_for(plans: Mapping[str, Plan]) -> None:
    (text,) = files(plans["laptop"], "kubernetes").values()
    deployment = next(iter(yaml.safe_load_all(text)))
    asked = deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["memory"]
    host_bytes = plans["laptop"].workloads[0].memory.host_bytes
    assert 0 <= int(asked.removesuffix("Gi")) * 1024**3 - host_bytes < 1024**3


def test_slurm_asks_for_nodes_and_gpus_of_the_plan(plans: Mapping[str, Plan]) -> None:
    text = files(plans["frontier"], "slurm")["pretrain-70b.sbatch"]
    found = dict(re.findall(r"^#SBATCH --([a-z-]+)=(\S+)$", text, re.MULTILINE))
    assert (found["nodes"], found["gpus-per-node"], found["time"]) == ("8", "8", str(2160 * 60))


@pytest.mark.parametrize("name", ["company", "startup", "growth"])
def test_skypilot_rents_what_the_plan_rents(plans: Mapping[str, Plan], name: str) -> None:
    made = files(plans[name], "skypilot")
    for run in runs_of(plans[name]):
        text = made.get(f"{run.slug}.sky.yaml")
        if text is None:
            continue
        task = yaml.safe_load(text)
        assert task["num_nodes"] == run.nodes
        assert task["resources"]["infra"].split("/")[0] == run.offer.split("/")[0] == run.provider
        assert task["resources"]["use_spot"] == (run.procurement == "spot")
        gpu, _, count = task["resources"]["accelerators"].partition(":")
        assert gpu.replace("RTX", "rtx-").lower() == "-".join(run.gpu.split("-")[: 2 if "rtx" in run.gpu else 1])
        assert int(count) == run.node_gpus
        check_bash(run.slug, task["run"])


def test_each_period_has_its_own_files(plans: Mapping[str, Plan]) -> None:
    plan = plans["growth"]
    made = files(plan, "kubernetes")
    for period in plan.periods:
        placed = sum(len(w.placements) for w in period.workloads)
        assert sum(f"-period{period.index + 1}" in name for name in made) == placed > 0
    slug = next(r.slug for r in runs_of(plan) if r.when)
    assert "# For period 1, months 1 to 12" in made[f"{slug}.k8s.yaml"]
