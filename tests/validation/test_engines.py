"""Serving engines: what they say at start-up is read from real wording; their own clients are run to the end."""

from __future__ import annotations

import json
import socket
import struct
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from validation import engines
from validation.card import Card
from validation.engines import llamacpp, sglang, vllm
from validation.engines.dummy import model_folder
from validation.engines.gguf import GgufError, write_gguf
from validation.engines.server import benchmark_figures
from validation.trial import Trial


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's own address is reached, since the servers here are children of the test; nothing beyond."""
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: tuple[str, int]) -> None:
        assert address[0] == "127.0.0.1", f"a test wants to connect to {address!r}"
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)


GIB = 2**30
MIB = 2**20
VLLM = """\
(Worker_TP1 pid=26348) INFO 11-06 10:51:36 [gpu_model_runner.py:2653] Model loading took 14.9889 GiB and 3.1 seconds
(Worker_TP1 pid=26348) INFO 11-06 10:51:36 [backends.py:209] Directly load the compiled graph(s) for dynamic shape
(Worker_TP0 pid=26347) INFO 11-06 10:51:48 [gpu_worker.py:349] Available KV cache memory: 2.30 GiB
(EngineCore_DP0 pid=26283) INFO 11-06 10:51:48 [kv_cache_utils.py:1229] GPU KV cache size: 75,840 tokens
(EngineCore_DP0 pid=26283) INFO 11-06 10:51:48 [kv_cache_utils.py:1234] Maximum concurrency for 120,000 tokens: 2.48x
"""
"""Wording of vLLM's V1 engine (vllm-project/vllm issue 28228)."""
NEW_VLLM = """\
(EngineCore pid=7) INFO 09-24 10:00:01 [model_runner.py:407] Model loading took 15.27 GiB memory and 3.120001 seconds
(EngineCore pid=7) INFO 09-24 10:00:21 [gpu_worker.py:721] Available KV cache memory: 13.13 GiB
(EngineCore pid=7) INFO 09-24 10:00:21 [kv_cache_utils.py:2481] GPU KV cache size: 89,040 tokens, Maximum concurrency \
for 16,384 tokens per request: 5.43x
"""
"""Since 2026 size and concurrency share a line (vllm/v1/core/kv_cache_utils.py)."""
TWO_STAGES = """\
(Worker_PP0 pid=1) INFO [gpu_model_runner.py:1] Model loading took 7.5 GiB and 3.1 seconds
(Worker_PP1 pid=2) INFO [gpu_model_runner.py:1] Model loading took 8.1 GiB and 3.1 seconds
(Worker_PP0 pid=1) INFO [gpu_worker.py:1] Available KV cache memory: 10.20 GiB
(Worker_PP1 pid=2) INFO [gpu_worker.py:1] Available KV cache memory: 9.80 GiB
"""
FIRST_VLLM = "INFO 04-20 12:00:00 gpu_executor.py:94] # GPU blocks: 7463, # CPU blocks: 2048\n"
"""vLLM 0.4: the pool in blocks of 16 tokens."""
OLD_VLLM = "INFO 01-30 03:18:12 gpu_model_runner.py:848] Loading model weights took 67.7229 GB\n"
"""vllm-project/vllm pull request 12569."""
SGLANG = """\
[2025-10-16 09:06:10 TP0] Load weight begin. avail mem=137.34 GB
[2025-10-16 09:06:19 TP0] Load weight end. type=Qwen3ForCausalLM, avail mem=129.5 GB, mem usage=7.75 GB.
[2025-10-16 09:06:20 TP0] KV Cache is allocated. #tokens: 367404, K size: 8.23 GB, V size: 8.23 GB
[2025-10-16 09:06:21 TP0] max_total_num_tokens=367404, chunked_prefill_size=8192, available_gpu_mem=17.22 GB
"""
"""Wording of SGLang 0.5 (sgl-project/sglang pull request 11716, issue 29575; vllm-project/vllm issue 21348)."""
NEW_SGLANG = """\
[2026-07-15 13:14:53] Load weight end. elapsed=19.09 s, type=Qwen3MoeForCausalLM, quant=fp8, avail mem=230.20 GB, \
mem usage=56.98 GB.
[2026-07-15 13:14:54] KV Cache is allocated. dtype: torch.bfloat16, #tokens: 1669816, K size: 76.44 GB, V size: 76.44 GB
[2026-07-15 13:15:59] Load weight end. elapsed=9.49 s, type=Draft, avail mem=30.67 GB, mem usage=-1.86 GB.
"""
"""sgl-project/sglang pull request 18263; a draft model is loaded after the model itself."""
LATENT_SGLANG = "[2026-03-01 10:00:00] KV Cache is allocated. #tokens: 512000, KV size: 17.58 GB\n"
SLIDING_SGLANG = "SWAKVPool mem usage: 79.94 GB, swa size: 798276, full size: 997846\n"
LLAMA_CPP = """\
llm_load_tensors: offloaded 41/41 layers to GPU
llm_load_tensors:        CPU buffer size =  1640.62 MiB
llm_load_tensors:      CUDA0 buffer size =  5434.38 MiB
llm_load_tensors:      CUDA1 buffer size = 13989.53 MiB
llama_kv_cache_init:      CUDA0 KV buffer size =  1536.00 MiB
llama_kv_cache_init:      CUDA1 KV buffer size =  3584.00 MiB
llama_new_context_with_model: KV self size  = 5120.00 MiB, K (f16): 2560.00 MiB, V (f16): 2560.00 MiB
llama_new_context_with_model:  CUDA_Host  output buffer size =     1.95 MiB
llama_new_context_with_model:      CUDA0 compute buffer size =   672.01 MiB
llama_new_context_with_model:      CUDA1 compute buffer size =   520.02 MiB
llama_new_context_with_model:  CUDA_Host compute buffer size =    12.01 MiB
"""
"""Wording of llama.cpp (ggml-org/llama.cpp pull request 6122)."""
NEW_LLAMA_CPP = """\
load_tensors:        CUDA0 model buffer size =  4156.00 MiB
llama_kv_cache:      CUDA0 KV buffer size =   144.00 MiB
llama_context:      CUDA0 compute buffer size =   300.75 MiB
"""
NEWEST_LLAMA_CPP = """\
0.00.014.528 I cmn  common_init_: fitting params to device memory ...
0.00.016.290 I load_tensors:        CUDA0 model buffer size =     0.00 MiB
0.00.016.395 I llama_kv_cache:      CUDA0 KV buffer size =     0.00 MiB
0.00.019.617 I sched_reserve:      CUDA0 compute buffer size =   300.75 MiB
0.00.023.974 I load_tensors:   CPU_Mapped model buffer size =   281.81 MiB
0.00.023.975 I load_tensors:        CUDA0 model buffer size =  4156.00 MiB
0.00.024.757 I llama_kv_cache:      CUDA0 KV buffer size =   144.00 MiB
0.00.027.213 I sched_reserve:      CUDA0 compute buffer size =   300.75 MiB
"""
"""Wording of llama.cpp of October 2026, which first looks at what would fit; seen with CPU for CUDA0."""
BENCH = """\
ggml_cuda_init: found 1 CUDA devices:
[
  {"n_prompt": 512, "n_gen": 0, "avg_ns": 104000000, "avg_ts": 4918.36},
  {"n_prompt": 512, "n_gen": 128, "avg_ns": 1384000000, "avg_ts": 100.0}
]
"""
SERVED = {
    "duration": 30.85,
    "request_throughput": 32.42,
    "output_throughput": 6582.87,
    "total_token_throughput": 14029.44,
    "mean_ttft_ms": 9626.13,
    "mean_tpot_ms": 77.86,
}
"""vllm-project/vllm pull request 18566, as `--save-result` names the figures."""


