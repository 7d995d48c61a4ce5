"""Serving engines: what they say at start-up is read from real wording; their own clients are run to the end."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import pytest

from validation import engines
from validation.card import Card
from validation.engines import llamacpp, sglang, vllm
from validation.engines.dummy import model_folder
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
OLD_VLLM = "INFO 01-30 03:18:12 gpu_model_runner.py:848] Loading model weights took 67.7229 GB\n"
"""vllm-project/vllm pull request 12569."""
SGLANG = """\
[2025-10-16 09:06:10 TP0] Load weight begin. avail mem=137.34 GB
[2025-10-16 09:06:19 TP0] Load weight end. type=Qwen3ForCausalLM, avail mem=129.5 GB, mem usage=7.75 GB.
[2025-10-16 09:06:20 TP0] KV Cache is allocated. #tokens: 367404, K size: 8.23 GB, V size: 8.23 GB
[2025-10-16 09:06:21 TP0] max_total_num_tokens=367404, chunked_prefill_size=8192, available_gpu_mem=17.22 GB
"""
"""Wording of SGLang 0.5 (sgl-project/sglang pull request 11716, issue 29575; vllm-project/vllm issue 21348)."""
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
BENCH = """\
ggml_cuda_init: found 1 CUDA devices:
[
  {"n_prompt": 512, "n_gen": 0, "avg_ns": 104000000, "avg_ts": 4918.36},
  {"n_prompt": 0, "n_gen": 128, "avg_ns": 1280000000, "avg_ts": 100.0}
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
    assert vllm.start_up("INFO nothing of interest") == {}


def test_sglang_says_its_weights_and_its_pool() -> None:
    seen = sglang.start_up(SGLANG)
    assert seen == {"weights": 7.75 * GIB, "kv_pool": pytest.approx(16.46 * GIB), "kv_tokens": 367404.0}


def test_llama_cpp_says_its_buffers_on_gpus_and_not_those_on_the_host() -> None:
    assert llamacpp.buffers(LLAMA_CPP) == {
        "weights": pytest.approx((5434.38 + 13989.53) * MIB),
        "kv_pool": 5120 * MIB,
        "workspace": pytest.approx((672.01 + 520.02) * MIB),
    }
    new = llamacpp.buffers(NEW_LLAMA_CPP)
    assert new == {"weights": 4156 * MIB, "kv_pool": 144 * MIB, "workspace": 300.75 * MIB}


def test_llama_bench_gives_prompt_and_token_times() -> None:
    seen = llamacpp.bench_figures(llamacpp.bench_rows(BENCH), trial("llamacpp"))
    assert (seen["ttft"], seen["tpot"]) == (pytest.approx(0.104), pytest.approx(0.01))
    assert seen["output_rate"] == pytest.approx(128 / (0.104 + 127 * 0.01))
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
    assert vllm.utilisation(small, [card]) == pytest.approx(0.45)
    assert vllm.utilisation(trial("vllm"), [card]) is None


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


def fake_vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str = "") -> None:
    """A program that behaves like vLLM's server and client."""
    program = tmp_path / "bin" / "vllm"
    program.parent.mkdir()
    program.write_text(FAKE_VLLM.format(python=sys.executable, served=SERVED, said=VLLM, before=before))
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


def test_llama_cpp_asks_for_a_model_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "llama-bench"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{LLAMA_CPP}{BENCH}END\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    asked = engines.replay(trial("llamacpp"), tmp_path, gguf=None, cards=())
    assert (asked.outcome.state, "--gguf" in asked.outcome.detail) == ("unsupported", True)
    done = engines.replay(trial("llamacpp"), tmp_path / "work", gguf=tmp_path / "m.gguf", cards=())
    assert (done.outcome.state, done.result["measured"]["kv_pool"]) == ("ok", 5120 * MIB)
