"""`plan estimate` with flags: a spec of one workload, and where it fits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RunPlan = Callable[..., Any]
LLAMA = ("estimate", "--model", "llama-2-7b", "--mode", "infer", "--batch", "1", "--precision", "fp16")


def answered(plan: RunPlan, *arguments: object) -> dict[str, Any]:
    done = plan(*arguments, "--json")
    assert done.code == 0, done.err
    (found,) = json.loads(done.out)["workloads"]
    return dict(found)


def test_flags_and_spec_give_the_same_estimate(plan: RunPlan, folder: Path) -> None:
    (folder / "spec.yaml").write_text(
        "workloads:\n  - {model: llama-2-7b, mode: infer, engine: vllm, batch: 4, sequence: {input: 900, output: 100},"
        " precision: bf16, kv_precision: fp8, pin: {gpu: h100-sxm-80gb, tensor_parallel: 2, replicas: 2}}\n"
    )
    flags = (
        "estimate --model llama-2-7b --mode infer --engine vllm --batch 4 --input 900 --output 100 --precision bf16 "
        "--kv-precision fp8 --gpu h100-sxm-80gb --tensor-parallel 2 --replicas 2"
    )
    assert answered(plan, *flags.split()) == answered(plan, "estimate", "spec.yaml")


def test_training_flags_reach_the_estimate(plan: RunPlan) -> None:
    flags = (
        "estimate --model llama-2-7b --mode train --method lora --lora-rank 8 --batch 16 --micro-batch 2 "
        "--sequence 1024 --optimizer adamw-8bit --checkpointing full --gpu a100-sxm-80gb"
    )
    found = answered(plan, *flags.split())
    assert found["mode"] == "train"
    assert found["config"]["checkpointing"] == "full"
    assert found["config"]["micro_batch"] == 2
    assert found["memory"]["per_gpu_bytes"]["adapters"] > 0


def test_the_context_splits_into_prompt_and_answer_and_none_is_lost(plan: RunPlan) -> None:
    whole = answered(plan, *LLAMA, "--sequence", 2048, "--gpu", "l4")
    parts = answered(plan, *LLAMA, "--input", 1792, "--output", 256, "--gpu", "l4")
    assert whole["memory"] == parts["memory"]


def test_without_a_gpu_every_gpu_that_fits_is_listed(plan: RunPlan) -> None:
    done = plan(*LLAMA, "--sequence", 2048)
    assert done.code == 0, done.err
    fits = done.out[done.out.index("Fits ") :]
    named = {line.split()[0] for line in fits.splitlines()[2:] if line}
    assert {"l4", "h100-sxm-80gb", "rtx-4090-24gb"} <= named
    assert not {"rtx-3060-12gb", "rtx-4060-8gb"} & named
    assert "Too small" in fits


def test_a_config_json_of_ones_own_is_a_model(plan: RunPlan, folder: Path) -> None:
    config = {
        "model_type": "llama", "num_hidden_layers": 2, "hidden_size": 128, "intermediate_size": 256,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 1000, "tie_word_embeddings": False,
    }  # fmt: skip
    (folder / "mine").mkdir()
    (folder / "mine/config.json").write_text(json.dumps(config))
    flags = ["estimate", "--mode", "infer", "--batch", 1, "--sequence", 64, "--gpu", "l4", "--model"]
    # 2 x 1000 x 128 embeddings and head, 2 layers of (2 + 1) x 128 x 128 + 3 x 128 x 256 + 2 x 128, a last norm of 128
    found = answered(plan, *flags, "mine/config.json")
    assert found["params_total"] == 256_000 + 2 * (49_152 + 98_304 + 256) + 128
    assert answered(plan, *flags, folder / "mine/config.json")["params_total"] == found["params_total"]


@pytest.mark.parametrize(
    "arguments", [["--gpu", "l44"], ["--engine", "vlm"], ["--gpu", "l4", "--tensor-parallel", "3"]]
)
def test_an_impossible_pin_is_a_message_and_in_json_an_entry(plan: RunPlan, arguments: list[str]) -> None:
    done = plan(*LLAMA, "--sequence", 512, *arguments)
    assert done.code == 2
    assert done.err.startswith("plan: ")
    assert answered(plan, *LLAMA, "--sequence", 512, *arguments).keys() == {"name", "error"}


SPEC_OF_TWO = """
workloads:
  - {name: lost, model: ./CONFIG, mode: infer, batch: 1, sequence: 64, pin: {gpu: l4}}
  - {name: good, model: gpt2, mode: infer, batch: 1, sequence: 64, pin: {gpu: l4}}