def trial(engine: str, **config: object) -> Trial:
    base = {"precision": "bf16", "kv_precision": "bf16", "batch": 8, "input_tokens": 512, "output_tokens": 128}
    keys = {"model_type": "llama", "hidden_size": 64, "vocab_size": 100, "num_hidden_layers": 40}
    return Trial(
        id="t", mode="infer", engine=engine, gpu="l4", gpus=1, model=keys, config={**base, **config}, time_limit_s=30
    )


def test_vllm_says_its_weights_and_its_pool() -> None:
    assert vllm.start_up(VLLM) == {"weights": 14.9889 * GIB, "kv_pool": 2.30 * GIB, "kv_tokens": 75840.0}
    assert vllm.start_up(OLD_VLLM) == {"weights": 67.7229 * GIB}
    assert vllm.start_up(NEW_VLLM) == {"weights": 15.27 * GIB, "kv_pool": 13.13 * GIB, "kv_tokens": 89040.0}
    assert vllm.start_up(FIRST_VLLM) == {"kv_tokens": 7463 * 16}
    assert vllm.start_up("INFO nothing of interest") == {}


def test_of_several_workers_the_fullest_counts() -> None:
    assert vllm.start_up(TWO_STAGES) == {"weights": 8.1 * GIB, "kv_pool": pytest.approx(9.8 * GIB)}


