"""Simulated peaks equal real ones, byte for byte but for scalars and random-number state on the host.

Dropout is off, for its masks are bytes on a GPU and values on a CPU; attention is eager, for SDPA has other kernels.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch._C._profiler import _EventType

from validation.simulate import loops
from validation.simulate.case import Case, case_of
from validation.simulate.run import STEPS, log_of, model_of, quiet
from validation.simulate.tracker import Born, Died, Mark

pytestmark = pytest.mark.filterwarnings("ignore")  # the library warns of odd defaults and of things it deprecates

HOST_BYTES = 20_000
"""Scalars, step counters and, with checkpoints, 5 kB of random-number state a layer."""
SHAPE = {"hidden_size": 256, "num_hidden_layers": 2, "vocab_size": 1000, "num_attention_heads": 8}
LLAMA = {"model_type": "llama", "intermediate_size": 704, "num_key_value_heads": 2, **SHAPE}
NARROW = {**LLAMA, "vocab_size": 64}
"""With so few words the peak lies inside a layer's backward, not in the loss."""
GPT2 = {"model_type": "gpt2", **SHAPE, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
BERT = {"model_type": "bert", "intermediate_size": 1024, "architectures": ["BertForMaskedLM"], **SHAPE, **NO_DROPOUT}
QWEN3 = {"model_type": "qwen3", "intermediate_size": 704, "num_key_value_heads": 2, "head_dim": 64, **SHAPE}
GEMMA2 = {"model_type": "gemma2", "intermediate_size": 704, "num_key_value_heads": 2, "head_dim": 64, **SHAPE}
OPT = {"model_type": "opt", "ffn_dim": 1024, "word_embed_proj_dim": 256, "dropout": 0.0, **SHAPE}
T5 = {"model_type": "t5", "d_kv": 32, "d_ff": 704, "num_layers": 2, "dropout_rate": 0.0}
T5 |= {"d_model": 256, "num_heads": 8, "vocab_size": 1000}
VIT = {"model_type": "vit", "intermediate_size": 1024, "image_size": 64, "num_labels": 10, **SHAPE, **NO_DROPOUT}

TRAIN = {
    "mode": "train",
    "sequence": 128,
    "batch": {"global": 4, "micro": 4},
    "precision": "fp32",
    "checkpointing": "none",
    "attention": "eager",
    "engine_options": {"optimizer_step": "forloop"},
}
INFER = {
    "mode": "infer",
    "sequence": {"input": 128, "output": 5},
    "batch": 4,
    "precision": "fp32",
    "attention": "eager",
}
CHECKPOINTED = {"checkpointing": "full", "sequence": 256}
REENTRANT = {"engine_options": {"optimizer_step": "forloop", "checkpoint_reentrant": True}}
FOREACH = {"engine_options": {"optimizer_step": "foreach"}}
TWO_PASSES = {"batch": {"global": 8, "micro": 4}}
STATIC = {"engine_options": {"kv_layout": "static"}}
ADAPTERS = {"precision": "bf16", "method": "lora", "lora": {"rank": 8}}
SMALL_ADAPTERS = {"precision": "bf16", "method": "lora", "lora": {"rank": 8, "adapter_dtype": "bf16"}}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "llama trains": (LLAMA, TRAIN),
    "llama trains with foreach": (LLAMA, TRAIN | FOREACH),
    "llama trains in bf16": (LLAMA, TRAIN | {"precision": "bf16"}),
    "llama trains under autocast": (LLAMA, TRAIN | {"precision": "bf16-mixed"}),
    "llama checkpoints its layers": (NARROW, TRAIN | CHECKPOINTED),
    "llama checkpoints, reentrant": (NARROW, TRAIN | CHECKPOINTED | REENTRANT),
    "llama checkpoints under autocast": (NARROW, TRAIN | CHECKPOINTED | {"precision": "bf16-mixed"}),
    "llama trains adapters": (LLAMA, TRAIN | ADAPTERS),
    "llama trains bf16 adapters and checkpoints": (LLAMA, TRAIN | SMALL_ADAPTERS | CHECKPOINTED),
    "gpt2 accumulates gradients": (GPT2, TRAIN | TWO_PASSES),
    "gpt2 trains with adafactor": (GPT2, TRAIN | {"optimizer": "adafactor"}),
    "gpt2 trains with muon": (GPT2, TRAIN | {"optimizer": "muon"}),
    "bert trains": (BERT, TRAIN | {"optimizer": "sgd-momentum"}),
    "qwen3 trains": (QWEN3, TRAIN),
    "gemma2 trains": (GEMMA2, TRAIN),
    "opt trains": (OPT, TRAIN),
    "t5 trains": (T5, TRAIN),
    "llama writes": (LLAMA, INFER),
    "llama writes into a static cache": (LLAMA, INFER | STATIC),
    "gemma2 writes": (GEMMA2, INFER | {"precision": "bf16"}),
    "gpt2 writes": (GPT2, INFER),
    "t5 writes": (T5, INFER),
    "bert reads": (BERT, INFER),
    "vit looks": (VIT, INFER),
}


FIRST = {"train": f"inputs:{STEPS - 1}", "infer": "inputs"}
"""Where measuring starts: with optimizer state in place."""


def real_peak(case: Case) -> int:
    """Most bytes above the starting level that the CPU's allocator handed out, by its profiler events."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    with quiet():
        model = model_of(case, "cpu")
        # a profiler's events come without a dispatch mode, so nothing of the tracker takes part here
        profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True)

        started: list[str] = []

        def begin(phase: str) -> None:
            if phase == FIRST[case.mode] and not started:
                started.append(phase)
                gc.collect()
                profiler.start()

        watch = loops.Watch(begin=begin, holds=lambda tensor, category: None)
        if case.mode == "train":
            loops.train(model, case, device="cpu", steps=STEPS, watch=watch)
        else:
            loops.infer(model, case, device="cpu", watch=watch)
        profiler.stop()
    return _peak(sorted(_allocations(profiler.profiler.kineto_results.experimental_event_tree())))


def simulated_peak(case: Case) -> int:
    """The same of the simulation, unrounded."""
    level = peak = 0
    measuring = False
    for step in log_of(case):
        if isinstance(step, Mark):
            measuring = measuring or step.name == FIRST[case.mode]
        elif measuring and isinstance(step, Born) and step.storage.category != "kernel":
            level += step.storage.nbytes
            peak = max(peak, level)
        elif measuring and isinstance(step, Died) and step.storage.category != "kernel":
            level -= step.storage.nbytes
    return peak


def _allocations(events: Any) -> Iterator[tuple[int, int]]:
    for event in events:
        if event.typed[0] == _EventType.Allocation and event.typed[1].device.type == "cpu":
            yield event.start_time_ns, event.typed[1].alloc_size
        yield from _allocations(event.children)


def _peak(allocations: list[tuple[int, int]]) -> int:
    level = peak = 0
    for _, nbytes in allocations:
        level += nbytes
        peak = max(peak, level)
    return peak


@pytest.mark.parametrize("what", CASES)
def test_the_simulated_peak_is_the_real_one(what: str) -> None:
    keys, workload = CASES[what]
    case = case_of(workload, keys)
    real, simulated = real_peak(case), simulated_peak(case)
    assert real > 1_000_000
    assert abs(simulated - real) <= HOST_BYTES
