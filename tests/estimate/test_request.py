"""What a request becomes: media that a model takes, defaults that are said, wishes that are refused."""

from __future__ import annotations

from typing import Any

import pytest

from planner.errors import ImpossibleError
from planner.estimate.document import FailedEstimate, WorkloadEstimate
from planner.estimate.request import Resolved, resolve_workload
from planner.estimate.run import estimate_spec
from planner.spec.load import spec_from_mapping
from planner.spec.types import Spec
from tests.estimate.jobs import catalog

SHORT = {"input": 8, "output": 8}
OVER_FOUR = {"tensor_parallel": 4, "data_parallel": 1, "expert_parallel": 8}
TRAIN = {"mode": "train", "model": "gpt2", "sequence": 128, "batch": {"global": 64}}


def spec_of(*workloads: dict[str, Any]) -> Spec:
    full = [{"mode": "infer", "name": f"w{i}", **w} for i, w in enumerate(workloads)]
    return spec_from_mapping({"workloads": full})


def resolved(**keys: Any) -> Resolved:
    spec = spec_of(keys)
    return resolve_workload(spec.workloads[0], spec, catalog())


def estimate(**keys: Any) -> WorkloadEstimate:
    found = estimate_spec(spec_of(keys), catalog()).workloads[0]
    assert isinstance(found, WorkloadEstimate), found
    return found


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"model": "gpt2", "sequence": SHORT, "audio": {"seconds": 3}}, "hears no audio"),
        ({"model": "gpt2", "sequence": SHORT, "image": {"width": 512, "height": 512}}, "makes no image"),
        ({"model": "gpt2", "sequence": SHORT, "images": {"width": 512, "height": 512}}, "takes no images"),
        ({"model": "FLUX.1-dev", "sequence": SHORT}, "give `image:"),
        ({"model": "FLUX.1-dev", "engine": "vllm", "image": {"width": 512, "height": 512}}, "transformers"),
        ({"model": "vit-base-patch16-224", "engine": "sglang", "images": {"width": 9, "height": 9}}, "transformers"),
        ({"model": "wav2vec2-base-960h", "engine": "trtllm", "audio": {"seconds": 3}}, "transformers"),
        (
            {"model": "mixtral-8x7b", "sequence": SHORT, "pin": OVER_FOUR},
            "does not divide the 4 GPUs of a replica .*nearest that does: 4",
        ),
        ({**TRAIN, "pin": {"micro_batch": 24}}, "micro batch 24 .* does not divide global 64; .*: 48 or 72"),
        ({**TRAIN, "pin": {"micro_batch": 3, "data_parallel": 8}}, "3 x data_parallel 8 = 24 does not divide"),
    ],
)  # fmt: skip
def test_a_wish_against_the_model_is_refused_with_the_way_out(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ImpossibleError, match=words):
        assert resolved(**keys).jobs


def test_an_impossible_pin_is_the_error_of_its_workload_alone() -> None:
    good = {"model": "gpt2", "sequence": SHORT, "pin": {"gpu": "l4"}}
    experts = {"model": "mixtral-8x7b", "sequence": SHORT, "pin": {"gpu": "l4", "expert_parallel": 2}}
    found = estimate_spec(spec_of({**TRAIN, "pin": {"micro_batch": 24}}, good, experts), catalog()).workloads
    assert [isinstance(w, FailedEstimate) for w in found] == [True, False, True]


def test_a_recording_without_a_sequence_gets_a_transcript_that_a_warning_names() -> None:
    found = resolved(model="whisper-large-v3", audio={"seconds": 30})
    assert found.infer_jobs()[0].output_tokens == 135
    assert any("135 tokens is assumed" in w for w in found.warnings)
    asked = resolved(model="whisper-large-v3", audio={"seconds": 30}, sequence={"input": 1, "output": 200})
    assert asked.infer_jobs()[0].output_tokens == 200
    assert not any("assumed" in w for w in asked.warnings)