def test_sglang_says_its_weights_and_its_pool() -> None:
    seen = sglang.start_up(SGLANG)
    assert seen == {"weights": 7.75 * GIB, "kv_pool": pytest.approx(16.46 * GIB), "kv_tokens": 367404.0}
    new = sglang.start_up(NEW_SGLANG)
    assert new == {"weights": 56.98 * GIB, "kv_pool": pytest.approx(152.88 * GIB), "kv_tokens": 1669816.0}
    assert sglang.start_up(LATENT_SGLANG) == {"kv_pool": pytest.approx(17.58 * GIB), "kv_tokens": 512000.0}
    assert sglang.start_up(SLIDING_SGLANG) == {"kv_pool": pytest.approx(79.94 * GIB)}


def test_llama_cpp_says_its_buffers_on_gpus_and_not_those_on_the_host() -> None:
    assert llamacpp.buffers(LLAMA_CPP) == {
        "weights": pytest.approx((5434.38 + 13989.53) * MIB),
        "kv_pool": 5120 * MIB,
        "workspace": pytest.approx((672.01 + 520.02) * MIB),
    }
    new = llamacpp.buffers(NEW_LLAMA_CPP)
    assert new == {"weights": 4156 * MIB, "kv_pool": 144 * MIB, "workspace": 300.75 * MIB}
    assert llamacpp.buffers(NEWEST_LLAMA_CPP) == new


def test_llama_bench_gives_prompt_and_token_times() -> None:
    seen = llamacpp.bench_figures(llamacpp.bench_rows(BENCH), trial("llamacpp"))
    assert (seen["ttft"], seen["tpot"]) == (pytest.approx(0.104), pytest.approx(0.01))
    assert seen["output_rate"] == pytest.approx(128 / 1.384)
    assert seen["token_rate"] == pytest.approx(640 / 1.384)
    assert llamacpp.bench_rows("error: no such file") == []


def test_a_serving_benchmark_gives_rates_and_latencies_in_seconds() -> None:
    seen = benchmark_figures(SERVED)
    assert (seen["ttft"], seen["tpot"]) == (pytest.approx(9.62613), pytest.approx(0.07786))
    assert (seen["output_rate"], seen["token_rate"], seen["request_rate"]) == (6582.87, 14029.44, 32.42)