"""


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (None, "there is no such file"),
        ("{", "is not the JSON of a config"),
        ("[]", "holds no mapping"),
        ('{"model_type": "llama", "hidden_sise": 1}', "hidden_sise"),
    ],
)
def test_a_model_file_that_cannot_be_read_is_that_workloads_error_in_json(
    plan: RunPlan, folder: Path, config: str | None, words: str
) -> None:
    (folder / "spec.yaml").write_text(SPEC_OF_TWO.replace("CONFIG", "mine.json"))
    if config is not None:
        (folder / "mine.json").write_text(config)
    done = plan("estimate", "spec.yaml", "--json")
    assert done.code == 0, done.err
    lost, good = json.loads(done.out)["workloads"]
    assert lost["name"] == "lost"
    assert words in lost["error"]
    assert good["fits"]
    told = plan("estimate", "spec.yaml")
    assert (told.code, told.out.count("lost")) == (2, 0)
    assert words in told.err


def test_a_mistake_of_the_document_still_fails_the_whole_of_it(plan: RunPlan, folder: Path) -> None:
    (folder / "spec.yaml").write_text(SPEC_OF_TWO.replace("batch: 1", "batch: many", 1))
    done = plan("estimate", "spec.yaml", "--json")
    assert (done.code, done.out) == (2, "")
    assert "spec.yaml:3:" in done.err


def test_advice_stands_beside_each_estimate_unless_it_is_not_wanted(plan: RunPlan) -> None:
    found = answered(plan, *LLAMA, "--sequence", 2048, "--gpu", "t4")
    assert not found["fits"]
    assert {"max_batch", "longest_context", "fits_on", "changes"} <= found["advice"].keys()
    assert any(c["keys"] == {"kv_precision": "int8"} for c in found["advice"]["changes"])
    assert answered(plan, *LLAMA, "--sequence", 2048, "--gpu", "t4", "--no-advice")["advice"] is None


def test_people_read_what_is_to_spare_and_what_would_make_it_fit(plan: RunPlan) -> None:
    tight = plan(*LLAMA, "--sequence", 2048, "--gpu", "t4").out
    assert "To make it fit, one of:" in tight
    assert "8-bit KV cache (int8)" in tight
    assert "tensor parallel" not in tight, "transformers deals layers out in stages"
    roomy = plan(*LLAMA, "--sequence", 2048, "--gpu", "l4").out
    assert "GiB to spare, ±" in roomy
    assert "Longest context that fits: 4,096 tokens (3,584 in, 512 out), the model's maximum at batch 1" in roomy
    assert "cheapest first:" in roomy


@pytest.mark.parametrize("share", ["0", "1"])
def test_nothing_is_certain(plan: RunPlan, share: str) -> None:
    done = plan(*LLAMA, "--sequence", 2048, "--gpu", "l4", "--confidence", share)
    assert done.code == 2
    assert "between 0 and 1" in done.err


def test_what_fits_at_the_median_may_not_fit_surely(plan: RunPlan) -> None:
    flags = ("--sequence", 2560, "--gpu", "rtx-a4000-16gb", "--json")
    median = json.loads(plan(*LLAMA, *flags).out)
    surely = json.loads(plan(*LLAMA, *flags, "--confidence", "0.98").out)
    assert (median["fits_at_confidence"], median["confidence"]) == (None, 0.9)
    assert (surely["fits_at_confidence"], surely["confidence"]) == (0.98, 0.98)
    assert (median["workloads"][0]["fits"], surely["workloads"][0]["fits"]) == (True, False)
    assert "too few" in plan(*LLAMA, *flags[:-1], "--confidence", "0.98").out