def test_a_speech_encoder_hears_50_positions_a_second_and_writes_no_tokens() -> None:
    job = resolved(model="wav2vec2-base-960h", audio={"seconds": 10}).infer_jobs()[0]
    assert (job.input_tokens, job.output_tokens) == (500, 0)


def test_the_output_asked_of_an_encoder_is_left_out_and_said_so() -> None:
    found = resolved(model="bert-base-uncased", sequence={"input": 128, "output": 10})
    assert found.infer_jobs()[0].output_tokens == 0
    assert any("writes no tokens" in w for w in found.warnings)


def test_prompt_and_answer_of_an_encoder_decoder_are_contexts_of_their_own() -> None:
    limit = catalog().models.get("bart-large").max_context
    assert limit == 1024
    fits = resolved(model="bart-large", sequence={"input": 1000, "output": 1000})
    assert not any("beyond" in w for w in fits.warnings)
    assert any("beyond" in w for w in resolved(model="bart-large", sequence={"input": 1025, "output": 1}).warnings)


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_an_encoder_reserves_no_kv_pool_and_its_batch_is_bounded(engine: str) -> None:
    pin = {"gpu": "l4"}
    found = estimate(model="bert-base-uncased", engine=engine, batch=64, sequence={"input": 256}, pin=pin)
    assert found.memory.per_gpu_bytes["kv_cache"] == 0
    assert found.memory.kv_cache_tokens == 0
    assert found.memory.device_peak_bytes < 2 * 2**30
    assert 64 <= found.memory.max_batch < 65536


def test_requests_of_an_encoder_share_the_servers_overhead() -> None:
    rates = {
        engine: estimate(
            model="bert-base-uncased", engine=engine, batch=64, sequence={"input": 256}, pin={"gpu": "l4"}
        ).performance.tokens_per_second
        for engine in ("vllm", "transformers")
    }
    assert rates["vllm"] is not None
    assert rates["transformers"] is not None
    assert 0.4 < rates["vllm"] / rates["transformers"] < 1.5


@pytest.mark.parametrize(
    "keys",
    [
        {"model": "FLUX.1-dev", "image": {"width": 1024, "height": 1024, "steps": 20}},
        {"model": "stable-diffusion-v1-5", "image": {"width": 512, "height": 512, "steps": 30}},
        {"model": "stable-diffusion-xl-base-1.0", "image": {"width": 1024, "height": 1024, "steps": 30}},
        {"model": "stable-diffusion-3-medium-diffusers", "image": {"width": 1024, "height": 1024, "steps": 30}},
        {"model": "vit-large-patch16-224", "images": {"width": 224, "height": 224}, "batch": 256},
        {"model": "resnet-50", "images": {"width": 224, "height": 224}, "batch": 256},
        {"model": "swin-base-patch4-window7-224", "images": {"width": 224, "height": 224}, "batch": 256},
        {"model": "clip-vit-large-patch14", "images": {"width": 224, "height": 224}, "batch": 256},
        {"model": "whisper-large-v3", "audio": {"seconds": 30}, "batch": 64},
        {"model": "flan-t5-xl", "sequence": {"input": 512, "output": 64}, "batch": 64},
    ],
    ids=lambda keys: keys["model"],
)
def test_no_model_computes_faster_than_its_gpu(keys: dict[str, Any]) -> None:
    found = estimate(precision="bf16", pin={"gpu": "h100-sxm-80gb"}, **keys)
    assert found.performance.mfu is not None
    assert 0 < found.performance.mfu < 1


def test_a_recording_of_two_windows_takes_the_encoder_twice_the_memory() -> None:
    """1500 positions x 1280 values of 2 bytes are 3.84 MB for each hidden tensor."""
    one, two = (
        estimate(
            model="whisper-large-v3", precision="bf16", batch=16, audio={"seconds": s}, pin={"gpu": "a100-sxm-80gb"}
        ).memory.per_gpu_bytes
        for s in (30, 60)
    )
    assert two["kv_cache"] > 1.9 * one["kv_cache"]
    assert one["kv_cache"] > 16 * 245_760_000