def test_the_dummy_model_is_a_config_and_a_tokenizer_whose_text_and_ids_answer_each_other(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    folder = model_folder(trial("vllm"), tmp_path / "m")
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["LlamaForCausalLM"]
    words = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert words.get_vocab_size() == 100
    assert words.encode(words.decode([5, 99, 1, 42])).ids == [5, 99, 1, 42]


def test_a_smaller_card_scales_the_memory_budget() -> None:
    card = Card(index=0, uuid="u", name="NVIDIA H200", total_bytes=140 * GIB, used_bytes=0, driver="1", mig="")
    small = trial("vllm").emulating(70 * GIB)
    small = replace(small, options={"gpu_memory_utilization": 0.92})
    assert vllm.utilisation(small, [card]) == pytest.approx(0.46)
    assert vllm.utilisation(trial("vllm"), [card]) is None
    fraction = replace(trial("sglang").emulating(70 * GIB), options={"mem_fraction_static": 0.88})
    assert "--mem-fraction-static 0.4400" in " ".join(sglang.serve_command(fraction, Path("m"), port=1, cards=[card]))


@pytest.mark.parametrize(
    ("precision", "says"),
    [
        ("int4-awq", {"quant_method": "awq", "bits": 4, "group_size": 64}),
        ("int8-gptq", {"quant_method": "gptq", "bits": 8, "group_size": 64}),
        ("fp8-block", {"quant_method": "fp8", "weight_block_size": [128, 128]}),
    ],
)
def test_a_quantised_checkpoint_is_told_by_its_config(precision: str, says: dict[str, object], tmp_path: Path) -> None:
    asked = replace(trial("vllm", precision=precision), options={"group_size": 64})
    config = json.loads((model_folder(asked, tmp_path / "m") / "config.json").read_text())
    assert says.items() <= config["quantization_config"].items()


def test_a_benchmark_some_of_whose_requests_failed_gives_no_rates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_vllm(tmp_path, monkeypatch, served={**SERVED, "completed": 30})
    work = tmp_path / "work"
    work.mkdir()
    done = engines.replay(trial("vllm"), work, gguf=None, cards=())
    assert (done.outcome.state, done.outcome.detail[:24]) == ("error", "2 of 32 requests failed:")
    assert "output_rate" not in done.result["measured"]
    assert done.result["measured"]["kv_tokens"] == 75840.0


def test_the_cause_is_told_and_not_what_follows_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "ValueError: unknown dtype\\nRuntimeError: Engine core initialization failed. See root cause above."
    fake_vllm(tmp_path, monkeypatch, before=f"sys.exit('{lines}')")
    work = tmp_path / "work"
    work.mkdir()
    done = engines.replay(trial("vllm"), work, gguf=None, cards=())
    assert done.outcome.detail == "exit code 1: ValueError: unknown dtype"


FAKE_VLLM = """#!{python}
import http.server, json, sys, time
given = dict(zip(sys.argv, sys.argv[1:]))
if sys.argv[1] == "bench":
    assert given["--max-concurrency"] == "8" and given["--random-input-len"] == "512", sys.argv
    open(given["--result-dir"] + "/" + given["--result-filename"], "w").write(json.dumps({served}))
    sys.exit(0)
assert json.load(open(sys.argv[2] + "/config.json"))["model_type"] == "llama" and given["--load-format"] == "dummy"
{before}
print({said!r}, flush=True)
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *a): pass
http.server.HTTPServer(("127.0.0.1", int(given["--port"])), Health).serve_forever()
"""


def fake_vllm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str = "", served: dict[str, float] | None = None
) -> None:
    """A program that behaves like vLLM's server and client."""
    program = tmp_path / "bin" / "vllm"
    program.parent.mkdir()
    program.write_text(FAKE_VLLM.format(python=sys.executable, served=served or SERVED, said=VLLM, before=before))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")


def test_a_server_is_started_measured_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_vllm(tmp_path, monkeypatch)
    work = tmp_path / "work"
    work.mkdir()
    done = engines.replay(trial("vllm"), work, gguf=None, cards=())
    assert done.outcome.state == "ok", (done.outcome, done.talk)
    assert done.result["measured"]["kv_tokens"] == 75840.0
    assert done.result["measured"]["output_rate"] == 6582.87


@pytest.mark.parametrize(
    ("before", "state"),
    [
        ("sys.exit('torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB')", "oom"),
        ("sys.exit('ValueError: No available memory for the cache blocks.')", "oom"),
        ("sys.exit('16.0 GiB KV cache is needed, larger than the available KV cache memory (7 GiB)')", "oom"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed"),
        ("sys.exit('unknown argument')", "error"),
    ],
)
def test_a_server_that_never_serves_has_its_own_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, state: str
) -> None:
    fake_vllm(tmp_path, monkeypatch, before)
    work = tmp_path / "work"
    work.mkdir()
    assert engines.replay(trial("vllm"), work, gguf=None, cards=()).outcome.state == state


def fake_llama_bench(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that reads the model file's first word and talks as llama-bench does."""
    program = folder / "llama-bench"
    program.write_text(f'#!/bin/sh\nhead -c 4 "$2" && echo\necho "$@"\ncat <<\'END\'\n{LLAMA_CPP}{BENCH}END\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_llama_cpp_runs_a_file_of_random_weights_or_asks_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_llama_bench(tmp_path, monkeypatch)
    work = tmp_path / "work"
    work.mkdir()
    keys = {"hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}
    small = trial("llamacpp", precision="gguf-q4_k_m")
    small = replace(small, model={**keys, "model_type": "llama", "vocab_size": 64})
    done = engines.replay(small, work, gguf=None, cards=())
    assert (done.outcome.state, done.result["measured"]["kv_pool"]) == ("ok", 5120 * MIB)
    assert done.talk.startswith("GGUF\n")
    assert "-p 512 -n 0 -pg 512,128" in done.talk
    asked = engines.replay(replace(small, model={"model_type": "gemma3"}), work, gguf=None, cards=())
    assert (asked.outcome.state, "--gguf" in asked.outcome.detail) == ("unsupported", True)
    (tmp_path / "m.gguf").write_text("GGUF")
    given = engines.replay(trial("llamacpp"), work, gguf=tmp_path / "m.gguf", cards=())
    assert given.result["details"]["weights"] == "given"


READ = {4: "<I", 6: "<f"}


def read_gguf(path: Path) -> tuple[dict[str, object], dict[str, tuple[tuple[int, ...], int, int]], int]:
    """(metadata, tensors by name with shape, type and offset, start of the data), read as the format is described."""
    raw, at = path.read_bytes(), 0

    def take(shape: str) -> int:
        nonlocal at
        (value,) = struct.unpack_from(shape, raw, at)
        at += struct.calcsize(shape)
        return int(value) if shape != "<f" else value

    def word() -> str:
        nonlocal at
        size = take("<Q")
        at += size
        return raw[at - size : at].decode()

    assert raw[:4] == b"GGUF"
    at = 4
    assert take("<I") == 3
    num_tensors, num_pairs = take("<Q"), take("<Q")
    pairs: dict[str, object] = {}
    for _ in range(num_pairs):
        key, kind = word(), take("<I")
        pairs[key] = word() if kind == 8 else take(READ[kind])
    tensors = {}
    for _ in range(num_tensors):
        name = word()
        shape = tuple(take("<Q") for _ in range(take("<I")))
        tensors[name] = (shape, take("<I"), take("<Q"))
    return pairs, tensors, -(-at // 32) * 32


@pytest.mark.parametrize("tied", [True, False])
def test_the_random_file_holds_the_tensors_and_types_of_a_real_one(tied: bool, tmp_path: Path) -> None:
    """llama.cpp's own mix: half the layers' values and last products in 6 bits, the head too, the rest in 4."""
    keys = {"model_type": "qwen2", "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 8}
    keys |= {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100, "tie_word_embeddings": tied}
    path = write_gguf(keys, "gguf-q4_k_m", tmp_path / "m.gguf")
    pairs, tensors, start = read_gguf(path)
    assert (pairs["general.architecture"], pairs["qwen2.vocab_size"]) == ("qwen2", 100)
    assert tensors["blk.0.attn_k.weight"][:2] == ((256, 128), 12)
    assert tensors["blk.0.attn_k.bias"][:2] == ((128,), 0)
    assert sum(tensors[f"blk.{i}.ffn_down.weight"][1] == 14 for i in range(8)) == 4
    assert ("output.weight" in tensors) is not tied
    assert tensors["token_embd.weight"][1] == (14 if tied else 12)
    last = max(tensors.values(), key=lambda t: t[2])
    assert last[:2] == ((512, 256), 14)
    assert path.stat().st_size == start + last[2] + 512 * 256 // 256 * 210


def test_rows_that_no_block_divides_are_refused(tmp_path: Path) -> None:
    keys = {"model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24}
    keys |= {"num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 1000}
    with pytest.raises(GgufError, match="rows of 896 values do not divide into 256"):
        write_gguf(keys, "gguf-q4_k_m", tmp_path / "m.gguf")
